"""
Tests for what came and was not yet asked for.
"""

from twisted.internet.defer import CancelledError
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from typing_extensions import override

from atmosphere.classic.inbox import Inbox


class InboxTests(SynchronousTestCase):
    """
    Messages, and those who wait for them.
    """

    @override
    def setUp(self) -> None:
        self.clock = Clock()
        self.takings: list[bool] = []
        self.inbox = Inbox(
            self.clock, size=10, count=3, taken=lambda: self.takings.append(self.inbox.has_room)
        )

    def test_order(self) -> None:
        """
        Messages come out as they went in.
        """
        for data in (b"a", b"", b"c"):
            self.inbox.put(data)
        got = [self.successResultOf(self.inbox.get()) for _ in range(3)]
        self.assertEqual(got, [b"a", b"", b"c"])
        self.assertNoResult(self.inbox.get())

    def test_waiting(self) -> None:
        """
        Those who wait are served in their order, and time out on their own.
        """
        first, second = self.inbox.get(timeout=5), self.inbox.get(timeout=1)
        self.clock.advance(2)
        self.assertIsNone(self.successResultOf(second))
        self.inbox.put(b"late")
        self.assertEqual(self.successResultOf(first), b"late")
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertIsNone(self.successResultOf(self.inbox.get(timeout=0)))

    def test_cancelled(self) -> None:
        """
        Whoever cancels loses nothing.
        """
        waiting = self.inbox.get(timeout=5)
        waiting.cancel()
        self.failureResultOf(waiting, CancelledError)
        self.inbox.put(b"kept")
        self.assertEqual(self.successResultOf(self.inbox.get()), b"kept")
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_room(self) -> None:
        """
        It is full by bytes or by messages, and tells when some were taken.
        """
        self.inbox.put(b"x" * 9)
        self.assertTrue(self.inbox.has_room)
        self.inbox.put(b"x")
        self.assertFalse(self.inbox.has_room)
        self.inbox.get()
        self.assertEqual(self.takings, [True])
        for _ in range(2):
            self.inbox.put(b"")
        self.assertFalse(self.inbox.has_room)
        self.assertEqual(self.inbox.drain(), [b"x", b"", b""])
        self.assertTrue(self.inbox.has_room)

    def test_dropping(self) -> None:
        """
        Where the sender cannot wait, the oldest are dropped and counted.
        """
        for number in range(10):
            self.inbox.put(b"%d" % number, is_droppable=True)
        self.assertEqual((self.inbox.drain(), self.inbox.dropped), ([b"7", b"8", b"9"], 7))
        self.inbox.put(b"x" * 11, is_droppable=True)
        self.assertEqual(self.inbox.drain(), [])

    def test_end(self) -> None:
        """
        At the end all who wait are told; what came can still be taken.
        """
        waiting = self.inbox.get()
        self.inbox.end()
        self.assertIsNone(self.successResultOf(waiting))
        self.inbox.put(b"too late")
        self.assertIsNone(self.successResultOf(self.inbox.get(timeout=9)))
        other = Inbox(self.clock, size=10, count=3)
        other.put(b"in time")
        other.end()
        self.assertEqual(self.successResultOf(other.get()), b"in time")
