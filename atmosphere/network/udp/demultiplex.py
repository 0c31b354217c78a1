# -*- test-case-name: tests.network.udp.test_demultiplex -*-
"""
What a datagram is, by its first bytes (RFC 9443 §2, RFC 8489 §5).

Only as much is read as it takes to choose the receiver; whether the rest is
well-formed is the receiver's business.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum

__all__ = ["Kind", "are_quic", "classify", "has_username", "is_stun", "is_stun_response"]


class Kind(Enum):
    """
    The protocols that can share a UDP port.
    """

    STUN = "STUN"
    ZRTP = "ZRTP"
    DTLS = "DTLS"
    TURN_CHANNEL = "TURN channel"
    QUIC = "QUIC"
    RTP = "RTP"
    UNKNOWN = "unknown"


#: First byte of each range, in order.
_RANGES = (
    (0, Kind.STUN),
    (4, Kind.UNKNOWN),
    (16, Kind.ZRTP),
    (20, Kind.DTLS),
    (64, Kind.TURN_CHANNEL),
    (80, Kind.QUIC),
    (128, Kind.RTP),
    (192, Kind.QUIC),
)
_FROM_TURN_SERVER = tuple(
    next(kind for start, kind in reversed(_RANGES) if first >= start) for first in range(256)
)
_FROM_ANYBODY = tuple(
    Kind.QUIC if kind is Kind.TURN_CHANNEL else kind for kind in _FROM_TURN_SERVER
)

_IS_QUIC = tuple(kind is Kind.QUIC for kind in _FROM_ANYBODY)

_COOKIE = b"\x21\x12\xa4\x42"
_USERNAME = 0x0006


def classify(data: bytes, *, from_turn_server: bool = False) -> Kind:
    """
    Say what a datagram is.

    @param from_turn_server: whether its source is a TURN server that holds a
        channel of ours: «64 to 79 is TURN channel data only from such».
    """
    if not data:
        return Kind.UNKNOWN
    return (_FROM_TURN_SERVER if from_turn_server else _FROM_ANYBODY)[data[0]]


def are_quic(datagrams: Iterable[bytes]) -> bool:
    """
    Say whether all of several datagrams are QUIC's.
    """
    for data in datagrams:  # no generator: nearly always it is one datagram
        if not data or not _IS_QUIC[data[0]]:
            return False
    return True


def is_stun(data: bytes) -> bool:
    """
    Say whether a datagram has the header of a STUN message, magic cookie and length.
    """
    return (
        len(data) >= 20
        and data[0] < 64
        and data[4:8] == _COOKIE
        and (data[2] << 8 | data[3]) + 20 == len(data)
    )


def is_stun_response(data: bytes) -> bool:
    """
    Say whether a STUN message is a success or error response.

    @param data: at least 2 bytes; that it L{is_stun} is known.
    """
    return bool(data[0] & 1)


def has_username(data: bytes) -> bool:
    """
    Say whether a STUN message carries USERNAME, as connectivity checks do.

    @param data: anything; of bytes that are no STUN message it finds none, or
        something that its receiver will drop.
    """
    start = 20
    while start + 4 <= len(data):
        if (data[start] << 8 | data[start + 1]) == _USERNAME:
            return True
        length = data[start + 2] << 8 | data[start + 3]
        start += 4 + length + (-length & 3)
    return False
