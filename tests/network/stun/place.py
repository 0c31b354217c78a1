"""
A machine behind a NAT of some kind, and a server: what measurements are tried on.
"""

from __future__ import annotations

from typing import TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from atmosphere.testing import Host, Link, NatBehaviour, SimulatedNetwork

T = TypeVar("T")


class Place:
    """
    A machine, a NAT before it or none, and the host of a server.

    @ivar seed: of all chance there.
    @ivar clock: everybody's.
    @ivar network: what they are in.
    @ivar server: the host of the server, which serves nothing yet.
    @ivar machine: the one to measure from.
    @ivar seconds: how long the last measurement took.
    """

    def __init__(
        self, kind: NatBehaviour | None, *hosts: str, link: Link | None = None, seed: int = 1
    ) -> None:
        """
        @param hosts: the addresses of the server.
        """
        self.seed = seed
        self.clock = Clock()
        self.network = SimulatedNetwork(self.clock, seed, link or Link(latency=0.02))
        self.server = self.network.host("relay", *hosts)
        self.seconds = 0.0
        self.machine: Host
        if kind is None:
            self.machine = self.network.host("salem", "198.51.100.5")
        else:
            nat = self.network.nat("router", "198.51.100.1", kind)
            self.machine = self.network.host("salem", "192.168.1.2", on=nat.lan)

    def finish(self, measuring: Deferred[T]) -> T:
        """
        Wait for a measurement, and see that nothing is left of it.
        """
        found: list[T] = []
        measuring.addCallback(found.append)
        began = self.clock.seconds()
        while not found:
            self.network.advance(0.05)
        self.seconds = self.clock.seconds() - began
        self.network.advance(0.1)
        assert not self.machine.getDelayedCalls(), self.machine.getDelayedCalls()
        return found[0]
