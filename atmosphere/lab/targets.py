# -*- test-case-name: tests.lab.test_targets -*-
"""
How soon two homes have to reach each other: the one table for laboratories of the
kernel and for simulations.

It holds where each home's uplink takes 20 ms one way, with the relay in the middle.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from statistics import median

from .kinds import Kind, Prospect, prospect

__all__ = ["Row", "Target", "carrier_target", "row", "runs_of", "target"]

#: How many times as many runs tell where chance decides when a pair becomes direct.
_CHANCE_RUNS = 5


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

    @property
    def words(self) -> str:
        """
        The target for people.
        """
        found = f"first byte {_limits(self.first, self.first_worst)}"
        if self.share:
            share = f"{self.share:.0%}".replace("%", " %")
            found += f"; direct {share}, {_limits(self.direct, self.direct_worst)}"
        return found

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
        found += _too_slow("first byte", answered, self.first, self.first_worst)
        if self.share:
            seconds = [each for each in direct if each is not None]
            if len(seconds) < self.share * len(direct):
                found.append(f"{len(seconds)} of {len(direct)} runs direct")
            found += _too_slow("direct", seconds, self.direct, self.direct_worst)
        return tuple(found)


def _limits(most: float, worst: float) -> str:
    """
    Write how long something may take.
    """
    return f"{most * 1000:.0f} ms (worst {worst * 1000:.0f} ms)"


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
_NEAR = Target(first=0.2, first_worst=0.5, share=0)
_RELAYED = Target(first=0.5, first_worst=0.5, share=0)


class Row(Enum):
    """
    The pairs that have one target.
    """

    EASY = "none, full-cone, address-restricted, port-restricted, cgnat, same-lan with each other"
    EASY_SYMMETRIC = "symmetric with none, full-cone, address-restricted"
    SAME_LAN = "two on one LAN"
    HARD = "symmetric with port-restricted, cgnat, same-lan"
    HAIRPIN = "two behind one carrier that hairpins"
    CARRIER = "two behind one carrier that does not"
    RELAYED = "symmetric with symmetric; udp-blocked or tcp-443-only with any"
    IPV6 = "ipv6 with ipv6"
    IPV4 = "ipv6 with homes that have IPv4 alone, where direct: by IPv4"


def row(one: Kind, two: Kind) -> Row:
    """
    Say to which row of the table a pair belongs.
    """
    hopes, kinds = prospect(one, two), {one, two}
    if kinds == {Kind.SAME_CGNAT_HAIRPIN}:
        return Row.HAIRPIN
    if kinds == {Kind.SAME_CGNAT}:
        return Row.CARRIER
    if kinds == {Kind.SAME_LAN}:
        return Row.SAME_LAN
    if hopes is Prospect.RELAYED:
        return Row.RELAYED
    if Kind.IPV6 in kinds:
        return Row.IPV6 if kinds == {Kind.IPV6} else Row.IPV4
    if hopes is Prospect.HARD:
        return Row.HARD
    return Row.EASY_SYMMETRIC if Kind.SYMMETRIC in kinds else Row.EASY


def target(one: Kind, two: Kind) -> Target:
    """
    Say what a pair of homes has to reach.
    """
    match row(one, two):
        case Row.SAME_LAN:
            return _SAME_LAN
        case Row.CARRIER:
            return _NEAR
        case _:
            hopes = {Prospect.DIRECT: _EASY, Prospect.HARD: _HARD, Prospect.RELAYED: _RELAYED}
            return hopes[prospect(one, two)]


def runs_of(one: Kind, two: Kind, runs: int) -> int:
    """
    Say how often a pair is tried in a series.

    Guessed ports meet by chance, after a quarter of a second on average and one in
    seven times after half a second: the median of few runs says little of that.

    @param runs: how often other pairs are; one alone is no series.
    """
    is_chance = prospect(one, two) is Prospect.HARD and runs > 1
    return runs * _CHANCE_RUNS if is_chance else runs


def carrier_target(*, is_hairpinning: bool) -> Target:
    """
    Say what two homes behind one carrier's NAT have to reach.

    @param is_hairpinning: whether it lets them reach each other by its public address.
    """
    return _EASY if is_hairpinning else _NEAR
