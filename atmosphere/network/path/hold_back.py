# -*- test-case-name: tests.network.path.test_hold_back -*-
"""
Hysteresis: a way that fails soon after it was taken, again and again, is held back.
"""

from __future__ import annotations

__all__ = ["LONGEST_HOLD", "STABLE_AFTER", "HoldBack"]

#: A way that was in use for so many seconds is forgiven its earlier failures.
STABLE_AFTER = 60.0

#: Seconds: 2 after the second failure, then twice as long each time, up to this.
LONGEST_HOLD = 60.0

#: Failures that are counted: more hold no longer, and two to the power of many is no float.
MOST_FALLS = 16


class HoldBack:
    """
    Whether one way is held back, while there is another.
    """

    __slots__ = ("_falls", "_is_taken", "_taken_at", "_until")

    def __init__(self) -> None:
        self._falls = 0
        self._is_taken = False
        self._taken_at = self._until = float("-inf")

    def taken(self, now: float) -> None:
        """
        Data leaves by the way from now on.
        """
        self._is_taken = True
        self._taken_at = now

    def fell(self, now: float) -> None:
        """
        The way worked, and has failed. If it was not taken since it failed last, that says
        nothing new: it is neither held back for longer nor forgiven.
        """
        if not self._is_taken:
            return
        self._is_taken = False
        is_again = now - self._taken_at < STABLE_AFTER
        self._falls = min(MOST_FALLS, self._falls + 1) if is_again else 1
        if self._falls > 1:
            self._until = now + min(LONGEST_HOLD, 2.0 ** (self._falls - 1))

    def is_held(self, now: float) -> bool:
        """
        Say whether another way is to be preferred.
        """
        return now < self._until
