"""
A long transfer over one stream, and what became of it.
"""

from __future__ import annotations

import hashlib

from twisted.internet.interfaces import IConsumer, IPushProducer
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from typing_extensions import override
from zope.interface import implementer

__all__ = ["Receiver", "Sender"]

PIECE = 65_536


def _block(number: int) -> bytes:
    """
    Make a piece of the data, different from every other.
    """
    return hashlib.sha256(number.to_bytes(8, "big")).digest() * (PIECE // 32)


@implementer(IPushProducer)
class Sender(Protocol):
    """
    Sends a number of bytes as fast as they are taken, then ends its direction.

    @ivar sent: bytes that were written.
    @ivar allowed: bytes that may be, so far.
    @ivar digest: of them.
    @ivar reasons: why the stream ended, each time that it was told.
    """

    def __init__(self, total: int, allowed: int | None = None) -> None:
        self.sent = 0
        self.allowed = total if allowed is None else allowed
        self.digest = hashlib.sha256()
        self.reasons: list[BaseException] = []
        self._total = total
        self._is_paused = True

    @override
    def connectionMade(self) -> None:
        """
        Begin.
        """
        consumer: IConsumer = self.transport  # type: ignore[assignment]
        consumer.registerProducer(self, True)
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
        assert self.transport is not None
        self._is_paused = False
        while not self._is_paused and self.sent < min(self.allowed, self._total):
            piece = _block(self.sent // PIECE)[: self._total - self.sent]
            self.sent += len(piece)
            self.digest.update(piece)
            self.transport.write(piece)
        if self.sent == self._total and not self._is_paused:
            self._is_paused = True
            self.transport.unregisterProducer()  # type: ignore[attr-defined]
            self.transport.loseWriteConnection()  # type: ignore[attr-defined]

    def allow(self, count: int) -> None:
        """
        Let so many bytes more be sent.
        """
        self.allowed += count
        if not self._is_paused:
            self.resumeProducing()

    def stopProducing(self) -> None:
        """
        Write no more.
        """
        self._is_paused = True

    @override
    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """
        Note why.
        """
        assert reason.value is not None
        self.reasons.append(reason.value)


class Receiver(Protocol):
    """
    Takes what comes.

    @ivar received: bytes.
    @ivar digest: of them.
    @ivar reasons: why the stream ended, each time that it was told.
    """

    def __init__(self) -> None:
        self.received = 0
        self.digest = hashlib.sha256()
        self.reasons: list[BaseException] = []

    @override
    def dataReceived(self, data: bytes) -> None:
        """
        Count and hash.
        """
        self.received += len(data)
        self.digest.update(data)

    @override
    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """
        Note why.
        """
        assert reason.value is not None
        self.reasons.append(reason.value)
