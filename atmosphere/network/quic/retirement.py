# -*- test-case-name: tests.network.quic.test_endpoint -*-
"""
Links that are no longer current: they are kept while they are of use.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

from atmosphere.identity import NodeID

from .core_events import CloseCode

__all__ = ["Retirement", "Retiring"]

#: Seconds for which a link that is no longer current is kept without a stream.
GRACE = 5.0

#: Looks after which such a link is kept from timing out, if its streams have nothing to say.
LOOKS_UNTIL_PING = 60


class Retiring(Protocol):
    """
    What is asked of a link.
    """

    is_apart: bool
    is_silent: bool

    @property
    def is_open(self) -> bool:
        """
        Whether it is connected and not closed.
        """
        ...

    @property
    def open_streams(self) -> int:
        """
        How many streams applications hold.
        """
        ...

    @property
    def peer(self) -> NodeID:
        """
        Who is at the other end.
        """
        ...

    def close(self, reason: str, code: int) -> None:
        """
        End it.
        """

    def keep_alive(self) -> None:
        """
        Keep it from timing out.
        """


LinkT = TypeVar("LinkT", bound=Retiring)


class Retirement(Generic[LinkT]):
    """
    Closes links that are no longer current when they have been of no use for a while:
    the peer may just be opening a stream.
    """

    def __init__(
        self,
        later: Callable[[float, Callable[[], None]], Callable[[], object]],
        current: Callable[[NodeID], LinkT | None],
    ) -> None:
        """
        @param later: calls something in so many seconds; returns what undoes that.
        @param current: finds the current link to a peer.
        """
        self._later = later
        self._current = current
        self._cancel: dict[LinkT, Callable[[], object]] = {}
        self._looks: dict[LinkT, int] = {}

    def consider(self, link: LinkT) -> None:
        """
        Look at a link in a while, and now and then, unless it is current.
        """
        is_current = link.is_open and self._current(link.peer) is link
        if link.is_open and not is_current and link not in self._cancel:
            self._cancel[link] = self._later(GRACE, lambda: self._retire(link))

    def _is_retired(self, link: LinkT) -> bool:
        """
        Say whether a link is open, not current, and of no use: without streams,
        or silent while the current one, which has the same ways, is not.
        """
        if not link.is_open:
            return False
        if link.is_apart:
            return not link.open_streams
        current = self._current(link.peer)
        if current is None or current is link:
            return False
        return not link.open_streams or (link.is_silent and not current.is_silent)

    def _retire(self, link: LinkT) -> None:
        """
        Close a link if it is still of no use.
        """
        del self._cancel[link]
        if self._is_retired(link):
            link.close("another link is in use", CloseCode.REPLACED)
        else:
            self._looks[link] = self._looks.get(link, 0) + 1
            if self._looks[link] % LOOKS_UNTIL_PING == 0:
                link.keep_alive()
            self.consider(link)

    def forget(self, link: LinkT) -> None:
        """
        A link has ended.
        """
        self._looks.pop(link, None)
        cancel = self._cancel.pop(link, None)
        if cancel is not None:
            cancel()

    def stop(self) -> None:
        """
        Let go of the clock.
        """
        for link in list(self._cancel):
            self.forget(link)
