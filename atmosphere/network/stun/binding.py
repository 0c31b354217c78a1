# -*- test-case-name: tests.network.stun.test_binding -*-
"""
How a Binding server answers, and how it stays useless to whoever forges sources.

UDP sources can be forged, so every answer may hit somebody who never asked.
Hence: only Binding requests with the magic cookie are answered, never a
response, with nothing but XOR-MAPPED-ADDRESS, at a bounded rate for each
address and in all, and never towards ports where other services would answer
the answer. On the wire no answer is more than 1.4 times its request.

A server with a second socket also helps to find out how NATs behave (RFC 5780):
whoever pads a request to the length of the answer is told of that socket, and
answered from it if wished, or at another port of its own address. Whoever forges
a source chooses its port anyway, so that hits nobody else.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Any, NamedTuple

from atmosphere.addresses import TransportAddress
from atmosphere.errors import DecodeError
from atmosphere.rate import TokenBucket

from .attributes import (
    CHANGE_REQUEST,
    ERROR_CODE,
    OTHER_ADDRESS,
    PADDING,
    RESPONSE_ORIGIN,
    RESPONSE_PORT,
    RFC8489,
    UNKNOWN_ATTRIBUTES,
    XOR_MAPPED_ADDRESS,
    Attribute,
)
from .message import Class, Message, decode_message, encode_message
from .values import MAGIC_COOKIE, ErrorCode, encode_xor_mapped_address

__all__ = [
    "ACROSS",
    "FORBIDDEN_PORTS",
    "PRIMARY",
    "SECOND_ADDRESS",
    "SECOND_PORT",
    "Answer",
    "BindingLimits",
    "BindingResponder",
    "Corner",
    "SourceLimits",
]

#: Source ports that are never answered: none, echo's kin and services that reflect.
FORBIDDEN_PORTS = frozenset({0, 19, 53, 123, 161, 389, 1900, 11211})

_PLAIN_REQUEST = b"\x00\x01\x00\x00" + MAGIC_COOKIE
_SUCCESS_IPV4 = b"\x01\x01\x00\x0c" + MAGIC_COOKIE
_SUCCESS_IPV6 = b"\x01\x01\x00\x18" + MAGIC_COOKIE


#: What a server with a second socket understands besides.
_DIAL_BACK = {
    each.number: each for each in (*RFC8489.values(), CHANGE_REQUEST, PADDING, RESPONSE_PORT)
}


class Corner(NamedTuple):
    """
    One of the up to four sockets of a server: two addresses with two ports each.
    """

    is_other_address: bool = False
    is_other_port: bool = False


#: The socket that everybody asks.
PRIMARY = Corner()

#: The socket with the same address and another port.
SECOND_PORT = Corner(is_other_port=True)

#: The one with another address and the same port.
SECOND_ADDRESS = Corner(is_other_address=True)

#: The one where both differ.
ACROSS = Corner(is_other_address=True, is_other_port=True)


class Answer(NamedTuple):
    """
    An answer, and the socket that it is to be sent from.

    @ivar port: of the asker's address, where it is to be sent; C{None} is where the
        request came from.
    """

    data: bytes
    corner: Corner
    port: int | None = None


@dataclass(frozen=True, slots=True)
class BindingLimits:
    """
    How much a Binding server answers.

    @ivar rate: requests per second from one IPv4 address, or one IPv6 /64.
    @ivar burst: how many of them at once.
    @ivar total: requests per second from all together.
    @ivar sources: how many sources are remembered.
    """

    rate: float = 50.0
    burst: float = 100.0
    total: float = 5_000.0
    sources: int = 10_000


#: How many padded requests are answered.
DIAL_BACK_LIMITS = BindingLimits(rate=10.0, burst=20.0, total=1_000.0)


class SourceLimits:
    """
    One token bucket for each source and one for all, in bounded memory.

    When the table is full the source that was silent for longest is forgotten;
    one that is being hit never is.
    """

    def __init__(self, limits: BindingLimits) -> None:
        self._limits = limits
        self._total = TokenBucket(limits.total, limits.total)
        self._sources: OrderedDict[bytes, TokenBucket] = OrderedDict()

    def __len__(self) -> int:
        return len(self._sources)

    def allow(self, packed: bytes, now: float) -> bool:
        """
        Count a request, and say whether it may be answered.

        @param packed: the source address: 4 bytes or 16.
        """
        source = packed if len(packed) == 4 else packed[:8]
        bucket = self._sources.get(source)
        if bucket is None:
            if len(self._sources) >= self._limits.sources:
                self._sources.popitem(last=False)
            bucket = self._sources[source] = TokenBucket(self._limits.rate, self._limits.burst)
        else:
            self._sources.move_to_end(source)
        return bucket.take(1, now) and self._total.take(1, now)


class BindingResponder:
    """
    Answers Binding requests, without a socket.

    @ivar counters: what became of all datagrams: C{answered}; C{dialled_back}
        with what RFC 5780 adds; C{refused} with 420; C{limited} by rate;
        C{forbidden_port}; C{malformed}; C{ignored}, which are no Binding requests.
    @ivar corners: the sockets of the server and where they are bound, as far
        as is known. With less than two of them it knows nothing of RFC 5780.
    """

    def __init__(
        self,
        limits: BindingLimits | None = None,
        corners: dict[Corner, TransportAddress] | None = None,
    ) -> None:
        self.counters = dict.fromkeys(
            (
                "answered",
                "dialled_back",
                "refused",
                "limited",
                "forbidden_port",
                "malformed",
                "ignored",
            ),
            0,
        )
        self.corners = {} if corners is None else corners
        self._limits = SourceLimits(limits if limits is not None else BindingLimits())
        self._dial_backs = SourceLimits(DIAL_BACK_LIMITS)

    def respond(self, data: bytes, source: TransportAddress, now: float) -> bytes | None:
        """
        Give the answer of a server with one socket.

        @return: C{None} when there is none to be given.
        """
        answer = self.answer(data, source, now)
        return None if answer is None else answer.data

    def answer(
        self, data: bytes, source: TransportAddress, now: float, corner: Corner = PRIMARY
    ) -> Answer | None:
        """
        Give the answer to a datagram, and the socket to send it from.

        @param corner: the socket where the datagram came in.
        @return: C{None} when there is no answer to be given.
        """
        outcome, answer = self._respond(data, source, now, corner)
        self.counters[outcome] += 1
        return answer

    def _respond(
        self, data: bytes, source: TransportAddress, now: float, corner: Corner
    ) -> tuple[str, Answer | None]:
        """
        Find the counter and the answer.
        """
        if len(data) < 20 or data[:2] != b"\x00\x01" or data[4:8] != MAGIC_COOKIE:
            return "ignored", None
        if source.port in FORBIDDEN_PORTS:
            return "forbidden_port", None
        if not self._limits.allow(source.packed, now):
            return "limited", None
        transaction_id = data[8:20]
        if data[:8] != _PLAIN_REQUEST or len(data) != 20:
            try:
                message = decode_message(data, _DIAL_BACK if len(self.corners) > 1 else RFC8489)
            except DecodeError:
                return "malformed", None
            if message.unknown_required:
                unknown = tuple(dict.fromkeys(message.unknown_required))
                return "refused", Answer(_refuse(transaction_id, unknown), corner)
            if message.has(RESPONSE_PORT):
                return self._answer_port(message, len(data), source, now, corner)
            if message.has(CHANGE_REQUEST) or message.has(PADDING):
                return self._dial_back(message, len(data), source, now, corner)
        return "answered", Answer(_succeed(source, transaction_id), corner)

    def _dial_back(
        self, message: Message, length: int, source: TransportAddress, now: float, corner: Corner
    ) -> tuple[str, Answer | None]:
        """
        Answer a request that asks for what RFC 5780 adds.

        An answer from another socket than was asked for, or none, would be
        taken for the work of a NAT: what is not done is refused instead.

        @param length: the request's; the answer is no longer than that.
        """
        change = message.get(CHANGE_REQUEST)
        target = corner
        if change is not None:
            target = Corner(
                corner.is_other_address != change.change_address,
                corner.is_other_port != change.change_port,
            )
        attributes: tuple[tuple[Attribute[Any], Any], ...] = (
            (XOR_MAPPED_ADDRESS, source),
            *((RESPONSE_ORIGIN, each) for each in self._address(target, source)),
            *((OTHER_ADDRESS, each) for each in self._other(corner, source)),
        )
        transaction_id = message.transaction_id
        data = encode_message(Message(Class.SUCCESS_RESPONSE, transaction_id, attributes))
        is_possible = target in self.corners and len(data) <= length
        if is_possible and self._dial_backs.allow(source.packed, now):
            return "dialled_back", Answer(data, target)
        if target != corner:
            return "refused", Answer(_refuse(transaction_id, (CHANGE_REQUEST.number,)), corner)
        return "answered", Answer(_succeed(source, transaction_id), corner)

    def _answer_port(
        self, message: Message, length: int, source: TransportAddress, now: float, corner: Corner
    ) -> tuple[str, Answer | None]:
        """
        Answer a request whose answer is to go to another port of who asks, which
        shows whether a NAT still knows that port.

        @param length: the request's; the answer is no longer than that.
        """
        port = message.get(RESPONSE_PORT) or 0
        if port in FORBIDDEN_PORTS:
            return "forbidden_port", None
        data = _succeed(source, message.transaction_id)
        is_alone = not message.has(CHANGE_REQUEST) and not message.has(PADDING)
        if is_alone and len(data) <= length and self._dial_backs.allow(source.packed, now):
            return "dialled_back", Answer(data, corner, port)
        refusal = _refuse(message.transaction_id, (RESPONSE_PORT.number,))
        return "refused", Answer(refusal, corner)

    def _other(self, corner: Corner, source: TransportAddress) -> tuple[TransportAddress, ...]:
        """
        Give the address that an answer would come from that changes all it can.
        """
        port = not corner.is_other_port
        return self._address(Corner(not corner.is_other_address, port), source) or self._address(
            Corner(corner.is_other_address, port), source
        )

    def _address(self, corner: Corner, source: TransportAddress) -> tuple[TransportAddress, ...]:
        """
        Give a socket's address as far as it is known, in the family of who asks.

        @return: nothing if there is no such socket; C{0.0.0.0} or C{::} with
            its port if it is bound to all addresses.
        """
        bound = self.corners.get(corner)
        if bound is None:
            return ()
        if bound.is_ipv6 == source.is_ipv6:
            return (bound,)
        return (TransportAddress("::" if source.is_ipv6 else "0.0.0.0", bound.port),)


def _succeed(source: TransportAddress, transaction_id: bytes) -> bytes:
    """
    Write the plain answer.
    """
    mapped = encode_xor_mapped_address(source, transaction_id)
    header = _SUCCESS_IPV4 if len(mapped) == 8 else _SUCCESS_IPV6
    return b"%b%b\x00\x20\x00%c%b" % (header, transaction_id, len(mapped), mapped)


def _refuse(transaction_id: bytes, unknown: tuple[int, ...]) -> bytes:
    """
    Write 420 (Unknown Attribute), without words, so that it stays small.

    @param unknown: the types that the request demanded.
    """
    attributes = ((ERROR_CODE, ErrorCode(420)), (UNKNOWN_ATTRIBUTES, unknown))
    return encode_message(Message(Class.ERROR_RESPONSE, transaction_id, attributes))
