# -*- test-case-name: tests.network.quic.test_endpoint -*-
"""
A link as Twisted programs see it: streams and datagrams to one peer.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionLost
from twisted.internet.interfaces import IDelayedCall, IProtocol, IReactorTime
from twisted.internet.protocol import Protocol
from twisted.logger import Logger
from twisted.python.failure import Failure
from typing_extensions import override

from atmosphere.engine_driver import EngineClock, EngineDriver
from atmosphere.errors import LinkError
from atmosphere.identity import NodeID
from atmosphere.membership import Membership
from atmosphere.network.path.reports import (
    PathChanged,
    PathEvent,
    PathRestored,
    PathSilent,
    WayReport,
)
from atmosphere.network.path.ways import Way

from . import core_events as events
from .core import CloseCode, LinkCore
from .owner import LinkOwner
from .policy import LinkPolicy
from .streams import LinkAddress, StreamTransport

__all__ = ["Link"]


class Link:
    """
    A proven, encrypted connection to one peer, over whatever path is best.

    @ivar own_id: who we are.
    @ivar is_dialler: whether we opened it.
    @ivar membership: what the peer is in our mesh; C{None} for a guest, to
        whom only C{atmosphere.join} is open.
    @ivar instance: the peer's process, 16 bytes; empty until it is connected.
    @ivar generation: how many links its dialler had with the peer before, one
        after the other.
    @ivar is_apart: it is never current, see L{atmosphere.node.apart}.
    @ivar judge: for a listener that nobody named beforehand, says by its chain who it is.
    @ivar is_silent: nothing has come from the peer for 6.5 s by any path.
    @ivar datagrams_received: takes datagrams of this link's, and their way.
    """

    _log = Logger()

    def __init__(
        self,
        reactor: IReactorTime,
        core: LinkCore,
        owner: LinkOwner[Link],
        policy: LinkPolicy[Link],
        own_id: NodeID,
        clock: EngineClock,
    ) -> None:
        self.core = core
        self.own_id = own_id
        self.is_dialler = core.quic.is_dialler
        self.membership: Membership | None = None
        self.instance = b""
        self.generation = core.generation
        self.is_apart = self.is_silent = False
        self.judge: Callable[[NodeID, bytes], None] | None = None
        self.is_connected = False
        self._reactor = reactor
        self._owner = owner
        self._policy = policy
        self._closed: str | None = None
        self._waiting: list[Deferred[LinkError]] = []
        self._transports: dict[int, StreamTransport] = {}
        self._patience: IDelayedCall | None = None
        self._driver: EngineDriver[Way, events.Event] = EngineDriver(
            reactor, core, self._send, self._deliver, clock
        )
        self.datagrams_received = self._driver.receive_datagrams

    @override
    def __repr__(self) -> str:
        name = self.membership.name if self.membership else ""
        peer = self.core.peer.short if self.core.peer else "nobody yet"
        return f"<link {'to' if self.is_dialler else 'from'} {name or peer}>"

    @property
    def peer(self) -> NodeID:
        """
        Who is at the other end.

        @raise LinkError: not known yet.
        """
        if self.core.peer is None:
            raise LinkError("the peer has not said who it is")
        return self.core.peer

    @property
    def is_open(self) -> bool:
        """
        Whether the link is connected and not closed.
        """
        return self.is_connected and self._closed is None

    @property
    def may_open(self) -> bool:
        """
        Whether streams can be opened: the link is open, or it awaits the welcome of
        a member whom we know, and there is room for one more before that.
        """
        return self.is_open or (self.is_early and self.core.streams.has_early_room)

    @property
    def is_early(self) -> bool:
        """
        Whether streams may have been opened already though the welcome is awaited.
        """
        is_awaited = self.core.phase is events.Phase.WELCOME_AWAITED
        return is_awaited and self.membership is not None

    def trust(self, member: Membership) -> None:
        """
        Let streams be opened before the welcome, while L{LinkOwner.link_pinned} is called.
        """
        self.membership = member
        self.core.streams.begin_early()

    @property
    def ending(self) -> str | None:
        """
        Why the link is closed; C{None} if it is not.
        """
        return self._closed

    def address_of_peer(self, service: str) -> LinkAddress:
        """
        Describe the peer's end of a stream.
        """
        path = self.path
        name = self.membership.name if self.membership else ""
        return LinkAddress(self.peer, service, name, "" if path is None else path.kind)

    @property
    def path(self) -> WayReport | None:
        """
        Say which way carries data now, and how it fares.
        """
        return next((way for way in self.core.paths.snapshot() if way.is_active), None)

    def now(self) -> float:
        """
        Say engine time, in seconds.
        """
        return self._driver.now()

    # For applications.

    def open_stream(self, service: str, protocol: IProtocol) -> StreamTransport:
        """
        Open a stream; the protocol may write at once. Before the welcome that is
        possible where L{may_open} says so; what the peer answers waits for it.

        @raise LinkError: the link is closed, or the peer allows no more for now.
        """
        if not self.may_open:
            raise LinkError("the link is closed" if self.ending else "the link is not connected")
        stream_id = self.core.streams.open(service)
        transport = StreamTransport(self, stream_id, service, protocol)
        self._transports[stream_id] = transport
        protocol.makeConnection(transport)
        self._driver.pump_soon()
        return transport

    def send_datagram(self, service: str, data: bytes) -> bool:
        """
        Send a datagram, which may be lost.

        @return: whether it was sent: the link is open and the service's name
            and the data together have at most 1,099 bytes.
        """
        sent = self.core.send_datagram(service, data)
        self._driver.pump_soon()
        return sent

    def close(self, reason: str, code: int = CloseCode.DONE) -> None:
        """
        Close the link; its streams end with L{twisted.internet.error.ConnectionLost}.
        """
        self.core.close(code, reason)
        self._driver.pump_soon()

    def when_closed(self) -> Deferred[LinkError]:
        """
        Wait for the end.

        @return: fires with the reason. Cancelling it leaves the link as it is.
        """
        waiting: Deferred[LinkError] = Deferred()
        if self._closed is not None:
            waiting.callback(LinkError(self._closed, refusal=self.core.refusal))
        else:
            self._waiting.append(waiting)
        return waiting

    # For the endpoint.

    def call_core(self, call: Callable[..., Any], *args: Any) -> None:
        """
        Call one of the engine's methods, then pump it.
        """
        call(*args)
        self._driver.pump_soon()

    def keep_alive(self) -> None:
        """
        Have QUIC say something, so that it does not time out while streams are idle.
        """
        self.call_core(self.core.quic.send_ping, self.now())

    def pump(self) -> None:
        """
        Send what is to be sent, now.
        """
        self._driver.pump()

    def stop(self) -> None:
        """
        Let go of the clock.
        """
        self._driver.stop()
        self._end_patience()

    def be_quick(self, seconds: float) -> None:
        """
        There is another link to the peer: streams that went before the welcome of
        this one end if it does not come in so many seconds.
        """
        if self._transports and self._patience is None:
            self._patience = self._reactor.callLater(seconds, self._too_late)

    def _too_late(self) -> None:
        """
        The welcome did not come: what was sent before it may or may not have arrived.
        """
        self._patience = None
        if not self.is_connected:
            for stream_id in list(self._transports):
                self.core.streams.abort(stream_id)
            self._lose_streams("the peer gave no welcome, and there is another link to it")
            self._driver.pump_soon()

    def _end_patience(self) -> None:
        """
        Wait for the welcome as long as the handshake may take.
        """
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None

    def _lose_streams(self, reason: str) -> None:
        """
        End all streams, and tell their protocols.
        """
        failure = Failure(ConnectionLost(reason))
        for transport in list(self._transports.values()):
            transport.lost(failure)

    @property
    def open_streams(self) -> int:
        """
        How many streams applications hold.
        """
        return len(self._transports)

    # For its streams.

    def call_soon(self, call: Callable[..., Any], *args: Any) -> None:
        """
        Call something in the reactor's next turn.
        """
        self._reactor.callLater(0, call, *args)

    def stream_write(self, stream_id: int, data: bytes) -> int | None:
        """
        Write on a stream.

        @return: how many bytes wait; C{None} if nothing can be written any more.
        """
        waiting = self.core.streams.write(stream_id, data)
        self._driver.pump_soon()
        return waiting

    def stream_refuse(self, stream_id: int, reason: str) -> None:
        """
        Do not serve a stream that the peer opened.
        """
        self._transports.pop(stream_id, None)
        self.call_core(self.core.streams.refuse, stream_id, reason)
        self.call_soon(self.call_core, self.core.streams.stop, stream_id)

    def stream_waiting(self, stream_id: int) -> int:
        """
        Say how many bytes wait.
        """
        return self.core.streams.waiting(stream_id)

    def stream_wants_drain(self, stream_id: int) -> None:
        """
        Have a stream told when little waits.
        """
        self.call_core(self.core.streams.wants_drain, stream_id)

    def stream_finish(self, stream_id: int) -> None:
        """
        End our direction of a stream.
        """
        self.call_core(self.core.streams.finish, stream_id)

    def stream_stop(self, stream_id: int) -> None:
        """
        Read no further from a stream.
        """
        self.call_core(self.core.streams.stop, stream_id)

    def stream_abort(self, stream_id: int) -> None:
        """
        Give a stream up.
        """
        self.call_core(self.core.streams.abort, stream_id)

    def stream_consumed(self, stream_id: int, length: int) -> None:
        """
        A stream's protocol has taken bytes.
        """
        if self.core.streams.consumed(stream_id, length):
            self.call_core(self.core.streams.grant, stream_id, self._driver.now())

    def stream_forget(self, stream_id: int) -> None:
        """
        A stream's protocol was told that all is over.
        """
        if self._transports.pop(stream_id, None) is None:
            return
        self._owner.stream_ended(self)
        if not self._transports:
            self._owner.link_idle(self)

    # From the engine.

    def _send(self, datagrams: list[tuple[bytes, Way]]) -> None:
        """
        Send datagrams, at least one, those with one way together.
        """
        batch: list[bytes] = []
        current = datagrams[0][1]
        for data, way in datagrams:
            if way is not current and way != current:
                self._policy.send(current, batch)
                batch, current = [], way
            batch.append(data)
        self._policy.send(current, batch)

    def _deliver(self, event: events.Event) -> None:
        """
        Act on what the engine reports.
        """
        match event:
            case events.StreamData():
                transport = self._transports.get(event.stream_id)
                if transport is not None:
                    transport.received(event.data)  # it looks after its protocol itself
            case events.StreamDrained():
                self._stream(event.stream_id, "drained")
            case events.StreamOpened():
                self._stream_opened(event)
            case events.StreamAccepted():
                self._stream(event.stream_id, "accepted")
            case events.StreamRefused():
                self._stream(event.stream_id, "refused", event.reason)
            case events.StreamEnded():
                self._stream(event.stream_id, "ended")
            case events.StreamFinished():
                self._stream(event.stream_id, "finished")
            case events.StreamAborted():
                self._stream(event.stream_id, "aborted", event.stops_us)
            case _:
                self._deliver_rare(event)

    def _deliver_rare(self, event: events.Event) -> None:
        """
        Act on what concerns the link as a whole.
        """
        match event:
            case events.DatagramReceived():
                self._policy.datagram_received(self, event.service, event.data)
            case events.Pinned():
                self._owner.link_pinned(self)
            case events.Proved():
                self._owner.link_proved(self, event.proof)
            case events.Welcomed():
                self._owner.link_welcomed(self, event.welcome)
            case events.OfferReceived() if self.core.phase is not events.Phase.CLOSED:
                self._policy.offer_received(self, event.payload)
            case events.PathReported():
                self._path_event(event.event)
            case events.RouteChanged():
                self._owner.route_changed(self, event.connection_id, event.is_added)
            case events.Closed():
                self._link_closed(event.reason)
            case events.Ended():
                self._owner.link_ended(self)
            case _:  # the others were delivered before
                pass

    def _stream(self, stream_id: int, method: str, *args: Any) -> None:
        """
        Tell a stream's transport something, if it is still there. A protocol
        or producer that fails loses its stream.
        """
        transport = self._transports.get(stream_id)
        if transport is not None:
            try:
                getattr(transport, method)(*args)
            except Exception:
                self._log.failure("the protocol of {stream} failed", stream=transport)
                transport.abortConnection()

    def _stream_opened(self, event: events.StreamOpened) -> None:
        """
        Find a protocol for a stream that the peer opened.
        """
        transport = StreamTransport(self, event.stream_id, event.service, Protocol())
        self._transports[event.stream_id] = transport
        transport.serve(lambda: self._policy.accept_stream(self, event.service))

    def _path_event(self, event: PathEvent) -> None:
        """
        Note silence and its end; a PING makes data flow at once on a path that came back.
        """
        if isinstance(event, PathSilent):
            self.is_silent = True
        elif isinstance(event, PathRestored | PathChanged):
            self.is_silent = self.core.paths.is_silent
            self.core.nudge()
        self._policy.path_event(self, event)

    def _link_closed(self, reason: str) -> None:
        """
        End every stream, and tell who waits.
        """
        self._closed = reason
        self._end_patience()
        self._lose_streams(reason)
        self._owner.link_closed(self, reason)
        waiting, self._waiting = self._waiting, []
        for each in waiting:
            if not each.called:
                each.callback(LinkError(reason, refusal=self.core.refusal))
