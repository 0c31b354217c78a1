"""
Engines on virtual time: from timer to timer, without a clock.
"""

from __future__ import annotations

import heapq
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from itertools import count
from typing import Any

from atmosphere.engine import Engine

#: More steps than that mean that an engine wants to be called again at once, for ever.
MOST_STEPS = 200_000


class VirtualTime(ABC):
    """
    What some engines do as time passes, and what lies between them.

    @ivar now: the time, in seconds.
    """

    def __init__(self, now: float) -> None:
        self.now = now
        self._order = count()
        self._agenda: list[tuple[float, int, Callable[[], None]]] = []

    @abstractmethod
    def engines(self) -> Sequence[Engine[Any, Any]]:
        """
        List those whose timers are kept.
        """

    @abstractmethod
    def pump(self) -> None:
        """
        Take what they have to send and to report.
        """

    def at(self, when: float, do: Callable[[], None]) -> None:
        """
        Do something later.
        """
        heapq.heappush(self._agenda, (when, next(self._order), do))

    def run(self, seconds: float) -> None:
        """
        Let time pass.
        """
        end = self.now + seconds
        self.pump()
        for _ in range(MOST_STEPS):
            times = [engine.get_timer() for engine in self.engines()]
            due = [max(self.now, each) for each in times if each is not None]
            if self._agenda:
                due.append(max(self.now, self._agenda[0][0]))
            if not due or min(due) > end:
                break
            self.now = min(due)
            if self._agenda and self._agenda[0][0] <= self.now:
                heapq.heappop(self._agenda)[2]()
            for engine in self.engines():
                timer = engine.get_timer()
                if timer is not None and timer <= self.now:
                    engine.handle_timer(self.now)
            self.pump()
        else:
            raise AssertionError("the engines spin")
        self.now = end
        self.pump()
