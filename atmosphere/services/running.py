# -*- test-case-name: tests.services.test_endpoints -*-
"""
The nodes that run in this process: where an endpoint finds the one it means.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IListeningPort, IProtocol, IProtocolFactory

from atmosphere.errors import ConfigurationError

__all__ = ["RunningNode", "node_began", "node_ended", "running_node"]


class RunningNode(Protocol):
    """
    What endpoints ask of a node.

    @ivar state: its state directory.
    """

    state: Path

    def is_in_mesh(self, text: str) -> bool:
        """
        Say whether the node is in the mesh of that ID or name.
        """
        ...

    def open(
        self,
        peer: str,
        service: str,
        factory: IProtocolFactory,
        *,
        path: str = "auto",
        timeout: float = 30.0,
    ) -> Deferred[IProtocol]:
        """
        Open a stream to a service of a member.
        """
        ...

    def listen(self, service: str, factory: IProtocolFactory) -> IListeningPort:
        """
        Offer a service to members.
        """
        ...


_running: list[Any] = []


def node_began(node: RunningNode) -> None:
    """
    Note a node that runs; once is enough.
    """
    if node not in _running:
        _running.append(node)


def node_ended(node: RunningNode) -> None:
    """
    Forget a node.
    """
    if node in _running:
        _running.remove(node)


def running_node(state: Path | None, mesh: str | None) -> RunningNode | None:
    """
    Find the node of this process that is meant.

    @param state: its state directory, or C{None} for any.
    @param mesh: the ID or name of its mesh, or C{None} for any.
    @return: C{None} if it is none of ours.
    @raise ConfigurationError: it may be any of several.
    """
    found: list[RunningNode] = [
        node
        for node in _running
        if (state is None or node.state.absolute() == state.absolute())
        and (mesh is None or node.is_in_mesh(mesh))
    ]
    if len(found) > 1:
        raise ConfigurationError(
            "several nodes run in this process: say which by state=DIRECTORY or mesh=NAME"
        )
    return found[0] if found else None
