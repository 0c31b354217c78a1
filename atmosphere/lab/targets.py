# -*- test-case-name: tests.lab.test_targets -*-
"""
How soon two homes have to reach each other: the one table for laboratories of the
kernel and for simulations.

It holds where each home's uplink takes 20 ms one way, with the relay in the middle.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from .kinds import Kind, Prospect, prospect

__all__ = ["Target", "carrier_target", "target"]


@dataclass(frozen=True, slots=True)
class Target:
    """
    What has to be reached by a pair.

    Every run has to end with an answer, by whatever path.

    @ivar first: seconds to the first answer, in the median.
    @ivar first_worst: the same, in the slowest run.
    @ivar share: how many of all runs become direct, of 1; 0 if none can be asked to.
    @ivar direct: seconds to the first answer by a direct path, in the median.
    @ivar direct_worst: the same, in the slowest run.
    """

    first: float
    first_worst: float
    share: float = 1.0
    direct: float = 0.3
    direct_worst: float = 1.0

    def misses(
        self, first: Sequence[float | None], direct: Sequence[float | None]
    ) -> tuple[str, ...]:
        """
        Say what was not reached.

        @param first: seconds to the first answer, for each run; C{None} if none came.
        @param direct: the same to the first one by a direct path.
        @return: one line for each; none if all is well.
        """
        found = []
        answered = [each for each in first if each is not None]
        if len(answered) < len(first) or not first:
            found.append(f"{len(answered)} of {len(first)} runs connected")
        found += _too_slow("first answer", answered, self.first, self.first_worst)
        if self.share:
            seconds = [each for each in direct if each is not None]
            if len(seconds) < self.share * len(direct):
                found.append(f"{len(seconds)} of {len(direct)} runs direct")
            found += _too_slow("direct", seconds, self.direct, self.direct_worst)
        return tuple(found)


def _too_slow(what: str, seconds: Sequence[float], most: float, worst: float) -> list[str]:
    """
    Compare times with what they may be; they are rounded as they are shown.
    """
    if not seconds:
        return []
    found = []
    for word, taken, limit in (
        ("median", median(seconds), most),
        ("worst", max(seconds), worst),
    ):
        if round(taken, 3) > limit:
            found.append(f"{what} {word} {taken:.3f} s, not {limit:g} s")
    return found


_EASY = Target(first=0.2, first_worst=0.5)
_SAME_LAN = Target(first=0.2, first_worst=0.5, direct=0.05)
_HARD = Target(first=0.5, first_worst=0.5, share=0.99, direct=0.8, direct_worst=3.0)
_RELAYED = Target(first=0.5, first_worst=0.5, share=0)


def target(one: Kind, two: Kind) -> Target:
    """
    Say what a pair of homes has to reach.
    """
    if one is two is Kind.SAME_LAN:
        return _SAME_LAN
    return {Prospect.DIRECT: _EASY, Prospect.HARD: _HARD, Prospect.RELAYED: _RELAYED}[
        prospect(one, two)
    ]


def carrier_target(*, is_hairpinning: bool) -> Target:
    """
    Say what two homes behind one carrier's NAT have to reach.

    @param is_hairpinning: whether it lets them reach each other by its public address.
    """
    return _EASY if is_hairpinning else _RELAYED
