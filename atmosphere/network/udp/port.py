# -*- test-case-name: tests.network.udp.test_port -*-
"""
What stands on a UDP port of its own: an engine, or a protocol that speaks with one
address alone.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar, cast

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.interfaces import IListeningPort, IReactorTime, IReactorUDP
from twisted.internet.protocol import DatagramProtocol
from typing_extensions import override

from atmosphere.addresses import TransportAddress
from atmosphere.engine import Engine
from atmosphere.engine_driver import EngineClock, EngineDriver
from atmosphere.errors import DecodeError

from .segment_port import SegmentPort
from .shared_port import listen_udp

__all__ = ["EngineProtocol", "PinnedPort"]

EventT = TypeVar("EventT")


class EngineProtocol(ABC, DatagramProtocol, Generic[EventT]):
    """
    Lets an engine speak on a port: alone on C{reactor.listenUDP}, or as one of many.

    Its subclasses say in C{startProtocol} which engine, by L{_drive}.

    @ivar unsent: how many datagrams the system would not send.
    """

    noisy = False

    def __init__(self, reactor: IReactorTime) -> None:
        self.unsent = 0
        self._reactor = reactor
        self._driver: EngineDriver[TransportAddress, EventT] | None = None

    def _drive(
        self, engine: Engine[TransportAddress, EventT], clock: EngineClock | None = None
    ) -> EngineDriver[TransportAddress, EventT]:
        """
        Begin: there is a port.

        @param clock: the engine's, if it had to know the time before.
        """
        self._driver = EngineDriver(self._reactor, engine, self._send, self._event_reported, clock)
        return self._driver

    def _stop_driving(self) -> None:
        """
        End: the port is gone, or nothing is wanted of the engine.
        """
        if self._driver is not None:
            self._driver.stop()
            self._driver = None

    @abstractmethod
    def _event_reported(self, event: EventT) -> None:
        """
        Act on what the engine reports.
        """

    @override
    def datagramReceived(self, datagram: bytes, addr: tuple[str, int]) -> None:
        """
        Give the engine a datagram, if it has a source.
        """
        if self._driver is None:
            return
        try:
            source = TransportAddress.from_socket(addr)
        except DecodeError:
            return
        self._driver.receive_datagram(datagram, source)

    def _send(self, datagrams: list[tuple[bytes, TransportAddress]]) -> None:
        """
        Write datagrams; what the system does not take is lost, as datagrams may be.
        """
        for data, remote in datagrams:
            if self.transport is None:
                return
            try:
                self.transport.write(data, (remote.host, remote.port))
            except OSError:
                self.unsent += 1


class PinnedPort(DatagramProtocol):
    """
    Sends to one address, and drops what comes from any other.

    @ivar remote: that address, a host and a port.
    @ivar number: the local port, once it is open.
    @ivar dropped: how many datagrams came from elsewhere.
    @ivar unsent: how many times the system would not send.
    """

    noisy = False

    def __init__(
        self,
        remote: tuple[str, int],
        received: Callable[[PinnedPort, Sequence[bytes]], None],
    ) -> None:
        """
        @param received: takes what came together.
        """
        self.remote = remote
        self.number = 0
        self.dropped = self.unsent = 0
        self._received = received
        self._listening: IListeningPort | None = None

    def open(self, reactor: IReactorUDP, interface: str) -> int:
        """
        Open it.

        @return: the local port, any that is free.
        @raise ListenError: the system gives none.
        """
        self._listening = listen_udp(reactor, 0, interface, self, True)
        self.number = cast(IPv4Address | IPv6Address, self._listening.getHost()).port
        return self.number

    def close(self) -> Deferred[object]:
        """
        Close it.

        @return: fires when it is closed. Cancelling it has no effect.
        """
        listening, self._listening = self._listening, None
        return maybeDeferred(lambda: None if listening is None else listening.stopListening())

    def send(self, datagrams: Sequence[bytes]) -> None:
        """
        Send datagrams; what the system does not take is lost, as datagrams may be.
        """
        port: object = self.transport
        try:
            if isinstance(port, SegmentPort):
                port.write_together(datagrams, self.remote)
            elif self.transport is not None:
                for data in datagrams:
                    self.transport.write(data, self.remote)
        except OSError:
            self.unsent += 1

    @override
    def datagramReceived(self, datagram: bytes, addr: tuple[str, int]) -> None:
        """
        Hand on one datagram.
        """
        self.datagrams_received((datagram,), addr)

    def datagrams_received(self, datagrams: Sequence[bytes], addr: tuple[str, int]) -> None:
        """
        Hand on datagrams that came together.
        """
        if (addr[0], addr[1]) == self.remote:
            self._received(self, datagrams)
        else:
            self.dropped += len(datagrams)
