# -*- test-case-name: tests.network.stun.test_lifetime -*-
"""
What is asked to find out for how long a NAT remembers a port (RFC 5780 §4.6).

Many sockets ask a server once, and then keep silent, each for another while. When
its time has come, one further socket has the server answer to that port
(RESPONSE-PORT): the answer comes in where the port is still known. All wait at the
same time, and none is used twice, for an answer that comes in may prolong what it
is to measure.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

from atmosphere.addresses import TransportAddress

from .attributes import RESPONSE_PORT, SOFTWARE, XOR_MAPPED_ADDRESS, Attribute
from .behavior import BindingLifetime
from .transaction import Answered, Event as TransactionEvent, Refused, TimedOut, Transactions

__all__ = ["WAITS", "Event", "LifetimeProbe", "Via", "Waited"]

#: Seconds of silence that are tried: a little less than those which routers have.
WAITS = (9, 14, 19, 24, 29, 39, 49, 59, 74, 89, 104, 119, 149, 179, 239, 299)

#: So long that no answer is longer than the request.
_SOFTWARE = "atmosphere, binding lifetime"

#: How a server is asked at first: at 0, 0.3 and 0.9 s, for 2.1 s.
_ASKING = {"rto": 0.3, "rc": 3, "rm": 4.0}

#: How it is asked to answer to another port: at 0, 0.2, 0.6 and 1.4 s, for 2.2 s.
_TESTING = {"rto": 0.2, "rc": 4, "rm": 4.0}

#: At the same times it is asked plainly; so many must be answered before silence
#: counts as a router's, and not as loss, and that twice.
_CONTROLS = (0.0, 0.2, 0.6, 1.4)
_CONTROL = {"rto": 0.8, "rc": 1, "rm": 1.0}
_ANSWERED_CONTROLS = 3

_LOST = "too many datagrams were lost to tell"

#: Seconds after its time when a port is not tried any more: a machine that slept has waited
#: for longer than it would say.
_TOO_LATE = 2.0

_ASKER = 0


class Via(NamedTuple):
    """
    Which of our sockets a datagram comes in by or goes out from, and who is at the
    other end.
    """

    socket: int
    remote: TransportAddress


@dataclass(frozen=True, slots=True)
class Waited:
    """
    A port was silent for so long, and was then tried.

    @ivar seconds: of silence.
    @ivar is_known: whether the answer came in.
    """

    seconds: float
    is_known: bool


Event = Waited | BindingLifetime


class LifetimeProbe:
    """
    Measures with one server. An engine; its last event is the L{BindingLifetime}.

    It has a socket that asks, one that is tried at once, to see whether the server
    can do it, and then one for each time.
    """

    def __init__(
        self,
        server: TransportAddress,
        entropy: Callable[[int], bytes],
        now: float,
        waits: Sequence[float] = WAITS,
    ) -> None:
        """
        @param waits: seconds, rising.
        """
        self._server = server
        self._waits = (0.0, *waits)
        self._transactions = Transactions(entropy)
        self._handlers: dict[bytes, tuple[int, Callable[[TransactionEvent, float], None]]] = {}
        self._later: list[tuple[float, Callable[[float], None]]] = []
        self._events: deque[Event] = deque()
        self._arrived_at = _ASKER
        self._asker: TransportAddress | None = None
        self._first: TransportAddress | None = None
        self._waiting: set[int] = set()
        self._at_least: float | None = None
        self._is_over = False
        self._begin(now)

    # The five verbs.

    def receive_datagram(self, data: bytes, path: Via, now: float) -> None:
        """
        Take an answer; what is none of ours is dropped.
        """
        self._arrived_at = path.socket
        self._transactions.receive_datagram(data, path.remote, now)
        self._handle(now)

    def datagrams_to_send(self, now: float) -> list[tuple[bytes, Via]]:
        """
        Hand out the requests that are due.
        """
        return [
            (data, Via(self._handlers[data[8:20]][0], remote))
            for data, remote in self._transactions.datagrams_to_send(now)
            if data[8:20] in self._handlers
        ]

    def get_timer(self) -> float | None:
        """
        Say when something is due.
        """
        if self._is_over:
            return None
        timer = self._transactions.get_timer()
        return min(at for at in (timer, *(at for at, _ in self._later)) if at is not None)

    def handle_timer(self, now: float) -> None:
        """
        Do what is due.
        """
        self._transactions.handle_timer(now)
        self._handle(now)
        due = [each for each in self._later if each[0] <= now]
        self._later = [each for each in self._later if each[0] > now]
        for _, function in due:
            if not self._is_over:
                function(now)

    def next_event(self) -> Event | None:
        """
        Hand out the oldest event that was not yet handed out.
        """
        return self._events.popleft() if self._events else None

    # What happens inside.

    def _ask(
        self,
        socket: int,
        now: float,
        schedule: dict[str, Any],
        handler: Callable[[TransactionEvent, float], None],
        attributes: tuple[tuple[Attribute[Any], Any], ...] = (),
    ) -> None:
        """
        Send a request, and call the handler with how it ends.
        """
        found = self._transactions.request(self._server, now, attributes=attributes, **schedule)
        self._handlers[found] = (socket, handler)

    def _handle(self, now: float) -> None:
        """
        Hand events to their handlers.
        """
        while (event := self._transactions.next_event()) is not None:
            found = self._handlers.pop(event.transaction_id, None)
            if found is not None:
                found[1](event, now)

    def _end(self, *, less_than: float | None = None, error: str | None = None) -> None:
        """
        Report what was found, and do nothing more.
        """
        self._is_over = True
        self._later.clear()
        for each in self._handlers:
            self._transactions.cancel(each)
        self._handlers.clear()
        self._events.append(BindingLifetime(self._server, self._at_least, less_than, error))

    def _begin(self, now: float) -> None:
        """
        See where the first two sockets are seen, and try the second at once.
        """

        def seen(socket: int, event: TransactionEvent, when: float) -> None:
            mapped = event.message.get(XOR_MAPPED_ADDRESS) if isinstance(event, Answered) else None
            if mapped is None:
                text = "no response" if isinstance(event, TimedOut) else "it does not tell our port"
                self._end(error=text)
            elif socket == _ASKER:
                self._asker = mapped
            else:
                self._first = mapped
            if self._asker is not None and self._first is not None and not self._is_over:
                self._waiting.add(1)
                self._test(1, self._first, when)

        for socket in (_ASKER, 1):
            self._ask(socket, now, _ASKING, partial(seen, socket))

    def _wait(self, now: float) -> None:
        """
        Open the other ports, each of which will be tried after its time.
        """

        def opened(socket: int, event: TransactionEvent, when: float) -> None:
            mapped = event.message.get(XOR_MAPPED_ADDRESS) if isinstance(event, Answered) else None
            if mapped is None:
                self._done_with(socket)
                return
            due = when + self._waits[socket - 1]

            def test(late: float) -> None:
                if late - due > _TOO_LATE:  # this machine slept: it is another wait than wanted
                    self._done_with(socket)
                else:
                    self._test(socket, mapped, late)

            self._later.append((due, test))

        self._waiting = set(range(2, len(self._waits) + 1))
        for socket in sorted(self._waiting):
            self._ask(socket, now, _ASKING, partial(opened, socket))

    def _test(
        self, socket: int, mapped: TransportAddress, now: float, *, is_again: bool = False
    ) -> None:
        """
        Have the server answer to a port of ours.

        @param is_again: whether it did not come in once, which one more try confirms.
        """
        controls = 0

        def control(event: TransactionEvent, when: float) -> None:
            nonlocal controls
            controls += isinstance(event, Answered)

        def ended(event: TransactionEvent, when: float) -> None:
            is_silent = isinstance(event, TimedOut) and controls >= _ANSWERED_CONTROLS
            if is_silent and not is_again:
                self._test(socket, mapped, when, is_again=True)
            else:
                self._tested(socket, event, when, is_silent=is_silent)

        if self._asker is None or mapped.host != self._asker.host:
            self._done_with(socket)  # the answer would go to another address
            return
        for delay in _CONTROLS:
            if delay:
                self._later.append(
                    (now + delay, lambda late: self._ask(_ASKER, late, _CONTROL, control))
                )
            else:
                self._ask(_ASKER, now, _CONTROL, control)
        attributes = ((RESPONSE_PORT, mapped.port), (SOFTWARE, _SOFTWARE))
        self._ask(_ASKER, now, _TESTING, ended, attributes)

    def _tested(self, socket: int, event: TransactionEvent, now: float, *, is_silent: bool) -> None:
        """
        Learn from how a test ended.
        """
        seconds = self._waits[socket - 1]
        is_first = socket == 1
        match event:
            case Answered() if self._arrived_at == socket:
                if is_first:
                    self._wait(now)
                    return
                self._at_least = seconds
                self._events.append(Waited(seconds, is_known=True))
                self._done_with(socket)
            case Answered() | Refused():
                if is_first:
                    self._end(error="it does not answer to another port than asks")
                else:
                    self._done_with(socket)
            case _ if is_silent:
                if is_first:
                    self._end(error="its answer to another port than asked does not come in")
                else:
                    self._events.append(Waited(seconds, is_known=False))
                    self._end(less_than=seconds)
            case _:
                self._done_with(socket)

    def _done_with(self, socket: int) -> None:
        """
        Need a socket no more; end after the last.
        """
        self._waiting.discard(socket)
        if not self._waiting and not self._is_over:
            self._end(error=None if self._at_least is not None else _LOST)
