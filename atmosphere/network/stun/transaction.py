# -*- test-case-name: tests.network.stun.test_transaction -*-
"""
Client transactions: a request is sent until a response comes or patience ends.

The schedule is that of RFC 8489 §6.2.1: with the usual figures a request goes
out at 0, 0.5, 1.5, 3.5, 7.5, 15.5 and 31.5 s, and has failed at 39.5 s. One
L{Transactions} holds any number of them, as one socket does.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from atmosphere.addresses import TransportAddress
from atmosphere.errors import DecodeError

from .attributes import ERROR_CODE, Attribute
from .integrity import verify_integrity
from .message import BINDING, TRANSACTION_ID_LENGTH, Class, Message, decode_message, encode_message

__all__ = ["RC", "RM", "RTO", "Answered", "Event", "Failed", "Refused", "TimedOut", "Transactions"]

#: Seconds until the first retransmission, when no round trip was ever measured.
RTO = 0.5

#: How many requests are sent in all.
RC = 7

#: How many RTOs the last request is waited for.
RM = 16


@dataclass(frozen=True, slots=True)
class Answered:
    """
    A success response came.

    @ivar transaction_id: which transaction has ended, as in all events.
    @ivar message: the response.
    @ivar source: who sent it: the server that was asked, unless the answer may
        come from anywhere.
    """

    transaction_id: bytes
    message: Message
    source: TransportAddress


@dataclass(frozen=True, slots=True)
class Refused:
    """
    An error response came.

    300 (Try Alternate) is one like all others: the caller may ask elsewhere.

    @ivar code: 300 to 699.
    @ivar reason: the server's words, for people.
    """

    transaction_id: bytes
    code: int
    reason: str


@dataclass(frozen=True, slots=True)
class Failed:
    """
    A response came that nobody can use: it demands what we do not know.
    """

    transaction_id: bytes
    reason: str


@dataclass(frozen=True, slots=True)
class TimedOut:
    """
    No response came.

    @ivar attempts: how many requests were sent.
    """

    transaction_id: bytes
    attempts: int


Event = Answered | Refused | Failed | TimedOut


@dataclass(slots=True)
class _Transaction:
    """
    What is known of one request that is under way.
    """

    destination: TransportAddress
    request: bytes
    method: int
    key: bytes | None
    rto: float
    rc: int
    rm: float
    due: float
    from_anywhere: bool
    sent: int = 0


class Transactions:
    """
    The client transactions of one socket, as an engine.

    @ivar dropped: how many datagrams were no response to anything that is under
        way, or came from somebody else than was asked.
    """

    def __init__(self, entropy: Callable[[int], bytes]) -> None:
        self.dropped = 0
        self._entropy = entropy
        self._open: dict[bytes, _Transaction] = {}
        self._outgoing: deque[tuple[bytes, TransportAddress]] = deque()
        self._events: deque[Event] = deque()

    def request(
        self,
        destination: TransportAddress,
        now: float,
        *,
        attributes: Iterable[tuple[Attribute[Any], Any]] = (),
        method: int = BINDING,
        key: bytes | None = None,
        rto: float = RTO,
        rc: int = RC,
        rm: float = RM,
        from_anywhere: bool = False,
    ) -> bytes:
        """
        Begin a transaction.

        @param key: protects the request by MESSAGE-INTEGRITY; a response that
            does not hold under it is dropped.
        @param from_anywhere: whether another socket than was asked may answer;
            it has to know the transaction ID.
        @return: its transaction ID.
        """
        transaction_id = self._entropy(TRANSACTION_ID_LENGTH)
        request = Message(Class.REQUEST, transaction_id, tuple(attributes), method)
        self._open[transaction_id] = transaction = _Transaction(
            destination,
            encode_message(request, key=key),
            method,
            key,
            rto,
            rc,
            rm,
            now,
            from_anywhere,
        )
        self._send(transaction, now)
        return transaction_id

    def owns(self, transaction_id: bytes) -> bool:
        """
        Say whether a transaction is under way.
        """
        return transaction_id in self._open

    def cancel(self, transaction_id: bytes) -> None:
        """
        End a transaction without an event; one that has ended already may be named.
        """
        self._open.pop(transaction_id, None)

    def receive_datagram(self, data: bytes, path: TransportAddress, now: float) -> None:
        """
        Take a response; what is none of ours is dropped.
        """
        transaction = self._open.get(data[8:20])
        if transaction is None or not (
            transaction.from_anywhere or path == transaction.destination
        ):
            self.dropped += 1
            return
        try:
            message = decode_message(data)
        except DecodeError:
            self.dropped += 1
            return
        event = self._judge(transaction, message, data, path)
        if event is None:
            self.dropped += 1
            return
        del self._open[message.transaction_id]
        self._events.append(event)

    def _judge(
        self, transaction: _Transaction, message: Message, data: bytes, path: TransportAddress
    ) -> Event | None:
        """
        Say how a response ends its transaction.

        @return: C{None} if it does not.
        """
        if not message.is_response or message.method != transaction.method:
            return None
        if transaction.key is not None and not verify_integrity(data, transaction.key):
            return None
        if message.unknown_required:
            types = ", ".join(f"{each:#06x}" for each in message.unknown_required[:4])
            return Failed(message.transaction_id, f"demands what we do not know: {types}")
        if message.message_class is Class.SUCCESS_RESPONSE:
            return Answered(message.transaction_id, message, path)
        error = message.get(ERROR_CODE)
        if error is None:
            return None
        return Refused(message.transaction_id, error.code, error.reason)

    def _send(self, transaction: _Transaction, now: float) -> None:
        """
        Send a request once more, and say how long to wait for its response.
        """
        transaction.sent += 1
        if transaction.sent < transaction.rc:
            transaction.due = now + transaction.rto * 2 ** (transaction.sent - 1)
        else:
            transaction.due = now + transaction.rto * transaction.rm
        self._outgoing.append((transaction.request, transaction.destination))

    def datagrams_to_send(self, now: float) -> list[tuple[bytes, TransportAddress]]:
        """
        Hand out the requests that are due.
        """
        datagrams = list(self._outgoing)
        self._outgoing.clear()
        return datagrams

    def get_timer(self) -> float | None:
        """
        Say when the next request, or the end of one, is due.
        """
        return min((each.due for each in self._open.values()), default=None)

    def handle_timer(self, now: float) -> None:
        """
        Send again, or give up, whatever is due.
        """
        for transaction_id, transaction in list(self._open.items()):
            if transaction.due > now:
                continue
            if transaction.sent < transaction.rc:
                self._send(transaction, now)
            else:
                del self._open[transaction_id]
                self._events.append(TimedOut(transaction_id, transaction.sent))

    def next_event(self) -> Event | None:
        """
        Hand out the oldest event that was not yet handed out.
        """
        return self._events.popleft() if self._events else None
