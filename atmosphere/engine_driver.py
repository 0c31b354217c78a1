# -*- test-case-name: tests.test_engine_driver -*-
"""
The one Twisted shell around a sans-IO engine: one pump, one timer.

The driver is the only code that reads a clock. Engine time never steps back:
when the machine's clock does, engine time goes on from where it was.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from twisted.internet.interfaces import IDelayedCall, IReactorTime

from .engine import Engine

__all__ = ["EngineClock", "EngineDriver"]

#: So many datagrams that came together are acted on at once.
FEW = 2

PathT = TypeVar("PathT")
EventT = TypeVar("EventT")


class EngineClock:
    """
    Engine time on a reactor: seconds that never step back.

    Nor does it stand still until a clock that was set back has caught up, which
    may be a year. All that shares deadlines or budgets shares one of these.
    """

    def __init__(self, reactor: IReactorTime) -> None:
        self._reactor = reactor
        self._last = reactor.seconds()
        self._ahead = 0.0

    def now(self) -> float:
        """
        Say the time.

        @return: seconds; never less than what was returned before.
        """
        seconds = self._reactor.seconds()
        if seconds + self._ahead < self._last:
            self._ahead = self._last - seconds
        else:
            self._last = seconds + self._ahead
        return self._last


class EngineDriver(Generic[PathT, EventT]):
    """
    Pumps one engine: hands its datagrams to a sender, its events to a
    listener, and keeps its only delayed call.

    Pumping is done once per turn of the reactor, however many datagrams came
    in that turn, unless L{pump} is called outright.
    """

    def __init__(
        self,
        reactor: IReactorTime,
        engine: Engine[PathT, EventT],
        send: Callable[[list[tuple[bytes, PathT]]], None],
        deliver: Callable[[EventT], None],
        clock: EngineClock | None = None,
    ) -> None:
        self._reactor = reactor
        self._engine = engine
        self._send = send
        self._deliver = deliver
        self._clock = clock if clock is not None else EngineClock(reactor)
        self._timer: IDelayedCall | None = None
        self._soon: IDelayedCall | None = None
        self._is_stopped = False
        self._is_pumping = False
        self._is_delivering = False
        self._wants_more = False

    def now(self) -> float:
        """
        Say engine time, in seconds.
        """
        return self._clock.now()

    def receive_datagram(self, data: bytes, path: PathT) -> None:
        """
        Give the engine a datagram, and pump it at the end of this turn.
        """
        if self._is_stopped:
            return
        self._engine.receive_datagram(data, path, self._clock.now())
        self.pump_soon()

    def receive_datagrams(self, datagrams: Sequence[bytes], path: PathT) -> None:
        """
        Give the engine datagrams that came together by one path. A few are acted
        on at once: somebody waits for an answer. Of many, more are likely to come.
        """
        if self._is_stopped:
            return
        now, receive = self._clock.now(), self._engine.receive_datagram
        for data in datagrams:
            receive(data, path, now)
        if len(datagrams) <= FEW and self._soon is None:
            self.pump()
        else:
            self.pump_soon()

    def pump_soon(self) -> None:
        """
        Pump once, in the reactor's next turn; while events are delivered there
        is no need to, for what they cause is sent right after.
        """
        if self._soon is None and not self._is_stopped and not self._is_delivering:
            self._soon = self._reactor.callLater(0, self._pump_now)

    def _pump_now(self) -> None:
        """
        Do what L{pump_soon} put off.
        """
        self._soon = None
        self.pump()

    def pump(self) -> None:
        """
        Send what is to be sent, report what is to be reported, set the timer.

        A call from inside an event's delivery runs once the delivery is over.
        """
        if self._is_pumping:
            self._wants_more = True
            return
        self._is_pumping = True
        now: float | None = None
        try:
            self._wants_more = True
            while self._wants_more and not self._is_stopped:
                self._wants_more = False
                now = self._pump_once()
        except BaseException:
            self.pump_soon()  # the listener failed; what it was not told yet waits
            raise
        finally:
            self._is_pumping = False
            self._rearm(now)

    def _pump_once(self) -> float | None:
        """
        Report the events, then send; delivery may have made more to send.

        @return: when it was sent; C{None} if the driver was stopped meanwhile.
        """
        self._is_delivering = True
        try:
            while not self._is_stopped:
                event = self._engine.next_event()
                if event is None:
                    break
                self._deliver(event)
        finally:
            self._is_delivering = False
        if self._is_stopped:
            return None
        now = self._clock.now()
        datagrams = self._engine.datagrams_to_send(now)
        if datagrams:
            self._send(datagrams)
        return now

    def _rearm(self, now: float | None) -> None:
        """
        Set the one delayed call to the engine's next deadline.

        @param now: the time, if it was just read.
        """
        due = None if self._is_stopped else self._engine.get_timer()
        if due is None:
            if self._timer is not None:
                self._timer.cancel()
            self._timer = None
            return
        delay = max(0.0, due - (self._clock.now() if now is None else now))
        if self._timer is not None:
            self._timer.reset(delay)
        else:
            self._timer = self._reactor.callLater(delay, self._timer_fired)

    def _timer_fired(self) -> None:
        """
        Tell the engine that its deadline came.
        """
        self._timer = None
        self._engine.handle_timer(self._clock.now())
        self.pump()

    def stop(self) -> None:
        """
        Let go of the clock; from now on the driver does nothing.
        """
        self._is_stopped = True
        for call in (self._timer, self._soon):
            if call is not None and call.active():
                call.cancel()
        self._timer = self._soon = None
