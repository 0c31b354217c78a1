# -*- test-case-name: tests.test_statements -*-
"""
How signed statements are written: deterministic CBOR (RFC 8949 §4.2) and a signature.

A statement is its body followed by 64 bytes of signature over a domain and
the body. What a signature is checked against is always the bytes that came.
L{wire} refuses all but the one encoding of a value; L{Fields} refuses values
of other kinds and sizes than the format says.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NoReturn

from . import wire
from .errors import DecodeError, IdentityError
from .identity import SIGNATURE_LENGTH, NodeID, NodeKey
from .text import escape_peer_text

__all__ = ["Fields", "sign_statement", "split_statement"]

MAXIMUM_TIME = 253402300799

#: Keys from here on belong to later versions and may be skipped.
FIRST_OPTIONAL_KEY = 32


class Fields:
    """
    The entries of a map that came from outside, taken out one by one by type.

    Each method raises L{DecodeError} when the entry is missing or is not what
    is asked for.
    """

    __slots__ = ("_left", "_what")

    def __init__(self, value: object, what: str) -> None:
        """
        @param value: what L{wire.decode} returned.
        @param what: a word for the errors.
        """
        if not isinstance(value, dict):
            raise DecodeError(f"{what}: not a map")
        self._left = dict(value)
        self._what = what

    @classmethod
    def decode(cls, data: bytes, *, limit: int, what: str) -> Fields:
        """
        Read a map.

        @param limit: the most bytes; longer data is refused unread.
        """
        return cls(wire.decode(data, max_length=limit), what)

    def _refuse(self, key: int | str) -> NoReturn:
        """
        Say that an entry is missing or wrong.
        """
        raise DecodeError(f"{self._what}: entry {key!r} is missing or wrong")

    def has(self, key: int | str) -> bool:
        """
        Say whether an entry is there and was not taken yet.
        """
        return key in self._left

    def number(self, key: int | str, maximum: int, minimum: int = 0) -> int:
        """
        Take an integer.
        """
        value = self._left.pop(key, None)
        if type(value) is not int or not minimum <= value <= maximum:
            self._refuse(key)
        return value

    def time(self, key: int | str) -> int:
        """
        Take a POSIX time.
        """
        return self.number(key, MAXIMUM_TIME)

    def octets(self, key: int | str, maximum: int, minimum: int | None = None) -> bytes:
        """
        Take bytes.

        @param minimum: the fewest; C{None} is exactly C{maximum}.
        """
        value = self._left.pop(key, None)
        least = maximum if minimum is None else minimum
        if not isinstance(value, bytes) or not least <= len(value) <= maximum:
            self._refuse(key)
        return value

    def text(self, key: int | str, maximum: int, minimum: int = 1) -> str:
        """
        Take a text by its number of characters.
        """
        value = self._left.pop(key, None)
        if not isinstance(value, str) or not minimum <= len(value) <= maximum:
            self._refuse(key)
        return value

    def flag(self, key: int | str) -> bool:
        """
        Take a boolean.
        """
        value = self._left.pop(key, None)
        if not isinstance(value, bool):
            self._refuse(key)
        return value

    def items(self, key: int | str, maximum: int) -> list[object]:
        """
        Take a list of at most so many items.
        """
        value = self._left.pop(key, None)
        if not isinstance(value, list) or len(value) > maximum:
            self._refuse(key)
        return value

    def texts(self, key: int | str, maximum: int, length: int) -> tuple[str, ...]:
        """
        Take a list of texts that are not empty.

        @param length: the most characters of each.
        """
        values = self.items(key, maximum)
        found = [value for value in values if isinstance(value, str) and 1 <= len(value) <= length]
        if len(found) != len(values):
            self._refuse(key)
        return tuple(found)

    def octet_strings(
        self, key: int | str, maximum: int, length: int, minimum: int = 1
    ) -> tuple[bytes, ...]:
        """
        Take a list of byte strings.

        @param length: the most bytes of each.
        @param minimum: the fewest bytes of each.
        """
        values = self.items(key, maximum)
        found = [v for v in values if isinstance(v, bytes) and minimum <= len(v) <= length]
        if len(found) != len(values):
            self._refuse(key)
        return tuple(found)

    def node(self, key: int | str) -> NodeID:
        """
        Take a node ID.
        """
        return self._node(key, self._left.pop(key, None))

    def nodes(self, key: int | str, maximum: int, minimum: int = 0) -> tuple[NodeID, ...]:
        """
        Take a list of node IDs, none of them twice.
        """
        nodes = tuple(self._node(key, value) for value in self.items(key, maximum))
        if len(nodes) < minimum or len(set(nodes)) != len(nodes):
            self._refuse(key)
        return nodes

    def _node(self, key: int | str, value: object) -> NodeID:
        """
        Make a node ID of a value.
        """
        if not isinstance(value, bytes):
            self._refuse(key)
        try:
            return NodeID(value)
        except IdentityError as error:
            raise DecodeError(f"{self._what}: entry {key!r}: {error}") from None

    def version(self, expected: int = 1) -> None:
        """
        Take the version, entry 0, and refuse any but the one we know.
        """
        found = self.number(0, 2**32)
        if found != expected:
            raise DecodeError(f"{self._what}: version {found} is not known here")

    def finish(self) -> None:
        """
        Refuse entries that nobody took, but those of later versions.
        """
        for key in self._left:
            if not isinstance(key, int) or key < FIRST_OPTIONAL_KEY:
                raise DecodeError(f"{self._what}: entry {escape_peer_text(repr(key))} is unknown")


def sign_statement(key: NodeKey, domain: bytes, body: Mapping[int, object]) -> bytes:
    """
    Write a statement and sign it.

    @param domain: names the kind, so that a signature on one is none on another.
    @return: the body and 64 bytes of signature.
    """
    encoded = wire.encode(dict(body))
    return encoded + key.sign(domain + encoded)


def split_statement(data: bytes, *, limit: int, what: str) -> tuple[bytes, bytes]:
    """
    Part a statement into its body and its signature, neither of them checked.

    @raise DecodeError: shorter than a signature, or longer than the limit.
    """
    if not SIGNATURE_LENGTH < len(data) <= limit:
        raise DecodeError(f"{what}: {len(data)} bytes, the most is {limit}")
    return data[:-SIGNATURE_LENGTH], data[-SIGNATURE_LENGTH:]
