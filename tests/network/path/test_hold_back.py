"""
Tests of L{atmosphere.network.path.hold_back}.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from atmosphere.network.path.hold_back import HoldBack


class HoldBackTests(SynchronousTestCase):
    """
    How long a way is held back.
    """

    def held(self, hold: HoldBack, now: float) -> int:
        """
        Say for how many seconds it is held from now on.
        """
        return next(wait for wait in range(100) if not hold.is_held(now + wait))

    def test_table(self) -> None:
        """
        Not after the first failure; then for 2, 4 … 60 s, if each came within a minute
        of being taken.
        """
        hold = HoldBack()
        held = []
        for turn in range(8):
            hold.taken(100.0 * turn)
            hold.fell(100.0 * turn + 59.0)
            held.append(self.held(hold, 100.0 * turn + 59.0))
        self.assertEqual(held, [0, 2, 4, 8, 16, 32, 60, 60])

    def test_for_ever(self) -> None:
        """
        A way that fails ten thousand times is held for no longer than one that fails ten
        times, and nothing overflows.
        """
        hold = HoldBack()
        for turn in range(10_000):
            hold.taken(100.0 * turn)
            hold.fell(100.0 * turn + 1.0)
        self.assertEqual(self.held(hold, 100.0 * turn + 1.0), 60)

    def test_forgiven(self) -> None:
        """
        A minute of use forgives.
        """
        hold = HoldBack()
        for now in (0.0, 10.0, 20.0):
            hold.taken(now)
            hold.fell(now + 5.0)
        hold.taken(30.0)
        hold.fell(90.0)
        self.assertEqual(self.held(hold, 100.0), 0)

    def test_fails_while_held(self) -> None:
        """
        Minutes in which it comes and goes without being used forgive nothing.
        """
        hold = HoldBack()
        for now in (0.0, 10.0, 20.0, 30.0):
            hold.taken(now)
            hold.fell(now + 5.0)
        for now in (50.0, 70.0, 90.0, 110.0):
            hold.fell(now)
        hold.taken(120.0)
        hold.fell(125.0)
        self.assertEqual(self.held(hold, 125.0), 16)

    def test_never_taken(self) -> None:
        """
        A way that fails without having been used is not held back.
        """
        hold = HoldBack()
        hold.fell(1.0)
        hold.fell(2.0)
        self.assertFalse(hold.is_held(2.0))
