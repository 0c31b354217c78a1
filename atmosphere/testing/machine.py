# -*- test-case-name: tests.testing.test_mesh -*-
"""
Machines with nodes on them, unchanged, on a simulated network with a relay.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.application.service import IService
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from atmosphere.identity import NodeKey
from atmosphere.network.nat.candidates import Interface
from atmosphere.network.quic.connection import Link
from atmosphere.network.relay.limits import RelayConfig
from atmosphere.network.relay.service import RelayService
from atmosphere.node.config import NodeConfig
from atmosphere.node.interface_watch import Heard
from atmosphere.node.service import NodeService
from atmosphere.node.store import NodeStore
from atmosphere.services.running import node_ended

from .homes import Home
from .host import Host
from .link import Link as Line
from .nat import Nat, NatBehaviour
from .network import SimulatedNetwork
from .randomness import seeded_entropy, seeded_random, wall_clock

__all__ = ["RELAY_ADDRESS", "RELAY_URL", "Machine", "Simulation"]

RELAY_ADDRESS = "203.0.113.1"
RELAY_URL = f"ws://{RELAY_ADDRESS}:8080"


class Machine:
    """
    A machine with a node on it, which may be killed and started again.

    @ivar host: the machine.
    @ivar nat: the NAT that it is behind, if any.
    @ivar config: what the node is told.
    @ivar key: the node's identity.
    @ivar service: the node that runs, or ran last.
    @ivar starts: how often it was started.
    """

    def __init__(
        self, simulation: Simulation, host: Host, path: Path, config: NodeConfig, nat: Nat | None
    ) -> None:
        self.host = host
        self.nat = nat
        self.config = config
        self.starts = 0
        self.service: NodeService
        self._simulation = simulation
        self._path = path
        self._store: NodeStore | None = NodeStore.create(
            path, config, wall=simulation.wall, entropy=simulation.entropy(f"key of {host.name}")
        )
        self.key: NodeKey = self._store.key

    def interfaces(self) -> list[Interface]:
        """
        List the machine's addresses.
        """
        attachments = self.host.kernel.attachments
        cables = list(dict.fromkeys(each.subnet for each in attachments))
        return [
            Interface(
                f"eth{cables.index(each.subnet)}", each.address, 64 if ":" in each.address else 24
            )
            for each in attachments
        ]

    def watch(self, reactor: object, heard: Heard) -> Callable[[], object]:
        """
        Tell the node when the machine's addresses change, as Linux does.
        """
        watchers = self.host.kernel.watchers

        def tell() -> None:
            self.host.callLater(0, heard, False)

        def end() -> None:
            if tell in watchers:  # a process that was killed has none left
                watchers.remove(tell)

        watchers.append(tell)
        return end

    def start(self) -> NodeService:
        """
        Start the node, as another process each time.
        """
        if self._store is None:
            self._store = NodeStore.open(self._path, wall=self._simulation.wall)
        self.starts += 1
        seed = f"{self.host.name} {self.starts}"
        self.service = NodeService(
            self.host,
            self._store,
            self.config,
            entropy=self._simulation.entropy(seed),
            wall=self._simulation.wall,
            random=seeded_random(f"{self._simulation.network.seed} {seed}"),
            interfaces=self.interfaces,
            watch=self.watch,
            has_control=False,
        )
        self.service.privilegedStartService()
        self.service.startService()
        return self.service

    def kill(self, *, is_silent: bool = False) -> None:
        """
        End the process as C{kill -9} does; the disk keeps what it has.

        @param is_silent: the power goes too, and the others hear nothing.
        """
        self.host.kill(is_silent=is_silent)
        self.release()

    def restart(self) -> NodeService:
        """
        Bring the machine back after L{kill}, and start the node on what the
        disk has.

        @return: the node, which is a new one.
        """
        self.host.restart()
        return self.start()

    def release(self) -> None:
        """
        Close the files, as the system does for a process that has ended.
        """
        node_ended(self.service)
        if self._store is not None:
            self._store.close()
            self._store = None

    def link_to(self, other: Machine) -> Link | None:
        """
        Find the current link to another node, as members of one mesh.
        """
        return self.service.links.link_to(other.key.node_id)

    def path_to(self, other: Machine) -> str | None:
        """
        Say which kind of path carries data to another node; C{None} without a link.
        """
        link = self.link_to(other)
        return None if link is None or link.path is None else link.path.kind

    def is_linked(self, other: Machine) -> bool:
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


class Simulation:
    """
    A relay and as many machines as a test needs, each with a node, on one clock.

    @ivar clock: the clock of them all.
    @ivar network: the simulated network.
    @ivar relay: the relay that runs, or ran last.
    @ivar relay_host: the machine that the relay is on.
    @ivar relay_url: what nodes call the relay.
    @ivar machines: those with a node, by name.
    """

    def __init__(
        self, directory: str | Path, *, clock: Clock, seed: int, latency: float = 0.005
    ) -> None:
        """
        @param directory: where the nodes' state goes; it is made.
        @param latency: of each host's line, in seconds.
        """
        self.clock = clock
        self.network = SimulatedNetwork(clock, seed, link=Line(latency=latency))
        self._skipped = 0.0
        self._wall = wall_clock(clock)
        self.machines: dict[str, Machine] = {}
        self.relay: RelayService
        self._relay_config: dict[str, Any] = {}
        self.relay_host = self.network.host("relay", RELAY_ADDRESS)
        self.relay_url = RELAY_URL
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

        @param config: of L{RelayConfig}.
        """
        self.relay = RelayService(
            self.relay_host,
            RelayConfig(**config),
            entropy=self.entropy("relay"),
            wall=self.wall,
        )
        self._relay_config = config
        self.relay_url = f"ws://{RELAY_ADDRESS}:{self.relay.config.port}"
        self.relay.privilegedStartService()
        self.relay.startService()
        return self.relay

    def restart_relay(self) -> RelayService:
        """
        Bring the relay back after C{relay_host.kill()}, as another process.
        """
        self.relay_host.restart()
        return self.start_relay(**self._relay_config)

    def add_machine(
        self,
        name: str,
        address: str,
        *,
        behind: NatBehaviour | None = None,
        on: Nat | None = None,
        **config: Any,
    ) -> Machine:
        """
        Add a machine with a node, and start that; it is in no mesh.

        @param address: its own, or that of its NAT.
        @param behind: what NAT it is behind, if any.
        @param on: the NAT on whose LAN it is, if there is one already.
        @param config: of L{NodeConfig}; its relay is ours unless told otherwise.
        """
        if behind is not None:
            number = len(self.machines) + 1
            on = self.network.nat(f"nat of {name}", address, behind, gateway=f"192.168.{number}.1")
            address = f"192.168.{number}.2"
        host = self.network.host(name, address, on=None if on is None else on.lan)
        return self._start_machine(host, on, config)

    def add_at_home(self, name: str, home: Home, **config: Any) -> Machine:
        """
        Add a machine with a node in a home, and start that; it is in no mesh.

        @param config: of L{NodeConfig}.
        """
        return self._start_machine(home.host(name), home.nat, config)

    def _start_machine(self, host: Host, nat: Nat | None, config: dict[str, Any]) -> Machine:
        """
        Put a node on a host, and start it.
        """
        has_ipv6 = any(":" in address for address in host.kernel.addresses)
        settings = NodeConfig(
            host.name,
            **{
                "relays": (self.relay_url,),
                "interfaces": ("0.0.0.0", "::") if has_ipv6 else ("0.0.0.0",),
                **config,
            },
        )
        machine = Machine(self, host, self._directory / host.name, settings, nat)
        self.machines[host.name] = machine
        machine.start()
        return machine

    def advance(self, seconds: float) -> None:
        """
        Let time pass, from event to event.
        """
        self.network.advance(seconds)

    def until(self, condition: Callable[[], object], limit: float = 60.0) -> float:
        """
        Let time pass until something holds.

        @return: for how long.
        @raise TimeoutError: it did not come to that within the limit.
        """
        return self.network.run_until(condition, limit)

    def result(self, deferred: Deferred[Any], limit: float = 60.0) -> Any:
        """
        Let time pass until there is a result.

        @raise Exception: what the Deferred failed with.
        @raise TimeoutError: there was none within the limit.
        """
        outcome: list[Any] = []
        deferred.addBoth(outcome.append)
        self.until(lambda: outcome, limit)
        if isinstance(outcome[0], Failure):
            outcome[0].raiseException()
        return outcome[0]

    def join(self, admin: Machine, *others: Machine, wait: float = 0.5) -> None:
        """
        Let nodes join the mesh of another one, which founds it if need be.
        """
        self.advance(wait)
        for other in others:
            made = self.result(admin.service.invite(hours=1, uses=1, mesh_name=None))
            self.result(other.service.join(made["code"]))

    def stop(self) -> None:
        """
        Stop every node and the relay in good order; what was killed stays so.
        """
        alive = [each for each in self.machines.values() if each.host.is_running]
        for machine in alive:
            machine.host.wake()
        services: list[IService] = [machine.service for machine in alive]
        if hasattr(self, "relay") and self.relay_host.is_running:
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
        for machine in self.machines.values():
            machine.release()
