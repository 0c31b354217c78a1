# -*- test-case-name: tests.network.quic.test_acceptance -*-
"""
What to do with the first packet of a connection that nobody knows.

Under load the sender has to show, by Retry, that it can receive by the way it
claims; a flood of forged Initials then costs us a hash each.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from atmosphere.rate import TokenBucket

from .adapter import CONNECTION_ID_LENGTH, VERSION
from .retry import RetryTokens

__all__ = ["Acceptance", "Initial", "Verdict", "connection_id_of"]

MIN_INITIAL_LENGTH = 1200
MAX_HALF_OPEN = 256
RETRY_HALF_OPEN = 32
INITIALS_PER_SECOND = 20.0
NEGOTIATIONS_PER_SECOND = 20.0


class Verdict(Enum):
    """
    What is to be done.
    """

    ACCEPT = "accept"
    RETRY = "retry"
    NEGOTIATE = "negotiate"
    TOO_MANY = "too many"
    DROP = "drop"


@dataclass(frozen=True, slots=True)
class Initial:
    """
    What the header of an Initial says.

    @ivar original_cid: the destination connection ID of the dialler's very
        first Initial; with a Retry before it, the token brought it back.
    @ivar retry_cid: the one that our Retry chose; C{None} without a Retry.
    """

    destination_cid: bytes
    source_cid: bytes
    original_cid: bytes
    retry_cid: bytes | None = None


_NOTHING = Initial(b"", b"", b"")


def connection_id_of(data: bytes) -> bytes | None:
    """
    Read the destination connection ID of a datagram's first packet.

    @return: C{None} if the datagram is too short to have one.
    @see: RFC 8999 §5
    """
    if data[0] & 0x80:
        if len(data) < 7 or data[5] > 20 or len(data) < 6 + data[5]:
            return None
        return data[6 : 6 + data[5]]
    if len(data) < 1 + CONNECTION_ID_LENGTH:
        return None
    return data[1 : 1 + CONNECTION_ID_LENGTH]


def _varint(data: bytes, offset: int) -> tuple[int, int] | None:
    """
    Read a variable-length integer.

    @return: the number and the offset behind it; C{None} if the data end before.
    @see: RFC 9000 §16
    """
    if offset >= len(data):
        return None
    length = 1 << (data[offset] >> 6)
    raw = data[offset : offset + length]
    if len(raw) < length:
        return None
    return int.from_bytes(raw, "big") & ((1 << (8 * length - 2)) - 1), offset + length


def _header(data: bytes) -> tuple[int, int, bytes, bytes, bytes] | None:
    """
    Read a long header: version, packet type, both connection IDs, and an
    Initial's token.

    @see: RFC 9000 §17.2
    """
    destination = connection_id_of(data)
    if destination is None:
        return None
    version = int.from_bytes(data[1:5], "big")
    offset = 6 + len(destination)
    if offset >= len(data) or data[offset] > 20:
        return None
    source = data[offset + 1 : offset + 1 + data[offset]]
    if len(source) < data[offset]:
        return None
    offset += 1 + len(source)
    packet_type = data[0] >> 4 & 3
    if version != VERSION or packet_type != 0:
        return version, packet_type, destination, source, b""
    length = _varint(data, offset)
    if length is None or length[0] > len(data) - length[1]:
        return None
    return version, packet_type, destination, source, data[length[1] : length[1] + length[0]]


class Acceptance:
    """
    Judges Initials.

    @ivar tokens: makes and checks the tokens of Retry.
    """

    def __init__(self, entropy: Callable[[int], bytes]) -> None:
        self.tokens = RetryTokens(entropy)
        self._initials = TokenBucket(INITIALS_PER_SECOND, INITIALS_PER_SECOND)
        self._negotiations = TokenBucket(NEGOTIATIONS_PER_SECOND, NEGOTIATIONS_PER_SECOND)

    def judge(self, data: bytes, way: bytes, half_open: int, now: float) -> tuple[Initial, Verdict]:
        """
        Say what to do with a datagram whose connection nobody knows.

        @param way: the text of the way by which it came.
        @param half_open: how many listeners' connections are not proven yet.
        """
        header = _header(data) if len(data) >= MIN_INITIAL_LENGTH else None
        if header is None:
            return _NOTHING, Verdict.DROP
        version, packet_type, destination, source, token = header
        initial = Initial(destination, source, destination)
        if version == 0:
            return initial, Verdict.DROP
        if version != VERSION:
            may = self._negotiations.take(1, now)
            return initial, Verdict.NEGOTIATE if may else Verdict.DROP
        if packet_type != 0 or len(destination) < 8:
            return initial, Verdict.DROP
        if half_open >= MAX_HALF_OPEN:
            return initial, Verdict.TOO_MANY
        if token:
            original = self.tokens.check(token, way, destination, now)
            if original is None:
                return initial, Verdict.DROP
            return Initial(destination, source, original, destination), Verdict.ACCEPT
        is_calm = self._initials.take(1, now)
        if half_open > RETRY_HALF_OPEN or not is_calm:
            return initial, Verdict.RETRY
        return initial, Verdict.ACCEPT
