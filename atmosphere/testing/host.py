# -*- test-case-name: tests.testing.test_host -*-
# ruff: noqa: N802, N803 (the names are those of the reactor's interfaces)
"""
A simulated host: a Twisted reactor whose sockets are not real.

The ports and transports are Twisted's own, C{twisted.internet.tcp} and
C{twisted.internet.udp}, on top of simulated sockets: what holds for a real
reactor about buffers, producers, half-closing and TLS holds here too.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random
from typing import TYPE_CHECKING, Any, cast

from twisted.internet.abstract import isIPAddress
from twisted.internet.base import DelayedCall
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.error import DNSLookupError
from twisted.internet.interfaces import (
    IConnector,
    IDelayedCall,
    IHostnameResolver,
    IListeningPort,
    IReactorFromThreads,
    IReactorPluggableNameResolver,
    IReactorSSL,
    IReactorTCP,
    IReactorTime,
    IReactorUDP,
    IReactorUNIX,
)
from twisted.internet.protocol import AbstractDatagramProtocol, ClientFactory, Factory
from twisted.protocols.tls import TLSMemoryBIOFactory
from typing_extensions import override
from zope.interface import implementer

from .agenda import Agenda
from .descriptors import DescriptorLoop
from .kernel import Kernel
from .link import Packet, TraceRecord
from .ports import (
    SimulatedConnector,
    SimulatedTCPPort,
    SimulatedUDPPort,
    SimulatedUNIXConnector,
    SimulatedUNIXPort,
)

if TYPE_CHECKING:
    from .network import SimulatedNetwork
    from .subnet import Attachment

__all__ = ["Host"]


@implementer(
    IReactorFromThreads,
    IReactorPluggableNameResolver,
    IReactorSSL,
    IReactorTCP,
    IReactorTime,
    IReactorUDP,
    IReactorUNIX,
)
class Host(DescriptorLoop):
    """
    A host of a L{SimulatedNetwork<atmosphere.testing.network.SimulatedNetwork>}.

    @ivar name: its name.
    @ivar kernel: its sockets and addresses.
    @ivar running: what a reactor says of itself once it runs.
    """

    def __init__(
        self,
        name: str,
        agenda: Agenda,
        random: Random,
        names: IHostnameResolver,
        network: SimulatedNetwork,
    ) -> None:
        self.name = name
        self.running = True
        self._network = network
        self._names = names
        self._arrivals: list[TraceRecord] | None = None
        super().__init__(agenda)
        self.kernel = Kernel(agenda, random, self, self._wake, network.note)

    @override
    def __repr__(self) -> str:
        return f"<Host {self.name} {' '.join(self.kernel.addresses)}>"

    @property
    def address(self) -> str:
        """
        The first of the host's addresses.
        """
        return self.kernel.addresses[0]

    # ------------------------------------------------------------------- lifetime

    def kill(self, *, is_silent: bool = False) -> None:
        """
        End the process as C{kill -9} does: sockets and delayed calls are gone,
        no protocol hears of it.

        @param is_silent: the power goes too: the other ends of its connections
            hear nothing. Otherwise the kernel closes them.
        """
        self.is_running = False
        self._agenda.forget(self)
        self._agenda.park(self)
        self._forget_descriptors()
        self.is_asleep = False
        self.kernel.is_down = is_silent
        self.kernel.vanish(silently=is_silent)

    def restart(self) -> None:
        """
        Bring the host back after L{kill}, with no sockets and nothing to do.

        Whatever the dead process still put down meanwhile is dropped.
        """
        self.kill(is_silent=self.kernel.is_down)
        self.kernel.is_down = False
        self.is_running = True
        self._agenda.unpark(self)

    def sleep(self, *, is_offline: bool = False) -> None:
        """
        Stop the process.

        @param is_offline: as a closed lid does it: what comes meanwhile is lost.
            Otherwise as C{SIGSTOP} does: the kernel takes it in.
        """
        self.is_asleep = True
        self.kernel.is_down = is_offline
        self._agenda.park(self)

    def wake(self) -> None:
        """
        Go on after L{sleep}; what became due meanwhile is done now.
        """
        if self.is_asleep:
            self.is_asleep = False
            self.kernel.is_down = False
            self._agenda.unpark(self)
            self._catch_up()

    def packet_received(self, packet: Packet, attachment: Attachment) -> None:
        """
        Take a packet from the network.
        """
        if self._network.is_cut(packet, self):
            self._network.note("cut", packet)
            return
        if self._arrivals is not None:
            self._arrivals.append(
                TraceRecord(
                    self.seconds(),
                    packet.kind.value,
                    packet.source,
                    packet.destination,
                    packet.size,
                )
            )
        self.kernel.receive(packet)

    def watch(self) -> list[TraceRecord]:
        """
        Record from now on which packets reach this host, open ports or not.

        @return: the list that grows.
        """
        self._arrivals = []
        return self._arrivals

    # ------------------------------------------------------- IReactorTime and so on

    def seconds(self) -> float:
        """
        Say the time.
        """
        return self._agenda.seconds()

    def callLater(
        self, delay: float, callable: Callable[..., object], *args: object, **kwargs: object
    ) -> DelayedCall:
        """
        Call something later, unless the process ends before.
        """
        return self._agenda.call_later(self, delay, callable, args, kwargs)

    def getDelayedCalls(self) -> Sequence[IDelayedCall]:
        """
        List the calls that this host still has to make.
        """
        return self._agenda.calls_of(self)

    def callFromThread(
        self, callable: Callable[..., object], *args: object, **kwargs: object
    ) -> None:
        """
        Call something in the next turn; there are no threads here.
        """
        self.callLater(0, callable, *args, **kwargs)

    # ---------------------------------------------------------------------- names

    @property
    def nameResolver(self) -> IHostnameResolver:
        """
        The resolver of this host.
        """
        return self._names

    def installNameResolver(self, resolver: IHostnameResolver) -> IHostnameResolver:
        """
        Use another resolver, on this host alone.

        @return: the one that was used before.
        """
        before, self._names = self._names, resolver
        return before

    def resolve(self, name: str, timeout: Sequence[int] = ()) -> Deferred[str]:
        """
        Look a name up in the network's table, for an IPv4 address.
        """
        if isIPAddress(name):
            return succeed(name)
        for address in self._network.names.addresses(name):
            if isIPAddress(address):
                return succeed(address)
        return fail(DNSLookupError(name))

    # ------------------------------------------------------------ ports, connections

    def listenUDP(
        self,
        port: int,
        protocol: AbstractDatagramProtocol,
        interface: str = "",
        maxPacketSize: int = 8192,
    ) -> IListeningPort:
        """
        Listen on a UDP port.

        @raise CannotListenError: it is taken, or the address is not ours.
        """
        listening = SimulatedUDPPort(port, protocol, interface, maxPacketSize, self)
        listening.startListening()
        return listening

    def listenTCP(
        self, port: int, factory: Factory, backlog: int = 50, interface: str = ""
    ) -> IListeningPort:
        """
        Listen on a TCP port.

        @raise CannotListenError: it is taken, or the address is not ours.
        """
        listening = SimulatedTCPPort(port, factory, backlog, interface, self)
        listening.startListening()
        return listening

    def connectTCP(
        self,
        host: str,
        port: int,
        factory: ClientFactory[Any],
        timeout: float = 30.0,
        bindAddress: tuple[str, int] | None = None,
    ) -> IConnector:
        """
        Connect to a TCP port.
        """
        connector = SimulatedConnector(host, port, factory, timeout, bindAddress, self)
        connector.connect()
        return cast(IConnector, connector)

    def listenUNIX(
        self,
        address: str,
        factory: Factory,
        backlog: int = 50,
        mode: int = 0o666,
        wantPID: bool = False,
    ) -> IListeningPort:
        """
        Listen on a path of this host, which is no file.

        @raise CannotListenError: it is taken.
        """
        listening = SimulatedUNIXPort(address, factory, backlog, self)
        listening.startListening()
        return listening

    def connectUNIX(
        self,
        address: str,
        factory: ClientFactory[Any],
        timeout: float = 30,
        checkPID: bool = False,
    ) -> IConnector:
        """
        Connect to a path of this host.
        """
        connector = SimulatedUNIXConnector(address, factory, timeout, self)
        connector.connect()
        return cast(IConnector, connector)

    def listenSSL(
        self,
        port: int,
        factory: Any,
        contextFactory: Any,
        backlog: int = 50,
        interface: str = "",
    ) -> IListeningPort:
        """
        Listen on a TCP port and speak TLS there.
        """
        wrapped: Any = TLSMemoryBIOFactory(contextFactory, False, factory, self)
        return self.listenTCP(port, wrapped, backlog, interface)

    def connectSSL(
        self,
        host: str,
        port: int,
        factory: ClientFactory[Any],
        contextFactory: Any,
        timeout: float = 30.0,
        bindAddress: tuple[str, int] | None = None,
    ) -> IConnector:
        """
        Connect to a TCP port and speak TLS.
        """
        wrapped: Any = TLSMemoryBIOFactory(contextFactory, True, factory, self)
        return self.connectTCP(host, port, wrapped, timeout, bindAddress)
