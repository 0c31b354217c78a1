"""
Homes by the names of their kinds: what our own measurement finds in them.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from atmosphere.testing import Home, HomeKind, Homes, Machine, MemoryMesh, SimulatedNetwork

from .test_nat import Inbox

PUBLIC = "45.77.0.1"


class HomesTests(SynchronousTestCase):
    """
    Homes with a host in each, and a server.
    """

    def build(self) -> None:
        """
        Make the server.
        """
        self.network = SimulatedNetwork(Clock(), 1)
        self.homes = Homes(self.network)
        self.server = self.network.host("server", PUBLIC, "2a10:88::1")
        self.inbox, self.inbox6 = Inbox(), Inbox()
        self.server.listenUDP(1, self.inbox)
        self.server.listenUDP(1, self.inbox6, interface="::")

    def put(self, home: Home, name: str) -> tuple[Any, Inbox]:
        """
        Put a host into a home, with a UDP port.
        """
        inbox = Inbox()
        return home.host(name).listenUDP(7777, inbox), inbox

    def test_public_address(self) -> None:
        """
        A host without a router is seen by its own address; all others by another one.
        """
        for kind in HomeKind:
            self.build()
            home = self.homes.make(kind.value)
            port, _ = self.put(home, "alice")
            port.write(b"x", (PUBLIC, 1))
            self.network.advance(0.1)
            own = self.network.hosts["alice"].address
            if kind in (HomeKind.UDP_BLOCKED, HomeKind.TCP_443_ONLY):
                self.assertEqual(self.inbox.received, [])
            else:
                self.assertEqual(self.inbox.last[0] == own, kind is HomeKind.NONE, kind)
                self.assertEqual(home.routers == (), kind is HomeKind.NONE)
                self.assertEqual(own.startswith("192.168.1."), kind is not HomeKind.NONE)

    def test_addresses(self) -> None:
        """
        Two thousand homes, and hosts without one, have two thousand addresses.
        """
        self.build()
        given = [self.homes.next_address() for _ in range(1000)]
        for _ in range(1000):
            nat = self.homes.make("port-restricted").nat
            assert nat is not None
            given.append(nat.address)
        self.assertEqual(len(set(given)), 2000)

    def test_unknown(self) -> None:
        """
        A kind that there is not is refused.
        """
        self.build()
        self.assertRaises(ValueError, self.homes.make, "cone")

    def test_ipv6(self) -> None:
        """
        A home with IPv6 has public addresses behind a firewall.
        """
        self.build()
        host = self.homes.make("ipv6").host("alice")
        port: Any = host.listenUDP(7777, Inbox(), interface="::")
        port.write(b"x", ("2a10:88::1", 1))
        self.network.advance(0.1)
        self.assertEqual(self.inbox6.last[:2], (host.kernel.addresses[1], 7777))

    def reach(self, kind: str) -> bool:
        """
        Punch from one home to another by what the server sees; say whether that works.
        """
        self.build()
        ports = [self.put(self.homes.make(kind), name) for name in ("alice", "bob")]
        seen = []
        for port, _ in ports:
            port.write(b"x", (PUBLIC, 1))
            self.network.advance(0.1)
            seen.append(self.inbox.last)
        for _ in range(2):
            for (port, _), address in zip(ports, reversed(seen), strict=True):
                port.write(b"punch", address)
                self.network.advance(0.1)
        return all(inbox.received for _, inbox in ports)

    def test_shared(self) -> None:
        """
        Two behind one carrier are seen at one address, and reach each other by it if
        it hairpins; two on one LAN have one router.
        """
        self.assertEqual(
            [self.reach(kind) for kind in ("cgnat", "same-cgnat", "same-cgnat-hairpin")],
            [True, False, True],
        )
        self.assertEqual(len({host for _, (host, _) in self.inbox.received}), 1)
        self.assertTrue(self.reach("port-restricted"))
        self.assertFalse(self.reach("symmetric"))
        self.assertIs(self.homes.make("same-lan"), self.homes.make("same-lan"))

    def test_reboot(self) -> None:
        """
        When a home's routers are switched off and on nothing is left in them.
        """
        self.build()
        home = self.homes.make("cgnat")
        port, inbox = self.put(home, "alice")
        port.write(b"x", (PUBLIC, 1))
        self.network.advance(0.1)
        before = self.inbox.last
        home.reboot()
        server: Any = self.server.listenUDP(2, Inbox())
        server.write(b"late", before)
        port.write(b"x", (PUBLIC, 1))
        self.network.advance(0.1)
        self.assertEqual(inbox.received, [])
        self.assertNotEqual(self.inbox.last, before)


class MeshAtHomeTests(SynchronousTestCase):
    """
    Nodes at home.
    """

    def test_every_kind(self) -> None:
        """
        From every kind of home a node joins and answers, also by TCP to port 443 alone.
        """
        with MemoryMesh(Clock()) as mesh:
            mesh.node("hub")
            for kind in HomeKind:
                mesh.node(kind.value, behind=kind)
            for kind in HomeKind:
                self.assertIsNotNone(mesh.machines["hub"].link_to(mesh.machines[kind.value]))
            nat = mesh.machines["cgnat"].nat
            assert nat is not None
            self.assertEqual(nat.name[:4], "home")

    def test_same_home(self) -> None:
        """
        Two nodes in one home, and two that say C{same-lan}, are neighbours.
        """
        for is_named in (False, True):
            with MemoryMesh(Clock()) as mesh:
                home = "same-lan" if is_named else mesh.home("symmetric")
                for name in ("alice", "bob"):
                    mesh.node(name, behind=home)
                alice, bob = mesh.machines["alice"], mesh.machines["bob"]
                mesh.until(partial(_is_direct, alice, bob))

    def test_ipv6_path(self) -> None:
        """
        Two firewalls with IPv6 are punched where the two have no IPv4 in common.
        """
        with MemoryMesh(Clock()) as mesh:
            for name in ("alice", "bob"):
                home = mesh.home("ipv6")
                assert home.nat is not None
                home.nat.lets_out = lambda packet: packet.destination[1] == 443
                mesh.node(name, behind=home)
            alice, bob = mesh.machines["alice"], mesh.machines["bob"]
            mesh.until(lambda: alice.path_to(bob) in ("direct", "punched"))
            link = alice.link_to(bob)
            assert link is not None and link.path is not None
            self.assertIn("2a10:77:", str(link.path.way))


def _is_direct(one: Machine, other: Machine) -> bool:
    """
    Say whether a node has a path to another that needs no NAT.
    """
    return one.path_to(other) == "direct"
