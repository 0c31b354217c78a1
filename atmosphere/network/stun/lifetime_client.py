# -*- test-case-name: tests.network.stun.test_lifetime -*-
"""
Measuring for how long a NAT remembers a port, from real ports.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort
from twisted.internet.protocol import DatagramProtocol
from typing_extensions import override

from atmosphere.addresses import TransportAddress
from atmosphere.engine_driver import EngineClock, EngineDriver
from atmosphere.errors import DecodeError

from .behavior import BindingLifetime
from .lifetime import WAITS, Event, LifetimeProbe, Via, Waited

__all__ = ["measure_lifetime"]


def measure_lifetime(
    reactor: Any,
    server: TransportAddress,
    *,
    entropy: Callable[[int], bytes],
    interface: str | None = None,
    on_progress: Callable[[Waited], None] = lambda waited: None,
    waits: Sequence[float] = WAITS,
) -> Deferred[BindingLifetime]:
    """
    Find out for how long the NATs and firewalls before us remember a port.

    It takes as long as that, and five minutes and a few seconds at most; a
    server that cannot help is known within five seconds. About 18 UDP ports
    are opened for it.

    @param reactor: has C{IReactorUDP} and C{IReactorTime}.
    @param server: a STUN server with a second socket (RFC 5780).
    @param interface: the address to listen on; C{None} for all.
    @param on_progress: called with each time that was tried.
    @param waits: the times to try, in seconds.
    @return: fires with what was found; never fails. Cancelling it closes the ports.
    """
    if interface is None:
        interface = "::" if server.is_ipv6 else "0.0.0.0"
    return Deferred.fromCoroutine(
        _Measuring(
            reactor,
            LifetimeProbe(server, entropy, EngineClock(reactor).now(), waits),
            server,
            interface,
            on_progress,
        ).run()
    )


class _Measuring:
    """
    One measurement.
    """

    def __init__(
        self,
        reactor: Any,
        probe: LifetimeProbe,
        server: TransportAddress,
        interface: str,
        on_progress: Callable[[Waited], None],
    ) -> None:
        self._reactor = reactor
        self._server = server
        self._interface = interface
        self._on_progress = on_progress
        self._ports: dict[int, IListeningPort] = {}
        self._protocols: dict[int, _Socket] = {}
        self._done: Deferred[BindingLifetime] = Deferred()
        self.driver: EngineDriver[Via, Event] = EngineDriver(reactor, probe, self._send, self._take)

    async def run(self) -> BindingLifetime:
        """
        Measure.
        """
        try:
            self.driver.pump()
            return await self._done
        finally:
            self.driver.stop()
            for port in self._ports.values():
                await maybeDeferred(port.stopListening)

    def _send(self, datagrams: list[tuple[bytes, Via]]) -> None:
        """
        Send requests, each from its socket; what the system does not take is lost,
        as datagrams may be.
        """
        for data, via in datagrams:
            try:
                protocol = self._socket(via.socket)
            except CannotListenError as error:
                self._end(BindingLifetime(self._server, error=str(error.socketError)))
                return
            try:
                if protocol.transport is not None:
                    protocol.transport.write(data, (via.remote.host, via.remote.port))
            except OSError:
                continue

    def _socket(self, number: int) -> _Socket:
        """
        Find a socket, or open it.

        @raise CannotListenError: there is none left.
        """
        protocol = self._protocols.get(number)
        if protocol is None:
            protocol = self._protocols[number] = _Socket(self, number)
            self._ports[number] = self._reactor.listenUDP(0, protocol, self._interface, 8192)
        return protocol

    def _take(self, event: Event) -> None:
        """
        Hand on what happened.
        """
        if isinstance(event, Waited):
            self._on_progress(event)
        else:
            self._end(event)

    def _end(self, found: BindingLifetime) -> None:
        """
        Be done.
        """
        if not self._done.called:
            self._done.callback(found)


class _Socket(DatagramProtocol):
    """
    One of the sockets.
    """

    noisy = False

    def __init__(self, owner: _Measuring, number: int) -> None:
        self._owner = owner
        self._number = number

    @override
    def datagramReceived(self, datagram: bytes, addr: tuple[str, int]) -> None:
        """
        Take what may be an answer.
        """
        try:
            source = TransportAddress.from_socket(addr)
        except DecodeError:
            return
        self._owner.driver.receive_datagram(datagram, Via(self._number, source))
