"""
The heap of what is due.
"""

from __future__ import annotations

from twisted.internet.error import AlreadyCalled, AlreadyCancelled
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from typing_extensions import override

from atmosphere.testing.agenda import Agenda, StandstillError


class AgendaTests(SynchronousTestCase):
    """
    L{Agenda} on a clock.
    """

    @override
    def setUp(self) -> None:
        """
        Make an agenda.
        """
        self.clock = Clock()
        self.agenda = Agenda(self.clock)
        self.done: list[object] = []

    def test_order(self) -> None:
        """
        What is due is done in order of time, and of putting down within one time.
        """
        for when, what in ((2, "c"), (1, "a"), (2, "d"), (1, "b")):
            self.agenda.at(when, self.done.append, what)
        self.assertEqual(len(self.clock.getDelayedCalls()), 1)
        self.clock.advance(1)
        self.assertEqual(self.done, ["a", "b"])
        self.clock.advance(1)
        self.assertEqual(self.done, ["a", "b", "c", "d"])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_put_down_meanwhile(self) -> None:
        """
        What is put down for now while something is done is done at once after it.
        """
        self.agenda.at(1, lambda _: self.agenda.at(1, self.done.append, 1), None)
        self.clock.advance(1)
        self.assertEqual(self.done, [1])

    def test_cancel(self) -> None:
        """
        A call that was taken back is not made, and leaves nothing on the clock.
        """
        call = self.agenda.call_later(self, 1, self.done.append, (1,))
        self.assertTrue(call.active())
        call.cancel()
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.clock.advance(2)
        self.assertEqual(self.done, [])
        self.assertRaises(AlreadyCancelled, call.cancel)

    def test_reset(self) -> None:
        """
        A call may be moved to earlier and to later, again and again.
        """
        first = self.agenda.call_later(self, 10, self.done.append, ("first",))
        second = self.agenda.call_later(self, 10, self.done.append, ("second",))
        first.reset(1)
        second.reset(20)
        first.reset(2)
        self.clock.advance(1)
        self.assertEqual(self.done, [])
        self.clock.advance(1)
        self.assertEqual(self.done, ["first"])
        self.assertRaises(AlreadyCalled, first.reset, 1)
        self.clock.advance(17.9)
        self.assertEqual(self.done, ["first"])
        second.delay(1)
        self.clock.advance(1)
        self.assertEqual(self.done, ["first"])
        self.clock.advance(1)
        self.assertEqual(self.done, ["first", "second"])

    def test_owners(self) -> None:
        """
        The calls of one owner can be listed, held back, and taken back.
        """
        mine, yours = object(), object()
        first = self.agenda.call_later(mine, 1, self.done.append, ("mine",))
        self.agenda.call_later(yours, 1, self.done.append, ("yours",))
        self.assertEqual(self.agenda.calls_of(mine), [first])
        self.agenda.park(mine)
        self.clock.advance(5)
        self.assertEqual((self.done, first.active()), (["yours"], True))
        self.agenda.unpark(mine)
        self.clock.advance(0)
        self.assertEqual(self.done, ["yours", "mine"])
        self.agenda.call_later(mine, 1, self.done.append, ("mine",))
        self.agenda.forget(mine)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_many_cancelled(self) -> None:
        """
        Calls that were taken back do not pile up.
        """
        self.agenda.call_later(self, 5, self.done.append, (1,))
        for _ in range(10_000):
            self.agenda.call_later(self, 1000, self.done.append, (2,)).cancel()
        self.assertTrue(len(self.agenda._heap) < 200)
        self.clock.advance(5)
        self.assertEqual(self.done, [1])

    def test_error(self) -> None:
        """
        An error is logged, and the next call is made.
        """
        self.agenda.at(1, lambda _: 1 // 0, None)
        self.agenda.at(1, self.done.append, 1)
        self.clock.advance(1)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertEqual(self.done, [1])

    def test_standstill(self) -> None:
        """
        What calls itself with no delay for ever is named as such.
        """
        self.agenda.most_at_once = 100

        def again(_: None) -> None:
            self.agenda.at(self.clock.seconds(), again, None)

        self.agenda.at(1, again, None)
        self.assertRaises(StandstillError, self.clock.advance, 1)

    def test_negative(self) -> None:
        """
        Nothing can be put down for a time that is past.
        """
        self.assertRaises(ValueError, self.agenda.call_later, self, -1, print)
