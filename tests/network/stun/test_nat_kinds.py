"""
Tests for L{atmosphere.network.stun.probe_client.measure_behavior}: the programs that run,
on simulated networks with each kind of NAT, and on loopback.
"""

from __future__ import annotations

import random
from typing import Any

from twisted.internet import reactor as installed  # noqa: TID251, real sockets
from twisted.internet.defer import maybeDeferred
from twisted.internet.protocol import DatagramProtocol
from twisted.trial.unittest import SynchronousTestCase, TestCase

from atmosphere.addresses import TransportAddress
from atmosphere.network.stun.behavior import Behavior, DialBack
from atmosphere.network.stun.binding import PRIMARY, SECOND_PORT, Corner
from atmosphere.network.stun.probe_client import measure_behavior
from atmosphere.network.stun.server import BindingServer, BindingSockets
from atmosphere.testing import (
    ADDRESS_RESTRICTED,
    CGNAT,
    FULL_CONE,
    PORT_RESTRICTED,
    SYMMETRIC,
    Dependence as NatDependence,
    Link,
    NatBehaviour,
    seeded_entropy,
)

from .place import Place

REACTOR: Any = installed
SERVER = TransportAddress("203.0.113.1", 3478)
OTHER_SERVER = TransportAddress("203.0.113.7", 3478)

#: A firewall that translates nothing can be had as a NAT between equal addresses only in
#: the kernel; here it is a NAT that keeps ports, and the tests look at filters alone.
BY_ADDRESS = NatBehaviour(NatDependence.ADDRESS_DEPENDENT, NatDependence.ADDRESS_DEPENDENT)


class BehaviorPlace(Place):
    """
    A machine, a NAT before it or none, and servers.
    """

    def __init__(
        self,
        kind: NatBehaviour | None,
        *,
        two_addresses: bool = False,
        link: Link | None = None,
        seed: int = 1,
    ) -> None:
        """
        @param two_addresses: of the server.
        """
        hosts = ["203.0.113.1", "203.0.113.2"] if two_addresses else ["203.0.113.1"]
        super().__init__(kind, *hosts, link=link, seed=seed)
        sockets = BindingSockets(self.server)
        for number, host in enumerate(hosts):
            for is_other in (False, True):
                self.server.listenUDP(
                    3478 + is_other,
                    sockets.protocol(Corner(bool(number), is_other)),
                    host if two_addresses else "0.0.0.0",
                )

    def measure(self, *servers: TransportAddress, port: int = 7777) -> Behavior:
        """
        Measure, and see that nothing is left of it.
        """
        return self.finish(
            measure_behavior(
                self.machine, servers or (SERVER,), entropy=seeded_entropy(self.seed), port=port
            )
        )


def words(behavior: Behavior) -> tuple[Any, ...]:
    """
    Say in short what was found.
    """
    mapping, filtering = behavior.mapping, behavior.filtering
    return (
        behavior.is_behind_nat,
        mapping and mapping.value,
        behavior.is_mapping_certain,
        filtering and filtering.value,
        behavior.reachable,
    )


EI, AD = "endpoint-independent", "address-dependent"
AT_MOST, APD = "at most address-dependent", "address- and port-dependent"


class KindTests(SynchronousTestCase):
    """
    What is found out of each kind.
    """

    def test_one_address(self) -> None:
        """
        A server with one address tells the kinds apart as far as it can.
        """
        for kind, expected in (
            (None, (False, EI, False, EI, True)),
            (FULL_CONE, (True, EI, False, AT_MOST, None)),
            (ADDRESS_RESTRICTED, (True, EI, False, AT_MOST, None)),
            (PORT_RESTRICTED, (True, EI, False, APD, False)),
            (CGNAT, (True, EI, False, APD, False)),
            (SYMMETRIC, (True, APD, True, APD, False)),
        ):
            place = BehaviorPlace(kind)
            behavior = place.measure()
            self.assertEqual(words(behavior), expected, kind)
            host = "198.51.100.5" if kind is None else "192.168.1.2"
            self.assertEqual(behavior.local, TransportAddress(host, 7777))
            self.assertLess(place.seconds, 2.5)

    def test_two_addresses(self) -> None:
        """
        A server with two addresses tells them all apart, full-cone NATs from others too.
        """
        for kind, expected in (
            (None, (False, EI, True, EI, True)),
            (FULL_CONE, (True, EI, True, EI, True)),
            (ADDRESS_RESTRICTED, (True, EI, True, AD, False)),
            (PORT_RESTRICTED, (True, EI, True, APD, False)),
            (BY_ADDRESS, (True, AD, True, AD, False)),
            (SYMMETRIC, (True, APD, True, APD, False)),
        ):
            self.assertEqual(
                words(BehaviorPlace(kind, two_addresses=True).measure()), expected, kind
            )

    def test_two_servers(self) -> None:
        """
        A second server, though it knows nothing of all this, makes the mapping certain.
        """
        for kind, mapping in ((PORT_RESTRICTED, EI), (SYMMETRIC, APD), (BY_ADDRESS, AD)):
            place = BehaviorPlace(kind)
            plain = place.network.host("stun", OTHER_SERVER.host)
            plain.listenUDP(3478, BindingServer(plain), "0.0.0.0")
            found = words(place.measure(SERVER, OTHER_SERVER))
            self.assertEqual(found[1:3], (mapping, True), kind)

    def test_plain_server(self) -> None:
        """
        A server with one socket tells our address, and leaves the rest unknown.
        """
        place = BehaviorPlace(PORT_RESTRICTED)
        plain = place.network.host("stun", OTHER_SERVER.host)
        plain.listenUDP(3478, BindingServer(plain), "0.0.0.0")
        self.assertEqual(words(place.measure(OTHER_SERVER)), (True, None, False, None, None))
        self.assertLess(place.seconds, 1)

    def test_again(self) -> None:
        """
        Measuring again from the same port finds the same: the dial-back is not spoilt
        by what was sent before.
        """
        place = BehaviorPlace(PORT_RESTRICTED)
        found = [words(place.measure()) for _ in range(3)]
        self.assertEqual(found, [(True, EI, False, APD, False)] * 3)

    def test_blocked(self) -> None:
        """
        Where no UDP passes nothing is known but that, within three seconds.
        """
        place = BehaviorPlace(None)
        place.network.cut(place.machine, place.server)
        behavior = place.measure()
        self.assertEqual(words(behavior), (None, None, False, None, None))
        self.assertFalse(behavior.is_udp_working)
        self.assertEqual(behavior.dial_backs[0].error, "no response")
        self.assertLess(place.seconds, 3)

    def test_nobody_to_ask(self) -> None:
        """
        Without servers there is nothing to wait for.
        """
        place = BehaviorPlace(None)
        behavior = self.successResultOf(
            measure_behavior(place.machine, (), entropy=seeded_entropy(1))
        )
        self.assertEqual(behavior, Behavior())

    def test_loss(self) -> None:
        """
        With a tenth of all datagrams lost, no verdict is wrong, and most are there.
        """
        verdicts: dict[bool | None, int] = {}
        for seed in range(30):
            link = Link(latency=0.02, loss=0.05)
            self.assertIsNot(BehaviorPlace(None, link=link, seed=seed).measure().reachable, False)
            reachable = BehaviorPlace(PORT_RESTRICTED, link=link, seed=seed).measure().reachable
            verdicts[reachable] = verdicts.get(reachable, 0) + 1
        self.assertNotIn(True, verdicts)
        self.assertGreater(verdicts[False], 20)

    def test_heavy_loss(self) -> None:
        """
        With most of all datagrams lost nothing is said rather than something wrong.
        """
        for seed in range(10):
            place = BehaviorPlace(None, link=Link(latency=0.02, loss=0.4), seed=seed)
            self.assertIsNot(place.measure().reachable, False)

    def test_port_taken(self) -> None:
        """
        If the port is taken another one is measured, and said.
        """
        place = BehaviorPlace(None)
        place.machine.listenUDP(7777, DatagramProtocol())
        behavior = place.measure()
        assert behavior.local is not None
        self.assertNotEqual(behavior.local.port, 7777)
        self.assertTrue(behavior.reachable)

    def test_cancelled(self) -> None:
        """
        Cancelling closes the ports and ends all timers.
        """
        place = BehaviorPlace(None)
        done = measure_behavior(place.machine, (SERVER,), entropy=seeded_entropy(1), port=7777)
        place.network.advance(0.03)
        done.addErrback(lambda _: None)
        done.cancel()
        place.network.advance(0.1)
        self.assertEqual(place.machine.getDelayedCalls(), [])
        place.machine.listenUDP(7777, DatagramProtocol())


class LoopbackTests(TestCase):
    """
    On real sockets.
    """

    timeout = 10

    async def test_loopback(self) -> None:
        """
        On loopback nothing is in the way: the answer comes from the port that was
        never sent to.
        """
        sockets = BindingSockets(REACTOR)
        ports = [
            REACTOR.listenUDP(0, sockets.protocol(corner), interface="127.0.0.1")
            for corner in (PRIMARY, SECOND_PORT)
        ]
        for each in ports:
            self.addCleanup(maybeDeferred, each.stopListening)
        first, second = (TransportAddress("127.0.0.1", each.getHost().port) for each in ports)
        behavior: Behavior = await measure_behavior(
            REACTOR, [first], entropy=random.Random(1).randbytes
        )
        self.assertEqual(words(behavior), (False, EI, False, EI, True))
        self.assertEqual(behavior.mapped, behavior.local)
        (finding,) = behavior.dial_backs
        self.assertEqual((finding.other, finding.from_port), (second, DialBack.ARRIVED))
