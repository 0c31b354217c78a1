# -*- test-case-name: tests.network.stun.test_probe -*-
"""
What is asked to find out how NATs and firewalls behave.

Two things are asked of servers that have a second socket (RFC 5780), each from a
UDP port of its own that never sent there before::

    L{DialBackProbe}   does an answer come in from the socket that we never sent to?
    L{MappingProbe}    does that socket see us at the same address as the first one?

They go on two ports, because asking the second would spoil the first: a datagram
to the second socket opens the way for its answers.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NamedTuple

from typing_extensions import override

from atmosphere.addresses import TransportAddress, address_kind

from .attributes import (
    CHANGE_REQUEST,
    MAPPED_ADDRESS,
    OTHER_ADDRESS,
    PADDING,
    XOR_MAPPED_ADDRESS,
    Attribute,
)
from .behavior import DialBack, Finding
from .message import Message
from .transaction import Answered, Event, Refused, TimedOut, Transactions
from .values import ChangeRequest

__all__ = ["PADDED", "DialBackProbe", "Finished", "MappingProbe", "Probe", "other_socket"]

#: Requests are padded to so many bytes: more than any answer has that we want.
PADDED = 128

#: Seconds for which the padded request is still waited for once the plain one was
#: answered: some servers say nothing to what they do not know.
_GRACE = 0.7


class _Schedule(NamedTuple):
    """
    When a request is sent again, see L{Transactions.request}.
    """

    rto: float
    rc: int
    rm: float


#: How a server is first asked: at 0, 0.3 and 0.9 s, for 2.1 s.
_ASKING = _Schedule(0.3, 3, 4)

#: How a dial-back is asked for: at 0, 0.2, 0.6 and 1.4 s, for 2.2 s.
_DIALLING = _Schedule(0.2, 4, 4)

#: At the same times plain requests go out; so many must be answered before silence
#: counts as a filter's, and not as loss.
_CONTROLS = (0.0, 0.2, 0.6, 1.4)
_ANSWERED_CONTROLS = 3
_DIALLING_ENDS = 2.2


@dataclass(frozen=True, slots=True)
class Finished:
    """
    A probe has ended.

    @ivar findings: one for each server.
    """

    findings: tuple[Finding, ...]


def other_socket(asked: TransportAddress, announced: TransportAddress) -> TransportAddress | None:
    """
    Find a server's other socket, from what it announces as OTHER-ADDRESS.

    A server that is bound to all addresses, or behind a NAT, does not know by
    which address we know it: then the one that we asked is meant. Nor may a
    server have us send to just anybody.

    @return: C{None} if there is no other socket.
    """
    host = asked.host
    kind = address_kind(announced.packed)
    if announced.is_ipv6 == asked.is_ipv6 and kind is address_kind(asked.packed):
        host = announced.host
    found = TransportAddress(host, announced.port)
    return None if found == asked or announced.port < 1024 else found


class _Server:
    """
    One server while it is asked.
    """

    def __init__(self, address: TransportAddress) -> None:
        self.finding = Finding(address)
        self.asking: set[bytes] = set()
        self.is_plain = False
        self.is_heard = False
        self.is_done = False
        self.controls = 0


class Probe(ABC):
    """
    Asks servers where they see us and whether they have another socket, and
    then what the kind of probe is for. An engine; its one event is L{Finished}.
    """

    def __init__(
        self,
        servers: Sequence[TransportAddress],
        entropy: Callable[[int], bytes],
        now: float,
    ) -> None:
        """
        @param servers: of one address family; of those with one IP address the
            first is asked.
        """
        self._transactions = Transactions(entropy)
        self._handlers: dict[bytes, Callable[[Event, float], None]] = {}
        self._later: list[tuple[float, Callable[[float], None]]] = []
        self._sent_to: set[TransportAddress] = set()
        self._events: deque[Finished] = deque()
        self._is_over = False
        by_host = {each.host: each for each in reversed(servers)}
        self._servers = [_Server(each) for each in servers if by_host[each.host] is each]
        for server in self._servers:
            self._begin(server, now)
        self._look()

    def owns(self, transaction_id: bytes) -> bool:
        """
        Say whether a response to this transaction is waited for here.
        """
        return self._transactions.owns(transaction_id)

    # ---------------------------------------------------------- the five verbs

    def receive_datagram(self, data: bytes, path: TransportAddress, now: float) -> None:
        """
        Take an answer; what is none of ours is dropped.
        """
        self._transactions.receive_datagram(data, path, now)
        self._handle(now)

    def datagrams_to_send(self, now: float) -> list[tuple[bytes, TransportAddress]]:
        """
        Hand out the requests that are due.
        """
        return self._transactions.datagrams_to_send(now)

    def get_timer(self) -> float | None:
        """
        Say when something is due.
        """
        times = [self._transactions.get_timer(), *(due for due, _ in self._later)]
        return min((each for each in times if each is not None), default=None)

    def handle_timer(self, now: float) -> None:
        """
        Do what is due.
        """
        for each in [each for each in self._later if each[0] <= now]:
            self._later.remove(each)
            each[1](now)
        self._transactions.handle_timer(now)
        self._handle(now)

    def next_event(self) -> Finished | None:
        """
        Hand out the end, once.
        """
        return self._events.popleft() if self._events else None

    # ------------------------------------------------------------------ asking

    def _ask(
        self,
        server: _Server,
        target: TransportAddress,
        now: float,
        handler: Callable[[Event, float], None],
        schedule: _Schedule,
        attributes: Iterable[tuple[Attribute[Any], Any]] = (),
        *,
        from_anywhere: bool = False,
    ) -> None:
        """
        Send a request, and call the handler with how it ends.
        """
        self._sent_to.add(target)
        transaction_id = self._transactions.request(
            target,
            now,
            attributes=attributes,
            rto=schedule.rto,
            rc=schedule.rc,
            rm=schedule.rm,
            from_anywhere=from_anywhere,
        )
        self._handlers[transaction_id] = handler
        server.asking.add(transaction_id)

    def _handle(self, now: float) -> None:
        """
        Hand events to their handlers.
        """
        while (event := self._transactions.next_event()) is not None:
            handler = self._handlers.pop(event.transaction_id, None)
            for server in self._servers:
                server.asking.discard(event.transaction_id)
            if handler is not None:
                handler(event, now)
        self._look()

    def _drop(self, server: _Server) -> None:
        """
        Wait no longer for what a server was asked.
        """
        for each in server.asking:
            self._transactions.cancel(each)
            self._handlers.pop(each, None)
        server.asking.clear()

    def _finish(self, server: _Server) -> None:
        """
        Be done with a server.
        """
        self._drop(server)
        server.is_done = True

    def _look(self) -> None:
        """
        End once all servers are done with.
        """
        if not self._is_over and all(each.is_done for each in self._servers):
            self._is_over = True
            self._later = []
            self._events.append(Finished(tuple(each.finding for each in self._servers)))

    def _begin(self, server: _Server, now: float) -> None:
        """
        Ask a server plainly, which all understand, and padded, which ours want.
        """

        def ended(is_plain: bool, event: Event, when: float) -> None:
            self._learn(server, event, when - now, is_plain)
            if server.is_plain or not server.asking:
                self._proceed(server, when)
            elif is_plain and isinstance(event, Answered):
                self._later.append((when + _GRACE, lambda late: self._proceed(server, late)))

        address = server.finding.server
        for is_plain in (True, False):
            self._ask(
                server,
                address,
                now,
                partial(ended, is_plain),
                _ASKING,
                () if is_plain else self._padding(()),
            )

    def _proceed(self, server: _Server, now: float) -> None:
        """
        Go on to what the probe is for, once a server has been heard at first.
        """
        if server.is_heard:
            return
        server.is_heard = True
        self._drop(server)
        if server.finding.mapped is None or server.finding.other is None:
            self._finish(server)
            self._look()
        else:
            self._test(server, now)

    def _learn(self, server: _Server, event: Event, seconds: float, is_plain: bool) -> None:
        """
        Keep what a server answers at first.
        """
        finding = server.finding
        if not isinstance(event, Answered):
            if is_plain and finding.mapped is None:
                server.finding = replace(finding, error=_words(event))
            return
        message: Message = event.message
        mapped = message.get(XOR_MAPPED_ADDRESS) or message.get(MAPPED_ADDRESS)
        announced = message.get(OTHER_ADDRESS)
        other = None if announced is None else other_socket(finding.server, announced)
        server.is_plain = server.is_plain or (is_plain and other is not None)
        rtt = seconds if seconds < _ASKING.rto and finding.rtt is None else finding.rtt
        server.finding = replace(
            finding,
            mapped=mapped or finding.mapped,
            rtt=rtt,
            error=None if mapped or finding.mapped else "does not say where it sees us",
            other=other or finding.other,
        )

    def _padding(
        self, attributes: tuple[tuple[Attribute[Any], Any], ...], taken: int = 0
    ) -> tuple[tuple[Attribute[Any], Any], ...]:
        """
        Pad a request, so that its answer cannot be longer.

        @param taken: the bytes of its attributes.
        """
        return (*attributes, (PADDING, bytes(PADDED - 20 - 4 - taken)))

    @abstractmethod
    def _test(self, server: _Server, now: float) -> None:
        """
        Do what the probe is for, with a server that has another socket.
        """


class DialBackProbe(Probe):
    """
    Has servers answer from a socket that we never sent to. Such an answer
    comes in only if nothing filters it.
    """

    @override
    def _test(self, server: _Server, now: float) -> None:
        """
        Ask for answers from the other port, and from the other address if
        there is one; ask plainly at the same times, to tell filters from loss.
        """
        finding = server.finding
        assert finding.other is not None
        waiting = {"from_port"}
        if finding.other.host != finding.server.host:
            waiting.add("from_address")

        def ended(name: str, event: Event, when: float) -> None:
            waiting.discard(name)
            self._judge(server, event, name)
            if not waiting:
                self._finish(server)

        for name in sorted(waiting):
            change = ((CHANGE_REQUEST, ChangeRequest(name == "from_address", True)),)
            self._ask(
                server,
                finding.server,
                now,
                partial(ended, name),
                _DIALLING,
                change if server.is_plain else self._padding(change, 8),
                from_anywhere=True,
            )
        for seconds in _CONTROLS:
            self._later.append((now + seconds, lambda when: self._control(server, now, when)))

    def _control(self, server: _Server, began: float, now: float) -> None:
        """
        Ask plainly once, to see whether answers come at all.
        """

        def ended(event: Event, when: float) -> None:
            server.controls += isinstance(event, Answered)

        if not server.is_done:
            left = max(began + _DIALLING_ENDS - now, 0.1)
            self._ask(server, server.finding.server, now, ended, _Schedule(left, 1, 1))

    def _judge(self, server: _Server, event: Event, name: str) -> None:
        """
        Keep what became of an answer from another socket; its source says which.
        """
        found = {name: DialBack.NOT_OFFERED}
        if isinstance(event, TimedOut):
            is_clear = server.controls >= _ANSWERED_CONTROLS
            found = {name: DialBack.SILENT if is_clear else DialBack.UNKNOWN}
        elif isinstance(event, Answered) and event.source not in self._sent_to:
            hosts = {each.host for each in self._sent_to}
            is_new = event.source.host not in hosts
            found = {"from_address" if is_new else "from_port": DialBack.ARRIVED}
        if server.finding.from_port is DialBack.ARRIVED:
            found.pop("from_port", None)
        server.finding = replace(server.finding, **found)  # type: ignore[arg-type]  # names of its fields


class MappingProbe(Probe):
    """
    Asks the other sockets of servers where they see us.
    """

    @override
    def _test(self, server: _Server, now: float) -> None:
        """
        Ask each of the other sockets.
        """
        first, other = server.finding.server, server.finding.other
        assert other is not None
        sockets = {
            TransportAddress(h, p)
            for h in (first.host, other.host)
            for p in (first.port, other.port)
        }
        waiting = sockets - {first}

        def ended(target: TransportAddress, event: Event, when: float) -> None:
            waiting.discard(target)
            mapped = event.message.get(XOR_MAPPED_ADDRESS) if isinstance(event, Answered) else None
            if mapped is not None:
                seen = (*server.finding.seen, (target, mapped))
                server.finding = replace(server.finding, seen=seen)
            if not waiting:
                self._finish(server)

        for target in sorted(waiting):
            self._ask(
                server,
                target,
                now,
                partial(ended, target),
                _ASKING,
            )


def _words(event: Event) -> str:
    """
    Say how a transaction ended without an answer.
    """
    if isinstance(event, Refused):
        return f"refuses: {event.code} {event.reason[:80]!r}"
    return "no response" if isinstance(event, TimedOut) else "demands what we do not know"
