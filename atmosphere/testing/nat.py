# -*- test-case-name: tests.testing.test_nat -*-
"""
Routers that translate addresses, in the words of RFC 4787.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from random import Random

from typing_extensions import override

from .agenda import Agenda
from .link import Kind, Packet
from .router import Router

__all__ = [
    "ADDRESS_RESTRICTED",
    "CGNAT",
    "FULL_CONE",
    "PORT_RESTRICTED",
    "SYMMETRIC",
    "Dependence",
    "Nat",
    "NatBehaviour",
    "Ports",
]

Address = tuple[str, int]


class Dependence(Enum):
    """
    On what of the other end a mapping or a filter depends (RFC 4787 §4.1, §5).
    """

    ENDPOINT_INDEPENDENT = "endpoint-independent"
    ADDRESS_DEPENDENT = "address-dependent"
    ADDRESS_AND_PORT_DEPENDENT = "address and port-dependent"

    def key(self, remote: Address) -> tuple[object, ...]:
        """
        Return as much of the other end's address as matters.
        """
        match self:
            case Dependence.ENDPOINT_INDEPENDENT:
                return ()
            case Dependence.ADDRESS_DEPENDENT:
                return (remote[0],)
            case Dependence.ADDRESS_AND_PORT_DEPENDENT:
                return remote


class Ports(Enum):
    """
    Which port outside a new mapping gets (RFC 4787 §4.2).

    C{PRESERVED} is the one inside where it is free, and else, as with C{RANDOM},
    any; C{SEQUENTIAL} is the one after the last.
    """

    PRESERVED = "preserved"
    RANDOM = "random"
    SEQUENTIAL = "sequential"


@dataclass(frozen=True)
class NatBehaviour:
    """
    What kind of NAT it is.

    @ivar mapping: when two destinations see the same address and port.
    @ivar filtering: whose datagrams come in.
    @ivar ports: which port outside a new mapping gets.
    @ivar is_hairpinning: whether hosts inside reach each other by the address outside.
    @ivar lifetime: seconds without a datagram after which a UDP mapping is gone.
    @ivar is_refreshed_by_inbound: whether datagrams from outside count for that.
    @ivar tcp_lifetime: the same for TCP.
    @ivar most_mappings: how many there are at a time; there is no room for more.
    """

    mapping: Dependence
    filtering: Dependence
    ports: Ports = Ports.PRESERVED
    is_hairpinning: bool = False
    lifetime: float = 120.0
    is_refreshed_by_inbound: bool = True
    tcp_lifetime: float = 7440.0
    most_mappings: int = 60_000


_INDEPENDENT = Dependence.ENDPOINT_INDEPENDENT
_BY_PORT = Dependence.ADDRESS_AND_PORT_DEPENDENT

FULL_CONE = NatBehaviour(_INDEPENDENT, _INDEPENDENT)
ADDRESS_RESTRICTED = NatBehaviour(_INDEPENDENT, Dependence.ADDRESS_DEPENDENT)
PORT_RESTRICTED = NatBehaviour(_INDEPENDENT, _BY_PORT)
SYMMETRIC = NatBehaviour(_BY_PORT, _BY_PORT, Ports.RANDOM, lifetime=60.0)
CGNAT = NatBehaviour(_INDEPENDENT, _BY_PORT, Ports.RANDOM, is_hairpinning=True)


@dataclass(slots=True)
class _Mapping:
    """
    One mapping.

    @ivar inside: the host's own address and port.
    @ivar outside: as the others see it.
    @ivar used: when it was last refreshed.
    @ivar contacted: whom the host sent to, as far as the filter asks.
    """

    key: tuple[object, ...]
    inside: Address
    outside: Address
    used: float
    contacted: dict[tuple[object, ...], float] = field(default_factory=dict)


class Nat(Router):
    """
    A router that translates addresses.

    @ivar behaviour: how it maps and filters; may be set at any time.
    @ivar mappings_made: how many mappings there have ever been.
    """

    def __init__(
        self,
        name: str,
        agenda: Agenda,
        random: Random,
        behaviour: NatBehaviour,
        note: Callable[[str, Packet], None],
    ) -> None:
        super().__init__(name, agenda, note)
        self.behaviour = behaviour
        self._random = random
        self._by_key: dict[tuple[object, ...], _Mapping] = {}
        self._by_port: dict[tuple[bool, int], _Mapping] = {}
        self._last_port = 1023
        self.mappings_made = 0

    @override
    def reboot(self, address: str | None = None) -> None:
        """
        Forget all mappings.

        @param address: the new address outside, if it changes.
        """
        self._by_key.clear()
        self._by_port.clear()
        if address is not None:
            subnet, link = self.outside.subnet, self.outside.link
            subnet.detach(self.outside)
            self.outside = subnet.attach(self, address, link)

    def mappings(self) -> list[tuple[Address, Address]]:
        """
        List the mappings that are alive, as pairs of inside and outside address.
        """
        alive = [each for each in self._by_key.values() if self._is_alive(each)]
        return [(each.inside, each.outside) for each in alive]

    # --------------------------------------------------------------------- packets

    @override
    def _go_out(self, packet: Packet) -> None:
        """
        Translate the source of a packet from inside.
        """
        mapping = self._mapping(packet)
        if mapping is None:
            self._note("no mapping", packet)
            return
        translated = packet.readdressed(mapping.outside, packet.destination)
        if packet.destination[0] != self.outside.address:
            self.outside.send(translated)
        elif self.behaviour.is_hairpinning:
            self._come_in(translated)
        else:
            self._note("no hairpin", packet)

    @override
    def _come_in(self, packet: Packet) -> None:
        """
        Translate the destination of a packet from outside, if it may pass.
        """
        mapping = self._by_port.get((packet.kind is Kind.TCP, packet.destination[1]))
        if mapping is None or not self._is_alive(mapping):
            self._note("no mapping", packet)
            return
        now = self._agenda.seconds()
        filtering = self.behaviour.filtering
        if filtering is not Dependence.ENDPOINT_INDEPENDENT:
            contacted = mapping.contacted.get(filtering.key(packet.source))
            if contacted is None or now - contacted > self._lifetime(mapping):
                self._note("filtered", packet)
                return
        if self.behaviour.is_refreshed_by_inbound and packet.kind is not Kind.UNREACHABLE:
            mapping.used = now
            mapping.contacted[filtering.key(packet.source)] = now
        self.inside.send(packet.readdressed(packet.source, mapping.inside))

    # -------------------------------------------------------------------- mappings

    def _lifetime(self, mapping: _Mapping) -> float:
        """
        Say how long a mapping lives unused.
        """
        is_tcp = mapping.key[0]
        return self.behaviour.tcp_lifetime if is_tcp else self.behaviour.lifetime

    def _is_alive(self, mapping: _Mapping) -> bool:
        """
        Say whether a mapping still stands; one that does not is forgotten.
        """
        if self._agenda.seconds() - mapping.used <= self._lifetime(mapping):
            return True
        self._by_key.pop(mapping.key, None)
        self._by_port.pop((bool(mapping.key[0]), mapping.outside[1]), None)
        return False

    def _mapping(self, packet: Packet) -> _Mapping | None:
        """
        Find or make the mapping for a packet from inside, and refresh it.

        @return: C{None} for an error message that belongs to no mapping, and when
            there is no room for one more.
        """
        is_tcp = packet.kind is Kind.TCP
        key = (is_tcp, packet.source, *self.behaviour.mapping.key(packet.destination))
        mapping = self._by_key.get(key)
        if mapping is not None and not self._is_alive(mapping):
            mapping = None
        if packet.kind is Kind.UNREACHABLE:
            return mapping
        now = self._agenda.seconds()
        if mapping is None:
            if self._is_full():
                return None
            outside = (self.outside.address, self._free_port(is_tcp, packet.source[1]))
            mapping = _Mapping(key, packet.source, outside, now)
            self._by_key[key] = self._by_port[is_tcp, outside[1]] = mapping
            self.mappings_made += 1
        mapping.used = now
        mapping.contacted[self.behaviour.filtering.key(packet.destination)] = now
        return mapping

    def _is_full(self) -> bool:
        """
        Say whether there is no room for one more mapping, once those that are over
        were forgotten.
        """
        if len(self._by_key) < self.behaviour.most_mappings:
            return False
        for mapping in list(self._by_key.values()):
            self._is_alive(mapping)
        return len(self._by_key) >= self.behaviour.most_mappings

    def _free_port(self, is_tcp: bool, wanted: int) -> int:
        """
        Choose a port outside.
        """
        ports = self.behaviour.ports
        port = wanted if ports is Ports.PRESERVED else self._next_port()
        while (held := self._by_port.get((is_tcp, port))) is not None and self._is_alive(held):
            port = self._next_port()
        return port

    def _next_port(self) -> int:
        """
        Choose the next port that is not asked for by number.
        """
        if self.behaviour.ports is not Ports.SEQUENTIAL:
            return self._random.randrange(1024, 65536)
        self._last_port = self._last_port + 1 if self._last_port < 65535 else 1024
        return self._last_port
