# -*- test-case-name: tests.network.path.test_ways -*-
"""
Ways to a peer: straight to an address of it, or through a relay.

A way is what a datagram comes by and leaves by; which one is used is decided in
L{atmosphere.network.path.paths}.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import TypeAlias, assert_never

from atmosphere.addresses import TransportAddress
from atmosphere.identity import NodeID

__all__ = ["DirectWay", "RelayedWay", "Way", "way_source", "way_text"]


@dataclass(frozen=True, slots=True)
class DirectWay:
    """
    UDP from a socket of ours straight to an address.

    @ivar address: the peer's, or its NAT's.
    @ivar socket: the local port of a socket that is there for this way alone; C{None}
        for the one that all share in that address family.
    """

    address: TransportAddress
    socket: int | None = None


@dataclass(frozen=True, slots=True)
class RelayedWay:
    """
    Through a relay that both of us are connected to.

    @ivar relay: the relay's URL as we dial it.
    @ivar peer: whom the relay hands the datagrams to.
    """

    relay: str
    peer: NodeID


Way: TypeAlias = DirectWay | RelayedWay


def way_text(way: Way | None) -> str:
    """
    Name a way for people and logs; the peer is known from the context.
    """
    match way:
        case None:
            return "no way"
        case DirectWay(address, None):
            return str(address)
        case DirectWay(address, socket):
            return f"{address} from our port {socket}"
        case RelayedWay(relay):
            return f"relay {relay}"
        case never:
            assert_never(never)


def way_source(way: Way) -> str:
    """
    Say what counts as one source: a relay, an IPv4 address, an IPv6 /64.
    """
    if isinstance(way, RelayedWay):
        return way.relay
    if not way.address.is_ipv6:
        return way.address.host
    return str(ipaddress.ip_network((way.address.packed[:8] + bytes(8), 64)))
