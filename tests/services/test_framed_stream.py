"""
Tests for L{atmosphere.services.framed_stream}: ends, halves of ends, breaks and pauses.
"""

from __future__ import annotations

import struct
from typing import Any

from hypothesis import given, settings, strategies
from twisted.internet.address import UNIXAddress
from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from typing_extensions import override
from zope.interface import implementer

from atmosphere.services.framed_stream import FramedStream

END = b"\0\0\0\0"


def frame(data: bytes) -> bytes:
    """
    Put bytes into a frame.
    """
    return struct.pack("!I", len(data)) + data


class Listener(Protocol):
    """
    Notes what happens to it, in order.
    """

    def __init__(self) -> None:
        self.seen: list[Any] = []

    @property
    def data(self) -> bytes:
        """
        All bytes so far.
        """
        return b"".join(each for each in self.seen if isinstance(each, bytes))

    @override
    def dataReceived(self, data: bytes) -> None:
        self.seen.append(data)

    @override
    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.seen.append(reason.value)


@implementer(IHalfCloseableProtocol)
class HalfListener(Listener):
    """
    The same, for one that can end by halves.
    """

    def readConnectionLost(self) -> None:
        """
        Note it.
        """
        self.seen.append("read")

    def writeConnectionLost(self) -> None:
        """
        Note it.
        """
        self.seen.append("write")


class Below(StringTransport):
    """
    A socket's transport.
    """

    is_aborted = False

    @override
    def abortConnection(self) -> None:
        self.is_aborted = True
        super().abortConnection()


class FramedStreamTests(SynchronousTestCase):
    """
    A protocol on frames.
    """

    def make(self, protocol: Listener) -> FramedStream:
        """
        Make a stream.
        """
        self.clock = Clock()
        self.below = Below()
        stream = FramedStream(
            self.clock,
            self.below,
            protocol,
            peer=UNIXAddress(b"a"),
            host=UNIXAddress(b"b"),
            gone="it is gone",
        )
        stream.begin()
        return stream

    @given(
        strategies.lists(strategies.binary(min_size=1, max_size=50), max_size=8),
        strategies.integers(1, 20),
    )
    @settings(derandomize=True, max_examples=200, deadline=None)
    def test_any_pieces(self, pieces: list[bytes], size: int) -> None:
        """
        However the frames are cut on their way, the same bytes arrive, then the end.
        """
        protocol = HalfListener()
        stream = self.make(protocol)
        wire = b"".join(map(frame, pieces)) + END
        for start in range(0, len(wire), size):
            stream.received(wire[start : start + size])
        self.assertEqual(protocol.data, b"".join(pieces))
        self.assertEqual(protocol.seen[-1], "read")

    @given(strategies.binary(max_size=200))
    @settings(derandomize=True, max_examples=200, deadline=None)
    def test_anything(self, data: bytes) -> None:
        """
        Whatever comes, the protocol hears of one end at most and nothing is raised.
        """
        protocol = HalfListener()
        stream = self.make(protocol)
        stream.received(data)
        stream.broken()
        ends = [each for each in protocol.seen if isinstance(each, Exception)]
        self.assertEqual(len(ends), 1)

    def test_writing(self) -> None:
        """
        Bytes leave in frames, and the end after them.
        """
        stream = self.make(Listener())
        stream.write(b"abc")
        stream.writeSequence([b"d", b"e"])
        stream.write(b"")
        stream.loseConnection()
        stream.write(b"late")
        self.assertEqual(self.below.value(), frame(b"abc") + frame(b"de") + END)
        self.assertTrue(self.below.disconnecting)

    def test_half_close(self) -> None:
        """
        One direction ends, the other goes on; when both have ended all is over.
        """
        protocol = HalfListener()
        stream = self.make(protocol)
        stream.loseWriteConnection()
        self.clock.advance(0)
        self.assertEqual(protocol.seen, ["write"])
        stream.received(frame(b"more") + END)
        self.assertEqual(protocol.seen[1:], [b"more", "read"])
        self.assertTrue(self.below.disconnecting)
        stream.broken()
        self.assertIsInstance(protocol.seen[-1], ConnectionDone)

    def test_end_of_a_plain_protocol(self) -> None:
        """
        A protocol that knows no halves is closed by the other side's end.
        """
        protocol = Listener()
        stream = self.make(protocol)
        stream.received(frame(b"x") + END)
        self.assertEqual(self.below.value(), END)
        stream.broken()
        self.assertIsInstance(protocol.seen[-1], ConnectionDone)

    def test_end_of_a_producer(self) -> None:
        """
        A plain protocol that produces for as long as it is connected, as that of
        a web server does, is told of the end all the same.
        """
        protocol = Listener()
        stream = self.make(protocol)
        stream.registerProducer(StringTransport(), True)
        stream.received(END)
        self.assertIsInstance(protocol.seen[-1], ConnectionDone)
        self.assertEqual(self.below.value(), END)
        self.assertIsNone(self.below.producer)
        self.assertTrue(self.below.disconnecting)

    def test_break(self) -> None:
        """
        A socket that closes in the middle is no end, and what came is handed on.
        """
        protocol = Listener()
        stream = self.make(protocol)
        stream.pauseProducing()
        stream.received(frame(b"last"))
        stream.broken()
        self.assertEqual(protocol.data, b"last")
        self.assertIsInstance(protocol.seen[-1], ConnectionLost)
        self.assertIn("it is gone", str(protocol.seen[-1]))

    def test_giving_up(self) -> None:
        """
        A side that gives up says why.
        """
        one = self.make(Listener())
        one.give_up("the relay burnt down")
        wire = self.below.value()
        protocol = Listener()
        other = self.make(protocol)
        other.received(wire)
        self.assertIsInstance(protocol.seen[-1], ConnectionLost)
        self.assertIn("the relay burnt down", str(protocol.seen[-1]))

    def test_abort(self) -> None:
        """
        Aborting closes at once.
        """
        protocol = Listener()
        stream = self.make(protocol)
        lost: list[None] = []
        stream.on_lost = lambda: lost.append(None)
        stream.abortConnection()
        self.clock.advance(0)
        stream.broken()
        self.assertTrue(self.below.is_aborted)
        self.assertEqual(len(protocol.seen), 1)
        self.assertIsInstance(protocol.seen[0], ConnectionAborted)
        self.assertEqual(lost, [None])

    def test_pause(self) -> None:
        """
        A protocol that pauses gets nothing, the socket is not read, and all comes later.
        """
        protocol = Listener()
        stream = self.make(protocol)
        stream.received(frame(b"a"))
        stream.pauseProducing()
        self.assertEqual(self.below.producerState, "paused")
        stream.received(frame(b"b"))
        self.assertEqual(protocol.data, b"a")
        stream.resumeProducing()
        self.clock.advance(0)
        self.assertEqual(protocol.data, b"ab")
        self.assertEqual(self.below.producerState, "producing")

    def test_producer(self) -> None:
        """
        A producer is the socket's, and the end waits for it.
        """
        stream = self.make(Listener())
        producer = Below()
        stream.registerProducer(producer, True)
        self.assertIs(self.below.producer, producer)
        stream.loseConnection()
        stream.write(b"still")
        self.assertFalse(self.below.disconnecting)
        stream.unregisterProducer()
        self.assertEqual(self.below.value(), frame(b"still") + END)
        self.assertTrue(self.below.disconnecting)
