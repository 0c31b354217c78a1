"""
A stream between two nodes, and protocols that note what it tells them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

from twisted.internet.interfaces import (
    IHalfCloseableProtocol,
    IPullProducer,
    IPushProducer,
)
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from typing_extensions import override
from zope.interface import implementer

from atmosphere.network.quic.streams import StreamTransport

from .harness import World

__all__ = ["HalfCloseable", "Noting", "Puller", "Pusher", "StreamCase"]


class Noting(Protocol):
    """
    Notes all that a transport tells it.

    @ivar told: the names of the calls, and the reasons' types.
    """

    def __init__(self) -> None:
        self.told: list[object] = []
        self.data = b""
        self.answer: Callable[[bytes], object] = lambda data: None

    @property
    def stream(self) -> StreamTransport:
        """
        The transport, by its class.
        """
        return cast(StreamTransport, self.transport)

    @override
    def connectionMade(self) -> None:
        """
        Note it.
        """
        self.told.append("made")

    @override
    def dataReceived(self, data: bytes) -> None:
        """
        Keep the bytes.
        """
        self.data += data
        self.answer(data)

    @override
    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """
        Note why.
        """
        self.told.append(reason.type)


@implementer(IHalfCloseableProtocol)
class HalfCloseable(Noting):
    """
    Lives on when one direction has ended.
    """

    def readConnectionLost(self) -> None:
        """
        Note it.
        """
        self.told.append("read lost")

    def writeConnectionLost(self) -> None:
        """
        Note it.
        """
        self.told.append("write lost")


@implementer(IPushProducer)
class Pusher:
    """
    Pushes pieces until it is paused or has no more.
    """

    def __init__(self, stream: StreamTransport, pieces: int) -> None:
        self.stream = stream
        self.left = pieces
        self.is_paused = False
        self.is_stopped = False
        self.pauses = 0

    def resumeProducing(self) -> None:
        """
        Go on.
        """
        self.is_paused = False
        while self.left and not self.is_paused:
            self.left -= 1
            self.stream.write(bytes(10_000))
        if not self.left:
            self.stream.unregisterProducer()

    def pauseProducing(self) -> None:
        """
        Wait.
        """
        self.is_paused = True
        self.pauses += 1

    def stopProducing(self) -> None:
        """
        End.
        """
        self.is_paused = self.is_stopped = True
        self.left = 0


@implementer(IPullProducer)
class Puller:
    """
    Gives a piece each time that it is asked.
    """

    def __init__(self, stream: StreamTransport, pieces: int) -> None:
        self.stream = stream
        self.left = pieces
        self.asked = 0
        self.is_stopped = False

    def resumeProducing(self) -> None:
        """
        Give one.
        """
        self.asked += 1
        self.left -= 1
        self.stream.write(bytes(10_000))
        if not self.left:
            self.stream.unregisterProducer()

    def stopProducing(self) -> None:
        """
        End.
        """
        self.is_stopped = True


class StreamCase(SynchronousTestCase):
    """
    A link with one stream on it.

    @ivar near: the protocol that opened the stream.
    @ivar far: the protocol that serves it.
    """

    @override
    def setUp(self) -> None:
        """
        Make the link.
        """
        self.world = World()
        self.a, self.b = self.world.node(1), self.world.node(2)
        dialling = self.a.endpoint.dial(self.b.key.node_id, self.a.ways_to(self.b))
        self.world.run(1.0)
        self.link = self.successResultOf(dialling)
        (self.back,) = self.b.connected

    def open(self, near: Noting | None = None, far: Noting | None = None) -> None:
        """
        Open the stream, and wait until it is served.
        """
        self.near = Noting() if near is None else near
        self.far = Noting() if far is None else far
        self.b.services["test"] = lambda: self.far
        self.link.open_stream("test", self.near)
        self.world.run(0.5)

    def assert_nothing_left(self) -> None:
        """
        Check that neither end keeps anything of a stream.
        """
        self.world.run(2.0)
        for link in (self.link, self.back):
            self.assertEqual((link.open_streams, len(link.core.streams)), (0, 0))
            self.assertTrue(link.is_open)
