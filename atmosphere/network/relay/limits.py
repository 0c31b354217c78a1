# -*- test-case-name: tests.network.relay.test_limits -*-
"""
What a relay allows: its configuration, its limits, and who counts against them.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field, fields

from atmosphere.addresses import AddressKind, TransportAddress, address_kind
from atmosphere.errors import ConfigurationError, DecodeError

__all__ = [
    "Counters",
    "RelayConfig",
    "RelayLimits",
    "authority_of",
    "matches_name",
    "parse_networks",
    "split_authority",
]


@dataclass(frozen=True, slots=True)
class RelayLimits:
    """
    The limits of a relay; seconds and bytes unless a name says otherwise.

    @ivar connections: in all; the service lowers it to 0.8 of the process's files.
    @ivar connections_per_address: unproven ones; an IPv6 address counts as its /64.
    @ivar accept_rate: new connections a second in all, and its burst.
    @ivar hello_timeout: from the connection to the hello; also for the head of a request.
    @ivar unproven: connections that have not said who they are, in all.
    @ivar rate: bytes a second that a client may send that proved nothing; 0 for no limit.
    @ivar queue: kept for a node that does not read.
    @ivar probe_queue: messages with STUN that are kept for such a node.
    @ivar pair_buffer: of a first leg's messages, kept until the second comes.
    """

    connections: int = 16_000
    connections_per_address: int = 64
    accept_rate: float = 250.0
    accept_burst: float = 500.0
    accept_rate_per_address: float = 10.0
    accept_burst_per_address: float = 64.0
    header: int = 8_192
    hello_timeout: float = 5.0
    unproven: int = 512
    rate: float = 2 * 1024 * 1024
    burst: float = 4 * 1024 * 1024
    queue: int = 256 * 1024
    probe_queue: int = 16
    write_timeout: float = 10.0
    silence: float = 45.0
    ping_interval: float = 15.0
    alternations: int = 3
    alternation_window: float = 60.0
    parked: int = 4
    unpaired_timeout: float = 30.0
    unpaired_per_address: int = 8
    unpaired: int = 2_000
    pair_buffer: int = 64 * 1024
    pair_idle: float = 120.0
    pair_close: float = 5.0


@dataclass(frozen=True, slots=True)
class RelayConfig:
    """
    How a relay is set up.

    @ivar host: the address to listen on; C{0.0.0.0} for every IPv4 address, C{::} for every one.
    @ivar port: TCP; 0 takes a free one.
    @ivar stun_port: UDP; 0 for no STUN, C{None} takes a free one (for tests).
    @ivar meshes: IDs of the meshes whose members are served.
    @ivar is_open: whether others are served too; so it is if C{meshes} is empty.
    @ivar names: C{host} or C{host:port}, as clients dial the relay.
    @ivar certificate: a PEM file with the certificate and its chain: the relay speaks TLS.
    @ivar private_key: a PEM file with its key.
    @ivar proxies: addresses or networks of proxies whose C{X-Forwarded-For} is believed.
    @ivar rate: bytes a second for everyone, members too; 0 leaves it to L{RelayLimits.rate}.
    @ivar second_stun_port: UDP, from which others are dialled back; C{None} takes the
        one after C{stun_port}, 0 is off.
    @ivar stun_addresses: where STUN is answered, if not on C{host}: one address of this
        machine, or two of one family, which have both ports each.
    """

    host: str = "0.0.0.0"
    port: int = 8080
    stun_port: int | None = 3478
    meshes: tuple[str, ...] = ()
    is_open: bool = False
    names: tuple[str, ...] = ()
    certificate: str | None = None
    private_key: str | None = None
    proxies: tuple[str, ...] = ()
    rate: float = 0.0
    limits: RelayLimits = field(default_factory=RelayLimits)
    second_stun_port: int | None = None
    stun_addresses: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """
        Refuse what cannot be meant.

        @raise ConfigurationError: a port out of range or there twice, half of a certificate,
            a bad name or proxy.
        """
        for port in (self.port, self.stun_port or 0, self.second_stun_port or 0):
            if not 0 <= port <= 65535:
                raise ConfigurationError(f"{port} is not a port")
        if self.stun_port and self.second_stun_port == self.stun_port:
            raise ConfigurationError(
                f"--second-stun-port {self.stun_port} is --stun-port too, and nodes are dialled"
                " back from another one: leave it out for the next one, or name another"
            )
        if (self.certificate is None) != (self.private_key is None):
            raise ConfigurationError("TLS needs both a certificate and its private key")
        for name in self.names:
            if not split_authority(name)[0]:
                raise ConfigurationError(f"{name!r} is not HOST or HOST:PORT")
        parse_networks(self.proxies)
        self._check_stun_addresses()

    def _check_stun_addresses(self) -> None:
        """
        Refuse addresses for STUN that cannot be meant.

        @raise ConfigurationError: one is no address of one machine, or they do not
            go together.
        """
        option = "--stun-address"
        found = []
        for text in self.stun_addresses:
            try:
                found.append(TransportAddress(text, 9))
            except DecodeError:
                raise ConfigurationError(f"{option} {text[:80]!a} is no IP address") from None
            if address_kind(found[-1].packed) is AddressKind.NEVER:
                raise ConfigurationError(f"{option} {text} is not the address of one machine")
        if found and self.stun_port == 0:
            raise ConfigurationError(f"{option} says where STUN is answered: --stun-port 0 is off")
        if len(found) > 1 and self.second_stun_port == 0:
            raise ConfigurationError(f"two of {option} need --second-stun-port: 0 is off")
        if len(set(found)) < len(found) or len(found) > 2:
            raise ConfigurationError(f"{option} takes one address, or two that differ")
        if len({each.is_ipv6 for each in found}) > 1:
            raise ConfigurationError(f"two of {option} are both IPv4, or both IPv6")

    @property
    def serves_anyone(self) -> bool:
        """
        Whether a node needs to prove nothing.
        """
        return self.is_open or not self.meshes

    @property
    def is_loopback_only(self) -> bool:
        """
        Whether only this machine can reach the relay.
        """
        if self.host == "localhost":
            return True
        try:
            packed = TransportAddress(self.host or "0.0.0.0", 0).packed
        except DecodeError:
            return False
        return address_kind(packed) is AddressKind.LOOPBACK


def parse_networks(
    texts: tuple[str, ...],
) -> list[ipaddress.IPv4Network | ipaddress.IPv6Network]:
    """
    Read addresses or networks.

    @raise ConfigurationError: one that is neither.
    """
    try:
        return [ipaddress.ip_network(text, strict=False) for text in texts]
    except ValueError as error:
        raise ConfigurationError(f"--proxy: {error}") from None


def split_authority(text: str) -> tuple[str, int | None]:
    """
    Take C{host}, C{host:port}, C{[v6]} or C{[v6]:port} apart.

    @return: the host in lower case without brackets, empty if it makes no
        sense; the port, C{None} if there is none.
    """
    text = text.strip().lower()
    if text.startswith("["):
        host, bracket, rest = text[1:].partition("]")
        if not bracket or (rest and not rest.startswith(":")):
            return "", None
        port = rest[1:]
    elif text.count(":") > 1:
        return text, None
    else:
        host, _, port = text.partition(":")
    host = host.rstrip(".")
    if not port:
        return host, None
    if not (port.isascii() and port.isdigit() and len(port) <= 5 and int(port) <= 65535):
        return "", None
    return host, int(port)


def authority_of(host: str, port: int) -> str:
    """
    Write a host and port as they are signed: lower case, IPv6 in brackets.
    """
    host = host.lower().rstrip(".")
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def matches_name(authority: str, names: tuple[str, ...]) -> bool:
    """
    Say whether an authority is one of a relay's names.

    A name without a port stands for all ports, an authority without one for
    its protocol's usual port, which may be any. A name that begins with
    C{*.}, as in certificates, stands for any one label.
    """
    host, port = split_authority(authority)
    if not host:
        return False
    for name in names:
        known, known_port = split_authority(name)
        is_same = known == host or (
            known.startswith("*.") and "." in host and known[2:] == host.split(".", 1)[1]
        )
        if is_same and (port is None or known_port in (None, port)):
            return True
    return False


@dataclass(slots=True)
class Counters:
    """
    What a relay has done since its start; C{/stats} shows them all.
    """

    accepted: int = 0
    refused_connections: int = 0
    refused_requests: int = 0
    refused_logins: int = 0
    welcomed: int = 0
    replaced: int = 0
    parked: int = 0
    messages_relayed: int = 0
    node_bytes_relayed: int = 0
    messages_dropped: int = 0
    bytes_dropped: int = 0
    absent: int = 0
    protocol_errors: int = 0
    rate_limited: int = 0
    timed_out: int = 0
    stalled: int = 0
    sessions: int = 0
    session_bytes_relayed: int = 0
    sessions_refused: int = 0

    def as_dict(self) -> dict[str, int]:
        """
        Give the counters by name.
        """
        return {each.name: getattr(self, each.name) for each in fields(self)}
