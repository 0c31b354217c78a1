# -*- test-case-name: tests.testing.test_randomness -*-
"""
Entropy, chance and the time of day, as arguments that a test can repeat.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from twisted.internet.interfaces import IReactorTime

__all__ = ["seeded_entropy", "seeded_random", "wall_clock"]


def seeded_entropy(seed: int | str) -> Callable[[int], bytes]:
    """
    Make a source of bytes that are the same for the same seed.

    It stands where C{secrets.token_bytes} stands in a running program, and is
    of course no secret.
    """
    return Random(f"entropy {seed}").randbytes


def seeded_random(seed: int | str) -> Callable[[], float]:
    """
    Make a source of numbers in [0, 1) that are the same for the same seed.
    """
    return Random(f"random {seed}").random


def wall_clock(clock: IReactorTime, epoch: float = 1_800_000_000.0) -> Callable[[], float]:
    """
    Make the time of day of a simulation.

    @param epoch: POSIX seconds at the clock's zero; unless told otherwise a
        moment in January 2027.
    """
    return lambda: epoch + clock.seconds()
