# -*- test-case-name: tests.network.stun.test_message -*-
"""
STUN messages: bytes to values and back (RFC 8489 §5, §14).

A L{Message} is a frozen value. What it carries is asked for by attribute,
C{message.get(XOR_MAPPED_ADDRESS)}, and comes with its own type. Connectivity
checks of ICE (RFC 8445 §7) have their own encoders here, because they are sent
often and always look the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from struct import Struct
from typing import Any, TypeVar

from atmosphere.addresses import TransportAddress
from atmosphere.errors import DecodeError

from .attributes import (
    ATTRIBUTES,
    ERROR_CODE,
    FINGERPRINT,
    ICE_CONTROLLED,
    ICE_CONTROLLING,
    MESSAGE_INTEGRITY,
    MESSAGE_INTEGRITY_SHA256,
    PADDING,
    PRIORITY,
    USE_CANDIDATE,
    USERNAME,
    XOR_MAPPED_ADDRESS,
    Attribute,
)
from .integrity import add_fingerprint, add_integrity, add_integrity_sha256
from .values import MAGIC_COOKIE, ErrorCode

__all__ = [
    "BINDING",
    "TRANSACTION_ID_LENGTH",
    "Class",
    "Message",
    "decode_message",
    "encode_check",
    "encode_check_error",
    "encode_check_response",
    "encode_message",
]

T = TypeVar("T")

#: The one method of RFC 8489.
BINDING = 0x001

TRANSACTION_ID_LENGTH = 12

#: More attributes than any message has; a bound on the work that a stranger can cause.
MAXIMUM_ATTRIBUTES = 64

_HEADER = Struct("!HH4s12s")
_PAIR = Struct("!HH")
#: What protects a message, in the only order in which it may stand.
_SEALS = {
    MESSAGE_INTEGRITY.number: 0,
    MESSAGE_INTEGRITY_SHA256.number: 1,
    FINGERPRINT.number: 2,
}


class Class(Enum):
    """
    What a message is in its transaction (RFC 8489 §5).
    """

    REQUEST = 0
    INDICATION = 1
    SUCCESS_RESPONSE = 2
    ERROR_RESPONSE = 3


_CLASSES = tuple(Class)


@dataclass(frozen=True, slots=True)
class Message:
    """
    A STUN message.

    @ivar message_class: request, indication or one of the responses.
    @ivar transaction_id: 12 bytes; a response repeats its request's.
    @ivar attributes: pairs of attribute and value in the order of the message,
        those left out that we do not know.
    @ivar method: L{BINDING}, or one of TURN's.
    @ivar unknown_required: types of attributes that one must understand and we
        do not; whoever gets such a request answers 420.
    """

    message_class: Class
    transaction_id: bytes
    attributes: tuple[tuple[Attribute[Any], Any], ...] = ()
    method: int = BINDING
    unknown_required: tuple[int, ...] = ()

    def get(self, attribute: Attribute[T]) -> T | None:
        """
        Give the value of an attribute; the first, should it be there twice.
        """
        for each, value in self.attributes:
            if each is attribute:
                found: T = value
                return found
        return None

    def has(self, attribute: Attribute[Any]) -> bool:
        """
        Say whether an attribute is there.
        """
        return any(each is attribute for each, _ in self.attributes)

    @property
    def is_response(self) -> bool:
        """
        Whether the message ends a transaction.
        """
        return self.message_class in (Class.SUCCESS_RESPONSE, Class.ERROR_RESPONSE)


def _decode_header(data: bytes) -> tuple[int, bytes]:
    """
    Read the first 20 bytes.

    @return: class and method as they stand there, and the transaction ID.
    @raise DecodeError: these bytes are not one whole STUN message.
    """
    if len(data) < 20:
        raise DecodeError(f"{len(data)} bytes are no STUN message", section="RFC 8489 §5")
    kind, length, cookie, transaction_id = _HEADER.unpack_from(data)
    if kind & 0xC000 or cookie != MAGIC_COOKIE:
        raise DecodeError("no magic cookie, or not two zero bits first", section="RFC 8489 §5")
    if length & 3 or length + 20 != len(data):
        raise DecodeError(f"length {length} in {len(data)} bytes", section="RFC 8489 §5")
    return kind, transaction_id


def decode_message(data: bytes, known: Mapping[int, Attribute[Any]] = ATTRIBUTES) -> Message:
    """
    Read a datagram that holds one STUN message, and all its attributes.

    Layout, offset and size in bytes, big-endian::

        0 2 class and method    2 2 length of the rest    4 4 magic cookie    8 12 transaction ID
        then for each attribute: 0 2 type    2 2 length    4 n value    padding to 4

    «Agents MUST ignore all other attributes that follow MESSAGE-INTEGRITY, with
    the exception of the MESSAGE-INTEGRITY-SHA256 and FINGERPRINT» (§14.5).

    @param known: the attributes that the receiver understands.
    @raise DecodeError: anything but one whole message with well-formed attributes.
    """
    kind, transaction_id = _decode_header(data)
    attributes: list[tuple[Attribute[Any], Any]] = []
    unknown: list[int] = []
    sealed = -1
    start, end = 20, len(data)
    left = MAXIMUM_ATTRIBUTES
    while start < end:
        left -= 1
        number, length = _PAIR.unpack_from(data, start)
        start += 4
        stop = start + length
        if stop > end or left < 0:
            raise DecodeError(f"attribute {number:#06x} leads past the end", section="RFC 8489 §14")
        rank = _SEALS.get(number, -1)
        if rank > sealed or sealed < 0:
            sealed = rank
            attribute = known.get(number)
            if attribute is not None:
                attributes.append((attribute, attribute.decode(data[start:stop], transaction_id)))
            elif number < 0x8000:
                unknown.append(number)
        start = stop + (-length & 3)
    return Message(
        _CLASSES[(kind & 0x100) >> 7 | (kind & 0x10) >> 4],
        transaction_id,
        tuple(attributes),
        (kind & 0x3E00) >> 2 | (kind & 0xE0) >> 1 | kind & 0xF,
        tuple(unknown),
    )


def _start(message_class: Class, method: int, transaction_id: bytes, body: bytes) -> bytes:
    """
    Put the header before the attributes.
    """
    if len(transaction_id) != TRANSACTION_ID_LENGTH:
        raise ValueError(f"a transaction ID has 12 bytes, not {len(transaction_id)}")
    if not 0 <= method <= 0xFFF or len(body) > 0xFFFF:
        raise ValueError(f"method {method:#x} or {len(body)} bytes are out of range")
    bits = message_class.value
    kind = (method & 0xF80) << 2 | (method & 0x70) << 1 | method & 0xF
    kind |= (bits & 2) << 7 | (bits & 1) << 4
    return _HEADER.pack(kind, len(body), MAGIC_COOKIE, transaction_id) + body


def _encode_attribute(attribute: Attribute[T], value: T, transaction_id: bytes) -> bytes:
    """
    Put header and padding around a value.
    """
    encoded = attribute.encode(value, transaction_id)
    length = len(encoded)
    return _PAIR.pack(attribute.number, length) + encoded + bytes(-length & 3)


def encode_message(
    message: Message,
    *,
    key: bytes | None = None,
    key_sha256: bytes | None = None,
    fingerprint: bool = False,
) -> bytes:
    """
    Write a message, and protect it if wanted.

    @param key: adds MESSAGE-INTEGRITY under this key.
    @param key_sha256: adds MESSAGE-INTEGRITY-SHA256 under this key.
    @param fingerprint: adds FINGERPRINT.
    @raise ValueError: a value does not fit, or the message would be too long.
    """
    transaction_id = message.transaction_id
    body = b"".join(
        [_encode_attribute(each, value, transaction_id) for each, value in message.attributes]
    )
    data = _start(message.message_class, message.method, transaction_id, body)
    if key is not None:
        data = add_integrity(data, key)
    if key_sha256 is not None:
        data = add_integrity_sha256(data, key_sha256)
    return add_fingerprint(data) if fingerprint else data


# -------------------------------------------------------- connectivity checks

#: MESSAGE-INTEGRITY and FINGERPRINT, with which every check ends.
_SEALS_LENGTH = 24 + 8


def _seal(
    message_class: Class,
    transaction_id: bytes,
    attributes: Iterable[tuple[Attribute[Any], Any]],
    key: bytes,
    size: int,
) -> bytes:
    """
    Write a Binding message of ICE with PADDING to size, integrity and fingerprint.
    """
    body = b"".join([_encode_attribute(each, value, transaction_id) for each, value in attributes])
    if size:
        room = size - 20 - len(body) - _SEALS_LENGTH - 4
        if size % 4 or room < 0:
            raise ValueError(f"a check cannot be padded to {size} bytes")
        body += _encode_attribute(PADDING, bytes(room), transaction_id)
    return add_fingerprint(add_integrity(_start(message_class, BINDING, transaction_id, body), key))


def encode_check(
    transaction_id: bytes,
    *,
    username: str,
    key: bytes,
    priority: int,
    tie_breaker: int,
    is_controlling: bool,
    use_candidate: bool = False,
    size: int = 0,
) -> bytes:
    """
    Write a connectivity check: a Binding request of ICE (RFC 8445 §7.2.2).

    @param username: the receiver's fragment, a colon, the sender's.
    @param key: the receiver's password.
    @param priority: what a peer-reflexive candidate found by it would have.
    @param tie_breaker: 64 bits for ICE-CONTROLLING or ICE-CONTROLLED.
    @param use_candidate: whether the pair is nominated.
    @param size: the length of the UDP payload that PADDING brings it to, a
        multiple of 4; 0 for no padding.
    @raise ValueError: a value does not fit, or C{size} is too small.
    """
    attributes: list[tuple[Attribute[Any], Any]] = [
        (USERNAME, username),
        (PRIORITY, priority),
        (ICE_CONTROLLING if is_controlling else ICE_CONTROLLED, tie_breaker),
    ]
    if use_candidate:
        attributes.append((USE_CANDIDATE, True))
    return _seal(Class.REQUEST, transaction_id, attributes, key, size)


def encode_check_response(
    transaction_id: bytes, mapped: TransportAddress, key: bytes, size: int = 0
) -> bytes:
    """
    Write the success response to a connectivity check (RFC 8445 §7.3).

    @param mapped: where the check came from.
    @param key: the password that the check was protected with.
    @param size: as with L{encode_check}, to measure the way back too.
    @raise ValueError: C{size} is too small.
    """
    attributes = [(XOR_MAPPED_ADDRESS, mapped)]
    return _seal(Class.SUCCESS_RESPONSE, transaction_id, attributes, key, size)


def encode_check_error(transaction_id: bytes, error: ErrorCode, key: bytes) -> bytes:
    """
    Write the error response to a connectivity check, such as 487 (Role Conflict).
    """
    return _seal(Class.ERROR_RESPONSE, transaction_id, [(ERROR_CODE, error)], key, 0)
