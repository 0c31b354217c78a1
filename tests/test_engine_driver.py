"""
Tests for L{atmosphere.engine_driver}.
"""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from typing_extensions import override

from atmosphere.engine import Engine
from atmosphere.engine_driver import EngineClock, EngineDriver


class EchoEngine:
    """
    An engine that sends back what it gets, and reports it.
    """

    def __init__(self) -> None:
        self.calls: list[object] = []
        self.timer: float | None = None
        self._out: list[tuple[bytes, str]] = []
        self._events: list[bytes] = []

    def receive_datagram(self, data: bytes, path: str, now: float) -> None:
        """
        Send it back, report it.
        """
        self.calls.append(("receive", data, path, now))
        self._out.append((data, path))
        self._events.append(data)

    def datagrams_to_send(self, now: float) -> list[tuple[bytes, str]]:
        """
        Hand out the echoes.
        """
        self.calls.append(("send", now))
        out, self._out = self._out, []
        return out

    def get_timer(self) -> float | None:
        """
        Say what the test has set.
        """
        return self.timer

    def handle_timer(self, now: float) -> None:
        """
        Note it, and want no more.
        """
        self.calls.append(("timer", now))
        self.timer = None
        self._out.append((b"timer", "path"))

    def next_event(self) -> bytes | None:
        """
        Hand out the oldest.
        """
        return self._events.pop(0) if self._events else None


class DriverTests(SynchronousTestCase):
    """
    One pump and one timer for each engine.
    """

    @override
    def setUp(self) -> None:
        """
        Drive an engine.
        """
        self.clock = Clock()
        self.engine = EchoEngine()
        self.sent: list[list[tuple[bytes, str]]] = []
        self.events: list[bytes] = []
        self.driver: EngineDriver[str, bytes] = EngineDriver(
            self.clock, self.engine, self.sent.append, self.deliver
        )
        self.on_event = lambda event: None

    def deliver(self, event: bytes) -> None:
        """
        Keep an event, and do what the test wants with it.
        """
        self.events.append(event)
        self.on_event(event)

    def test_contract(self) -> None:
        """
        An engine is whatever has the five verbs.
        """
        self.assertIsInstance(self.engine, Engine)
        self.assertNotIsInstance(object(), Engine)

    def test_one_pump_a_turn(self) -> None:
        """
        Datagrams of one turn of the reactor leave together, after their events.
        """
        for number in range(3):
            self.driver.receive_datagram(b"%d" % number, "a")
        self.assertEqual((self.sent, self.events), ([], []))
        self.clock.advance(0)
        self.assertEqual(self.sent, [[(b"0", "a"), (b"1", "a"), (b"2", "a")]])
        self.assertEqual(self.events, [b"0", b"1", b"2"])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_timer(self) -> None:
        """
        The engine's deadline is kept, moved and dropped with one delayed call.
        """
        self.engine.timer = 5.0
        self.driver.pump()
        (call,) = self.clock.getDelayedCalls()
        self.engine.timer = 3.0
        self.driver.pump()
        self.assertEqual(self.clock.getDelayedCalls(), [call])
        self.clock.advance(3.0)
        self.assertIn(("timer", 3.0), self.engine.calls)
        self.assertEqual(self.sent, [[(b"timer", "path")]])
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.engine.timer = 9.0
        self.driver.pump()
        self.engine.timer = None
        self.driver.pump()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_overdue(self) -> None:
        """
        A deadline in the past is due at once, not never.
        """
        self.clock.advance(10)
        self.engine.timer = 1.0
        self.driver.pump()
        self.clock.advance(0)
        self.assertIn(("timer", 10.0), self.engine.calls)

    def test_reentered(self) -> None:
        """
        A pump from within an event's delivery runs when the delivery is over.
        """

        def again(event: bytes) -> None:
            """
            Feed the engine once more.
            """
            if event == b"first":
                self.driver.receive_datagram(b"second", "b")
                self.driver.pump()
                self.assertEqual(self.sent, [])

        self.on_event = again
        self.driver.receive_datagram(b"first", "a")
        self.driver.pump()
        self.assertEqual(self.events, [b"first", b"second"])
        self.assertEqual(self.sent, [[(b"first", "a"), (b"second", "b")]])

    def test_stop(self) -> None:
        """
        A driver that was stopped, even by an event, does nothing and holds no call.
        """
        self.on_event = lambda event: self.driver.stop()
        self.engine.timer = 5.0
        self.driver.pump()
        self.driver.receive_datagram(b"a", "a")
        self.driver.receive_datagram(b"b", "a")
        self.driver.pump()
        self.assertEqual((self.events, self.sent), ([b"a"], []))
        self.driver.receive_datagram(b"c", "a")
        self.driver.pump_soon()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_clock_steps_back(self) -> None:
        """
        Engine time never steps back, whatever the machine's clock does.
        """
        engine_clock = EngineClock(self.clock)
        self.clock.rightNow = 100.0
        self.assertEqual(engine_clock.now(), 100.0)
        self.clock.rightNow = 40.0
        self.assertEqual(engine_clock.now(), 100.0)
        self.clock.rightNow = 101.0
        self.assertEqual(engine_clock.now(), 101.0)
        self.assertEqual(self.driver.now(), 101.0)
