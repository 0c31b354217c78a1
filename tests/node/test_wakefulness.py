"""
Tests for L{atmosphere.node.wakefulness}.
"""

from __future__ import annotations

from functools import partial

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from atmosphere.node.wakefulness import Wakefulness


class WakefulnessTests(SynchronousTestCase):
    """
    A process that slept knows it when it wakes.
    """

    def test_awake(self) -> None:
        """
        As long as time passes nothing is stale; nor is it before the start and after the end.
        """
        clock, woken = Clock(), list[float]()
        watch = Wakefulness(clock, lambda: woken.append(clock.seconds()))
        clock.advance(100)
        self.assertFalse(watch.is_stale())
        watch.start()
        for _ in range(100):
            clock.advance(0.3)
            self.assertFalse(watch.is_stale())
        watch.stop()
        watch.stop()
        clock.advance(100)
        self.assertFalse(watch.is_stale())
        self.assertEqual((woken, clock.getDelayedCalls()), ([], []))

    def test_slept(self) -> None:
        """
        What comes right after a sleep is stale, whether it is read before the tick or
        after; that there was one is told once.
        """
        for is_read_first in (True, False):
            clock, woken = Clock(), list[float]()
            watch = Wakefulness(clock, partial(woken.append, 1.0))
            watch.start()
            clock.rightNow += 600
            if is_read_first:
                self.assertTrue(watch.is_stale())
            clock.advance(0.01)
            self.assertTrue(watch.is_stale())
            clock.advance(0.2)
            self.assertFalse(watch.is_stale())
            self.assertEqual(len(woken), 1)
            watch.stop()
