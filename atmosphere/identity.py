# -*- test-case-name: tests.test_identity -*-
"""
Who a node is: its Ed25519 key (RFC 8032).

A node's identity is its public key and nothing else. The library beneath
accepts public keys of small order, with which a signature can be made valid
for every message; such keys and non-canonical encodings are refused wherever
a key enters.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from typing_extensions import override

from .errors import IdentityError

__all__ = ["NodeID", "NodeKey", "Secret"]

KEY_LENGTH = 32
SIGNATURE_LENGTH = 64
TEXT_LENGTH = 52

_PRIME = 2**255 - 19
_ORDER_8 = 0x05FC536D880238B13933C6D305ACDFD5F098EFF289F4C345B027B2C28F95E826
_SMALL_ORDER_Y = frozenset({0, 1, _PRIME - 1, _ORDER_8, _PRIME - _ORDER_8})


def _check_public_key(raw: bytes) -> None:
    """
    Refuse what cannot name a node.

    The 8 points of small order have 5 distinct values of y; both signs of x
    are refused for each. A y of 2^255 - 19 or more is not canonical.

    @raise IdentityError: a wrong length, small order, or a non-canonical y.
    @see: RFC 8032 §5.1.3
    """
    if len(raw) != KEY_LENGTH:
        raise IdentityError(f"a node's key has {KEY_LENGTH} bytes, not {len(raw)}")
    y = int.from_bytes(raw, "little") & ((1 << 255) - 1)
    if y >= _PRIME:
        raise IdentityError("the key is not canonical")
    if y in _SMALL_ORDER_Y:
        raise IdentityError("the key has small order")


@dataclass(frozen=True, slots=True, order=True)
class NodeID:
    """
    A node's public key, and thereby its name for ever.

    @ivar raw: the 32 bytes of RFC 8032's encoding.
    @raise IdentityError: not a key that may name a node.
    """

    raw: bytes

    def __post_init__(self) -> None:
        """
        Refuse keys that cannot name a node.
        """
        _check_public_key(self.raw)

    @classmethod
    def from_text(cls, text: str) -> NodeID:
        """
        Read the text form: 52 characters of lower-case base32.

        @raise IdentityError: any other text, also another spelling of the same key.
        """
        try:
            raw = base64.b32decode(text.upper() + "====") if len(text) == TEXT_LENGTH else b""
        except (binascii.Error, ValueError):
            raw = b""
        if len(raw) != KEY_LENGTH:
            raise IdentityError(f"a node ID has {TEXT_LENGTH} characters of lower-case base32")
        node_id = cls(raw)
        if str(node_id) != text:
            raise IdentityError("the node ID is not in its canonical spelling")
        return node_id

    @override
    def __str__(self) -> str:
        return base64.b32encode(self.raw).decode("ascii").rstrip("=").lower()

    @override
    def __repr__(self) -> str:
        return f"<NodeID {self.short}>"

    @property
    def short(self) -> str:
        """
        The first 10 characters, for people's eyes; never compare by it.
        """
        return str(self)[:10]

    def verifies(self, signature: bytes, data: bytes) -> bool:
        """
        Say whether this node signed those bytes.
        """
        if len(signature) != SIGNATURE_LENGTH:
            return False
        try:
            Ed25519PublicKey.from_public_bytes(self.raw).verify(signature, data)
        except InvalidSignature:
            return False
        return True


class Secret:
    """
    Bytes that must never be shown: the representation is C{<redacted>}.

    Two of them are never found equal, and none can be a key of a mapping.
    """

    __slots__ = ("_raw",)

    def __init__(self, raw: bytes) -> None:
        self._raw = bytes(raw)

    def reveal(self) -> bytes:
        """
        Hand out the bytes; the name makes each use easy to find.
        """
        return self._raw

    @override
    def __repr__(self) -> str:
        return "<redacted>"

    @override
    def __eq__(self, other: object) -> bool:
        return NotImplemented


class NodeKey:
    """
    A node's private key.
    """

    __slots__ = ("_key", "node_id")

    def __init__(self, seed: bytes) -> None:
        """
        @param seed: the 32 bytes of RFC 8032's private key.
        @raise IdentityError: another length.
        """
        if len(seed) != KEY_LENGTH:
            raise IdentityError(f"a private key has {KEY_LENGTH} bytes, not {len(seed)}")
        self._key = Ed25519PrivateKey.from_private_bytes(seed)
        self.node_id = NodeID(self._key.public_key().public_bytes_raw())

    @property
    def seed(self) -> Secret:
        """
        The 32 bytes that L{NodeKey} was made of.
        """
        return Secret(self._key.private_bytes_raw())

    @property
    def private_key(self) -> Ed25519PrivateKey:
        """
        The key as the library beneath wants it, for a TLS certificate.
        """
        return self._key

    def sign(self, data: bytes) -> bytes:
        """
        Sign bytes. Callers put a prefix of their own before what they sign,
        so that a signature for one purpose is none for another.

        @return: 64 bytes.
        """
        return self._key.sign(data)

    @override
    def __repr__(self) -> str:
        return f"<NodeKey of {self.node_id.short}>"
