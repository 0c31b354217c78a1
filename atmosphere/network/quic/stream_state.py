# -*- test-case-name: tests.network.quic.test_stream_state -*-
"""
One stream's bookkeeping: its opening words, its credit, what waits to be sent.

The format is in C{docs/protocols/link.md}, sections 4 and 5. Nothing here
touches QUIC; L{atmosphere.network.quic.core} moves the bytes.
"""

from __future__ import annotations

from collections import deque
from enum import Enum

from atmosphere.errors import DecodeError

__all__ = ["INITIAL_CREDIT", "Opening", "StreamState", "answer_bytes", "header_bytes"]

INITIAL_CREDIT = 262_144
MAX_WINDOW = 4_194_304
LOW_WATER = 65_536

_ACCEPTED, _REFUSED = 0, 1


class Opening(Enum):
    """
    How far the stream's opening words have come, seen from our side.
    """

    HEADER_AWAITED = "header awaited"
    UNDECIDED = "undecided"
    ANSWER_AWAITED = "answer awaited"
    OPEN = "open"
    REFUSED = "refused"


def header_bytes(service: str) -> bytes:
    """
    Write the opener's header.

    @raise ValueError: a name that is empty or longer than 255 bytes of UTF-8.
    """
    name = service.encode("utf-8")
    if not 1 <= len(name) <= 255:
        raise ValueError("a service's name has 1 to 255 bytes")
    return bytes((len(name),)) + name


def answer_bytes(reason: str | None) -> bytes:
    """
    Write the listener's answer to a header.

    @param reason: why not; C{None} accepts.
    """
    if reason is None:
        return bytes((_ACCEPTED,))
    text = reason.encode("utf-8")[:255].decode("utf-8", "ignore").encode("utf-8")
    return bytes((_REFUSED, len(text))) + text


class StreamState:
    """
    What one end knows of one stream.

    @ivar service: its name; empty until the header was read.
    @ivar outbox_length: bytes that wait for credit or for QUIC.
    @ivar unsent: bytes that QUIC may still have to send, at most.
    @ivar is_aborted: the application has given it up; what comes is dropped.
    @ivar is_finishing: the application has ended its direction.
    @ivar has_sent_end: FIN or RESET_STREAM went out: our direction is over.
    @ivar has_received_end: the peer's direction is over.
    """

    def __init__(self, stream_id: int, *, opener: bool, service: str = "") -> None:
        self.stream_id = stream_id
        self.service = service
        self.opening = Opening.ANSWER_AWAITED if opener else Opening.HEADER_AWAITED
        self.reason = ""
        self.is_aborted = False
        self.is_finishing = False
        self.has_sent_end = False
        self.has_received_end = False
        self.wants_drain = False
        self._words = bytearray()
        self._outbox: deque[bytes | memoryview] = deque()
        self.outbox_length = self.unsent = 0
        self._sent = 0
        self._send_limit = INITIAL_CREDIT
        self._received = 0
        self._consumed = 0
        self._granted = INITIAL_CREDIT
        self._window = INITIAL_CREDIT
        self._granted_at = 0.0

    @property
    def unread(self) -> int:
        """
        How many bytes the application has yet to take.
        """
        return self._received - self._consumed

    @property
    def is_over(self) -> bool:
        """
        Whether both directions have ended.
        """
        return self.has_sent_end and self.has_received_end

    def receive(self, data: bytes) -> bytes:
        """
        Take bytes from QUIC; the opening words are read and taken off.

        @return: what is the application's.
        @raise DecodeError: malformed opening words, or more than the credit.
        """
        match self.opening:
            case Opening.OPEN | Opening.UNDECIDED:
                pass
            case Opening.HEADER_AWAITED:
                data = self._read_header(data)
            case Opening.ANSWER_AWAITED:
                data = self._read_answer(data)
            case Opening.REFUSED:
                return b""
        self._received += len(data)
        if self._received > self._granted:
            raise DecodeError("more stream data than we gave credit for", section="link §5")
        return data

    def _read_header(self, data: bytes) -> bytes:
        """
        Collect the opener's header.
        """
        self._words += data
        if not self._words or len(self._words) < 1 + self._words[0]:
            return b""
        length = self._words[0]
        try:
            self.service = bytes(self._words[1 : 1 + length]).decode("utf-8")
        except UnicodeDecodeError:
            raise DecodeError("a service's name is not UTF-8", section="link §4") from None
        if not length:
            raise DecodeError("a stream without a service's name", section="link §4")
        rest = bytes(self._words[1 + length :])
        self._words.clear()
        self.opening = Opening.UNDECIDED
        return rest

    def _read_answer(self, data: bytes) -> bytes:
        """
        Collect the listener's answer.
        """
        self._words += data
        if not self._words:
            return b""
        if self._words[0] == _ACCEPTED:
            rest = bytes(self._words[1:])
            self._words.clear()
            self.opening = Opening.OPEN
            return rest
        if self._words[0] != _REFUSED:
            raise DecodeError("a stream's answer is neither yes nor no", section="link §4")
        if len(self._words) >= 2 and len(self._words) >= 2 + self._words[1]:
            self.reason = bytes(self._words[2 : 2 + self._words[1]]).decode("utf-8", "replace")
            self._words.clear()
            self.opening = Opening.REFUSED
        return b""

    def consumed(self, length: int) -> bool:
        """
        The application has taken bytes.

        @return: whether it is time for a new limit.
        """
        self._consumed += length
        new = self._consumed + self._window - self._granted
        return new >= self._window // 4 and not self.has_received_end

    def new_limit(self, now: float, rtt: float | None) -> int:
        """
        Say what is to be granted now.

        A reader that takes a whole window within two round trips has its window
        doubled, up to 4 MiB: the window, not the path, was the limit.
        """
        target = self._consumed + self._window
        if rtt is not None and now - self._granted_at < rtt and self._window < MAX_WINDOW:
            self._window = min(MAX_WINDOW, 2 * self._window)
            target = self._consumed + self._window
        self._granted_at = now
        self._granted = target
        return target

    def credit(self, limit: int) -> None:
        """
        The peer lets us send up to a total; a lower one than before is ignored.
        """
        self._send_limit = max(self._send_limit, limit)

    def write(self, data: bytes) -> None:
        """
        Put bytes behind those that wait already.
        """
        if data:
            self._outbox.append(data)
            self.outbox_length += len(data)

    def take(self, most: int) -> bytes:
        """
        Take what may be given to QUIC now.

        @param most: what QUIC has room for.
        """
        room = min(most, self._send_limit - self._sent, self.outbox_length)
        if room <= 0:
            return b""
        if room == self.outbox_length and len(self._outbox) == 1:
            self.outbox_length = 0
            self._sent += room
            return bytes(self._outbox.popleft())
        taken: list[bytes | memoryview] = []
        left = room
        while left:
            first = self._outbox.popleft()
            if len(first) > left:
                whole = memoryview(first)
                self._outbox.appendleft(whole[left:])
                first = whole[:left]
            taken.append(first)
            left -= len(first)
        self.outbox_length -= room
        self._sent += room
        return b"".join(taken)

    def drop_outbox(self) -> None:
        """
        Forget what waits: our direction is over.
        """
        self._outbox.clear()
        self.outbox_length = 0
        self.wants_drain = False
