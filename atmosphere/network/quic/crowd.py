# -*- test-case-name: tests.network.quic.test_crowd -*-
"""
How many links one party may have with us, so that none of them fills our memory
or takes the places of all others. The figures are in C{docs/protocols/link.md}, §1 and §3.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Generic, TypeVar

from atmosphere.network.path.ways import RelayedWay, Way, way_source

__all__ = ["GUEST_TIME", "MAX_GUESTS", "MAX_LINKS_OF_PEER", "Guests", "HalfOpen"]

LinkT = TypeVar("LinkT")

#: Diallers at one address, or at one relay, that may be half open at a time.
MAX_HALF_OPEN_OF_ADDRESS = 32
MAX_HALF_OPEN_OF_RELAY = 128

#: Guests at a time, and the seconds that each of them has.
MAX_GUESTS = 128
GUEST_TIME = 60.0

#: Links of one peer, those among them that are no longer current.
MAX_LINKS_OF_PEER = 8


class HalfOpen(Generic[LinkT]):
    """
    Counts the diallers that are not proven yet: all of them, and those of each source.
    Of a source only those are to be counted that have shown, by Retry, to be where they
    say: else anyone could use up the places of others.
    """

    def __init__(self) -> None:
        self._all: set[LinkT] = set()
        self._source_of: dict[LinkT, str] = {}
        self._at: Counter[str] = Counter()

    def __len__(self) -> int:
        """
        Say how many there are: a question that each forged packet asks.
        """
        return len(self._all)

    def may_come(self, way: Way) -> bool:
        """
        Say whether there is room for one more by that way.
        """
        is_relay = isinstance(way, RelayedWay)
        most = MAX_HALF_OPEN_OF_RELAY if is_relay else MAX_HALF_OPEN_OF_ADDRESS
        return self._at[way_source(way)] < most

    def came(self, link: LinkT, way: Way | None) -> None:
        """
        Count a dialler.

        @param way: where it has shown to be; C{None} if it has not.
        """
        self._all.add(link)
        if way is not None and link not in self._source_of:
            source = self._source_of[link] = way_source(way)
            self._at[source] += 1

    def left(self, link: LinkT) -> None:
        """
        Give the place at its source to others: it is closed, though not forgotten yet.
        """
        source = self._source_of.pop(link, None)
        if source is not None:
            self._at[source] -= 1
            if not self._at[source]:
                del self._at[source]

    def went(self, link: LinkT) -> None:
        """
        Count a dialler no longer: it has proven itself, or is forgotten.
        """
        self._all.discard(link)
        self.left(link)


class Guests(Generic[LinkT]):
    """
    The guests at a listener: anyone can be one, and each costs memory.
    """

    def __init__(
        self,
        later: Callable[[float, Callable[[], None]], Callable[[], object]],
        show_out: Callable[[LinkT, str], None],
    ) -> None:
        """
        @param later: calls something in so many seconds; returns what undoes that.
        @param show_out: closes a guest's link, for a reason.
        """
        self._later = later
        self._show_out = show_out
        self._cancel: dict[LinkT, Callable[[], object]] = {}

    def came(self, link: LinkT) -> None:
        """
        Take a guest in; the oldest makes room for it.
        """
        if len(self._cancel) >= MAX_GUESTS:
            oldest = next(iter(self._cancel))
            self.went(oldest)
            self._show_out(oldest, "others want to join too")
        self._cancel[link] = self._later(GUEST_TIME, lambda: self._time_is_up(link))

    def went(self, link: LinkT) -> None:
        """
        Forget a guest.
        """
        cancel = self._cancel.pop(link, None)
        if cancel is not None:
            cancel()

    def _time_is_up(self, link: LinkT) -> None:
        """
        Show a guest out.
        """
        self._cancel.pop(link, None)
        self._show_out(link, "a guest has a minute to join")

    def stop(self) -> None:
        """
        Let go of the clock.
        """
        for link in list(self._cancel):
            self.went(link)
