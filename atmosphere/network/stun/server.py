# -*- test-case-name: tests.network.stun.test_server -*-
"""
A STUN server for Binding requests, on its own port or on a shared one.
"""

from __future__ import annotations

from twisted.internet.interfaces import IReactorTime
from twisted.internet.protocol import DatagramProtocol
from typing_extensions import override

from atmosphere.addresses import TransportAddress
from atmosphere.engine_driver import EngineClock
from atmosphere.errors import DecodeError

from .binding import BindingLimits, BindingResponder

__all__ = ["BindingServer"]


class BindingServer(DatagramProtocol):
    """
    Tells whoever asks where its datagrams come from, within limits.

    It holds no timer and no state but counts.

    @ivar unsent: how many answers the system would not send.
    """

    noisy = False

    def __init__(self, reactor: IReactorTime, limits: BindingLimits | None = None) -> None:
        self.unsent = 0
        self._clock = EngineClock(reactor)
        self._responder = BindingResponder(limits)

    @property
    def counters(self) -> dict[str, int]:
        """
        What became of all datagrams so far; see L{BindingResponder.counters}.
        """
        return {**self._responder.counters, "unsent": self.unsent}

    @override
    def datagramReceived(self, datagram: bytes, addr: tuple[str, int]) -> None:
        """
        Answer a datagram if it is to be answered.
        """
        try:
            source = TransportAddress(addr[0].partition("%")[0], addr[1])
        except DecodeError:
            return
        answer = self._responder.respond(datagram, source, self._clock.now())
        if answer is None or self.transport is None:
            return
        try:
            self.transport.write(answer, addr)
        except OSError:
            self.unsent += 1
