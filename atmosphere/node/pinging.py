# -*- test-case-name: tests.node.test_pinging -*-
"""
The command C{ping}: how long a reply takes, and by which path.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from twisted.internet.defer import Deferred, TimeoutError as DeferredTimeoutError
from twisted.internet.error import ConnectionLost
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater

from atmosphere.errors import AtmosphereError, LinkError
from atmosphere.identity import NodeID
from atmosphere.network.path.reports import PathChanged, PathEvent
from atmosphere.network.path.ways import RelayedWay
from atmosphere.network.quic.connection import Link
from atmosphere.services.ping import PING_SERVICE, PingClient

from .links import NodeLinks

__all__ = ["PingRun", "path_of"]

JSON = dict[str, Any]
RETRY_PAUSE = 0.25
#: Seconds that are none: a shorter delay may be too short to move a clock at all.
MOMENT = 0.001
#: The replies that a run without end remembers, the last ones.
MAX_REPLIES = 10_000


def path_of(link: Link) -> JSON | None:
    """
    Describe the path of a link.

    @return: C{kind}, C{remote} (an address, or a relay's URL), C{rtt_ms} and
        C{datagram_bytes}; C{None} if nothing carries data.
    """
    path = link.path
    if path is None:
        return None
    way = path.way
    remote = way.relay if isinstance(way, RelayedWay) else str(way.address)
    rtt = None if path.rtt is None else round(path.rtt * 1000, 3)
    size = path.datagram_size
    return {"kind": path.kind, "remote": remote, "rtt_ms": rtt, "datagram_bytes": size}


@dataclass
class PingRun:
    """
    One run of pings to one peer.

    @ivar node: the peer.
    @ivar count: how many; 0 for as long as nobody cancels.
    @ivar interval: seconds between them.
    @ivar timeout: seconds for each reply, and for the link.
    @ivar until_direct: end with the first reply by a path that is not relayed;
        without a count, C{timeout} is for the whole.
    @ivar emit: told of each reply.
    @ivar connect: finds a link by paths of one kind, in so many seconds; C{None} if
        the current link will do.
    """

    reactor: IReactorTime
    now: Callable[[], float]
    links: NodeLinks
    node: NodeID
    name: str
    count: int
    interval: float
    timeout: float
    until_direct: bool
    emit: Callable[[JSON], None]
    connect: Callable[[float], Deferred[Link]] | None = None
    _sent: int = 0
    _replies: deque[JSON] = field(default_factory=lambda: deque(maxlen=MAX_REPLIES))
    _received: int = 0
    _first_reply: float | None = None
    _direct: float | None = None
    _pause: Deferred[None] | None = None
    _reason: str | None = None

    def start(self) -> Deferred[JSON]:
        """
        Begin.

        @return: fires with the summary; cancelling ends the run.
        """
        return Deferred.fromCoroutine(self._run())

    async def _link(self, started: float) -> Link:
        """
        Find a link, for as long as the time allows; perhaps one that awaits its
        welcome, for the first ping to go with our proof.

        @raise LinkError: there is none in time.
        """
        if self.connect is not None:
            return await self.connect(max(MOMENT, self.timeout - (self.now() - started)))
        reason = self._reason or f"no answer within {self.timeout:g} s"
        while (left := self.timeout - (self.now() - started)) > 0:
            try:
                connecting = self.links.connect(self.node, is_early=True)
                return await connecting.addTimeout(left, self.reactor)
            except DeferredTimeoutError:
                break
            except LinkError as error:
                reason = str(error)
                await deferLater(self.reactor, min(left, RETRY_PAUSE))
        raise LinkError(f"{self.name} is not reached: {reason}")

    async def _run(self) -> JSON:
        """
        Ping until it is enough.
        """
        started = self.now()
        self.links.on_path.append(self._path_event)
        client: PingClient | None = None
        link: Link | None = None
        try:
            while not self._is_done(started):
                if self._sent:
                    await self._wait(started)
                    if self._is_done(started):
                        break
                if link is None or client is None or not link.is_open or link.is_silent:
                    self._leave(client)
                    try:
                        link, client = await self._open(started)
                    except LinkError:
                        if not self._sent:
                            raise
                        self._sent += 1
                        continue
                await self._ping(link, client, started)
        finally:
            self.links.on_path.remove(self._path_event)
            self._leave(client)
        return self._summary(link)

    def _leave(self, client: PingClient | None) -> None:
        """
        End a stream for pings.
        """
        if client is not None and client.transport is not None:
            client.transport.loseConnection()

    async def _open(self, started: float) -> tuple[Link, PingClient]:
        """
        Open a stream for pings.

        @raise LinkError: there is no link; after the first ping this one counts as
            lost instead.
        """
        link = await self._link(started if not self._sent else self.now())
        client = PingClient(self.reactor, self.now)
        link.open_stream(PING_SERVICE, client)
        return link, client

    async def _ping(self, link: Link, client: PingClient, started: float) -> None:
        """
        Send one ping and take its reply.
        """
        number, self._sent = self._sent, self._sent + 1
        try:
            rtt = await client.ping(max(0.0, min(self.timeout, self._left(started))))
        except (DeferredTimeoutError, ConnectionLost, AtmosphereError):
            if not number and not link.is_connected:  # there was no link yet: make one
                self._sent, self._reason = 0, link.ending
                await deferLater(self.reactor, RETRY_PAUSE)
            return
        path = path_of(link)
        now = self.now()
        if self._first_reply is None:
            self._first_reply = now - started
        if self._direct is None and path is not None and path["kind"] != "relayed":
            self._direct = now - started
        reply = {"seq": number, "rtt_ms": round(rtt * 1000, 3), "path": path}
        self._replies.append(reply)
        self._received += 1
        self.emit(reply)

    def _left(self, started: float) -> float:
        """
        Say for how many seconds the run may go on.
        """
        if self.count or not self.until_direct:
            return math.inf
        left = self.timeout - (self.now() - started)
        return left if left > MOMENT else 0.0

    def _is_done(self, started: float) -> bool:
        """
        Say whether all pings were sent, a reply came by a direct path and that
        was waited for, or the time for that is over.
        """
        if self.until_direct and self._direct is not None:
            return True
        if self.count:
            return self._sent >= self.count
        return self._sent > 0 and self._left(started) <= 0

    async def _wait(self, started: float) -> None:
        """
        Wait for the next ping's time, or for a better path.
        """
        pause: Deferred[None] = Deferred()
        seconds = max(0.0, min(self.interval, self._left(started)))
        call = self.reactor.callLater(seconds, pause.callback, None)
        self._pause = pause
        try:
            await pause
        finally:
            self._pause = None
            if call.active():
                call.cancel()

    def _path_event(self, link: Link, event: PathEvent) -> None:
        """
        Ping at once when a direct path was found.
        """
        pause = self._pause
        if (
            self.until_direct
            and isinstance(event, PathChanged)
            and link.core.peer == self.node
            and pause is not None
            and not pause.called
        ):
            pause.callback(None)

    def _summary(self, link: Link | None) -> JSON:
        """
        Say how it went.
        """
        times = [reply["rtt_ms"] for reply in self._replies]
        return {
            "peer": self.name,
            "node_id": str(self.node),
            "sent": self._sent,
            "received": self._received,
            "rtt_ms": {"min": min(times), "median": median(times), "max": max(times)}
            if times
            else None,
            "path": self._replies[-1]["path"] if self._replies else None,
            "first_reply_ms": _ms(self._first_reply),
            "direct_ms": _ms(self._direct),
            "replies": list(self._replies),
        }


def _ms(seconds: float | None) -> float | None:
    """
    Bring seconds to milliseconds.
    """
    return None if seconds is None else round(seconds * 1000, 3)
