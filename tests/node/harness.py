"""
Whole nodes and a relay, unchanged, on a simulated network.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.application.service import IService
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from typing_extensions import override

from atmosphere.identity import NodeKey
from atmosphere.network.nat.candidates import Interface
from atmosphere.network.quic.connection import Link
from atmosphere.network.relay.limits import RelayConfig
from atmosphere.network.relay.service import RelayService
from atmosphere.node.config import NodeConfig
from atmosphere.node.service import NodeService
from atmosphere.node.store import NodeStore
from atmosphere.testing import (
    Host,
    Nat,
    NatBehaviour,
    SimulatedNetwork,
    seeded_entropy,
    seeded_random,
    wall_clock,
)
from atmosphere.testing.link import Link as Line

__all__ = ["RELAY_URL", "SimulatedNode", "World", "WorldCase"]

RELAY_ADDRESS = "203.0.113.1"
RELAY_URL = f"ws://{RELAY_ADDRESS}:8080"


class SimulatedNode:
    """
    A machine with a node on it, which may be killed and started again.

    @ivar host: the machine.
    @ivar nat: the NAT that it is behind, if any.
    @ivar service: the node that runs, or ran last.
    @ivar starts: how often it was started.
    """

    def __init__(
        self, world: World, host: Host, path: Path, config: NodeConfig, nat: Nat | None
    ) -> None:
        self.host = host
        self.nat = nat
        self.config = config
        self.starts = 0
        self.service: NodeService
        self._world = world
        self._path = path
        self._store: NodeStore | None = NodeStore.create(
            path, config, wall=world.wall, entropy=world.entropy(f"key of {host.name}")
        )
        self.key: NodeKey = self._store.key

    def interfaces(self) -> list[Interface]:
        """
        List the machine's addresses.
        """
        return [Interface("eth0", address, 24) for address in self.host.kernel.addresses]

    def start(self) -> NodeService:
        """
        Start the node, as another process each time.
        """
        if self._store is None:
            self._store = NodeStore.open(self._path, wall=self._world.wall)
        self.starts += 1
        seed = f"{self.host.name} {self.starts}"
        self.service = NodeService(
            self.host,
            self._store,
            self.config,
            entropy=self._world.entropy(seed),
            wall=self._world.wall,
            random=seeded_random(f"{self._world.network.seed} {seed}"),
            interfaces=self.interfaces,
            has_control=False,
        )
        self.service.privilegedStartService()
        self.service.startService()
        return self.service

    def kill(self, *, is_silent: bool = False) -> None:
        """
        End the process as C{kill -9} does; the disk keeps what it has.
        """
        self.host.kill(is_silent=is_silent)
        self.release()

    def restart(self) -> NodeService:
        """
        Bring the machine back and start the node on what the disk has.
        """
        self.host.restart()
        return self.start()

    def release(self) -> None:
        """
        Close the files, as the system does for a process that has ended.
        """
        if self._store is not None:
            self._store.close()
            self._store = None

    def link_to(self, other: SimulatedNode) -> Link | None:
        """
        Find the current link to another node, as members of one mesh.
        """
        return self.service.links.link_to(other.key.node_id)

    def path_to(self, other: SimulatedNode) -> str | None:
        """
        Say which kind of path carries data to another node; C{None} without a link.
        """
        link = self.link_to(other)
        return None if link is None or link.path is None else link.path.kind

    def is_linked(self, other: SimulatedNode) -> bool:
        """
        Say whether there is a link to another node that answers.
        """
        link = self.link_to(other)
        return link is not None and not link.is_silent

    def states(self) -> dict[str, str]:
        """
        Say how the other members stand, by name.
        """
        return {peer["name"]: peer["state"] for peer in self.service.peers()}


class World:
    """
    A relay and as many nodes as a test needs.

    @ivar network: the simulated network.
    @ivar relay: the relay that runs, or ran last.
    @ivar nodes: by name.
    """

    def __init__(self, directory: str, seed: int = 1, latency: float = 0.005) -> None:
        """
        @param directory: where the nodes' state goes.
        @param latency: of each host's line, in seconds.
        """
        self.clock = Clock()
        self.network = SimulatedNetwork(self.clock, seed, link=Line(latency=latency))
        self._skipped = 0.0
        self._wall = wall_clock(self.clock)
        self.nodes: dict[str, SimulatedNode] = {}
        self.relay: RelayService
        self.relay_host = self.network.host("relay", RELAY_ADDRESS)
        self._directory = Path(directory)
        os.makedirs(directory)

    def wall(self) -> float:
        """
        Say what the clocks of all machines show.
        """
        return self._wall() + self._skipped

    def skip(self, seconds: float) -> None:
        """
        Set the clocks of all machines forward; nothing else moves.
        """
        self._skipped += seconds

    def entropy(self, name: str) -> Callable[[int], bytes]:
        """
        Make a source of bytes for one process.
        """
        return seeded_entropy(f"{self.network.seed} {name}")

    def start_relay(self, **config: Any) -> RelayService:
        """
        Start the relay, with its STUN server.
        """
        self.relay = RelayService(
            self.relay_host,
            RelayConfig(**config),
            entropy=self.entropy("relay"),
            wall=self.wall,
        )
        self.relay.privilegedStartService()
        self.relay.startService()
        return self.relay

    def node(
        self,
        name: str,
        address: str,
        *,
        behind: NatBehaviour | None = None,
        on: Nat | None = None,
        relays: tuple[str, ...] = (RELAY_URL,),
        **config: Any,
    ) -> SimulatedNode:
        """
        Add a machine with a node, and start it.

        @param address: its own, or that of its NAT.
        @param behind: what NAT it is behind, if any.
        @param on: the NAT on whose LAN it is, if there is one already.
        """
        if behind is not None:
            number = len(self.nodes) + 1
            on = self.network.nat(f"nat of {name}", address, behind, gateway=f"192.168.{number}.1")
            address = f"192.168.{number}.2"
        host = self.network.host(name, address, on=None if on is None else on.lan)
        settings = NodeConfig(name, relays=relays, interfaces=("0.0.0.0",), **config)
        node = SimulatedNode(self, host, self._directory / name, settings, on)
        self.nodes[name] = node
        node.start()
        return node

    def result(self, deferred: Deferred[Any], limit: float = 60.0) -> Any:
        """
        Let time pass until there is a result.

        @raise Exception: what the Deferred failed with.
        """
        outcome: list[Any] = []
        deferred.addBoth(outcome.append)
        self.network.run_until(lambda: outcome, limit)
        if isinstance(outcome[0], BaseException) or hasattr(outcome[0], "raiseException"):
            outcome[0].raiseException()
        return outcome[0]

    def until(self, condition: Callable[[], object], limit: float = 60.0) -> float:
        """
        Let time pass until something holds.

        @return: for how long.
        """
        return self.network.run_until(condition, limit)

    def join(self, admin: SimulatedNode, *others: SimulatedNode, wait: float = 0.5) -> None:
        """
        Let nodes join the mesh of another one, which founds it if need be.
        """
        self.network.advance(wait)
        for other in others:
            made = self.result(admin.service.invite(hours=1, uses=1, mesh_name=None))
            self.result(other.service.join(made["code"]))

    def ping(self, node: SimulatedNode, peer: str, **settings: Any) -> dict[str, Any]:
        """
        Ping a peer, three times unless told otherwise.

        @return: the summary.
        """
        wanted = {"count": 3, "interval": 0.2, "timeout": 10.0, "until_direct": False}
        run = node.service.ping(peer, **{**wanted, **settings}, emit=lambda reply: None)
        summary: dict[str, Any] = self.result(run, 200)
        return summary

    def stop(self) -> None:
        """
        Stop every node and the relay in good order.
        """
        services: list[IService] = [node.service for node in self.nodes.values()]
        if hasattr(self, "relay"):
            services.append(self.relay)
        for service in services:
            if service.running:
                stopping = service.stopService()
                if isinstance(stopping, Deferred):
                    self.result(stopping)

    def release(self) -> None:
        """
        Close all files.
        """
        for node in self.nodes.values():
            node.release()


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
