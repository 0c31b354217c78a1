"""
Whole nodes and a relay, unchanged, on a simulated network.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from typing_extensions import override

from atmosphere.testing.machine import (
    RELAY_ADDRESS,
    RELAY_URL,
    Machine as SimulatedNode,
    Simulation,
)

__all__ = ["RELAY_ADDRESS", "RELAY_URL", "SimulatedNode", "World", "WorldCase"]


class World(Simulation):
    """
    A relay and as many nodes as a test needs.
    """

    def __init__(self, directory: str, seed: int = 1, latency: float = 0.005) -> None:
        """
        @param directory: where the nodes' state goes.
        @param latency: of each host's line, in seconds.
        """
        super().__init__(directory, clock=Clock(), seed=seed, latency=latency)
        self.nodes = self.machines
        self.node = self.add_machine

    def ping(self, node: SimulatedNode, peer: str, **settings: Any) -> dict[str, Any]:
        """
        Ping a peer, three times unless told otherwise.

        @return: the summary.
        """
        wanted = {"count": 3, "interval": 0.2, "timeout": 10.0, "until_direct": False}
        run = node.service.ping(peer, **{**wanted, **settings}, emit=lambda reply: None)
        summary: dict[str, Any] = self.result(run, 200)
        return summary


class WorldCase(SynchronousTestCase):
    """
    A test with a world of its own, which is stopped at its end.
    """

    world: World

    @override
    def setUp(self) -> None:
        """
        Make the world and its relay.
        """
        self.world = self.make_world()
        self.world.start_relay()

    def make_world(self, **settings: Any) -> World:
        """
        Make a world whose files are closed when the test is over.
        """
        world = World(self.mktemp(), **settings)
        self.addCleanup(world.release)
        return world
