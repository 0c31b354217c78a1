"""
Tests for seeing whether a NAT takes another port for each destination.
"""

from __future__ import annotations

from atmosphere.addresses import TransportAddress
from atmosphere.node.port_watch import takes_another_port
from atmosphere.testing.nat import CGNAT, FULL_CONE, SYMMETRIC, NatBehaviour

from .harness import RELAY_ADDRESS, SimulatedNode, WorldCase

SERVER = TransportAddress(RELAY_ADDRESS, 3478)


class WatchTests(WorldCase):
    """
    What a node behind each kind of NAT finds out from one relay, and tells its peers.
    """

    def node_behind(self, behind: NatBehaviour | None) -> SimulatedNode:
        """
        Start a node and let it look around.
        """
        node = self.world.node("portland", "198.51.100.1", behind=behind)
        self.world.advance(5)
        return node

    def ask(self, node: SimulatedNode, server: TransportAddress = SERVER) -> bool | None:
        """
        Ask anew.
        """
        found: bool | None = self.world.result(
            takes_another_port(
                node.host, server, interface="0.0.0.0", entropy=self.world.entropy("watch")
            )
        )
        return found

    def test_symmetric(self) -> None:
        """
        A NAT that takes another port for each destination is recognised.
        """
        node = self.node_behind(SYMMETRIC)
        self.assertIs(self.ask(node), True)
        self.assertIs(node.service.surroundings.has_stable_port, False)

    def test_kept(self) -> None:
        """
        One that keeps its port does so for the two ports of one server; whether for
        all others too is not known from that.
        """
        for number, kind in enumerate((FULL_CONE, CGNAT)):
            node = self.world.node(f"node-{number}", f"198.51.100.{number + 1}", behind=kind)
            self.world.advance(5)
            self.assertIs(self.ask(node), False)
            self.assertIsNone(node.service.surroundings.has_stable_port)

    def test_no_nat(self) -> None:
        """
        Without a NAT everybody sees the same port.
        """
        self.assertIs(self.node_behind(None).service.surroundings.has_stable_port, True)

    def test_silence(self) -> None:
        """
        A server that does not answer proves nothing.
        """
        node = self.node_behind(FULL_CONE)
        self.assertIsNone(self.ask(node, TransportAddress(RELAY_ADDRESS, 9999)))

    def test_no_port(self) -> None:
        """
        Where no port can be opened, nothing is known.
        """
        node = self.node_behind(FULL_CONE)
        found = takes_another_port(
            node.host, SERVER, interface="203.0.113.200", entropy=self.world.entropy("watch")
        )
        self.assertIsNone(self.world.result(found))

    def test_stopped(self) -> None:
        """
        A node that stops meanwhile waits for nothing.
        """
        self.world.node("portland", "198.51.100.1", behind=SYMMETRIC)
        self.world.until(
            lambda: self.world.nodes["portland"].service.surroundings._watching is not None, 10
        )
        self.world.stop()
        self.assertIsNone(self.world.nodes["portland"].service.surroundings._watching)
