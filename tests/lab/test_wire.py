"""
Tests for atmosphere.lab.wire.
"""

from __future__ import annotations

from random import Random

from twisted.trial.unittest import SynchronousTestCase

from atmosphere.lab.wire import MAX_PACKETS, Conditions, DelayLine


def never() -> float:
    """
    Stand for chance where there is none.
    """
    raise AssertionError("nothing here is left to chance")


class DelayTests(SynchronousTestCase):
    """
    Packets under way.
    """

    def test_delay(self) -> None:
        """
        A packet arrives after the delay and not before, in the order of sending.
        """
        line = DelayLine(Conditions(delay=0.02), never)
        self.assertIsNone(line.next_due())
        line.send(1.0, 5, b"one")
        line.send(1.0, 6, b"two")
        line.send(1.01, 5, b"three")
        self.assertEqual(line.next_due(), 1.02)
        self.assertEqual(line.arrived(1.019), [])
        self.assertEqual(line.arrived(1.02), [(5, b"one"), (6, b"two")])
        self.assertEqual(line.arrived(2.0), [(5, b"three")])
        self.assertIsNone(line.next_due())

    def test_jitter(self) -> None:
        """
        With jitter packets overtake each other, and none is late beyond it.
        """
        line = DelayLine(Conditions(delay=0.02, jitter=0.03), Random(1).random)
        for number in range(100):
            line.send(0.0, number, b"")
        self.assertEqual(line.arrived(0.0199), [])
        order = [target for target, _ in line.arrived(0.05)]
        self.assertEqual(sorted(order), list(range(100)))
        self.assertNotEqual(order, sorted(order))

    def test_loss(self) -> None:
        """
        The part that is to be lost is lost, and counted.
        """
        line = DelayLine(Conditions(delay=0, loss=0.1), Random(1).random)
        for _ in range(1000):
            line.send(0.0, 0, b"")
        self.assertEqual(len(line.arrived(0.0)) + line.lost, 1000)
        self.assertTrue(70 <= line.lost <= 130, line.lost)

    def test_bound(self) -> None:
        """
        A flood finds the memory of a router limited.
        """
        line = DelayLine(Conditions(), never)
        for _ in range(MAX_PACKETS + 3):
            line.send(0.0, 0, b"")
        self.assertEqual(line.lost, 3)
