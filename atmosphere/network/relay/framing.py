# -*- test-case-name: tests.network.relay.test_framing -*-
"""
WebSocket's framing (RFC 6455 §5.2), for the bulk of what a relay carries.

Autobahn takes a message apart at leisure, which costs a relay most of its
time. L{FrameCutter} cuts whole messages out of the stream instead, and leaves
the control frames to Autobahn.
"""

from __future__ import annotations

from enum import IntEnum
from importlib import import_module
from typing import Any, TypeAlias

__all__ = ["FrameCutter", "Item", "Opcode", "Violation", "mask_in_place", "message_header"]

try:
    _native: Any = import_module("_nvx_xormasker")  # Autobahn's own, from its wheel
except ImportError:  # pragma: no cover  # a platform without that wheel
    _native = None

_WIDE = 2


class Opcode(IntEnum):
    """
    What a frame carries (RFC 6455 §11.8).
    """

    CONTINUATION = 0
    TEXT = 1
    BINARY = 2
    CLOSE = 8
    PING = 9
    PONG = 10


class Violation(Exception):  # noqa: N818  # never leaves the cutter's caller
    """
    The stream is not WebSocket, or more than we take.

    @ivar code: WebSocket's close code.
    """

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code


Item: TypeAlias = tuple[int, bytes | bytearray]
"""A message (text or binary) with its payload, or a whole control frame as it came."""


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


def mask_in_place(payload: bytearray, key: bytes) -> None:
    """
    Mask a payload, or take its mask off (RFC 6455 §5.3).

    @param key: 4 bytes.
    """
    length = len(payload)
    if _native is None:
        wide = int.from_bytes((key * (length // 4 + 1))[:length], "little")
        payload[:] = (int.from_bytes(payload, "little") ^ wide).to_bytes(length, "little")
        return
    library = _native.lib
    masker = library.nvx_xormask_new(key)
    try:
        library.nvx_xormask_set_impl(masker, _WIDE)
        library.nvx_xormask_process(masker, _native.ffi.from_buffer(payload), length)
    finally:
        library.nvx_xormask_free(masker)


class FrameCutter:
    """
    Cuts messages out of a stream.

    @ivar limit: the longest message that is taken, in bytes; may be changed.
    """

    __slots__ = ("_buffer", "_is_masked", "_opcode", "_parts", "limit")

    def __init__(self, limit: int, *, is_masked: bool) -> None:
        """
        @param is_masked: whether frames come from a client.
        """
        self.limit = limit
        self._is_masked = is_masked
        self._buffer: bytes | bytearray = b""
        self._opcode = 0
        self._parts: bytearray | None = None

    def cut(self, data: bytes, items: list[Item]) -> None:
        """
        Take bytes of the stream.

        @param items: where whole messages and control frames are put, in
            order; what came before a violation is there too.
        @raise Violation: the stream is broken; give it nothing more.
        """
        buffer = self._buffer
        if buffer:
            if not isinstance(buffer, bytearray):
                buffer = bytearray(buffer)
            buffer += data
        else:
            buffer = data
        view = memoryview(buffer)
        try:
            used = self._cut(view, len(buffer), items)
        finally:
            view.release()
        if used == len(buffer):
            self._buffer = b""
        elif isinstance(buffer, bytearray):
            del buffer[:used]
            self._buffer = buffer
        else:
            self._buffer = buffer[used:]

    def _cut(self, view: memoryview, end: int, items: list[Item]) -> int:
        """
        Cut as many frames as there are.

        @return: how many bytes they took.
        """
        at = 0
        is_masked = self._is_masked
        while end - at >= 2:
            first = view[at]
            start, length = self._header(view, at, end)
            stop = start + length
            if stop > end:
                break
            if first & 0x08:
                self._check_control(first)
                items.append((first & 0x0F, bytes(view[at:stop])))
            else:
                payload = bytearray(view[start:stop])
                if is_masked and length:
                    mask_in_place(payload, bytes(view[start - 4 : start]))
                if first == 0x82 and self._parts is None:
                    items.append((2, payload))
                else:
                    self._assemble(first, payload, items)
            at = stop
        return at

    def _header(self, view: memoryview, at: int, end: int) -> tuple[int, int]:
        """
        Read a frame's header.

        @return: where its payload begins, which is after C{end} if the header
            is not there yet, and its length.
        @raise Violation: it cannot be meant, or the frame is too long.
        """
        second = view[at + 1]
        length = second & 0x7F
        start = at + 2
        if length >= 126:
            start += 2 if length == 126 else 8
            if start > end:
                return start, 0
            length = int.from_bytes(view[at + 2 : start], "big")
            if length < (126 if start == at + 4 else 65536):
                raise Violation(1002, "a length not in its shortest form")
        if (second >= 0x80) != self._is_masked:
            raise Violation(1002, "a frame with the wrong masking")
        if length > 125 and view[at] & 0x08:
            raise Violation(1002, "a control frame of more than 125 bytes")
        if length > self.limit:
            raise Violation(1009, f"a message has at most {self.limit} bytes")
        return start + 4 if self._is_masked else start, length

    def _check_control(self, first: int) -> None:
        """
        Check the first byte of a control frame.

        @raise Violation: a fragment, or a type that is not defined.
        """
        if first not in (0x88, 0x89, 0x8A):
            raise Violation(1002, "a control frame of no known kind")

    def _assemble(self, first: int, payload: bytearray, items: list[Item]) -> None:
        """
        Take a data frame that is not a whole binary message.

        @raise Violation: out of order, too long, of no known kind, or text that is no UTF-8.
        """
        opcode = first & 0x0F
        if first & 0x70 or opcode > Opcode.BINARY:
            raise Violation(1002, "a frame of no known kind")
        if (opcode == Opcode.CONTINUATION) != (self._parts is not None):
            raise Violation(1002, "a fragment out of order")
        if self._parts is None:
            self._opcode, self._parts = opcode, payload
        else:
            if len(self._parts) + len(payload) > self.limit:
                raise Violation(1009, f"a message has at most {self.limit} bytes")
            self._parts += payload
        if first & 0x80:
            whole, self._parts = self._parts, None
            if self._opcode == Opcode.TEXT:
                try:
                    whole.decode("utf-8")
                except UnicodeDecodeError:
                    raise Violation(1007, "text that is not UTF-8") from None
            items.append((self._opcode, whole))
