# -*- test-case-name: tests.testing.test_sockets -*-
"""
A TCP socket that is not one: what Twisted's own TCP transports ask of a socket.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections import deque
from typing import TYPE_CHECKING

from .stream import Stream
from .tcp_segment import State

if TYPE_CHECKING:
    from .kernel import Kernel

__all__ = ["StreamSocket"]

#: Linux's number where the platform has no such option.
_NOTSENT_LOWAT = getattr(socket, "TCP_NOTSENT_LOWAT", 25)


class StreamSocket:
    """
    One TCP socket of a simulated host: a connection, or a listening port.

    The methods are those of C{socket.socket} that C{twisted.internet.tcp}
    calls; they raise what a real socket raises.

    @ivar local: the C{(address, port)} that was bound.
    @ivar backlog: connections that wait to be accepted; C{None} on a socket
        that does not listen.
    @ivar half_open: connections that will wait once the other end has answered.
    """

    def __init__(self, kernel: Kernel, family: int) -> None:
        self._kernel = kernel
        self._family = family
        self._number = kernel.number(self)
        self._stream: Stream | None = None
        self._is_closed = False
        self._is_resetting = False
        self._options: dict[tuple[int, int], int] = {}
        self._limit = 0
        self.local: tuple[str, int] | None = None
        self.backlog: deque[Stream] | None = None
        self.half_open: set[Stream] = set()

    @property
    def is_readable(self) -> bool:
        """
        Whether a read or an accept would return or raise at once.
        """
        if self.backlog is not None:
            return bool(self.backlog)
        return self._stream is not None and self._stream.is_readable

    @property
    def is_writable(self) -> bool:
        """
        Whether a write would return or raise at once.
        """
        return self._stream is not None and self._stream.is_writable

    def fileno(self) -> int:
        """
        Return the number that stands for the socket.
        """
        return -1 if self._is_closed else self._number

    def setblocking(self, flag: bool) -> None:
        """
        Do nothing: a simulated socket never blocks.
        """

    def bind(self, address: tuple[str, int]) -> None:
        """
        Take a port.

        @raise OSError: it is taken, or the address is not of this host.
        """
        self.local = self._kernel.bind_stream(self, self._family, (address[0], address[1]))

    def listen(self, backlog: int) -> None:
        """
        Take connections.
        """
        if self.local is None:
            self.bind(("", 0))
        self.backlog = deque()
        self._limit = max(1, backlog)

    @property
    def has_room(self) -> bool:
        """
        Whether one more connection may wait to be accepted.
        """
        if self.backlog is None:
            return False
        return len(self.backlog) + len(self.half_open) < self._limit

    def accept(self) -> tuple[StreamSocket, tuple[str, int]]:
        """
        Return the oldest connection that waits.

        @raise BlockingIOError: there is none.
        """
        if not self.backlog:
            raise BlockingIOError(errno.EWOULDBLOCK, "no connection")
        stream = self.backlog.popleft()
        accepted = StreamSocket(self._kernel, self._family)
        accepted.local = stream.local
        accepted.adopt(stream)
        return accepted, stream.remote

    def adopt(self, stream: Stream) -> None:
        """
        Be the socket of a connection.
        """
        self._stream = stream
        self._kernel.hold(stream, self)

    def connect_ex(self, address: tuple[str, int]) -> int:
        """
        Begin to connect, or say how far that has come.

        @return: an error number: C{EINPROGRESS} at first, 0 when it is done.
        """
        if self._stream is None:
            if self.local is None:
                self.bind(("", 0))
            try:
                self._kernel.connect(self, (address[0], address[1]))
            except OSError as error:
                return error.errno or errno.EINVAL
            return errno.EINPROGRESS
        match self._stream.state:
            case State.SYN_SENT | State.SYN_RECEIVED:
                return errno.EALREADY
            case State.ESTABLISHED:
                return errno.EISCONN
            case State.CLOSED:
                return self._stream.error

    def getsockname(self) -> tuple[str, int]:
        """
        Return our address and port.
        """
        if self._stream is not None:
            return self._stream.local
        if self.local is not None:
            return self.local
        return ("::" if self._family == socket.AF_INET6 else "0.0.0.0", 0)

    def getpeername(self) -> tuple[str, int]:
        """
        Return the other end's address and port.
        """
        if self._stream is None:
            raise OSError(errno.ENOTCONN, os.strerror(errno.ENOTCONN))
        return self._stream.remote

    def setsockopt(self, level: int, option: int, value: int | bytes) -> None:
        """
        Keep an option. Two have an effect: C{SO_LINGER} of 0 seconds makes
        L{close} a reset, C{TCP_NOTSENT_LOWAT} makes the socket full sooner.
        """
        if isinstance(value, bytes):
            self._is_resetting = struct.unpack("ii", value) == (1, 0)
        else:
            self._options[level, option] = int(value)
            is_low_water = (level, option) == (socket.IPPROTO_TCP, _NOTSENT_LOWAT)
            if is_low_water and self._stream is not None:
                self._stream.low_water = int(value)

    def getsockopt(self, level: int, option: int, size: int = 0) -> int | bytes:
        """
        Return an option; C{SO_ERROR} is how a connection attempt ended.

        With a size it is C{SO_PEERCRED} that is asked for: the other end of a
        UNIX socket is always a program of the same user.
        """
        if size:
            return struct.pack("3i", os.getpid(), os.geteuid(), os.getegid())
        if (level, option) == (socket.SOL_SOCKET, socket.SO_ERROR):
            return 0 if self._stream is None else self._stream.error
        return self._options.get((level, option), 0)

    def send(self, data: bytes | memoryview) -> int:
        """
        Take as many bytes as there is room for.

        @raise BlockingIOError: for none.
        @raise OSError: the connection is over.
        """
        if self._is_closed:
            return len(data)
        if self._stream is None:
            raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))
        self._stream.raise_error()
        taken = self._stream.write(data)
        if taken < 0:
            raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))
        if not taken and data:
            raise BlockingIOError(errno.EWOULDBLOCK, "the send buffer is full")
        return taken

    def recv(self, size: int) -> bytes:
        """
        Return bytes that came, C{b""} at the end.

        @raise BlockingIOError: there are none yet.
        @raise OSError: the connection was reset or given up.
        """
        if self._stream is None:
            raise OSError(errno.ENOTCONN, os.strerror(errno.ENOTCONN))
        self._stream.raise_error()
        data = self._stream.read(size)
        if data is None:
            raise BlockingIOError(errno.EWOULDBLOCK, "no data")
        return data

    def shutdown(self, how: int) -> None:
        """
        End what we send; reading on or not makes no difference here.
        """
        if self._stream is None or self._stream.state is not State.ESTABLISHED:
            raise OSError(errno.ENOTCONN, os.strerror(errno.ENOTCONN))
        if how in (socket.SHUT_WR, socket.SHUT_RDWR):
            self._stream.end()

    def close(self) -> None:
        """
        Let go of the connection or the port; what was written still goes out.
        """
        if self._is_closed:
            return
        self._is_closed = True
        self._kernel.release(self)
        for stream in [*(self.backlog or ()), *self.half_open]:
            stream.reset()
        if self._stream is not None:
            if self._is_resetting:
                self._stream.reset()
            self._stream.let_go()

    def vanish(self, *, silently: bool) -> None:
        """
        Go with the process that held the socket, or with the whole host.
        """
        if silently:
            for stream in [*(self.backlog or ()), *([self._stream] if self._stream else [])]:
                stream.drop(errno.ECONNABORTED)
            self.backlog = None
        self.close()
