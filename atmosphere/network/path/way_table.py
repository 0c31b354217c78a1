# -*- test-case-name: tests.network.path.test_way_table -*-
"""
The ways of one link, of each kind only so many, and the one place where an
address that a peer gave becomes a way.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from atmosphere.addresses import AddressKind, TransportAddress, address_kind
from atmosphere.network.nat.candidates import (
    AddressRules,
    Candidate,
    CandidateType,
    candidate_priority,
    prune,
)
from atmosphere.rate import TokenBucket

from .exchange import MAX_RELAYS
from .known_way import KnownWay, WayState
from .ways import DirectWay, RelayedWay, Way

__all__ = ["MAX_INHERITED", "PEER_REFLEXIVE_PRIORITY", "WayTable"]

MAX_INITIAL_DIRECT = 4
MAX_PEER_REFLEXIVE = 8
MAX_DIRECT = 32

#: Ways that a link takes over from earlier ones with the same peer, so many at once.
MAX_INHERITED = 4

#: Addresses that one peer may name: so many at once, then so many a second.
NAMED_AT_ONCE = 48
NAMED_PER_SECOND = 0.5

#: Addresses that never answered, and that the peer names no more: what was sent there is
#: remembered, for it may name them again.
MAX_DROPPED = 256

PEER_REFLEXIVE_PRIORITY = candidate_priority(CandidateType.PEER_REFLEXIVE)


def _is_private(address: TransportAddress) -> bool:
    """
    Say whether an address means another machine in another network.
    """
    return address_kind(address.packed) is AddressKind.PRIVATE


class WayTable:
    """
    The ways of one link.

    @ivar rules: what is known of ourselves, to judge the peer's addresses.
    @ivar refused: the addresses that the peer named last and that are not tried, and why.
    @ivar is_touched: a way was handed out or added, so that it may have changed,
        since somebody took this back.
    """

    def __init__(self, rules: AddressRules) -> None:
        self.rules = rules
        self.refused: dict[Way, str] = {}
        self.is_touched = True
        self._ways: dict[Way, KnownWay] = {}
        self._initial: set[Way] = set()
        self._dropped: dict[Way, KnownWay] = {}
        self._named = TokenBucket(NAMED_PER_SECOND, NAMED_AT_ONCE)

    def __iter__(self) -> Iterator[KnownWay]:
        self.is_touched = True
        return iter(list(self._ways.values()))

    def get(self, way: Way | None) -> KnownWay | None:
        """
        Find a way.
        """
        self.is_touched = True
        return None if way is None else self._ways.get(way)

    def is_initial(self, way: Way) -> bool:
        """
        Say whether the way was known before the link was.
        """
        return way in self._initial

    def last_answered(self) -> KnownWay | None:
        """
        Find the way that answered last, of those that our side can send by.
        """
        once = [each for each in self if each.has_answered and each.state is not WayState.LOST]
        return max(once, key=lambda each: each.last_answered or 0.0, default=None)

    def drop(self, way: Way) -> None:
        """
        Let go of a way.
        """
        self.is_touched = True
        self._ways.pop(way, None)

    def _count(self, *, is_direct: bool) -> int:
        """
        Count the ways of one class.
        """
        return sum(isinstance(way, DirectWay) == is_direct for way in self._ways)

    def _add(self, way: Way, origin: CandidateType | None, priority: int) -> KnownWay:
        """
        Put a new way into the table.
        """
        self.is_touched = True
        known = self._ways[way] = KnownWay(way, origin, priority)
        return known

    def add_initial(self, way: Way) -> bool:
        """
        Take a way that was known before the link was.

        @return: whether there was room for it.
        """
        if way in self._initial:
            return True
        is_direct = isinstance(way, DirectWay)
        limit = MAX_INITIAL_DIRECT if is_direct else MAX_RELAYS
        if self._count(is_direct=is_direct) >= limit:
            return False
        host = CandidateType.HOST
        priority = candidate_priority(host) if is_direct else 0
        self._add(way, host if is_direct else None, priority).is_recalled = is_direct
        self._initial.add(way)
        return True

    def learn(self, way: Way, *, keep: Way | None, is_first: bool = False) -> KnownWay | None:
        """
        Take a way that an authentic datagram came by.

        @param keep: is never given up for it.
        @param is_first: it is the way that the link itself came by, which is
            answered wherever it is.
        @return: C{None} if it is refused, or there is no room.
        """
        if isinstance(way, RelayedWay):
            return self._add(way, None, 0) if self._count(is_direct=False) < MAX_RELAYS else None
        if not is_first and self.rules.refusal(way.address, was_heard=True) is not None:
            return None
        learned = [known for known in self if not known.is_told]
        if len(learned) >= MAX_PEER_REFLEXIVE:
            stranger = next(
                (known for known in learned if known.is_stranger and known.way != keep), None
            )
            if stranger is None:
                return None
            del self._ways[stranger.way]
        return self._add(way, CandidateType.PEER_REFLEXIVE, PEER_REFLEXIVE_PRIORITY)

    def proven(self) -> list[DirectWay]:
        """
        List the direct ways that answered a check, the one that did so last first.
        """
        asked = [each for each in self._ways.values() if each.last_answered is not None]
        asked.sort(key=lambda each: each.last_answered or 0.0, reverse=True)
        ways = (each.way for each in asked)
        return [way for way in ways if isinstance(way, DirectWay)][:MAX_INHERITED]

    def inherit(self, way: DirectWay) -> KnownWay | None:
        """
        Take a way that an earlier link with the same peer proved: it is checked
        first, and proves itself anew.

        @return: C{None} if it is refused, or there is no room.
        """
        known = self.get(way)
        if known is None and self.rules.refusal(way.address, is_near=True) is None:
            if sum(not each.is_told for each in self) < MAX_PEER_REFLEXIVE:
                known = self._add(way, CandidateType.PEER_REFLEXIVE, PEER_REFLEXIVE_PRIORITY)
        if known is not None:
            known.is_inherited = True
        return known

    def tell(
        self, candidates: Iterable[Candidate], now: float, *, is_near: bool, keep: Way | None
    ) -> list[tuple[Way, str]]:
        """
        Take the addresses that the peer names now, and drop those of earlier
        offers that it names no more and that do not work.

        @param is_near: the peer is behind our own public address.
        @param keep: is never dropped.
        @return: what was refused, and why.
        """
        self.is_touched = True
        refused: list[tuple[Way, str]] = []
        told: dict[Way, Candidate] = {}
        for candidate in prune(candidates):
            way = DirectWay(candidate.address)
            refusal = self.rules.refusal(candidate.address, is_near=is_near)
            if refusal is None:
                told[way] = candidate
            else:
                refused.append((way, refusal))
        for known in self:
            if not isinstance(known.way, DirectWay) or not known.is_told:
                continue
            is_barred = self.rules.bar(known.way.address) is not None
            is_kept = known.way == keep or (known.way in self._initial and not is_barred)
            if known.way not in told and not is_kept:
                if known.state is not WayState.SUCCEEDED:
                    self._forsake(known)
                else:
                    known.origin = CandidateType.PEER_REFLEXIVE
        for named, candidate in told.items():
            entry = self._ways.get(named)
            if entry is None:
                entry = self._name(named, candidate, now)
                if entry is None:
                    refused.append((named, "the peer names too many addresses"))
                    continue
            entry.origin, entry.priority = candidate.type, candidate.priority
            entry.is_recalled = False
            # Many homes have 192.168.1.0/24: without a sign that it is the same one,
            # an address in it is looked at when the others were.
            entry.is_unlikely = not is_near and _is_private(candidate.address)
        self.refused = dict(refused)
        return refused

    def _forsake(self, known: KnownWay) -> None:
        """
        Let go of an address that the peer names no more. If it never answered, what was
        sent there is kept: else the peer had us begin anew by naming it again.
        """
        del self._ways[known.way]
        if known.is_stranger and known.last_sent > float("-inf"):
            self._dropped[known.way] = known
            if len(self._dropped) > MAX_DROPPED:
                del self._dropped[next(iter(self._dropped))]

    def _name(self, way: Way, candidate: Candidate, now: float) -> KnownWay | None:
        """
        Take an address that the peer did not name in its last offer, as new unless it
        was named before.

        @return: C{None} if there are too many.
        """
        if self._count(is_direct=True) >= MAX_DIRECT:
            return None
        known = self._dropped.pop(way, None)
        if known is not None:
            self._ways[way] = known
            return known
        if not self._named.take(1, now):
            return None
        return self._add(way, candidate.type, candidate.priority)
