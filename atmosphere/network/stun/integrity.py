# -*- test-case-name: tests.network.stun.test_integrity -*-
"""
MESSAGE-INTEGRITY, MESSAGE-INTEGRITY-SHA256 and FINGERPRINT (RFC 8489 §14.5 to §14.7).

All three cover the message as it was before they were added, with the length
in its header already counting them. So they are added to, and checked on, the
bytes of the message; nothing is ever encoded anew to check it.
"""

from __future__ import annotations

import hmac
from hashlib import md5, sha256
from zlib import crc32

__all__ = [
    "add_fingerprint",
    "add_integrity",
    "add_integrity_sha256",
    "long_term_key",
    "short_term_key",
    "verify_fingerprint",
    "verify_integrity",
]

_HEADER = 20
_SHA1 = 0x0008
_SHA256 = 0x001C
_FINGERPRINT = 0x8028
_FINGERPRINT_MASK = 0x5354554E


def short_term_key(password: str) -> bytes:
    """
    Make the key of a short-term credential, as ICE uses them (RFC 8489 §9.1.1).

    @param password: already prepared as an OpaqueString; plain ASCII is.
    """
    return password.encode("utf-8")


def long_term_key(username: str, realm: str, password: str, *, is_sha256: bool = False) -> bytes:
    """
    Make the key of a long-term credential (RFC 8489 §9.2.2 and §18.5).

    @param password: already prepared as an OpaqueString; plain ASCII is.
    @param is_sha256: whether the server chose SHA-256; without
        PASSWORD-ALGORITHM it is MD5.
    """
    together = f"{username}:{realm}:{password}".encode()
    return sha256(together).digest() if is_sha256 else md5(together).digest()


def _with_length(message: bytes, length: int) -> bytes:
    """
    Give a message with another length in its header.
    """
    if length > 0xFFFF:
        raise ValueError("a STUN message has no more than 65,535 bytes of attributes")
    return message[:2] + length.to_bytes(2, "big") + message[4:]


def add_integrity(message: bytes, key: bytes) -> bytes:
    """
    Append MESSAGE-INTEGRITY: 20 bytes of HMAC-SHA1.
    """
    covered = _with_length(message, len(message) - _HEADER + 24)
    return covered + b"\x00\x08\x00\x14" + hmac.digest(key, covered, "sha1")


def add_integrity_sha256(message: bytes, key: bytes, size: int = 32) -> bytes:
    """
    Append MESSAGE-INTEGRITY-SHA256.

    @param size: how many bytes of the HMAC: 16 to 32, a multiple of 4.
    """
    if size not in range(16, 33, 4):
        raise ValueError(f"MESSAGE-INTEGRITY-SHA256 has 16 to 32 bytes, not {size}")
    covered = _with_length(message, len(message) - _HEADER + 4 + size)
    return covered + b"\x00\x1c\x00" + bytes((size,)) + hmac.digest(key, covered, "sha256")[:size]


def add_fingerprint(message: bytes) -> bytes:
    """
    Append FINGERPRINT: the CRC-32 of all before it, XORed with C{STUN}. It is the last.
    """
    covered = _with_length(message, len(message) - _HEADER + 8)
    return covered + b"\x80\x28\x00\x04" + (crc32(covered) ^ _FINGERPRINT_MASK).to_bytes(4, "big")


def _find_integrity(message: bytes) -> tuple[int, int, int] | None:
    """
    Find the attribute that protects a message.

    MESSAGE-INTEGRITY-SHA256 is taken where both are there, so that a stronger
    one cannot be talked down. What stands behind the one that was found, other
    than MESSAGE-INTEGRITY-SHA256 behind MESSAGE-INTEGRITY, is not looked at.

    @return: its type, where its header begins, and how long its value is.
    """
    found = None
    start = _HEADER
    while start + 4 <= len(message):
        number = message[start] << 8 | message[start + 1]
        length = message[start + 2] << 8 | message[start + 3]
        if start + 4 + length > len(message):
            return None
        if number == _SHA256:
            return number, start, length
        if found is not None:
            return found
        if number == _SHA1:
            found = number, start, length
        start += 4 + length + (-length & 3)
    return found


def verify_integrity(message: bytes, key: bytes) -> bool:
    """
    Check that whoever made a message holds the key, in constant time.

    @param message: the datagram as it came.
    @return: C{False} too when nothing protects it.
    """
    found = _find_integrity(message)
    if found is None:
        return False
    number, start, length = found
    covered = _with_length(message[:start], start + 4 + length - _HEADER)
    theirs = message[start + 4 : start + 4 + length]
    if number == _SHA1:
        return hmac.compare_digest(hmac.digest(key, covered, "sha1"), theirs)
    if length not in range(16, 33, 4):
        return False
    return hmac.compare_digest(hmac.digest(key, covered, "sha256")[:length], theirs)


def verify_fingerprint(message: bytes) -> bool:
    """
    Check that a datagram ends in a right FINGERPRINT, and so is STUN beyond doubt.

    @return: C{False} too when there is none.
    """
    if len(message) < _HEADER + 8 or message[-8:-4] != b"\x80\x28\x00\x04":
        return False
    return int.from_bytes(message[-4:], "big") == crc32(message[:-8]) ^ _FINGERPRINT_MASK
