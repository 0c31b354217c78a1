"""
Two nodes in homes of two kinds, a relay in the middle, and one looks for the other.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import partial

from twisted.internet.task import Clock
from typing_extensions import override

from atmosphere.errors import LinkError
from atmosphere.lab.kinds import Kind, prospect
from atmosphere.lab.targets import Target, target
from atmosphere.node.service import NodeService
from atmosphere.testing import Home, Link, MemoryMesh, Nat, seeded_random

__all__ = ["Meeting", "Pair", "meet"]

#: Seconds that a home's uplink takes one way, and up to how many more.
UPLINK = 0.02
JITTER = 0.002

#: Seconds, beside six times the uplink's, in which a node that its relay has welcomed learns
#: its public address. It looks for others by itself a second after its start at the earliest.
SETTLING = 0.2

#: How often two nodes are started anew when they found each other before they were asked.
MAX_STARTS = 4

#: Seconds that a direct path is waited for where one is expected, and where none is.
PATIENCE = 5.0
PATIENCE_WITHOUT_HOPE = 2.0


@dataclass(frozen=True, slots=True)
class Pair:
    """
    The kinds of two homes.
    """

    one: Kind
    two: Kind

    @override
    def __str__(self) -> str:
        return f"{self.one.value} x {self.two.value}"

    @property
    def target(self) -> Target:
        """
        What it has to reach.
        """
        return target(self.one, self.two)

    @property
    def prospect(self) -> str:
        """
        What its NATs allow.
        """
        return prospect(self.one, self.two).value


@dataclass(frozen=True, slots=True)
class Meeting:
    """
    How it went, in simulated seconds after the one node was asked for the other.

    @ivar first: until the first answer; C{None} if there was none.
    @ivar direct: until the first answer by a direct path, if there was one.
    @ivar path: what kind of path carried the last answer.
    @ivar error: why there was no answer.
    @ivar mappings: how many mappings it took in the NAT that had most of them.
    @ivar cpu: seconds of processor time that it all took.
    """

    first: float | None
    direct: float | None
    path: str | None
    error: str | None
    mappings: int
    cpu: float


def meet(pair: Pair, seed: int) -> Meeting:
    """
    Let seattle, in the second home, ask for portland, in the first: both nodes just
    started, all routers without memory.
    """
    began = time.process_time()
    patience = PATIENCE if pair.target.share else PATIENCE_WITHOUT_HOPE
    first = direct = path = error = None
    with MemoryMesh(Clock(), seed, latency=UPLINK) as mesh:
        mesh.network.set_link(mesh.relay_host, latency=0.0)
        line = Link(latency=UPLINK, jitter=JITTER)
        homes = [mesh.homes.make(kind.value, link=line) for kind in (pair.one, pair.two)]
        mesh.node("portland", behind=homes[0])
        mesh.node("seattle", behind=homes[1])
        seattle = _start_anew(mesh, homes)
        before = _mappings(homes)
        pinging = seattle.ping(
            "portland",
            count=0,
            interval=0.25,
            timeout=patience,
            until_direct=True,
            emit=lambda reply: None,
        )
        try:
            answer = mesh.result(pinging, 2 * patience + 1)
        except (LinkError, TimeoutError) as problem:
            error = f"{problem}"
        else:
            first, direct = _seconds(answer["first_reply_ms"]), _seconds(answer["direct_ms"])
            path = answer["path"] and answer["path"]["kind"]
        mappings = max((b - a for a, b in zip(before, _mappings(homes), strict=True)), default=0)
    return Meeting(first, direct, path, error, mappings, time.process_time() - began)


def _start_anew(mesh: MemoryMesh, homes: list[Home]) -> NodeService:
    """
    Start both nodes behind routers that remember nothing.

    @return: the second node.
    """
    machines = list(mesh.machines.values())
    chance = seeded_random(mesh.network.seed)
    for _ in range(MAX_STARTS):
        for machine in machines:
            machine.kill()
        mesh.advance(1.0)  # what was on its way is gone
        for home in homes:
            home.reboot()
        services = []
        for machine in machines:
            mesh.advance(chance() / 4)
            services.append(machine.restart())
        for service in services:
            mesh.until(partial(_is_welcomed, service))
        mesh.advance(SETTLING + 6 * UPLINK)
        if machines[1].link_to(machines[0]) is None:
            return services[1]
    raise RuntimeError("the nodes find each other sooner than they can be asked to")


def _is_welcomed(service: NodeService) -> bool:
    """
    Say whether a node's relay has welcomed it.
    """
    return all(client.is_welcomed for client in service.relays.clients.values())


def _mappings(homes: list[Home]) -> list[int]:
    """
    Say how many mappings each NAT of the homes has made.
    """
    return [
        router.mappings_made for home in homes for router in home.routers if isinstance(router, Nat)
    ]


def _seconds(milliseconds: float | None) -> float | None:
    """
    Bring milliseconds to seconds.
    """
    return None if milliseconds is None else milliseconds / 1000
