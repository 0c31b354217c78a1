# -*- test-case-name: tests.network.stun.test_attributes -*-
"""
STUN attributes: one table of all that RFC 8489, 8445 and 5780 define.

An L{Attribute} names a type and knows how its value becomes bytes and back; it
is also the key under which a message gives the value out, so that the type of
the value is known to the type checker. Values are given without the
attribute's header and padding, which belong to L{atmosphere.network.stun.message}.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Generic, TypeVar

from typing_extensions import override

from .values import (
    decode_address,
    decode_change_request,
    decode_error_code,
    decode_flag,
    decode_password_algorithm,
    decode_password_algorithms,
    decode_response_port,
    decode_unknown_attributes,
    decode_xor_mapped_address,
    encode_address,
    encode_change_request,
    encode_error_code,
    encode_flag,
    encode_password_algorithm,
    encode_password_algorithms,
    encode_response_port,
    encode_unknown_attributes,
    encode_xor_mapped_address,
    number,
    opaque,
    remark,
    text,
)

__all__ = [
    "ALTERNATE_DOMAIN",
    "ALTERNATE_SERVER",
    "ATTRIBUTES",
    "CACHE_TIMEOUT",
    "CHANGE_REQUEST",
    "ERROR_CODE",
    "FINGERPRINT",
    "ICE_CONTROLLED",
    "ICE_CONTROLLING",
    "MAPPED_ADDRESS",
    "MESSAGE_INTEGRITY",
    "MESSAGE_INTEGRITY_SHA256",
    "NONCE",
    "OTHER_ADDRESS",
    "PADDING",
    "PASSWORD_ALGORITHM",
    "PASSWORD_ALGORITHMS",
    "PRIORITY",
    "REALM",
    "RESPONSE_ORIGIN",
    "RESPONSE_PORT",
    "RFC8489",
    "SOFTWARE",
    "UNKNOWN_ATTRIBUTES",
    "USERHASH",
    "USERNAME",
    "USE_CANDIDATE",
    "XOR_MAPPED_ADDRESS",
    "Attribute",
]

T = TypeVar("T")


@dataclass(frozen=True, slots=True, eq=False)
class Attribute(Generic[T]):
    """
    A kind of attribute.

    @ivar number: its type; below 0x8000 a receiver must understand it.
    @ivar name: its name in the RFC.
    @ivar encode: makes bytes of a value and the message's transaction ID;
        raises C{ValueError} for a value that the attribute cannot hold.
    @ivar decode: makes a value of bytes and the message's transaction ID;
        raises L{DecodeError}.
    """

    number: int
    name: str
    encode: Callable[[T, bytes], bytes]
    decode: Callable[[bytes, bytes], T]

    @override
    def __repr__(self) -> str:
        return f"<{self.name}>"


_addresses = (encode_address, decode_address)
_opaque = opaque(0, 0xFFFF, "RFC 5780 §7.6")

MAPPED_ADDRESS = Attribute(0x0001, "MAPPED-ADDRESS", *_addresses)
CHANGE_REQUEST = Attribute(0x0003, "CHANGE-REQUEST", encode_change_request, decode_change_request)
USERNAME = Attribute(0x0006, "USERNAME", *text(508, "RFC 8489 §14.3"))
MESSAGE_INTEGRITY = Attribute(0x0008, "MESSAGE-INTEGRITY", *opaque(20, 20, "RFC 8489 §14.5"))
ERROR_CODE = Attribute(0x0009, "ERROR-CODE", encode_error_code, decode_error_code)
UNKNOWN_ATTRIBUTES = Attribute(
    0x000A, "UNKNOWN-ATTRIBUTES", encode_unknown_attributes, decode_unknown_attributes
)
REALM = Attribute(0x0014, "REALM", *text(763, "RFC 8489 §14.9"))
NONCE = Attribute(0x0015, "NONCE", *opaque(0, 763, "RFC 8489 §14.10"))
MESSAGE_INTEGRITY_SHA256 = Attribute(
    0x001C, "MESSAGE-INTEGRITY-SHA256", *opaque(16, 32, "RFC 8489 §14.6", 4)
)
PASSWORD_ALGORITHM = Attribute(
    0x001D, "PASSWORD-ALGORITHM", encode_password_algorithm, decode_password_algorithm
)
USERHASH = Attribute(0x001E, "USERHASH", *opaque(32, 32, "RFC 8489 §14.4"))
XOR_MAPPED_ADDRESS = Attribute(
    0x0020, "XOR-MAPPED-ADDRESS", encode_xor_mapped_address, decode_xor_mapped_address
)
PRIORITY = Attribute(0x0024, "PRIORITY", *number(4, "RFC 8445 §16.1"))
USE_CANDIDATE = Attribute(0x0025, "USE-CANDIDATE", encode_flag, decode_flag)
PADDING = Attribute(0x0026, "PADDING", *_opaque)
RESPONSE_PORT = Attribute(0x0027, "RESPONSE-PORT", encode_response_port, decode_response_port)
PASSWORD_ALGORITHMS = Attribute(
    0x8002, "PASSWORD-ALGORITHMS", encode_password_algorithms, decode_password_algorithms
)
ALTERNATE_DOMAIN = Attribute(0x8003, "ALTERNATE-DOMAIN", *remark(255, "RFC 8489 §14.16"))
SOFTWARE = Attribute(0x8022, "SOFTWARE", *remark(763, "RFC 8489 §14.14"))
ALTERNATE_SERVER = Attribute(0x8023, "ALTERNATE-SERVER", *_addresses)
CACHE_TIMEOUT = Attribute(0x8027, "CACHE-TIMEOUT", *_opaque)
FINGERPRINT = Attribute(0x8028, "FINGERPRINT", *number(4, "RFC 8489 §14.7"))
ICE_CONTROLLED = Attribute(0x8029, "ICE-CONTROLLED", *number(8, "RFC 8445 §16.1"))
ICE_CONTROLLING = Attribute(0x802A, "ICE-CONTROLLING", *number(8, "RFC 8445 §16.1"))
RESPONSE_ORIGIN = Attribute(0x802B, "RESPONSE-ORIGIN", *_addresses)
OTHER_ADDRESS = Attribute(0x802C, "OTHER-ADDRESS", *_addresses)


def _table(*attributes: Attribute[Any]) -> Mapping[int, Attribute[Any]]:
    """
    Order attributes by their type.
    """
    return MappingProxyType({each.number: each for each in attributes})


#: What every STUN agent understands.
RFC8489 = _table(
    MAPPED_ADDRESS,
    USERNAME,
    MESSAGE_INTEGRITY,
    ERROR_CODE,
    UNKNOWN_ATTRIBUTES,
    REALM,
    NONCE,
    MESSAGE_INTEGRITY_SHA256,
    PASSWORD_ALGORITHM,
    USERHASH,
    XOR_MAPPED_ADDRESS,
    PASSWORD_ALGORITHMS,
    ALTERNATE_DOMAIN,
    SOFTWARE,
    ALTERNATE_SERVER,
    FINGERPRINT,
)

#: All that we know, by type.
ATTRIBUTES = _table(
    *RFC8489.values(),
    CHANGE_REQUEST,
    PRIORITY,
    USE_CANDIDATE,
    PADDING,
    RESPONSE_PORT,
    CACHE_TIMEOUT,
    ICE_CONTROLLED,
    ICE_CONTROLLING,
    RESPONSE_ORIGIN,
    OTHER_ADDRESS,
)
