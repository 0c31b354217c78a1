# -*- test-case-name: tests.node.test_streaming -*-
"""
What a node tells the program around it: peers that come and go, paths that change.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from twisted.logger import Logger

from atmosphere.identity import NodeID
from atmosphere.network.path.reports import PathChanged, PathEvent
from atmosphere.network.quic.connection import Link

from .links import NodeLinks
from .pinging import path_of

__all__ = ["EventListener", "Events", "NodeEvent", "PathMoved", "PeerCame", "PeerWent"]


@dataclass(frozen=True, slots=True)
class PeerCame:
    """
    There is a link to a member, and there was none before.

    @ivar name: its name in the mesh.
    """

    peer: NodeID
    name: str


@dataclass(frozen=True, slots=True)
class PeerWent:
    """
    There is no link to a member any more.

    @ivar reason: why the last one ended; a peer may have chosen the words.
    """

    peer: NodeID
    name: str
    reason: str


@dataclass(frozen=True, slots=True)
class PathMoved:
    """
    What goes to a member takes another path from now on; streams stay open.

    @ivar kind: C{direct}, C{punched} or C{relayed}.
    @ivar remote: an address, or a relay's URL.
    @ivar why: the measured fact and the rule.
    """

    peer: NodeID
    name: str
    kind: str
    remote: str
    why: str


NodeEvent: TypeAlias = PeerCame | PeerWent | PathMoved
EventListener: TypeAlias = Callable[[NodeEvent], None]


class Events:
    """
    Turns what links report into events, for all who listen.
    """

    _log = Logger()

    def __init__(self, links: NodeLinks) -> None:
        self._links = links
        self._listeners: dict[object, EventListener] = {}
        self._present: dict[NodeID, str] = {}
        links.on_connected.append(self._connected)
        links.on_closed.append(self._closed)
        links.on_path.append(self._path)

    def subscribe(self, listener: EventListener) -> Callable[[], None]:
        """
        Tell a listener of every event from now on.

        @return: ends that; it may be called more than once.
        """
        key = object()
        self._listeners[key] = listener

        def unsubscribe() -> None:
            self._listeners.pop(key, None)

        return unsubscribe

    def _tell(self, event: NodeEvent) -> None:
        """
        Tell all; a listener that fails keeps nothing from the others.
        """
        for listener in list(self._listeners.values()):
            try:
                listener(event)
            except Exception:
                self._log.failure("a listener failed on {event}", event=event)

    def _connected(self, link: Link) -> None:
        """
        A link is connected.
        """
        if link.membership is not None and link.peer not in self._present:
            self._present[link.peer] = link.membership.name
            self._tell(PeerCame(link.peer, link.membership.name))

    def _closed(self, link: Link, reason: str) -> None:
        """
        A link is closed; perhaps another one is left.
        """
        if self._links.link_to(link.peer) is not None:
            return
        name = self._present.pop(link.peer, None)
        if name is not None:
            self._tell(PeerWent(link.peer, name, reason))

    def _path(self, link: Link, event: PathEvent) -> None:
        """
        A link's paths changed: tell it of the one that is in use.
        """
        if not isinstance(event, PathChanged) or link is not self._links.endpoint.link_to(
            link.core.peer or self._links.endpoint.own_id
        ):
            return
        path = path_of(link)
        name = self._present.get(link.peer)
        if path is not None and name is not None:
            self._tell(PathMoved(link.peer, name, path["kind"], path["remote"], event.reason))
