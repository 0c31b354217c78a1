# -*- test-case-name: tests.testing.test_sockets -*-
"""
A UDP socket that is not one: what Twisted's own UDP port asks of a socket.
"""

from __future__ import annotations

import errno
import os
import socket
from collections import deque
from typing import TYPE_CHECKING

from .link import Kind, Packet

if TYPE_CHECKING:
    from .kernel import Kernel

__all__ = ["DatagramSocket"]

#: Bytes that wait to be read; what comes beyond them is lost.
RECEIVE_BUFFER = 2 * 1024 * 1024

_LARGEST = 65507


class DatagramSocket:
    """
    One UDP socket of a simulated host.

    The methods are those of C{socket.socket} that C{twisted.internet.udp.Port}
    calls; they raise what a real socket raises.
    """

    def __init__(self, kernel: Kernel, family: int) -> None:
        self._kernel = kernel
        self._family = family
        self._number = kernel.number(self)
        self._queue: deque[tuple[bytes, tuple[str, int]]] = deque()
        self._queued = 0
        self._error: OSError | None = None
        self._peer: tuple[str, int] | None = None
        self._is_closed = False
        self._options: dict[tuple[int, int], int] = {}
        self.local: tuple[str, int] | None = None

    @property
    def is_readable(self) -> bool:
        """
        Whether a read would return or raise at once.
        """
        return bool(self._queue) or self._error is not None

    @property
    def is_writable(self) -> bool:
        """
        Whether a write would be taken at once: always.
        """
        return True

    def fileno(self) -> int:
        """
        Return the number that stands for the socket.
        """
        return -1 if self._is_closed else self._number

    def bind(self, address: tuple[str, int]) -> None:
        """
        Take a port.

        @raise OSError: it is taken, or the address is not of this host.
        """
        self.local = self._kernel.bind_datagram(self, self._family, address)

    def connect(self, address: tuple[str, int]) -> None:
        """
        Take datagrams from, and send them to, that address alone.
        """
        if self.local is None:
            self.bind(("", 0))
        self._peer = (address[0], address[1])

    def getsockname(self) -> tuple[str, int]:
        """
        Return the address and port that were bound.
        """
        if self.local is None:
            return ("::" if self._family == socket.AF_INET6 else "0.0.0.0", 0)
        if self._peer is not None:
            return self._kernel.source_for(self.local, self._peer[0])
        return self.local

    def setsockopt(self, level: int, option: int, value: int) -> None:
        """
        Keep an option; none has an effect.
        """
        self._options[level, option] = value

    def getsockopt(self, level: int, option: int) -> int:
        """
        Return an option as it was set.
        """
        return self._options.get((level, option), 0)

    def send(self, data: bytes) -> int:
        """
        Send a datagram to the address that was connected to.
        """
        if self._peer is None:
            raise OSError(errno.EDESTADDRREQ, os.strerror(errno.EDESTADDRREQ))
        if self._error is not None:
            error, self._error = self._error, None
            raise error
        return self.sendto(data, self._peer)

    def sendto(self, data: bytes, address: tuple[str, int]) -> int:
        """
        Send a datagram.

        @raise OSError: it is too long for any IP packet, or the port is 0.
        """
        if len(data) > _LARGEST:
            raise OSError(errno.EMSGSIZE, os.strerror(errno.EMSGSIZE))
        if self._is_closed:
            return len(data)
        if not address[1]:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        if self.local is None:
            self.bind(("", 0))
        assert self.local is not None
        host, port = address[0], address[1]
        source = self._kernel.source_for(self.local, host)
        self._kernel.send(
            Packet(Kind.UDP, self._kernel.host, source, (host, port), bytes(data), len(data))
        )
        return len(data)

    def recvfrom(self, size: int) -> tuple[bytes, tuple[str, int]]:
        """
        Return the oldest datagram, cut to a size.

        @raise BlockingIOError: there is none.
        @raise ConnectionRefusedError: the port that we connected to is closed.
        """
        if self._error is not None:
            error, self._error = self._error, None
            raise error
        if not self._queue:
            raise BlockingIOError(errno.EWOULDBLOCK, "no datagram")
        data, address = self._queue.popleft()
        self._queued -= len(data)
        return data[:size], address

    def receive(self, packet: Packet) -> bool:
        """
        Take what came over the network.

        @return: whether there was room for it.
        """
        if self._peer is not None and packet.source != self._peer:
            return True
        if packet.kind is Kind.UNREACHABLE:
            if self._peer is not None:
                self._error = ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused")
                self._kernel.wake(self)
            return True
        if self._queued + packet.size > RECEIVE_BUFFER:
            return False
        assert isinstance(packet.payload, bytes)
        self._queue.append((packet.payload, packet.source))
        self._queued += packet.size
        self._kernel.wake(self)
        return True

    def close(self) -> None:
        """
        Give the port back.
        """
        if not self._is_closed:
            self._is_closed = True
            self._queue.clear()
            self._queued = 0
            self._error = None
            self._kernel.release(self)

    def vanish(self, *, silently: bool) -> None:
        """
        Go with the process that held the socket.
        """
        self.close()
