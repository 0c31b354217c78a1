"""
Tests of what one member may hold open at another.
"""

from __future__ import annotations

from twisted.internet.protocol import Protocol
from typing_extensions import override

from atmosphere.errors import StreamRefusedError
from atmosphere.membership import DAY
from atmosphere.mesh.gossip import SERVICE as GOSSIP
from atmosphere.mesh.renewal import RenewalAsked, RenewalIssuer
from atmosphere.services.ping import PING_SERVICE

from .harness import WorldCase


class QuotaTests(WorldCase):
    """
    A member that opens streams of one service without end.
    """

    @override
    def setUp(self) -> None:
        """
        Make a mesh of two that are linked.
        """
        super().setUp()
        self.first = self.world.node("portland", "198.51.100.1")
        self.second = self.world.node("seattle", "198.51.100.2")
        self.world.join(self.first, self.second)
        self.world.network.advance(20)

    def open(self, service: str, count: int) -> list[object]:
        """
        Open streams from the second node to the first.

        @return: what became of each: C{None} if it is served, else why not.
        """
        link = self.second.link_to(self.first)
        assert link is not None
        answers: list[object] = []
        for _ in range(count):
            transport = link.open_stream(service, Protocol())
            transport.when_accepted().addBoth(
                lambda result: answers.append(getattr(result, "value", None))
            )
        self.world.network.advance(5)
        return answers

    def test_pings(self) -> None:
        """
        Only so many are served on one link; a closed one makes room.
        """
        answers = self.open(PING_SERVICE, 40)
        refused = [each for each in answers if isinstance(each, StreamRefusedError)]
        self.assertEqual(len(answers) - len(refused), 16)
        self.assertIn("too many", str(refused[0]))
        self.assertEqual(self.world.ping(self.first, "seattle")["received"], 3)

    def test_renewals(self) -> None:
        """
        Who shows its old chain again and again gets the one new certificate.
        """
        node, mesh = self.second.key.node_id, self.second.service.mesh
        asked = RenewalAsked(node, mesh.chain)
        self.world.skip(16 * DAY)
        renewals = self.first.service._renewals
        answers = {renewals.answer(RenewalIssuer(node), asked) for _ in range(20)}
        self.assertEqual(len(answers), 1)
        self.assertIn(b"renewed", answers.pop())

    def test_gossip(self) -> None:
        """
        Of many streams the two newest are served.
        """
        self.open(GOSSIP, 40)
        held = [
            each
            for each in self.first.service._gossip.protocols
            if each.link.peer == self.second.key.node_id
        ]
        self.assertLessEqual(len(held), 2)
