# -*- test-case-name: tests.network.stun.test_discovery -*-
"""
Which transport address we have for others, when several servers were asked.

A single server may be wrong or lie, so what counts is what most of them say,
each IP address of a server having one voice. The address and the port are
decided one after the other: behind a NAT whose mapping is address-dependent all
honest servers see the same address with different ports.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import assert_never

from typing_extensions import override

from atmosphere.addresses import AddressKind, TransportAddress, address_kind
from atmosphere.errors import DecodeError

__all__ = [
    "DEFAULT_PORT",
    "STUN_SERVERS",
    "Agreement",
    "Discovery",
    "Observation",
    "Server",
    "agree",
    "mapped_refusal",
]

#: STUN over UDP (RFC 8489 §18.6).
DEFAULT_PORT = 3478


@dataclass(frozen=True, slots=True, order=True)
class Server:
    """
    A STUN server as people name it.

    @ivar host: a name or an IP address.
    @ivar port: 1 to 65535.
    """

    host: str
    port: int = DEFAULT_PORT

    @classmethod
    def from_text(cls, text: str) -> Server:
        """
        Read C{HOST}, C{HOST:PORT}, C{[IPV6]} or C{[IPV6]:PORT}.

        @raise DecodeError: anything else.
        """
        if text.startswith("["):
            host, bracket, rest = text[1:].partition("]")
            is_good = bool(bracket) and ":" in host and rest[:1] in ("", ":")
            colon, port = rest[:1], rest[1:]
        else:
            host, colon, port = text.partition(":")
            is_good = bool(host) and host.isprintable() and not set(host) & set(" /@[]%")
        if colon:
            is_good = is_good and port.isascii() and port.isdigit() and len(port) <= 5
        if not is_good or not 1 <= int(port or DEFAULT_PORT) <= 65535:
            raise DecodeError(f"{text!r:.80} is not HOST:PORT")
        return cls(host, int(port or DEFAULT_PORT))

    def address(self) -> TransportAddress | None:
        """
        Give the transport address of a server that is named by its IP address.

        @return: C{None} if its name has to be resolved.
        """
        try:
            return TransportAddress(self.host, self.port)
        except DecodeError:
            return None

    @override
    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


#: Public servers, asked only on demand and where the user allows it.
STUN_SERVERS = (
    Server("stun.l.google.com", 19302),
    Server("stun1.l.google.com", 19302),
    Server("stun2.l.google.com", 19302),
    Server("stun.cloudflare.com", 3478),
    Server("stun.stunprotocol.org", 3478),
)


@dataclass(frozen=True, slots=True)
class Observation:
    """
    What one server says.

    @ivar server: by which name it was asked.
    @ivar asked: at which address.
    @ivar mapped: where it says that our request came from.
    """

    server: Server
    asked: TransportAddress
    mapped: TransportAddress


def mapped_refusal(asked: TransportAddress, mapped: TransportAddress) -> str | None:
    """
    Say why what a server told us cannot be our address.

    @param asked: the server.
    @param mapped: what it said.
    @return: the reason in a few words; C{None} if it may be.
    """
    if mapped.is_ipv6 != asked.is_ipv6:
        return f"says {mapped}, which is of another address family"
    if mapped.port == 0:
        return "says port 0"
    kind = address_kind(mapped.packed)
    server_kind = address_kind(asked.packed)
    match kind:
        case AddressKind.GLOBAL:
            return None
        case AddressKind.PRIVATE:
            is_good = server_kind in (AddressKind.PRIVATE, AddressKind.LOOPBACK)
        case AddressKind.LOOPBACK:
            is_good = server_kind is AddressKind.LOOPBACK
        case AddressKind.LINK_LOCAL | AddressKind.NEVER:
            is_good = False
        case never:
            assert_never(never)
    return None if is_good else f"says {mapped}, a {kind.value} address"


@dataclass(frozen=True, slots=True)
class Agreement:
    """
    Our transport address in one address family.

    @ivar address: as others see us; the port is the one that most servers saw.
    @ivar is_confirmed: whether two or more servers say so; one alone is
        believed until others are heard.
    @ivar has_stable_port: whether all who were heard see the same port, so that
        further peers will see it too; C{None} while only one was heard, unless
        that one sees two ports from its own two.
    @ivar servers: who says so.
    @ivar liars: who says otherwise.
    @ivar asked: the address of the first of those who say so.
    """

    address: TransportAddress
    is_confirmed: bool
    has_stable_port: bool | None
    servers: tuple[Server, ...]
    liars: tuple[Server, ...] = ()
    asked: TransportAddress | None = field(default=None, compare=False)


def _majority(counted: Counter[str] | Counter[int]) -> str | int | None:
    """
    Find what at least two, and more than half, say.
    """
    (value, votes), *_ = counted.most_common(1)
    return value if votes >= 2 and votes * 2 > counted.total() else None


def agree(observations: Sequence[Observation]) -> Agreement | None:
    """
    Find what most servers of one address family say.

    @param observations: in the order of their arrival; of those from the same
        IP address the first counts.
    @return: C{None} if nothing was heard, or nothing that most agree on.
    """
    voices: dict[str, Observation] = {}
    for each in observations:
        voices.setdefault(each.asked.host, each)
    heard = list(voices.values())
    if len(heard) == 1:
        ports = {
            each.mapped.port for each in observations if each.mapped.host == heard[0].mapped.host
        }
        has_stable_port = False if len(ports) > 1 else None
        server, asked = heard[0].server, heard[0].asked
        return Agreement(heard[0].mapped, False, has_stable_port, (server,), asked=asked)
    if not heard:
        return None
    host = _majority(Counter(each.mapped.host for each in heard))
    if host is None:
        return None
    agreeing = [each for each in heard if each.mapped.host == host]
    liars = [each for each in heard if each.mapped.host != host]
    port = _majority(Counter(each.mapped.port for each in agreeing))
    if port is None:
        address, has_stable_port = agreeing[0].mapped, False
    else:
        liars += [each for each in agreeing if each.mapped.port != port]
        agreeing = [each for each in agreeing if each.mapped.port == port]
        address, has_stable_port = agreeing[0].mapped, True
    return Agreement(
        address,
        True,
        has_stable_port,
        tuple(each.server for each in agreeing),
        tuple(each.server for each in liars),
        agreeing[0].asked,
    )


@dataclass(frozen=True, slots=True)
class Discovery:
    """
    What asking STUN servers has brought.

    @ivar ipv4: our address in IPv4, if one was agreed on.
    @ivar ipv6: the same in IPv6.
    @ivar failures: servers that were of no use, and why.
    @ivar asked: all that were asked.
    """

    ipv4: Agreement | None = None
    ipv6: Agreement | None = None
    failures: tuple[tuple[Server, str], ...] = ()
    asked: frozenset[Server] = frozenset()

    @property
    def agreements(self) -> tuple[Agreement, ...]:
        """
        What was decided, IPv4 before IPv6.
        """
        return tuple(each for each in (self.ipv4, self.ipv6) if each is not None)

    @property
    def addresses(self) -> tuple[TransportAddress, ...]:
        """
        Our transport addresses, IPv4 before IPv6.
        """
        return tuple(each.address for each in self.agreements)

    @property
    def liars(self) -> tuple[Server, ...]:
        """
        Servers that say otherwise than most, in one family or the other.
        """
        return tuple(dict.fromkeys(liar for each in self.agreements for liar in each.liars))
