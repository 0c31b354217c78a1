# -*- test-case-name: tests.network.stun.test_attributes -*-
"""
The values of STUN attributes: how each becomes bytes and back.

All functions take a value and the message's transaction ID, so that they fit
into one table; only addresses that are XORed look at the latter. Encoders raise
C{ValueError} for a value that the attribute cannot hold, decoders raise
L{DecodeError}.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

from atmosphere.addresses import TransportAddress
from atmosphere.errors import DecodeError

__all__ = [
    "MAGIC_COOKIE",
    "ROLE_CONFLICT",
    "ChangeRequest",
    "ErrorCode",
    "PasswordAlgorithm",
    "decode_address",
    "decode_change_request",
    "decode_error_code",
    "decode_flag",
    "decode_password_algorithm",
    "decode_password_algorithms",
    "decode_response_port",
    "decode_unknown_attributes",
    "decode_xor_mapped_address",
    "encode_address",
    "encode_change_request",
    "encode_error_code",
    "encode_flag",
    "encode_password_algorithm",
    "encode_password_algorithms",
    "encode_response_port",
    "encode_unknown_attributes",
    "encode_xor_mapped_address",
    "number",
    "opaque",
    "remark",
    "text",
]

#: What every message carries in bytes 4 to 7 (RFC 8489 §5).
MAGIC_COOKIE = b"\x21\x12\xa4\x42"

_COOKIE = int.from_bytes(MAGIC_COOKIE, "big")


@dataclass(frozen=True, slots=True)
class ErrorCode:
    """
    Why a request was refused (RFC 8489 §14.8).

    @ivar code: 300 to 699.
    @ivar reason: for people.
    """

    code: int
    reason: str = ""


#: Both agents control, or neither does: the receiver of this has to change (RFC 8445 §7.3.1.1).
ROLE_CONFLICT = ErrorCode(487, "Role Conflict")


@dataclass(frozen=True, slots=True)
class PasswordAlgorithm:
    """
    How a key is made of a password (RFC 8489 §14.11).

    @ivar number: 1 is MD5, 2 is SHA-256.
    @ivar parameters: those of the algorithm; empty for both of them.
    """

    number: int
    parameters: bytes = b""


@dataclass(frozen=True, slots=True)
class ChangeRequest:
    """
    From where the server shall answer (RFC 5780 §7.2).
    """

    change_address: bool = False
    change_port: bool = False


# ---------------------------------------------------------------- addresses

_address = lru_cache(maxsize=512)(TransportAddress.from_bytes)


def _split_address(value: bytes) -> tuple[int, int]:
    """
    Check family and length.

    @return: the family and the port as they stand there.
    @raise DecodeError: any other length or family.
    """
    if (len(value) == 8 and value[1] == 1) or (len(value) == 20 and value[1] == 2):
        return value[1], value[2] << 8 | value[3]
    raise DecodeError(
        f"an address of {len(value)} bytes: {value[:2].hex()}", section="RFC 8489 §14.1"
    )


def decode_address(value: bytes, transaction_id: bytes = b"") -> TransportAddress:
    """
    Read MAPPED-ADDRESS and those that are laid out like it.

    Layout, offset and size in bytes, big-endian::

        0 1 zero    1 1 family    2 2 port    4 n address

    @param value: 8 bytes (family 1) or 20 (family 2).
    @raise DecodeError: any other length or family.
    @see: RFC 8489 §14.1
    """
    _, port = _split_address(value)
    return _address(value[4:], port)


def encode_address(address: TransportAddress, transaction_id: bytes = b"") -> bytes:
    """
    Write MAPPED-ADDRESS and those that are laid out like it.
    """
    packed = address.packed
    family = 1 if len(packed) == 4 else 2
    return bytes((0, family)) + address.port.to_bytes(2, "big") + packed


def decode_xor_mapped_address(value: bytes, transaction_id: bytes) -> TransportAddress:
    """
    Read XOR-MAPPED-ADDRESS: where the server saw our datagram come from.

    Layout, offset and size in bytes, big-endian::

        0 1 zero    1 1 family    2 2 port ^ cookie    4 n address ^ (cookie + transaction_id)

    @param value: the attribute without its header: 8 bytes (family 1) or 20 (family 2).
    @param transaction_id: the 12 bytes of the message's header.
    @return: our server-reflexive transport address.
    @raise DecodeError: any other length or family.
    @see: RFC 8489 §14.2
    """
    family, port = _split_address(value)
    if family == 1:
        packed = (int.from_bytes(value[4:], "big") ^ _COOKIE).to_bytes(4, "big")
    else:
        mask = int.from_bytes(MAGIC_COOKIE + transaction_id, "big")
        packed = (int.from_bytes(value[4:], "big") ^ mask).to_bytes(16, "big")
    return _address(packed, port ^ _COOKIE >> 16)


def encode_xor_mapped_address(address: TransportAddress, transaction_id: bytes) -> bytes:
    """
    Write XOR-MAPPED-ADDRESS, the inverse of L{decode_xor_mapped_address}.
    """
    packed = address.packed
    port = (address.port ^ _COOKIE >> 16).to_bytes(2, "big")
    if len(packed) == 4:
        return b"\0\1" + port + (int.from_bytes(packed, "big") ^ _COOKIE).to_bytes(4, "big")
    mask = int.from_bytes(MAGIC_COOKIE + transaction_id, "big")
    return b"\0\2" + port + (int.from_bytes(packed, "big") ^ mask).to_bytes(16, "big")


# ------------------------------------------------------------------- numbers


def number(
    length: int, section: str
) -> tuple[Callable[[int, bytes], bytes], Callable[[bytes, bytes], int]]:
    """
    Make the pair of functions for a whole number.

    @param length: how many bytes it has.
    @param section: the clause that says so.
    """

    def encode(value: int, transaction_id: bytes) -> bytes:
        try:
            return value.to_bytes(length, "big")
        except OverflowError:
            raise ValueError(f"{value} does not fit into {length} bytes") from None

    def decode(value: bytes, transaction_id: bytes) -> int:
        if len(value) != length:
            raise DecodeError(f"{len(value)} bytes for a number of {length}", section=section)
        return int.from_bytes(value, "big")

    return encode, decode


def encode_response_port(port: int, transaction_id: bytes = b"") -> bytes:
    """
    Write RESPONSE-PORT: the port, and two bytes that are ignored (RFC 5780 §7.5).
    """
    if not 0 <= port <= 0xFFFF:
        raise ValueError(f"{port} is not a port")
    return port.to_bytes(2, "big") + b"\0\0"


def decode_response_port(value: bytes, transaction_id: bytes = b"") -> int:
    """
    Read RESPONSE-PORT.

    @raise DecodeError: neither 2 nor 4 bytes.
    """
    if len(value) not in (2, 4):
        raise DecodeError(f"RESPONSE-PORT of {len(value)} bytes", section="RFC 5780 §7.5")
    return value[0] << 8 | value[1]


def encode_change_request(change: ChangeRequest, transaction_id: bytes = b"") -> bytes:
    """
    Write CHANGE-REQUEST: 4 in the last byte for the address, 2 for the port.
    """
    return bytes((0, 0, 0, 4 * change.change_address | 2 * change.change_port))


def decode_change_request(value: bytes, transaction_id: bytes = b"") -> ChangeRequest:
    """
    Read CHANGE-REQUEST.

    @raise DecodeError: not 4 bytes.
    """
    if len(value) != 4:
        raise DecodeError(f"CHANGE-REQUEST of {len(value)} bytes", section="RFC 5780 §7.2")
    return ChangeRequest(bool(value[3] & 4), bool(value[3] & 2))


def encode_flag(value: bool, transaction_id: bytes = b"") -> bytes:
    """
    Write an attribute that says all by being there.

    @raise ValueError: C{False}; leave the attribute out instead.
    """
    if value is not True:
        raise ValueError("what is not so is said by leaving the attribute out")
    return b""


def decode_flag(value: bytes, transaction_id: bytes = b"") -> bool:
    """
    Read an attribute that says all by being there.

    @raise DecodeError: it has a value.
    """
    if value:
        raise DecodeError(f"USE-CANDIDATE of {len(value)} bytes", section="RFC 8445 §16.1")
    return True


# -------------------------------------------------------------- text and bytes


def opaque(
    least: int, most: int, section: str, step: int = 1
) -> tuple[Callable[[bytes, bytes], bytes], Callable[[bytes, bytes], bytes]]:
    """
    Make the pair of functions for bytes that stand for themselves.

    @param least: the shortest value.
    @param most: the longest value.
    @param section: the clause that says so.
    @param step: what the length is a multiple of.
    """

    def encode(value: bytes, transaction_id: bytes) -> bytes:
        if not least <= len(value) <= most or len(value) % step:
            raise ValueError(f"{len(value)} bytes do not fit ({section})")
        return bytes(value)

    def decode(value: bytes, transaction_id: bytes) -> bytes:
        if not least <= len(value) <= most or len(value) % step:
            raise DecodeError(f"a value of {len(value)} bytes", section=section)
        return value

    return encode, decode


def text(
    most: int, section: str
) -> tuple[Callable[[str, bytes], bytes], Callable[[bytes, bytes], str]]:
    """
    Make the pair of functions for UTF-8 text that must be exact.

    @param most: the longest value in bytes.
    @param section: the clause that says so.
    """

    def encode(value: str, transaction_id: bytes) -> bytes:
        encoded = value.encode("utf-8")
        if len(encoded) > most:
            raise ValueError(f"{len(encoded)} bytes of text do not fit ({section})")
        return encoded

    def decode(value: bytes, transaction_id: bytes) -> str:
        if len(value) > most:
            raise DecodeError(f"{len(value)} bytes of text", section=section)
        try:
            return value.decode("utf-8")
        except UnicodeDecodeError:
            raise DecodeError("text that is not UTF-8", section=section) from None

    return encode, decode


def remark(
    most: int, section: str
) -> tuple[Callable[[str, bytes], bytes], Callable[[bytes, bytes], str]]:
    """
    Make the pair of functions for text that is only shown: bad UTF-8 does not matter.

    @param most: the longest value in bytes.
    @param section: the clause that says so.
    """
    encode, _ = text(most, section)

    def decode(value: bytes, transaction_id: bytes) -> str:
        if len(value) > most:
            raise DecodeError(f"{len(value)} bytes of text", section=section)
        return value.decode("utf-8", "replace")

    return encode, decode


def encode_error_code(error: ErrorCode, transaction_id: bytes = b"") -> bytes:
    """
    Write ERROR-CODE.
    """
    reason = error.reason.encode("utf-8")
    if not 300 <= error.code <= 699 or len(reason) > 763:
        raise ValueError(f"{error.code} with {len(reason)} bytes of text is not an ERROR-CODE")
    return bytes((0, 0, error.code // 100, error.code % 100)) + reason


def decode_error_code(value: bytes, transaction_id: bytes = b"") -> ErrorCode:
    """
    Read ERROR-CODE: why the server refused.

    Layout, offset and size in bytes::

        0 2 zero    2 1 class (low 3 bits, 3 to 6)    3 1 number (0 to 99)    4 n reason

    @raise DecodeError: too short, a class or number out of range.
    @see: RFC 8489 §14.8
    """
    if not 4 <= len(value) <= 767 or value[2] & 7 not in range(3, 7) or value[3] > 99:
        raise DecodeError(f"ERROR-CODE {value[:4].hex()}", section="RFC 8489 §14.8")
    return ErrorCode((value[2] & 7) * 100 + value[3], value[4:].decode("utf-8", "replace"))


def encode_unknown_attributes(types: tuple[int, ...], transaction_id: bytes = b"") -> bytes:
    """
    Write UNKNOWN-ATTRIBUTES: the types that were not understood.
    """
    return b"".join(each.to_bytes(2, "big") for each in types)


def decode_unknown_attributes(value: bytes, transaction_id: bytes = b"") -> tuple[int, ...]:
    """
    Read UNKNOWN-ATTRIBUTES.

    @raise DecodeError: an odd number of bytes.
    @see: RFC 8489 §14.13
    """
    if len(value) % 2:
        raise DecodeError(f"UNKNOWN-ATTRIBUTES of {len(value)} bytes", section="RFC 8489 §14.13")
    return tuple(value[i] << 8 | value[i + 1] for i in range(0, len(value), 2))


def encode_password_algorithms(
    algorithms: tuple[PasswordAlgorithm, ...], transaction_id: bytes = b""
) -> bytes:
    """
    Write PASSWORD-ALGORITHMS: for each its number, its parameters' length, they, padding to 4.
    """
    parts = []
    for each in algorithms:
        length = len(each.parameters)
        parts += [each.number.to_bytes(2, "big"), length.to_bytes(2, "big"), each.parameters]
        parts.append(bytes(-length % 4))
    return b"".join(parts)


def decode_password_algorithms(
    value: bytes, transaction_id: bytes = b""
) -> tuple[PasswordAlgorithm, ...]:
    """
    Read PASSWORD-ALGORITHMS.

    @raise DecodeError: a length that leads past the end.
    @see: RFC 8489 §14.11
    """
    found = []
    start = 0
    while start < len(value):
        length = int.from_bytes(value[start + 2 : start + 4], "big")
        end = start + 4 + length
        if end > len(value) or start + 4 > len(value):
            raise DecodeError("PASSWORD-ALGORITHMS leads past its end", section="RFC 8489 §14.11")
        number = int.from_bytes(value[start : start + 2], "big")
        found.append(PasswordAlgorithm(number, value[start + 4 : end]))
        start = end + -length % 4
    return tuple(found)


def encode_password_algorithm(algorithm: PasswordAlgorithm, transaction_id: bytes = b"") -> bytes:
    """
    Write PASSWORD-ALGORITHM.
    """
    return encode_password_algorithms((algorithm,))


def decode_password_algorithm(value: bytes, transaction_id: bytes = b"") -> PasswordAlgorithm:
    """
    Read PASSWORD-ALGORITHM: exactly one.

    @raise DecodeError: none, or several.
    @see: RFC 8489 §14.12
    """
    found = decode_password_algorithms(value)
    if len(found) != 1:
        raise DecodeError(f"{len(found)} in PASSWORD-ALGORITHM", section="RFC 8489 §14.12")
    return found[0]
