"""
Tests for L{atmosphere.engine_driver}, and for the contract of L{atmosphere.engine}.
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from typing_extensions import override

from atmosphere.engine import Engine
from atmosphere.engine_driver import EngineClock, EngineDriver


class Script:
    """
    An engine that notes how it is driven.

    @ivar calls: what was called, and when.
    @ivar events: what it will report.
    @ivar out: what it will send.
    @ivar timer: when it wants to be called.
    """

    def __init__(self) -> None:
        self.calls: list[tuple[object, ...]] = []
        self.events: list[str] = []
        self.out: list[tuple[bytes, str]] = []
        self.timer: float | None = None
        self.next_timer: float | None = None

    def receive_datagram(self, data: bytes, path: str, now: float) -> None:
        """
        Note it, and answer.
        """
        self.calls.append(("received", data, path, now))
        self.out.append((data.upper(), path))

    def datagrams_to_send(self, now: float) -> list[tuple[bytes, str]]:
        """
        Hand out what there is.
        """
        self.calls.append(("asked", now))
        out, self.out = self.out, []
        return out

    def get_timer(self) -> float | None:
        """
        Say when.
        """
        return self.timer

    def handle_timer(self, now: float) -> None:
        """
        Note it.
        """
        self.calls.append(("timer", now))
        self.timer = self.next_timer
        self.next_timer = None

    def next_event(self) -> str | None:
        """
        Hand out the oldest.
        """
        return self.events.pop(0) if self.events else None


class SteppingClock(Clock):
    """
    A clock that somebody sets.
    """

    step = 0.0

    @override
    def seconds(self) -> float:
        """
        Say the time, as it was set.
        """
        return super().seconds() + self.step


class DriverTests(SynchronousTestCase):
    """
    One pump a turn, one timer, and nothing after the end.
    """

    @override
    def setUp(self) -> None:
        """
        Make an engine and its driver.
        """
        self.clock = Clock()
        self.clock.advance(100)
        self.engine = Script()
        self.sent: list[list[tuple[bytes, str]]] = []
        self.delivered: list[str] = []
        self.deliver: Callable[[str], None] = self.delivered.append
        self.driver = EngineDriver(
            self.clock, self.engine, self.sent.append, lambda event: self.deliver(event)
        )

    def times(self, name: str) -> list[object]:
        """
        List when the engine was called by one of its verbs.
        """
        return [call[-1] for call in self.engine.calls if call[0] == name]

    def test_contract(self) -> None:
        """
        An engine is whatever has the five verbs.
        """
        self.assertIsInstance(self.engine, Engine)
        self.assertNotIsInstance(self.clock, Engine)

    def test_one_pump_a_turn(self) -> None:
        """
        However many datagrams come in one turn, they are answered together.
        """
        self.driver.receive_datagram(b"a", "way")
        self.driver.receive_datagrams((b"b", b"c"), "way")
        self.driver.pump_soon()
        self.assertEqual(self.sent, [])
        self.clock.advance(0)
        self.assertEqual(self.sent, [[(b"A", "way"), (b"B", "way"), (b"C", "way")]])
        self.assertEqual(self.times("asked"), [100.0])

    def test_nothing_to_send(self) -> None:
        """
        Without datagrams nobody is bothered.
        """
        self.driver.pump()
        self.assertEqual((self.sent, self.times("asked")), ([], [100.0]))

    def test_events_before_datagrams(self) -> None:
        """
        What was written while events were delivered leaves in the same turn.
        """
        self.engine.events = ["one", "two"]

        def deliver(event: str) -> None:
            self.delivered.append(event)
            self.engine.out.append((event.encode(), "way"))

        self.deliver = deliver
        self.driver.pump()
        self.assertEqual(self.delivered, ["one", "two"])
        self.assertEqual(self.sent, [[(b"one", "way"), (b"two", "way")]])

    def test_pumped_within(self) -> None:
        """
        A pump from within a delivery waits for its end, and then runs.
        """
        self.engine.events = ["one", "two"]

        def deliver(event: str) -> None:
            self.driver.pump()
            self.delivered.append(event)

        self.deliver = deliver
        self.driver.pump()
        self.assertEqual(self.delivered, ["one", "two"])
        self.assertEqual(len(self.times("asked")), 2)

    def test_one_timer(self) -> None:
        """
        There is one delayed call, which follows the engine's deadline.
        """
        for timer in (105.0, 103.0, 110.0):
            self.engine.timer = timer
            self.driver.pump()
            (call,) = self.clock.getDelayedCalls()
            self.assertEqual(call.getTime(), timer)
        self.engine.next_timer = 120.0
        self.clock.advance(9.5)
        self.assertEqual(self.times("timer"), [])
        self.clock.advance(0.5)
        self.assertEqual(self.times("timer"), [110.0])
        (call,) = self.clock.getDelayedCalls()
        self.assertEqual(call.getTime(), 120.0)
        self.engine.timer = None
        self.driver.pump()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_deadline_in_the_past(self) -> None:
        """
        A deadline that has passed is kept in the next turn, not within the pump.
        """
        self.engine.timer = 50.0
        self.driver.pump()
        self.assertEqual(self.times("timer"), [])
        self.clock.advance(0)
        self.assertEqual(self.times("timer"), [100.0])

    def test_stop(self) -> None:
        """
        After the end no timer is left and nothing is done.
        """
        self.engine.timer = 105.0
        self.driver.pump()
        self.driver.pump_soon()
        self.driver.stop()
        self.assertEqual(self.clock.getDelayedCalls(), [])
        before = list(self.engine.calls)
        self.driver.receive_datagram(b"late", "way")
        self.driver.receive_datagrams((b"later",), "way")
        self.driver.pump_soon()
        self.driver.pump()
        self.clock.advance(10)
        self.assertEqual(self.engine.calls, before)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.driver.stop()

    def test_stopped_within(self) -> None:
        """
        Stopped by an event, the driver delivers no other and sends nothing.
        """
        self.engine.events = ["one", "two"]
        self.engine.out = [(b"x", "way")]
        self.engine.timer = 105.0

        def deliver(event: str) -> None:
            self.delivered.append(event)
            self.driver.stop()

        self.deliver = deliver
        self.driver.pump()
        self.assertEqual((self.delivered, self.sent), (["one"], []))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_delivery_that_fails(self) -> None:
        """
        A listener that fails holds up neither the timer nor the other events.
        """
        self.engine.events = ["one", "two"]
        self.engine.timer = 105.0

        def deliver(event: str) -> None:
            if event == "one":
                raise ZeroDivisionError
            self.delivered.append(event)

        self.deliver = deliver
        self.assertRaises(ZeroDivisionError, self.driver.pump)
        self.clock.advance(0)
        self.assertEqual(self.delivered, ["two"])
        self.clock.advance(5)
        self.assertEqual(self.times("timer"), [105.0])


class ClockTests(SynchronousTestCase):
    """
    Engine time never steps back, and never stands still either.
    """

    def test_forward(self) -> None:
        """
        It is the reactor's time.
        """
        clock = Clock()
        reactor: IReactorTime = clock
        engine_clock = EngineClock(reactor)
        clock.advance(5)
        self.assertEqual(engine_clock.now(), 5)

    def test_step_back(self) -> None:
        """
        When the machine's clock is set back by a year engine time goes on from
        where it was.
        """
        clock = SteppingClock()
        engine_clock = EngineClock(clock)
        clock.advance(10)
        self.assertEqual(engine_clock.now(), 10)
        clock.step = -31_536_000
        self.assertEqual(engine_clock.now(), 10)
        clock.advance(5)
        self.assertEqual(engine_clock.now(), 15)
        clock.step = -63_072_000
        self.assertEqual(engine_clock.now(), 15)
        clock.advance(1)
        self.assertEqual(engine_clock.now(), 16)

    def test_step_forward(self) -> None:
        """
        A clock that is set forward takes engine time along, once.
        """
        clock = SteppingClock()
        engine_clock = EngineClock(clock)
        clock.step = 3600
        self.assertEqual(engine_clock.now(), 3600)
        clock.step = 0
        self.assertEqual(engine_clock.now(), 3600)
        clock.advance(2)
        self.assertEqual(engine_clock.now(), 3602)

    def test_timers_after_a_step(self) -> None:
        """
        An engine's deadlines are kept although the clock was set back.
        """
        clock = SteppingClock()
        engine = Script()
        driver = EngineDriver(clock, engine, lambda datagrams: None, lambda event: None)
        clock.advance(100)
        driver.receive_datagram(b"x", "way")
        clock.advance(0)
        clock.step = -50
        engine.timer = 103.0
        driver.pump()
        clock.advance(3)
        self.assertEqual([call for call in engine.calls if call[0] == "timer"], [("timer", 103.0)])
