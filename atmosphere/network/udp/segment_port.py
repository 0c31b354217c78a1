# -*- test-case-name: tests.network.udp.test_segment_port -*-
"""
A UDP port that sends and receives many datagrams with one call of the system.

Linux cuts a large write into datagrams of one size (C{UDP_SEGMENT}, «GSO») and
merges those of one flow that came together (C{UDP_GRO}); what is on the wire is
the same. Where the system or an interface cannot, it is an ordinary port.
"""

from __future__ import annotations

import contextlib
import errno
import socket
import struct
import sys
from collections.abc import Iterator, Sequence
from typing import Any

from twisted.internet.udp import Port
from twisted.logger import Logger
from typing_extensions import override

__all__ = ["SegmentPort", "runs_of"]

#: C{linux/udp.h}; Python has no names for them before 3.14.
_UDP_SEGMENT = 103
_UDP_GRO = 104

#: C{IP_PMTUDISC_PROBE} of C{linux/in.h}: never in fragments, whatever routers said.
_PROBE = 3

#: What the oldest kernel that has C{UDP_SEGMENT} takes in one write.
_MAX_SEGMENTS = 64
_MAX_LENGTH = 65_000

_BUFFER_LENGTH = 65_536
_ANCILLARY_LENGTH = socket.CMSG_SPACE(4)

_NOTHING_MORE = {errno.EAGAIN, errno.EWOULDBLOCK, errno.EINTR, errno.ECONNREFUSED}
_CANNOT_NOW = {errno.EINVAL, errno.EMSGSIZE}
_CANNOT_EVER = {errno.EIO, errno.ENOPROTOOPT, errno.EOPNOTSUPP}


def runs_of(datagrams: Sequence[bytes]) -> Iterator[list[bytes]]:
    """
    Divide datagrams into runs that can be sent with one write each: of one
    size, but for the last, which may be shorter.
    """
    run: list[bytes] = []
    size = room = 0
    for data in datagrams:
        length = len(data)
        if run and (length > size or not room or not length):
            yield run
            run = []
        if not run:
            size = length
            room = min(_MAX_SEGMENTS, _MAX_LENGTH // max(size, 1))
        run.append(data)
        room = room - 1 if length == size else 0
    if run:
        yield run


def _forbid_fragments(made: socket.socket) -> None:
    """
    Have no datagram cut into fragments, by this machine or on its way (RFC 9000 §14):
    so a check of some size says what the path carries. Where the system does not know
    how, fragments may pass for more.
    """
    is_ipv6 = made.family == socket.AF_INET6
    level, option = (socket.IPPROTO_IPV6, 23) if is_ipv6 else (socket.IPPROTO_IP, 10)
    if sys.platform.startswith("linux"):  # IPV6_MTU_DISCOVER, IP_MTU_DISCOVER
        with contextlib.suppress(OSError):
            made.setsockopt(level, option, _PROBE)


class SegmentPort(Port):
    """
    A UDP port; its protocol is handed what came together at once, if it has
    C{datagrams_received(datagrams, addr)}.
    """

    _log = Logger()
    _merges = False
    _splits = True

    @override
    def createInternetSocket(self) -> socket.socket:
        """
        Make the socket; one for IPv6 leaves IPv4 to its sister.
        """
        made: socket.socket = super().createInternetSocket()
        if self.addressFamily == socket.AF_INET6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        _forbid_fragments(made)
        try:
            made.setsockopt(socket.IPPROTO_UDP, _UDP_GRO, 1)
        except OSError:
            return made
        self._merges = True
        self._view = memoryview(bytearray(_BUFFER_LENGTH))
        return made

    # Receiving.

    @override
    def doRead(self) -> None:
        """
        Read what is there.
        """
        if not self._merges:
            super().doRead()
            return
        view, read = self._view, 0
        while read < self.maxThroughput:
            try:
                length, ancillary, _, addr = self.socket.recvmsg_into([view], _ANCILLARY_LENGTH)
            except OSError as error:
                if error.errno in _NOTHING_MORE:
                    return
                raise
            size = length
            for level, kind, value in ancillary:
                if (level, kind) == (socket.IPPROTO_UDP, _UDP_GRO):
                    (size,) = struct.unpack_from("=i", value)
            read += max(length, 1)
            if 0 < size <= self.maxPacketSize:
                whole = view[:length]
                datagrams = (
                    [whole.tobytes()]
                    if size >= length
                    else [whole[at : at + size].tobytes() for at in range(0, length, size)]
                )
                self._hand_on(datagrams, addr[:2])

    def _hand_on(self, datagrams: list[bytes], addr: tuple[str, int]) -> None:
        """
        Give the protocol what came together.
        """
        together = getattr(self.protocol, "datagrams_received", None)
        try:
            if together is not None:
                together(datagrams, addr)
                return
            for data in datagrams:
                self.protocol.datagramReceived(data, addr)
        except Exception:
            self._log.failure("{protocol!r} failed on a datagram", protocol=self.protocol)

    # Sending.

    def write_together(self, datagrams: Sequence[bytes], addr: tuple[str, int]) -> None:
        """
        Send datagrams to one address.

        @raise OSError: the system did not take one of them; those behind it
            are lost, as datagrams may be.
        """
        if len(datagrams) == 1:
            self.socket.sendto(datagrams[0], addr)
            return
        for run in runs_of(datagrams):
            if len(run) == 1 or not self._splits or not self._write_run(run, addr):
                for data in run:
                    self.socket.sendto(data, addr)

    def _write_run(self, run: list[bytes], addr: tuple[str, int]) -> bool:
        """
        Send datagrams of one size with one write.

        @return: whether that can be done here.
        @raise OSError: the system did not take them.
        """
        size: Any = struct.pack("=H", len(run[0]))
        try:
            self.socket.sendmsg(run, [(socket.IPPROTO_UDP, _UDP_SEGMENT, size)], 0, addr)
        except OSError as error:
            if error.errno not in _CANNOT_NOW | _CANNOT_EVER:
                raise
            self._splits = error.errno in _CANNOT_NOW
            return False
        return True
