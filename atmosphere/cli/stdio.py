# -*- test-case-name: tests.cli.test_stdio -*-
"""
A peer's service on standard input and output, for C{ssh -o ProxyCommand}.

Two threads and a UNIX socket: one direction each, both block, so that neither
is read faster than the other side takes it. C{docs/local_streams.md} has the
frames. No reactor: ssh waits for us.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import struct
import threading
from pathlib import Path
from typing import Any

from atmosphere.errors import DecodeError, LinkError, NotRunningError, StateError
from atmosphere.node.program import program_for
from atmosphere.node.strict_json import decode_json
from atmosphere.services.local_socket import STREAMS_SOCKET_NAME, SocketAddress
from atmosphere.text import escape_peer_text

__all__ = ["connect_stdio"]

MAXIMUM_ANSWER = 65_536
PIECE = 65_536
_HEADER = struct.Struct("!I")
_END = _HEADER.pack(0)
_LAST = 0x80000000


class _Source:
    """
    What the node sends, in pieces of any size.
    """

    def __init__(self, wire: socket.socket, state: Path) -> None:
        """
        @param state: the node's directory.
        """
        self._wire = wire
        self._state = state
        self._buffer = b""

    def some(self, most: int) -> bytes:
        """
        Read what is there, at least a byte.

        @raise NotRunningError: there will be none.
        """
        data = self._buffer or self._receive()
        self._buffer = data[most:]
        return data[:most]

    def exactly(self, size: int) -> bytes:
        """
        Read so many bytes.
        """
        data = b""
        while len(data) < size:
            data += self.some(size - len(data))
        return data

    def line(self) -> bytes:
        """
        Read up to a line feed.
        """
        while b"\n" not in self._buffer:
            if len(self._buffer) > MAXIMUM_ANSWER:
                raise NotRunningError("the node gave no proper answer")
            self._buffer += self._receive()
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line

    def _receive(self) -> bytes:
        """
        Wait for the node.
        """
        try:
            data = self._wire.recv(PIECE)
        except TimeoutError:
            raise NotRunningError("the node did not answer: its log may say why") from None
        except OSError:
            data = b""
        if not data:
            raise NotRunningError(
                f"the node is gone: start it again with `{program_for(self._state)} serve`,"
                " then repeat this command"
            )
        return data


def _connect(state: Path) -> socket.socket:
    """
    Connect to the node.

    @raise NotRunningError: there is none.
    """
    wire = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        address = SocketAddress(state / STREAMS_SOCKET_NAME)
        try:
            wire.connect(address.text)
        finally:
            address.close()
    except (OSError, StateError) as error:
        wire.close()
        if isinstance(error, PermissionError):
            text = f"the node in {state} belongs to another user: run this command as that one"
        else:
            text = f"no running node: start one with `{program_for(state)} serve`"
        raise NotRunningError(text) from None
    return wire


def _ask(wire: socket.socket, source: _Source, request: dict[str, Any], timeout: float) -> None:
    """
    Ask for the stream.

    @raise NodeError: there is none.
    """
    from .client import NodeError

    wire.settimeout(timeout + 10)
    with contextlib.suppress(OSError):  # the answer says why
        wire.sendall(json.dumps(request).encode("ascii") + b"\n")
    try:
        answer = decode_json(source.line(), maximum_length=MAXIMUM_ANSWER)
    except DecodeError as error:
        raise NotRunningError(f"the node gave no proper answer: {error}") from None
    if not isinstance(answer, dict) or answer.get("ok") is not True:
        given = answer if isinstance(answer, dict) else {}
        code = given.get("exit_code")
        text = escape_peer_text(str(given.get("error")), 400)
        raise NodeError(text, code if isinstance(code, int) else 1)
    wire.settimeout(None)


def _read() -> bytes:
    """
    Read from standard input; one that is closed has ended.
    """
    try:
        return os.read(0, PIECE)
    except OSError:
        return b""


def _send(wire: socket.socket, said: threading.Event) -> None:
    """
    Send what comes on standard input, and its end. When nobody takes it any
    more, whoever reads from the node learns why.

    @param said: set before the end goes out.
    """
    with contextlib.suppress(OSError):
        while data := _read():
            wire.sendall(_HEADER.pack(len(data)) + data)
        said.set()
        wire.sendall(_END)


def _write(data: bytes) -> None:
    """
    Write all of it to standard output.
    """
    view = memoryview(data)
    while view:
        view = view[os.write(1, view) :]


def _receive(source: _Source, ended: threading.Event) -> None:
    """
    Write what the service sends to standard output, until its end; then wait
    until all is over.

    @param ended: set when the service has said all.
    @raise LinkError: the stream broke.
    @raise NotRunningError: the node closed the connection.
    """
    while True:
        (word,) = _HEADER.unpack(source.exactly(_HEADER.size))
        if word & _LAST:
            reason = source.exactly(word & ~_LAST).decode("utf-8", "replace")
            raise LinkError(f"the stream broke: {escape_peer_text(reason, 300)}")
        if not word:
            ended.set()
            # Whoever reads from us learns of the end; Python may still flush.
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        while word:
            data = source.some(min(word, PIECE))
            word -= len(data)
            _write(data)


def connect_stdio(state: Path, peer: str, service: str, timeout: float, path: str = "auto") -> int:
    """
    Join standard input and output with a peer's service until both directions
    have ended.

    @param path: C{auto}, C{relayed} or C{direct}.
    @return: 0.
    @raise AtmosphereError: there is no stream, or it broke; its C{exit_code} says which.
    """
    wire = _connect(state)
    source = _Source(wire, state)
    request = {
        "connect": peer,
        "service": service,
        "path": path,
        "timeout": timeout,
        "framed": True,
    }
    _ask(wire, source, request, timeout)
    said = threading.Event()
    threading.Thread(target=_send, args=(wire, said), daemon=True).start()
    ended = threading.Event()
    try:
        _receive(source, ended)
    except NotRunningError:
        if not (said.is_set() and ended.is_set()):
            raise
    return 0
