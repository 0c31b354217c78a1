# -*- test-case-name: tests.node.test_gossiping -*-
"""
Gossip on the node's links: one stream to each neighbour, on its current link.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

from twisted.internet.interfaces import IReactorTime
from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.failure import Failure
from typing_extensions import override

from atmosphere.errors import StreamRefusedError
from atmosphere.identity import NodeID
from atmosphere.mesh.gossip import SERVICE, Gossip, GossipExchange
from atmosphere.mesh.roster import Change
from atmosphere.network.quic.connection import Link

from .links import NodeLinks
from .mesh import NodeMesh

__all__ = ["SERVICE", "GossipProtocol", "Gossiping"]

TICK = 1.0
ROUND_TICKS = 30

#: Streams of one neighbour: the newest, and one that is just ending.
MAX_STREAMS_OF_PEER = 2


class GossipProtocol(Protocol):
    """
    One end of a gossip stream.

    @ivar link: what the stream is on.
    """

    _log = Logger()

    def __init__(self, gossip: Gossiping, exchange: GossipExchange, link: Link) -> None:
        self.link = link
        self._gossip = gossip
        self._exchange = exchange
        self._ticks = 0
        self._loop = LoopingCall(self._tick)
        self._loop.clock = gossip.reactor

    @override
    def connectionMade(self) -> None:
        """
        Begin with a round.
        """
        self._gossip.protocols.append(self)
        self._loop.start(TICK, now=True)

    def _tick(self) -> None:
        """
        Begin a round now and then, and pull what is still wanted.
        """
        if self._ticks % ROUND_TICKS == 0:
            self.send(self._exchange.start(self._gossip.wall()))
        self._ticks += 1
        self.send(self._exchange.tick(self._gossip.now()))

    def end(self) -> None:
        """
        Gossip no more on this stream.
        """
        if self._loop.running:
            self._loop.stop()
        if self.transport is not None:
            self.transport.loseConnection()

    def abort(self) -> None:
        """
        End the stream at once, whatever the neighbour does.
        """
        if self.transport is not None:
            cast(Any, self.transport).abortConnection()

    def send(self, data: bytes) -> None:
        """
        Send bytes, if there are any.
        """
        if data and self.transport is not None:
            self.transport.write(data)

    def push(self, changes: Sequence[Change]) -> None:
        """
        Tell the neighbour of what is new.
        """
        self.send(self._exchange.push(changes))

    @override
    def dataReceived(self, data: bytes) -> None:
        """
        Take what the neighbour says, and pass on what was new.
        """
        received = self._exchange.receive(data, self._gossip.now(), self._gossip.wall())
        self.send(received.replies)
        if received.changes:
            self._gossip.learnt(self, received.changes)
        if received.error is not None and self.transport is not None:
            self._log.warn("gossip ended: {error}", error=received.error)
            self.transport.loseConnection()

    @override
    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """
        The neighbour is gone.
        """
        if self._loop.running:
            self._loop.stop()
        if self in self._gossip.protocols:
            self._gossip.protocols.remove(self)


class Gossiping:
    """
    The gossip of a node: makes the protocols, and passes news between them.

    A link that is not, or no longer, the current one to its peer carries none:
    it would never be without a stream, and so never end.

    @ivar protocols: those that are connected.
    """

    def __init__(
        self,
        reactor: IReactorTime,
        mesh: NodeMesh,
        links: NodeLinks,
        *,
        now: Callable[[], float],
        wall: Callable[[], float],
    ) -> None:
        self.reactor = reactor
        self.now = now
        self.wall = wall
        self.protocols: list[GossipProtocol] = []
        self._mesh = mesh
        self._links = links
        self._gossip: Gossip | None = None
        self._source: GossipProtocol | None = None
        mesh.listeners.append(self._changed)
        links.services[SERVICE] = self.serve
        links.on_connected.append(lambda link: self._settle(link.peer))
        links.on_closed.append(lambda link, reason: self._settle(link.peer))

    def _settle(self, peer: NodeID) -> None:
        """
        See that there is gossip with a neighbour on its current link alone.
        """
        current = self._links.link_to(peer)
        with_peer = [each for each in self.protocols if each.link.peer == peer]
        for protocol in with_peer:
            if protocol.link is not current:
                protocol.end()
        has_one = any(protocol.link is current for protocol in with_peer)
        if current is not None and current.is_dialler and not has_one:
            made = self._make(current)
            if made is not None:
                current.open_stream(SERVICE, made)

    def _make(self, link: Link) -> GossipProtocol | None:
        """
        Make the protocol of a stream; C{None} while the node is in no mesh.
        """
        roster = self._mesh.roster
        if roster is None:
            return None
        if self._gossip is None or self._gossip.roster is not roster:
            self._gossip = Gossip(roster)
        return GossipProtocol(self, GossipExchange(self._gossip, link.peer), link)

    def serve(self, link: Link) -> GossipProtocol:
        """
        Serve the stream of a neighbour.

        @raise StreamRefusedError: this node is in no mesh.
        """
        protocol = self._make(link)
        if protocol is None:
            raise StreamRefusedError("this node is in no mesh")
        older = [each for each in self.protocols if each.link.peer == link.peer]
        for each in older[: 1 - MAX_STREAMS_OF_PEER]:
            each.abort()
        return protocol

    def learnt(self, source: GossipProtocol, changes: Sequence[Change]) -> None:
        """
        Keep what a neighbour told us, and pass it on to the others.
        """
        self._source = source
        try:
            self._mesh.keep(changes)
        finally:
            self._source = None

    def _changed(self, change: Change) -> None:
        """
        Tell every neighbour but the one who told us.
        """
        for protocol in list(self.protocols):
            if protocol is not self._source:
                protocol.push([change])
