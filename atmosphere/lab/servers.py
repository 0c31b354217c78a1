# -*- test-case-name: tests.lab.test_internet -*-
"""
The server in the middle of a laboratory that homes are measured by: STUN at two
addresses with two ports each, in both families, and TCP that accepts.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.protocol import Factory, Protocol
from typing_extensions import override

from atmosphere.network.stun.binding import Corner
from atmosphere.network.stun.server import BindingSockets

from .places import SERVERS, SERVERS_IPV6, STUN, TCP_PORTS

__all__ = ["serve"]


class _Accept(Protocol):
    """
    Shows that a connection came about, and ends it.
    """

    @override
    def connectionMade(self) -> None:
        """
        That is all that was wanted.
        """
        assert self.transport is not None
        self.transport.loseConnection()


def serve(reactor: Any, ready: Callable[[], None]) -> Deferred[None]:
    """
    Listen until the process ends.

    @param ready: called when all is open.
    @return: never fires.
    """
    for hosts in (SERVERS, SERVERS_IPV6):
        sockets = BindingSockets(reactor)
        for is_other_address, host in enumerate(hosts):
            for is_other_port in (False, True):
                protocol = sockets.protocol(Corner(bool(is_other_address), is_other_port))
                reactor.listenUDP(STUN.port + is_other_port, protocol, host, 8192)
    for port in TCP_PORTS:
        reactor.listenTCP(port, Factory.forProtocol(_Accept), 50, SERVERS[0])
    ready()
    return Deferred()
