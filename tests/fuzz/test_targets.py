"""
Tests for every decoder: good inputs, changed ones, and all that ever broke one.
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.trial.unittest import SynchronousTestCase

from .property import CORPUS, allocated, long_inputs, mutations, timed
from .targets import TARGETS

#: A busy machine may be so many times slower.
SLACK = 10

CHANGED = 150


def inputs(name: str) -> list[tuple[str, bytes]]:
    """
    Give the good inputs of a target, and those that once broke it.
    """
    kept = sorted((CORPUS / name).iterdir()) if (CORPUS / name).is_dir() else []
    good = [("a good input", each) for each in TARGETS[name].seeds()]
    return good + [(str(path), path.read_bytes()) for path in kept]


class TargetTests(SynchronousTestCase):
    """
    A value or the decoder's own error, soon, and in bounded memory.
    """


def make(name: str) -> Callable[[TargetTests], None]:
    """
    Make the test of one target.
    """

    def test(self: TargetTests) -> None:
        target = TARGETS[name]
        known = inputs(name)
        changed = mutations([data for _, data in known], CHANGED, name)
        for what, data in [*known, *(("a changed input", each) for each in changed)]:
            data = data[: target.longest]
            seconds = timed(target, data)
            self.assertLess(seconds, SLACK * target.soon, f"{what}: {data[:200]!r}")
        for data in long_inputs([data for _, data in known], target.longest):
            self.assertLess(timed(target, data), SLACK * target.soon, data[:100])
        for what, data in known:
            taken, most = allocated(target, data[: target.longest])
            self.assertLess(taken, most, what)

    test.__doc__ = f"Nothing that is told to {name} breaks it."
    return test


for each in TARGETS:
    setattr(TargetTests, f"test_{each.replace('-', '_')}", make(each))
