# -*- test-case-name: tests.node.test_heritage -*-
"""
What links leave behind: the direct ways that each peer was last reached by, for its next link.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable

from twisted.internet.interfaces import IDelayedCall, IReactorTime

from atmosphere.identity import NodeID
from atmosphere.network.path.way_table import MAX_INHERITED
from atmosphere.network.path.ways import DirectWay

__all__ = ["KEPT_FOR", "Heritage"]

#: Seconds after the end of a link for which its ways are kept: a peer that starts anew
#: takes less, and few NATs forget a mapping sooner.
KEPT_FOR = 60.0

#: Peers whose ways are kept; the oldest make room.
MAX_PEERS = 64


class Heritage:
    """
    Keeps the ways of links that ended, for a while.
    """

    def __init__(self, reactor: IReactorTime, forgotten: Callable[[], None]) -> None:
        """
        @param forgotten: called when ways of some peer are kept no longer.
        """
        self._reactor = reactor
        self._forgotten = forgotten
        self._ways: OrderedDict[NodeID, dict[DirectWay, float]] = OrderedDict()
        self._calls: dict[NodeID, IDelayedCall] = {}

    def of(self, peer: NodeID) -> tuple[DirectWay, ...]:
        """
        List the ways that are kept for a peer, the best first.
        """
        return tuple(self._ways.get(peer, ()))

    def keep(self, peer: NodeID, ways: Iterable[DirectWay]) -> None:
        """
        Keep the ways of a link that has ended, before those that were kept already, whose
        time goes on.
        """
        before = self._ways.get(peer, {})
        kept = dict.fromkeys(ways, self._reactor.seconds() + KEPT_FOR)
        kept.update((way, until) for way, until in before.items() if way not in kept)
        self._set(peer, dict(list(kept.items())[:MAX_INHERITED]))
        if len(self._ways) > MAX_PEERS:
            self.forget(next(iter(self._ways)))

    def _set(self, peer: NodeID, kept: dict[DirectWay, float]) -> None:
        """
        Keep these ways for a peer, each until its time.
        """
        self._drop(peer)
        if kept:
            self._ways[peer] = kept
            wait = max(0.0, min(kept.values()) - self._reactor.seconds())
            self._calls[peer] = self._reactor.callLater(wait, self._expire, peer)

    def _expire(self, peer: NodeID) -> None:
        """
        The time of a peer's oldest ways is up.
        """
        kept = self._ways.get(peer, {})
        oldest = min(kept.values(), default=0.0)
        self._set(peer, {way: until for way, until in kept.items() if until > oldest})
        self._forgotten()

    def forget(self, peer: NodeID) -> None:
        """
        Keep nothing for a peer any more.
        """
        self._drop(peer)
        self._forgotten()

    def stop(self) -> None:
        """
        Keep nothing, and let go of the clock.
        """
        for peer in list(self._ways):
            self._drop(peer)

    def _drop(self, peer: NodeID) -> None:
        """
        Let go of a peer's ways.
        """
        self._ways.pop(peer, None)
        call = self._calls.pop(peer, None)
        if call is not None and call.active():
            call.cancel()
