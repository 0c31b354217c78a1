# -*- test-case-name: tests.services.test_pairing -*-
"""
Two connections made one: what comes on either goes out on the other.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IHalfCloseableProtocol, IPushProducer
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from typing_extensions import override
from zope.interface import implementer

__all__ = ["Half", "make_pair"]


@implementer(IPushProducer)
class _Source:
    """
    One end as the producer of what goes out on the other. When nobody takes
    that any more it is read and dropped: what comes the other way must still
    arrive, and so must the end.
    """

    def __init__(self, half: Half) -> None:
        self._half = half

    def pauseProducing(self) -> None:
        """
        Read no more for now.
        """
        if not self._half.is_lost:
            self._half.transport.pauseProducing()

    def resumeProducing(self) -> None:
        """
        Read.
        """
        if not self._half.is_lost:
            self._half.transport.resumeProducing()

    def stopProducing(self) -> None:
        """
        Read, if only to learn of the end.
        """
        self.resumeProducing()


@implementer(IHalfCloseableProtocol)
class Half(Protocol):
    """
    One of two ends that are joined; both transports close by halves.

    Neither is read faster than the other takes it, each direction ends by
    itself, and an end that breaks gives the other one up.

    @ivar other: the other end.
    @ivar is_lost: this one is over.
    @ivar may_write: bytes may still go out on it.
    """

    transport: Any

    def __init__(self) -> None:
        self.other: Half = self
        self.is_lost = False
        self._is_read_over = False
        self._is_write_over = False
        self.may_write = True
        self._has_producer = False

    @override
    def connectionMade(self) -> None:
        """
        Wait for the other end, then let bytes flow.
        """
        other = self.other
        self.transport.pauseProducing()
        if other.is_lost:
            self.transport.abortConnection()
        elif other.transport is not None:
            self.begin()
            other.begin()

    def begin(self) -> None:
        """
        Take bytes from the other end, and read.
        """
        self._has_producer = True
        self.transport.registerProducer(_Source(self.other), True)
        self.other.transport.resumeProducing()

    def end_writing(self) -> None:
        """
        Take no more bytes from the other end: what was written goes out still.
        """
        self.may_write = False
        if self._has_producer:
            self._has_producer = False
            self.transport.unregisterProducer()
            _Source(self.other).stopProducing()

    @override
    def dataReceived(self, data: bytes) -> None:
        """
        Hand it on.
        """
        if self.other.may_write:
            self.other.transport.write(data)

    def readConnectionLost(self) -> None:
        """
        The one over there has said all: so have we, to the other one.
        """
        self._is_read_over = True
        other = self.other
        if other.may_write and not other.is_lost:
            other.end_writing()
            if hasattr(type(other.transport), "loseWriteConnection"):  # TLS has none of its own
                other.transport.loseWriteConnection()
        self._close_if_over()

    def writeConnectionLost(self) -> None:
        """
        All was said, or the one over there listens no more.
        """
        self._is_write_over = True
        self.end_writing()
        self._close_if_over()

    def _close_if_over(self) -> None:
        """
        Close when both directions have ended.
        """
        if self._is_read_over and self._is_write_over and not self.is_lost:
            self.transport.loseConnection()

    @override
    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """
        End the other one in the same way.
        """
        self.is_lost = True
        self._has_producer = self.may_write = False
        other = self.other
        if other.is_lost or other.transport is None:
            return
        other.end_writing()
        if reason.check(ConnectionDone):
            other.transport.loseConnection()
        elif hasattr(other.transport, "give_up"):
            other.transport.give_up(reason.getErrorMessage())
        else:
            other.transport.abortConnection()


def make_pair() -> tuple[Half, Half]:
    """
    Make two ends that are joined; each waits for the other's transport.
    """
    one, two = Half(), Half()
    one.other, two.other = two, one
    return one, two
