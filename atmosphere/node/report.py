# -*- test-case-name: tests.node.test_report -*-
"""
What a node can find out about the network that it is in.

L{gather} puts a report together from parts that a running node has anyway;
L{gather_alone} makes those parts for as long as the report takes, so that
C{atmosphere network} needs no running node. What was not measured is C{None}.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from twisted.internet.defer import CancelledError, Deferred, DeferredList, maybeDeferred
from twisted.internet.error import CannotListenError

from atmosphere.addresses import AddressKind, TransportAddress, address_kind
from atmosphere.errors import DecodeError
from atmosphere.identity import NodeKey
from atmosphere.network.relay.client import RelayClient
from atmosphere.network.relay.frames import HelloCredentials
from atmosphere.network.stun.client import StunClient
from atmosphere.network.stun.discovery import STUN_SERVERS, Agreement, Discovery, Server
from atmosphere.network.stun.service import PublicAddressFinder, resolver

from .api import JSON
from .config import DEFAULT_STUN_PORT, NodeConfig

__all__ = [
    "RelayFacts",
    "gather",
    "gather_alone",
    "local_addresses",
    "make_report",
    "relay_facts",
    "stun_servers",
]

#: Seconds in which a relay must have let us in to be called reachable.
RELAY_PATIENCE = 5.0

#: Addresses for documentation: asking the system for a route there sends nothing.
_FAR_AWAY = {False: "192.0.2.1", True: "2001:db8::1"}


@dataclass(frozen=True, slots=True)
class RelayFacts:
    """
    What was found out about a relay.

    @ivar rtt: seconds.
    @ivar error: why it did not let us in.
    @ivar stun_ports: where it answers STUN, as it says.
    """

    url: str
    is_ok: bool
    rtt: float | None = None
    error: str | None = None
    stun_ports: tuple[int, ...] = ()

    def as_json(self) -> JSON:
        """
        Give what a report shows.
        """
        rtt_ms = None if self.rtt is None else round(self.rtt * 1000, 3)
        return {"url": self.url, "rtt_ms": rtt_ms, "ok": self.is_ok, "error": self.error}


def relay_facts(client: RelayClient) -> RelayFacts:
    """
    Say what a relay's client knows of it.
    """
    welcome = client.welcome
    return RelayFacts(
        client.url,
        client.is_welcomed,
        client.rtt,
        client.error,
        () if welcome is None else welcome.stun_ports,
    )


def stun_servers(
    config: NodeConfig, relays: Iterable[RelayFacts], *, may_ask_public: bool
) -> list[Server]:
    """
    Choose whom to ask for our public address: the STUN servers of our
    relays, those that were configured, and only without either the public ones.

    @param may_ask_public: whether this is for a command that needs an answer.
    """
    chosen = []
    for relay in relays:
        host = urlsplit(relay.url).hostname
        ports = relay.stun_ports if relay.is_ok else (DEFAULT_STUN_PORT,)
        chosen += [Server(host, port) for port in ports if host]
    chosen += [Server(each.host, each.port) for each in config.stun_servers]
    if not chosen and not config.relays and config.public_stun and may_ask_public:
        chosen = list(STUN_SERVERS)
    return list(dict.fromkeys(chosen))


def local_addresses() -> dict[bool, str]:
    """
    Find the addresses that this machine sends from, by whether they are IPv6.

    No datagram leaves it.
    """
    found = {}
    for is_ipv6, far in _FAR_AWAY.items():
        family = socket.AF_INET6 if is_ipv6 else socket.AF_INET
        try:
            with socket.socket(family, socket.SOCK_DGRAM) as probe:
                probe.connect((far, 9))
                found[is_ipv6] = TransportAddress(probe.getsockname()[0], 9).host
        except (OSError, DecodeError):
            continue
    return found


def _is_global(host: str) -> bool:
    """
    Say whether an address is good in the whole Internet.
    """
    return address_kind(TransportAddress(host, 9).packed) is AddressKind.GLOBAL


def _public(config: NodeConfig, agreements: Sequence[Agreement]) -> list[JSON]:
    """
    List our public addresses and how we know them.
    """
    found = [
        {
            "ip": each.address.host,
            "port": each.address.port,
            "source": "stun:" + ",".join(map(str, each.servers)),
        }
        for each in agreements
    ]
    return found + [
        {"ip": each.host, "port": each.port, "source": "manual"} for each in config.advertise
    ]


def _mapping(discovery: Discovery) -> str | None:
    """
    Say in the words of RFC 4787 how our NAT maps, from what several servers saw.
    """
    agreement = discovery.ipv4 or discovery.ipv6
    if agreement is None or agreement.has_stable_port is None:
        return None
    return "endpoint-independent" if agreement.has_stable_port else "address-dependent"


def _is_behind_nat(local: dict[bool, str], agreements: Sequence[Agreement]) -> bool | None:
    """
    Say whether others see us at another address than our own, in IPv4 if that
    was measured. What a server on this machine sees says nothing.
    """
    for agreement in agreements:
        seen = agreement.address
        if address_kind(seen.packed) is not AddressKind.LOOPBACK:
            return seen.host != local.get(seen.is_ipv6)
    return None


def make_report(
    config: NodeConfig,
    *,
    local: dict[bool, str],
    port: int | None,
    discovery: Discovery | None,
    relays: Iterable[RelayFacts],
) -> JSON:
    """
    Put a report together of what was measured.

    @param local: see L{local_addresses}.
    @param port: our UDP port.
    @param discovery: what the STUN servers said; C{None} if none was asked.
    """
    agreements = () if discovery is None else discovery.agreements
    has_ipv6 = True in local and _is_global(local[True])
    is_ipv6_seen = discovery is not None and discovery.ipv6 is not None
    return {
        "local": {"ip": local.get(False) or local.get(True), "port": port},
        "public": _public(config, agreements),
        "behind_nat": _is_behind_nat(local, agreements),
        "reachable": None,
        "mapping": None if discovery is None else _mapping(discovery),
        "filtering": None,
        "relays": [each.as_json() for each in relays],
        "udp": None if discovery is None else bool(agreements),
        "ipv6": True if is_ipv6_seen else (None if has_ipv6 else False),
        "notes": [] if discovery is None else _notes(discovery),
    }


def _notes(discovery: Discovery) -> list[str]:
    """
    Say what a person should know: servers that failed, or that lie.
    """
    notes = [f"STUN server {server}: {reason}" for server, reason in discovery.failures]
    return notes + [f"STUN server {server} says otherwise than most" for server in discovery.liars]


async def gather(
    config: NodeConfig,
    *,
    finder: PublicAddressFinder,
    port: int | None,
    relays: Sequence[RelayFacts],
) -> JSON:
    """
    Report on the network with the parts of a running node.

    @param finder: asks STUN servers from the node's own UDP port, or knows.
    @param port: that port.
    @param relays: what the node's relay clients know.
    """
    servers = stun_servers(config, relays, may_ask_public=True)
    discovery = await finder.find(servers) if servers else None
    return make_report(
        config, local=local_addresses(), port=port, discovery=discovery, relays=relays
    )


async def gather_alone(
    reactor: Any,
    config: NodeConfig,
    *,
    key: NodeKey,
    credentials: HelloCredentials,
    port: int,
    entropy: Callable[[int], bytes],
    wall: Callable[[], float],
    random: Callable[[], float],
) -> JSON:
    """
    Report on the network without a running node: ask from a UDP port of our
    own, and log in to the relays for as long as it takes.

    @param key: the node's, or one made for this alone.
    @param credentials: what a relay wants to see.
    @param port: the UDP port to ask from if it is free, else any.
    """
    clients = []
    for url in config.relays:
        client = RelayClient(
            reactor,
            url,
            key,
            entropy=entropy,
            wall=wall,
            random=random,
            hello=lambda: credentials,
            on_datagrams=lambda client, source, datagrams: None,
            on_change=lambda client: None,
            ca_file=config.relay_ca,
        )
        clients.append(client)
    ipv4, ipv6 = StunClient(reactor, entropy), StunClient(reactor, entropy)
    ports = []
    try:
        for client in clients:
            client.startService()
        listening = _listen(reactor, port, ipv4, "0.0.0.0")
        ports = [each for each in (listening, _listen(reactor, port, ipv6, "::")) if each]
        finder = PublicAddressFinder(reactor, resolver(reactor), ipv4=ipv4, ipv6=ipv6)
        waiting = [each.when_welcomed().addTimeout(RELAY_PATIENCE, reactor) for each in clients]
        await _all_settled(waiting)
        await _all_settled([_measured(reactor, each) for each in clients])
        relays = [relay_facts(each) for each in clients]
        bound = listening.getHost().port if listening is not None else None
        return await gather(config, finder=finder, port=bound, relays=relays)
    finally:
        for each in [*ports]:
            await maybeDeferred(each.stopListening)
        for client in clients:
            await maybeDeferred(client.stopService)


async def _all_settled(waiting: Sequence[Deferred[Any]]) -> None:
    """
    Wait until each has succeeded or failed.

    @raise CancelledError: we were cancelled, which a C{DeferredList} keeps to itself.
    """
    for is_good, result in await DeferredList(waiting, consumeErrors=True):
        if not is_good and result.check(CancelledError):
            raise CancelledError()


def _measured(reactor: Any, client: RelayClient) -> Deferred[None]:
    """
    Wait a moment for a relay's round-trip time, if it let us in.
    """

    async def wait() -> None:
        for _ in range(20):
            if client.rtt is not None or not client.is_welcomed:
                return
            moment: Deferred[None] = Deferred()
            reactor.callLater(0.05, moment.callback, None)
            await moment

    return Deferred.fromCoroutine(wait())


def _listen(reactor: Any, port: int, client: StunClient, interface: str) -> Any:
    """
    Open a UDP port: the wanted one if it is free, else any.

    @return: C{None} where the system has no such address family.
    """
    for number in (port, 0):
        try:
            return reactor.listenUDP(number, client, interface=interface)
        except CannotListenError:
            continue
    return None
