"""
Tests for L{atmosphere.node.measuring}: asking by name, and in both address families.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from typing_extensions import override

from atmosphere.addresses import TransportAddress
from atmosphere.network.stun.binding import PRIMARY, SECOND_PORT
from atmosphere.network.stun.discovery import Server
from atmosphere.network.stun.server import BindingSockets
from atmosphere.node.measuring import Measurement, measure
from atmosphere.testing import Host, SimulatedNetwork, seeded_entropy


class MeasuringTests(SynchronousTestCase):
    """
    A machine and a relay with two addresses, one of each family.
    """

    @override
    def setUp(self) -> None:
        """
        Make them.
        """
        self.network = SimulatedNetwork(Clock(), seed=1)
        self.relay = self.network.host("relay", "203.0.113.1", "2001:db8::1")
        for interface in ("0.0.0.0", "::"):
            self.serve(self.relay, interface)
        self.machine = self.network.host("salem", "198.51.100.5", "2001:db8::5")

    def serve(self, host: Host, interface: str) -> None:
        """
        Answer STUN.
        """
        sockets = BindingSockets(host)
        for port, corner in ((3478, PRIMARY), (3479, SECOND_PORT)):
            host.listenUDP(port, sockets.protocol(corner), interface)

    def measure(self, *servers: Server, **settings: Any) -> Measurement:
        """
        Measure.
        """
        done = Deferred.fromCoroutine(
            measure(self.machine, servers, entropy=seeded_entropy(1), **settings)
        )
        found: list[Measurement] = []
        done.addCallback(found.append)
        for _ in range(200):
            if found:
                break
            self.network.advance(0.05)
        self.network.advance(0.01)
        self.assertEqual(self.machine.getDelayedCalls(), [])
        return found[0]

    def test_both_families(self) -> None:
        """
        A name with two addresses is asked by both, each is named by it.
        """
        found = self.measure(Server("relay"), port=7777)
        self.assertEqual(sorted(found.behaviors), [False, True])
        self.assertEqual([each.reachable for each in found.behaviors.values()], [True, True])
        self.assertEqual(
            found.public(),
            [
                {"ip": "198.51.100.5", "port": 7777, "source": "stun:relay:3478"},
                {"ip": "2001:db8::5", "port": 7777, "source": "stun:relay:3478"},
            ],
        )
        self.assertEqual(
            [each["second_socket"] for each in found.servers()],
            ["203.0.113.1:3479", "[2001:db8::1]:3479"],
        )
        self.assertEqual(found.notes(), [])

    def test_one_family(self) -> None:
        """
        A server that answers in one family only is named with the other one.
        """
        server = self.network.host("stun", "203.0.113.7", "2001:db8::7")
        self.serve(server, "0.0.0.0")
        found = self.measure(Server("stun"))
        self.assertEqual(found.notes(), ["STUN server stun:3478: no response by IPv6"])
        main = found.main
        assert main is not None and main.mapped is not None
        self.assertEqual(main.mapped.host, "198.51.100.5")

    def test_interfaces(self) -> None:
        """
        What is asked leaves by the address that one is to listen on, in no other family;
        a server that cannot be asked so is named.
        """
        machine = self.machine = self.network.host("portland", "198.51.100.6", "198.51.100.7")
        self.network.host("six", "2001:db8::6")
        found = self.measure(Server("relay"), Server("six"), interfaces=["198.51.100.7"])
        self.assertEqual(list(found.behaviors), [False])
        self.assertEqual([each["ip"] for each in found.public()], ["198.51.100.7"])
        self.assertEqual(
            found.notes(),
            ["STUN server six:3478: it has no IPv4 address, and no other is used here"],
        )
        self.assertEqual(machine.getDelayedCalls(), [])

    def test_no_route(self) -> None:
        """
        A machine without IPv6 does not wait for it.
        """
        self.machine = self.network.host("portland", "198.51.100.6")
        began = self.network.clock.seconds()
        found = self.measure(Server("relay"))
        self.assertEqual(found.notes(), ["STUN server relay:3478: no way leads there by IPv6"])
        self.assertLess(self.network.clock.seconds() - began, 1)

    def test_unknown_name(self) -> None:
        """
        A name that nobody knows is told, and the others are asked.
        """
        found = self.measure(Server("nowhere"), Server("203.0.113.1"))
        self.assertTrue(found.is_udp_working)
        self.assertEqual(
            found.notes(), ["STUN server nowhere:3478: no address is known for nowhere"]
        )
        self.assertEqual(
            found.servers()[-1],
            {"server": "nowhere:3478", "error": "no address is known for nowhere"},
        )

    def test_nothing_but_unknown_names(self) -> None:
        """
        If nobody can be asked, nothing is known.
        """
        found = self.measure(Server("nowhere"))
        self.assertEqual((found.main, found.is_udp_working), (None, False))

    def test_name_of_unknown_server(self) -> None:
        """
        A server that nobody asked for is named by its address.
        """
        address = TransportAddress("203.0.113.9", 1)
        self.assertEqual(str(Measurement().name(address)), "203.0.113.9:1")

    def test_cancelled(self) -> None:
        """
        Cancelling ends it all.
        """
        for seconds in (0.0, 0.006):
            done = Deferred.fromCoroutine(
                measure(self.machine, [Server("relay")], entropy=seeded_entropy(1), port=7777)
            )
            if seconds:
                self.network.advance(seconds)
            done.cancel()
            self.network.advance(0.1)
            self.failureResultOf(done, CancelledError)
            self.assertEqual(self.machine.getDelayedCalls(), [])
