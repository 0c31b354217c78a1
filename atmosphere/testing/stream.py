# -*- test-case-name: tests.testing.test_stream -*-
"""
One end of a simulated TCP connection: sequence numbers, windows, repetition.

As much of TCP as an application can notice: data arrive whole and in order,
no more is on its way than the receiver has room for, what is not acknowledged
is sent again with doubling delays until the connection is given up (one segment
first, and the rest as that is acknowledged), both directions close apart, and a
stranger's segment is answered with a reset. There is no other congestion control:
a link's C{rate} is the only limit.
"""

from __future__ import annotations

import errno
import os
from collections import deque
from collections.abc import Callable

from twisted.internet.base import DelayedCall

from .agenda import Agenda
from .tcp_segment import Flag, Segment, State

__all__ = ["Stream"]

SEND_BUFFER = 256 * 1024
RECEIVE_BUFFER = 256 * 1024
SEGMENT_SIZE = 16 * 1024

#: Seconds beyond the round trip before something is sent again the first time, at least.
LEAST_TIMEOUT = 0.2
SYN_TIMEOUT = 1.0
MOST_TIMEOUT = 120.0

#: After a timeout one segment is sent again, and so many for each acknowledgement then,
#: which doubles what is under way in each round trip.
REPEATED_AT_ONCE = 2

#: Seconds without any acknowledgement after which a connection is given up.
PATIENCE = 924.0
SYN_PATIENCE = 127.0
ORPHAN_PATIENCE = 100.0


class Stream:
    """
    One end of a connection.

    @ivar local: our C{(address, port)}.
    @ivar remote: the other end's, as we see it.
    @ivar state: how far it has come.
    @ivar error: the error number by which it ended; 0 when there was none.
    @ivar low_water: with so many bytes not yet sent it counts as full.
    @ivar is_orphan: whether the application has let go of it.
    """

    def __init__(
        self,
        agenda: Agenda,
        local: tuple[str, int],
        remote: tuple[str, int],
        state: State,
        transmit: Callable[[Stream, Segment], None],
        changed: Callable[[Stream], None],
        finished: Callable[[Stream], None],
    ) -> None:
        self._agenda = agenda
        self._transmit = transmit
        self._changed = changed
        self._finished = finished
        self.local = local
        self.remote = remote
        self.state = state
        self.error = 0
        self.low_water = SEND_BUFFER
        self.is_orphan = False
        # What we send.
        self._unsent: deque[Segment] = deque()
        self._unacknowledged: deque[Segment] = deque()
        self._queued = 0
        self._next = 0
        self._sent = 0
        self._acknowledged = 0
        self._room = RECEIVE_BUFFER
        self._has_said_last = False
        self._doubted = 0
        self._repeated = 0
        # What we receive.
        self._received = bytearray()
        self._expected = 0
        self._told_window = RECEIVE_BUFFER
        self._has_heard_last = False
        self._echo: float | None = None
        # When we repeat.
        self._timer: DelayedCall | None = None
        self._timeout = SYN_TIMEOUT
        self._last_progress = agenda.seconds()
        self._smoothed = self._variation = 0.0

    @property
    def is_readable(self) -> bool:
        """
        Whether there are bytes, an end or an error to be read.
        """
        return bool(self._received or self._has_heard_last or self.error)

    @property
    def is_writable(self) -> bool:
        """
        Whether bytes would be taken; a connection that failed wants to say so.
        """
        if self.error:
            return True
        is_full = self._queued >= SEND_BUFFER or self._next - self._sent >= self.low_water
        return self.state is State.ESTABLISHED and not is_full

    def open(self) -> None:
        """
        Send the first segment, as the side that connects or that was connected to.
        """
        flag = Flag.SYN if self.state is State.SYN_SENT else Flag.SYN_ACK
        self._transmit(self, Segment(flag, 0, 0, RECEIVE_BUFFER))
        self._last_progress = self._agenda.seconds()
        self._set_timer()

    def write(self, data: bytes | memoryview) -> int:
        """
        Take as many bytes as there is room for.

        @return: how many; C{-1} when the connection is over.
        """
        if self.error or self.state is State.CLOSED or self._has_said_last:
            return -1
        taken = bytes(data[: max(0, SEND_BUFFER - self._queued)])
        for start in range(0, len(taken), SEGMENT_SIZE):
            piece = taken[start : start + SEGMENT_SIZE]
            self._unsent.append(Segment(Flag.DATA, self._next, 0, 0, piece))
            self._next += len(piece)
        self._queued += len(taken)
        self._send_more()
        return len(taken)

    def read(self, size: int) -> bytes | None:
        """
        Return bytes that came.

        @return: C{b""} at the end, C{None} when there are none yet.
        """
        if not self._received:
            return b"" if self._has_heard_last else None
        data = bytes(self._received[:size])
        del self._received[:size]
        room = RECEIVE_BUFFER - len(self._received)
        is_awaited = self.state is State.ESTABLISHED and not self._has_heard_last
        if is_awaited and room - self._told_window >= RECEIVE_BUFFER // 4:
            self._acknowledge()
        return data

    def end(self) -> None:
        """
        Say that no more will be sent.
        """
        if not self._has_said_last and self.state is State.ESTABLISHED:
            self._has_said_last = True
            self._unsent.append(Segment(Flag.DATA, self._next, 0, 0, b"", True))
            self._next += 1
            self._send_more()

    def let_go(self) -> None:
        """
        Close for good: what was written still goes out, nothing more is read.
        """
        self.is_orphan = True
        if self.state is State.ESTABLISHED:
            if self._received:
                self.reset()
                return
            self.end()
            self._finish_if_over()
        elif self.state is State.CLOSED:
            self._finished(self)
        else:
            self.reset()

    def reset(self) -> None:
        """
        End at once and tell the other end so.
        """
        if self.state is State.ESTABLISHED or self.state is State.SYN_RECEIVED:
            self._transmit(self, Segment(Flag.RST, self._sent, self._expected, 0))
        self.drop(errno.ECONNABORTED)

    def drop(self, error: int) -> None:
        """
        End at once and tell nobody but the application.
        """
        if self.state is State.CLOSED:
            return
        self.error = error
        self.state = State.CLOSED
        self._stop_timer()
        self._unsent.clear()
        self._unacknowledged.clear()
        self._finished(self)
        self._changed(self)

    def receive(self, segment: Segment) -> None:
        """
        Take a segment from the other end.
        """
        if segment.flag is Flag.RST:
            is_refusal = self.state is State.SYN_SENT
            self.drop(errno.ECONNREFUSED if is_refusal else errno.ECONNRESET)
            return
        match self.state:
            case State.SYN_SENT:
                if segment.flag is not Flag.SYN_ACK:
                    return
                self._establish()
                self._acknowledge()
                self._send_more()
                self._changed(self)
                return
            case State.SYN_RECEIVED:
                if segment.flag is Flag.SYN:
                    self._transmit(self, Segment(Flag.SYN_ACK, 0, 0, RECEIVE_BUFFER))
                    return
                self._establish()
                self._changed(self)
            case State.ESTABLISHED:
                if segment.flag is Flag.SYN_ACK:
                    self._acknowledge()
                    return
            case State.CLOSED:
                return
        self._take_acknowledgement(segment)
        if segment.data or segment.is_last or segment.flag is Flag.PROBE:
            self._take_data(segment)
        self._finish_if_over()

    def _establish(self) -> None:
        """
        Note that both ends know of each other.
        """
        self.state = State.ESTABLISHED
        self._stop_timer()
        self._smoothed = self._agenda.seconds() - self._last_progress
        self._variation = self._smoothed / 2
        self._timeout = self._smoothed + max(LEAST_TIMEOUT, 4 * self._variation)
        self._last_progress = self._agenda.seconds()

    def _measure(self, round_trip: float) -> None:
        """
        Take a round-trip time into account, as RFC 6298 does.
        """
        off = abs(self._smoothed - round_trip)
        self._variation = 0.75 * self._variation + 0.25 * off
        self._smoothed = 0.875 * self._smoothed + 0.125 * round_trip

    def _take_acknowledgement(self, segment: Segment) -> None:
        """
        Forget what arrived at the other end, and send what there is room for.
        """
        was_writable = self.is_writable
        self._room = segment.acknowledged + segment.window
        if segment.acknowledged > self._acknowledged:
            self._acknowledged = segment.acknowledged
            while self._unacknowledged:
                first = self._unacknowledged[0]
                if first.sequence + len(first.data) + first.is_last > self._acknowledged:
                    break
                self._unacknowledged.popleft()
                self._queued -= len(first.data)
            now = self._agenda.seconds()
            if segment.echo is not None:
                self._measure(now - segment.echo)
            self._timeout = self._smoothed + max(LEAST_TIMEOUT, 4 * self._variation)
            self._last_progress = now
            self._repeat(REPEATED_AT_ONCE)
            if self._unacknowledged:
                self._set_timer()
        self._send_more()
        if self.is_writable and not was_writable:
            self._changed(self)
        if not (self._unacknowledged or self._unsent):
            self._stop_timer()

    def _take_data(self, segment: Segment) -> None:
        """
        Keep the data if they are the next ones; acknowledge in any case.
        """
        is_next = segment.sequence == self._expected
        is_welcome = len(self._received) < RECEIVE_BUFFER + SEGMENT_SIZE
        if is_next and is_welcome and (segment.data or segment.is_last):
            if self.is_orphan and segment.data:
                self.reset()
                return
            self._echo = segment.stamp
            self._received += segment.data
            self._expected += len(segment.data) + segment.is_last
            self._has_heard_last = self._has_heard_last or segment.is_last
            self._changed(self)
            if self.state is not State.ESTABLISHED:
                return
        self._acknowledge()

    def _acknowledge(self) -> None:
        """
        Tell the other end what came and how much may follow.
        """
        self._told_window = max(0, RECEIVE_BUFFER - len(self._received))
        answer = Segment(Flag.DATA, self._sent, self._expected, self._told_window)
        self._transmit(self, answer._replace(echo=self._echo))

    def _send_more(self) -> None:
        """
        Send what the other end has room for, once all that may be lost was sent again.
        """
        while self._unsent and self.state is State.ESTABLISHED:
            if max(self._repeated, self._acknowledged) < self._doubted:
                break
            segment = self._unsent[0]
            if segment.data and segment.sequence + len(segment.data) > self._room:
                break
            self._unsent.popleft()
            if not self._unacknowledged:
                self._last_progress = self._agenda.seconds()
            self._unacknowledged.append(segment)
            self._sent = segment.sequence + len(segment.data) + segment.is_last
            self._send(segment)
        if (self._unacknowledged or self._unsent) and self._timer is None:
            self._set_timer()

    def _send(self, segment: Segment) -> None:
        """
        Send a segment of ours together with what we have to acknowledge.
        """
        self._told_window = max(0, RECEIVE_BUFFER - len(self._received))
        sent = segment._replace(acknowledged=self._expected, window=self._told_window)
        self._transmit(self, sent._replace(stamp=self._agenda.seconds(), echo=self._echo))

    def _repeat(self, count: int) -> None:
        """
        Send again, of what was under way when nothing was acknowledged in time, what
        was neither acknowledged nor repeated since.

        @param count: segments at most.
        """
        for segment in list(self._unacknowledged):
            if not count or segment.sequence >= self._doubted:
                return
            if segment.sequence >= self._repeated:
                self._repeated = segment.sequence + max(1, len(segment.data))
                self._send(segment)
                count -= 1

    def _set_timer(self) -> None:
        """
        Wait for an acknowledgement from now on.
        """
        if self._timer is None:
            self._timer = self._agenda.call_later(self, self._timeout, self._timed_out)
        else:
            self._timer.reset(self._timeout)

    def _stop_timer(self) -> None:
        """
        Wait for nothing.
        """
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _timed_out(self) -> None:
        """
        Send again what was not acknowledged, or give up.
        """
        self._timer = None
        patience = PATIENCE
        if self.state is not State.ESTABLISHED:
            patience = SYN_PATIENCE
        elif self.is_orphan:
            patience = ORPHAN_PATIENCE
        if self._agenda.seconds() - self._last_progress >= patience:
            self.drop(errno.ETIMEDOUT)
            return
        self._timeout = min(MOST_TIMEOUT, 2 * self._timeout)
        match self.state:
            case State.SYN_SENT:
                self._transmit(self, Segment(Flag.SYN, 0, 0, RECEIVE_BUFFER))
            case State.SYN_RECEIVED:
                self._transmit(self, Segment(Flag.SYN_ACK, 0, 0, RECEIVE_BUFFER))
            case State.ESTABLISHED if self._unacknowledged:
                self._doubted, self._repeated = self._sent, self._acknowledged
                self._repeat(1)
            case State.ESTABLISHED:
                self._last_progress = self._agenda.seconds()
                probe = Segment(Flag.PROBE, self._sent, self._expected, self._told_window)
                self._transmit(self, probe)
            case State.CLOSED:
                return
        self._set_timer()

    def _finish_if_over(self) -> None:
        """
        Leave the host's table once both directions have ended.
        """
        if (
            self.is_orphan
            and self.state is State.ESTABLISHED
            and self._has_said_last
            and not (self._unsent or self._unacknowledged)
            and self._has_heard_last
        ):
            self.state = State.CLOSED
            self._stop_timer()
            self._finished(self)

    def raise_error(self) -> None:
        """
        Raise the error by which the connection ended, if there was one.
        """
        if self.error:
            raise OSError(self.error, os.strerror(self.error))
