# -*- test-case-name: tests.classic.test_stun -*-
"""
How others see this machine: the original's names for STUN.

Servers are asked because somebody calls these functions, and for no other reason.
"""

from __future__ import annotations

from collections.abc import Iterable

from twisted.internet.defer import Deferred

from atmosphere.addresses import TransportAddress
from atmosphere.errors import DecodeError, ListenError
from atmosphere.network.stun.discovery import STUN_SERVERS as PUBLIC_SERVERS, Agreement, Server
from atmosphere.network.stun.public_endpoint import NetworkInfo, PublicEndpoint
from atmosphere.network.stun.service import discover, resolver

from .ports import Port, open_port
from .world import World, the_world

__all__ = [
    "STUN_SERVERS",
    "NetworkInfo",
    "PublicEndpoint",
    "discover_public_ip",
    "forget_public_ip",
    "gather_network_info",
    "get_local_ip",
    "known_endpoints",
]

#: The servers that are asked, as pairs of host and port; change the list in
#: place to ask others. C{"HOST:PORT"} is good as well.
STUN_SERVERS: list[tuple[str, int] | str] = [(each.host, each.port) for each in PUBLIC_SERVERS]

NO_NAT = "none"
NOT_COMPARED = "NAT, mapping not compared: one server alone answered"
STABLE = "endpoint-independent mapping"
UNSTABLE = "address-dependent mapping"

_Known = dict[tuple[int, tuple[Server, ...]], PublicEndpoint]


def _servers(entries: Iterable[tuple[str, int] | str]) -> tuple[Server, ...]:
    """
    Read the list of servers.

    @raise DecodeError: an entry is none.
    """
    return tuple(
        Server.from_text(each) if isinstance(each, str) else Server(each[0], each[1])
        for each in entries
    )


def get_local_ip(*, world: World | None = None) -> str:
    """
    Find the address that this machine sends from. Nothing is sent for it.

    @return: IPv4 if there is such; C{"127.0.0.1"} on a machine without a network.
    """
    routes = the_world(world).routes()
    return routes.get(False) or routes.get(True) or "127.0.0.1"


def discover_public_ip(
    local_port: int = 0, timeout: float = 3.0, *, world: World | None = None
) -> Deferred[PublicEndpoint | None]:
    """
    Ask several STUN servers how they see a UDP port of ours.

    What most of them say is believed, and kept for the session: who asks again
    for the same port is told the same at once. When this process has the port
    open, by C{NATTraversal} or C{punch_hole}, it is asked from there. If
    another process has it, it is asked from some other port: then the address
    is right, and the port that other one's.

    @param local_port: 0 for any.
    @param timeout: seconds.
    @return: fires with the endpoint, L{None} if no server answered. Cancelling
        ends the search.
    """
    return Deferred.fromCoroutine(_discover(the_world(world), local_port, timeout))


def gather_network_info(local_port: int, *, world: World | None = None) -> Deferred[NetworkInfo]:
    """
    Find out about the network that this machine is in.

    @param local_port: the UDP port that is to be reachable.
    @return: fires with what was found, however little. Cancelling ends the search.
    """
    return Deferred.fromCoroutine(_gather(the_world(world), local_port))


def forget_public_ip(*, world: World | None = None) -> None:
    """
    Forget what was found out in this session, because the network has changed.
    """
    the_world(world).session.pop("public", None)


def known_endpoints(local_port: int, world: World) -> list[PublicEndpoint]:
    """
    List what was found out about a port in this session; nobody is asked.
    """
    known: _Known = world.session.get("public", {})
    return [endpoint for (port, _), endpoint in known.items() if port == local_port]


async def _gather(world: World, local_port: int) -> NetworkInfo:
    """
    Do what L{gather_network_info} says.
    """
    endpoint = await _discover(world, local_port, 3.0)
    local_ip = get_local_ip(world=world)
    if endpoint is None:
        is_private = not PublicEndpoint(local_ip, local_port, "manual").is_public
        return NetworkInfo(local_ip, local_port, None, is_private, None)
    is_behind_nat = endpoint.nat_type != NO_NAT
    return NetworkInfo(local_ip, local_port, endpoint, is_behind_nat, endpoint.nat_type)


async def _discover(world: World, local_port: int, timeout: float) -> PublicEndpoint | None:
    """
    Do what L{discover_public_ip} says.
    """
    servers = _servers(STUN_SERVERS)
    known: _Known = world.session.setdefault("public", {})
    found = known.get((local_port, servers))
    if found is not None:
        return found
    ports = _open(world, local_port)
    if not ports:
        return None
    try:
        discovery = await discover(
            world.reactor,
            servers,
            resolver(world.reactor),
            ipv4=ports[False].protocol.stun if False in ports else None,
            ipv6=ports[True].protocol.stun if True in ports else None,
            patience=timeout,
        )
    finally:
        for port in ports.values():
            await port.release()
    for agreement in discovery.agreements:
        endpoint = _endpoint(world, agreement)
        known[local_port, servers] = endpoint
        return endpoint
    return None


def _open(world: World, local_port: int) -> dict[bool, Port]:
    """
    Open the ports to ask from, by whether they are IPv6: the wanted ones if
    they can be had, else others.
    """
    ports: dict[bool, Port] = {}
    for is_ipv6 in (False, True):
        for number in dict.fromkeys((local_port, 0)):
            try:
                ports[is_ipv6] = open_port(world, number, is_ipv6=is_ipv6)
            except ListenError:
                continue
            break
    return ports


def _endpoint(world: World, agreement: Agreement) -> PublicEndpoint:
    """
    Say how others see us, and through what.
    """
    seen = agreement.address
    return PublicEndpoint(
        seen.host, seen.port, f"stun:{agreement.servers[0]}", _nat_type(world, agreement)
    )


def _nat_type(world: World, agreement: Agreement) -> str:
    """
    Say in words what is between us and the servers.
    """
    if agreement.address.host in _own(world):
        return NO_NAT
    match agreement.has_stable_port:
        case None:
            return NOT_COMPARED
        case True:
            return STABLE
        case False:
            return UNSTABLE


def _own(world: World) -> set[str]:
    """
    List this machine's addresses in the text that others use too.
    """
    own = set()
    for text in (*world.addresses(), *world.routes().values(), "127.0.0.1", "::1"):
        try:
            own.add(TransportAddress(text, 0).host)
        except DecodeError:
            continue
    return own
