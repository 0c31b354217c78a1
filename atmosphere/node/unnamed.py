# -*- test-case-name: tests.node.test_requesting -*-
"""
Links to whoever listens at an address, for a joiner whose code names no node.

Such a listener is known by its chain: it is judged when it has welcomed us, and
before any stream is opened to it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from twisted.internet.defer import Deferred

from atmosphere.errors import LinkError
from atmosphere.identity import NodeID
from atmosphere.network.path.selection import PathPolicy
from atmosphere.network.path.ways import Way
from atmosphere.network.quic.connection import Link

__all__ = ["Judge", "UnnamedDials"]

#: Told the listener's node ID and chain; raises what it has against it.
Judge = Callable[[NodeID, bytes], None]


class UnnamedDials:
    """
    The dials that are under way.
    """

    def __init__(self, attempt: Callable[[NodeID | None, Sequence[Way], PathPolicy], Link]) -> None:
        """
        @param attempt: makes the first flight of a link apart.
        """
        self._attempt = attempt
        self._dialled: dict[Link, Deferred[Link]] = {}

    def dial(self, way: Way, judge: Judge) -> Deferred[Link]:
        """
        Dial whoever listens at the end of a way.

        @return: fires with a link to a listener that was judged good; fails with
            L{LinkError}. Cancelling it gives the dial up.
        """
        link = self._attempt(None, (way,), PathPolicy.AUTO)
        link.judge = judge
        waiting: Deferred[Link] = Deferred(lambda _: self._cancelled(link))
        self._dialled[link] = waiting
        link.when_closed().addCallback(self._closed, link)
        return waiting

    def connected(self, link: Link) -> None:
        """
        A link is connected: if it is one of ours, who waits gets it.
        """
        waiting = self._dialled.pop(link, None)
        if waiting is not None:
            waiting.callback(link)

    def _closed(self, error: LinkError, link: Link) -> None:
        """
        A link has ended.
        """
        waiting = self._dialled.pop(link, None)
        if waiting is not None:
            waiting.errback(error)

    def _cancelled(self, link: Link) -> None:
        """
        Nobody waits any more.
        """
        self._dialled.pop(link, None)
        link.close("nobody waits for the link any more")
