# -*- test-case-name: tests.node.test_ports -*-
"""
A node's UDP ports: one for each address family, shared by all that speaks UDP.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, cast

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import DeferredList, maybeDeferred
from twisted.internet.interfaces import IListeningPort, IReactorUDP
from twisted.internet.protocol import DatagramProtocol
from twisted.logger import Logger
from typing_extensions import override

from atmosphere.addresses import TransportAddress
from atmosphere.errors import ListenError
from atmosphere.network.path.ways import DirectWay, Way
from atmosphere.network.stun.client import StunClient
from atmosphere.network.stun.probe_client import OpenPort
from atmosphere.network.udp.port import PinnedPort
from atmosphere.network.udp.shared_port import (
    PORT,
    NoSuchAddressError,
    Share,
    SharedPort,
    listen_udp,
)

__all__ = ["NodePorts", "check_interfaces"]

MAX_KNOWN_WAYS = 4096


def _with_remedy(error: ListenError) -> ListenError:
    """
    Add what helps to an error.
    """
    remedy = "--udp-port N takes another"
    if isinstance(error, NoSuchAddressError):
        remedy = "--interface ADDRESS takes one that is, and `ip address` lists them"
    return ListenError(f"{error}; {remedy}", port=error.port)


async def check_interfaces(reactor: IReactorUDP, interfaces: Iterable[str]) -> None:
    """
    See whether this machine has addresses that one is to listen on.

    @param interfaces: C{"0.0.0.0"} and C{"::"} are passed over.
    @raise ListenError: it does not have one of them.
    """
    for interface in interfaces:
        if interface in ("0.0.0.0", "::"):
            continue
        try:
            listening = listen_udp(reactor, 0, interface, DatagramProtocol(), False)
        except ListenError as error:
            raise _with_remedy(error) from None
        await maybeDeferred(listening.stopListening)


class _Feed(DatagramProtocol):
    """
    Hands QUIC's datagrams and connectivity checks to the links.
    """

    noisy = False

    def __init__(self, received: Callable[[Sequence[bytes], tuple[str, int]], None]) -> None:
        """
        @param received: takes datagrams that came together, and whence.
        """
        self.datagrams_received = received

    @override
    def datagramReceived(self, datagram: bytes, addr: tuple[str, int]) -> None:
        """
        Hand on one datagram, with the way by which it came.
        """
        self.datagrams_received((datagram,), addr)


class NodePorts:
    """
    Opens the ports, sends from them, and says which they are.

    @ivar stun: the STUN client of each family that has a port, by whether
        it is IPv6.
    @ivar entropy: random bytes.
    @ivar unsent: datagrams that the system would not take.
    @ivar knocked: is shown what looks like a check, and whence it came, and says whether
        it was a knock for us; C{None} while none is waited for.
    """

    _log = Logger()

    def __init__(
        self,
        reactor: Any,
        deliver: Callable[[Way, Sequence[bytes]], None],
        *,
        entropy: Callable[[int], bytes],
    ) -> None:
        """
        @param reactor: has C{IReactorUDP} and C{IReactorTime}.
        @param deliver: takes datagrams for links.
        """
        self.stun: dict[bool, StunClient] = {}
        self.unsent = 0
        self.knocked: Callable[[bytes, TransportAddress], bool] | None = None
        self.entropy = entropy
        self._reactor = reactor
        self._deliver = deliver
        self._shared: dict[bool, SharedPort] = {}
        self._listening: dict[bool, IListeningPort] = {}
        self._hosts: dict[bool, IPv4Address | IPv6Address] = {}
        self._ways: dict[tuple[str, int], DirectWay] = {}

    def listen(self, interfaces: Iterable[str], port: int | None, *, first_time: bool) -> int:
        """
        Open a port on each interface, with one number if that can be had.

        @param port: the wanted one; C{None} for 7777.
        @param first_time: any other will do if the wanted one is taken.
        @return: the number that was taken, IPv4's if there is such a port.
        @raise ListenError: the port is taken.
        """
        number = PORT if port is None else port
        taken: int | None = None
        for interface in sorted(interfaces, key=lambda text: ":" in text):
            is_ipv6 = ":" in interface
            shared = SharedPort()
            try:
                listening = listen_udp(
                    self._reactor, number, interface, shared, first_time or taken is not None
                )
            except ListenError as error:
                if taken is not None and interface == "::":
                    self._log.info("this machine has no IPv6")
                    continue
                raise _with_remedy(error) from None
            host = cast(IPv4Address | IPv6Address, listening.getHost())
            if taken is None:
                taken = number = host.port
            client = StunClient(self._reactor, self.entropy)
            shared.attach(Share.CLIENT, client)
            shared.attach(Share.CHECKS, _Feed(self._checks_received))
            shared.attach(Share.QUIC, _Feed(self.received))
            self.stun[is_ipv6] = client
            self._shared[is_ipv6] = shared
            self._listening[is_ipv6] = listening
            self._hosts[is_ipv6] = host
        return number

    def port_of(self, *, is_ipv6: bool) -> int | None:
        """
        Say which port a family has; C{None} if none.
        """
        host = self._hosts.get(is_ipv6)
        return None if host is None else host.port

    def interface_of(self, *, is_ipv6: bool) -> str | None:
        """
        Say on which address a family's port listens; C{None} if there is none.
        """
        host = self._hosts.get(is_ipv6)
        return None if host is None else host.host

    def open_ports(self) -> dict[bool, OpenPort]:
        """
        Say how one more client of STUN gets a share in each port, by whether it is IPv6.
        """

        def share(shared: SharedPort, protocol: DatagramProtocol) -> Callable[[], Any]:
            shared.attach(Share.CLIENT, protocol)
            return partial(shared.detach, protocol)

        return {is_ipv6: partial(share, shared) for is_ipv6, shared in self._shared.items()}

    def open_pinned(self, port: PinnedPort) -> int:
        """
        Open one more port, beside that for IPv4: for one address alone.

        @return: its number.
        @raise ListenError: there is none.
        """
        host = self._hosts.get(False)
        if host is None:
            raise ListenError("there is no IPv4 port")
        return port.open(self._reactor, host.host)

    @property
    def bound(self) -> list[str]:
        """
        List where we listen, as C{HOST:PORT}.
        """
        return [str(TransportAddress(host.host, host.port)) for host in self._hosts.values()]

    def received(self, datagrams: Sequence[bytes], addr: tuple[str, int]) -> None:
        """
        Hand on datagrams, with the way by which they came.
        """
        self._deliver(self._ways.get(addr) or self._way_from(addr), datagrams)

    def _checks_received(self, datagrams: Sequence[bytes], addr: tuple[str, int]) -> None:
        """
        Hand on checks; but knocks are for whoever waits for them.
        """
        way = self._ways.get(addr) or self._way_from(addr)
        for each in datagrams:
            if self.knocked is None or not self.knocked(each, way.address):
                self._deliver(way, (each,))

    def _way_from(self, addr: tuple[str, int]) -> DirectWay:
        """
        Say by which way datagrams come from somewhere: one object for each.
        """
        key = (addr[0], addr[1])  # there may be more in it, with IPv6
        way = self._ways.get(key)
        if way is None:
            if len(self._ways) >= MAX_KNOWN_WAYS:
                self._ways.clear()
            way = self._ways[key] = DirectWay(TransportAddress.from_socket(addr))
        return way

    def send(self, address: TransportAddress, datagrams: Sequence[bytes]) -> None:
        """
        Send datagrams; what the system does not take is lost, as datagrams may be.
        """
        shared = self._shared.get(address.is_ipv6)
        if shared is None:
            return
        target = (address.host, address.port)
        try:
            shared.write_together(datagrams, target)
        except OSError:
            self.unsent += 1

    async def stop(self) -> None:
        """
        Close the ports.
        """
        listening, self._listening = self._listening, {}
        self._hosts.clear()
        await DeferredList(
            [maybeDeferred(each.stopListening) for each in listening.values()], consumeErrors=True
        )
        self._shared.clear()
        self.stun.clear()
