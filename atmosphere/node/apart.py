# -*- test-case-name: tests.node.test_apart -*-
"""
Links beside the current one, for streams that want a path of their own choice.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from atmosphere.identity import NodeID
from atmosphere.network.path.selection import PathPolicy
from atmosphere.network.path.ways import Way
from atmosphere.network.quic.connection import Link
from atmosphere.network.quic.dial import Dial

__all__ = ["ApartLinks"]

Key = tuple[NodeID, PathPolicy]


class ApartLinks:
    """
    At most one link of each policy to a peer; its streams share it.
    """

    def __init__(
        self,
        reactor: IReactorTime,
        attempt: Callable[[NodeID, Sequence[Way], PathPolicy], Link],
    ) -> None:
        """
        @param attempt: makes the first flight of a link.
        """
        self._reactor = reactor
        self._attempt = attempt
        self._links: dict[Key, Link] = {}
        self._dials: dict[Key, Dial] = {}
        self._dialled: dict[Link, Dial] = {}

    def connect(
        self, peer: NodeID, policy: PathPolicy, ways: Sequence[Way], *, is_early: bool = False
    ) -> Deferred[Link]:
        """
        Find the link, or make it.

        @param is_early: take one too that awaits its welcome, to open a stream at once.
        @return: as L{atmosphere.network.quic.endpoint.LinkEndpoint.dial}.
        """
        key = (peer, policy)
        link = self._links.get(key)
        if link is not None and link.is_open and not link.is_silent:
            found: Deferred[Link] = Deferred()
            found.callback(link)
            return found
        dial = self._dials.get(key)
        if dial is None:
            dial = Dial(
                self._reactor,
                peer,
                ways,
                lambda peer, ways: self._try(key, ways),
                lambda dial: self._over(key, dial),
            )
            self._dials[key] = dial
            dial.start()
        return dial.wait(is_early=is_early)

    def _try(self, key: Key, ways: Sequence[Way]) -> Link:
        """
        Make one attempt.
        """
        link = self._attempt(key[0], ways, key[1])
        dial = self._dialled[link] = self._dials[key]

        def ended(reason: object) -> None:
            self._dialled.pop(link, None)
            dial.attempt_failed(link, str(reason))
            if self._links.get(key) is link:
                del self._links[key]

        link.when_closed().addCallback(ended)
        return link

    def pinned(self, link: Link) -> None:
        """
        Streams can be opened on a link that awaits its welcome.
        """
        dial = self._dialled.get(link)
        if dial is not None:
            dial.pinned(link)

    def connected(self, link: Link) -> None:
        """
        A link is connected: if it is one of ours, those who wait get it.
        """
        dial = self._dialled.pop(link, None)
        if dial is None:
            return
        for key, each in list(self._dials.items()):
            if each is dial:
                self._links[key] = link
        dial.succeed(link)

    def _over(self, key: Key, dial: Dial) -> None:
        """
        A dial has succeeded or failed.
        """
        if self._dials.get(key) is dial:
            del self._dials[key]
