# -*- test-case-name: tests.lab.test_wire -*-
"""
The cables of a laboratory: TUN devices in two namespaces, and a program between them
that hands each packet over when it would have arrived.

Kernels need no module for it but TUN, so that delay is the same everywhere.
"""

from __future__ import annotations

import fcntl
import heapq
import os
import select
import struct
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from .namespaces import enter

__all__ = ["Cable", "Conditions", "DelayLine", "carry", "open_tun"]

#: The most packets that are under way at once: a router's memory.
MAX_PACKETS = 20_000

#: How many packets are taken from one device before the others have their turn.
BATCH = 64

_TUNSETIFF = 0x400454CA
_IFF_TUN, _IFF_NO_PI = 0x0001, 0x1000


@dataclass(frozen=True, slots=True)
class Conditions:
    """
    What a cable is like, in each direction.

    @ivar delay: seconds that each packet is under way.
    @ivar jitter: the most seconds beyond it; packets overtake each other.
    @ivar loss: which part of all packets is lost, from 0 to 1.
    """

    delay: float = 0.02
    jitter: float = 0.0
    loss: float = 0.0


@dataclass(frozen=True, slots=True)
class Cable:
    """
    Two ends, each a namespace (by its file) and the name of the interface there.
    """

    near: tuple[str, str]
    far: tuple[str, str]


@dataclass(slots=True)
class DelayLine:
    """
    Packets that are under way.

    @ivar conditions: what becomes of them.
    @ivar random: gives numbers in [0, 1).
    @ivar lost: how many never arrive.
    """

    conditions: Conditions
    random: Callable[[], float]
    lost: int = 0
    _heap: list[tuple[float, int, int, bytes]] = field(default_factory=list)
    _count: int = 0

    def send(self, now: float, target: int, packet: bytes) -> None:
        """
        Send a packet on its way.

        @param target: where it goes.
        """
        conditions = self.conditions
        is_lost = conditions.loss > 0 and self.random() < conditions.loss
        if is_lost or len(self._heap) >= MAX_PACKETS:
            self.lost += 1
            return
        due = now + conditions.delay
        if conditions.jitter > 0:
            due += conditions.jitter * self.random()
        self._count += 1
        heapq.heappush(self._heap, (due, self._count, target, packet))

    def arrived(self, now: float) -> list[tuple[int, bytes]]:
        """
        Take the packets that have arrived, in the order in which they did.
        """
        found = []
        while self._heap and self._heap[0][0] <= now:
            _, _, target, packet = heapq.heappop(self._heap)
            found.append((target, packet))
        return found

    def next_due(self) -> float | None:
        """
        Say when the next one arrives.
        """
        return self._heap[0][0] if self._heap else None


def open_tun(path: str, name: str) -> int:
    """
    Make a TUN device in a namespace; it lasts as long as its file is open.
    """
    with enter(path):
        device = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        fcntl.ioctl(
            device, _TUNSETIFF, struct.pack("16sH22x", name.encode(), _IFF_TUN | _IFF_NO_PI)
        )
    return device


def carry(
    cables: Sequence[Cable],
    conditions: Conditions,
    *,
    now: Callable[[], float],
    random: Callable[[], float],
    ready: Callable[[], None],
    end: int | None = None,
) -> None:
    """
    Carry packets until there is something to read from C{end}, or that is closed.

    @param ready: called when all devices are there.
    @param end: a file; standard input if none is given.
    """
    end = sys.stdin.fileno() if end is None else end
    line = DelayLine(conditions, random)
    other: dict[int, int] = {}
    try:
        for cable in cables:
            near, far = open_tun(*cable.near), open_tun(*cable.far)
            other |= {near: far, far: near}
        ready()
        while True:
            due = line.next_due()
            patience = None if due is None else max(0.0, due - now())
            readable, _, _ = select.select([end, *other], [], [], patience)
            if end in readable:
                return
            for device in readable:
                _take(device, other[device], line, now)
            for target, packet in line.arrived(now()):
                _give(target, packet, line)
    finally:
        for device in other:
            os.close(device)


def _take(device: int, target: int, line: DelayLine, now: Callable[[], float]) -> None:
    """
    Take what has come out of a device.
    """
    for _ in range(BATCH):
        try:
            packet = os.read(device, 65536)
        except OSError:  # nothing more, or the interface is down
            return
        line.send(now(), target, packet)


def _give(target: int, packet: bytes, line: DelayLine) -> None:
    """
    Put a packet into a device; an interface that is down takes none.
    """
    try:
        os.write(target, packet)
    except OSError:
        line.lost += 1
