# -*- test-case-name: tests.network.relay.test_framing -*-
"""
WebSocket's framing (RFC 6455 §5.2) of whole messages, for what is written in bulk.
"""

from __future__ import annotations

__all__ = ["message_header"]


def message_header(length: int, *, is_binary: bool = True, is_masked: bool = False) -> bytes:
    """
    Write the header of a message in one frame, without the masking key.

    @param length: of the message, in bytes.
    @see: RFC 6455 §5.2
    """
    first = 0x82 if is_binary else 0x81
    mask = 0x80 if is_masked else 0
    if length < 126:
        return bytes((first, mask | length))
    if length < 65536:
        return bytes((first, mask | 126, length >> 8, length & 0xFF))
    return bytes((first, mask | 127)) + length.to_bytes(8, "big")
