"""
Tests for the rings in which decisions are kept.
"""

from twisted.trial.unittest import SynchronousTestCase

from atmosphere.addresses import TransportAddress
from atmosphere.identity import NodeKey
from atmosphere.network.path.decisions import MAX_DECISIONS, MAX_PEERS, Decisions, Histories
from atmosphere.network.path.selection import Rule
from atmosphere.network.path.ways import DirectWay
from tests.network.path.lane import A_ID, B_ID, RELAY_TO_B, TO_B


class DecisionsTests(SynchronousTestCase):
    """
    The decisions of one link.
    """

    def test_order(self) -> None:
        """
        The oldest comes first, and each says what was decided and by which rule.
        """
        decisions = Decisions()
        decisions.note(1.0, RELAY_TO_B, "in use: it carried the handshake", Rule.HANDSHAKE)
        decisions.note(2.0, None, "woke from sleep")
        self.assertEqual([each.at for each in decisions], [1.0, 2.0])
        self.assertEqual((decisions[0].rule, decisions[-1].rule), (Rule.HANDSHAKE, None))

    def test_repeated(self) -> None:
        """
        What is decided again and again is one entry, with the last time and the count.
        """
        decisions = Decisions()
        decisions.note(0.0, TO_B, "in use: direct before relayed", Rule.DIRECT)
        for turn in range(1, 2 * MAX_DECISIONS):
            decisions.note(float(turn), RELAY_TO_B, "lost: its relay is gone")
            decisions.note(turn + 0.5, RELAY_TO_B, "our side can send by it")
        self.assertEqual([each.times for each in decisions], [1, 127, 127])
        self.assertEqual(decisions[-1].at, 127.5)

    def test_bounded(self) -> None:
        """
        Only the last ones are kept.
        """
        decisions = Decisions()
        for port in range(5000):
            way = DirectWay(TransportAddress("10.0.0.1", 1024 + port))
            decisions.note(float(port), way, "failed: 7 checks had no answer")
        self.assertEqual((len(decisions), decisions[-1].at), (MAX_DECISIONS, 4999.0))

    def test_last_of(self) -> None:
        """
        The newest decision about a way is found.
        """
        decisions = Decisions()
        decisions.note(1.0, TO_B, "first")
        decisions.note(2.0, TO_B, "second")
        decisions.note(3.0, RELAY_TO_B, "third")
        found = decisions.last_of(TO_B)
        assert found is not None
        self.assertEqual(found.text, "second")
        self.assertIsNone(Decisions().last_of(TO_B))


class HistoriesTests(SynchronousTestCase):
    """
    What is kept of peers to which there is no link.
    """

    def test_kept(self) -> None:
        """
        What a link decided stays known when it has ended, in the order of time.
        """
        histories, decisions = Histories(), Decisions()
        histories.note(A_ID, 1.0, "dialled")
        histories.note(A_ID, 9.0, "the link ended: the node stops")
        decisions.note(5.0, TO_B, "in use: direct before relayed", Rule.DIRECT)
        histories.keep(A_ID, decisions)
        self.assertEqual([each.at for each in histories.of(A_ID)], [1.0, 5.0, 9.0])
        self.assertEqual(histories.of(B_ID), [])

    def test_bounded(self) -> None:
        """
        Of however many peers one dials, the last ones are known.
        """
        histories = Histories()
        for number in range(2 * MAX_PEERS):
            histories.note(NodeKey(number.to_bytes(32, "big")).node_id, 1.0, "dialled")
        histories.note(A_ID, 2.0, "dialled")
        self.assertEqual((len(histories), len(histories.of(A_ID))), (MAX_PEERS, 1))
