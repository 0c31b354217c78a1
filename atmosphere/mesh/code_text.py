# -*- test-case-name: tests.mesh.test_code_text -*-
"""
The text of a join code: compact JSON in URL-safe base64, both read strictly.

The standard library's JSON takes duplicate keys, numbers that are none, and
any depth; here each of these is refused, and so is a second spelling of bytes.
"""

from __future__ import annotations

import base64
import binascii
import json
from typing import Any, NoReturn
from urllib.parse import urlsplit

from atmosphere.addresses import TransportAddress
from atmosphere.errors import DecodeError, IdentityError
from atmosphere.identity import NodeID
from atmosphere.text import escape_peer_text

__all__ = ["Values", "decode_base64", "decode_compact", "decode_json", "encode_base64"]

MAXIMUM_TEXT = 2048
MAXIMUM_JSON = 1536
MAXIMUM_DEPTH = 8
MAXIMUM_NUMBER = 2**40
MAXIMUM_URL = 256


def is_relay_url(text: str) -> bool:
    """
    Say whether a text is the URL of a relay: C{ws} or C{wss}, a host, and no more tricks.
    """
    if not (len(text) <= MAXIMUM_URL and text.isascii() and text.isprintable() and " " not in text):
        return False
    try:
        parts = urlsplit(text)
        has_host = bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False
    return (
        parts.scheme in ("ws", "wss") and has_host and "@" not in parts.netloc and "#" not in text
    )


def encode_base64(data: bytes) -> str:
    """
    Write bytes as they stand inside of a code: URL-safe, without padding.
    """
    return base64.urlsafe_b64encode(data).decode("ascii").rstrip("=")


def decode_base64(text: str) -> bytes:
    """
    Read URL-safe base64, with or without padding.

    @raise DecodeError: another alphabet, or stray bits at the end.
    """
    bare = text.rstrip("=")
    try:
        data = base64.b64decode(bare.encode("ascii") + b"=" * (-len(bare) % 4), b"-_", True)
    except (binascii.Error, ValueError):
        raise DecodeError("not URL-safe base64") from None
    if encode_base64(data) != bare:
        raise DecodeError("not URL-safe base64 in its one spelling")
    return data


def decode_compact(text: str, prefix: str) -> bytes:
    """
    Read what was pasted, up to its JSON.

    @param prefix: may stand before it; white space may stand anywhere.
    @raise DecodeError: too long, or not base64.
    """
    if len(text) > 2 * MAXIMUM_TEXT:
        raise DecodeError("too long for a join code")
    bare = "".join(text.split()).removeprefix(prefix)
    if len(bare) > MAXIMUM_TEXT:
        raise DecodeError("too long for a join code")
    try:
        return decode_base64(bare)
    except DecodeError:
        raise DecodeError(
            "this is no join code, or a piece of it is missing: copy all of it"
        ) from None


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """
    Make an object of its pairs, each key once.
    """
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key stands twice")
    return found


def _refuse(_: str) -> NoReturn:
    """
    Refuse C{NaN} and C{Infinity}, which are not JSON.
    """
    raise ValueError("not a number")


def _depth(value: object) -> int:
    """
    Say how deeply a value is nested.
    """
    deepest = 0
    layer = [value]
    while layer:
        deepest += 1
        inner: list[object] = []
        for item in layer:
            if isinstance(item, dict):
                inner.extend(item.values())
            elif isinstance(item, list):
                inner.extend(item)
        layer = inner
    return deepest


def decode_json(raw: bytes) -> Values:
    """
    Read an object of JSON.

    @raise DecodeError: anything else.
    """
    if len(raw) > MAXIMUM_JSON:
        raise DecodeError(f"a join code has at most {MAXIMUM_JSON} bytes, not {len(raw)}")
    try:
        value = json.loads(raw.decode("utf-8"), object_pairs_hook=_pairs, parse_constant=_refuse)
    except (ValueError, RecursionError):
        raise DecodeError(
            "this is no join code, or a piece of it is missing: copy all of it"
        ) from None
    if not isinstance(value, dict) or _depth(value) > MAXIMUM_DEPTH:
        raise DecodeError("this is no join code: not an object of JSON")
    return Values(value)


class Values:
    """
    The values of a code, taken out one by one by their kind.

    Each method raises L{DecodeError} when the value is missing or of another kind.
    """

    __slots__ = ("_left",)

    def __init__(self, values: dict[str, Any]) -> None:
        self._left = values

    def _wrong(self, key: str) -> DecodeError:
        """
        Say which value is wrong.
        """
        return DecodeError(f"the join code's {key} is missing or wrong")

    def has(self, key: str) -> bool:
        """
        Say whether a value is there and is not C{null}.
        """
        return self._left.get(key) is not None

    def text(self, key: str, maximum: int = 256) -> str:
        """
        Take a text that is not empty and can be printed.
        """
        value = self._left.pop(key, None)
        if not isinstance(value, str) or not 1 <= len(value) <= maximum or not value.isprintable():
            raise self._wrong(key)
        return value

    def texts(self, key: str, maximum: int, minimum: int = 1) -> list[str]:
        """
        Take a list of such texts.
        """
        values = self._left.pop(key, None)
        if not isinstance(values, list) or not minimum <= len(values) <= maximum:
            raise self._wrong(key)
        return [Values({key: value}).text(key) for value in values]

    def number(self, key: str, maximum: int = MAXIMUM_NUMBER, minimum: int = 0) -> int:
        """
        Take an integer.
        """
        value = self._left.pop(key, None)
        if type(value) is not int or not minimum <= value <= maximum:
            raise self._wrong(key)
        return value

    def time(self, key: str) -> float:
        """
        Take a POSIX time, which may have a fraction.
        """
        value = self._left.pop(key, None)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self._wrong(key)
        if not 0 <= value <= MAXIMUM_NUMBER:
            raise self._wrong(key)
        return value

    def octets(self, key: str, length: int | None = None) -> bytes:
        """
        Take bytes, written without padding.

        @param length: how many; C{None} is any number.
        """
        text = self.text(key, MAXIMUM_JSON)
        data = decode_base64(text)
        if text.endswith("=") or length not in (None, len(data)):
            raise self._wrong(key)
        return data

    def nodes(self, key: str, maximum: int) -> tuple[NodeID, ...]:
        """
        Take one or more node IDs.
        """
        texts = self.texts(key, maximum)
        try:
            return tuple(NodeID.from_text(text) for text in texts)
        except IdentityError:
            raise self._wrong(key) from None

    def endpoint(self, key: str) -> str:
        """
        Take an address and port in their canonical text.
        """
        text = self.text(key)
        if str(TransportAddress.from_text(text)) != text:
            raise self._wrong(key)
        return text

    def endpoints(self, key: str, maximum: int) -> tuple[str, ...]:
        """
        Take one or more of those.
        """
        return tuple(Values({key: text}).endpoint(key) for text in self.texts(key, maximum))

    def relay_urls(self, key: str, maximum: int) -> list[str]:
        """
        Take one or more URLs of relays.
        """
        texts = self.texts(key, maximum)
        if not all(map(is_relay_url, texts)):
            raise self._wrong(key)
        return texts

    def finish(self) -> None:
        """
        Refuse values that nobody took.
        """
        for key in self._left:
            raise DecodeError(f"the join code holds an unknown {escape_peer_text(key)!r}")
