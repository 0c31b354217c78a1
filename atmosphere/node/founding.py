# -*- test-case-name: tests.node.test_founding -*-
"""
Founding a mesh: by the first invitation, or before it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

from atmosphere.errors import JoinError

from .api import JSON
from .config import check_name
from .mesh import NodeMesh
from .relays import RelaySet

__all__ = ["DEFAULT_MESH_NAME", "FoundingNode"]

DEFAULT_MESH_NAME = "home"


class FoundingNode(ABC):
    """
    The part of a node's local API about founding: see L{atmosphere.node.api.NodeAPI}.

    @ivar mesh: who belongs to the node's mesh.
    @ivar relays: the node's relays.
    """

    mesh: NodeMesh
    relays: RelaySet

    @abstractmethod
    def _publish(self) -> None:
        """
        Sign what members should know of us.
        """

    def found(self, mesh_name: str | None) -> JSON:
        """
        Found a mesh of which this node is the first member, and an admin.
        """
        present = self.mesh.stored
        if present is not None:
            raise JoinError(
                f"this node is in the mesh {present.name}: run `atmosphere leave` first"
            )
        self.mesh.found(check_name(mesh_name or DEFAULT_MESH_NAME), ())
        self._publish()
        self.relays.reconnect()
        stored = self.mesh.stored
        assert stored is not None
        return {"mesh_id": stored.mesh_id, "mesh_name": stored.name}
