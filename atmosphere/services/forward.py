# -*- test-case-name: tests.services.test_forward -*-
"""
Forwarding: streams joined with connections to servers that know nothing of us,
and with connections of clients that know as little.

A stream is accepted only when the server has accepted: who cannot be served is
told so within the round trip that opening a stream takes.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from twisted.internet.defer import CancelledError, Deferred, DeferredSemaphore
from twisted.internet.endpoints import clientFromString
from twisted.internet.error import (
    ConnectError,
    ConnectingCancelledError,
    ConnectionRefusedError,
    TimeoutError as ConnectTimeoutError,
)
from twisted.internet.interfaces import (
    IAddress,
    IProtocol,
    IProtocolFactory,
    IReactorTime,
    IStreamClientEndpoint,
)
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from typing_extensions import override

from atmosphere.engine_driver import EngineClock
from atmosphere.errors import AtmosphereError, ConfigurationError, StreamRefusedError
from atmosphere.identity import NodeID
from atmosphere.rate import TokenBucket
from atmosphere.text import escape_peer_text

from .first_words import FirstWords
from .pairing import Half

__all__ = ["Exposed", "ForwardFactory", "OneProtocol", "Room", "target_endpoint"]

#: Seconds that a server may take to accept a connection.
CONNECT_TIMEOUT = 10.0

#: Connections that one member may open to one service, a second and at once.
OPENS_PER_SECOND = 100.0
OPENS_AT_ONCE = 1_024.0

#: Connections of one member that one server may be asked for at a time.
MOST_UNANSWERED = 16

#: Connections that may be open at a time: of one member, of one forward, in all.
MOST_OF_ONE = 1_024
MOST_IN_ALL = 4_096


def target_endpoint(reactor: Any, text: str) -> IStreamClientEndpoint:
    """
    Read where a server is.

    @param text: a Twisted client endpoint string, or a port of this machine.
    @raise ConfigurationError: it is neither.
    """
    if text.isascii() and text.isdigit():
        text = f"tcp:127.0.0.1:{text}"
    try:
        endpoint: IStreamClientEndpoint = clientFromString(reactor, text)
        return endpoint
    except Exception as error:  # a parser is anybody's code
        raise ConfigurationError(
            f"{text!a} is no client endpoint string, such as tcp:127.0.0.1:22: {error}"
        ) from None


class OneProtocol(Factory[Protocol]):
    """
    Hands out a protocol that is there already.
    """

    noisy = False

    def __init__(self, protocol: Protocol) -> None:
        self._protocol = protocol

    @override
    def buildProtocol(self, addr: IAddress | None) -> Protocol:
        """
        Hand it out.
        """
        return self._protocol


class Room:
    """
    How many connections there may be at a time.

    @ivar taken: how many there are.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self.taken = 0

    def take(self) -> bool:
        """
        Take a place.

        @return: whether there was one.
        """
        if self.taken >= self._most:
            return False
        self.taken += 1
        return True

    def leave(self) -> None:
        """
        Give a place back.
        """
        self.taken -= 1


class _Visitor:
    """
    A member that connects to one service.

    @ivar opens: how many connections it may open a second.
    @ivar room: for those that are open.
    @ivar turns: for those that the server has yet to accept: the others wait,
        so that nobody's rush fills the server's queue.
    """

    def __init__(self) -> None:
        self.opens = TokenBucket(OPENS_PER_SECOND, OPENS_AT_ONCE)
        self.room = Room(MOST_OF_ONE)
        self.turns = DeferredSemaphore(MOST_UNANSWERED)

    def is_gone(self, now: float) -> bool:
        """
        Say whether there is nothing to remember.
        """
        return not self.room.taken and self.opens.is_full(now)


class _ServerHalf(Half):
    """
    The end at the server.
    """

    def __init__(self, over: Callable[[], None]) -> None:
        super().__init__()
        self._over = over

    @override
    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """
        Make room.
        """
        self._over()
        super().connectionLost(reason)


class Exposed:
    """
    A server that members reach through us.

    @ivar open: how many connections there are to it.
    """

    _log = Logger()

    def __init__(
        self, clock: IReactorTime, service: str, target: IStreamClientEndpoint, room: Room
    ) -> None:
        """
        @param target: where the server is.
        @param room: for the connections of all services together.
        """
        self._reactor = clock
        self._clock = EngineClock(clock)
        self._service = service
        self._target = target
        self._room = room
        self._visitors: dict[NodeID, _Visitor] = {}

    @property
    def open(self) -> int:
        """
        How many connections there are.
        """
        return sum(visitor.room.taken for visitor in self._visitors.values())

    def accept(self, member: NodeID) -> Deferred[IProtocol]:
        """
        Connect to the server for a member that may.

        @return: fires with the protocol for the member's stream; fails with
            L{StreamRefusedError}. Cancelling it gives the connection up.
        @raise StreamRefusedError: the member wants too much.
        """
        visitor = self._admit(member)
        near = _ServerHalf(partial(self._leave, visitor))
        far = Half()
        near.other, far.other = far, near
        connecting = Deferred.fromCoroutine(self._connect(visitor, near))
        connecting.addTimeout(CONNECT_TIMEOUT, self._reactor, self._late)

        def connected(_: object) -> IProtocol:
            return far

        def failed(failure: Failure) -> IProtocol:
            self._leave(visitor)
            raise self._explain(failure)

        return connecting.addCallbacks(connected, failed)

    async def _connect(self, visitor: _Visitor, near: _ServerHalf) -> None:
        """
        Connect when it is the member's turn.
        """
        await visitor.turns.acquire()
        try:
            await self._target.connect(OneProtocol(near))
        finally:
            visitor.turns.release()

    @staticmethod
    def _late(result: object, timeout: float) -> None:
        """
        Fail in one way, however an endpoint takes being cancelled.
        """
        raise ConnectTimeoutError

    def _admit(self, member: NodeID) -> _Visitor:
        """
        Count a connection, if there may be one.

        @raise StreamRefusedError: there may not.
        """
        now = self._clock.now()
        visitor = self._visitors.get(member)
        if visitor is None:
            for each in [each for each, known in self._visitors.items() if known.is_gone(now)]:
                del self._visitors[each]
            visitor = self._visitors[member] = _Visitor()
        if not visitor.opens.take(1, now):
            raise StreamRefusedError("too many connections a second")
        if not visitor.room.take():
            raise StreamRefusedError("too many connections of yours are open")
        if not self._room.take():
            visitor.room.leave()
            raise StreamRefusedError("too many connections are open")
        return visitor

    def _leave(self, visitor: _Visitor) -> None:
        """
        A connection is over.
        """
        self._room.leave()
        visitor.room.leave()

    def _explain(self, failure: Failure) -> Exception:
        """
        Say why the server is not reached: all to the log, to the member no
        more than it needs.
        """
        if failure.check(CancelledError, ConnectingCancelledError):
            return CancelledError()
        if failure.check(ConnectError, OSError):
            self._log.info(
                "{service} is not reached: {error}", service=self._service, error=failure.value
            )
        else:
            self._log.failure("{service} is not reached", failure, service=self._service)
        if failure.check(ConnectionRefusedError):
            return StreamRefusedError("its server refuses connections")
        if failure.check(ConnectTimeoutError):
            return StreamRefusedError("its server does not answer")
        return StreamRefusedError("its server is not reached")


class _ClientHalf(Half):
    """
    The end at a client of ours.
    """

    def __init__(self, factory: ForwardFactory) -> None:
        super().__init__()
        self._factory = factory
        self._far = Half()
        self.other, self._far.other = self._far, self
        self._opening: Deferred[Any] | None = None
        self._first = FirstWords()
        self._has_said_all = False

    @property
    def _is_joined(self) -> bool:
        """
        Whether the stream is there.
        """
        return self._far.transport is not None

    @override
    def connectionMade(self) -> None:
        """
        Open a stream. What the client says meanwhile may go with the opening; of much
        of it the rest waits.
        """
        super().connectionMade()
        opening = self._factory.open_stream(OneProtocol(self._far), self._first)
        self._opening = opening
        opening.addCallbacks(self._opened, self._not_opened)
        if self._opening is not None:
            self.transport.resumeProducing()

    @override
    def dataReceived(self, data: bytes) -> None:
        """
        Hand it on, when there is somebody to take it.
        """
        if self._is_joined:
            super().dataReceived(data)
            return
        self._first.add(data)
        if self._first.are_enough:
            self.transport.pauseProducing()

    @override
    def readConnectionLost(self) -> None:
        """
        The client has said all: that is told when the stream is there.
        """
        self._has_said_all = True
        if self._is_joined:
            super().readConnectionLost()

    def _opened(self, _: object) -> None:
        """
        The peer has accepted.
        """
        self._opening = None
        self._factory.tell(None)
        if self._has_said_all:
            super().readConnectionLost()

    def _not_opened(self, failure: Failure) -> None:
        """
        Do to the client what was done to us.
        """
        self._opening = None
        if not self.is_lost:
            self.transport.abortConnection()
        if not failure.check(CancelledError):
            self._factory.report(failure)

    @override
    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """
        Give up a stream that is not open yet.
        """
        super().connectionLost(reason)
        self._factory.leave()
        if self._opening is not None:
            self._opening.cancel()


class ForwardFactory(Factory[Protocol]):
    """
    Opens a stream for each client that connects.

    @ivar open: how many clients there are.
    @ivar open_stream: opens a stream for a factory, whose protocol's first words may go
        with the opening.
    @ivar tell: told why a stream was not opened, in words for people, and
        C{None} when one was.
    """

    noisy = False
    _log = Logger()

    def __init__(
        self,
        open_stream: Callable[[IProtocolFactory, FirstWords], Deferred[IProtocol]],
        tell: Callable[[str | None], None],
        room: Room,
    ) -> None:
        """
        @param room: for the connections of all services and forwards together.
        """
        self.open = 0
        self._room = room
        self.open_stream = open_stream
        self.tell = tell

    @override
    def buildProtocol(self, addr: IAddress | None) -> Protocol | None:
        """
        Make the end at a client.
        """
        if self.open >= MOST_OF_ONE or not self._room.take():
            self.tell("too many connections are open")
            return None
        self.open += 1
        return _ClientHalf(self)

    def leave(self) -> None:
        """
        A client is gone.
        """
        self.open -= 1
        self._room.leave()

    def report(self, failure: Failure) -> None:
        """
        Say why a client was not served.
        """
        if failure.check(AtmosphereError):
            self.tell(escape_peer_text(str(failure.value), 300))
        else:
            self._log.failure("a stream was not opened", failure)
            self.tell("an error inside the node: its log says more")
