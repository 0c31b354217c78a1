"""
Tests of L{atmosphere.network.path.prediction} against members that lie, and that
change their minds.
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.trial.unittest import SynchronousTestCase

from atmosphere.addresses import TransportAddress
from atmosphere.network.path.prediction import Phase
from atmosphere.network.path.prediction_message import PredictionMessage, Step
from atmosphere.network.path.ways import DirectWay
from atmosphere.network.stun.message import decode_message

from .hard_lane import EASY, HARD_HOST, HardPair

LIAR = DirectWay(TransportAddress("45.77.9.9", 4000))


class PlaceTests(SynchronousTestCase):
    """
    A member that agrees and takes it back, again and again, so that nobody else gets the
    one place of a node.
    """

    def held(self, pair: HardPair, name: str, twist: Callable[[float], None]) -> float:
        """
        Let a side be pestered every 50 ms for ten minutes.

        @param twist: told since when the side is not idle.
        @return: for which part of the time its place was taken.
        """
        taken, since = 0, pair.now
        for _ in range(20 * 600):
            twist(pair.now - since)
            if pair.prediction(name).phase is Phase.IDLE:
                since = pair.now
            taken += pair.budgets[name].is_held(pair.now)
            pair.run(0.05)
        return taken / (20 * 600)

    def test_accepted_and_stopped(self) -> None:
        """
        An easy side that accepts at the last moment and stops at once is soon asked no
        more than once a minute.
        """
        pair = HardPair(seed=1)
        pair.is_deaf = True
        pair.begin("a")
        side = pair.prediction("a")

        def twist(busy: float) -> None:
            """
            Accept and stop; it is proposed anew at once.
            """
            if side.phase is Phase.PROPOSED and busy % 2.9 > 2.8:
                side.heard(PredictionMessage(Step.ACCEPT, side._attempt), pair.now)
                side.heard(PredictionMessage(Step.STOP, side._attempt), pair.now)

        self.assertLess(self.held(pair, "a", twist), 0.1)
        self.assertLessEqual(len(pair.said), 4 + 10 + 1)
        self.assertEqual(pair.budgets["a"].counters.bursts, 0)

    def test_proposed_and_stopped(self) -> None:
        """
        A hard side that proposes, is heard so that the burst waits, and stops before it
        begins, is soon refused.
        """
        pair = HardPair(seed=1)
        pair.is_deaf = True
        pair.begin("b")
        side = pair.prediction("b")
        conversation = pair.a._checker.conversation

        def twist(busy: float) -> None:
            """
            Knock, propose, and stop when it is to begin.
            """
            check = conversation.new_check(DirectWay(EASY), pair.now, is_full=False, priority=1)
            pair.b.receive_datagram(check, LIAR, pair.now)
            if side.phase is Phase.AGREED and busy > 1.0:
                side.heard(PredictionMessage(Step.STOP, 7), pair.now)
            side.heard(PredictionMessage(Step.PROPOSE, 7), pair.now)

        self.assertLess(self.held(pair, "b", twist), 0.1)
        accepted = [each for _, _, each in pair.said if each.step is Step.ACCEPT]
        self.assertLessEqual(len(accepted), 4 + 10 + 1)
        self.assertTrue(any("several were agreed on of late" in each for each in pair.notes("b")))
        self.assertEqual(pair.budgets["b"].counters.probes, 0)

    def test_other_addresses(self) -> None:
        """
        Nor does it help to name other addresses each time, a thousand times.
        """
        pair = HardPair(seed=1)
        pair.is_deaf = True
        pair.begin("b")
        side = pair.prediction("b")

        def twist(busy: float) -> None:
            """
            Propose, and swap roles.
            """
            side.heard(PredictionMessage(Step.PROPOSE, 7), pair.now)
            pair.stable["a"] = not pair.stable["a"]
            pair.tell()

        self.assertLess(self.held(pair, "b", twist), 0.1)
        self.assertLessEqual(pair.budgets["b"].counters.bursts, 1)


class ThirdPartyTests(SynchronousTestCase):
    """
    Members that lie about where they are.
    """

    def test_met_elsewhere(self) -> None:
        """
        A member that has a third party probed, and then shows up at an address of its
        own, does not end the pause for that third party: nobody was met there.
        """
        pair = HardPair(seed=1)
        pair.is_deaf = True
        pair.begin()
        while pair.prediction("b").phase is not Phase.RUNNING:
            pair.run(0.01)
        pair.run(0.1)
        conversation = pair.a._checker.conversation
        check = conversation.new_check(DirectWay(EASY), pair.now, is_full=True, priority=1)
        pair.b.receive_datagram(check, LIAR, pair.now)
        pair.run(0.01)
        asked = next(data for _, way, data in reversed(pair.probes["b"]) if way == LIAR)
        answer = conversation.answer_to(asked, decode_message(asked), LIAR)
        if answer is None or decode_message(asked).is_response:
            self.fail("the liar was not checked")
        pair.b.receive_datagram(answer, LIAR, pair.now)
        self.assertEqual(pair.prediction("b").phase, Phase.IDLE)
        waits = pair.budgets["b"].wait("another member", HARD_HOST, pair.now)
        assert waits is not None
        self.assertGreater(waits[0], 590)
        self.assertEqual(pair.budgets["b"].counters.hits, 0)

    def test_nothing_is_kept(self) -> None:
        """
        Soon after a burst no probe is waited for: each link of a long life had 1,500 else.
        """
        pair = HardPair(seed=1)
        pair.is_deaf = True
        pair.begin()
        pair.run(20)
        self.assertEqual(pair.budgets["b"].counters.probes, 1500)
        for side in pair.sides.values():
            self.assertEqual(len(side._checker.conversation._probes), 0)
