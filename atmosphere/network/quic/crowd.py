# -*- test-case-name: tests.network.quic.test_crowd -*-
"""
How many links one party may have with us, so that none of them fills our memory
or takes the places of all others. The figures are in C{docs/protocols/link.md}, §1 and §3.
"""

from __future__ import annotations

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
    Counts the diallers of each source that are not proven yet. Only those are to
    be counted that have shown, by Retry, to be where they say: else anyone could
    use up the places of others.
    """

    def __init__(self) -> None:
        self._sources: dict[LinkT, str] = {}

    def may_come(self, way: Way) -> bool:
        """
        Say whether there is room for one more by that way.
        """
        source = way_source(way)
        is_relay = isinstance(way, RelayedWay)
        most = MAX_HALF_OPEN_OF_RELAY if is_relay else MAX_HALF_OPEN_OF_ADDRESS
        return sum(1 for each in self._sources.values() if each == source) < most

    def came(self, link: LinkT, way: Way) -> None:
        """
        Count a dialler.
        """
        self._sources[link] = way_source(way)

    def went(self, link: LinkT) -> None:
        """
        Count a dialler no longer: it has proven itself, or gone.
        """
        self._sources.pop(link, None)


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
