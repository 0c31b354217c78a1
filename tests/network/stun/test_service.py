"""
Tests for L{atmosphere.network.stun.service}.
"""

import random
from collections.abc import Callable
from typing import cast

from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.defer import CancelledError, Deferred, fail, succeed
from twisted.internet.error import DNSLookupError
from twisted.internet.interfaces import (
    IHostResolution,
    IReactorPluggableNameResolver,
    IResolutionReceiver,
)
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from typing_extensions import override
from zope.interface import implementer

from atmosphere.addresses import TransportAddress
from atmosphere.network.stun.attributes import XOR_MAPPED_ADDRESS
from atmosphere.network.stun.client import StunClient
from atmosphere.network.stun.discovery import Discovery, Server
from atmosphere.network.stun.message import Class, Message, encode_message
from atmosphere.network.stun.service import PublicAddressFinder, discover, resolver

from .wire import Wire

OURS = TransportAddress("198.18.7.7", 7777)
OURS_IPV6 = TransportAddress("2a00::7", 7777)
FALSE = TransportAddress("198.18.66.66", 7777)
SERVERS = tuple(Server(f"9.9.9.{number}") for number in (1, 2, 3))


class SearchCase(SynchronousTestCase):
    """
    A client in each family, and servers that are played by the test.
    """

    @override
    def setUp(self) -> None:
        """
        Give the clients their ports.
        """
        self.clock = Clock()
        self.wire, self.wire6 = Wire(), Wire()
        self.client = StunClient(self.clock, random.Random(1).randbytes)
        self.client6 = StunClient(self.clock, random.Random(2).randbytes)
        self.client.makeConnection(self.wire)
        self.client6.makeConnection(self.wire6)
        self.names: dict[str, list[str] | Exception] = {}
        self.open_names: list[Deferred[list[str]]] = []

    @override
    def tearDown(self) -> None:
        """
        No search leaves a timer behind.
        """
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def resolve(self, name: str) -> Deferred[list[str]]:
        """
        Resolve a name from the test's table; unknown ones take for ever.
        """
        found = self.names.get(name)
        if found is None:
            deferred: Deferred[list[str]] = Deferred()
            self.open_names.append(deferred)
            return deferred
        return fail(found) if isinstance(found, Exception) else succeed(found)

    def discover(self, *servers: Server, both: bool = False) -> Deferred[Discovery]:
        """
        Begin a search.
        """
        return discover(
            self.clock,
            servers,
            self.resolve,
            ipv4=self.client,
            ipv6=self.client6 if both else None,
        )

    def answer(self, host: str, mapped: TransportAddress) -> None:
        """
        Let a server answer the first request that it got.
        """
        is_ipv6 = ":" in host
        wire, client = (self.wire6, self.client6) if is_ipv6 else (self.wire, self.client)
        data, address = next(each for each in wire.sent if each[1][0] == host)
        attributes = ((XOR_MAPPED_ADDRESS, mapped),)
        response = Message(Class.SUCCESS_RESPONSE, data[8:20], attributes)
        client.datagramReceived(encode_message(response), address)
        self.clock.advance(0)


class DiscoverTests(SearchCase):
    """
    One search.
    """

    def test_all_at_once(self) -> None:
        """
        All servers are asked at once, and the search ends with the last answer.
        """
        deferred = self.discover(*SERVERS)
        self.assertEqual([each[1][0] for each in self.wire.sent], [s.host for s in SERVERS])
        for server in SERVERS:
            self.assertNoResult(deferred)
            self.answer(server.host, OURS)
        found = self.successResultOf(deferred)
        assert found.ipv4 is not None
        self.assertEqual(found.addresses, (OURS,))
        self.assertTrue(found.ipv4.is_confirmed)
        self.assertEqual(found.failures, ())
        self.assertEqual(self.clock.seconds(), 0)

    def test_two_are_enough(self) -> None:
        """
        Once two agree, one that does not answer costs a fifth of a second and no more.
        """
        deferred = self.discover(*SERVERS)
        self.answer("9.9.9.1", OURS)
        self.answer("9.9.9.2", OURS)
        self.assertNoResult(deferred)
        self.clock.advance(0.2)
        found = self.successResultOf(deferred)
        self.assertEqual(found.addresses, (OURS,))
        self.assertEqual(found.failures, ())

    def test_liar(self) -> None:
        """
        A server that lies is named and not believed, whether it answers first or last.
        """
        for order in ((1, 2, 3), (2, 3, 1)):
            self.wire.sent.clear()
            deferred = self.discover(*SERVERS)
            for number in order:
                self.answer(f"9.9.9.{number}", FALSE if number == 1 else OURS)
            found = self.successResultOf(deferred)
            self.assertEqual(found.addresses, (OURS,))
            self.assertEqual(found.liars, (SERVERS[0],))

    def test_silence(self) -> None:
        """
        When nobody answers the search ends after 3 s, and names everybody.
        """
        deferred = self.discover(*SERVERS)
        self.clock.pump([0.5] * 6)
        found = self.successResultOf(deferred)
        self.assertEqual(found.agreements, ())
        self.assertEqual([server for server, _ in found.failures], list(SERVERS))
        self.assertEqual(len(self.wire.sent), 9)

    def test_one_answer(self) -> None:
        """
        One answer among three is believed after 3 s, unconfirmed.
        """
        deferred = self.discover(*SERVERS)
        self.answer("9.9.9.2", OURS)
        self.clock.pump([0.5] * 5)
        self.assertNoResult(deferred)
        self.clock.advance(0.5)
        found = self.successResultOf(deferred)
        assert found.ipv4 is not None
        self.assertFalse(found.ipv4.is_confirmed)
        self.assertEqual(len(found.failures), 2)

    def test_only_server(self) -> None:
        """
        A server that is asked alone is not waited for longer than it takes.
        """
        deferred = self.discover(SERVERS[0], SERVERS[0])
        self.answer("9.9.9.1", OURS)
        self.assertEqual(self.successResultOf(deferred).addresses, (OURS,))

    def test_nothing_to_ask(self) -> None:
        """
        Without servers, or without clients, the search ends at once.
        """
        self.assertEqual(self.successResultOf(self.discover()), Discovery())
        found = self.successResultOf(discover(self.clock, SERVERS, self.resolve))
        self.assertEqual(len(found.failures), 3)

    def test_false_address(self) -> None:
        """
        What no server can truly say is a failure with its reason.
        """
        deferred = self.discover(SERVERS[0])
        self.answer("9.9.9.1", TransportAddress("127.0.0.1", 7777))
        found = self.successResultOf(deferred)
        self.assertEqual(found.agreements, ())
        self.assertIn("127.0.0.1", found.failures[0][1])

    def test_no_address_in_the_answer(self) -> None:
        """
        A response without an address is a failure.
        """
        deferred = self.discover(SERVERS[0])
        data, address = self.wire.sent[0]
        response = encode_message(Message(Class.SUCCESS_RESPONSE, data[8:20]))
        self.client.datagramReceived(response, address)
        self.clock.advance(0)
        self.assertEqual(len(self.successResultOf(deferred).failures), 1)

    def test_both_families(self) -> None:
        """
        A server with addresses in both families is asked in both.
        """
        self.names = {
            "a.example": ["9.9.9.1", "9.9.9.200", "2620:fe::1"],
            "b.example": ["2620:fe::2", "9.9.9.2"],
        }
        deferred = self.discover(Server("a.example"), Server("b.example", 99), both=True)
        self.assertEqual([each[1] for each in self.wire.sent], [("9.9.9.1", 3478), ("9.9.9.2", 99)])
        for number in (1, 2):
            self.answer(f"9.9.9.{number}", OURS)
        self.assertNoResult(deferred)
        for number in (1, 2):
            self.answer(f"2620:fe::{number}", OURS_IPV6)
        self.assertEqual(self.successResultOf(deferred).addresses, (OURS, OURS_IPV6))

    def test_no_route(self) -> None:
        """
        A family without a route is given up at once.
        """
        self.wire6.error = OSError(101, "Network is unreachable")
        self.names = {"a.example": ["2620:fe::1", "9.9.9.1"]}
        deferred = self.discover(Server("a.example"), both=True)
        self.answer("9.9.9.1", OURS)
        found = self.successResultOf(deferred)
        self.assertEqual(found.addresses, (OURS,))
        self.assertEqual(found.failures, ())
        self.wire.error = self.wire6.error
        found = self.successResultOf(self.discover(*SERVERS, both=True))
        self.assertEqual(len(found.failures), 3)

    def test_failing_names(self) -> None:
        """
        A name without address, or that takes for ever, is named and stops nobody.
        """
        self.names = {"no.example": DNSLookupError("no address"), "odd.example": ["fe80::1%eth0"]}
        names = [Server("no.example"), Server("odd.example"), Server("slow.example")]
        deferred = self.discover(*names, *SERVERS[:2])
        self.answer("9.9.9.1", OURS)
        self.clock.advance(1)
        self.assertNoResult(deferred)
        self.answer("9.9.9.2", OURS)
        self.clock.advance(0.2)
        found = self.successResultOf(deferred)
        self.assertEqual(found.addresses, (OURS,))
        self.assertEqual([server for server, _ in found.failures], names[:2])
        self.assertTrue(self.open_names[0].called)

    def test_slow_name(self) -> None:
        """
        A name that is never resolved ends with the search.
        """
        deferred = self.discover(Server("slow.example"))
        self.clock.advance(3)
        self.assertEqual(
            self.successResultOf(deferred).failures,
            ((Server("slow.example"), "no response within 3 s"),),
        )

    def test_broken_resolver(self) -> None:
        """
        A resolver that fails in a way of its own is logged, and stops nobody.
        """
        self.names = {"a.example": ZeroDivisionError("a bug")}
        deferred = self.discover(Server("a.example"), SERVERS[0])
        self.answer("9.9.9.1", OURS)
        self.assertEqual(self.successResultOf(deferred).addresses, (OURS,))
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_cancelled(self) -> None:
        """
        Cancelling ends all requests.
        """
        deferred = self.discover(*SERVERS, Server("slow.example"))
        deferred.cancel()
        self.failureResultOf(deferred, CancelledError)
        self.clock.advance(10)
        self.assertEqual(len(self.wire.sent), 3)

    def test_port_closed(self) -> None:
        """
        A port that closes meanwhile ends the search.
        """
        deferred = self.discover(*SERVERS)
        self.client.doStop()
        self.assertEqual(len(self.successResultOf(deferred).failures), 3)


class PublicAddressFinderTests(SearchCase):
    """
    What is kept for the session.
    """

    @override
    def setUp(self) -> None:
        """
        Make a finder.
        """
        super().setUp()
        self.finder = PublicAddressFinder(self.clock, self.resolve, ipv4=self.client)

    def test_kept(self) -> None:
        """
        What was found and confirmed is kept, and nobody is asked again.
        """
        deferred = self.finder.find(SERVERS)
        for server in SERVERS:
            self.answer(server.host, OURS)
        found = self.successResultOf(deferred)
        self.assertIs(self.finder.known, found)
        self.assertIs(self.successResultOf(self.finder.find((*SERVERS, Server("new")))), found)
        self.assertEqual(len(self.wire.sent), 3)

    def test_unconfirmed(self) -> None:
        """
        What one server said is kept until there are others to ask.
        """
        deferred = self.finder.find(SERVERS[:1])
        self.answer("9.9.9.1", OURS)
        found = self.successResultOf(deferred)
        self.assertIs(self.successResultOf(self.finder.find(SERVERS[:1])), found)
        deferred = self.finder.find(SERVERS[:2])
        self.wire.sent = self.wire.sent[1:]
        self.answer("9.9.9.1", OURS)
        self.answer("9.9.9.2", OURS)
        self.assertTrue(self.successResultOf(deferred).agreements[0].is_confirmed)

    def test_nothing_found(self) -> None:
        """
        When nothing was found the next call asks again.
        """
        deferred = self.finder.find(SERVERS)
        self.clock.advance(3)
        self.assertEqual(self.successResultOf(deferred).agreements, ())
        self.assertIsNone(self.finder.known)
        self.wire.sent.clear()
        deferred = self.finder.find(SERVERS)
        for server in SERVERS:
            self.answer(server.host, OURS)
        self.successResultOf(deferred)

    def test_forget(self) -> None:
        """
        After the network has changed everything is asked anew, and what an older
        search brings is not kept.
        """
        old = self.finder.find(SERVERS[:1])
        self.finder.forget()
        new = self.finder.find(SERVERS[1:2])
        self.answer("9.9.9.1", FALSE)
        self.assertEqual(self.successResultOf(old).addresses, (FALSE,))
        self.assertIsNone(self.finder.known)
        self.answer("9.9.9.2", OURS)
        self.assertIs(self.successResultOf(new), self.finder.known)
        self.finder.forget()
        self.assertIsNone(self.finder.known)

    def test_together(self) -> None:
        """
        Who asks while a search is under way waits for the same; letting go of one
        wait does not disturb the others.
        """
        first, second = self.finder.find(SERVERS[:1]), self.finder.find(SERVERS[:1])
        first.cancel()
        self.failureResultOf(first, CancelledError)
        self.answer("9.9.9.1", OURS)
        self.assertEqual(self.successResultOf(second).addresses, (OURS,))
        self.assertEqual(len(self.wire.sent), 1)

    def test_all_let_go(self) -> None:
        """
        When the last who waited lets go the search ends; a new one can begin.
        """
        deferred = self.finder.find(SERVERS[:1])
        deferred.cancel()
        self.failureResultOf(deferred, CancelledError)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.wire.sent.clear()
        deferred = self.finder.find(SERVERS[:1])
        self.answer("9.9.9.1", OURS)
        self.successResultOf(deferred)


@implementer(IHostResolution)
class FakeResolution:
    """
    A resolution that cannot be stopped, like those of threads.
    """

    name = "a.example"

    def cancel(self) -> None:
        """
        Refuse.
        """
        raise NotImplementedError


class ResolverTests(SynchronousTestCase):
    """
    The reactor's resolver as a function.
    """

    def resolve(
        self, script: Callable[[IResolutionReceiver], None], wanted: str = "a.example"
    ) -> Deferred[list[str]]:
        """
        Resolve a name on a reactor that follows a script.
        """

        class Reactor:
            """
            A reactor that is its own resolver.
            """

            @property
            def nameResolver(self) -> "Reactor":  # noqa: N802
                """
                Give itself.
                """
                return self

            def resolveHostName(  # noqa: N802
                self, receiver: IResolutionReceiver, name: str
            ) -> None:
                """
                Follow the script.
                """
                receiver.resolutionBegan(FakeResolution())
                script(receiver)

        return resolver(cast(IReactorPluggableNameResolver, Reactor()))(wanted)

    def test_found(self) -> None:
        """
        All addresses are given, in the resolver's order.
        """

        def script(receiver: IResolutionReceiver) -> None:
            receiver.addressResolved(IPv6Address("TCP", "2620:fe::1", 0))
            receiver.addressResolved(IPv4Address("TCP", "9.9.9.9", 0))
            receiver.addressResolved(UNIXAddress(b"/x"))
            receiver.resolutionComplete()

        self.assertEqual(self.successResultOf(self.resolve(script)), ["2620:fe::1", "9.9.9.9"])

    def test_nothing_found(self) -> None:
        """
        A name without addresses fails.
        """
        deferred = self.resolve(lambda receiver: receiver.resolutionComplete())
        self.failureResultOf(deferred, DNSLookupError)

    def test_impossible_name(self) -> None:
        """
        A name that no resolver can be asked for fails at once, and none is asked.
        """
        asked: list[IResolutionReceiver] = []
        for name in ("a" * 64 + ".example", "a..example"):
            deferred = self.resolve(asked.append, name)
            self.failureResultOf(deferred, DNSLookupError)
        self.assertEqual(asked, [])

    def test_cancelled(self) -> None:
        """
        Cancelling loses interest, whatever the resolver still finds.
        """
        receivers: list[IResolutionReceiver] = []
        deferred = self.resolve(receivers.append)
        deferred.cancel()
        self.failureResultOf(deferred, CancelledError)
        receivers[0].addressResolved(IPv4Address("TCP", "9.9.9.9", 0))
        receivers[0].resolutionComplete()
