"""
One end of a simulated TCP connection.
"""

from __future__ import annotations

import errno
from math import inf
from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from typing_extensions import override

from atmosphere.testing.agenda import Agenda
from atmosphere.testing.stream import RECEIVE_BUFFER, SEND_BUFFER, Stream
from atmosphere.testing.tcp_segment import Flag, Segment, State

HERE, THERE = ("192.0.2.1", 1000), ("192.0.2.2", 80)


class StreamTests(SynchronousTestCase):
    """
    Two ends with 10 ms between them.
    """

    @override
    def setUp(self) -> None:
        """
        Connect the ends.
        """
        self.clock = Clock()
        self.agenda = Agenda(self.clock)
        self.is_cut = False
        self.rate = inf
        self.through: dict[Stream, float] = {}
        self.sent: list[tuple[float, Segment]] = []
        self.finished: list[Stream] = []
        self.one = self.make(HERE, THERE, State.SYN_SENT)
        self.two = self.make(THERE, HERE, State.SYN_RECEIVED)

    def make(self, local: Any, remote: Any, state: State) -> Stream:
        """
        Make an end.
        """
        return Stream(
            self.agenda,
            local,
            remote,
            state,
            self.transmit,
            lambda stream: None,
            self.finished.append,
        )

    def transmit(self, sender: Stream, segment: Segment) -> None:
        """
        Carry a segment to the other end.
        """
        self.sent.append((round(self.clock.seconds(), 6), segment))
        if not self.is_cut and segment.flag is not Flag.SYN:
            other = self.two if sender is self.one else self.one
            through = max(self.clock.seconds(), self.through.get(sender, 0.0))
            self.through[sender] = through = through + len(segment.data) / self.rate
            self.agenda.at(through + 0.01, other.receive, segment)

    def connect(self) -> None:
        """
        Let the ends hear of each other.
        """
        self.one.open()
        self.two.open()
        self.pass_time(1)
        self.assertEqual((self.one.state, self.two.state), (State.ESTABLISHED,) * 2)
        self.sent.clear()

    def pass_time(self, seconds: float) -> None:
        """
        Let time pass in small steps.
        """
        self.clock.pump([0.005] * round(seconds / 0.005))

    def test_syn_repeated(self) -> None:
        """
        The first segment is repeated after 1, 3, 7 seconds and so on, and in the end given up.
        """
        self.one.open()
        self.pass_time(200)
        self.assertEqual([round(at) for at, _ in self.sent], [0, 1, 3, 7, 15, 31, 63])
        self.assertEqual((self.one.error, self.finished), (errno.ETIMEDOUT, [self.one]))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_window(self) -> None:
        """
        No more is taken than the buffers hold; reading makes room.
        """
        self.connect()
        data = b"x" * 1_000_000
        taken = self.one.write(data)
        self.assertEqual(taken, SEND_BUFFER)
        self.assertFalse(self.one.is_writable)
        self.pass_time(1)
        taken += self.one.write(data)
        self.pass_time(1)
        self.assertEqual(taken, SEND_BUFFER + RECEIVE_BUFFER)
        self.assertEqual(self.one.write(data), 0)
        got = b""
        while len(got) < taken:
            got += self.two.read(10_000) or b""
            self.pass_time(0.05)
        self.assertEqual(got, data[:taken])

    def carry(self, size: int) -> float:
        """
        Send bytes, and read them as they come.

        @return: how long it took.
        """
        began, taken, got = self.clock.seconds(), 0, 0
        while got < size:
            if taken < size:
                taken += self.one.write(b"x" * min(size - taken, 65_536))
            self.pass_time(0.005)
            got += len(self.two.read(size) or b"")
        return self.clock.seconds() - began

    def test_slow_line(self) -> None:
        """
        When the line was busy, or cut, for longer than a repetition waits, a window is sent
        twice at most, though the line takes longer for one than a repetition waits: a
        timeout repeats one segment, and what is acknowledged then leads to the others.
        """
        for is_cut in (False, True):
            self.setUp()
            self.connect()
            self.rate = 1e6
            self.assertLess(self.carry(1_000_000), 1.1)
            self.sent.clear()
            if is_cut:
                self.is_cut = True
                self.one.write(b"x" * SEND_BUFFER)
                self.pass_time(0.5)
                self.is_cut = False
            else:
                self.through[self.one] = self.clock.seconds() + 0.5
            self.assertLess(self.carry(3_000_000), 4.0)
            on_the_line = sum(len(segment.data) for _, segment in self.sent)
            self.assertLess(on_the_line, 3_000_000 + (1 + is_cut) * SEND_BUFFER)

    def test_lost_window(self) -> None:
        """
        When the news of room is lost the sender asks again.
        """
        self.connect()
        self.one.write(b"x" * SEND_BUFFER)
        self.pass_time(1)
        self.one.write(b"y" * 10)
        self.pass_time(1)
        self.is_cut = True
        self.two.read(RECEIVE_BUFFER)
        self.pass_time(1)
        self.is_cut = False
        self.pass_time(10)
        self.assertEqual(self.two.read(100), b"y" * 10)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_close_both(self) -> None:
        """
        When both ends have closed, neither is in its host's table any more.
        """
        self.connect()
        self.one.write(b"bye")
        self.one.let_go()
        self.pass_time(0.1)
        self.assertEqual((self.two.read(10), self.two.read(10)), (b"bye", b""))
        self.two.let_go()
        self.pass_time(1)
        self.assertEqual(self.finished, [self.one, self.two])
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual(self.one.write(b"late"), -1)

    def test_close_with_unread_data(self) -> None:
        """
        Closing with data unread resets the connection.
        """
        self.connect()
        self.one.write(b"unread")
        self.pass_time(0.1)
        self.two.let_go()
        self.pass_time(0.1)
        self.assertEqual(self.one.error, errno.ECONNRESET)
        self.assertRaises(OSError, self.one.raise_error)
        self.assertTrue(self.one.is_writable and self.one.is_readable)

    def test_data_after_close(self) -> None:
        """
        Data for a connection that nobody reads any more reset it.
        """
        self.connect()
        self.two.let_go()
        self.pass_time(0.1)
        self.one.write(b"anyone?")
        self.pass_time(0.1)
        self.assertEqual(self.one.error, errno.ECONNRESET)

    def test_orphan_given_up(self) -> None:
        """
        A closed connection whose last bytes are never acknowledged is given up sooner.
        """
        self.connect()
        self.is_cut = True
        self.one.write(b"last words")
        self.one.let_go()
        self.pass_time(90)
        self.assertEqual(self.finished, [])
        self.pass_time(200)
        self.assertEqual(self.finished, [self.one])

    def test_old_segments(self) -> None:
        """
        Segments that come again are acknowledged and otherwise ignored.
        """
        self.connect()
        self.two.receive(Segment(Flag.DATA, 0, 0, RECEIVE_BUFFER, b"once"))
        self.two.receive(Segment(Flag.DATA, 0, 0, RECEIVE_BUFFER, b"once"))
        self.two.receive(Segment(Flag.DATA, 100, 0, RECEIVE_BUFFER, b"too far"))
        self.one.receive(Segment(Flag.SYN_ACK, 0, 0, RECEIVE_BUFFER))
        self.assertEqual([each.acknowledged for _, each in self.sent], [4, 4, 4, 0])
        self.assertEqual((self.two.read(100), self.two.read(100)), (b"once", None))
