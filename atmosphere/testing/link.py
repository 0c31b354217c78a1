# -*- test-case-name: tests.testing.test_link -*-
"""
What happens to packets between two neighbours: delay, loss, and the rest.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import Enum
from random import Random
from typing import NamedTuple

from .agenda import Agenda

__all__ = ["Flow", "Kind", "Link", "Packet", "TraceRecord"]


#: What a loss costs TCP: so many seconds and a round trip, and that so often at most.
REPEAT_AFTER = 0.2
MOST_REPEATS = 8


class Kind(Enum):
    """
    What a packet carries.
    """

    UDP = "udp"
    TCP = "tcp"
    UNREACHABLE = "unreachable"


class TraceRecord(NamedTuple):
    """
    One thing that happened to a packet.

    @ivar time: the clock's time.
    @ivar kind: C{udp} or C{tcp} when it was sent by a host; with C{ lost},
        C{ cut}, C{ too large} and so on when it ended before its time.
    @ivar source: who sent it, as C{(address, port)}.
    @ivar destination: where it goes, as C{(address, port)}.
    @ivar size: bytes of payload.
    """

    time: float
    kind: str
    source: tuple[str, int]
    destination: tuple[str, int]
    size: int


class Packet:
    """
    One packet on its way.

    @ivar origin: the host that sent it; no NAT changes that.
    @ivar source: C{(address, port)} as the next hop sees it.
    @ivar destination: C{(address, port)}.
    @ivar payload: bytes of a datagram, or a segment of a TCP stream.
    @ivar size: bytes of payload.
    """

    __slots__ = ("destination", "kind", "origin", "payload", "size", "source")

    def __init__(
        self,
        kind: Kind,
        origin: object,
        source: tuple[str, int],
        destination: tuple[str, int],
        payload: object,
        size: int,
    ) -> None:
        self.kind = kind
        self.origin = origin
        self.source = source
        self.destination = destination
        self.payload = payload
        self.size = size

    def readdressed(self, source: tuple[str, int], destination: tuple[str, int]) -> Packet:
        """
        Make the same packet with other addresses, as a NAT does.
        """
        return Packet(self.kind, self.origin, source, destination, self.payload, self.size)


@dataclass(frozen=True, slots=True)
class Link:
    """
    The line by which a host or a router hangs on its network.

    A packet between two hosts passes two of them: latencies add up, the
    smaller MTU counts, each may lose it.

    @ivar latency: seconds, one way.
    @ivar jitter: up to so many seconds are added, differently for each packet;
        the order is kept.
    @ivar loss: the probability that a datagram is lost; TCP's come late instead, and
        what follows waits for them.
    @ivar duplication: the probability that a datagram arrives twice.
    @ivar reordering: the probability that a datagram is held back.
    @ivar reordering_delay: for how many seconds it is held back at most.
    @ivar mtu: bytes, IP and UDP headers included; a larger datagram vanishes.
    @ivar rate: bytes a second in each direction; C{None} knows no limit.
    @ivar queue: seconds of traffic that wait for the rate; beyond, datagrams are lost.
    """

    latency: float = 0.005
    jitter: float = 0.0
    loss: float = 0.0
    duplication: float = 0.0
    reordering: float = 0.0
    reordering_delay: float = 0.02
    mtu: int = 1500
    rate: float | None = None
    queue: float = 0.2


class Gate:
    """
    One direction of a line with a rate: when it is free again.
    """

    def __init__(self) -> None:
        self.free_at = 0.0

    def pass_through(self, link: Link, arrival: float, size: int, may_drop: bool) -> float | None:
        """
        Queue a packet.

        @return: when it is through; C{None} when the queue was full.
        """
        if link.rate is None:
            return arrival
        start = max(arrival, self.free_at)
        if may_drop and start - arrival > link.queue:
            return None
        self.free_at = start + size / link.rate
        return self.free_at


class Flow:
    """
    The packets from one neighbour to another.

    Its chances are its own, seeded by the names of both ends: a third host
    that comes or goes changes nothing here.
    """

    def __init__(
        self,
        agenda: Agenda,
        random: Random,
        links: tuple[Link, ...],
        up: tuple[Link, Gate],
        down: tuple[Link, Gate],
        arrive: Callable[[Packet], None],
        note: Callable[[str, Packet], None],
    ) -> None:
        self._agenda = agenda
        self._random = random.random
        self._arrive = arrive
        self._note = note
        self._up = up
        self._down = down
        self._last_arrival = 0.0
        self._latency = sum(link.latency for link in links)
        self._jitter = sum(link.jitter for link in links)
        self._loss = _either(link.loss for link in links)
        self._duplication = _either(link.duplication for link in links)
        self._reordering = _either(link.reordering for link in links)
        self._reordering_delay = max(link.reordering_delay for link in links)
        self._mtu = min(link.mtu for link in links)
        self._is_shaped = up[0].rate is not None or down[0].rate is not None
        self._is_plain = not (
            self._jitter or self._loss or self._duplication or self._reordering or self._is_shaped
        )

    def continue_from(self, older: Flow) -> None:
        """
        Take over from a flow whose lines were changed: the order is kept.
        """
        self._last_arrival = older._last_arrival
        self._random = older._random

    def send(self, packet: Packet) -> None:
        """
        Send a packet on its way.
        """
        overhead = 48 if ":" in packet.destination[0] else 28
        is_datagram = packet.kind is not Kind.TCP
        if is_datagram and packet.size + overhead > self._mtu:
            self._note("too large", packet)
            return
        arrival = self._agenda.clock.rightNow + self._latency
        if self._is_plain:
            if arrival < self._last_arrival:
                arrival = self._last_arrival
            self._last_arrival = arrival
            self._agenda.at(arrival, self._arrive, packet)
            return
        self._send_with_chances(packet, packet.size + overhead, is_datagram)

    def _send_with_chances(self, packet: Packet, size: int, is_datagram: bool) -> None:
        """
        Send a packet over lines that are slow or unreliable.
        """
        random = self._random
        repeats = 0
        while self._loss and random() < self._loss and repeats < MOST_REPEATS:
            if is_datagram:
                self._note("lost", packet)
                return
            repeats += 1
        through = self._up[1].pass_through(
            self._up[0], self._agenda.clock.rightNow, size, is_datagram
        )
        if through is not None:
            arrival = through + self._latency + repeats * (REPEAT_AFTER + 2 * self._latency)
            if self._jitter:
                arrival += random() * self._jitter
            through = self._down[1].pass_through(self._down[0], arrival, size, is_datagram)
        if through is None:
            self._note("overflow", packet)
            return
        if is_datagram and self._reordering and random() < self._reordering:
            held = through + random() * self._reordering_delay
            self._agenda.at(held, self._arrive, packet)
        else:
            through = max(through, self._last_arrival)
            self._last_arrival = through
            self._agenda.at(through, self._arrive, packet)
        if is_datagram and self._duplication and random() < self._duplication:
            self._agenda.at(through + random() * 0.01, self._arrive, packet)


def _either(chances: Iterable[float]) -> float:
    """
    Compute the chance that at least one of some independent things happens.
    """
    none = 1.0
    for chance in chances:
        none *= 1.0 - chance
    return 1.0 - none
