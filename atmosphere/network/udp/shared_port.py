# -*- test-case-name: tests.network.udp.test_shared_port -*-
"""
Many datagram protocols on one UDP port.

Each is an ordinary C{DatagramProtocol} that could as well have a port of its
own: it is started and stopped, gets the datagrams that are meant for it, and
has a C{transport} to write to. Who gets what::

    STUN request or indication with USERNAME         L{Share.CHECKS}
    STUN response that a client waits for            that L{Share.CLIENT}
    any other STUN response                          L{Share.CHECKS}
    any other STUN message                           L{Share.BINDING}
    QUIC                                             L{Share.QUIC}

Anything else, and what nobody is attached for, is counted and dropped.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Sequence
from enum import Enum
from typing import Any, Protocol, cast, runtime_checkable

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import (
    IListeningPort,
    IReactorUDP,
    IUDPTransport,
)
from twisted.internet.posixbase import PosixReactorBase
from twisted.internet.protocol import DatagramProtocol
from twisted.logger import Logger
from typing_extensions import override
from zope.interface import implementer

from atmosphere.errors import ListenError

from .demultiplex import Kind, are_quic, classify, has_username, is_stun, is_stun_response
from .segment_port import SegmentPort

__all__ = [
    "PORT",
    "NoSuchAddressError",
    "Share",
    "SharedPort",
    "TransactionOwner",
    "listen_udp",
    "listen_udp_dual",
]

#: Where a node listens when nobody says otherwise.
PORT = 7777

#: The longest datagram that is read; what is longer is none of ours.
MAXIMUM_DATAGRAM = 8192


class Share(Enum):
    """
    The parts in which a port is given away.
    """

    CHECKS = "checks"
    CLIENT = "client"
    BINDING = "binding"
    QUIC = "QUIC"


#: Enums take a call or two of Python to be looked up or asked for their value.
_QUIC = Share.QUIC.value


@runtime_checkable
class TransactionOwner(Protocol):
    """
    What a protocol must have to be attached as L{Share.CLIENT}.
    """

    def owns(self, transaction_id: bytes) -> bool:
        """
        Say whether a response to this transaction is waited for here.
        """


@implementer(IUDPTransport)
class _Attachment:
    """
    The transport of one attached protocol.
    """

    def __init__(self, shared: SharedPort, share: Share, protocol: DatagramProtocol) -> None:
        self.share = share
        self.protocol = protocol
        self.errors = 0
        self._shared = shared

    def write(self, packet: bytes, addr: tuple[str, int] | None = None) -> None:
        """
        Send a datagram from the shared port.
        """
        self._shared.write(packet, addr)

    def getHost(self) -> IPv4Address | IPv6Address:
        """
        Say where the shared port is bound.
        """
        return self._shared.getHost()

    def stopListening(self) -> None:
        """
        Detach; the port goes on for the others.
        """
        self._shared.detach(self.protocol)

    def connect(self, host: str, port: int) -> None:
        """
        Refuse: a port that is shared hears all peers.
        """
        raise RuntimeError("a shared port cannot be connected to one peer")

    def setBroadcastAllowed(self, enabled: bool) -> None:  # noqa: N802  # Twisted's name
        """
        Let the shared port broadcast, or not; it holds for all.
        """
        self._shared.port.setBroadcastAllowed(enabled)

    def getBroadcastAllowed(self) -> bool:  # noqa: N802  # Twisted's name
        """
        Say whether the shared port may broadcast.
        """
        return self._shared.port.getBroadcastAllowed()


class SharedPort(DatagramProtocol):
    """
    Gives each datagram to the protocol that it is meant for.

    @ivar counters: how many datagrams went to each share, and how many were
        C{"dropped"}.
    """

    noisy = False
    _log = Logger()

    def __init__(self) -> None:
        self.counters = {**{share.value: 0 for share in Share}, "dropped": 0}
        self._single: dict[Share, _Attachment] = {}
        self._clients: list[_Attachment] = []
        self._quic: _Attachment | None = None

    @property
    def port(self) -> IUDPTransport:
        """
        The UDP port itself.

        @raise RuntimeError: there is none at present.
        """
        if self.transport is None:
            raise RuntimeError("the shared port does not listen")
        return self.transport

    def getHost(self) -> IPv4Address | IPv6Address:
        """
        Say where the port is bound.
        """
        return self.port.getHost()

    def write(self, packet: bytes, addr: tuple[str, int] | None) -> None:
        """
        Send a datagram; without a port it is lost, as datagrams may be.
        """
        if self.transport is not None:
            self.transport.write(packet, addr)

    def write_together(self, datagrams: Sequence[bytes], addr: tuple[str, int]) -> None:
        """
        Send datagrams to one address, with as few calls of the system as it can.

        @raise OSError: the system did not take one; those behind it are lost.
        """
        port: object = self.transport
        if isinstance(port, SegmentPort):
            port.write_together(datagrams, addr)
            return
        for data in datagrams:
            self.write(data, addr)

    # ------------------------------------------------------------- attaching

    def attach(self, share: Share, protocol: DatagramProtocol) -> None:
        """
        Give a part of the port to a protocol, which is started now or as soon
        as the port listens.

        @param share: each can be given once; L{Share.CLIENT} to any number of
            protocols that are a L{TransactionOwner}.
        @raise ValueError: the part is given away already, or the protocol does
            not fit.
        """
        attachment = _Attachment(self, share, protocol)
        if share is Share.CLIENT:
            if not isinstance(protocol, TransactionOwner):
                raise ValueError(f"{protocol!r} does not say which transactions it owns")
            self._clients.append(attachment)
        elif share in self._single:
            raise ValueError(f"{share.value} is given to {self._single[share].protocol!r}")
        else:
            self._single[share] = attachment
            self._quic = self._single.get(Share.QUIC)
        if self.transport is not None:
            protocol.makeConnection(attachment)

    def detach(self, protocol: DatagramProtocol) -> None:
        """
        Take back what a protocol was given, and stop it; others go on.
        """
        found = [each for each in self._attachments() if each.protocol is protocol]
        self._clients = [each for each in self._clients if each.protocol is not protocol]
        self._single = {
            share: each for share, each in self._single.items() if each.protocol is not protocol
        }
        self._quic = self._single.get(Share.QUIC)
        for each in found:
            if cast(object, each.protocol.transport) is each:
                each.protocol.doStop()

    def _attachments(self) -> list[_Attachment]:
        """
        List all attachments, in no order that matters.
        """
        return [*self._single.values(), *self._clients]

    @override
    def startProtocol(self) -> None:
        """
        Start all protocols that were attached before.
        """
        for each in self._attachments():
            each.protocol.makeConnection(each)

    @override
    def stopProtocol(self) -> None:
        """
        Stop all protocols; they stay attached, for the port may listen again.
        """
        for each in self._attachments():
            each.protocol.doStop()

    # ------------------------------------------------------------- receiving

    @override
    def datagramReceived(self, datagram: bytes, addr: tuple[str, int]) -> None:
        """
        Hand on one datagram.
        """
        kind = classify(datagram)
        if kind is Kind.QUIC:
            receiver = self._single.get(Share.QUIC)
        elif kind is Kind.STUN and is_stun(datagram):
            receiver = self._stun_receiver(datagram)
        else:
            receiver = None
        if receiver is None:
            self.counters["dropped"] += 1
            return
        self.counters[receiver.share.value] += 1
        self._call(receiver, receiver.protocol.datagramReceived, datagram, addr)

    def datagrams_received(self, datagrams: Sequence[bytes], addr: tuple[str, int]) -> None:
        """
        Hand on datagrams that came together; those of QUIC stay so, if their
        receiver has C{datagrams_received} too.
        """
        quic = self._quic
        together = getattr(quic.protocol, "datagrams_received", None) if quic else None
        if quic is None or together is None or not are_quic(datagrams):
            for datagram in datagrams:
                self.datagramReceived(datagram, addr)
            return
        self.counters[_QUIC] += len(datagrams)
        self._call(quic, together, datagrams, addr)

    def _call(
        self, receiver: _Attachment, take: Callable[[Any, Any], None], what: object, addr: object
    ) -> None:
        """
        Have a receiver take something; log if it fails, the more rarely the
        more often it did.
        """
        try:
            take(what, addr)
        except Exception:
            receiver.errors += 1
            if receiver.errors & (receiver.errors - 1) == 0:  # 1, 2, 4, 8 … fill no disk
                self._log.failure(
                    "{share} failed on a datagram, for the {errors}. time",
                    share=receiver.share.value,
                    errors=receiver.errors,
                )

    def _stun_receiver(self, datagram: bytes) -> _Attachment | None:
        """
        Find out whom a STUN message is for.
        """
        if is_stun_response(datagram):
            transaction_id = datagram[8:20]
            for each in self._clients:
                if cast(TransactionOwner, each.protocol).owns(transaction_id):
                    return each
            return self._single.get(Share.CHECKS)
        share = Share.CHECKS if has_username(datagram) else Share.BINDING
        return self._single.get(share)


# ------------------------------------------------------------------ listening


class NoSuchAddressError(ListenError):
    """
    The address to listen on is not one of this machine's: no other port helps.
    """


def _bind(
    reactor: IReactorUDP, port: int, interface: str, protocol: DatagramProtocol
) -> IListeningPort:
    """
    Bind one port: one that sends and receives many datagrams at once, on a
    reactor that is made of sockets.

    @raise CannotListenError: it is taken, or there is no such interface.
    """
    if not isinstance(reactor, PosixReactorBase):
        return reactor.listenUDP(port, protocol, interface, MAXIMUM_DATAGRAM)
    made = SegmentPort(port, protocol, interface, MAXIMUM_DATAGRAM, reactor)
    made.startListening()
    return made


def listen_udp(
    reactor: IReactorUDP,
    preferred_port: int,
    interface: str,
    protocol: DatagramProtocol,
    first_time: bool,
) -> IListeningPort:
    """
    Listen on the preferred UDP port, or the first time on any if it is taken.

    The caller keeps the number, and passes it as the preferred one from then on.

    @param interface: an IP address; C{"0.0.0.0"} or C{"::"} for all of a family.
    @param first_time: whether nobody was told the port yet.
    @raise ListenError: the port is taken; with its number.
    @raise NoSuchAddressError: the interface is not one of this machine's.
    """
    try:
        return _bind(reactor, preferred_port, interface, protocol)
    except CannotListenError as error:
        if getattr(error.socketError, "errno", None) == errno.EADDRNOTAVAIL:
            text = f"{interface} is no address of this machine"
            raise NoSuchAddressError(text, port=preferred_port) from error
        if not first_time or preferred_port == 0:
            reason = getattr(error.socketError, "strerror", None) or error.socketError
            text = f"UDP port {preferred_port} cannot be used: {reason}"
            if preferred_port == 0:
                text = f"no UDP port can be opened: {reason}"
            raise ListenError(text, port=preferred_port) from error
    return listen_udp(reactor, 0, interface, protocol, first_time)


def listen_udp_dual(
    reactor: IReactorUDP,
    preferred_port: int,
    ipv4: DatagramProtocol,
    ipv6: DatagramProtocol,
    first_time: bool,
) -> tuple[IListeningPort, IListeningPort | None]:
    """
    Listen in both address families, with the same number if possible.

    @return: the port in IPv4, and the one in IPv6 if this machine has it.
    @raise ListenError: the port is taken in IPv4, or it has no IPv4.
    """
    first = listen_udp(reactor, preferred_port, "0.0.0.0", ipv4, first_time)
    number = cast(IPv4Address, first.getHost()).port
    try:
        return first, listen_udp(reactor, number, "::", ipv6, True)
    except ListenError:
        return first, None
