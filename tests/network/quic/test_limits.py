"""
Tests for L{atmosphere.network.quic.limits}.
"""

from __future__ import annotations

from qh3.quic.events import StreamDataReceived, StreamReset
from twisted.trial.unittest import SynchronousTestCase

from atmosphere.errors import DecodeError
from atmosphere.network.quic.limits import (
    MAX_HELD,
    MAX_HELD_BY_DIALLER,
    UNPROVEN_STREAMS,
    ControlBudget,
    HeldEvents,
)


class HeldEventsTests(SynchronousTestCase):
    """
    Before the proof a stranger can make us keep next to nothing.
    """

    def test_kept_in_order(self) -> None:
        """
        What was kept is handed out once, in its order.
        """
        held = HeldEvents(is_dialler=False)
        kept = [StreamDataReceived(b"a", False, 4), StreamReset(1, 8)]
        for event in kept:
            held.add(event)
        self.assertEqual(held.take(), kept)
        self.assertEqual(held.take(), [])

    def test_length(self) -> None:
        """
        A listener keeps 4 KiB, a dialler, whose listener is pinned, a megabyte.
        """
        for is_dialler, most in ((False, MAX_HELD), (True, MAX_HELD_BY_DIALLER)):
            held = HeldEvents(is_dialler=is_dialler)
            held.add(StreamDataReceived(bytes(most - 16), False, 4))
            self.assertRaises(DecodeError, held.add, StreamDataReceived(b"", False, 4))

    def test_streams(self) -> None:
        """
        A dialler that is not proven has eight streams.
        """
        held = HeldEvents(is_dialler=False)
        held.add(StreamDataReceived(b"", False, 4 * UNPROVEN_STREAMS))
        event = StreamDataReceived(b"", False, 4 * UNPROVEN_STREAMS + 4)
        self.assertRaises(DecodeError, held.add, event)


class ControlBudgetTests(SynchronousTestCase):
    """
    Control messages are limited, but for those that our own data calls for.
    """

    def test_flood(self) -> None:
        """
        256 at once are too many by one; a second later 64 more may come.
        """
        budget = ControlBudget()
        for _ in range(256):
            budget.spend(10.0)
        self.assertRaises(DecodeError, budget.spend, 10.0)
        for _ in range(64):
            budget.spend(11.0)
        self.assertRaises(DecodeError, budget.spend, 11.0)

    def test_credit_for_our_data(self) -> None:
        """
        A peer that credits what we send, however much, is never cut.
        """
        budget = ControlBudget()
        for _ in range(10_000):
            budget.earn(65_536)
            budget.spend(0.0)
