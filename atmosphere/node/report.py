# -*- test-case-name: tests.node.test_report -*-
"""
What a node can find out about the network that it is in.

L{gather} puts a report together from parts that a running node has anyway;
L{gather_alone} makes those parts for as long as the report takes, so that
C{atmosphere network} needs no running node. What was not measured is C{None}.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from statistics import median_low
from typing import Any
from urllib.parse import urlsplit

from twisted.internet.defer import CancelledError, Deferred, DeferredList, maybeDeferred

from atmosphere.addresses import AddressKind, TransportAddress, address_kind
from atmosphere.errors import DecodeError
from atmosphere.identity import NodeKey
from atmosphere.network.relay.client import RelayClient
from atmosphere.network.relay.frames import HelloCredentials
from atmosphere.network.stun.behavior import Behavior
from atmosphere.network.stun.discovery import STUN_SERVERS, Server
from atmosphere.network.stun.probe_client import OpenPort

from .advice import advise, ipv6_words, notes, reachable_words
from .api import JSON
from .config import DEFAULT_STUN_PORT, NodeConfig
from .measuring import Measurement, measure
from .ports import check_interfaces
from .relay_facts import RelayFacts, relay_facts

__all__ = [
    "gather",
    "gather_alone",
    "local_addresses",
    "make_report",
    "stun_servers",
]

#: Seconds in which a relay must have let us in to be called reachable.
RELAY_PATIENCE = 5.0

#: Addresses for documentation: asking the system for a route there sends nothing.
_FAR_AWAY = {False: "192.0.2.1", True: "2001:db8::1"}


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


def local_addresses(interfaces: Iterable[str] = ("0.0.0.0", "::")) -> dict[bool, str]:
    """
    Find the addresses that this machine sends from, by whether they are IPv6.

    No datagram leaves it.

    @param interfaces: the addresses that are listened on, one for each family.
    """
    found = {}
    for interface in interfaces:
        is_ipv6 = ":" in interface
        if interface not in ("0.0.0.0", "::"):
            found[is_ipv6] = interface
            continue
        far = _FAR_AWAY[is_ipv6]
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


def _family(behavior: Behavior) -> JSON:
    """
    Tell what was measured in one address family.
    """
    is_far = behavior.scope is not AddressKind.LOOPBACK
    mapping, filtering = behavior.mapping, behavior.filtering
    return {
        "local": None if behavior.local is None else str(behavior.local),
        "public": None if behavior.mapped is None else str(behavior.mapped),
        "behind_nat": behavior.is_behind_nat if is_far else None,
        "reachable": behavior.reachable if is_far else None,
        "mapping": mapping.value if mapping is not None and is_far else None,
        "mapping_is_certain": behavior.is_mapping_certain and is_far,
        "filtering": filtering.value if filtering is not None and is_far else None,
    }


def _is_udp_working(measurement: Measurement, relays: Sequence[RelayFacts]) -> bool | None:
    """
    Say whether UDP passes. Silence tells nothing where the relay is silent by TCP too.
    """
    if measurement.is_udp_working:
        return True
    gone = {urlsplit(each.url).hostname for each in relays if not each.is_ok}
    asked = [each.host for each in measurement.names.values()]
    return False if set(asked) - gone else None


def _clock_offset(relays: Sequence[RelayFacts]) -> float | None:
    """
    Say by how many seconds the relays' clock is ahead of ours: the middle one of them.
    """
    offsets = [each.clock_offset for each in relays if each.clock_offset is not None]
    return round(median_low(offsets), 3) if offsets else None


def make_report(
    config: NodeConfig,
    *,
    local: dict[bool, str],
    port: int | None,
    measurement: Measurement | None,
    relays: Sequence[RelayFacts],
    wanted_port: int | None = None,
) -> JSON:
    """
    Put a report together of what was measured.

    @param local: see L{local_addresses}.
    @param port: our UDP port, unless the measurement knows better.
    @param measurement: what the STUN servers said; C{None} if none was asked.
    @param wanted_port: the UDP port that was to be measured.
    """
    main = None if measurement is None else measurement.main
    here = local.get(False) or local.get(True)
    if main is not None and main.local is not None:
        port = main.local.port
        if main.scope is not AddressKind.LOOPBACK and main.mapped is not None:
            here = main.local.host
    families = {}
    for is_ipv6 in (False, True):
        behavior = None if measurement is None else measurement.believed(is_ipv6=is_ipv6)
        if behavior is not None:
            families["ipv6" if is_ipv6 else "ipv4"] = _family(behavior)
    facts = _family(main) if main is not None else _family(Behavior())
    udp = None if measurement is None else _is_udp_working(measurement, relays)
    clock_offset = _clock_offset(relays)
    has_ipv6 = True in local and _is_global(local[True])
    is_ipv6_seen = families.get("ipv6", {}).get("public") is not None
    public = [] if measurement is None else measurement.public()
    public += [
        {"ip": each.host, "port": each.port or port, "source": "manual"}
        for each in config.advertise
    ]
    return {
        "local": {"ip": here, "port": port},
        "public": public,
        "behind_nat": facts["behind_nat"],
        "reachable": facts["reachable"],
        "reachable_because": reachable_words(main),
        "mapping": facts["mapping"],
        "mapping_is_certain": facts["mapping_is_certain"],
        "filtering": facts["filtering"],
        "relays": [each.as_json() for each in relays],
        "udp": udp,
        "ipv6": True if is_ipv6_seen else (None if has_ipv6 else False),
        "ipv6_because": ipv6_words(
            local.get(True),
            None if measurement is None else measurement.believed(is_ipv6=True),
            interfaces=config.interfaces,
        ),
        "clock_offset_s": clock_offset,
        "families": families,
        "servers": [] if measurement is None else measurement.servers(),
        "notes": notes(measurement, wanted_port, port),
        "advice": advise(
            measurement,
            relays,
            port=port,
            clock_offset=clock_offset,
            is_udp_working=udp,
            advertised=[
                str(replace(each, port=each.port or port or 0)) for each in config.advertise
            ],
        ),
    }


async def gather(
    reactor: Any,
    config: NodeConfig,
    *,
    entropy: Callable[[int], bytes],
    port: int | None,
    relays: Sequence[RelayFacts],
    named: Sequence[Server] = (),
    open_ports: Mapping[bool, OpenPort] | None = None,
) -> JSON:
    """
    Measure the network, and report on it.

    @param reactor: provides UDP, time and the resolution of names.
    @param port: the UDP port that the report is about.
    @param relays: what relay clients know.
    @param named: STUN servers to ask besides.
    @param open_ports: gives that port, by whether it is IPv6, where a node has it open.
    """
    servers = stun_servers(config, relays, may_ask_public=not named)
    servers = list(dict.fromkeys([*servers, *named]))
    measurement = None
    if servers:
        measurement = await measure(
            reactor,
            servers,
            entropy=entropy,
            port=port or 0,
            interfaces=config.interfaces,
            open_ports=open_ports,
        )
    return make_report(
        config,
        local=local_addresses(config.interfaces),
        port=port,
        measurement=measurement,
        relays=relays,
        wanted_port=port,
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
    @raise ListenError: an address to listen on is not one of this machine's.
    """
    await check_interfaces(reactor, config.interfaces)
    waiting: dict[RelayClient, Deferred[None]] = {}

    def changed(client: RelayClient) -> None:
        if (client.is_welcomed or client.error) and not waiting[client].called:
            waiting[client].callback(None)

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
            on_change=changed,
            ca_file=config.relay_ca,
        )
        clients.append(client)
        waiting[client] = Deferred()
    try:
        for client in clients:
            client.startService()
        await _all_settled([each.addTimeout(RELAY_PATIENCE, reactor) for each in waiting.values()])
        await _all_settled([_measured(reactor, each) for each in clients])
        relays = [relay_facts(each) for each in clients]
        return await gather(reactor, config, entropy=entropy, port=port, relays=relays)
    finally:
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
