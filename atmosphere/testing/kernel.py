# -*- test-case-name: tests.testing -*-
"""
The part of a simulated host that a kernel has: ports, sockets, connections.
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable
from random import Random
from typing import TYPE_CHECKING

from .agenda import Agenda
from .datagram_socket import DatagramSocket
from .link import Kind, Packet
from .stream import Stream
from .stream_socket import StreamSocket
from .tcp_segment import Flag, Segment, State

if TYPE_CHECKING:
    from .subnet import Attachment

__all__ = ["Kernel", "Socket"]

Socket = DatagramSocket | StreamSocket
Address = tuple[str, int]

_ANY = {socket.AF_INET: "0.0.0.0", socket.AF_INET6: "::"}
_LOOPBACK = {socket.AF_INET: "127.0.0.1", socket.AF_INET6: "::1"}
_EPHEMERAL = (32768, 61000)


def _is_loopback(address: str) -> bool:
    """
    Say whether packets to an address stay in the host.
    """
    return address.startswith("127.") or address == "::1"


class Kernel:
    """
    A host's sockets, and which packet is for which of them.

    @ivar host: the host, as the origin of its packets.
    @ivar attachments: how it hangs on its networks.
    @ivar paths: the loopback port behind each UNIX socket.
    @ivar watchers: called when the addresses have changed.
    @ivar is_down: whether the host is without power: nothing comes in or goes out.
    @ivar most_sockets: how many the process may have open at once (C{EMFILE}); C{None} for
        as many as it likes.
    """

    def __init__(
        self,
        agenda: Agenda,
        random: Random,
        host: object,
        ready: Callable[[Socket], None],
        note: Callable[[str, Packet], None],
    ) -> None:
        self._agenda = agenda
        self._random = random
        self._ready = ready
        self._note = note
        self._numbers = 0
        self._datagram_ports: dict[Address, DatagramSocket] = {}
        self._stream_ports: dict[Address, StreamSocket] = {}
        self._streams: dict[tuple[Address, Address], Stream] = {}
        self._holders: dict[Stream, StreamSocket] = {}
        self._sources: dict[tuple[Address, str], Address] = {}
        self.sockets: dict[int, Socket] = {}
        self.host = host
        self.attachments: list[Attachment] = []
        self.paths: dict[str, int] = {}
        self.watchers: list[Callable[[], object]] = []
        self.is_down = False
        self.most_sockets: int | None = None

    @property
    def addresses(self) -> list[str]:
        """
        The host's addresses, loopback aside.
        """
        return [each.address for each in self.attachments]

    # --------------------------------------------------------------------- sockets

    def datagram_socket(self, family: int) -> DatagramSocket:
        """
        Make a UDP socket.
        """
        return DatagramSocket(self, family)

    def stream_socket(self, family: int) -> StreamSocket:
        """
        Make a TCP socket.
        """
        return StreamSocket(self, family)

    def number(self, new: Socket) -> int:
        """
        Give a new socket its number.

        @raise OSError: the process has too many open.
        """
        if self.most_sockets is not None and len(self.sockets) >= self.most_sockets:
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        self._numbers += 1
        self.sockets[self._numbers] = new
        return self._numbers

    def wake(self, which: Socket) -> None:
        """
        Tell the host that a socket may be ready.
        """
        self._ready(which)

    def release(self, closed: Socket) -> None:
        """
        Give back the port and the number of a closed socket.
        """
        for number in [n for n, each in self.sockets.items() if each is closed]:
            del self.sockets[number]
        if isinstance(closed, DatagramSocket):
            if closed.local is not None and self._datagram_ports.get(closed.local) is closed:
                del self._datagram_ports[closed.local]
        elif closed.local is not None and self._stream_ports.get(closed.local) is closed:
            del self._stream_ports[closed.local]

    def vanish(self, *, silently: bool) -> None:
        """
        Take all sockets away from the process.

        @param silently: the other ends are not told, and connections that
            still had something to send are forgotten.
        """
        self.paths.clear()
        self.watchers.clear()
        for each in list(self.sockets.values()):
            each.vanish(silently=silently)
        if silently:
            for stream in list(self._streams.values()):
                stream.drop(errno.ECONNABORTED)

    def _bind(self, family: int, address: Address, taken: Callable[[Address], bool]) -> Address:
        """
        Find the port to bind.
        """
        host, port = address
        host = host or _ANY[socket.AddressFamily(family)]
        is_any = host in _ANY.values()
        if not (is_any or _is_loopback(host) or host in self.addresses):
            raise OSError(errno.EADDRNOTAVAIL, os.strerror(errno.EADDRNOTAVAIL))
        hosts = [host] if not is_any else [host, _LOOPBACK[socket.AddressFamily(family)]]
        if is_any:
            hosts += [each for each in self.addresses if (":" in each) == (":" in host)]
        else:
            hosts += [_ANY[socket.AddressFamily(family)]]
        if port:
            if any(taken((each, port)) for each in hosts):
                raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))
            return host, port
        for _ in range(1000):
            port = self._random.randrange(*_EPHEMERAL)
            if not any(taken((each, port)) for each in hosts):
                return host, port
        raise OSError(errno.EADDRINUSE, "all ports are taken")

    def bind_datagram(self, which: DatagramSocket, family: int, address: Address) -> Address:
        """
        Give a UDP socket its port.

        @raise OSError: the port is taken, or the address is not ours.
        """
        bound = self._bind(family, address, self._datagram_ports.__contains__)
        self._datagram_ports[bound] = which
        return bound

    def bind_stream(self, which: StreamSocket, family: int, address: Address) -> Address:
        """
        Give a TCP socket its port.

        @raise OSError: the port is taken, or the address is not ours.
        """
        used = {local for local, _ in self._streams} if not address[1] else set()

        def is_taken(wanted: Address) -> bool:
            return wanted in self._stream_ports or wanted in used

        bound = self._bind(family, address, is_taken)
        self._stream_ports[bound] = which
        return bound

    def source_for(self, local: Address, destination: str) -> Address:
        """
        Choose the address that a packet leaves from.

        @raise OSError: no address of ours is of that kind.
        """
        if local[0] not in ("0.0.0.0", "::"):
            return local
        key = (local, destination)
        source = self._sources.get(key)
        if source is None:
            source = self._sources[key] = (self._source_address(local[0], destination), local[1])
        return source

    def _source_address(self, any_address: str, destination: str) -> str:
        """
        Choose an address of ours by which to reach another.
        """
        if _is_loopback(destination) or destination in self.addresses:
            return destination
        fitting = [
            each
            for each in self.attachments
            if (":" in each.address) == (":" in destination) == (":" in any_address)
        ]
        if not fitting:
            raise OSError(errno.ENETUNREACH, os.strerror(errno.ENETUNREACH))
        return max(fitting, key=lambda each: each.subnet.nearness(destination)).address

    def readdress(self, attachments: list[Attachment]) -> None:
        """
        Hang on other networks, or by other addresses, from now on.
        """
        self.attachments[:] = attachments
        self._sources.clear()
        for watcher in list(self.watchers):
            watcher()

    # --------------------------------------------------------------------- packets

    def send(self, packet: Packet) -> None:
        """
        Send a packet by the attachment that has its source address.
        """
        if self.is_down:
            return
        self._note("", packet)
        target = packet.destination[0]
        source = packet.source[0]
        if _is_loopback(target):
            self._agenda.at(self._agenda.seconds(), self.receive, packet)
            return
        for attachment in self.attachments:
            if attachment.address == target:
                self._agenda.at(self._agenda.seconds(), self.receive, packet)
                return
        for attachment in self.attachments:
            if attachment.address == source:
                attachment.send(packet)
                return
        self._note("no route", packet)

    def receive(self, packet: Packet) -> None:
        """
        Take a packet that arrived at this host.
        """
        if self.is_down:
            self._note("no host", packet)
        elif packet.kind is Kind.TCP:
            self._receive_segment(packet)
        else:
            self._receive_datagram(packet)

    def _receive_datagram(self, packet: Packet) -> None:
        """
        Hand a datagram to the socket that has the port.
        """
        address, port = packet.destination
        ports = self._datagram_ports
        found = ports.get(packet.destination) or ports.get(
            ("::" if ":" in address else "0.0.0.0", port)
        )
        if found is not None:
            if not found.receive(packet):
                self._note("overflow", packet)
        elif packet.kind is Kind.UDP:
            self._note("no port", packet)
            self.send(
                Packet(Kind.UNREACHABLE, self.host, packet.destination, packet.source, b"", 0)
            )

    # ----------------------------------------------------------------- connections

    def connect(self, which: StreamSocket, address: Address) -> None:
        """
        Begin a connection.

        @raise OSError: there is no way to that address.
        """
        assert which.local is not None
        local = self.source_for(which.local, address[0])
        stream = self._new_stream(local, address, State.SYN_SENT)
        which.adopt(stream)
        stream.open()

    def _new_stream(self, local: Address, remote: Address, state: State) -> Stream:
        """
        Note a new connection.
        """
        stream = Stream(
            self._agenda, local, remote, state, self._transmit, self._changed, self._finished
        )
        self._streams[local, remote] = stream
        return stream

    def hold(self, stream: Stream, holder: StreamSocket) -> None:
        """
        Note which socket is to be told of a connection's changes.
        """
        self._holders[stream] = holder

    def _transmit(self, stream: Stream, segment: Segment) -> None:
        """
        Send a segment of a connection.
        """
        size = len(segment.data)
        self.send(Packet(Kind.TCP, self.host, stream.local, stream.remote, segment, size))

    def _changed(self, stream: Stream) -> None:
        """
        A connection has become readable, writable, established or dead.
        """
        holder = self._holders.get(stream)
        if holder is not None:
            self._ready(holder)
        elif stream.state is State.ESTABLISHED:
            listener = self._listener(stream.local)
            if listener is None or listener.backlog is None:
                stream.reset()
            elif stream not in listener.backlog and not stream.is_orphan:
                listener.half_open.discard(stream)
                listener.backlog.append(stream)
                self._ready(listener)

    def _finished(self, stream: Stream) -> None:
        """
        Forget a connection that is over.
        """
        if self._streams.get((stream.local, stream.remote)) is stream:
            del self._streams[stream.local, stream.remote]
        listener = self._listener(stream.local)
        if listener is not None:
            listener.half_open.discard(stream)
        if stream.is_orphan:
            self._holders.pop(stream, None)

    def _listener(self, address: Address) -> StreamSocket | None:
        """
        Find the socket that listens for an address.
        """
        ports = self._stream_ports
        wild = ("::" if ":" in address[0] else "0.0.0.0", address[1])
        found = ports.get(address) or ports.get(wild)
        return found if found is not None and found.backlog is not None else None

    def _receive_segment(self, packet: Packet) -> None:
        """
        Hand a segment to its connection, begin one, or refuse it.
        """
        segment = packet.payload
        assert isinstance(segment, Segment)
        stream = self._streams.get((packet.destination, packet.source))
        if stream is not None:
            stream.receive(segment)
            return
        if segment.flag is Flag.SYN:
            listener = self._listener(packet.destination)
            if listener is not None:
                if listener.has_room:
                    stream = self._new_stream(packet.destination, packet.source, State.SYN_RECEIVED)
                    listener.half_open.add(stream)
                    stream.open()
                return
        if segment.flag is not Flag.RST:
            refusal = Segment(Flag.RST, segment.acknowledged, segment.sequence, 0)
            self.send(Packet(Kind.TCP, self.host, packet.destination, packet.source, refusal, 0))
