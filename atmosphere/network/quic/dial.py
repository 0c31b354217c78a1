# -*- test-case-name: tests.network.quic.test_dial -*-
"""
One dial: as many attempts as it takes, one answer for all who wait.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from atmosphere.errors import LinkError
from atmosphere.identity import NodeID
from atmosphere.network.path.ways import RelayedWay, Way

from .connection import Link
from .core_events import Phase

__all__ = ["Dial"]

RELAYS_ALONE_AFTER = 4.0
TIMEOUT = 15.0
#: Seconds for the welcome of a link that bears streams, once there is another link.
PATIENCE = 2.0


class Dial:
    """
    Dials one peer by all ways; after 4 s without a welcome once more, by the
    relays alone, in case the listener answers by a way that does not lead back.

    @ivar peer: who is dialled.
    """

    def __init__(
        self,
        reactor: IReactorTime,
        peer: NodeID,
        ways: Sequence[Way],
        attempt: Callable[[NodeID, Sequence[Way]], Link],
        is_over: Callable[[Dial], None],
    ) -> None:
        """
        @param attempt: makes the first flight of one attempt.
        @param is_over: called once, when the dial has succeeded or failed.
        """
        self.peer = peer
        self._reactor = reactor
        self._ways = tuple(ways)
        self._attempt = attempt
        self._is_over = is_over
        self._waiting: list[Deferred[Link]] = []
        self._early: list[Deferred[Link]] = []
        self._links: list[Link] = []
        self._calls: list[IDelayedCall] = []
        self._is_done = False

    def start(self) -> None:
        """
        Make the first attempt.
        """
        if not self._ways:
            self._calls = [
                self._reactor.callLater(0, self.fail, LinkError("no way to the peer is known"))
            ]
            return
        relayed = [way for way in self._ways if isinstance(way, RelayedWay)]
        self._calls = [self._reactor.callLater(TIMEOUT, self._time_is_up)]
        if 0 < len(relayed) < len(self._ways):
            self._calls.append(
                self._reactor.callLater(RELAYS_ALONE_AFTER, self._try, tuple(relayed))
            )
        self._try(self._ways)

    def _try(self, ways: tuple[Way, ...]) -> None:
        """
        Make an attempt.
        """
        self._links.append(self._attempt(self.peer, ways))

    def wait(self, *, is_early: bool = False) -> Deferred[Link]:
        """
        Wait for the link.

        @return: see L{atmosphere.network.quic.endpoint.LinkEndpoint.dial}.
        """
        waiting: Deferred[Link] = Deferred(self._cancelled)
        if is_early:
            self._early.append(waiting)
            for link in list(self._links):
                self.pinned(link)
        else:
            self._waiting.append(waiting)
        return waiting

    def pinned(self, link: Link) -> None:
        """
        Streams can be opened on an attempt that awaits its welcome: those who wait
        for that get it, while there is room.
        """
        while self._early and not self._is_done and link in self._links and link.may_open:
            self._early.pop(0).callback(link)

    def _cancelled(self, waiting: Deferred[Link]) -> None:
        """
        One who waited has gone; without any, the dial is given up.
        """
        (self._early if waiting in self._early else self._waiting).remove(waiting)
        self._give_up_if_unwanted()

    def attempt_idle(self, link: Link) -> None:
        """
        The last stream on an attempt that awaits its welcome was given up.
        """
        if link in self._links:
            self._give_up_if_unwanted()

    def _give_up_if_unwanted(self) -> None:
        """
        Go on only while somebody waits, or has a stream on an attempt.
        """
        has_streams = any(link.core.streams.has_wanted for link in self._links)
        if not (self._waiting or self._early or has_streams):
            self.fail(LinkError("nobody waits for the link any more"))

    def attempt_failed(self, link: Link, reason: str) -> None:
        """
        An attempt of this dial has ended without a welcome. Was it somebody else who
        listened there, the other ways are tried: a private address is one of many.
        """
        if link not in self._links or self._is_done:
            return
        self._links.remove(link)
        if self._links:
            return
        elsewhere = tuple(way for way in self._ways if way != link.core.first_way)
        if elsewhere and elsewhere != self._ways and not link.core.quic.is_pinned:
            self._ways = elsewhere
            self._try(elsewhere)
        else:
            self.fail(LinkError(reason, refusal=link.core.refusal))

    def _time_is_up(self) -> None:
        """
        No attempt was answered, or none to the end.
        """
        phases = {link.core.phase for link in self._links}
        ways = "1 way" if len(self._ways) == 1 else f"{len(self._ways)} ways"
        if Phase.WELCOME_AWAITED in phases:
            text = "the listener has the right key, but gave no welcome"
        elif any(link.core.first_way is not None for link in self._links):
            text = "something answered, but no handshake came of it"
        else:
            text = "no answer"
        self.fail(LinkError(f"{text} within {TIMEOUT:.0f} s by {ways}"))

    def _finish(self) -> list[Deferred[Link]]:
        """
        End the dial.

        @return: who waits for the answer.
        """
        self._is_done = True
        for call in self._calls:
            if call.active():
                call.cancel()
        self._is_over(self)
        waiting = self._waiting + self._early
        self._waiting, self._early = [], []
        return waiting

    def succeed(self, link: Link) -> None:
        """
        There is a link. Other attempts run on: the peer may have taken one in
        already, and the rules of several links settle what becomes of it. But those
        who have a stream on one must not wait for long.
        """
        if self._is_done:
            return
        waiting = self._finish()
        for other in self._links:
            if other is not link:
                other.be_quick(PATIENCE)
        for each in waiting:
            each.callback(link)

    def fail(self, error: LinkError) -> None:
        """
        There is no link.
        """
        if self._is_done:
            return
        waiting = self._finish()
        for link in self._links:
            link.close(str(error))
        for each in waiting:
            each.errback(error)
