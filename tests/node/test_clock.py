"""
Tests for L{atmosphere.node.clock}.
"""

from __future__ import annotations

from twisted.internet.base import ReactorBase
from twisted.trial.unittest import SynchronousTestCase
from typing_extensions import override

from atmosphere.node.clock import steady_seconds, use_steady_clock


class Reactor(ReactorBase):
    """
    A reactor without anything to react to.
    """

    @override
    def installWaker(self) -> None:
        """
        There is nothing to wake.
        """


class SteadyClockTests(SynchronousTestCase):
    """
    Timers do not care what the time of day is set to.
    """

    def test_goes_on(self) -> None:
        """
        The clock never steps back, and is not the time of day.
        """
        clock = steady_seconds()
        readings = [clock() for _ in range(1000)]
        self.assertEqual(readings, sorted(readings))
        self.assertLess(readings[-1], 1e9)

    def test_timers(self) -> None:
        """
        A reactor that counts by it calls what is due by it.
        """
        reactor = Reactor()
        use_steady_clock(reactor)
        called: list[str] = []
        reactor.callLater(0, called.append, "now")
        reactor.callLater(3600, called.append, "later")
        reactor.runUntilCurrent()
        self.assertEqual(called, ["now"])
        timeout = reactor.timeout()
        assert timeout is not None
        self.assertTrue(3590 < timeout <= 3600)
