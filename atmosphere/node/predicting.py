# -*- test-case-name: tests.node.test_predicting -*-
"""
Where a node's links guess ports: who may, within which budget, and the sockets that
are opened for it. What one link with a peer has proved is handed to the next one.

What is sent when is decided in L{atmosphere.network.path.prediction}.
"""

from __future__ import annotations

import resource
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.interfaces import IReactorTime

from atmosphere.errors import DecodeError, ListenError
from atmosphere.identity import NodeID
from atmosphere.network.nat.port_prediction import PredictionBudget
from atmosphere.network.path.prediction_message import decode_prediction
from atmosphere.network.path.reports import (
    PathEvent,
    PredictionHeard,
    SocketsKept,
    SocketsWanted,
)
from atmosphere.network.path.way_table import MAX_INHERITED
from atmosphere.network.path.ways import DirectWay, Way
from atmosphere.network.quic.connection import Link
from atmosphere.network.quic.core import CloseCode
from atmosphere.network.udp.port import PinnedPort

from .api import JSON
from .heritage import Heritage
from .ports import NodePorts

__all__ = ["PortGuesses", "most_sockets"]

#: Sockets of a burst that are given back when the system gives no more: what else the node
#: does meanwhile needs descriptors too.
GIVEN_BACK = 16


def most_sockets() -> int:
    """
    Say how many sockets a burst may open: a quarter of the descriptors we may have.
    """
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return 2**16 if soft == resource.RLIM_INFINITY else soft // 4


@dataclass(slots=True)
class _Own:
    """
    A socket that is there for one way to one peer.

    @ivar links: those that have this way; without any it is kept for the next one, if
        it was proved, or is closed.
    """

    peer: NodeID
    way: DirectWay
    port: PinnedPort
    links: set[Link] = field(default_factory=set)


class PortGuesses:
    """
    Guesses ports for all links of a node.

    @ivar budget: what all of them may do together.
    """

    def __init__(
        self,
        reactor: IReactorTime,
        ports: NodePorts,
        deliver: Callable[[Way, Sequence[bytes]], None],
        now: Callable[[], float],
        max_sockets: int | None = None,
    ) -> None:
        """
        @param ports: the node's own; sockets are opened on the same interface.
        @param deliver: takes datagrams for links.
        @param now: says engine time.
        @param max_sockets: of a burst; by default L{most_sockets}.
        """
        self.budget = PredictionBudget(most_sockets() if max_sockets is None else max_sockets)
        self._ports = ports
        self._deliver = deliver
        self._now = now
        self._own: dict[int, _Own] = {}
        self._links: dict[Link, None] = {}
        self._heritage = Heritage(reactor, self._close_unused)

    def link_connected(self, link: Link) -> None:
        """
        Let a link to a member guess, and first try what others with that member have proved.
        """
        if link.membership is None:
            return
        paths = link.core.paths
        link.call_core(paths.inherit, self._proven(link.peer), link.now())
        for own in self._own.values():
            if own.peer == link.peer and paths.has_way(own.way):
                own.links.add(link)
        self._links[link] = None
        link.call_core(paths.may_predict, link.peer, self.budget, link.now())

    def link_closed(self, link: Link, *, may_return: bool) -> None:
        """
        Close what was open for a link alone, but for what the next one may use.

        @param may_return: the peer is still a member.
        """
        paths = link.core.paths
        if paths.prediction is not None:
            paths.prediction.stop()
        if link not in self._links:
            return
        del self._links[link]
        if may_return:
            self._heritage.keep(link.peer, paths.proven())
        else:
            self._heritage.forget(link.peer)
        if any(link in own.links for own in self._own.values()):
            link.call_soon(self._close_of, link, frozenset())  # its last words are still to be sent

    def stop(self) -> Deferred[Any]:
        """
        Close everything.

        @return: fires when all is closed. Cancelling it has no effect.
        """
        self._heritage.stop()
        return DeferredList(self._close(list(self._own.values())))

    def send(self, way: DirectWay, datagrams: Sequence[bytes]) -> None:
        """
        Send by the socket of a way, or by the one that all share; datagrams of a way
        whose socket is closed are lost.
        """
        if way.socket is None:
            self._ports.send(way.address, datagrams)
            return
        own = self._own.get(way.socket)
        if own is not None and own.way == way:
            own.port.send(datagrams)

    def path_event(self, link: Link, event: PathEvent) -> None:
        """
        Do what a link wants for guessing.
        """
        if isinstance(event, PredictionHeard):
            self._heard(link, event.payload)
        elif isinstance(event, SocketsWanted):
            self._open(link, event)
        elif isinstance(event, SocketsKept):
            self._close_of(link, event.ports)

    def status(self) -> JSON:
        """
        Say what was used of the budget, and what is open.
        """
        now = self._now()
        counters = self.budget.counters
        return {
            "bursts": counters.bursts,
            "hits": counters.hits,
            "sockets_opened": counters.sockets,
            "probes_sent": counters.probes,
            "is_running": self.budget.is_held(now),
            "sockets_open": len(self._own),
            "mappings_last_minute": self.budget.mappings(now),
        }

    # Inside.

    def _proven(self, peer: NodeID) -> list[DirectWay]:
        """
        List the ways that links with a peer have proved, present ones and the last.
        """
        ways = [
            way for link in self._links if link.peer == peer for way in link.core.paths.proven()
        ]
        ways += self._heritage.of(peer)
        is_there = (way for way in ways if way.socket is None or way.socket in self._own)
        return list(dict.fromkeys(is_there))[:MAX_INHERITED]

    def _heard(self, link: Link, payload: bytes) -> None:
        """
        Take what a peer says about it.
        """
        prediction = link.core.paths.prediction
        try:
            message = decode_prediction(payload)
        except DecodeError as error:
            link.close(str(error), CloseCode.VIOLATED)
            return
        if message is not None and prediction is not None:
            link.call_core(prediction.heard, message, link.now())

    def _open(self, link: Link, wanted: SocketsWanted) -> None:
        """
        Open sockets towards an address.
        """
        prediction = link.core.paths.prediction
        opened: list[int] = []
        error: str | None = None
        while error is None and len(opened) < wanted.count:
            port = PinnedPort((wanted.target.host, wanted.target.port), self._received)
            try:
                number = self._ports.open_pinned(port)
            except ListenError as failed:
                error = str(failed)
                self._give_back(link)
                opened = [number for number in opened if number in self._own]
                break
            self._own[number] = _Own(link.peer, DirectWay(wanted.target, number), port, {link})
            opened.append(number)
        if prediction is not None and link.is_open:
            link.call_core(prediction.sockets_opened, opened, link.now(), error)
        else:
            self._close([self._own[number] for number in opened])

    def _give_back(self, link: Link) -> None:
        """
        Close the last sockets of a burst: of those that belong to no way.
        """
        has_way = link.core.paths.has_way
        spare = [o for o in self._own.values() if o.links == {link} and not has_way(o.way)]
        self._close(spare[-GIVEN_BACK:])

    def _received(self, port: PinnedPort, datagrams: Sequence[bytes]) -> None:
        """
        Hand on what came by one of the sockets.
        """
        own = self._own.get(port.number)
        if own is not None and own.port is port:
            self._deliver(own.way, datagrams)

    def _close_of(self, link: Link, kept: frozenset[int]) -> None:
        """
        Close the sockets that a link alone has.

        @param kept: but for these.
        """
        for number, own in self._own.items():
            if number not in kept:
                own.links.discard(link)
        self._close_unused()

    def _close_unused(self) -> None:
        """
        Close the sockets that no link has, and that are not kept for the next one.
        """
        kept = self._heritage
        self._close([o for o in self._own.values() if not o.links and o.way not in kept.of(o.peer)])

    def _close(self, owned: Sequence[_Own]) -> list[Deferred[object]]:
        """
        Close sockets.
        """
        for own in owned:
            self._own.pop(own.port.number, None)
        return [own.port.close() for own in owned]
