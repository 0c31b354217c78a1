# -*- test-case-name: tests.network.stun.test_binding -*-
"""
How a Binding server answers, and how it stays useless to whoever forges sources.

UDP sources can be forged, so every answer may hit somebody who never asked.
Hence: only Binding requests with the magic cookie are answered, never a
response, with nothing but XOR-MAPPED-ADDRESS, at a bounded rate for each
address and in all, and never towards ports where other services would answer
the answer. On the wire no answer is more than 1.4 times its request.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

from atmosphere.addresses import TransportAddress
from atmosphere.errors import DecodeError
from atmosphere.rate import TokenBucket

from .attributes import ERROR_CODE, RFC8489, UNKNOWN_ATTRIBUTES
from .message import Class, Message, decode_message, encode_message
from .values import MAGIC_COOKIE, ErrorCode, encode_xor_mapped_address

__all__ = ["FORBIDDEN_PORTS", "BindingLimits", "BindingResponder", "SourceLimits"]

#: Source ports that are never answered: none, echo's kin and services that reflect.
FORBIDDEN_PORTS = frozenset({0, 19, 53, 123, 161, 389, 1900, 11211})

_PLAIN_REQUEST = b"\x00\x01\x00\x00" + MAGIC_COOKIE
_SUCCESS_IPV4 = b"\x01\x01\x00\x0c" + MAGIC_COOKIE
_SUCCESS_IPV6 = b"\x01\x01\x00\x18" + MAGIC_COOKIE


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

    @ivar counters: what became of all datagrams: C{answered}; C{refused} with
        420; C{limited} by rate; C{forbidden_port}; C{malformed}; C{ignored},
        which are no Binding requests.
    """

    def __init__(self, limits: BindingLimits | None = None) -> None:
        self.counters = dict.fromkeys(
            ("answered", "refused", "limited", "forbidden_port", "malformed", "ignored"), 0
        )
        self._limits = SourceLimits(limits if limits is not None else BindingLimits())

    def respond(self, data: bytes, source: TransportAddress, now: float) -> bytes | None:
        """
        Give the answer to a datagram.

        @return: C{None} when there is none to be given.
        """
        outcome, answer = self._respond(data, source, now)
        self.counters[outcome] += 1
        return answer

    def _respond(
        self, data: bytes, source: TransportAddress, now: float
    ) -> tuple[str, bytes | None]:
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
                message = decode_message(data, RFC8489)
            except DecodeError:
                return "malformed", None
            if message.unknown_required:
                unknown = tuple(dict.fromkeys(message.unknown_required))
                return "refused", _refuse(transaction_id, unknown)
        mapped = encode_xor_mapped_address(source, transaction_id)
        header = _SUCCESS_IPV4 if len(mapped) == 8 else _SUCCESS_IPV6
        return "answered", b"%b%b\x00\x20\x00%c%b" % (header, transaction_id, len(mapped), mapped)


def _refuse(transaction_id: bytes, unknown: tuple[int, ...]) -> bytes:
    """
    Write 420 (Unknown Attribute), without words, so that it stays small.

    @param unknown: the types that the request demanded.
    """
    attributes = ((ERROR_CODE, ErrorCode(420)), (UNKNOWN_ATTRIBUTES, unknown))
    return encode_message(Message(Class.ERROR_RESPONSE, transaction_id, attributes))
