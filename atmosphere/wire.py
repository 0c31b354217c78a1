# -*- test-case-name: tests.test_wire -*-
"""
The encoding of our messages: deterministic CBOR (RFC 8949 §4.2.1), read strictly.

One value has one encoding, and any other is refused: indefinite lengths, long
forms of numbers, unsorted or duplicate keys, tags, floats and trailing bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NoReturn, TypeAlias

import cbor2

from .errors import DecodeError

__all__ = ["MAX_DEPTH", "MAX_VALUES", "MessageCutter", "Value", "decode", "encode"]

Value: TypeAlias = Any
"""C{None}, C{bool}, C{int}, C{bytes}, C{str}, or a C{list} or C{dict} of such."""

MAX_DEPTH = 8

#: Nearly twice of what the longest digest of gossip has.
MAX_VALUES = 8_192

#: More than any message has, on each of its levels; they cost the most.
MAX_MAPS = 256

_CONTAINERS = frozenset({list, dict})
_KEY_KINDS = frozenset({bool, int, bytes, str})
_KINDS = _CONTAINERS | _KEY_KINDS | {type(None)}


def encode(value: Value) -> bytes:
    """
    Write a value in its one encoding.
    """
    return cbor2.dumps(value, canonical=True)


def _refuse_tag(*_: object) -> NoReturn:
    """
    Refuse a tag whatever it holds.
    """
    raise ValueError("a tag")


class _NoTags(dict[int, Callable[..., NoReturn]]):
    """
    A decoder for every tag there is, which refuses it.

    Else the library would compile regular expressions and work out fractions
    for whoever sends them, before our own check comes.
    """

    def __missing__(self, tag: int) -> Callable[..., NoReturn]:
        return _refuse_tag


def _inner_values(layer: list[Value]) -> list[Value]:
    """
    Give what stands directly within lists and maps, and check the maps' keys.
    """
    inner: list[Value] = []
    maps = 0
    for item in layer:
        if type(item) is list:
            inner += item
        elif type(item) is dict:
            maps += 1
            if maps > MAX_MAPS:
                raise DecodeError(f"more than {MAX_MAPS} CBOR maps in a message")
            if not set(map(type, item)) <= _KEY_KINDS:
                raise DecodeError("a CBOR key of a kind that is not used here")
            inner += item.values()
    return inner


def _check(value: Value) -> None:
    """
    Refuse types that we do not use, values that are nested too deeply, and
    more of them than any message of ours has: a map of one byte costs us a
    thousand times as much as its sender.
    """
    layer = [value]
    count = 0
    for _ in range(MAX_DEPTH):
        count += len(layer)
        if count > MAX_VALUES:
            raise DecodeError(f"more than {MAX_VALUES} CBOR values in a message")
        kinds = set(map(type, layer))
        if not kinds <= _KINDS:
            raise DecodeError("a CBOR value of a kind that is not used here")
        layer = _inner_values(layer) if kinds & _CONTAINERS else []
    if layer:
        raise DecodeError("CBOR nested too deeply")


def decode(data: bytes, *, max_length: int) -> Value:
    """
    Read exactly one value.

    @param max_length: refuse more bytes than this before looking at them.
    @raise DecodeError: anything but the one encoding of one value.
    """
    if len(data) > max_length:
        raise DecodeError(f"{len(data)} bytes of CBOR where {max_length} are the most")
    try:
        value = cbor2.loads(data, semantic_decoders=_NoTags(), max_depth=2 * MAX_DEPTH)
    except (
        cbor2.CBORDecodeError,
        ValueError,
        TypeError,
        OverflowError,
        RecursionError,
        MemoryError,
    ) as error:
        raise DecodeError(f"not CBOR: {type(error).__name__}") from None
    _check(value)
    try:
        is_canonical = encode(value) == data
    except (cbor2.CBOREncodeError, ValueError) as error:
        raise DecodeError(f"not CBOR: {type(error).__name__}") from None
    if not is_canonical:
        raise DecodeError("not deterministic CBOR", section="RFC 8949 §4.2.1")
    return value


class MessageCutter:
    """
    Cuts a stream into messages that have their length before them, two bytes
    big-endian; holds no more than one that is not whole.
    """

    __slots__ = ("_buffer", "_limit", "_what")

    def __init__(self, what: str, limit: int) -> None:
        """
        @param what: a word for the errors.
        @param limit: the most bytes of a message.
        """
        self._what = what
        self._limit = limit
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[bytes]:
        """
        Take bytes of the stream and hand out the messages that are whole now.

        @raise DecodeError: a message is too long; the stream is of no use any more.
        """
        self._buffer += data
        while len(self._buffer) >= 2:
            length = int.from_bytes(self._buffer[:2], "big")
            if length > self._limit:
                raise DecodeError(f"{self._what}: a message of {length} bytes")
            if len(self._buffer) < 2 + length:
                return
            message = bytes(self._buffer[2 : 2 + length])
            del self._buffer[: 2 + length]
            yield message
