# -*- test-case-name: tests.node.test_relays -*-
"""
The relays that a node is connected to.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Sequence
from typing import Any
from urllib.parse import urlsplit

from twisted.application.service import MultiService
from twisted.logger import Logger

from atmosphere.addresses import AddressKind, TransportAddress, address_kind
from atmosphere.errors import ConfigurationError, DecodeError
from atmosphere.identity import NodeID, NodeKey
from atmosphere.network.path.ways import RelayedWay, Way
from atmosphere.network.relay.client import RelayClient
from atmosphere.network.relay.endpoint import read_certificates
from atmosphere.network.relay.frames import HelloCredentials
from atmosphere.network.stun.discovery import Server

__all__ = ["RelaySet"]

MAX_RELAYS = 8
MAX_RELAYS_OF_PEERS = 8


def _is_public(url: str) -> bool:
    """
    Say whether a relay that a peer named may be dialled: over TLS, and not at an
    address that is ours, or our network's, alone.
    """
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
    except ValueError:
        return False
    if parts.scheme != "wss" or host == "localhost" or host.endswith(".localhost"):
        return False
    try:
        return address_kind(TransportAddress(host, 443).packed) is AddressKind.GLOBAL
    except DecodeError:
        return True  # a name


def _is_loopback(host: str | None) -> bool:
    """
    Say whether an IP address is this machine's alone.
    """
    if host is None:
        return False
    try:
        address = TransportAddress(host.partition("%")[0], 1)
    except DecodeError:
        return False
    return address_kind(address.packed) is AddressKind.LOOPBACK


class RelaySet(MultiService):
    """
    Keeps a client for each relay that the node uses, or that a peer uses.

    @ivar clients: by their URL, the user's own first.
    """

    _log = Logger()

    def __init__(
        self,
        reactor: Any,
        key: NodeKey,
        instance: bytes,
        *,
        entropy: Callable[[int], bytes],
        wall: Callable[[], float],
        random: Callable[[], float],
        hello: Callable[[], HelloCredentials],
        deliver: Callable[[Way, Sequence[bytes]], None],
        on_change: Callable[[RelayClient], None],
        on_absent: Callable[[str, NodeID], None],
        ca_file: str | None = None,
    ) -> None:
        """
        @param hello: what is shown to a relay.
        @param deliver: takes datagrams for links.
        @param on_change: told when a relay came or went.
        @param on_absent: told the URL of a relay that does not have a peer.
        @raise ConfigurationError: C{ca_file} cannot be used.
        """
        super().__init__()
        if ca_file is not None:
            read_certificates(ca_file)  # also if no relay needs them yet
        self.clients: dict[str, RelayClient] = {}
        self._ways: dict[tuple[str, NodeID], RelayedWay] = {}
        self._deliver = deliver
        self._on_absent = on_absent

        def make(url: str) -> RelayClient:
            """
            Make a client.
            """
            return RelayClient(
                reactor,
                url,
                key,
                entropy=entropy,
                wall=wall,
                random=random,
                hello=hello,
                on_datagrams=self._received,
                on_change=on_change,
                on_absent=self._absent,
                ca_file=ca_file,
                instance=instance,
            )

        self._make = make

    def use(self, url: str) -> RelayClient | None:
        """
        Connect to a relay, if we are not connected already.

        @return: C{None} when there are as many as we keep.
        @raise ConfigurationError: the URL cannot be used.
        """
        client = self.clients.get(url)
        if client is None:
            if len(self.clients) >= MAX_RELAYS + MAX_RELAYS_OF_PEERS:
                return None
            client = self._make(url)
            self.clients[url] = client
            client.setServiceParent(self)
        return client

    def use_for_peer(self, url: str, known: Sequence[str]) -> RelayClient | None:
        """
        Connect to a relay that a peer named: C{wss://}, or one that the user or
        a join code named too, for others can be read and changed on the way.

        @param known: the URLs that may be C{ws://}.
        """
        if url in self.clients:
            return self.clients[url]
        is_known = url in known
        theirs = [each for each in self.clients if each not in known]
        if not is_known and (len(theirs) >= MAX_RELAYS_OF_PEERS or not _is_public(url)):
            return None
        try:
            return self.use(url)
        except ConfigurationError as error:
            self._log.debug("a peer's relay cannot be used: {error}", error=error)
            return None

    def way(self, url: str, peer: NodeID) -> RelayedWay:
        """
        Make the way through a relay to a peer, one object for each.
        """
        found = self._ways.get((url, peer))
        if found is None:
            if len(self._ways) >= 4096:
                self._ways.clear()
            found = self._ways[url, peer] = RelayedWay(url, peer)
        return found

    def _received(self, client: RelayClient, source: NodeID, datagrams: list[bytes]) -> None:
        """
        Hand on what a relay brought.
        """
        self._deliver(self.way(client.url, source), datagrams)

    def _absent(self, client: RelayClient, node: NodeID) -> None:
        """
        Hand on that a relay does not have a node.
        """
        self._on_absent(client.url, node)

    def send(self, way: RelayedWay, datagrams: Sequence[bytes]) -> None:
        """
        Send datagrams through a relay; without a connection they are lost.
        """
        client = self.clients.get(way.relay)
        if client is not None:
            client.send(way.peer, datagrams)

    def use_only(self, urls: Sequence[str]) -> None:
        """
        Leave every relay but those, and connect to those.
        """
        for url in [each for each in self.clients if each not in urls]:
            self.clients.pop(url).disownServiceParent()
        for url in urls:
            self.use(url)

    def hurry(self, addresses: Container[str] | None = None) -> None:
        """
        See at once whether the relays are there: the network may be another, or back.

        @param addresses: those that this machine has now, if that is known.
        """
        for client in self.clients.values():
            if client.running:
                client.hurry(addresses)

    def reconnect(self) -> None:
        """
        Greet relays anew: what we may show has changed. One that serves anyone
        is left alone, since that would only interrupt what it carries.
        """
        for client in self.clients.values():
            is_served = client.welcome is not None and client.welcome.is_open
            if client.running and not is_served:
                client.stopService().addCallback(self._start_again, client)

    def _start_again(self, _: None, client: RelayClient) -> None:
        """
        Start a client that has stopped, unless all stop.
        """
        if self.running:
            client.startService()

    @property
    def welcomed(self) -> list[str]:
        """
        The URLs of the relays that let us in.
        """
        return [url for url, client in self.clients.items() if client.is_welcomed]

    def stun_servers(self, urls: Container[str]) -> list[Server]:
        """
        List the STUN servers beside those of our relays.
        """
        return [
            Server(urlsplit(url).hostname or "", port)
            for url, client in self.clients.items()
            if client.welcome is not None and url in urls
            for port in client.welcome.stun_ports
        ]

    @property
    def observed(self) -> list[TransportAddress]:
        """
        Where our relays see us come from; the ports are those of TCP.
        """
        return [client.welcome.observed for client in self.clients.values() if client.welcome]

    @property
    def is_on_this_machine(self) -> bool:
        """
        Whether a relay that we use was dialled on loopback and saw us there: what it
        says does not do, since peers name relays too.
        """
        return any(
            _is_loopback(client.welcome.observed.host) and _is_loopback(client.address)
            for client in self.clients.values()
            if client.welcome is not None
        )
