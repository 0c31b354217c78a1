# -*- test-case-name: tests.network.relay.test_switchboard -*-
"""
The switchboard: who is connected, and which frame goes to whom.

The rules of C{docs/protocols/relay.md}, sections 3 to 5, without sockets: told
the time, it queues frames for lines (L{Switchboard.ready_lines}, L{Line.take})
and reports what its shell has to do (L{Switchboard.next_event}).
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable
from itertools import count
from typing import TypeAlias

from atmosphere.addresses import TransportAddress
from atmosphere.errors import DecodeError
from atmosphere.identity import NodeID
from atmosphere.rate import TokenBucket

from .batches import check_batch
from .frames import (
    Challenge,
    Drain,
    FrameType,
    Hello,
    Notice,
    NoticeCode,
    Ping,
    Pong,
    Refused,
    RefusedCode,
)
from .limits import Counters, RelayConfig
from .line import (
    NEVER,
    Admission,
    Closed,
    Line,
    LineState,
    Message,
    Resumed,
    Throttled,
    Welcomed,
)
from .login import Login
from .reader import decode
from .register import Register

__all__ = ["Event", "Switchboard"]

Event: TypeAlias = Welcomed | Throttled | Resumed | Closed

_ABSENT_KNOWN = 256
_SILENT, _STALLED, _LEAVING, _EXPIRED = 4010, 4011, 4012, 4013


class Switchboard:
    """
    Connects the lines of nodes with each other.
    """

    def __init__(
        self,
        config: RelayConfig,
        *,
        entropy: Callable[[int], bytes],
        wall: Callable[[], float],
        admit: Callable[[Hello], Admission],
        counters: Counters,
        stun_ports: Callable[[], tuple[int, ...]] = lambda: (),
    ) -> None:
        """
        @see: L{Login}
        """
        self._login = Login(config, wall=wall, admit=admit, stun_ports=stun_ports)
        self._config = config
        self._limits = config.limits
        self._entropy = entropy
        self._wall = wall
        self._counters = counters
        self._register = Register(config.limits)
        self._lines: set[Line] = set()
        self._ready: list[Line] = []
        self._events: deque[Event] = deque()
        self._deadlines: list[tuple[float, int, Line]] = []
        self._serial = count()
        self._drain: Drain | None = None

    @property
    def welcomed(self) -> int:
        """
        How many nodes are connected.
        """
        return len(self._register.serving)

    def connect(self, observed: TransportAddress, now: float) -> Line:
        """
        Take a new connection and challenge it.
        """
        line = Line(observed, self._entropy(32), self._limits, now)
        self._lines.add(line)
        self._put(line, Challenge(line.nonce, self._wall()).encode())
        self._arm(line)
        return line

    def disconnect(self, line: Line, now: float) -> None:
        """
        Note that a connection has ended; doing it twice does no harm.
        """
        self._lines.discard(line)
        if line.state is not LineState.CLOSED:
            line.state = LineState.CLOSED
            self._forget(line)
        line.clear()

    def pause(self, line: Line, now: float) -> None:
        """
        Note that nothing more can be written to a connection for now.
        """
        if not line.is_paused:
            line.paused_since = now
            self._arm(line)

    def resume(self, line: Line) -> None:
        """
        Note that a connection can be written to again.
        """
        line.paused_since = NEVER
        self._mark_ready(line)

    def receive_message(self, line: Line, message: Message, now: float) -> None:
        """
        Take one message of a connection. Bad ones end it; nothing raises.
        """
        state = line.state
        if state is LineState.CLOSED:
            return
        line.heard = now
        if line.bucket is not None:
            self._charge(line, len(message), now)
        try:
            if state is LineState.CHALLENGED:
                self._receive_hello(line, bytes(message), now)
            elif message and message[0] == FrameType.SEND:
                self._forward(line, message, now)
            else:
                self._receive_control(line, bytes(message), now)
        except DecodeError as error:
            self._counters.protocol_errors += 1
            self._refuse(line, RefusedCode.PROTOCOL, str(error))

    def _receive_control(self, line: Line, message: bytes, now: float) -> None:
        """
        Take a frame of a welcomed node that carries no datagrams.

        @raise DecodeError: one that clients do not send.
        """
        match decode(message):
            case Ping(token):
                self._put(line, Pong(token).encode())
            case Pong():
                pass
            case _:
                raise DecodeError(f"a client does not send frames of type {message[0]:#04x}")

    def _forward(self, line: Line, message: Message, now: float) -> None:
        """
        Hand datagrams on to their destination.

        @raise DecodeError: not a batch.
        """
        check_batch(message)
        destination = bytes(message[1:33])
        target = self._register.serving.get(destination)
        if line.state is LineState.PARKED:
            self._drop(1, len(message))
            return
        if target is None or not self._may_reach(line, target):
            self._tell_absent(line, destination, now)
            return
        if isinstance(message, bytearray):
            message[:33] = line.deliver_header
        else:
            message = line.deliver_header + message[33:]
        counters = self._counters
        counters.messages_relayed += 1
        counters.node_bytes_relayed += len(message)
        self._put(target, message)

    def _may_reach(self, line: Line, target: Line) -> bool:
        """
        Say whether two nodes may talk through this relay.
        """
        ours, theirs = line.admission, target.admission
        if ours.only_to is not None and target.node not in ours.only_to:
            return False
        if theirs.only_to is not None and line.node not in theirs.only_to:
            return False
        return ours.mesh_id == theirs.mesh_id or self._config.serves_anyone

    def _tell_absent(self, line: Line, destination: bytes, now: float) -> None:
        """
        Answer a send that reaches nobody, once a second for each destination.

        @raise DecodeError: the destination cannot be a node.
        """
        self._counters.absent += 1
        told = line.absent_told
        if told is None or len(told) >= _ABSENT_KNOWN:
            told = line.absent_told = {}
        if told.get(destination, -NEVER) + 1 <= now:
            told[destination] = now
            self._put(line, bytes([FrameType.ABSENT]) + destination)

    def _charge(self, line: Line, size: int, now: float) -> None:
        """
        Count what a node sends against its rate, and slow it down.
        """
        assert line.bucket is not None
        line.bucket.charge(size, now)
        if line.throttled_until != NEVER:
            return
        wait = line.bucket.delay(1, now)
        if wait <= 0:
            return
        self._counters.rate_limited += 1
        line.throttled_until = now + wait
        self._events.append(Throttled(line))
        self._arm(line)
        if now - line.notified_rate >= 60:
            line.notified_rate = now
            text = f"more than {line.bucket.rate:.0f} bytes a second: read no faster"
            self._put(line, Notice(NoticeCode.RATE, text).encode())

    def _receive_hello(self, line: Line, message: bytes, now: float) -> None:
        """
        Check who a node is and let it in.

        @raise DecodeError: not a hello.
        """
        if self._drain is not None:
            self._refuse(line, RefusedCode.FULL, "this relay goes down")
            return
        decision = self._login.decide(line, message)
        if isinstance(decision, Refused):
            self._refuse(line, RefusedCode(decision.code), decision.text)
        else:
            self._welcome(line, *decision, now)

    def _welcome(self, line: Line, hello: Hello, admission: Admission, now: float) -> None:
        """
        Let a node in.
        """
        line.node = hello.node
        line.instance = hello.instance
        line.admission = admission
        line.deliver_header = bytes([FrameType.DELIVER]) + hello.node.raw
        line.expires = now + self._login.seconds_left(admission)
        rate, burst = self._login.rate_of(admission)
        if rate:
            line.bucket = TokenBucket(rate, burst)
        line.state = LineState.WELCOMED
        self._counters.welcomed += 1
        self._put(line, self._login.welcome(line).encode())
        self._events.append(Welcomed(line))
        self._enter(line, now)
        self._arm(line)

    def _enter(self, line: Line, now: float) -> None:
        """
        Make a line the one of its node: the newest counts, unless two take turns.
        """
        change = self._register.add(line, now)
        for older in change.replaced:
            self._replace(older)
        for each in change.parked:
            self._park(each)
        if change.is_full:
            self._refuse(line, RefusedCode.FULL, "too many processes use this key")

    def _replace(self, older: Line) -> None:
        """
        End an older connection of a node.
        """
        self._counters.replaced += 1
        self._refuse(older, RefusedCode.REPLACED, "a newer connection of this node took over")

    def _park(self, line: Line) -> None:
        """
        Serve a line no more until it is the only one.
        """
        self._counters.parked += 1
        line.state = LineState.PARKED
        text = "another process uses this node's key: neither is served until one leaves"
        self._put(line, Notice(NoticeCode.PARKED, text).encode())

    def _forget(self, line: Line) -> None:
        """
        Take a line out of the register; the last of those that were parked is served again.
        """
        last = self._register.remove(line)
        if last is not None:
            last.state = LineState.WELCOMED
            self._put(last, Notice(NoticeCode.UNPARKED, "served again").encode())

    def _refuse(self, line: Line, code: RefusedCode, text: str) -> None:
        """
        Say the last word to a node and end its connection.
        """
        if code is not RefusedCode.REPLACED:
            self._counters.refused_logins += 1
        self._put(line, Refused(code, text).encode())
        self._close(line, 4000 + code, text)

    def _close(self, line: Line, code: int, reason: str) -> None:
        """
        End a connection.
        """
        line.state = LineState.CLOSED
        self._forget(line)
        self._events.append(Closed(line, code, reason))

    def expel(self, node: NodeID, reason: str, now: float) -> None:
        """
        End the connections of a node that may be here no longer, such as a revoked member.
        """
        for line in self._register.lines_of(node.raw):
            self._refuse(line, RefusedCode.NOT_ADMITTED, reason)

    def drain(self, seconds: int, alternatives: tuple[str, ...]) -> None:
        """
        Tell every node that the relay goes down, and let nobody in any more.
        """
        self._drain = Drain(seconds, alternatives[:8])
        frame = self._drain.encode()
        for line in self._lines:
            if line.state in (LineState.WELCOMED, LineState.PARKED):
                self._put(line, frame)

    def shut_down(self, now: float) -> None:
        """
        End every connection.
        """
        for line in list(self._lines):
            if line.state is not LineState.CLOSED:
                self._close(line, _LEAVING, "the relay goes down")

    def _drop(self, messages: int, size: int) -> None:
        """
        Count what was dropped.
        """
        self._counters.messages_dropped += messages
        self._counters.bytes_dropped += size

    def _put(self, line: Line, message: Message) -> None:
        """
        Queue a message for a line.
        """
        messages, size = line.put(message, self._limits.probe_queue)
        if messages:
            self._drop(messages, size)
        if not line.is_ready:
            self._mark_ready(line)

    def _mark_ready(self, line: Line) -> None:
        """
        Put a line among those that have something to write.
        """
        if not line.is_ready and not line.is_paused:
            line.is_ready = True
            self._ready.append(line)

    def ready_lines(self) -> list[Line]:
        """
        Hand out the lines that have something to write and can be written to.
        """
        ready, self._ready = self._ready, []
        for line in ready:
            line.is_ready = False
        return ready

    def next_event(self) -> Event | None:
        """
        Hand out the oldest event that was not yet handed out.
        """
        return self._events.popleft() if self._events else None

    def _arm(self, line: Line) -> None:
        """
        Put a line's next deadline where L{handle_timer} finds it.
        """
        due = line.due(self._limits)
        if due < line.armed:
            line.armed, line.armed_later = due, line.armed
            heapq.heappush(self._deadlines, (due, next(self._serial), line))

    def get_timer(self) -> float | None:
        """
        Say when L{handle_timer} wants to be called; C{None} for never.
        """
        deadlines = self._deadlines
        while deadlines and deadlines[0][2] not in self._lines:
            heapq.heappop(deadlines)
        return deadlines[0][0] if deadlines else None

    def handle_timer(self, now: float) -> None:
        """
        Do what is due. Calling it early does no harm.
        """
        while self._deadlines and self._deadlines[0][0] <= now:
            at, _, line = heapq.heappop(self._deadlines)
            if at != line.armed or line not in self._lines:
                continue
            line.armed, line.armed_later = line.armed_later, NEVER
            if line.state is not LineState.CLOSED and line.due(self._limits) <= now:
                self._expire(line, now)
            if line.state is not LineState.CLOSED:
                self._arm(line)

    def _expire(self, line: Line, now: float) -> None:
        """
        Do what is due for one line.
        """
        limits = self._limits
        if line.throttled_until <= now:
            assert line.bucket is not None
            wait = line.bucket.delay(1, now)
            line.throttled_until = now + wait if wait > 0 else NEVER
            if wait <= 0:
                line.heard = now
                self._events.append(Resumed(line))
        if line.paused_since + limits.write_timeout <= now:
            self._counters.stalled += 1
            self._close(line, _STALLED, "nothing could be written")
        elif line.state is LineState.CHALLENGED and line.due(limits) <= now:
            self._counters.timed_out += 1
            self._refuse(line, RefusedCode.TOO_LATE, "no hello in time")
        elif line.expires <= now:
            self._close(line, _EXPIRED, "the admission has expired")
        elif line.due(limits) <= now:
            self._counters.timed_out += 1
            self._close(line, _SILENT, "silent for too long")
