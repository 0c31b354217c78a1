# -*- test-case-name: tests.node.test_interface_watch -*-
"""
What the kernel says when network interfaces, addresses or routes change.

On Linux by a netlink socket (rtnetlink(7)). It is told at once what is otherwise seen
at the next look, seconds later: a cable that was plugged in, another wireless network.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
import sys
from collections.abc import Callable
from typing import Any, Protocol

from twisted.internet.abstract import FileDescriptor
from twisted.internet.interfaces import IDelayedCall, IReactorFDSet, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure
from typing_extensions import override

__all__ = ["Heard", "InterfaceWatch", "RouteSocket", "Watch", "meaning", "watch_interfaces"]

#: Seconds from the first news to a look: what happens to a network comes in many pieces.
SETTLE = 0.1

#: Seconds between two looks, however much happens.
APART = 0.5

#: The most that is read in one turn of the reactor, and from one message.
MAX_READS = 16
MAX_LENGTH = 65_536

#: Called with whether a default route changed; otherwise it was something else.
Heard = Callable[[bool], None]

#: Has the reactor call back at each change; returns what ends that. Raises C{OSError}
#: where the system does not tell, or may not tell us.
Watch = Callable[[Any, Heard], Callable[[], object]]

#: RTMGRP_LINK, RTMGRP_IPV4_IFADDR, RTMGRP_IPV4_ROUTE, RTMGRP_IPV6_IFADDR, RTMGRP_IPV6_ROUTE.
_GROUPS = 0x1 | 0x10 | 0x40 | 0x100 | 0x400

#: struct nlmsghdr: length, type, flags, sequence, sender. struct rtmsg: of eight bytes the
#: second is the length of the destination; then flags.
_HEAD = struct.Struct("=IHHII")
_ROUTE = struct.Struct("=xB6xI")

#: RTM_NEWLINK, RTM_DELLINK, RTM_NEWADDR, RTM_DELADDR; RTM_NEWROUTE, RTM_DELROUTE.
_INTERFACES = frozenset((16, 17, 20, 21))
_ROUTES = frozenset((24, 25))

_RTM_F_CLONED = 0x200


def meaning(messages: bytes) -> bool | None:
    """
    Say what a datagram of the kernel's means for us.

    Of routes those alone count that lead to half of all addresses or more: a VPN may
    put two halves in place of a default route.

    @return: whether a default route changed; C{None} if there is nothing for us in it.
    """
    found: bool | None = None
    while len(messages) >= _HEAD.size:
        length, kind, *_ = _HEAD.unpack_from(messages)
        if length < _HEAD.size:
            break
        body, messages = messages[_HEAD.size : length], messages[(length + 3) & ~3 :]
        if kind in _INTERFACES:
            found = found or False
        elif kind in _ROUTES and len(body) >= _ROUTE.size:
            prefix, flags = _ROUTE.unpack_from(body)
            if prefix <= 1 and not flags & _RTM_F_CLONED:
                found = True
    return found


class Messages(Protocol):
    """
    A socket, as far as it is needed.
    """

    def fileno(self) -> int:
        """
        Say its number.
        """

    def recvfrom(self, length: int, /) -> tuple[bytes, Any]:
        """
        Take one datagram, and who sent it.
        """

    def close(self) -> None:
        """
        Close it.
        """


class RouteSocket(FileDescriptor):
    """
    Hears the kernel's messages.
    """

    _log = Logger()

    def __init__(self, reactor: Any, messages: Messages, heard: Heard) -> None:
        """
        @param messages: does not block.
        """
        super().__init__(reactor)
        self._messages = messages
        self._heard = heard

    @override
    def fileno(self) -> int:
        """
        Say the socket's number.
        """
        return self._messages.fileno()

    @override
    def doRead(self) -> Exception | None:
        """
        Take what is there.

        @return: why nothing can be heard any more.
        """
        found: bool | None = None
        problem: Exception | None = None
        for _ in range(MAX_READS):
            try:
                data, (sender, _) = self._messages.recvfrom(MAX_LENGTH)
            except BlockingIOError:
                break
            except InterruptedError:
                continue
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    problem = error
                    break
                found = True  # so much happened that some of it was lost
                continue
            said = meaning(data) if sender == 0 else None
            if said is not None:
                found = found or said
        if found is not None:
            self._heard(found)
        return problem

    @override
    def connectionLost(self, reason: Failure) -> None:
        """
        Close the socket, for the reactor or for us.
        """
        if not self.disconnected:
            super().connectionLost(reason)
            self._messages.close()
            self._log.info(
                "the system does not tell any more that the network changed: {reason}",
                reason=reason.getErrorMessage(),
            )

    def stop(self) -> None:
        """
        Hear no more.
        """
        if not self.disconnected:
            self.stopReading()
            self.disconnected = True
            self._messages.close()


def watch_interfaces(reactor: Any, heard: Heard) -> Callable[[], object]:
    """
    Have the reactor call back when this machine's interfaces, addresses or default
    routes change.

    @param heard: may be called often.
    @return: what ends it.
    @raise OSError: this system does not tell, or may not tell us.
    """
    if not sys.platform.startswith("linux") or not IReactorFDSet.providedBy(reactor):
        raise OSError(errno.EAFNOSUPPORT, os.strerror(errno.EAFNOSUPPORT))
    kind = socket.SOCK_RAW | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC
    messages = socket.socket(socket.AF_NETLINK, kind, socket.NETLINK_ROUTE)
    try:
        messages.bind((0, _GROUPS))
    except OSError:
        messages.close()
        raise
    hearing = RouteSocket(reactor, messages, heard)
    hearing.startReading()
    return hearing.stop


class InterfaceWatch:
    """
    Has somebody look soon when the network has changed, and not more than twice a second.
    """

    _log = Logger()

    def __init__(self, reactor: IReactorTime, watch: Watch | None, look: Heard) -> None:
        """
        @param watch: C{None} where nobody tells.
        @param look: called with whether a default route changed.
        """
        self._reactor = reactor
        self._watch = watch
        self._look = look
        self._end: Callable[[], object] | None = None
        self._call: IDelayedCall | None = None
        self._is_rerouted = False
        self._looked = float("-inf")

    def start(self) -> None:
        """
        Begin to listen, if anybody tells.
        """
        if self._watch is None:
            return
        try:
            self._end = self._watch(self._reactor, self._heard)
        except OSError as error:
            self._log.info(
                "the system does not tell when the network changes, so it is looked at"
                " every few seconds: {error}",
                error=error,
            )

    def stop(self) -> None:
        """
        Listen no more.
        """
        if self._end is not None:
            self._end()
            self._end = None
        if self._call is not None:
            self._call.cancel()
            self._call = None

    def _heard(self, is_rerouted: bool) -> None:
        """
        Look soon: once for all that comes until then.
        """
        self._is_rerouted = self._is_rerouted or is_rerouted
        if self._call is None:
            due = max(SETTLE, self._looked + APART - self._reactor.seconds())
            # A clock that was set back must not put the look off until it has caught up.
            self._call = self._reactor.callLater(min(due, APART), self._now)

    def _now(self) -> None:
        """
        Look.
        """
        self._call = None
        self._looked = self._reactor.seconds()
        is_rerouted, self._is_rerouted = self._is_rerouted, False
        self._look(is_rerouted)
