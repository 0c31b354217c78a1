# -*- test-case-name: tests.test_addresses -*-
"""
Transport addresses, and which of them a stranger may make us send to.

The standard library's C{is_private}, C{is_global} and their kin differ by
version of Python, so the table is ours: it works on the bytes of an address,
looks inside those that wrap another, and every address that a peer gives
passes L{candidate_refusal} before a datagram goes to it.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from typing import Any

from typing_extensions import override

from .errors import DecodeError

__all__ = ["AddressKind", "TransportAddress", "address_kind", "candidate_refusal"]

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True, slots=True, order=True)
class TransportAddress:
    """
    An IP address and a UDP port.

    @ivar host: the address in its canonical text; an IPv4 address that is
        wrapped as C{::ffff:a.b.c.d} is held as IPv4.
    @ivar port: 0 to 65535.
    @raise DecodeError: not an IP literal, a zone, or a port out of range.
    """

    host: str
    port: int

    def __post_init__(self) -> None:
        """
        Bring the host to its canonical text.
        """
        try:
            parsed = ipaddress.ip_address(self.host)
        except ValueError:
            raise DecodeError(f"{self.host[:80]!r} is not an IP address") from None
        if isinstance(parsed, ipaddress.IPv6Address):
            if parsed.scope_id is not None:
                raise DecodeError("an address with a zone means nothing to others")
            if parsed.packed[:12] == _MAPPED:
                parsed = ipaddress.IPv4Address(parsed.packed[12:])
        if not 0 <= self.port <= 65535:
            raise DecodeError(f"{self.port} is not a port")
        object.__setattr__(self, "host", str(parsed))

    @classmethod
    def from_bytes(cls, packed: bytes, port: int) -> TransportAddress:
        """
        Make one of 4 or 16 bytes in network order.

        @raise DecodeError: another length.
        """
        if len(packed) not in (4, 16):
            raise DecodeError(f"an IP address has 4 or 16 bytes, not {len(packed)}")
        return cls(str(ipaddress.ip_address(packed)), port)

    @classmethod
    def from_text(cls, text: str) -> TransportAddress:
        """
        Read C{192.0.2.1:7777} or C{[2001:db8::1]:7777}.

        @raise DecodeError: anything else.
        """
        host, colon, port = text.rpartition(":")
        is_bracketed = host.startswith("[") and host.endswith("]")
        if not colon or not (port.isascii() and port.isdigit() and len(port) <= 5):
            raise DecodeError(f"{text[:80]!r} is not HOST:PORT")
        if is_bracketed != (":" in host):
            raise DecodeError(f"{text[:80]!r}: an IPv6 address goes in brackets, and only such")
        return cls(host[1:-1] if is_bracketed else host, int(port))

    @classmethod
    def from_socket(cls, address: tuple[Any, ...]) -> TransportAddress:
        """
        Read what a socket says of itself, or of who sent it something.

        @param address: host and port, and for IPv6 perhaps more; the zone of a
            link-local address means nothing to others and is left out.
        @raise DecodeError: it is no address at which anybody can be reached by IP.
        """
        host, port = address[:2]
        return cls(host.partition("%")[0], port)

    @property
    def packed(self) -> bytes:
        """
        The address in network order: 4 bytes or 16.
        """
        return ipaddress.ip_address(self.host).packed

    @property
    def is_ipv6(self) -> bool:
        """
        Whether the address is an IPv6 address.
        """
        return ":" in self.host

    @override
    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if self.is_ipv6 else f"{self.host}:{self.port}"


class AddressKind(Enum):
    """
    What an address means to a node elsewhere.
    """

    GLOBAL = "global"
    PRIVATE = "private"
    LOOPBACK = "loopback"
    LINK_LOCAL = "link-local"
    NEVER = "never"


_MAPPED = bytes(10) + b"\xff\xff"

_TABLE: tuple[tuple[str, AddressKind], ...] = (
    ("0.0.0.0/8", AddressKind.NEVER),
    ("127.0.0.0/8", AddressKind.LOOPBACK),
    ("169.254.0.0/16", AddressKind.LINK_LOCAL),
    ("192.0.0.0/24", AddressKind.NEVER),
    ("224.0.0.0/4", AddressKind.NEVER),
    ("240.0.0.0/4", AddressKind.NEVER),
    ("10.0.0.0/8", AddressKind.PRIVATE),
    ("172.16.0.0/12", AddressKind.PRIVATE),
    ("192.168.0.0/16", AddressKind.PRIVATE),
    ("100.64.0.0/10", AddressKind.PRIVATE),
    ("::/128", AddressKind.NEVER),
    ("::1/128", AddressKind.LOOPBACK),
    ("::/96", AddressKind.NEVER),
    ("64:ff9b:1::/48", AddressKind.NEVER),
    ("fe80::/10", AddressKind.LINK_LOCAL),
    ("fec0::/10", AddressKind.NEVER),
    ("ff00::/8", AddressKind.NEVER),
    ("fc00::/7", AddressKind.PRIVATE),
)
_NETWORKS = tuple((ipaddress.ip_network(text), kind) for text, kind in _TABLE)

_STRICTNESS = (
    AddressKind.NEVER,
    AddressKind.LOOPBACK,
    AddressKind.LINK_LOCAL,
    AddressKind.PRIVATE,
    AddressKind.GLOBAL,
)


def _wrapped(packed: bytes) -> list[bytes]:
    """
    Find the IPv4 addresses inside an IPv6 address.

    IPv4-mapped (RFC 4291), NAT64 (RFC 6052) and 6to4 (RFC 3056) carry one;
    Teredo (RFC 4380) carries its server's, and its client's inverted.
    """
    if len(packed) == 4:
        return []
    if packed[:12] in (_MAPPED, b"\x00\x64\xff\x9b" + bytes(8)):
        return [packed[12:]]
    if packed[:2] == b"\x20\x02":
        return [packed[2:6]]
    if packed[:4] == b"\x20\x01\x00\x00":
        return [packed[4:8], bytes(octet ^ 0xFF for octet in packed[12:])]
    return []


@lru_cache(maxsize=1024)
def address_kind(packed: bytes) -> AddressKind:
    """
    Say what an address means to others, its wrappings taken off.

    @param packed: 4 or 16 bytes in network order.
    @return: the strictest kind among the address and those that it wraps.
    """
    kinds = []
    for each in [packed, *_wrapped(packed)]:
        address = ipaddress.ip_address(each)
        if each[:12] == _MAPPED:
            continue
        kinds.append(
            next(
                (
                    kind
                    for network, kind in _NETWORKS
                    if network.version == address.version and address in network
                ),
                AddressKind.GLOBAL,
            )
        )
    return min(kinds, key=_STRICTNESS.index)


def _is_own(address: TransportAddress, own: frozenset[TransportAddress]) -> bool:
    """
    Say whether an address, or one that it wraps, is one of ours.
    """
    wrapped = (TransportAddress.from_bytes(each, address.port) for each in _wrapped(address.packed))
    return address in own or any(each in own for each in wrapped)


def _is_broadcast(address: Address, networks: Iterable[Network]) -> bool:
    """
    Say whether an address means all hosts of one of some networks.
    """
    return any(
        isinstance(network, ipaddress.IPv4Network)
        and network.prefixlen < 31
        and address == network.broadcast_address
        for network in networks
    )


def _is_inside(address: Address, networks: Iterable[Network]) -> bool:
    """
    Say whether an address is in one of some networks.
    """
    return any(network.version == address.version and address in network for network in networks)


def candidate_refusal(
    address: TransportAddress,
    *,
    own: Iterable[TransportAddress] = (),
    own_networks: Iterable[Network] = (),
    allow_loopback: bool = False,
    allow_private: bool = False,
) -> str | None:
    """
    Say why an address that a peer gave must not be sent to.

    @param own: where we listen; a datagram to ourselves is refused.
    @param own_networks: the prefixes that we are directly connected to: inside
        them private addresses are good, their broadcast address is not.
    @param allow_loopback: both peers are known to be on this machine.
    @param allow_private: both are known to be behind one public address.
    @return: the reason in a few words; C{None} if the address may be tried.
    """
    if address.port == 0 or (address.port < 1024 and address.port != 443):
        return f"port {address.port} belongs to other services"
    if _is_own(address, frozenset(own)):
        return "it is this machine's own address too"
    packed = address.packed
    every = [ipaddress.ip_address(each) for each in (packed, *_wrapped(packed))]
    networks = list(own_networks)
    if any(_is_broadcast(each, networks) for each in every):
        return "that is a broadcast address"
    match address_kind(packed):
        case AddressKind.GLOBAL:
            return None
        case AddressKind.LOOPBACK:
            return None if allow_loopback else "a loopback address means the sender's own machine"
        case AddressKind.PRIVATE:
            is_plain = len(every) == 1
            if is_plain and (allow_private or _is_inside(every[0], networks)):
                return None
            return "a private address outside our own networks"
        case AddressKind.LINK_LOCAL:
            return "a link-local address"
        case AddressKind.NEVER:
            return "an address that names no host"
