# -*- test-case-name: tests.network.stun.test_nat_kinds -*-
"""
Finding out how NATs and firewalls behave, from real ports.

L{ProbeClient} is an ordinary C{DatagramProtocol} for one question, L{measure_behavior}
opens ports for all that it takes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IReactorTime
from twisted.internet.protocol import DatagramProtocol
from typing_extensions import override

from atmosphere.addresses import TransportAddress
from atmosphere.engine_driver import EngineClock
from atmosphere.errors import DecodeError
from atmosphere.network.udp.port import EngineProtocol

from .behavior import Behavior, Finding
from .probe import DialBackProbe, Finished, MappingProbe, Probe

__all__ = ["OpenPort", "ProbeClient", "measure_behavior"]

#: What is said of servers that this machine has no route to.
NO_WAY = "no way leads there"

#: Gives a protocol a UDP port; returns what takes it back.
OpenPort = Callable[[DatagramProtocol], Callable[[], Any]]


class ProbeClient(EngineProtocol[Finished]):
    """
    Runs one probe on its port, from when it has one.

    @ivar finished: fires with the findings; with none once the port is gone.
        Cancelling it ends the probe.
    """

    def __init__(
        self,
        reactor: IReactorTime,
        kind: type[Probe],
        servers: Sequence[TransportAddress],
        entropy: Callable[[int], bytes],
    ) -> None:
        """
        @param kind: L{DialBackProbe} or L{MappingProbe}.
        @param servers: of one address family.
        """
        super().__init__(reactor)
        self.finished: Deferred[tuple[Finding, ...]] = Deferred(lambda _: self._stop_driving())
        self._kind = kind
        self._servers = servers
        self._entropy = entropy
        self._probe: Probe | None = None

    def owns(self, transaction_id: bytes) -> bool:
        """
        Say whether a response to this transaction is waited for here.
        """
        return self._probe is not None and self._probe.owns(transaction_id)

    @override
    def startProtocol(self) -> None:
        """
        Begin.
        """
        if self.finished.called:
            return
        clock = EngineClock(self._reactor)
        self._probe = self._kind(self._servers, self._entropy, clock.now())
        self._drive(self._probe, clock).pump()

    @override
    def stopProtocol(self) -> None:
        """
        End: the port is gone.
        """
        self._stop_driving()
        if not self.finished.called:
            self.finished.callback(())

    @override
    def _event_reported(self, event: Finished) -> None:
        """
        Hand over the findings.
        """
        self._stop_driving()
        self.finished.callback(event.findings)


def measure_behavior(
    reactor: Any,
    servers: Sequence[TransportAddress],
    *,
    entropy: Callable[[int], bytes],
    port: int = 0,
    interface: str | None = None,
    open_port: OpenPort | None = None,
) -> Deferred[Behavior]:
    """
    Find out how the NATs and firewalls before us behave, in one address family.

    @param reactor: has C{IReactorUDP} and C{IReactorTime}.
    @param servers: STUN servers, all IPv4 or all IPv6; those that have a second
        socket (RFC 5780) can tell.
    @param port: the UDP port whose reachability is wanted; any if it is taken, or 0.
        Nothing is sent from it to a second socket, so it may be measured again.
    @param interface: the address to listen on; C{None} for all.
    @param open_port: gives the protocol that port instead, such as a
        part of one that is open already.
    @return: fires with what was found within 5 seconds, if only that nobody
        answers; never fails. Cancelling it closes the ports.
    """
    return Deferred.fromCoroutine(
        _measure(reactor, servers, entropy, port, interface, open_port) if servers else _nothing()
    )


async def _nothing() -> Behavior:
    """
    Say what asking nobody brings.
    """
    return Behavior()


async def _measure(
    reactor: Any,
    servers: Sequence[TransportAddress],
    entropy: Callable[[int], bytes],
    port: int,
    interface: str | None,
    open_port: OpenPort | None,
) -> Behavior:
    """
    Do what L{measure_behavior} says.
    """
    if interface is None:
        interface = "::" if servers[0].is_ipv6 else "0.0.0.0"

    def listen(protocol: DatagramProtocol, number: int) -> Callable[[], Any]:
        try:
            listening = reactor.listenUDP(number, protocol, interface, 8192)
        except CannotListenError:
            if not number:
                raise
            listening = reactor.listenUDP(0, protocol, interface, 8192)
        return lambda: listening.stopListening()

    dialling = ProbeClient(reactor, DialBackProbe, servers, entropy)
    mapping = ProbeClient(reactor, MappingProbe, servers, entropy)
    closers = []
    try:
        host = None
        for server in servers:
            looking = DatagramProtocol()
            looking.noisy = False
            closers.append(listen(looking, 0))
            host = _source(looking, server)
            if host is not None:
                break
        else:
            return Behavior(None, tuple(Finding(each, error=NO_WAY) for each in servers))
        closers.append(listen(dialling, port) if open_port is None else open_port(dialling))
        closers.append(listen(mapping, 0))
        local = None
        if dialling.transport is not None:
            local = TransportAddress(host, dialling.transport.getHost().port)
        return Behavior(local, await dialling.finished, await mapping.finished)
    except CannotListenError:
        return Behavior()
    finally:
        for close in closers:
            await maybeDeferred(close)


def _source(looking: DatagramProtocol, server: TransportAddress) -> str | None:
    """
    Find the IP address that we send to a server from. Connecting a UDP port sends nothing.

    @return: C{None} if no way leads there.
    """
    if looking.transport is None:
        return None
    try:
        looking.transport.connect(server.host, server.port)
        return TransportAddress.from_socket((looking.transport.getHost().host, 0)).host
    except (OSError, DecodeError):
        return None
