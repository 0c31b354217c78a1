# -*- test-case-name: tests.network.stun.test_behavior -*-
"""
How the NATs and firewalls before us behave, as follows from what servers say.

Servers with a second socket (RFC 5780) answer from it, and see us from it. What
came of that is a L{Finding}; what it means is in L{Behavior}. With one address of
a server some of it cannot be known, and is not guessed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum

from atmosphere.addresses import AddressKind, TransportAddress, address_kind

__all__ = ["Behavior", "BindingLifetime", "Dependence", "DialBack", "Finding", "mapping_of"]


class Dependence(Enum):
    """
    On what a mapping or a filter depends, in the words of RFC 4787.
    """

    ENDPOINT_INDEPENDENT = "endpoint-independent"
    ADDRESS_DEPENDENT = "address-dependent"
    AT_MOST_ADDRESS_DEPENDENT = "at most address-dependent"
    ADDRESS_AND_PORT_DEPENDENT = "address- and port-dependent"


class DialBack(Enum):
    """
    What became of an answer from a socket that we never sent to.

    C{UNKNOWN} is what too much loss leaves, C{NOT_OFFERED} what a server does
    that has no such socket.
    """

    ARRIVED = "arrived"
    SILENT = "did not arrive"
    UNKNOWN = "unknown"
    NOT_OFFERED = "not offered"


@dataclass(frozen=True, slots=True)
class Finding:
    """
    What asking one server has brought.

    @ivar server: where it was asked.
    @ivar mapped: where it saw us.
    @ivar rtt: seconds from its first request to its answer; C{None} if that is
        not clear.
    @ivar error: why there is no answer, or none that helps.
    @ivar other: its other socket, which differs in the port, or the address too.
    @ivar from_port: the answer from its other port.
    @ivar from_address: the answer from an address that we never sent to.
    @ivar seen: for each further socket of it that was asked where that saw us.
    """

    server: TransportAddress
    mapped: TransportAddress | None = None
    rtt: float | None = None
    error: str | None = None
    other: TransportAddress | None = None
    from_port: DialBack = DialBack.NOT_OFFERED
    from_address: DialBack = DialBack.NOT_OFFERED
    seen: tuple[tuple[TransportAddress, TransportAddress], ...] = ()


@dataclass(frozen=True, slots=True)
class BindingLifetime:
    """
    For how long the NATs and firewalls before us let answers in to a port that is
    silent, after one request and its answer.

    @ivar server: who was asked.
    @ivar at_least: the longest silence after which an answer came in, in seconds.
    @ivar less_than: the shortest after which none did; C{None} if there was none.
    @ivar error: why neither is known.
    """

    server: TransportAddress
    at_least: float | None = None
    less_than: float | None = None
    error: str | None = None


def mapping_of(findings: Iterable[Finding]) -> tuple[Dependence | None, bool]:
    """
    Say how our NAT maps, from what L{MappingProbe} found.

    @return: what it depends on, as far as is known, and whether that is certain:
        it takes servers at two IP addresses to see that a mapping does not
        depend on the address.
    """
    seen = [
        (asked, mapped)
        for each in findings
        if each.mapped is not None
        for asked, mapped in ((each.server, each.mapped), *each.seen)
    ]
    hosts = Counter(mapped.host for _, mapped in seen).most_common(2)
    if not hosts or (len(hosts) > 1 and hosts[0][1] == hosts[1][1]):
        return None, False
    seen = [(asked, mapped) for asked, mapped in seen if mapped.host == hosts[0][0]]
    ports: dict[str, list[int]] = {}
    for asked, mapped in seen:
        ports.setdefault(asked.host, []).append(mapped.port)
    if any(len(set(each)) > 1 for each in ports.values()):
        return Dependence.ADDRESS_AND_PORT_DEPENDENT, True
    if len({port for each in ports.values() for port in each}) > 1:
        return Dependence.ADDRESS_DEPENDENT, any(len(each) > 1 for each in ports.values())
    if len(seen) < 2:
        return None, False
    return Dependence.ENDPOINT_INDEPENDENT, len(ports) > 1


@dataclass(frozen=True, slots=True)
class Behavior:
    """
    How the network before us behaves, in one address family.

    @ivar local: our own address and port, from where the dial-backs were asked for.
    @ivar dial_backs: what L{DialBackProbe} found from there.
    @ivar mappings: what L{MappingProbe} found from another port.
    """

    local: TransportAddress | None = None
    dial_backs: tuple[Finding, ...] = ()
    mappings: tuple[Finding, ...] = ()

    @property
    def mapped(self) -> TransportAddress | None:
        """
        Where the first server that answered saw our C{local} address.
        """
        return next((each.mapped for each in self.dial_backs if each.mapped is not None), None)

    @property
    def is_udp_working(self) -> bool:
        """
        Whether any server answered.
        """
        return self.mapped is not None or any(each.mapped for each in self.mappings)

    @property
    def is_behind_nat(self) -> bool | None:
        """
        Whether others see us at another address than our own.
        """
        if self.local is None or self.mapped is None:
            return None
        return self.mapped != self.local

    @property
    def scope(self) -> AddressKind | None:
        """
        Where the servers stand that saw us: what a server on our own LAN, or on
        this machine, finds out is true as far as there.
        """
        return None if self.mapped is None else address_kind(self.mapped.packed)

    @property
    def mapping(self) -> Dependence | None:
        """
        How the NAT maps, as far as is known.
        """
        return mapping_of(self.mappings)[0] if self.mappings else None

    @property
    def is_mapping_certain(self) -> bool:
        """
        Whether servers at two IP addresses agree with that.
        """
        return mapping_of(self.mappings)[1] if self.mappings else False

    def _has(self, name: str, outcome: DialBack) -> bool:
        """
        Say whether a dial-back ended so with any server.
        """
        return any(getattr(each, name) is outcome for each in self.dial_backs)

    @property
    def filtering(self) -> Dependence | None:
        """
        What is let in, as far as is known: one server address cannot tell
        filters by address from none. A firewall without a NAT that lets the
        answer in is believed to let in all: those that do not go by address
        alone, but by address and port.
        """
        if self._has("from_address", DialBack.ARRIVED):
            return Dependence.ENDPOINT_INDEPENDENT
        if self._has("from_port", DialBack.ARRIVED):
            if self._has("from_address", DialBack.SILENT):
                return Dependence.ADDRESS_DEPENDENT
            if self.is_behind_nat is False:
                return Dependence.ENDPOINT_INDEPENDENT
            return Dependence.AT_MOST_ADDRESS_DEPENDENT
        if self._has("from_port", DialBack.SILENT):
            return Dependence.ADDRESS_AND_PORT_DEPENDENT
        return None

    @property
    def reachable(self) -> bool | None:
        """
        Whether somebody whom we never sent to reaches us, as a dial-back has
        proven; C{None} if none has shown it.
        """
        match self.filtering:
            case Dependence.ENDPOINT_INDEPENDENT:
                return True
            case Dependence.ADDRESS_DEPENDENT | Dependence.ADDRESS_AND_PORT_DEPENDENT:
                return False
            case _:
                return None
