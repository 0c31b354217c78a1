"""
Chance and the time of day that can be repeated.
"""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from atmosphere.testing import seeded_entropy, seeded_random, wall_clock


class RandomnessTests(SynchronousTestCase):
    """
    The sources that are handed to programs under test.
    """

    def test_entropy(self) -> None:
        """
        The same seed gives the same bytes, as many as were asked for.
        """
        first, again, other = seeded_entropy(1), seeded_entropy(1), seeded_entropy("1b")
        drawn = [first(0), first(12), first(32)]
        self.assertEqual([len(each) for each in drawn], [0, 12, 32])
        self.assertEqual([again(0), again(12), again(32)], drawn)
        self.assertNotEqual([other(0), other(12), other(32)], drawn)

    def test_random(self) -> None:
        """
        The same seed gives the same numbers, all of them in [0, 1).
        """
        first, again = seeded_random(1), seeded_random(1)
        drawn = [first() for _ in range(100)]
        self.assertEqual([again() for _ in range(100)], drawn)
        self.assertTrue(all(0 <= each < 1 for each in drawn))

    def test_wall_clock(self) -> None:
        """
        The time of day goes with the clock.
        """
        clock = Clock()
        wall = wall_clock(clock, 1000)
        self.assertEqual(wall(), 1000)
        clock.advance(2.5)
        self.assertEqual(wall(), 1002.5)
        self.assertTrue(wall_clock(clock)() > 1_700_000_000)
