# -*- test-case-name: tests.network.quic.test_stream_table -*-
"""
A link's streams: between the application's bytes and QUIC's.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from qh3.quic import events as quic_events

from atmosphere.errors import LinkError

from . import core_events as events
from .adapter import QUICConnection
from .limits import COST_OF_EVENT, MAX_EARLY, UNPROVEN_STREAMS
from .stream_state import LOW_WATER, Opening, StreamState, answer_bytes, header_bytes

__all__ = ["StreamTable"]

MAX_UNSENT = 262_144
ABORTED = 1
MAX_HEADER = 256


class StreamTable:
    """
    All streams of one link but the control stream.

    @ivar unread: bytes that were handed out and that no application has taken.
    """

    def __init__(
        self,
        quic: QUICConnection,
        out: deque[events.Event],
        grant: Callable[[int, int], None],
        sent: Callable[[int], None],
    ) -> None:
        """
        @param out: where events go.
        @param grant: tells the peer of a stream's new limit.
        @param sent: told how many bytes of stream data went to QUIC.
        """
        self._sent = sent
        self.unread = 0
        self._quic = quic
        self._out = out
        self._grant = grant
        self._streams: dict[int, StreamState] = {}
        self._waiting: dict[int, None] = {}
        self._chunks: dict[int, list[bytes]] = {}
        self._next_local, self._next_remote = (4, 1) if quic.is_dialler else (1, 4)
        self._skipped: set[int] = set()
        self._early: int | None = None

    def __len__(self) -> int:
        return len(self._streams)

    @property
    def has_wanted(self) -> bool:
        """
        Whether there is a stream that the application has not given up.
        """
        return any(not state.is_aborted for state in self._streams.values())

    def count_served(self, service: str) -> int:
        """
        Count the peer's streams of one service that are served.
        """
        theirs = int(self._quic.is_dialler)
        return sum(
            1
            for each in self._streams.values()
            if each.service == service
            and each.opening is Opening.OPEN
            and each.stream_id & 1 == theirs
        )

    # Before the welcome.

    def begin_early(self) -> None:
        """
        Send no more, until L{end_early}, than a listener holds for a dialler that is
        not proven.
        """
        self._early = MAX_EARLY

    def end_early(self) -> None:
        """
        The link is connected.
        """
        self._early = None

    @property
    def has_early_room(self) -> bool:
        """
        Whether one more stream can be opened before the welcome.
        """
        is_near = self._next_local // 4 <= UNPROVEN_STREAMS
        return is_near and self._early is not None and self._early >= MAX_HEADER + COST_OF_EVENT

    def _may_send(self, most: int) -> int:
        """
        Say how many bytes may be sent of so many.
        """
        return most if self._early is None else max(0, min(most, self._early - COST_OF_EVENT))

    def _spend(self, length: int) -> None:
        """
        Count what was sent before the welcome.
        """
        if self._early is not None:
            self._early -= length + COST_OF_EVENT

    # From the application.

    def open(self, service: str) -> int:
        """
        Open a stream; its bytes may follow at once.

        @return: the stream's number.
        @raise ValueError: a name that cannot be sent.
        @raise LinkError: the peer allows no more for now.
        """
        header = header_bytes(service)
        stream_id = self._next_local
        if 0 < self._quic.stream_limit <= stream_id // 4:
            raise LinkError("too many streams at once on one link")
        if self._early is not None and not self.has_early_room:
            raise LinkError("too many streams before the welcome")
        self._next_local += 4
        self._streams[stream_id] = StreamState(stream_id, opener=True, service=service)
        self._quic.send_stream(stream_id, header)
        self._spend(len(header))
        return stream_id

    def accept(self, stream_id: int) -> None:
        """
        Serve a stream that the peer opened.
        """
        state = self._streams.get(stream_id)
        if state is not None and state.opening is Opening.UNDECIDED:
            state.opening = Opening.OPEN
            if not state.has_sent_end:
                self._quic.send_stream(stream_id, answer_bytes(None))
            else:  # the peer does not read the answer, let alone more
                self._out.append(events.StreamAborted(stream_id, stops_us=True))

    def refuse(self, stream_id: int, reason: str) -> None:
        """
        Do not serve a stream that the peer opened. Call L{stop} once that was
        sent: QUIC's library keeps an answer back that goes with STOP_SENDING.
        """
        state = self._streams.get(stream_id)
        if state is None or state.opening is not Opening.UNDECIDED:
            return
        state.opening = Opening.REFUSED
        if not state.has_sent_end:
            self._quic.send_stream(stream_id, answer_bytes(reason), fin=True)
            state.has_sent_end = True
        self._forget_if_over(state)

    def write(self, stream_id: int, data: bytes) -> int | None:
        """
        Put bytes behind those that wait.

        @return: how many bytes wait now; above 64 KiB, L{events.StreamDrained}
            will say when they have become few. C{None} if our direction is over.
        """
        state = self._streams.get(stream_id)
        if state is None or state.has_sent_end or state.is_finishing:
            return None
        state.write(data)
        self._waiting[stream_id] = None
        state.wants_drain = state.wants_drain or state.outbox_length > LOW_WATER
        return state.outbox_length

    def wants_drain(self, stream_id: int) -> None:
        """
        Ask for L{events.StreamDrained} as soon as little waits, perhaps at once.
        """
        state = self._streams.get(stream_id)
        if state is not None and not state.has_sent_end:
            state.wants_drain = True
            self._waiting[stream_id] = None

    def finish(self, stream_id: int) -> None:
        """
        End our direction once everything written has gone.
        """
        state = self._streams.get(stream_id)
        if state is not None and not state.has_sent_end:
            state.is_finishing = True
            self._waiting[stream_id] = None

    def abort(self, stream_id: int) -> None:
        """
        Give the stream up in both directions, at once.
        """
        state = self._streams.get(stream_id)
        if state is None:
            return
        self.stop(stream_id)
        state.is_aborted = True
        self._chunks.pop(stream_id, None)
        self._end_sending(state)
        self._forget_if_over(state)

    def stop(self, stream_id: int) -> None:
        """
        Read no further: ask the peer to stop.
        """
        state = self._streams.get(stream_id)
        if state is not None and not state.has_received_end:
            self._quic.stop_stream(stream_id, ABORTED)

    def consumed(self, stream_id: int, length: int) -> bool:
        """
        The application has taken bytes: the peer may send as many more.

        @return: whether it is to be told so, by L{grant}.
        """
        state = self._streams.get(stream_id)
        if state is None:
            return False
        self.unread -= length
        return state.consumed(length)

    def grant(self, stream_id: int, now: float) -> None:
        """
        Let the peer send as much as the application has room for.
        """
        state = self._streams.get(stream_id)
        if state is not None:
            self._grant(stream_id, state.new_limit(now, self._quic.smoothed_rtt))

    def waiting(self, stream_id: int) -> int:
        """
        Say how many bytes of a stream wait for credit or for QUIC.
        """
        state = self._streams.get(stream_id)
        return 0 if state is None else state.outbox_length

    # To QUIC.

    def flush(self) -> bool:
        """
        Give QUIC what it and the peer have room for.

        @return: whether anything was given.
        """
        if not self._waiting:
            return False
        has_given = False
        for stream_id in list(self._waiting):
            state = self._streams.get(stream_id)
            if state is None:
                del self._waiting[stream_id]
                continue
            # Asked only when there may be too much: a call less for most writes.
            if state.unsent + state.outbox_length > MAX_UNSENT:
                state.unsent = self._quic.unsent(stream_id)
            data = state.take(self._may_send(MAX_UNSENT - state.unsent))
            state.unsent += len(data)
            ends = state.is_finishing and not state.outbox_length and not state.has_sent_end
            if data or ends:
                has_given = True
                self._sent(len(data))
                self._spend(len(data))
                self._quic.send_stream(stream_id, data, fin=ends)
                state.has_sent_end = state.has_sent_end or ends
                if ends:
                    self._out.append(events.StreamFinished(stream_id))
            if state.outbox_length <= LOW_WATER and state.wants_drain:
                state.wants_drain = False
                self._out.append(events.StreamDrained(stream_id))
            if not state.outbox_length:
                del self._waiting[stream_id]
                if state.has_sent_end:
                    self._forget_if_over(state)
        return has_given

    # From QUIC.

    def report_all(self) -> None:
        """
        Report the bytes that one turn brought.
        """
        if self._chunks:
            collected, self._chunks = self._chunks, {}
            for stream_id, chunks in collected.items():
                data = chunks[0] if len(chunks) == 1 else b"".join(chunks)
                self._out.append(events.StreamData(stream_id, data))

    def report(self, stream_id: int) -> None:
        """
        Report the bytes that were collected for a stream, in one piece.
        """
        chunks = self._chunks.pop(stream_id, None)
        if chunks:
            data = chunks[0] if len(chunks) == 1 else b"".join(chunks)
            self._out.append(events.StreamData(stream_id, data))

    def credit(self, stream_id: int, limit: int) -> None:
        """
        The peer lets us send more.
        """
        state = self._streams.get(stream_id)
        if state is not None:
            state.credit(limit)
            if state.outbox_length:
                self._waiting[stream_id] = None

    def handle(
        self,
        event: quic_events.StreamDataReceived
        | quic_events.StreamReset
        | quic_events.StopSendingReceived,
    ) -> None:
        """
        Act on an event of one of our streams.

        @raise DecodeError: the peer broke the protocol.
        """
        state = self._streams.get(event.stream_id) or self._find(event.stream_id)
        if state is None:
            return
        match event:
            case quic_events.StreamDataReceived():
                self._data_received(state, event.data, event.end_stream)
            case quic_events.StreamReset():
                self._peer_gave_up(state)
            case quic_events.StopSendingReceived():
                self._peer_stopped_reading(state)
        if state.has_received_end:
            self._forget_if_over(state)

    def _find(self, stream_id: int) -> StreamState | None:
        """
        Begin a stream that the peer opened.

        What comes late for a stream that is over and forgotten begins none:
        the peer's streams are numbered, and those that were skipped so far are
        known. QUIC's limit of streams bounds how many those can be.
        """
        is_local = (stream_id & 1 == 0) == self._quic.is_dialler
        if is_local or stream_id & 2:
            return None
        if stream_id >= self._next_remote:
            self._skipped.update(range(self._next_remote, stream_id, 4))
            self._next_remote = stream_id + 4
        elif stream_id in self._skipped:
            self._skipped.discard(stream_id)
        else:
            return None
        state = StreamState(stream_id, opener=False)
        self._streams[stream_id] = state
        return state

    def _data_received(self, state: StreamState, data: bytes, is_end: bool) -> None:
        """
        Take the opening words off, and collect what is the application's.

        @raise DecodeError: the peer broke the protocol.
        """
        before = state.opening
        if data and not state.is_aborted:
            rest = state.receive(data)
            if state.opening is not before:
                self._opening_changed(state)
            if rest:
                self.unread += len(rest)
                self._chunks.setdefault(state.stream_id, []).append(rest)
        if is_end and not state.has_received_end:
            state.has_received_end = True
            if state.opening in (Opening.HEADER_AWAITED, Opening.ANSWER_AWAITED):
                self._peer_gave_up(state)
            elif state.opening is not Opening.REFUSED and not state.is_aborted:
                self.report(state.stream_id)
                self._out.append(events.StreamEnded(state.stream_id))

    def _opening_changed(self, state: StreamState) -> None:
        """
        Report that the header, or the answer, was read.
        """
        match state.opening:
            case Opening.UNDECIDED:
                self._out.append(events.StreamOpened(state.stream_id, state.service))
            case Opening.OPEN:
                self._out.append(events.StreamAccepted(state.stream_id))
            case Opening.REFUSED:
                self._out.append(events.StreamRefused(state.stream_id, state.reason))
                self._end_sending(state)
            case Opening.HEADER_AWAITED | Opening.ANSWER_AWAITED:
                return

    def _end_sending(self, state: StreamState) -> None:
        """
        Give up our direction, unless it is over.
        """
        if not state.has_sent_end:
            self._quic.reset_stream(state.stream_id, ABORTED)
            state.has_sent_end = True
        state.drop_outbox()

    def _peer_gave_up(self, state: StreamState) -> None:
        """
        The peer will send no more, and not in good order.
        """
        state.has_received_end = True
        if not state.is_aborted and state.opening is not Opening.HEADER_AWAITED:
            self.report(state.stream_id)
            self._out.append(events.StreamAborted(state.stream_id, stops_us=False))
        self._end_sending(state)

    def _peer_stopped_reading(self, state: StreamState) -> None:
        """
        The peer will read no more.
        """
        is_news = not state.has_sent_end and not state.is_aborted
        self._end_sending(state)
        if is_news and state.opening is Opening.OPEN:
            self.report(state.stream_id)
            self._out.append(events.StreamAborted(state.stream_id, stops_us=True))

    def _forget_if_over(self, state: StreamState) -> None:
        """
        Let a stream go whose directions have both ended.
        """
        if state.is_over:
            self.report(state.stream_id)
            self._streams.pop(state.stream_id, None)
            self._waiting.pop(state.stream_id, None)
            self.unread -= state.unread
