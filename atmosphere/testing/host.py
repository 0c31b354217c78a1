# -*- test-case-name: tests.testing.test_host -*-
# ruff: noqa: N802, N803 (the names are those of the reactor's interfaces)
"""
A simulated host: a Twisted reactor whose sockets are not real.

The ports and transports are Twisted's own, L{twisted.internet.tcp} and
L{twisted.internet.udp}, on top of simulated sockets: what holds for a real
reactor about buffers, producers, half-closing and TLS holds here too.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random
from typing import TYPE_CHECKING, Any, cast

from twisted.internet.abstract import isIPAddress
from twisted.internet.base import DelayedCall
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.error import ConnectionDone, ConnectionLost, DNSLookupError
from twisted.internet.interfaces import (
    IConnector,
    IDelayedCall,
    IHalfCloseableDescriptor,
    IHostnameResolver,
    IListeningPort,
    IReactorFDSet,
    IReactorFromThreads,
    IReactorPluggableNameResolver,
    IReactorSSL,
    IReactorTCP,
    IReactorTime,
    IReactorUDP,
    IReadDescriptor,
    IWriteDescriptor,
)
from twisted.internet.protocol import AbstractDatagramProtocol, ClientFactory, Factory
from twisted.logger import Logger
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.python.failure import Failure
from typing_extensions import override
from zope.interface import implementer

from .agenda import Agenda
from .kernel import Kernel, Socket
from .link import Packet
from .ports import SimulatedConnector, SimulatedTCPPort, SimulatedUDPPort

if TYPE_CHECKING:
    from .network import SimulatedNetwork
    from .segment import Attachment

__all__ = ["Host"]


@implementer(
    IReactorFDSet,
    IReactorFromThreads,
    IReactorPluggableNameResolver,
    IReactorSSL,
    IReactorTCP,
    IReactorTime,
    IReactorUDP,
)
class Host:
    """
    A host of a L{SimulatedNetwork<atmosphere.testing.network.SimulatedNetwork>}.

    @ivar name: its name.
    @ivar kernel: its sockets and addresses.
    @ivar running: what a reactor says of itself once it runs.
    @ivar is_asleep: whether its process is stopped: nothing is read, no delayed
        call is made, while the kernel goes on.
    @ivar is_running: whether there is a process; L{kill} ends it.
    """

    _log = Logger()

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
        self.is_running = True
        self.is_asleep = False
        self._agenda = agenda
        self._network = network
        self._names = names
        self._readers: dict[IReadDescriptor, Socket] = {}
        self._writers: dict[IWriteDescriptor, Socket] = {}
        self._reading: dict[Socket, IReadDescriptor] = {}
        self._writing: dict[Socket, IWriteDescriptor] = {}
        self._waking: set[Socket] = set()
        self._put_off: list[Callable[[], object]] = []
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
        self._put_off.clear()
        for table in (self._readers, self._writers, self._reading, self._writing):
            table.clear()
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

    def sleep(self) -> None:
        """
        Stop the process, as C{SIGSTOP} or a closed lid does.
        """
        self.is_asleep = True

    def wake(self) -> None:
        """
        Go on after L{sleep}; what became due meanwhile is done now.
        """
        self.is_asleep = False
        put_off, self._put_off = self._put_off, []
        for each in put_off:
            self._agenda.at(self.seconds(), self._call, each)

    def _call(self, function: Callable[[], object]) -> None:
        """
        Do something as soon as the process is awake.
        """
        if self.is_asleep:
            self._put_off.append(function)
        elif self.is_running:
            function()

    def packet_received(self, packet: Packet, attachment: Attachment) -> None:
        """
        Take a packet from the network.
        """
        if self._network.is_cut(packet, self):
            self._network.note("cut", packet)
        else:
            self.kernel.receive(packet)

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
        return self._agenda.call_later(self, delay, self._make_call, (callable, args, kwargs))

    def _make_call(
        self, function: Callable[..., object], args: tuple[object, ...], kwargs: dict[str, object]
    ) -> None:
        """
        Make a delayed call, now or after waking.
        """
        if self.is_asleep:
            self._put_off.append(lambda: function(*args, **kwargs))
        elif self.is_running:
            function(*args, **kwargs)

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

    # ----------------------------------------------------- IReactorFDSet and its loop

    def addReader(self, reader: IReadDescriptor) -> None:
        """
        Call C{doRead} whenever the descriptor's socket has something.
        """
        which = self.kernel.sockets.get(reader.fileno())
        if which is not None and self.is_running:
            self._readers[reader] = which
            self._reading[which] = reader
            if which.is_readable:
                self._wake(which)

    def addWriter(self, writer: IWriteDescriptor) -> None:
        """
        Call C{doWrite} whenever the descriptor's socket has room.
        """
        which = self.kernel.sockets.get(writer.fileno())
        if which is not None and self.is_running:
            self._writers[writer] = which
            self._writing[which] = writer
            if which.is_writable:
                self._wake(which)

    def removeReader(self, reader: IReadDescriptor) -> None:
        """
        Undo L{addReader}.
        """
        which = self._readers.pop(reader, None)
        if which is not None:
            self._reading.pop(which, None)

    def removeWriter(self, writer: IWriteDescriptor) -> None:
        """
        Undo L{addWriter}.
        """
        which = self._writers.pop(writer, None)
        if which is not None:
            self._writing.pop(which, None)

    def getReaders(self) -> list[IReadDescriptor]:
        """
        List all that want to read.
        """
        return list(self._readers)

    def getWriters(self) -> list[IWriteDescriptor]:
        """
        List all that want to write.
        """
        return list(self._writers)

    def removeAll(self) -> list[IReadDescriptor | IWriteDescriptor]:
        """
        Undo all of L{addReader} and L{addWriter}.
        """
        removed: list[IReadDescriptor | IWriteDescriptor] = [*self._readers]
        removed += [each for each in self._writers if each not in removed]
        for reader in self.getReaders():
            self.removeReader(reader)
        for writer in self.getWriters():
            self.removeWriter(writer)
        return removed

    def _wake(self, which: Socket) -> None:
        """
        Look at a socket once all that is due now has been done.
        """
        if which not in self._waking:
            self._waking.add(which)
            self._agenda.at(self._agenda.clock.rightNow, self._serve, which)

    def _serve(self, which: Socket) -> None:
        """
        Read from and write to a socket, if that is wanted and possible.
        """
        if self.is_asleep:
            self._put_off.append(lambda: self._serve(which))
            return
        self._waking.discard(which)
        reader = self._reading.get(which)
        if reader is not None and which.is_readable:
            self._do(reader, reader.doRead, True)
        writer = self._writing.get(which)
        if writer is not None and which.is_writable:
            self._do(writer, writer.doWrite, False)
        if (which in self._reading and which.is_readable) or (
            which in self._writing and which.is_writable
        ):
            self._wake(which)

    def _do(self, descriptor: Any, work: Callable[[], object], is_reading: bool) -> None:
        """
        Read or write, and end the descriptor when that says so.
        """
        try:
            why = work()
        except Exception as error:
            self._log.failure("while serving {descriptor}", descriptor=descriptor)
            why = error
        if not why:
            return
        self.removeReader(descriptor)
        if is_reading and type(why) is ConnectionDone:
            if IHalfCloseableDescriptor.providedBy(descriptor):
                descriptor.readConnectionLost(Failure(why))
                return
        self.removeWriter(descriptor)
        reason = why if isinstance(why, BaseException) else ConnectionLost()
        descriptor.connectionLost(Failure(reason))
