# -*- test-case-name: tests.node.test_wakefulness -*-
"""
That a process slept: its machine did, or somebody stopped it.
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall

__all__ = ["Wakefulness"]

#: Seconds between two ticks.
TICK = 1.0

#: Seconds without a tick that are a sleep.
NAP = 3.0

#: Seconds after waking in which what comes has waited for us.
STALE_FOR = 0.1


class Wakefulness:
    """
    Notices after the fact that time has passed in which nothing was done.

    What came meanwhile is best lost: an acknowledgement that waited ten minutes
    makes QUIC believe in a round trip of ten minutes, and send accordingly.
    """

    def __init__(
        self, clock: IReactorTime, woke: Callable[[], object], *, tick: float = TICK
    ) -> None:
        """
        @param woke: called once after each sleep.
        @param tick: seconds between two looks.
        """
        self._every = tick
        self._clock = clock
        self._woke = woke
        self._seen = clock.seconds()
        self._stale_until = float("-inf")
        self._loop = LoopingCall(self._tick)
        self._loop.clock = clock

    def start(self) -> None:
        """
        Begin to watch.
        """
        self._seen = self._clock.seconds()
        self._loop.start(self._every)

    def stop(self) -> None:
        """
        Watch no more.
        """
        if self._loop.running:
            self._loop.stop()

    def _tick(self) -> None:
        """
        Note that we are awake.
        """
        self.is_stale()
        self._seen = self._clock.seconds()

    def is_stale(self) -> bool:
        """
        Say whether what comes now came while we slept.
        """
        now = self._clock.seconds()
        if now - self._seen >= NAP and self._loop.running:
            self._seen = now
            self._stale_until = now + STALE_FOR
            self._woke()
        return now < self._stale_until
