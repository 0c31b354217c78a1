# -*- test-case-name: tests.network.path.test_quality -*-
"""
How well a way carries checks: how many of them are lost, and by how much the
round trip varies.
"""

from __future__ import annotations

from collections import OrderedDict

__all__ = ["Quality"]

#: Checks that are looked at: the last ones.
WINDOW = 200

#: Seconds after which an answer counts as lost.
PATIENCE = 1.0

#: The fewest checks that say anything about loss.
LEAST_CHECKS = 5


class Quality:
    """
    What the checks of one way say about it.

    @ivar jitter: in seconds, smoothed as RFC 3550 §6.4.1 does it, of the round trip;
        C{None} before the second answer.
    """

    __slots__ = ("_checks", "_last", "jitter")

    def __init__(self) -> None:
        self.jitter: float | None = None
        self._last: float | None = None
        self._checks: OrderedDict[float, bool] = OrderedDict()

    def begin(self) -> None:
        """
        Count anew: the way has begun to answer.
        """
        self.jitter = self._last = None
        self._checks.clear()

    def sent(self, now: float) -> None:
        """
        A check left.
        """
        self._checks[now] = False
        if len(self._checks) > WINDOW:
            self._checks.popitem(last=False)

    def answered(self, now: float, sent_at: float) -> None:
        """
        A check was answered.
        """
        if sent_at in self._checks:
            self._checks[sent_at] = True
        rtt = now - sent_at
        if self._last is not None:
            before = self.jitter or 0.0
            self.jitter = before + (abs(rtt - self._last) - before) / 16
        self._last = rtt

    def loss(self, now: float) -> float | None:
        """
        Say which share of the checks had no answer: 0 to 1, both directions together.

        @return: C{None} while there were too few.
        """
        told = [
            is_answered
            for sent_at, is_answered in self._checks.items()
            if is_answered or now - sent_at > PATIENCE
        ]
        return told.count(False) / len(told) if len(told) >= LEAST_CHECKS else None
