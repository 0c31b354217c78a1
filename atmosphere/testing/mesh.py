# -*- test-case-name: tests.testing.test_mesh -*-
"""
A mesh in memory, for the tests of applications: its nodes are the real ones.
"""

from __future__ import annotations

import os
from tempfile import TemporaryDirectory
from typing import Any, Self

from twisted.internet.task import Clock
from typing_extensions import override

from atmosphere.node.service import NodeService

from .homes import Home, HomeKind, Homes
from .machine import Simulation
from .nat import NatBehaviour

__all__ = ["MemoryMesh"]

#: Where Linux keeps files in memory: nodes sync what they write, and disks take long for that.
_IN_MEMORY = "/dev/shm"


class MemoryMesh(Simulation):
    """
    Nodes that are members of one mesh, on a simulated network with a relay.

    What must be written to disk is in a temporary directory, in memory if the system
    has such a place and C{TMPDIR} names no other. It is removed by L{stop}, and at the
    end of a C{with} block.

    @ivar homes: makes the homes of its nodes.
    """

    def __init__(self, clock: Clock, seed: int = 1, *, latency: float = 0.005) -> None:
        """
        @param clock: the clock of all machines.
        @param seed: the same one gives the same run.
        @param latency: of each machine's line, in seconds.
        """
        self._folder = TemporaryDirectory(prefix="atmosphere-", dir=_folder_in_memory())
        super().__init__(f"{self._folder.name}/mesh", clock=clock, seed=seed, latency=latency)
        self.homes = Homes(self.network)
        self.start_relay(is_open=True, port=443)

    def home(self, kind: HomeKind | str) -> Home:
        """
        Make a home, for several nodes or to do something to its router.

        @param kind: what it is like, such as C{cgnat}.
        """
        return self.homes.make(kind)

    def node(
        self,
        name: str,
        *,
        behind: NatBehaviour | HomeKind | Home | str | None = None,
        **config: Any,
    ) -> NodeService:
        """
        Add a node. The first one founds the mesh, each other one joins it; then
        time passes until all know each other.

        @param name: its name in the mesh, and that of its machine, which is in
            C{machines}.
        @param behind: the NAT that its machine is behind, if any: a behaviour, a
            kind of home such as C{port-restricted}, or a L{home}.
        @param config: of L{NodeConfig<atmosphere.node.config.NodeConfig>}.
        @return: the node, running.
        """
        if isinstance(behind, str | HomeKind):
            behind = self.home(behind)
        if isinstance(behind, Home):
            machine = self.add_at_home(name, behind, **config)
        else:
            machine = self.add_machine(name, self.homes.next_address(), behind=behind, **config)
        relays = machine.service.relays
        self.until(lambda: any(each.is_welcomed for each in relays.clients.values()))
        first, *_ = self.machines.values()
        if machine is first:
            self.result(machine.service.invite(hours=1, uses=1, mesh_name=None))
        else:
            self.join(first, machine, wait=0.0)
            self.until(self._all_know_each_other)
        return machine.service

    def _all_know_each_other(self) -> bool:
        """
        Say whether every node that runs knows all the others.
        """
        running = [each for each in self.machines.values() if each.host.is_running]
        return all(
            {each.key.node_id for each in running if each is not machine}
            <= {member.node for member in machine.service.mesh.others()}
            for machine in running
        )

    @override
    def stop(self) -> None:
        """
        Stop the nodes and the relay in good order, and remove their directory;
        no delayed call is left on the clock then but those of the test.
        """
        super().stop()
        self.advance(1.0)  # for what was still on its way
        self.release()
        self._folder.cleanup()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *details: object) -> None:
        self.stop()


def _folder_in_memory() -> str | None:
    """
    Find a place for temporary files that is no disk; C{None} for the usual one.
    """
    is_good = "TMPDIR" not in os.environ and os.access(_IN_MEMORY, os.W_OK | os.X_OK)
    return _IN_MEMORY if is_good else None
