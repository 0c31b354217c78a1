"""
Tests of L{atmosphere.network.path.paths} against peers that change their minds, and clocks
that jump.
"""

from __future__ import annotations

from dataclasses import replace

from twisted.trial.unittest import SynchronousTestCase

from atmosphere.addresses import TransportAddress
from atmosphere.network.path.exchange import PathOffer
from atmosphere.network.path.prediction import Phase
from atmosphere.network.path.selection import PathPolicy

from .hard_lane import HardPair
from .lane import RELAY, TO_A, TO_B, B, Pair, host

YEAR = 365 * 86400.0


class ChangeTests(SynchronousTestCase):
    """
    A peer that says one thing and then another, a thousand times.
    """

    def test_offers(self) -> None:
        """
        Offers, withdrawals, restarts and other ports by turns bring a bounded number of
        checks; nothing grows, and the link is direct when the peer means it.
        """
        pair = Pair()
        pair.open()
        victim = TransportAddress("11.2.3.4", 5000)
        own = pair.b.local_offer([host(B)], [RELAY])
        turns: list[PathOffer] = [
            replace(own, candidates=(host(victim),), has_stable_port=False),
            replace(own, candidates=(), relays=()),
            replace(own, ufrag="abcdefgh"),
            replace(own, candidates=(host(B), host(victim)), has_stable_port=True),
        ]
        before = len(pair.lanes["a", TO_B].sent)
        for turn in range(1000):
            offer = replace(turns[turn % 4], generation=turn + 2)
            pair.a.set_remote_offer(offer, pair.now)
            pair.run(0.05)
        self.assertLessEqual(len(pair.strays), 7 + 2)
        self.assertLessEqual(len(pair.lanes["a", TO_B].sent) - before, 10 * 50 + 100)
        self.assertLessEqual(len(pair.a.snapshot()), 2 + 16)
        self.assertLessEqual(len(pair.a.decisions), 64)
        self.assertLessEqual(len(pair.a._checker.conversation._outstanding), 128)
        pair.a.set_remote_offer(replace(own, generation=2000), pair.now)
        pair.run(20)
        self.assertEqual((pair.a.active, pair.b.active), (TO_B, TO_A))

    def test_flapping(self) -> None:
        """
        A way that answers for a while and is mute for a while, a thousand times, is held
        back like any, and breaks nothing.
        """
        pair = Pair()
        pair.open()
        for turn in range(1000):
            pair.cut(TO_A, TO_B, is_up=turn % 2 == 1)
            pair.run(7.0)
        pair.cut(TO_A, TO_B, is_up=True)
        pair.run(120)
        self.assertEqual((pair.a.active, pair.b.active), (TO_B, TO_A))
        self.assertLessEqual(len(pair.changes("a")), 2 * 1000 * 7 / 60 + 20)

    def test_policies(self) -> None:
        """
        So is a user that wants another policy each time.
        """
        pair = Pair()
        pair.open()
        for turn in range(300):
            pair.a.set_policy(list(PathPolicy)[turn % len(PathPolicy)], pair.now)
            pair.run(0.2)
        pair.a.set_policy(PathPolicy.AUTO, pair.now)
        pair.run(20)
        self.assertEqual(pair.a.active, TO_B)


class ClockTests(SynchronousTestCase):
    """
    A machine whose clock jumps a year ahead at any moment; engine time never goes back.
    """

    def test_checks(self) -> None:
        """
        While checks, their answers, heartbeats and the search for larger datagrams are
        under way: a few datagrams, and all is as before.
        """
        for moment in (0.0, 0.0005, 0.0015, 0.02, 0.5, 1.2, 3.0, 7.0):
            pair = Pair()
            pair.connect()
            pair.exchange()
            pair.run(moment)
            before = sum(len(lane.sent) for lane in pair.lanes.values())
            pair.now += YEAR
            pair.run(20)
            after = sum(len(lane.sent) for lane in pair.lanes.values())
            self.assertLessEqual(after - before, 100, moment)
            self.assertEqual((pair.a.active, pair.b.active), (TO_B, TO_A), moment)
            self.assertFalse(pair.a.is_silent or pair.b.is_silent, moment)

    def test_silent(self) -> None:
        """
        While nothing answers.
        """
        pair = Pair()
        pair.open()
        for lane in pair.lanes.values():
            lane.is_up = False
        pair.run(100)
        pair.now += YEAR
        before = sum(len(lane.sent) for lane in pair.lanes.values())
        pair.run(10)
        self.assertLessEqual(sum(len(lane.sent) for lane in pair.lanes.values()) - before, 200)
        for lane in pair.lanes.values():
            lane.is_up = True
        pair.run(90)
        self.assertEqual((pair.a.active, pair.b.active), (TO_B, TO_A))

    def test_guessing(self) -> None:
        """
        While ports are guessed: the burst is over without a flood, and the next finds the way.
        """
        for moment in (0.0, 0.1, 0.3, 0.45, 1.0):
            pair = HardPair(seed=3)
            pair.is_deaf = True
            pair.begin()
            pair.run(moment)
            before = len(pair.probes["b"])
            pair.now += YEAR
            pair.is_deaf = False
            pair.run(0.001)
            self.assertLessEqual(len(pair.probes["b"]) - before, 60 + 20, moment)
            self.assertIsNotNone(pair.until_direct(700), moment)
            self.assertLessEqual(pair.budgets["b"].counters.probes, 2 * 1500)
            self.assertIs(pair.prediction("b").phase, Phase.IDLE)
            self.assertLessEqual(len(pair.sockets), 8)
