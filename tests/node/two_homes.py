"""
Two whole nodes in one mesh, each behind a simulated NAT of its own.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.task import Clock

from atmosphere.network.path.ways import DirectWay
from atmosphere.network.quic.connection import Link
from atmosphere.testing.machine import Machine
from atmosphere.testing.mesh import MemoryMesh
from atmosphere.testing.nat import NatBehaviour

__all__ = ["TwoHomes"]


class TwoHomes:
    """
    Portland and Seattle, in one mesh, each behind a NAT of its own.
    """

    def __init__(self, one: NatBehaviour, two: NatBehaviour, seed: int = 1) -> None:
        self.clock = Clock()
        self.mesh = MemoryMesh(self.clock, seed=seed, latency=0.02)
        self.mesh.node("portland", behind=one)
        self.mesh.node("seattle", behind=two)
        self.portland, self.seattle = self.mesh.machines.values()

    @property
    def link(self) -> Link:
        """
        The link at seattle.
        """
        found = self.seattle.link_to(self.portland)
        assert found is not None
        return found

    def status(self, machine: Machine) -> dict[str, Any]:
        """
        Say what a machine's node did.
        """
        return machine.service.links.guesses.status()

    def is_direct(self) -> bool:
        """
        Say whether data goes directly from both.
        """
        links = (self.portland.link_to(self.seattle), self.seattle.link_to(self.portland))
        return all(
            link is not None and isinstance(link.core.paths.active, DirectWay) for link in links
        )

    def until_direct(self, limit: float) -> float | None:
        """
        Let time pass until data goes directly from both.

        @return: how long it took.
        """
        began = self.clock.seconds()
        while self.clock.seconds() - began < limit:
            if self.is_direct():
                return self.clock.seconds() - began
            self.mesh.advance(0.02)
        return None
