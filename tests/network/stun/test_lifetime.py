"""
Tests for L{atmosphere.network.stun.lifetime} and L{atmosphere.network.stun.lifetime_client}:
for how long a NAT remembers a port.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.trial.unittest import SynchronousTestCase

from atmosphere.addresses import TransportAddress
from atmosphere.network.path.checker import HEARTBEAT_LEAST, HEARTBEAT_SPAN
from atmosphere.network.stun.attributes import (
    ERROR_CODE,
    RESPONSE_PORT,
    XOR_MAPPED_ADDRESS,
)
from atmosphere.network.stun.behavior import BindingLifetime
from atmosphere.network.stun.binding import PRIMARY, SECOND_PORT
from atmosphere.network.stun.lifetime import WAITS, LifetimeProbe, Via, Waited
from atmosphere.network.stun.lifetime_client import measure_lifetime
from atmosphere.network.stun.message import Class, Message, decode_message, encode_message
from atmosphere.network.stun.server import BindingServer, BindingSockets
from atmosphere.network.stun.values import ErrorCode
from atmosphere.testing import (
    FULL_CONE,
    PORT_RESTRICTED,
    SYMMETRIC,
    Link,
    NatBehaviour,
    seeded_entropy,
)

from .place import Place

SERVER = TransportAddress("203.0.113.1", 3478)


class LifetimePlace(Place):
    """
    A machine behind a NAT, and a server with two ports, or one.
    """

    def __init__(
        self,
        kind: NatBehaviour | None,
        *,
        link: Link | None = None,
        sockets: int = 2,
        seed: int = 1,
    ) -> None:
        super().__init__(kind, SERVER.host, link=link, seed=seed)
        together = BindingSockets(self.server)
        for port, corner in ((3478, PRIMARY), (3479, SECOND_PORT))[:sockets]:
            protocol = together.protocol(corner) if sockets > 1 else BindingServer(self.server)
            self.server.listenUDP(port, protocol, "0.0.0.0")
        self.tried: list[Waited] = []

    def begin(self, **settings: Any) -> Deferred[BindingLifetime]:
        """
        Begin to measure.
        """
        return measure_lifetime(
            self.machine,
            SERVER,
            entropy=seeded_entropy(self.seed),
            on_progress=self.tried.append,
            **settings,
        )

    def measure(self) -> BindingLifetime:
        """
        Measure, and see that nothing is left of it.
        """
        return self.finish(self.begin())


class LifetimeTests(SynchronousTestCase):
    """
    The whole of it, on a simulated network.
    """

    def test_lifetimes(self) -> None:
        """
        The lifetime of a NAT's mappings lies between two of the times that are tried,
        whatever its kind; it takes little longer than that.
        """
        for kind in (FULL_CONE, PORT_RESTRICTED, SYMMETRIC):
            for lifetime, expected in (
                (5.0, (None, 9)),
                (30.0, (29, 39)),
                (60.0, (59, 74)),
                (120.0, (119, 149)),
                (400.0, (299, None)),
            ):
                place = LifetimePlace(replace(kind, lifetime=lifetime))
                found = place.measure()
                self.assertIsNone(found.error)
                self.assertEqual((found.at_least, found.less_than), expected, kind)
                self.assertLess(place.seconds, (expected[1] or 299) + 6)
                tried = [(each.seconds, each.is_known) for each in place.tried]
                known = [(each, True) for each in WAITS if each < lifetime]
                self.assertEqual(tried[: len(known)], known)
                self.assertEqual(len(tried), len(known) + (expected[1] is not None))

    def test_no_nat(self) -> None:
        """
        Where nothing forgets, the longest time that is tried is all that is known.
        """
        found = LifetimePlace(None).measure()
        self.assertEqual((found.at_least, found.less_than, found.error), (299, None, None))

    def test_slept(self) -> None:
        """
        The ports whose time came while a machine slept, were it for a year, say nothing:
        what they are tried after is another time than was wanted. Later ones do.
        """
        for jump, less_than in ((60.0, 104), (365 * 86400.0, None)):
            place = LifetimePlace(replace(PORT_RESTRICTED, lifetime=60.0))
            measuring = place.begin()
            place.network.advance(32.0)
            place.clock.rightNow += jump
            found = place.finish(measuring)
            self.assertEqual((found.at_least, found.less_than), (29, less_than), jump)
            self.assertIsNone(found.error)

    def test_loss(self) -> None:
        """
        Lost datagrams do not count as a port that was forgotten.
        """
        for seed in range(1, 21):
            link = Link(latency=0.02, loss=0.03)
            place = LifetimePlace(replace(PORT_RESTRICTED, lifetime=60.0), link=link, seed=seed)
            found = place.measure()
            self.assertIsNone(found.error, seed)
            self.assertIn(found.less_than, (74, 89), seed)
            self.assertIn(found.at_least, (39, 49, 59), seed)

    def test_other_servers(self) -> None:
        """
        A server that cannot do it, or that is not there, is known at once.
        """
        place = LifetimePlace(PORT_RESTRICTED, sockets=1)
        self.assertIn("does not answer to another port", place.measure().error or "")
        self.assertLess(place.seconds, 1)
        place = LifetimePlace(PORT_RESTRICTED)
        place.network.cut(place.machine, place.server)
        self.assertEqual(place.measure().error, "no response")
        self.assertLess(place.seconds, 3)

    def test_cancelled(self) -> None:
        """
        Cancelling closes all ports, at whatever time.
        """
        for seconds in (0.0, 0.1, 5.0, 60.0):
            place = LifetimePlace(PORT_RESTRICTED)
            done = place.begin()
            place.network.advance(seconds)
            done.cancel()
            place.network.advance(1)
            self.failureResultOf(done, CancelledError)
            self.assertEqual(place.machine.getDelayedCalls(), [])

    def test_heartbeats(self) -> None:
        """
        A node's heartbeats come sooner than the shortest time that is tried.
        """
        self.assertLess(HEARTBEAT_LEAST + HEARTBEAT_SPAN, WAITS[0])


class ProbeTests(SynchronousTestCase):
    """
    The rules alone, with servers that do something else.
    """

    def run_probe(self, answer: Any) -> tuple[BindingLifetime, float]:
        """
        Run a probe to its end; answers take no time.

        @param answer: makes an answer and names the socket where it comes in, or
            gives C{None}.
        """
        now = 100.0
        probe = LifetimeProbe(SERVER, seeded_entropy(1), now)
        while True:
            datagrams = probe.datagrams_to_send(now)
            for data, via in datagrams:
                self.assertEqual(via.remote, SERVER)
                said = answer(decode_message(data), via.socket)
                if said is not None:
                    probe.receive_datagram(said[0], Via(said[1], SERVER), now)
            while (event := probe.next_event()) is not None:
                if isinstance(event, BindingLifetime):
                    self.assertIsNone(probe.get_timer())
                    return event, now - 100
            if datagrams:
                continue
            timer = probe.get_timer()
            assert timer is not None
            now = max(now, timer)
            probe.handle_timer(now)

    def success(self, request: Message, socket: int) -> bytes:
        """
        Write the plain answer.
        """
        mapped = TransportAddress("198.51.100.1", 40_000 + socket)
        attributes = ((XOR_MAPPED_ADDRESS, mapped),)
        return encode_message(Message(Class.SUCCESS_RESPONSE, request.transaction_id, attributes))

    def test_port_ignored(self) -> None:
        """
        A server that answers to the port that asked has shown nothing.
        """
        found, seconds = self.run_probe(
            lambda request, socket: (self.success(request, socket), socket)
        )
        self.assertIn("does not answer to another port", found.error or "")
        self.assertEqual(seconds, 0)

    def test_refused(self) -> None:
        """
        Nor has one that refuses.
        """

        def answer(request: Message, socket: int) -> tuple[bytes, int]:
            if not request.has(RESPONSE_PORT):
                return self.success(request, socket), socket
            attributes = ((ERROR_CODE, ErrorCode(420)),)
            refusal = Message(Class.ERROR_RESPONSE, request.transaction_id, attributes)
            return encode_message(refusal), socket

        found, _ = self.run_probe(answer)
        self.assertIn("does not answer to another port", found.error or "")

    def test_never_comes_in(self) -> None:
        """
        Where even the first answer to another port is lost, no lifetime is guessed.
        """
        found, seconds = self.run_probe(
            lambda request, socket: (
                None if request.has(RESPONSE_PORT) else (self.success(request, socket), socket)
            )
        )
        self.assertIn("does not come in", found.error or "")
        self.assertLess(seconds, 5)

    def test_requests(self) -> None:
        """
        A request for an answer elsewhere is as long as any answer; it names the port
        at which that socket was seen, and each port is asked for at one time only.
        """
        asked: dict[int, int] = {}

        def answer(request: Message, socket: int) -> tuple[bytes, int]:
            port = request.get(RESPONSE_PORT)
            if port is None:
                return self.success(request, socket), socket
            self.assertEqual(socket, 0)
            self.assertGreaterEqual(len(encode_message(request)), 44)
            asked[port] = asked.get(port, 0) + 1
            return self.success(request, socket), port - 40_000

        found, _ = self.run_probe(answer)
        self.assertEqual((found.at_least, found.less_than), (299, None))
        self.assertEqual(asked, {40_001 + number: 1 for number in range(len(WAITS) + 1)})

    def test_another_address(self) -> None:
        """
        A NAT with several public addresses shows different ones to our ports: what is
        sent to another address than asked would not be ours.
        """

        def answer(request: Message, socket: int) -> tuple[bytes, int] | None:
            if request.has(RESPONSE_PORT):
                raise AssertionError("it must not be asked for")
            mapped = TransportAddress(f"198.51.100.{1 + socket % 2}", 40_000 + socket)
            attributes = ((XOR_MAPPED_ADDRESS, mapped),)
            data = Message(Class.SUCCESS_RESPONSE, request.transaction_id, attributes)
            return encode_message(data), socket

        found, _ = self.run_probe(answer)
        self.assertIsNotNone(found.error)
