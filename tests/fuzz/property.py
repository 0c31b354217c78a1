"""
What holds for any input to a decoder: it gives a value or its own error, soon, and
takes no more memory than the input deserves.
"""

from __future__ import annotations

import hashlib
import random
import time
import tracemalloc
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from twisted.logger import ILogObserver, globalLogPublisher
from zope.interface import implementer

from atmosphere.errors import DecodeError

__all__ = ["CORPUS", "LONGEST", "SOON", "Target", "allocated", "mutations", "timed", "try_input"]

#: Inputs that once broke something, in one folder for each target.
CORPUS = Path(__file__).parent / "corpus"

#: The longest input, as a stream or a message may bring it at once.
LONGEST = 65_536

#: Seconds for an input of any length up to that.
SOON = 0.005

#: Bytes that may be allocated for an input at one time: so many for each of its
#: own, and what any needs.
PER_BYTE = 10
FOR_ANY = 512 * 1024

Run = Callable[[bytes], object]


@dataclass(frozen=True)
class Target:
    """
    Something that takes bytes from a stranger.

    @ivar run: lets it take some.
    @ivar seeds: makes good inputs, from which a search begins.
    @ivar errors: with what it may refuse.
    @ivar soon: seconds that it may take.
    @ivar longest: what is longer was refused elsewhere.
    """

    run: Run
    seeds: Callable[[], list[bytes]]
    errors: tuple[type[Exception], ...] = (DecodeError,)
    soon: float = SOON
    longest: int = LONGEST


def try_input(target: Target, data: bytes) -> None:
    """
    Let a target take an input.

    @raise Exception: what it should not have raised.
    @raise AssertionError: it logged a failure: an error that was caught, but not foreseen.
    """
    failures: list[Any] = []

    @implementer(ILogObserver)
    def observe(event: Any) -> None:
        if event.get("log_failure") is not None:
            failures.append(event["log_failure"])

    globalLogPublisher.addObserver(observe)
    try:
        target.run(data)
    except target.errors:
        return
    finally:
        globalLogPublisher.removeObserver(observe)
    if failures:
        raise AssertionError(failures[0].getTraceback())


def timed(target: Target, data: bytes, tries: int = 3) -> float:
    """
    Measure how long a target needs for an input, disturbed as little as can be.

    @return: seconds, the best of some tries.
    """
    best = float("inf")
    for _ in range(tries):
        before = time.perf_counter()
        try_input(target, data)
        best = min(best, time.perf_counter() - before)
        if best <= target.soon:
            break
    return best


def allocated(target: Target, data: bytes) -> tuple[int, int]:
    """
    Measure how much memory a target took for an input.

    @return: bytes at one time, and how many it may take.
    """
    try_input(target, data)  # what is kept for ever is not the input's
    tracemalloc.start()
    try:
        try_input(target, data)
        return tracemalloc.get_traced_memory()[1], FOR_ANY + PER_BYTE * len(data)
    finally:
        tracemalloc.stop()


def mutations(seeds: list[bytes], count: int, seed: str) -> Iterator[bytes]:
    """
    Change good inputs here and there, the same in each run.

    @param seed: which changes.
    """
    number = int.from_bytes(hashlib.sha256(seed.encode()).digest()[:8], "big")
    source = random.Random(number)
    for _ in range(count):
        data = bytearray(source.choice(seeds))
        for _ in range(source.randint(1, 4)):
            at = source.randint(0, len(data))
            match source.randint(0, 6):
                case 0:
                    data[at : at + 1] = bytes([source.randint(0, 255)])
                case 1 if at < len(data):
                    data[at] ^= 1 << source.randint(0, 7)
                case 2:
                    del data[at:]
                case 3:
                    del data[at : at + source.randint(1, 8)]
                case 4:
                    other = source.choice(seeds)
                    data[at:at] = other[source.randint(0, len(other)) :]
                case 5:
                    data[at : at + 4] = source.choice(
                        [b"\xff" * 4, bytes(4), b"\x7f\xff\xff\xff", b"\x00\x00\xff\xff"]
                    )
                case _:
                    data[at:at] = data[at : at + 64] * source.randint(1, 64)
        yield bytes(data[:LONGEST])
