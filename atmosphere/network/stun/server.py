# -*- test-case-name: tests.network.stun.test_server -*-
"""
A STUN server for Binding requests, on its own port or on a shared one.

L{BindingServer} is one socket. L{BindingSockets} are several that answer for
each other, so that a client can find out what its NAT lets in.
"""

from __future__ import annotations

from twisted.internet.interfaces import IReactorTime
from twisted.internet.protocol import DatagramProtocol
from typing_extensions import override

from atmosphere.addresses import TransportAddress
from atmosphere.engine_driver import EngineClock
from atmosphere.errors import DecodeError

from .binding import PRIMARY, Answer, BindingLimits, BindingResponder, Corner

__all__ = ["BindingServer", "BindingSockets"]


class BindingServer(DatagramProtocol):
    """
    Tells whoever asks where its datagrams come from, within limits.

    It holds no timer and no state but counts.

    @ivar unsent: how many answers the system would not send.
    """

    noisy = False

    def __init__(
        self,
        reactor: IReactorTime,
        limits: BindingLimits | None = None,
        *,
        sockets: BindingSockets | None = None,
        corner: Corner = PRIMARY,
    ) -> None:
        """
        @param sockets: those that this is one of; they have the limits then.
        @param corner: which of them.
        """
        self.unsent = 0
        self._clock = EngineClock(reactor)
        self._sockets = sockets
        self._corner = corner
        self._responder = BindingResponder(limits) if sockets is None else sockets.responder

    @property
    def counters(self) -> dict[str, int]:
        """
        What became of all datagrams so far; see L{BindingResponder.counters}.
        """
        return {**self._responder.counters, "unsent": self.unsent}

    @override
    def startProtocol(self) -> None:
        """
        Tell the other sockets that this one can be answered from.
        """
        if self._sockets is not None and self.transport is not None:
            self._sockets.opened(self._corner, self)

    @override
    def stopProtocol(self) -> None:
        """
        Tell the other sockets that this one is gone.
        """
        if self._sockets is not None:
            self._sockets.closed(self._corner)

    @override
    def datagramReceived(self, datagram: bytes, addr: tuple[str, int]) -> None:
        """
        Answer a datagram if it is to be answered.
        """
        try:
            source = TransportAddress.from_socket(addr)
        except DecodeError:
            return
        answer = self._responder.answer(datagram, source, self._clock.now(), self._corner)
        if answer is None:
            return
        if self._sockets is None or answer.corner == self._corner:
            self.send(answer, addr)
        else:
            self._sockets.send(answer, addr)

    def send(self, answer: Answer, addr: tuple[str, int]) -> None:
        """
        Send an answer from this socket.
        """
        if self.transport is None:
            return
        try:
            port = addr[1] if answer.port is None else answer.port
            self.transport.write(answer.data, (addr[0], port))
        except OSError:
            self.unsent += 1


class BindingSockets:
    """
    The sockets of one Binding server that can answer from another of them than
    was asked: up to two addresses with two ports each.

    Each takes part from when its port is open until it is closed.

    @ivar responder: answers for all of them, within limits that they share.
    """

    def __init__(self, reactor: IReactorTime, limits: BindingLimits | None = None) -> None:
        self.responder = BindingResponder(limits)
        self._reactor = reactor
        self._open: dict[Corner, BindingServer] = {}

    def protocol(self, corner: Corner) -> BindingServer:
        """
        Make the protocol of one socket.
        """
        return BindingServer(self._reactor, sockets=self, corner=corner)

    def opened(self, corner: Corner, server: BindingServer) -> None:
        """
        Note that a socket is there.
        """
        assert server.transport is not None
        host = server.transport.getHost()
        self._open[corner] = server
        self.responder.corners[corner] = TransportAddress.from_socket((host.host, host.port))

    def closed(self, corner: Corner) -> None:
        """
        Note that a socket is gone.
        """
        self._open.pop(corner, None)
        self.responder.corners.pop(corner, None)

    def send(self, answer: Answer, addr: tuple[str, int]) -> None:
        """
        Send an answer from the socket that it is meant for.
        """
        server = self._open.get(answer.corner)
        if server is not None:
            server.send(answer, addr)
