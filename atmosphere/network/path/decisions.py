# -*- test-case-name: tests.network.path.test_decisions -*-
"""
What was decided, and why, kept for those who ask later: of each link by its path
engine, of each peer by whoever dials it. Both keep only so much.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from atmosphere.identity import NodeID

from .selection import Rule
from .ways import Way

__all__ = ["DIALLED", "MAX_DECISIONS", "Decision", "Decisions", "Histories"]

#: Of one link, or of one peer.
MAX_DECISIONS = 64

#: How the note of a dial begins; after it stand the ways, with commas.
DIALLED = "we dialled it by "

#: Peers of which something is kept.
MAX_PEERS = 256


@dataclass(frozen=True, slots=True)
class Decision:
    """
    Something that was decided about a way, kept to explain it later.

    @ivar at: engine time; of the last time, if it was decided repeatedly.
    @ivar way: which; C{None} when it is about the link.
    @ivar text: what, and the fact behind it; a peer may have chosen some of the words.
    @ivar rule: by which rule data leaves by that way from then on.
    @ivar times: how often it was decided.
    """

    at: float
    way: Way | None
    text: str
    rule: Rule | None = None
    times: int = 1


class Decisions:
    """
    The last decisions, oldest first. What is decided again moves to the end and is
    counted, so that a way that comes and goes does not displace the rest.

    @ivar limit: the most that are kept.
    """

    def __init__(self, limit: int = MAX_DECISIONS) -> None:
        self.limit = limit
        self._kept: OrderedDict[tuple[Way | None, str, Rule | None], Decision] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    def __iter__(self) -> Iterator[Decision]:
        return iter(list(self._kept.values()))

    def __getitem__(self, index: int) -> Decision:
        return list(self._kept.values())[index]

    def note(self, now: float, way: Way | None, text: str, rule: Rule | None = None) -> None:
        """
        Keep a decision.
        """
        self.add(Decision(now, way, text, rule))

    def add(self, decision: Decision) -> None:
        """
        Keep one that was made elsewhere.
        """
        key = (decision.way, decision.text, decision.rule)
        before = self._kept.pop(key, None)
        if before is not None:
            decision = replace(decision, times=before.times + decision.times)
        elif len(self._kept) >= self.limit:
            self._kept.popitem(last=False)
        self._kept[key] = decision

    def last_of(self, way: Way) -> Decision | None:
        """
        Find the newest decision about a way.
        """
        return next((each for each in reversed(self._kept.values()) if each.way == way), None)


class Histories:
    """
    What came of dialling each peer, and what its former links decided; of the peers
    of which something was noted last.
    """

    def __init__(self, limit: int = MAX_PEERS) -> None:
        self._limit = limit
        self._of: OrderedDict[NodeID, Decisions] = OrderedDict()

    def __len__(self) -> int:
        return len(self._of)

    def note(self, peer: NodeID, now: float, text: str, way: Way | None = None) -> None:
        """
        Keep something about a peer.
        """
        self._decisions(peer).note(now, way, text)

    def keep(self, peer: NodeID, decisions: Iterable[Decision]) -> None:
        """
        Keep what a link of a peer had decided, now that it has ended.
        """
        kept = self._decisions(peer)
        for each in decisions:
            kept.add(each)

    def of(self, peer: NodeID) -> list[Decision]:
        """
        List what is known of a peer, oldest first.
        """
        return sorted(self._of.get(peer, ()), key=lambda each: each.at)

    def _decisions(self, peer: NodeID) -> Decisions:
        """
        Find those of a peer, or make room for them.
        """
        found = self._of.pop(peer, None)
        if found is None:
            found = Decisions()
            if len(self._of) >= self._limit:
                self._of.popitem(last=False)
        self._of[peer] = found
        return found
