# -*- test-case-name: tests.network.quic.test_retry -*-
"""
Retry tokens that bind the real way and expire (RFC 9000 §8.1.2).
"""

from __future__ import annotations

import hashlib
import hmac
import struct
from collections.abc import Callable

__all__ = ["RetryTokens"]

LIFETIME = 10.0
_TAG_LENGTH = 16
_MAX_CID = 20


class RetryTokens:
    """
    Makes and checks the tokens of one process.

    Layout: expiry in milliseconds (8), length and original connection ID (1 + n),
    tag (16). The tag covers the way and the Retry's connection ID as well.
    """

    def __init__(self, entropy: Callable[[int], bytes]) -> None:
        self._key = entropy(32)

    def _tag(self, body: bytes, way: bytes, retry_cid: bytes) -> bytes:
        """
        Authenticate what a token says, and what it is bound to.
        """
        bound = struct.pack("!HB", len(way), len(retry_cid)) + way + retry_cid + body
        return hmac.digest(self._key, bound, hashlib.sha256)[:_TAG_LENGTH]

    def make(self, way: bytes, original_cid: bytes, retry_cid: bytes, now: float) -> bytes:
        """
        Make a token.

        @param way: the way's text, as bytes.
        @param original_cid: the destination connection ID of the Initial; at most 20 bytes.
        @param retry_cid: the source connection ID of the Retry.
        """
        body = struct.pack("!QB", int((now + LIFETIME) * 1000), len(original_cid)) + original_cid
        return body + self._tag(body, way, retry_cid)

    def check(self, token: bytes, way: bytes, retry_cid: bytes, now: float) -> bytes | None:
        """
        Check a token that came back.

        @param retry_cid: the destination connection ID that came with it.
        @return: the original connection ID; C{None} if the token is not ours,
            not for that way and ID, or too old.
        """
        if not 9 + _TAG_LENGTH <= len(token) <= 9 + _MAX_CID + _TAG_LENGTH:
            return None
        body, tag = token[:-_TAG_LENGTH], token[-_TAG_LENGTH:]
        if not hmac.compare_digest(tag, self._tag(body, way, retry_cid)):
            return None
        expiry, length = struct.unpack_from("!QB", body)
        if now * 1000 > expiry or length != len(body) - 9:
            return None
        return body[9:]
