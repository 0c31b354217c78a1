"""
All pairs of homes, once: who is connected, who directly, and how soon.

C{python -m benchmarks.paths} does the same with many seeds.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from atmosphere.lab.kinds import Kind, Prospect, all_pairs, prospect
from atmosphere.testing import HomeKind

from .pairs import Pair, meet

#: Simulated seconds to the first direct answer: what holds now. The targets are in
#: C{atmosphere/lab/targets.py}.
DIRECT = 0.36


class PairTests(SynchronousTestCase):
    """
    Each pair, from one seed.
    """

    def pairs(self, wanted: Prospect) -> list[Pair]:
        """
        List the pairs whose NATs allow so much.
        """
        return [Pair(*kinds) for kinds in all_pairs() if prospect(*kinds) is wanted]

    def test_kinds(self) -> None:
        """
        The homes of simulations are those of laboratories.
        """
        self.assertEqual([kind.value for kind in HomeKind], [kind.value for kind in Kind])

    def test_direct(self) -> None:
        """
        Where the NATs allow it, the two are connected and direct at once.
        """
        pairs = self.pairs(Prospect.DIRECT)
        self.assertGreater(len(pairs), 25)
        for pair in pairs:
            found = meet(pair, 1)
            self.assertIn(found.path, ("direct", "punched"), pair)
            assert found.first is not None and found.direct is not None
            self.assertLessEqual(found.first, pair.target.first, pair)
            self.assertLessEqual(found.direct, min(DIRECT, pair.target.direct_worst), pair)

    def test_same_lan(self) -> None:
        """
        On one LAN the target holds.
        """
        pair = Pair(Kind.SAME_LAN, Kind.SAME_LAN)
        found = meet(pair, 1)
        self.assertEqual(pair.target.misses([found.first], [found.direct]), ())

    def test_hard(self) -> None:
        """
        A NAT with a port for each destination before one that lets in answers alone:
        connected at once, and direct by guessing ports.
        """
        for pair in self.pairs(Prospect.HARD):
            found = meet(pair, 1)
            assert found.first is not None and found.direct is not None, pair
            self.assertLessEqual(found.first, pair.target.first, pair)
            self.assertLessEqual(found.direct, pair.target.direct_worst, pair)
            self.assertLessEqual(found.mappings, 256 + 20, pair)

    def test_relayed(self) -> None:
        """
        Where the NATs allow nothing else, the two are connected over the relay, at once.
        """
        pairs = self.pairs(Prospect.RELAYED)
        self.assertGreater(len(pairs), 20)
        for pair in pairs:
            found = meet(pair, 1)
            self.assertEqual((found.path, found.direct), ("relayed", None), pair)
            assert found.first is not None
            self.assertLessEqual(found.first, pair.target.first, pair)
