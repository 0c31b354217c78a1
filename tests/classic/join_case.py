"""
Programs of old on a simulated network: what they join by, and whom they ask.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from typing_extensions import override

from atmosphere.classic.join import MeshJoin
from atmosphere.classic.mesh import Node, NodeIdentity
from atmosphere.classic.world import World
from atmosphere.network.nat.candidates import Interface
from atmosphere.testing.host import Host
from atmosphere.testing.randomness import seeded_random
from tests.node.harness import RELAY_URL, WorldCase

__all__ = ["RELAY_URL", "JoinCase"]


class JoinCase(WorldCase):
    """
    An admin's node with a mesh, and machines on which other programs run.

    @ivar portland: the admin's node.
    @ivar place: the world of the admin's program.
    """

    @override
    def setUp(self) -> None:
        """
        Start the admin's node and found the mesh.
        """
        super().setUp()
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir()
        self.nodes: list[Node] = []
        self.joins: list[MeshJoin] = []
        self.addCleanup(self.stop_all)
        self.place, options = self.machine("portland", "198.51.100.1")
        self.portland = Node(
            "portland", self.folder / "portland", [RELAY_URL], world=self.place, **options
        )
        self.nodes.append(self.portland)
        self.world.result(self.portland.start())
        self.world.advance(1)
        self.mesh = self.portland.create_mesh("office")

    def stop_all(self) -> None:
        """
        Stop what was started.
        """
        for join in self.joins:
            self.world.result(join.close())
        for node in self.nodes:
            self.world.result(node.stop())

    def machine(self, name: str, address: str, on: Any = None) -> tuple[World, dict[str, Any]]:
        """
        Add a machine.

        @param on: the LAN that it is on, if it is on one.
        @return: where its programs live, and options for their nodes.
        """
        host: Host = self.world.network.host(name, address, on=on)
        place = World(
            host,
            wall=self.world.wall,
            entropy=self.world.entropy(name),
            random=seeded_random(name),
            addresses=lambda: list(host.kernel.addresses),
            routes=lambda: {False: host.kernel.addresses[0]},
            environment={},
        )

        def interfaces() -> list[Interface]:
            return [Interface("eth0", each, 24) for each in host.kernel.addresses]

        options = {"interfaces": ("0.0.0.0",), "list_interfaces": interfaces, "has_control": False}
        return place, options

    def mesh_join(
        self, name: str, address: str, on: Any = None, *, is_kept: bool = False, **settings: Any
    ) -> MeshJoin:
        """
        Make a program that joins, on a machine of its own.

        @param is_kept: whether its identity has a state directory.
        """
        place, options = self.machine(name, address, on)
        identity = NodeIdentity.generate(name, world=place)
        if is_kept:
            identity = identity.save(self.folder / name, world=place)
        options.pop("has_control")
        join = MeshJoin(identity, world=place, **{**options, **settings})
        self.joins.append(join)
        return join

    @property
    def endpoint(self) -> str:
        """
        Where the admin's node listens.
        """
        port = self.portland.running().surroundings.ports.port_of(is_ipv6=False)
        return f"198.51.100.1:{port}"
