# -*- test-case-name: tests.network.quic.test_crowd -*-
"""
How many links one party may have with us, so that none of them fills our memory
or takes the places of all others. The figures are in C{docs/protocols/link.md}, §1 and §3.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable

from twisted.internet.interfaces import IDelayedCall, IReactorTime

from atmosphere.network.path.ways import RelayedWay, Way

from .connection import Link
from .core import CloseCode

__all__ = ["GUEST_TIME", "MAX_GUESTS", "Guests", "HalfOpen", "surplus_link"]

#: Diallers at one address, or at one relay, that may be half open at a time.
MAX_HALF_OPEN_OF_ADDRESS = 32
MAX_HALF_OPEN_OF_RELAY = 128

#: Guests at a time, and the seconds that each of them has.
MAX_GUESTS = 128
GUEST_TIME = 60.0

#: Links of one peer, those among them that are no longer current.
MAX_LINKS_OF_PEER = 8


def _source_of(way: Way) -> str:
    """
    Say what counts as one source: a relay, an IPv4 address, an IPv6 /64.
    """
    if isinstance(way, RelayedWay):
        return way.relay
    if not way.address.is_ipv6:
        return way.address.host
    return str(ipaddress.ip_network((way.address.packed[:8] + bytes(8), 64)))


class HalfOpen:
    """
    Counts the diallers of each source that are not proven yet. Only those are to
    be counted that have shown, by Retry, to be where they say: else anyone could
    use up the places of others.
    """

    def __init__(self) -> None:
        self._sources: dict[Link, str] = {}

    def may_come(self, way: Way) -> bool:
        """
        Say whether there is room for one more by that way.
        """
        source = _source_of(way)
        is_relay = isinstance(way, RelayedWay)
        most = MAX_HALF_OPEN_OF_RELAY if is_relay else MAX_HALF_OPEN_OF_ADDRESS
        return sum(1 for each in self._sources.values() if each == source) < most

    def came(self, link: Link, way: Way) -> None:
        """
        Count a dialler.
        """
        self._sources[link] = _source_of(way)

    def went(self, link: Link) -> None:
        """
        Count a dialler no longer: it has proven itself, or gone.
        """
        self._sources.pop(link, None)


class Guests:
    """
    The guests at a listener: anyone can be one, and each costs memory.
    """

    def __init__(self, reactor: IReactorTime) -> None:
        self._reactor = reactor
        self._calls: dict[Link, IDelayedCall] = {}

    def came(self, link: Link) -> None:
        """
        Take a guest in; the oldest makes room for it.
        """
        if len(self._calls) >= MAX_GUESTS:
            oldest = next(iter(self._calls))
            self.went(oldest)
            oldest.close("others want to join too", CloseCode.EXHAUSTED)
        self._calls[link] = self._reactor.callLater(GUEST_TIME, self._time_is_up, link)

    def went(self, link: Link) -> None:
        """
        Forget a guest.
        """
        call = self._calls.pop(link, None)
        if call is not None and call.active():
            call.cancel()

    def _time_is_up(self, link: Link) -> None:
        """
        Show a guest out.
        """
        self.went(link)
        link.close("a guest has a minute to join", CloseCode.REFUSED)

    def stop(self) -> None:
        """
        Let go of the clock.
        """
        for link in list(self._calls):
            self.went(link)


def surplus_link(links: Iterable[Link], newest: Link, current: Link | None) -> Link | None:
    """
    Find the link that has to go because a peer has too many.

    @param links: all of the endpoint, the oldest first.
    @param newest: the one that was just connected.
    @param current: the peer's current link.
    """
    same = [each for each in links if each.is_open and each.peer == newest.peer]
    if len(same) <= MAX_LINKS_OF_PEER:
        return None
    return next((each for each in same if each is not newest and each is not current), None)
