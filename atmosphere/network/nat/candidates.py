# -*- test-case-name: tests.network.nat.test_candidates -*-
"""
Candidates: the transport addresses at which a node may be reached, how they
rank, and which addresses of a peer we are willing to try (RFC 8445 §5.1).
"""

from __future__ import annotations

import hashlib
import ipaddress
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from functools import lru_cache
from typing import assert_never

from atmosphere.addresses import (
    AddressKind,
    Network,
    TransportAddress,
    address_kind,
    candidate_refusal,
)

__all__ = [
    "MAX_CANDIDATES",
    "AddressRules",
    "Candidate",
    "CandidateType",
    "Interface",
    "candidate_foundation",
    "candidate_priority",
    "has_way_out",
    "host_candidates",
    "interface_refusal",
    "make_candidate",
    "networks_of",
    "prune",
    "share_public_address",
]

#: The most that one side offers.
MAX_CANDIDATES = 16

MAX_LOCAL_PREFERENCE = 65535


class CandidateType(Enum):
    """
    How a candidate was come by. The values are those of the offer.
    """

    HOST = 0
    SERVER_REFLEXIVE = 1
    PEER_REFLEXIVE = 2
    RELAYED = 3
    MAPPED = 4
    ADVERTISED = 5

    @property
    def preference(self) -> int:
        """
        The type preference of RFC 8445 §5.1.2.2.

        What a router was asked to forward is better than what was merely seen
        from outside; what the user advertises is as good as a host address.
        """
        return _PREFERENCES[self]

    @property
    def is_reached_as_told(self) -> bool:
        """
        Whether a stranger reaches the address without a hole in a NAT.
        """
        return self in _REACHED_AS_TOLD


_PREFERENCES = {
    CandidateType.HOST: 126,
    CandidateType.ADVERTISED: 126,
    CandidateType.PEER_REFLEXIVE: 110,
    CandidateType.MAPPED: 105,
    CandidateType.SERVER_REFLEXIVE: 100,
    CandidateType.RELAYED: 0,
}
_REACHED_AS_TOLD = (CandidateType.HOST, CandidateType.ADVERTISED, CandidateType.MAPPED)


@dataclass(frozen=True, slots=True)
class Candidate:
    """
    One transport address at which a node may be reached.

    @ivar type: how it was come by.
    @ivar address: where to send.
    @ivar priority: 1 to 2^31 - 1, see L{candidate_priority}.
    @ivar foundation: equal for candidates that fail for the same reason.
    """

    type: CandidateType
    address: TransportAddress
    priority: int
    foundation: str


@dataclass(frozen=True, slots=True)
class Interface:
    """
    One address of a network interface.

    @ivar name: the interface's.
    @ivar address: the IP address as text.
    @ivar prefix: how many bits of it name the network.
    """

    name: str
    address: str
    prefix: int

    @property
    def network(self) -> Network:
        """
        The network that the interface is directly connected to.
        """
        return _network(self.address, self.prefix)


@lru_cache(maxsize=256)
def _network(address: str, prefix: int) -> Network:
    """
    Read a network; the same few are asked for with each link.
    """
    return ipaddress.ip_network(f"{address}/{prefix}", strict=False)


def candidate_priority(
    candidate_type: CandidateType, local_preference: int = MAX_LOCAL_PREFERENCE, component: int = 1
) -> int:
    """
    Rank a candidate: C{2^24 type + 2^8 local preference + (256 - component)}.

    @param local_preference: 0 to 65535, distinct among candidates of one type.
    @raise ValueError: an argument is out of range.
    @see: RFC 8445 §5.1.2.1
    """
    if not 0 <= local_preference <= MAX_LOCAL_PREFERENCE or not 1 <= component <= 256:
        raise ValueError(f"local preference {local_preference}, component {component}")
    return (candidate_type.preference << 24) + (local_preference << 8) + 256 - component


def candidate_foundation(candidate_type: CandidateType, base: str, server: str = "") -> str:
    """
    Name what a candidate's fate depends on: its type, the address that it is
    based on, and the server that told it.

    @return: 8 characters; equal for the same three.
    @see: RFC 8445 §5.1.1.3
    """
    told = f"{candidate_type.value} udp {base} {server}"
    return hashlib.sha256(told.encode()).hexdigest()[:8]


def make_candidate(
    candidate_type: CandidateType,
    address: TransportAddress,
    *,
    local_preference: int = MAX_LOCAL_PREFERENCE,
    base: str | None = None,
    server: str = "",
) -> Candidate:
    """
    Make a candidate with its priority and foundation.

    @param base: the host's own address that it belongs to; the address itself
        unless given.
    @param server: the STUN server that told it, if any.
    """
    return Candidate(
        candidate_type,
        address,
        candidate_priority(candidate_type, local_preference),
        candidate_foundation(candidate_type, address.host if base is None else base, server),
    )


# ------------------------------------------------------------- host candidates

#: Bridges of containers and virtual machines, and radios that reach no network.
_INWARD = re.compile(
    r"(docker|podman|virbr|lxcbr|lxdbr|vmnet|vboxnet|cni|flannel|cali|awdl|llw|atmosphere)"
    r"|br-[0-9a-f]{12}$"
)


def interface_refusal(interface: Interface, *, allow_loopback: bool = False) -> str | None:
    """
    Say why an interface's address is no host candidate.

    @param allow_loopback: both peers are known to be on this machine.
    @return: the reason in a few words; C{None} if the address is good.
    """
    if _INWARD.match(interface.name):
        return f"{interface.name} leads only into this machine"
    match address_kind(ipaddress.ip_address(interface.address).packed):
        case AddressKind.LOOPBACK:
            return None if allow_loopback else "a loopback address"
        case AddressKind.LINK_LOCAL:
            return "a link-local address"
        case AddressKind.NEVER:
            return "an address that names no host"
        case AddressKind.PRIVATE | AddressKind.GLOBAL:
            return None
        case never:
            assert_never(never)


def has_way_out(interfaces: Iterable[Interface], *, is_ipv6: bool) -> bool:
    """
    Say whether there is an address of a family to send to other machines from.

    Some that are no candidates are: that of 464XLAT (192.0.0.0/29, RFC 7335), or the
    link-local one that some sandboxes have, lead out through a NAT.
    """
    return any(
        _INWARD.match(each.name) is None and _leads_out(each.address)
        for each in interfaces
        if (":" in each.address) is is_ipv6
    )


def _leads_out(address: str) -> bool:
    """
    Say whether datagrams from an address of ours can get to other machines.
    """
    match address_kind(ipaddress.ip_address(address).packed):
        case AddressKind.LOOPBACK:
            return False
        case AddressKind.LINK_LOCAL:
            return ":" not in address
        case AddressKind.NEVER | AddressKind.PRIVATE | AddressKind.GLOBAL:
            return True
        case never:
            assert_never(never)


def host_candidates(
    interfaces: Iterable[Interface],
    *,
    ipv4_port: int | None,
    ipv6_port: int | None,
    allow_loopback: bool = False,
) -> tuple[Candidate, ...]:
    """
    Make a candidate of each good address of our interfaces.

    The families take turns, IPv6 first, so that neither starves (RFC 8421 §4).

    @param ipv4_port: our UDP port for IPv4; C{None} if there is none.
    @param ipv6_port: likewise for IPv6.
    @return: at most L{MAX_CANDIDATES}, the best first.
    """
    turns = {True: 0, False: 1}
    found = []
    for interface in interfaces:
        if interface_refusal(interface, allow_loopback=allow_loopback) is not None:
            continue
        is_ipv6 = ":" in interface.address
        port = ipv6_port if is_ipv6 else ipv4_port
        if port is None:
            continue
        address = TransportAddress(interface.address, port)
        preference = max(0, MAX_LOCAL_PREFERENCE - turns[is_ipv6])
        turns[is_ipv6] += 2
        found.append(make_candidate(CandidateType.HOST, address, local_preference=preference))
    return prune(found)


def prune(candidates: Iterable[Candidate], limit: int = MAX_CANDIDATES) -> tuple[Candidate, ...]:
    """
    Keep the best candidate for each address, and the best of all.

    @return: at most C{limit}, the highest priority first.
    @see: RFC 8445 §5.1.3
    """
    best: dict[TransportAddress, Candidate] = {}
    for each in candidates:
        known = best.get(each.address)
        if known is None or known.priority < each.priority:
            best[each.address] = each
    return tuple(sorted(best.values(), key=lambda each: (-each.priority, each.address))[:limit])


def networks_of(interfaces: Iterable[Interface]) -> tuple[Network, ...]:
    """
    List the networks that we are directly connected to, each once; those of
    bridges into this machine do not count.
    """
    return tuple(
        dict.fromkeys(
            interface.network for interface in interfaces if interface_refusal(interface) is None
        )
    )


# ---------------------------------------------------------- a peer's addresses


def share_public_address(ours: Iterable[Candidate], theirs: Iterable[Candidate]) -> bool:
    """
    Say whether two nodes were seen at the same public address, so that they
    may well be behind the same NAT.
    """

    def seen(candidates: Iterable[Candidate]) -> set[str]:
        """
        The hosts that others saw.
        """
        return {
            each.address.host for each in candidates if each.type is CandidateType.SERVER_REFLEXIVE
        }

    return not seen(ours).isdisjoint(seen(theirs))


@dataclass(frozen=True, slots=True)
class AddressRules:
    """
    What we know of ourselves, to judge the addresses that a peer gives: the
    one choke point before a check goes to an address.

    @ivar own: where we listen.
    @ivar own_networks: the prefixes that we are directly connected to.
    @ivar allow_loopback: both peers are known to be on this machine.
    @ivar allow_private: private addresses are good anywhere (an option).
    @ivar barred: by whether it is IPv6, each address family that we cannot send by, and
        why; none while that is not known.
    """

    own: frozenset[TransportAddress] = frozenset()
    own_networks: tuple[Network, ...] = field(default=())
    allow_loopback: bool = False
    allow_private: bool = False
    barred: Mapping[bool, str] = field(default_factory=dict, hash=False)

    def bar(self, address: TransportAddress) -> str | None:
        """
        Say why nothing can be sent by the family of an address; C{None} if something can.
        """
        is_loopback = address_kind(address.packed) is AddressKind.LOOPBACK
        return None if is_loopback else self.barred.get(address.is_ipv6)

    def refusal(
        self, address: TransportAddress, *, is_near: bool = False, was_heard: bool = False
    ) -> str | None:
        """
        Say why an address must not be tried.

        @param is_near: the peer shares our public address: a private address is good then.
        @param was_heard: a datagram from the peer came from just there: a private address
            is good, and its family works.
        @return: the reason in a few words; C{None} if the address may be tried.
        """
        bar = None if was_heard else self.bar(address)
        return bar or candidate_refusal(
            address,
            own=self.own,
            own_networks=self.own_networks,
            allow_loopback=self.allow_loopback,
            allow_private=self.allow_private or is_near or was_heard,
        )
