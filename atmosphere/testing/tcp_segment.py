# -*- test-case-name: tests.testing.test_stream -*-
"""
What one end of a simulated TCP connection says to the other.
"""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple

__all__ = ["Flag", "Segment", "State"]


class Flag(Enum):
    """
    What a segment is for.
    """

    SYN = "syn"
    SYN_ACK = "syn-ack"
    DATA = "data"
    PROBE = "probe"
    RST = "rst"


class Segment(NamedTuple):
    """
    One segment.

    @ivar flag: what it is for.
    @ivar sequence: the number of its first byte; the end of a stream counts as one.
    @ivar acknowledged: the first byte that its sender has not yet had.
    @ivar window: how many bytes its sender has room for.
    @ivar data: the bytes.
    @ivar is_last: whether the stream ends behind them.
    @ivar stamp: when it was sent, if it has data.
    @ivar echo: the stamp of the last that was taken, so that the other end knows the
        round-trip time (RFC 7323); C{None} before there was any.
    """

    flag: Flag
    sequence: int
    acknowledged: int
    window: int
    data: bytes = b""
    is_last: bool = False
    stamp: float = 0.0
    echo: float | None = None


class State(Enum):
    """
    How far a connection has come.
    """

    SYN_SENT = "SYN-SENT"
    SYN_RECEIVED = "SYN-RECEIVED"
    ESTABLISHED = "ESTABLISHED"
    CLOSED = "CLOSED"
