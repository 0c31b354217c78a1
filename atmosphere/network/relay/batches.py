# -*- test-case-name: tests.network.relay.test_batches -*-
"""
Batches: many datagrams in one relay frame.

The cost of a WebSocket message, not of a byte, is what a relay pays, so send
and deliver carry datagrams as UDP segmentation offload does: all of one size
but the last. See C{docs/protocols/relay.md} §2.1.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Sequence

from atmosphere.errors import DecodeError

from .frames import MAX_MESSAGE, FrameType

__all__ = [
    "BATCH_HEADER",
    "MAX_BATCH",
    "MAX_DATAGRAMS",
    "check_batch",
    "encode_batches",
    "is_probe",
    "split_batch",
]

BATCH_HEADER = 35
"""The bytes of send and deliver before the datagrams: type, node ID, segment size."""

MAX_BATCH = MAX_MESSAGE - BATCH_HEADER
MAX_DATAGRAMS = 64
MAX_PROBE = 2_048

_COOKIE = b"\x21\x12\xa4\x42"


def check_batch(message: bytes | bytearray) -> int:
    """
    Check the layout of a send or deliver without looking at its datagrams.

    @param message: the whole frame, type and all.
    @return: the segment size.
    @raise DecodeError: no datagrams, too many, or a frame that is too long.
    """
    length = len(message) - BATCH_HEADER
    if not 0 < length <= MAX_BATCH:
        raise DecodeError("a batch without datagrams, or a frame that is too long")
    segment_size = message[33] << 8 | message[34]
    if segment_size == 0 or length > segment_size * MAX_DATAGRAMS:
        raise DecodeError(f"a batch has 1 to {MAX_DATAGRAMS} datagrams")
    return segment_size


def split_batch(segment_size: int, batch: bytes) -> list[bytes]:
    """
    Take the datagrams of a batch apart.
    """
    if len(batch) <= segment_size:
        return [batch]
    return [batch[at : at + segment_size] for at in range(0, len(batch), segment_size)]


def _groups(datagrams: Iterable[bytes]) -> Iterator[list[bytes]]:
    """
    Put datagrams together that fit one frame: equal sizes, the last may be less.
    """
    group: list[bytes] = []
    size = total = 0
    for datagram in datagrams:
        length = len(datagram)
        if not 0 < length <= MAX_BATCH or length > 65_535:
            raise ValueError(f"a datagram of {length} bytes cannot be relayed")
        if group and (
            len(group[-1]) != size
            or length > size
            or len(group) == MAX_DATAGRAMS
            or total + length > MAX_BATCH
        ):
            yield group
            group = []
        if not group:
            size, total = length, 0
        group.append(datagram)
        total += length
    if group:
        yield group


def encode_batches(kind: FrameType, peer: bytes, datagrams: Sequence[bytes]) -> list[bytes]:
    """
    Write datagrams as one or more frames, in order.

    @param kind: C{SEND} or C{DELIVER}.
    @param peer: the node ID's 32 bytes.
    @raise ValueError: a datagram that is empty or too long.
    """
    return [
        b"".join((struct.pack("!B32sH", kind, peer, len(group[0])), *group))
        for group in _groups(datagrams)
    ]


def is_probe(message: bytes | bytearray) -> bool:
    """
    Say whether a send or deliver carries STUN, which has a queue of its own.

    @param message: the whole frame; its first datagram decides.
    """
    return (
        len(message) <= MAX_PROBE
        and message[BATCH_HEADER] < 4
        and message[BATCH_HEADER + 4 : BATCH_HEADER + 8] == _COOKIE
    )
