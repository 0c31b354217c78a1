# -*- test-case-name: tests.node.test_standing -*-
"""
How a node and its peers fare, in words for people and programs.
"""

from __future__ import annotations

from collections.abc import Callable

from atmosphere.errors import ConfigurationError, JoinError
from atmosphere.identity import NodeID
from atmosphere.mesh.roster import Member

from .api import JSON
from .config import NodeConfig
from .links import NodeLinks
from .mesh import NodeMesh
from .pinging import path_of
from .store import NodeStore
from .surroundings import Surroundings

__all__ = ["Standing"]

#: Seconds for which a member that was linked counts as reachable.
REACHABLE_FOR = 300.0


class Standing:
    """
    Answers who is who, and how they are.
    """

    def __init__(
        self,
        config: NodeConfig,
        mesh: NodeMesh,
        links: NodeLinks,
        surroundings: Surroundings,
        *,
        wall: Callable[[], float],
        store: NodeStore,
        is_looking_for: Callable[[NodeID], bool],
    ) -> None:
        """
        @param is_looking_for: whether it is not known yet if a member can be reached.
        @param store: knows what was found damaged, and whether the disk keeps anything.
        """
        self._config = config
        self._mesh = mesh
        self._links = links
        self._surroundings = surroundings
        self._wall = wall
        self._store = store
        self._is_looking_for = is_looking_for

    def heard(self, node: NodeID) -> None:
        """
        Note that we heard a member just now.
        """
        if self._mesh.roster is not None:
            self._mesh.roster.saw(node, self._wall())

    def status(self) -> JSON:
        """
        Say who the node is and how it fares.
        """
        stored = self._mesh.stored
        relays = [
            {"url": url, "ok": client.is_welcomed, "error": client.error}
            for url, client in self._surroundings.relays.clients.items()
        ]
        others = self._mesh.others()
        connected = sum(1 for member in others if self._is_connected(member))
        own = self._mesh.own
        warnings = self._warnings()
        if own is not None and own.is_ending(self._wall()):
            warnings.append("the membership certificate ends soon, and no admin has renewed it")
        return {
            "node_id": str(self._mesh.node_id),
            "name": self._config.name if own is None else own.name,
            "mesh_id": None if stored is None else stored.mesh_id,
            "mesh_name": None if stored is None else stored.name,
            "listening": self._surroundings.ports.bound,
            "relay": relays[0] if relays else None,
            "relays": relays,
            "peers": {"known": len(others), "connected": connected},
            "port_guessing": self._links.guesses.status(),
            "warnings": warnings,
        }

    def _warnings(self) -> list[str]:
        """
        Say what is wrong with the disk, or was when the node started.
        """
        problem = self._store.problem()
        if problem is None:
            return list(self._store.notices)
        return [
            *self._store.notices,
            f"the disk refuses; the node runs on and keeps nothing new: {problem}",
        ]

    def _is_connected(self, member: Member) -> bool:
        """
        Say whether there is a link to a member that answers.
        """
        link = self._links.link_to(member.node)
        return link is not None and not link.is_silent

    def state_of(self, member: Member) -> str:
        """
        Say how a member stands, in one word.
        """
        wall = self._wall()
        if self._is_connected(member):
            return "connected"
        if self._mesh.roster is None or not self._mesh.roster.is_current(member, wall):
            return "gone"
        if wall - member.seen < REACHABLE_FOR:
            return "reachable"
        return "connecting" if self._is_looking_for(member.node) else "away"

    def peers(self) -> list[JSON]:
        """
        List the other members.
        """
        found = []
        for member in self._mesh.others():
            link = self._links.link_to(member.node)
            is_connected = self._is_connected(member)
            found.append(
                {
                    "node_id": str(member.node),
                    "name": member.name,
                    "state": self.state_of(member),
                    "path": path_of(link) if link is not None and is_connected else None,
                }
            )
        return found

    def find(self, text: str) -> Member:
        """
        Find the member that a person means.

        @raise ConfigurationError: it means nobody, or more than one, or us.
        """
        if self._mesh.roster is None:
            raise JoinError(
                "this node is in no mesh: run `atmosphere invite` or `atmosphere join CODE`"
            )
        member = self._mesh.roster.find(text)
        if member.node == self._mesh.node_id:
            raise ConfigurationError("that is this node itself")
        return member
