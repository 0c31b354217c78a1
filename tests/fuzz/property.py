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

__all__ = [
    "CORPUS",
    "LONGEST",
    "SOON",
    "Target",
    "allocated",
    "long_inputs",
    "mutations",
    "timed",
    "try_input",
]

#: Inputs that once broke something, in one folder for each target.
CORPUS = Path(__file__).parent / "corpus"

#: The longest input, as a stream or a message may bring it at once.
LONGEST = 65_536

#: Seconds for one message of any length up to that; for a stream that was cut into
#: thousands of them, L{FOR_MANY}.
SOON = 0.005
FOR_MANY = 0.1

#: Bytes that may be allocated for an input at one time: so many for each of its
#: own, and what any needs. A message or value of one byte alone is an object of up to 72.
PER_BYTE = 10
PER_BYTE_OF_MANY = 80
FOR_ANY = 512 * 1024

Run = Callable[[bytes], object]


@dataclass(frozen=True)
class Target:
    """
    Something that takes bytes from a stranger.

    @ivar run: lets it take some.
    @ivar seeds: makes good inputs, from which a search begins.
    @ivar errors: with what it may refuse.
    @ivar is_many: it takes a stream of messages, each of which may be tiny.
    @ivar is_dense: it takes a message of values, each of which may be tiny.
    @ivar longest: what is longer was refused elsewhere.
    """

    run: Run
    seeds: Callable[[], list[bytes]]
    errors: tuple[type[Exception], ...] = (DecodeError,)
    is_many: bool = False
    is_dense: bool = False
    longest: int = LONGEST

    @property
    def soon(self) -> float:
        """
        Seconds that it may take.
        """
        return FOR_MANY if self.is_many else SOON


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
        per_byte = PER_BYTE_OF_MANY if target.is_many or target.is_dense else PER_BYTE
        return tracemalloc.get_traced_memory()[1], FOR_ANY + per_byte * len(data)
    finally:
        tracemalloc.stop()


def long_inputs(seeds: list[bytes], longest: int) -> Iterator[bytes]:
    """
    Make inputs as long as may be: good ones again and again, and such that have been
    trouble to parsers.
    """
    same = [bytes([each]) for each in b'\0\x01\x7f\x80\x81\x9f\xa0\xff[{"\\9 \n.:=']
    other = [
        b'{"a":',
        b"[1,",
        b"\0\x01\x80",
        b"\0\x02\xa0\x00",
        b"a=1\n",
        b"a: b\r\n",
        b"\r\n",
        b"{},",
    ]
    for piece in (*seeds, *same, *other):
        yield (piece * (longest // len(piece) + 1))[:longest]
    for good in seeds[:3]:
        for piece in (*same, *other):
            half = len(good) // 2
            yield good + (piece * longest)[: max(0, longest - len(good))]
            yield good[:half] + (piece * longest)[: max(0, longest - len(good))] + good[half:]


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
