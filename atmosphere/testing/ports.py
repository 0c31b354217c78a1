# -*- test-case-name: tests.testing.test_contract -*-
"""
Twisted's own ports and connectors, with simulated sockets under them.
"""

from __future__ import annotations

import socket
from typing import Any, cast

from twisted.internet import tcp, udp
from typing_extensions import override

__all__ = ["SimulatedConnector", "SimulatedTCPPort", "SimulatedUDPPort"]


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
