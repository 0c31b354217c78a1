# -*- test-case-name: tests.lab.test_tables -*-
"""
What became of many pairs, beside what had to be reached.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from .targets import Row, Target, row, target
from .trial import Outcome
from .wire import Conditions

__all__ = ["RowResult", "has_targets", "misses", "sum_up"]

JSON = dict[str, Any]


def has_targets(conditions: Conditions) -> bool:
    """
    Say whether there are targets for homes at this distance: for one alone there are.
    """
    return conditions == Conditions()


def misses(outcome: Outcome) -> tuple[str, ...]:
    """
    Say what a pair did not reach.
    """
    if outcome.error is not None:
        return (outcome.error,)
    return target(*outcome.kinds).misses(
        [_seconds(run.first_reply_ms) for run in outcome.runs],
        [_seconds(run.direct_ms) for run in outcome.runs],
    )


def _seconds(milliseconds: float | None) -> float | None:
    """
    Convert a time, if there is one.
    """
    return None if milliseconds is None else milliseconds / 1000


@dataclass
class RowResult:
    """
    The pairs of a row.

    @ivar row: which one.
    @ivar outcomes: theirs, at least one.
    """

    row: Row
    outcomes: list[Outcome] = field(default_factory=list)

    @property
    def runs(self) -> int:
        """
        How often they looked for each other.
        """
        return sum(len(outcome.runs) for outcome in self.outcomes)

    @property
    def connected(self) -> int:
        """
        How many of these had an answer.
        """
        return sum(
            run.first_reply_ms is not None for outcome in self.outcomes for run in outcome.runs
        )

    @property
    def direct(self) -> int:
        """
        How many became direct.
        """
        return sum(outcome.direct for outcome in self.outcomes)

    @property
    def targets(self) -> list[Target]:
        """
        What had to be reached: one, unless the NATs of the row's pairs differ.
        """
        return list(dict.fromkeys(target(*outcome.kinds) for outcome in self.outcomes))

    @property
    def misses(self) -> list[str]:
        """
        What was not reached, with the pair that did not.
        """
        return [f"{each.pair}: {miss}" for each in self.outcomes for miss in misses(each)]

    def times(self, name: str) -> JSON | None:
        """
        Sum up C{first_reply_ms} or C{direct_ms}: the median of the slowest pair, and the
        slowest run of all.
        """
        found = [each for outcome in self.outcomes if (each := outcome.times(name)) is not None]
        if not found:
            return None
        return {key: max(each[key] for each in found) for key in ("median", "max")}

    def as_json(self) -> JSON:
        """
        Write it down.
        """
        return {
            "row": self.row.name.lower(),
            "words": self.row.value,
            "target": [each.words for each in self.targets],
            "pairs": len(self.outcomes),
            "runs": self.runs,
            "connected": self.connected,
            "direct": self.direct,
            "first_reply_ms": self.times("first_reply_ms"),
            "direct_ms": self.times("direct_ms"),
            "holds": not self.misses,
            "misses": self.misses,
        }


def sum_up(outcomes: Iterable[Outcome]) -> list[RowResult]:
    """
    Sort pairs into the rows of the table; those without any are left out.
    """
    found = {each: RowResult(each) for each in Row}
    for outcome in outcomes:
        found[row(*outcome.kinds)].outcomes.append(outcome)
    return [each for each in found.values() if each.outcomes]
