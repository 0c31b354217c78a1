# -*- test-case-name: tests.network.relay.test_reader -*-
"""
Reading relay frames: any bytes become one of
L{frames<atmosphere.network.relay.frames>}, or L{DecodeError}.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

from atmosphere import wire
from atmosphere.addresses import TransportAddress
from atmosphere.errors import DecodeError, IdentityError
from atmosphere.identity import NodeID

from .batches import BATCH_HEADER, check_batch
from .frames import (
    MAX_HELLO,
    MAX_MESSAGE,
    MAX_TEXT,
    Absent,
    Challenge,
    Deliver,
    Drain,
    Frame,
    FrameType,
    Hello,
    HelloCredentials,
    Notice,
    Ping,
    Pong,
    Refused,
    Send,
    Unknown,
    Welcome,
)

__all__ = ["decode"]

Fields: TypeAlias = dict[object, object]

MAX_FIELDS = 16


def _decode_text(body: bytes) -> tuple[int, str]:
    """
    Read a code and a text.

    @raise DecodeError: too short, too long, or not UTF-8.
    """
    if not 2 <= len(body) <= 2 + MAX_TEXT:
        raise DecodeError("a code and a text have 2 to 514 bytes")
    try:
        return int.from_bytes(body[:2], "big"), body[2:].decode("utf-8")
    except UnicodeDecodeError:
        raise DecodeError("text that is not UTF-8") from None


def _node(raw: bytes) -> NodeID:
    """
    Read a node ID.

    @raise DecodeError: not a key that may name a node.
    """
    try:
        return NodeID(raw)
    except IdentityError as error:
        raise DecodeError(str(error)) from None


def _decode_fields(body: bytes) -> Fields:
    """
    Read a map of fields; unknown keys are left alone.

    @raise DecodeError: not one map in the one right spelling, or too many fields.
    """
    fields = wire.decode(body, max_length=MAX_HELLO)
    if not isinstance(fields, dict) or len(fields) > MAX_FIELDS:
        raise DecodeError(f"not a map of up to {MAX_FIELDS} fields")
    return fields


def _number(fields: Fields, name: str, most: int) -> int:
    """
    Look up an integer.

    @raise DecodeError: missing, of another type, or out of range.
    """
    value = fields.get(name)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= most:
        raise DecodeError(f"the field {name} is missing, of another type, or out of range")
    return value


def _text(fields: Fields, name: str, most: int) -> str:
    """
    Look up a text.

    @param most: how many bytes it may have in UTF-8.
    @raise DecodeError: missing, of another type, or longer.
    """
    value = fields.get(name)
    if not isinstance(value, str) or len(value.encode("utf-8")) > most:
        raise DecodeError(f"the field {name} is missing, of another type, or too long")
    return value


def _bytes(fields: Fields, name: str, most: int) -> bytes:
    """
    Look up bytes.

    @raise DecodeError: missing, of another type, or out of range.
    """
    value = fields.get(name)
    if not isinstance(value, bytes) or len(value) > most:
        raise DecodeError(f"the field {name} is missing, of another type, or too long")
    return value


def _items(fields: Fields, name: str, most: int) -> Sequence[object]:
    """
    Look up an array.

    @raise DecodeError: missing, of another type, or with more items.
    """
    value = fields.get(name)
    if not isinstance(value, list) or len(value) > most:
        raise DecodeError(f"the field {name} is missing, of another type, or too long")
    return value


def _exactly(fields: Fields, name: str, length: int) -> bytes:
    """
    Look up bytes of a fixed length.

    @raise DecodeError: missing or of another length.
    """
    value = _bytes(fields, name, length)
    if len(value) != length:
        raise DecodeError(f"the field {name} has not {length} bytes")
    return value


def _decode_challenge(body: bytes) -> Challenge:
    """
    Read a challenge's 40 bytes.
    """
    if len(body) != 40:
        raise DecodeError("a challenge has 40 bytes")
    return Challenge(body[:32], int.from_bytes(body[32:], "big") / 1000)


def _decode_hello(body: bytes) -> Hello:
    """
    Read a hello's fields.
    """
    if len(body) >= MAX_HELLO:
        raise DecodeError(f"a hello has at most {MAX_HELLO} bytes")
    fields = _decode_fields(body)
    authority = _text(fields, "authority", 255)
    mesh_id = _text(fields, "mesh", 64)
    if not authority:
        raise DecodeError("a hello without an authority")
    return Hello(
        node=_node(_bytes(fields, "node", 32)),
        authority=authority,
        instance=_exactly(fields, "instance", 16),
        credentials=HelloCredentials(
            mesh_id, _bytes(fields, "chain", 4096), _bytes(fields, "ticket", 2048)
        ),
        signature=_exactly(fields, "signature", 64),
    )


def _decode_welcome(body: bytes) -> Welcome:
    """
    Read a welcome's fields.
    """
    fields = _decode_fields(body)
    ports = tuple(
        port for port in _items(fields, "stun", 16) if isinstance(port, int) and 0 < port < 65536
    )
    return Welcome(
        observed=TransportAddress.from_text(_text(fields, "observed", 64)),
        stun_ports=ports,
        relay_time=_number(fields, "time", 1 << 53) / 1000,
        rate=_number(fields, "rate", 1 << 53),
        burst=_number(fields, "burst", 1 << 53),
        is_open=fields.get("open") is True,
        mesh_id=_text(fields, "mesh", 64),
    )


def _decode_drain(body: bytes) -> Drain:
    """
    Read a drain's fields.
    """
    fields = _decode_fields(body)
    urls = tuple(
        url for url in _items(fields, "alternatives", 8) if isinstance(url, str) and len(url) <= 256
    )
    return Drain(_number(fields, "seconds", 86_400), urls)


def _decode_token(body: bytes) -> bytes:
    """
    Read the 8 bytes of a ping or pong.
    """
    if len(body) != 8:
        raise DecodeError("a ping has 8 bytes")
    return body


_DECODERS: dict[int, Callable[[bytes], Frame]] = {
    FrameType.CHALLENGE: _decode_challenge,
    FrameType.HELLO: _decode_hello,
    FrameType.WELCOME: _decode_welcome,
    FrameType.ABSENT: lambda body: Absent(_node(body)),
    FrameType.DRAIN: _decode_drain,
    FrameType.NOTICE: lambda body: Notice(*_decode_text(body)),
    FrameType.REFUSED: lambda body: Refused(*_decode_text(body)),
    FrameType.PING: lambda body: Ping(_decode_token(body)),
    FrameType.PONG: lambda body: Pong(_decode_token(body)),
}


def decode(message: bytes) -> Frame:
    """
    Read one frame.

    @param message: one binary WebSocket message.
    @raise DecodeError: empty, too long, or not what its type says.
    """
    if not message or len(message) > MAX_MESSAGE:
        raise DecodeError(f"a frame has 1 to {MAX_MESSAGE} bytes")
    kind = message[0]
    if kind in (FrameType.SEND, FrameType.DELIVER):
        segment_size = check_batch(message)
        batch = (_node(message[1:33]), segment_size, message[BATCH_HEADER:])
        return Send(*batch) if kind == FrameType.SEND else Deliver(*batch)
    decoder = _DECODERS.get(kind)
    return Unknown(kind) if decoder is None else decoder(message[1:])
