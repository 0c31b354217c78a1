# -*- test-case-name: tests.network.quic.test_streams -*-
"""
A link's stream as a Twisted transport: what any protocol can run on.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, cast

from twisted.internet.defer import CancelledError, Deferred, maybeDeferred
from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.internet.interfaces import (
    IAddress,
    IConsumer,
    IHalfCloseableProtocol,
    IProducer,
    IProtocol,
    IPushProducer,
    ITransport,
)
from twisted.logger import Logger
from twisted.python.failure import Failure
from typing_extensions import override
from zope.interface import implementer

from atmosphere.errors import AtmosphereError, StreamRefusedError
from atmosphere.identity import NodeID

from .manners import TCPManners
from .stream_state import LOW_WATER

if TYPE_CHECKING:
    from .connection import Link

__all__ = ["LinkAddress", "StreamTransport"]


@implementer(IAddress)
class LinkAddress:
    """
    One end of a stream.

    @ivar node: the node at that end.
    @ivar name: its name in the mesh, or empty.
    @ivar service: the service that the stream asked for.
    @ivar path: what carries the link now: C{direct}, C{punched}, C{relayed} or empty.
    @cvar port: 0, for programs that write down where a connection comes from.
    """

    port = 0

    def __init__(self, node: NodeID, service: str, name: str = "", path: str = "") -> None:
        self.node = node
        self.service = service
        self.name = name
        self.path = path

    @property
    def host(self) -> str:
        """
        The node, for programs that write down where a connection comes from.
        """
        return self.name or str(self.node)

    @override
    def __repr__(self) -> str:
        return f"LinkAddress({self.name or self.node.short!r}, {self.service!r}, {self.path!r})"


@implementer(ITransport, IConsumer, IPushProducer)
class StreamTransport(TCPManners):
    """
    A stream, seen by the protocol that runs on it.

    It behaves as a TCP transport does, half-close and producers included.
    What a peer sends while the protocol is paused waits here, never more than
    the credit that the peer has.

    @ivar on_lost: called when all is over, after the protocol was told.
    """

    _log = Logger()
    disconnecting = False
    disconnected = False

    def __init__(self, link: Link, stream_id: int, service: str, protocol: IProtocol) -> None:
        self.link = link
        self.stream_id = stream_id
        self.service = service
        self.protocol = protocol
        self._answer: list[Deferred[None]] = []
        self._answered: bool | Failure | None = None
        self._paused = False
        self._inbox: deque[bytes] = deque()
        self._delivery_is_due = False
        self._read_ended = False
        self._has_read_all = False
        self._write_ended = False
        self._producer: Any = None
        self._is_streaming = False
        self._producer_is_paused = False
        self._deciding: Deferred[None] | None = None
        self.on_lost: Callable[[], object] | None = None

    @override
    def __repr__(self) -> str:
        return f"<stream {self.stream_id} for {self.service!r} on {self.link!r}>"

    # Facts.

    def getPeer(self) -> LinkAddress:
        """
        Say who is at the other end, and by which path.
        """
        return self.link.address_of_peer(self.service)

    def getHost(self) -> LinkAddress:
        """
        Say who we are.
        """
        return LinkAddress(self.link.own_id, self.service)

    def when_accepted(self) -> Deferred[None]:
        """
        Wait for the peer's answer.

        @return: fires when the peer serves the stream; fails with
            L{StreamRefusedError} if it does not, and with the reason if the
            stream ends before. Cancelling it leaves the stream as it is.
        """
        waiting: Deferred[None] = Deferred()
        if self._answered is True:
            waiting.callback(None)
        elif isinstance(self._answered, Failure):
            waiting.errback(self._answered)
        else:
            self._answer.append(waiting)
        return waiting

    def _answer_with(self, result: bool | Failure) -> None:
        """
        Tell those who wait for the answer, once.
        """
        if self._answered is None:
            self._answered = result
            waiting, self._answer = self._answer, []
            for each in waiting:
                if each.called:
                    continue
                if isinstance(result, Failure):
                    each.errback(result)
                else:
                    each.callback(None)

    # Writing.

    def write(self, data: bytes) -> None:
        """
        Send bytes after those that were written before.
        """
        is_closed = self.disconnecting and self._producer is None
        if is_closed or self.disconnected or self._write_ended or not data:
            return
        waiting = self.link.stream_write(self.stream_id, bytes(data))
        if (
            self._producer is not None
            and self._is_streaming
            and (waiting is None or waiting > LOW_WATER)
        ):
            self._pause_producer()

    def writeSequence(self, data: Iterable[bytes]) -> None:
        """
        Send several pieces.
        """
        self.write(b"".join(data))

    def registerProducer(self, producer: IProducer, streaming: bool) -> None:
        """
        Take bytes from a producer, no faster than the peer consumes them.
        """
        if self._producer is not None:
            raise RuntimeError("a producer is registered already")
        if self.disconnected or self._write_ended:
            producer.stopProducing()
            return
        self._producer = producer
        self._is_streaming = streaming
        self._producer_is_paused = False
        if not streaming:
            self._producer.resumeProducing()
            self._ask_for_drain()
        elif self.link.stream_waiting(self.stream_id) > LOW_WATER:
            self._pause_producer()

    def unregisterProducer(self) -> None:
        """
        The producer has said all.
        """
        self._producer = None
        if self.disconnecting:
            self.link.stream_finish(self.stream_id)

    def _pause_producer(self) -> None:
        """
        Ask the producer to wait, until the stream has drained.
        """
        if not self._producer_is_paused:
            self._producer_is_paused = True
            self._producer.pauseProducing()
            self._ask_for_drain()

    def _ask_for_drain(self) -> None:
        """
        Have L{drained} called when little waits.
        """
        if self._producer is not None:
            self.link.stream_wants_drain(self.stream_id)

    def drained(self) -> None:
        """
        Little waits now: let the producer go on.
        """
        if self._producer is None or self.disconnected:
            return
        if self._is_streaming:
            if self._producer_is_paused:
                self._producer_is_paused = False
                self._producer.resumeProducing()
        else:
            self._producer.resumeProducing()
            self._ask_for_drain()

    def loseWriteConnection(self) -> None:
        """
        End our direction; the peer may go on sending.
        """
        if not self._write_ended and not self.disconnecting:
            self._write_ended = True
            self.link.stream_finish(self.stream_id)

    def loseConnection(self) -> None:
        """
        Send what was written, then end the stream.
        """
        if self.disconnecting or self.disconnected:
            return
        self.disconnecting = True
        if self._write_ended and self.link.stream_waiting(self.stream_id) == 0:
            self.link.stream_finish(self.stream_id)
            self.link.stream_stop(self.stream_id)
            self.link.call_soon(self._lost, Failure(ConnectionDone()))
        elif self._producer is None:
            self.link.stream_finish(self.stream_id)

    def abortConnection(self) -> None:
        """
        End the stream at once; what was not sent is lost.
        """
        if not self.disconnected:
            self.disconnecting = True
            self.link.stream_abort(self.stream_id)
            self.link.call_soon(self._lost, Failure(ConnectionAborted()))

    # Reading, as a producer.

    def pauseProducing(self) -> None:
        """
        Hand no bytes to the protocol for now.
        """
        self._paused = True

    def resumeProducing(self) -> None:
        """
        Hand bytes to the protocol again, from the next turn on.
        """
        self._paused = False
        self._deliver_soon()

    def stopProducing(self) -> None:
        """
        The consumer is gone: end the stream.
        """
        self.loseConnection()

    def _deliver_soon(self) -> None:
        """
        Deliver what waits, in the reactor's next turn.
        """
        if not self._delivery_is_due and (self._inbox or self._read_ended):
            self._delivery_is_due = True
            self.link.call_soon(self._deliver)

    def _deliver(self) -> None:
        """
        Hand on what waits, until the protocol pauses us.
        """
        self._delivery_is_due = False
        while self._inbox and not self._paused and not self.disconnected:
            self._hand_over(self._inbox.popleft())
        if self._read_ended and not self._inbox and not self._paused:
            self._end_of_input()

    def _hand_over(self, data: bytes) -> None:
        """
        Give bytes to the protocol; one that fails loses its stream.
        """
        self.link.stream_consumed(self.stream_id, len(data))
        if self.disconnecting:
            return
        try:
            self.protocol.dataReceived(data)
        except Exception:
            self._log.failure("the protocol of {stream} failed", stream=self)
            self.abortConnection()

    # Serving.

    def serve(self, accept: Callable[[], IProtocol | Deferred[IProtocol]]) -> None:
        """
        Find a protocol for a stream that the peer opened; what comes meanwhile
        waits.

        @param accept: finds it, at once or later; cancelled when the peer gives up.
        """
        self._paused = True
        deciding: Deferred[Any] = maybeDeferred(cast(Callable[[], Any], accept))
        self._deciding = deciding
        deciding.addCallbacks(self._begin, self._refuse)
        deciding.addErrback(self._failed)

    def _begin(self, protocol: IProtocol) -> None:
        """
        Accept the stream, and connect its protocol.
        """
        self._deciding = None
        self._paused = False
        self.protocol = protocol
        if self.disconnected:  # whoever decided took no notice of being cancelled
            protocol.makeConnection(self)
            protocol.connectionLost(Failure(ConnectionLost("the peer gave the stream up")))
            return
        self.link.call_core(self.link.core.streams.accept, self.stream_id)
        self.accepted()
        protocol.makeConnection(self)
        self._deliver_soon()

    def _refuse(self, failure: Failure) -> None:
        """
        Tell the peer why the stream is not served.
        """
        self._deciding = None
        if self.disconnected:
            failure.trap(AtmosphereError, CancelledError)
            return
        self.disconnected = True
        reason = "the service failed"
        if failure.check(StreamRefusedError):
            reason = str(failure.value)
        elif failure.check(AtmosphereError):
            self._log.warn("{stream} failed: {error}", stream=self, error=failure.value)
        else:
            self._log.failure("{stream} failed", failure, stream=self)
        self.link.stream_refuse(self.stream_id, reason)

    def _failed(self, failure: Failure) -> None:
        """
        The protocol failed from the start.
        """
        self._log.failure("the protocol of {stream} failed", failure, stream=self)
        self.abortConnection()

    # What the link reports.

    def accepted(self) -> None:
        """
        The peer serves this stream.
        """
        self._answer_with(True)

    def refused(self, reason: str) -> None:
        """
        The peer does not serve this stream.
        """
        self._lost(Failure(StreamRefusedError(reason)))

    def received(self, data: bytes) -> None:
        """
        Bytes came.
        """
        if self._paused or self._delivery_is_due or self.disconnected:
            self._inbox.append(data)
        else:
            self._hand_over(data)

    def ended(self) -> None:
        """
        The peer has ended its direction in good order.
        """
        self._read_ended = True
        if not self._paused and not self._delivery_is_due:
            self._deliver()

    def _end_of_input(self) -> None:
        """
        Tell the protocol that the peer sends no more, once.
        """
        if self.disconnected or self.disconnecting:
            return
        self._read_ended = False
        self._has_read_all = True
        if IHalfCloseableProtocol.providedBy(self.protocol):
            self.protocol.readConnectionLost()
            if self._write_ended and self.link.stream_waiting(self.stream_id) == 0:
                self.loseConnection()
        else:
            self.link.stream_finish(self.stream_id)
            self._lost(Failure(ConnectionDone()))

    def finished(self) -> None:
        """
        Everything written, and the end, has gone to QUIC.
        """
        if self.disconnecting:
            self.link.stream_stop(self.stream_id)
            self._lost(Failure(ConnectionDone()))
        elif self._write_ended and IHalfCloseableProtocol.providedBy(self.protocol):
            self.protocol.writeConnectionLost()
            if self._has_read_all:
                self._lost(Failure(ConnectionDone()))

    def aborted(self, stops_us: bool) -> None:
        """
        The peer gave the stream up.
        """
        if stops_us:
            self._stopped()
            return
        self.link.stream_abort(self.stream_id)
        if self.disconnecting:
            self._lost(Failure(ConnectionDone()))
        else:
            self._lost(Failure(ConnectionLost("the peer gave the stream up")))

    def _stopped(self) -> None:
        """
        The peer reads no further; what it has sent is still ours to read.
        """
        self._write_ended = True
        producer, self._producer = self._producer, None
        if producer is not None:
            producer.stopProducing()
        if self.disconnecting:
            self._lost(Failure(ConnectionDone()))
        elif IHalfCloseableProtocol.providedBy(self.protocol):
            self.protocol.writeConnectionLost()

    def lost(self, reason: Failure) -> None:
        """
        The link is gone.
        """
        self._lost(reason)

    def _lost(self, reason: Failure) -> None:
        """
        Tell the protocol that all is over, once.
        """
        if self.disconnected:
            return
        self.disconnected = True
        self._inbox.clear()
        self.link.stream_forget(self.stream_id)
        self._answer_with(reason)
        if self._deciding is not None:
            self._deciding.cancel()
        producer, self._producer = self._producer, None
        if producer is not None:
            producer.stopProducing()
        try:
            self.protocol.connectionLost(reason)
        except Exception:
            self._log.failure("the protocol of {stream} failed at its end", stream=self)
        if self.on_lost is not None:
            self.on_lost()
