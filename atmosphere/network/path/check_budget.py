# -*- test-case-name: tests.network.path.test_check_budget -*-
"""
How many checks all links of a process may send: in a second, and to a host that answers
none.

A link ends, and the next one with the same peer knows nothing of it. So what was sent by the
word of a peer, and nobody answered, is counted here. Each peer is counted apart: else one
could use up what checks to another need.
"""

from __future__ import annotations

from atmosphere.identity import NodeID
from atmosphere.rate import TokenBucket

from .ways import Way, way_source

__all__ = ["CheckBudget"]

#: Checks of links with one peer to one host (of IPv6 a /64) while it answers none: so many
#: at once, which is more than one offer asks for, and then one in so many seconds.
UNANSWERED_AT_ONCE = 160
UNANSWERED_PAUSE = 2.0

#: Peers and hosts that are remembered. By a hundred checks a second, of which each counts for
#: seven at most and is remembered for two seconds as many times, there are never so many.
MAX_HOSTS = 4096


class CheckBudget(TokenBucket):
    """
    The checks of a process.
    """

    __slots__ = ("_full_at",)

    def __init__(self, rate: float, burst: float) -> None:
        super().__init__(rate, burst)
        self._full_at: dict[tuple[NodeID | None, str], float] = {}

    def free_at(self, peer: NodeID | None, way: Way) -> float:
        """
        Say from when on a check may go to a host that answered none.
        """
        full_at = self._full_at.get((peer, way_source(way))) if self._full_at else None
        if full_at is None:
            return float("-inf")
        return full_at - (UNANSWERED_AT_ONCE - 1) * UNANSWERED_PAUSE

    def asked(self, peer: NodeID | None, way: Way, now: float, cost: int) -> None:
        """
        A check left for such a host.

        @param cost: for how many it counts.
        """
        key = peer, way_source(way)
        self._full_at[key] = max(now, self._full_at.get(key, now)) + cost * UNANSWERED_PAUSE
        if len(self._full_at) > MAX_HOSTS:
            self._make_room(now)

    def _make_room(self, now: float) -> None:
        """
        Forget the hosts that would be forgiven all by now, and if none is, whoever would
        be soonest: else a peer could have a host forgotten by naming many others.
        """
        alive = [(key, full_at) for key, full_at in self._full_at.items() if full_at > now]
        if len(alive) > MAX_HOSTS:
            alive.remove(min(alive, key=lambda each: each[1]))
        self._full_at = dict(alive)

    def answered(self, peer: NodeID | None, way: Way) -> None:
        """
        The host has answered: it is no stranger.
        """
        if self._full_at:
            self._full_at.pop((peer, way_source(way)), None)
