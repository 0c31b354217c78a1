# -*- test-case-name: tests.testing.test_agenda -*-
"""
All that is due in a simulation, behind a single delayed call of its clock.

C{twisted.internet.task.Clock} sorts its calls whenever one is added, which is
dear once there are thousands. The agenda keeps a heap, and asks the clock only
for the time of its first entry. What is due at one time is done in the order
in which it was put down, so that a run can be repeated.
"""

from __future__ import annotations

from collections.abc import Callable
from heapq import heapify, heappop, heappush
from typing import Any

from twisted.internet.base import DelayedCall
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.task import Clock
from twisted.logger import Logger

__all__ = ["Agenda", "StandstillError"]


class StandstillError(Exception):
    """
    Something calls itself again with no delay, for ever: time cannot go on.
    """


class Agenda:
    """
    A heap of calls to make, in order of time.

    @ivar clock: the clock that they are made on.
    @ivar most_at_once: so many at one time mean that something calls itself for ever.
    """

    _log = Logger()

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.most_at_once = 1_000_000
        self._heap: list[tuple[float, int, Callable[[Any], object], Any]] = []
        self._order = 0
        self._armed: IDelayedCall | None = None
        self._armed_for = float("inf")
        self._is_running = False
        self._calls: dict[DelayedCall, object] = {}
        self._stale = 0
        self._parked: dict[object, list[DelayedCall]] = {}

    def seconds(self) -> float:
        """
        Say the time.
        """
        return self.clock.rightNow

    def at(self, when: float, function: Callable[[Any], object], argument: Any) -> None:
        """
        Put down a call that nobody will take back.

        @param when: the clock's time; what is past is done now.
        """
        self._order += 1
        heappush(self._heap, (when, self._order, function, argument))
        if when < self._armed_for and not self._is_running:
            self._arm()

    def call_later(
        self,
        owner: object,
        delay: float,
        function: Callable[..., object],
        args: tuple[object, ...] = (),
        kwargs: dict[str, object] | None = None,
    ) -> DelayedCall:
        """
        Put down a call that may be taken back or moved.

        @param owner: whose call it is, for L{calls_of} and L{forget}.
        @raise ValueError: a negative delay.
        """
        if delay < 0:
            raise ValueError(f"a delay of {delay} seconds")
        call = DelayedCall(
            self.clock.rightNow + delay,
            function,
            args,
            kwargs or {},
            self._cancelled,
            self._reset,
            self.seconds,
        )
        self._calls[call] = owner
        self.at(call.time, self._make, call)
        return call

    def calls_of(self, owner: object) -> list[DelayedCall]:
        """
        List the calls that an owner still has to come.
        """
        return [call for call, each in self._calls.items() if each is owner]

    def forget(self, owner: object) -> None:
        """
        Take back all calls of an owner.
        """
        for call in self.calls_of(owner):
            call.cancel()

    def park(self, owner: object) -> None:
        """
        Make none of an owner's calls until L{unpark}; they stay active.
        """
        self._parked.setdefault(owner, [])

    def unpark(self, owner: object) -> None:
        """
        Make an owner's calls again; those whose time came meanwhile are due now.
        """
        for call in self._parked.pop(owner, ()):
            self.at(self.clock.rightNow, self._make, call)

    def _cancelled(self, call: DelayedCall) -> None:
        """
        Note that a call was taken back; its entry goes when its time comes.
        """
        del self._calls[call]
        self._stale += 1
        if self._stale > 64 and self._stale > len(self._heap) // 2:
            self._heap = [
                entry
                for entry in self._heap
                if not isinstance(entry[3], DelayedCall) or entry[3] in self._calls
            ]
            heapify(self._heap)
            self._stale = 0
        if not self._is_running:
            self._arm()

    def _reset(self, call: DelayedCall) -> None:
        """
        Note that a call was moved to an earlier time.
        """
        self.at(call.time, self._make, call)

    def _make(self, call: DelayedCall) -> None:
        """
        Make a call, unless it was taken back, made or put off.
        """
        owner = self._calls.get(call, self)
        if owner is self:
            self._stale = max(0, self._stale - 1)
        elif call.getTime() > self.clock.rightNow:
            call.activate_delay()
            self.at(call.time, self._make, call)
        elif owner in self._parked:
            self._parked[owner].append(call)
        else:
            del self._calls[call]
            call.called = 1
            call.func(*call.args, **call.kw)

    def _arm(self) -> None:
        """
        Have the clock call for the first entry that still stands.
        """
        heap = self._heap
        while heap and isinstance(heap[0][3], DelayedCall):
            when, _, _, call = heap[0]
            if call not in self._calls:
                heappop(heap)
                self._stale = max(0, self._stale - 1)
            elif call.getTime() > when:
                heappop(heap)
                call.activate_delay()
                self._order += 1
                heappush(heap, (call.time, self._order, self._make, call))
            else:
                break
        due = heap[0][0] if heap else None
        if self._armed is not None:
            if due == self._armed_for:
                return
            self._armed.cancel()
            self._armed = None
            self._armed_for = float("inf")
        if due is not None:
            self._armed_for = due
            self._armed = self.clock.callLater(max(0.0, due - self.clock.rightNow), self._run)

    def _run(self) -> None:
        """
        Do all that is due.
        """
        self._armed = None
        self._armed_for = float("inf")
        self._is_running = True
        now = self.clock.rightNow
        left = self.most_at_once
        try:
            while self._heap and self._heap[0][0] <= now:
                _, _, function, argument = heappop(self._heap)
                try:
                    function(argument)
                except Exception:
                    self._log.failure("while doing what was due at {now}", now=now)
                left -= 1
                if not left:
                    raise StandstillError(f"time does not get past {now}")
        finally:
            self._is_running = False
            self._arm()
