# -*- test-case-name: tests.testing.test_contract -*-
"""
Twisted's own ports and connectors, with simulated sockets under them.
"""

from __future__ import annotations

import errno
import os
import socket
from typing import Any, cast

from twisted.internet import tcp, udp
from twisted.internet.address import UNIXAddress
from twisted.internet.error import CannotListenError
from typing_extensions import override

__all__ = [
    "SimulatedConnector",
    "SimulatedTCPPort",
    "SimulatedUDPPort",
    "SimulatedUNIXConnector",
    "SimulatedUNIXPort",
]


def _datagram_socket(reactor: Any, family: int) -> socket.socket:
    """
    Make a UDP socket of a host.
    """
    return cast(socket.socket, reactor.kernel.datagram_socket(family))


def _stream_socket(reactor: Any, family: int) -> socket.socket:
    """
    Make a TCP socket of a host.
    """
    return cast(socket.socket, reactor.kernel.stream_socket(family))


class SimulatedUDPPort(udp.Port):
    """
    A UDP port of a simulated host.
    """

    @override
    def createInternetSocket(self) -> socket.socket:
        """
        Make the socket to listen on.
        """
        return _datagram_socket(self.reactor, self.addressFamily)


class SimulatedTCPPort(tcp.Port):
    """
    A TCP port of a simulated host.
    """

    @override
    def createInternetSocket(self) -> socket.socket:
        """
        Make the socket to listen on.
        """
        return _stream_socket(self.reactor, self.addressFamily)


class SimulatedClient(tcp.Client):
    """
    The transport of a connection that a simulated host makes.
    """

    @override
    def createInternetSocket(self) -> socket.socket:
        """
        Make the socket to connect.
        """
        return _stream_socket(self.connector.reactor, self.addressFamily)


class SimulatedConnector(tcp.Connector):
    """
    Makes a connection from a simulated host.
    """

    @override
    def _makeTransport(self) -> tcp.Client:
        """
        Begin an attempt.
        """
        return SimulatedClient(self.host, self.port, self.bindAddress, self, self.reactor)


class SimulatedUNIXPort(SimulatedTCPPort):
    """
    A UNIX socket of a simulated host: a port on loopback that has a path.

    The path is the host's alone; no file is made.
    """

    def __init__(self, path: str, factory: Any, backlog: int, reactor: Any) -> None:
        super().__init__(0, factory, backlog, "127.0.0.1", reactor)
        self._path = path
        self._paths: dict[str, int] = reactor.kernel.paths

    @override
    def startListening(self) -> None:
        """
        Take the path.

        @raise CannotListenError: it is taken.
        """
        if self._path in self._paths:
            raise CannotListenError(
                "", self._path, OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))
            )
        super().startListening()
        self._paths[self._path] = super().getHost().port

    @override
    def connectionLost(self, reason: Any) -> None:
        """
        Give the path back.
        """
        self._paths.pop(self._path, None)
        super().connectionLost(reason)

    @override
    def getHost(self) -> UNIXAddress:
        """
        Return the path.
        """
        return UNIXAddress(os.fsencode(self._path))


class SimulatedUNIXConnector(SimulatedConnector):
    """
    Connects to a path of the same host.
    """

    def __init__(self, path: str, factory: Any, timeout: float, reactor: Any) -> None:
        port = reactor.kernel.paths.get(path, 0)
        super().__init__("127.0.0.1", port, factory, timeout, None, reactor)
        self._path = path

    @override
    def getDestination(self) -> UNIXAddress:
        """
        Return the path.
        """
        return UNIXAddress(os.fsencode(self._path))
