"""
The protocols that the benchmarks run, on streams and on TCP alike.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IHalfCloseableProtocol, IPushProducer
from twisted.internet.protocol import Protocol
from typing_extensions import override
from zope.interface import implementer

__all__ = ["Asker", "Echo", "Idle", "Sink", "Source", "Stalled"]

PIECE = 65_536


class Echo(Protocol):
    """
    Sends back what comes.
    """

    transport: Any

    @override
    def connectionMade(self) -> None:
        """
        Let small answers go at once, on TCP too.
        """
        if hasattr(self.transport, "setTcpNoDelay"):
            self.transport.setTcpNoDelay(True)

    @override
    def dataReceived(self, data: bytes) -> None:
        """
        Send it back.
        """
        self.transport.write(data)


class Idle(Protocol):
    """
    Says nothing.
    """


class Stalled(Protocol):
    """
    Never reads.
    """

    transport: Any

    @override
    def connectionMade(self) -> None:
        """
        Stop reading.
        """
        self.transport.pauseProducing()


@implementer(IHalfCloseableProtocol)
class Sink(Protocol):
    """
    Drops what comes, and says so when all has come.
    """

    transport: Any

    def readConnectionLost(self) -> None:
        """
        Say that all has come.
        """
        self.transport.write(b".")
        self.transport.loseConnection()

    def writeConnectionLost(self) -> None:
        """
        Nothing more to say.
        """


@implementer(IPushProducer, IHalfCloseableProtocol)
class Source(Protocol):
    """
    Sends bytes as fast as they are taken.

    @ivar written: bytes that were written so far.
    @ivar done: fires when the reader has said that it has all.
    """

    transport: Any

    def __init__(self, total: int) -> None:
        self.written = 0
        self.done: Deferred[None] = Deferred()
        self._total = total
        self._is_paused = True

    @override
    def connectionMade(self) -> None:
        """
        Begin.
        """
        self.transport.registerProducer(self, True)
        self.resumeProducing()

    def pauseProducing(self) -> None:
        """
        Wait.
        """
        self._is_paused = True

    def resumeProducing(self) -> None:
        """
        Write until it is enough for now, or for good.
        """
        self._is_paused = False
        while not self._is_paused and self.written < self._total:
            length = min(PIECE, self._total - self.written)
            piece = bytes((self.written // PIECE & 0xFF,)) * length  # new memory each time
            self.written += len(piece)
            self.transport.write(piece)
        if not self._is_paused:
            self._is_paused = True
            self.transport.unregisterProducer()
            self.transport.loseWriteConnection()

    def stopProducing(self) -> None:
        """
        Write no more.
        """
        self._is_paused = True

    @override
    def dataReceived(self, data: bytes) -> None:
        """
        The reader has all.
        """
        self.done.callback(None)

    def readConnectionLost(self) -> None:
        """
        Nothing more will be said.
        """

    def writeConnectionLost(self) -> None:
        """
        All is sent.
        """


class Asker(Protocol):
    """
    Asks, waits for the answer, and asks again.

    @ivar done: fires with how long each round took, in seconds.
    """

    transport: Any

    def __init__(
        self, size: int, rounds: int, elapsed: Callable[[], float], *, stays: bool = False
    ) -> None:
        """
        @param stays: whether the connection stays open afterwards.
        """
        self.done: Deferred[list[float]] = Deferred()
        self._question = bytes(size)
        self._rounds = rounds
        self._elapsed = elapsed
        self._times: list[float] = []
        self._missing = 0
        self._asked_at = 0.0
        self._stays = stays

    @override
    def connectionMade(self) -> None:
        """
        Ask the first time.
        """
        self._ask()

    def _ask(self) -> None:
        """
        Ask.
        """
        self._missing = len(self._question)
        self._asked_at = self._elapsed()
        self.transport.write(self._question)

    @override
    def dataReceived(self, data: bytes) -> None:
        """
        Note the time when all of the answer is there, and ask again.
        """
        self._missing -= len(data)
        if self._missing > 0:
            return
        self._times.append(self._elapsed() - self._asked_at)
        if len(self._times) < self._rounds:
            self._ask()
        else:
            if not self._stays:
                self.transport.loseConnection()
            self.done.callback(self._times)
