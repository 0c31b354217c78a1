"""
Tests for L{atmosphere.node.gossiping}.
"""

from __future__ import annotations

from twisted.internet.protocol import Protocol
from typing_extensions import override

from atmosphere.node.gossiping import SERVICE, GossipProtocol

from .harness import SimulatedNode, WorldCase


class GossipingTests(WorldCase):
    """
    Three members that are linked with each other.
    """

    @override
    def setUp(self) -> None:
        """
        Make the mesh.
        """
        super().setUp()
        self.nodes = [
            self.world.node(name, f"198.51.100.{number}")
            for number, name in enumerate(("portland", "seattle", "tacoma"), start=1)
        ]
        self.world.join(*self.nodes)
        self.world.network.advance(20)

    def protocols(self, node: SimulatedNode) -> list[GossipProtocol]:
        """
        List the gossip of a node.
        """
        return node.service._gossip.protocols

    def test_one_stream_a_neighbour(self) -> None:
        """
        There is one stream with each neighbour, on its current link.
        """
        for node in self.nodes:
            links = [each.link for each in self.protocols(node)]
            expected = [node.link_to(other) for other in self.nodes if other is not node]
            self.assertEqual(set(links), set(expected))
            self.assertEqual(len(links), 2)

    def test_new_link(self) -> None:
        """
        A link that takes another's place takes its gossip, and the old one ends.
        """
        first, second, _ = self.nodes
        old = first.link_to(second)
        ways = first.service.links.ways_to(second.key.node_id)
        new = self.world.result(first.service.links.endpoint.dial(second.key.node_id, ways))
        self.assertIsNot(new, old)
        self.world.network.advance(10)
        assert old is not None
        self.assertFalse(old.is_open)
        for node, other in ((first, second), (second, first)):
            links = [each.link for each in self.protocols(node)]
            self.assertIn(node.link_to(other), links)
            self.assertEqual(len(links), 2)

    def test_links_end(self) -> None:
        """
        With a link its gossip ends, and with the next one it begins again.
        """
        first, second, third = self.nodes
        second.kill()
        self.world.until(lambda: not first.is_linked(second), 30)
        second.restart()
        self.world.until(lambda: first.is_linked(second) and third.is_linked(second), 10)
        self.world.network.advance(10)
        self.assertEqual([len(self.protocols(node)) for node in self.nodes], [2, 2, 2])

    def test_junk(self) -> None:
        """
        A member that talks nonsense loses the stream, but not the link.
        """
        first, second, _ = self.nodes
        link = first.link_to(second)
        assert link is not None
        lost: list[object] = []

        class Rude(Protocol):
            """
            Talks nonsense.
            """

            @override
            def connectionMade(self) -> None:
                """
                Do.
                """
                assert self.transport is not None
                self.transport.write(b"\xff" * 5000)

            @override
            def connectionLost(self, reason: object = None) -> None:
                """
                Note it.
                """
                lost.append(reason)

        link.open_stream(SERVICE, Rude())
        self.world.until(lambda: lost, 5)
        self.assertTrue(link.is_open)

    def test_no_news(self) -> None:
        """
        When nothing happens next to nothing is said.
        """
        trace = self.world.network.record()
        self.world.network.advance(60)
        udp = [each for each in trace if each.kind == "udp"]
        self.assertLess(sum(each.size for each in udp), 60 * 3 * 400)

    def test_left(self) -> None:
        """
        One that has left hears nothing more, and may gossip in another mesh.
        """
        first, second, third = self.nodes
        third.service.leave()
        self.world.network.advance(5)
        self.assertEqual(self.protocols(third), [])
        self.assertEqual([len(self.protocols(node)) for node in (first, second)], [1, 1])
        self.world.result(third.service.invite(hours=1, uses=1, mesh_name="other"))
        fourth = self.world.node("boston", "198.51.100.9")
        self.world.join(third, fourth)
        self.world.until(lambda: self.protocols(fourth), 10)
