# -*- test-case-name: tests.network.ice.test_pairs -*-
"""
Pairs of a local and a remote candidate, and the order in which they are checked
(RFC 8445 §6.1.2 and §6.1.4, RFC 8838 for those that come later).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from enum import Enum
from typing import TypeAlias

from atmosphere.addresses import TransportAddress

from .candidates import IceCandidate

__all__ = ["MAX_PAIRS", "CheckList", "IcePath", "Pair", "PairState", "pair_priority"]

#: RFC 8445 §6.1.2.5.
MAX_PAIRS = 100

#: The socket of ours, by its address, and the address of the peer's.
IcePath: TypeAlias = tuple[TransportAddress, TransportAddress]


class PairState(Enum):
    """
    The states of RFC 8445 §6.1.2.6.
    """

    FROZEN = "frozen"
    WAITING = "waiting"
    IN_PROGRESS = "in progress"
    SUCCEEDED = "succeeded"
    FAILED = "failed"


def pair_priority(controlling: int, controlled: int) -> int:
    """
    Rank a pair (RFC 8445 §6.1.2.3).

    @param controlling: the priority of the controlling agent's candidate.
    @param controlled: of the other's.
    """
    low, high = sorted((controlling, controlled))
    return (low << 32) + 2 * high + (controlling > controlled)


class Pair:
    """
    A candidate of ours, which is always that of a socket, with one of the peer's.

    @ivar local: ours.
    @ivar remote: the peer's.
    @ivar path: the same two as addresses.
    @ivar state: where it is in its life.
    @ivar seen_as: the candidate that the peer sees us by; C{None} while unknown.
    @ivar is_nominating: we control, and its next check nominates it.
    @ivar is_wanted: the peer controls and has nominated it; we have yet to see it succeed.
    @ivar is_nominated: it may be selected.
    @ivar rtt: its last round trip, in seconds, once it was measured.
    """

    __slots__ = (
        "is_nominated",
        "is_nominating",
        "is_wanted",
        "local",
        "path",
        "remote",
        "rtt",
        "seen_as",
        "state",
    )

    def __init__(self, local: IceCandidate, remote: IceCandidate, path: IcePath) -> None:
        self.local = local
        self.remote = remote
        self.path = path
        self.state = PairState.FROZEN
        self.seen_as: IceCandidate | None = None
        self.is_nominating = self.is_wanted = self.is_nominated = False
        self.rtt: float | None = None

    @property
    def foundation(self) -> tuple[str, str]:
        """
        Equal for pairs that succeed or fail alike.
        """
        return self.local.foundation, self.remote.foundation

    @property
    def is_pending(self) -> bool:
        """
        Whether nothing is known of it yet.
        """
        return self.state in (PairState.FROZEN, PairState.WAITING, PairState.IN_PROGRESS)


class CheckList:
    """
    All pairs of one stream.

    @ivar is_controlling: our role, on which their priorities depend.
    @ivar triggered: those that are checked before all others, in order.
    """

    def __init__(self, *, is_controlling: bool) -> None:
        self.is_controlling = is_controlling
        self.triggered: deque[Pair] = deque()
        self._pairs: dict[IcePath, Pair] = {}

    def __iter__(self) -> Iterator[Pair]:
        return iter(list(self._pairs.values()))

    def __len__(self) -> int:
        return len(self._pairs)

    def get(self, path: IcePath) -> Pair | None:
        """
        Find a pair by its addresses.
        """
        return self._pairs.get(path)

    def priority(self, pair: Pair) -> int:
        """
        Rank a pair, in our present role.
        """
        ours, theirs = pair.local.priority, pair.remote.priority
        return pair_priority(*((ours, theirs) if self.is_controlling else (theirs, ours)))

    def best(self, *states: PairState) -> Pair | None:
        """
        Find the pair of the highest priority in one of some states.
        """
        some = [each for each in self._pairs.values() if each.state in states]
        return max(some, key=self.priority, default=None)

    def add(self, local: IceCandidate, remote: IceCandidate, path: IcePath) -> Pair | None:
        """
        Make a pair. One that is there already stays, with the better candidate.

        @return: C{None} if the list is full of better ones.
        """
        known = self._pairs.get(path)
        if known is not None:
            if remote.kind != "prflx" or known.remote.kind == "prflx":
                known.remote = remote
            return known
        pair = Pair(local, remote, path)
        if len(self._pairs) >= MAX_PAIRS:
            worst = self._worst()
            if worst is None or (worst.is_pending and self.priority(worst) > self.priority(pair)):
                return None
            self._drop(worst)
        self._pairs[path] = pair
        self._thaw(pair.foundation)
        return pair

    def _worst(self) -> Pair | None:
        """
        Find the pair that is missed least: one that failed, or else that nothing is
        known of.
        """
        return min(
            (each for each in self._pairs.values() if each.state is not PairState.SUCCEEDED),
            key=lambda each: (each.is_pending, self.priority(each)),
            default=None,
        )

    def _drop(self, pair: Pair) -> None:
        """
        Forget a pair.
        """
        del self._pairs[pair.path]
        if pair in self.triggered:
            self.triggered.remove(pair)

    def _thaw(self, foundation: tuple[str, str]) -> None:
        """
        Of pairs that fare alike let one be checked at a time, the best, until it
        has succeeded; then all.
        """
        group = [each for each in self._pairs.values() if each.foundation == foundation]
        asleep = [
            each
            for each in group
            if each.state is PairState.FROZEN
            or (each.state is PairState.WAITING and each not in self.triggered)
        ]
        if any(each.state is PairState.SUCCEEDED for each in group):
            for each in asleep:
                each.state = PairState.WAITING
        elif asleep and not any(each.state is PairState.IN_PROGRESS for each in group):
            for each in asleep:
                each.state = PairState.FROZEN
            max(asleep, key=self.priority).state = PairState.WAITING

    def succeeded(self, pair: Pair) -> None:
        """
        A pair has succeeded: those that fare alike may be checked.
        """
        pair.state = PairState.SUCCEEDED
        self._thaw(pair.foundation)

    def failed(self, pair: Pair) -> None:
        """
        A pair has failed: the next that fares alike may be checked.
        """
        pair.state = PairState.FAILED
        pair.is_nominating = False
        self._thaw(pair.foundation)

    def trigger(self, pair: Pair) -> None:
        """
        Check a pair before all others.
        """
        if pair.state is not PairState.SUCCEEDED:
            pair.state = PairState.WAITING
        if pair not in self.triggered:
            self.triggered.append(pair)

    def next_pair(self) -> Pair | None:
        """
        Take the pair that is to be checked now.
        """
        if self.triggered:
            return self.triggered.popleft()
        return self.best(PairState.WAITING)

    @property
    def has_work(self) -> bool:
        """
        Whether a pair waits to be checked.
        """
        return bool(self.triggered) or any(
            each.state is PairState.WAITING for each in self._pairs.values()
        )

    def conclude(self) -> None:
        """
        A pair was nominated: those that nothing is known of are not checked any more.
        """
        self.triggered.clear()
        for pair in self:
            if pair.state in (PairState.FROZEN, PairState.WAITING):
                self._drop(pair)
