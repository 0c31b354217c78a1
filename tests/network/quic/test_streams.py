"""
Tests for L{atmosphere.network.quic.streams}: a stream does what a TCP transport does.
"""

from __future__ import annotations

from twisted.internet.defer import CancelledError
from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.internet.interfaces import (
    IConsumer,
    IPushProducer,
    ITransport,
)
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure
from typing_extensions import override
from zope.interface.verify import verifyObject

from atmosphere.errors import LinkError, StreamRefusedError

from .stream_case import HalfCloseable, Noting, Pusher, StreamCase


class EndTests(StreamCase):
    """
    How a stream ends, and who is told what: once.
    """

    def test_interfaces(self) -> None:
        """
        The transport provides what it says.
        """
        self.open()
        for interface in (ITransport, IConsumer, IPushProducer):
            verifyObject(interface, self.near.stream)

    def test_lose_connection(self) -> None:
        """
        What was written before arrives, what is written after does not.
        """
        self.open()
        self.near.stream.write(bytes(500_000))
        self.near.stream.loseConnection()
        self.near.stream.loseConnection()
        self.near.stream.write(b"too late")
        self.world.run(0.01)
        self.assertEqual(self.near.told, ["made"])
        self.world.run(3.0)
        self.assertEqual(len(self.far.data), 500_000)
        self.assertEqual(self.near.told, ["made", ConnectionDone])
        self.assertEqual(self.far.told, ["made", ConnectionDone])
        self.assert_nothing_left()

    def test_lose_connection_of_both(self) -> None:
        """
        Both may end the stream at the same time.
        """
        self.open()
        self.near.stream.write(b"good-bye")
        self.near.stream.loseConnection()
        self.far.stream.loseConnection()
        self.world.run(1.0)
        self.assertEqual((self.near.told[1:], self.far.told[1:]), ([ConnectionDone],) * 2)
        self.assert_nothing_left()

    def test_answer_and_end(self) -> None:
        """
        A server that answers and ends the stream within one call is heard.
        """
        self.open()

        def answer(data: bytes) -> None:
            self.far.stream.write(b"answer")
            self.far.stream.loseConnection()

        self.far.answer = answer
        self.near.stream.write(b"question")
        self.world.run(1.0)
        self.assertEqual(self.near.data, b"answer")
        self.assertEqual((self.near.told[1:], self.far.told[1:]), ([ConnectionDone],) * 2)
        self.assert_nothing_left()

    def test_producer_finishes_first(self) -> None:
        """
        A stream that is to end does so when its producer has said all.
        """
        self.open()
        pusher = Pusher(self.near.stream, 100)
        self.near.stream.registerProducer(pusher, True)
        pusher.resumeProducing()
        self.assertTrue(pusher.is_paused)
        self.near.stream.loseConnection()
        self.world.run(3.0)
        self.assertEqual(len(self.far.data), 1_000_000)
        self.assertFalse(pusher.is_stopped)
        self.assertEqual((self.near.told[1:], self.far.told[1:]), ([ConnectionDone],) * 2)
        self.assert_nothing_left()

    def test_abort(self) -> None:
        """
        An abort ends it at once; the other side is told that it was not in order.
        """
        self.open()
        pusher = Pusher(self.near.stream, 1000)
        self.near.stream.registerProducer(pusher, True)
        pusher.resumeProducing()
        self.near.stream.abortConnection()
        self.near.stream.abortConnection()
        self.near.stream.loseConnection()
        self.assertEqual(self.near.told, ["made"])
        self.world.run(0.0)
        self.world.run(1.0)
        self.assertEqual(self.near.told, ["made", ConnectionAborted])
        self.assertEqual(self.far.told, ["made", ConnectionLost])
        self.assertTrue(pusher.is_stopped)
        self.assertLess(len(self.far.data), 10_000_000)
        self.assert_nothing_left()

    def test_aborted_while_paused(self) -> None:
        """
        A reader that was paused hears of the abort, and is given nothing more.
        """
        self.open()
        self.far.stream.pauseProducing()
        self.near.stream.write(b"data")
        self.world.run(0.5)
        self.near.stream.abortConnection()
        self.world.run(0.5)
        self.far.stream.resumeProducing()
        self.world.run(0.5)
        self.assertEqual((self.far.data, self.far.told), (b"", ["made", ConnectionLost]))
        self.assert_nothing_left()

    def test_link_closed(self) -> None:
        """
        The end of the link is the end of its streams, with the reason.
        """
        self.open()
        self.near.stream.write(b"x")
        self.link.close("enough")
        self.world.run(5.0)
        self.assertEqual((self.near.told[1:], self.far.told[1:]), ([ConnectionLost],) * 2)
        self.near.stream.write(b"too late")
        self.near.stream.loseConnection()
        self.near.stream.abortConnection()
        self.near.stream.resumeProducing()
        self.world.run(5.0)
        self.assertEqual(self.near.told[1:], [ConnectionLost])

    def test_failing_protocol(self) -> None:
        """
        A protocol with a mistake in it loses its stream, and others theirs not.
        """

        class Failing(HalfCloseable):
            """
            Fails at one of its calls.
            """

            def __init__(self, at: str) -> None:
                super().__init__()
                self.at = at

            def fail_at(self, name: str) -> None:
                """
                Fail, if it is time to.
                """
                if name == self.at:
                    raise ZeroDivisionError(name)

            @override
            def connectionMade(self) -> None:
                """
                Perhaps fail.
                """
                super().connectionMade()
                self.fail_at("made")

            @override
            def dataReceived(self, data: bytes) -> None:
                """
                Perhaps fail.
                """
                self.fail_at("data")

            @override
            def readConnectionLost(self) -> None:
                """
                Perhaps fail.
                """
                self.fail_at("read lost")
                self.stream.loseConnection()

            @override
            def connectionLost(self, reason: Failure = connectionDone) -> None:
                """
                Perhaps fail.
                """
                super().connectionLost(reason)
                self.fail_at("lost")

        for at in ("made", "data", "read lost", "lost"):
            failing = Failing(at)
            self.open(far=failing)
            self.near.stream.write(b"data")
            self.near.stream.loseConnection()
            self.world.run(2.0)
            self.assertEqual(len(failing.told), 2, at)
            self.assertEqual(len(self.near.told), 2, at)
            self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1, at)
            self.assert_nothing_left()

    def test_failing_service(self) -> None:
        """
        A service that cannot even make its protocol refuses the stream.
        """

        def fail() -> Noting:
            raise ZeroDivisionError

        self.b.services["broken"] = fail
        near = Noting()
        waiting = self.link.open_stream("broken", near).when_accepted()
        self.world.run(1.0)
        self.assertIn("failed", str(self.failureResultOf(waiting, StreamRefusedError).value))
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertEqual(near.told, ["made", StreamRefusedError])
        self.assert_nothing_left()

    def test_refused_to_one_who_has_left(self) -> None:
        """
        One that asks for a service which is not there, and does not stay for
        the answer, does no harm to the link.
        """
        for service in ("nothing", "test"):
            self.b.services["test"] = Noting
            near = Noting()
            stream = self.link.open_stream(service, near)
            stream.write(b"data")
            stream.loseConnection()
            self.world.run(1.0)
            self.assertEqual(len(near.told), 2)
            self.assert_nothing_left()
            stream = self.link.open_stream(service, Noting())
            stream.write(b"data")
            stream.abortConnection()
            self.assert_nothing_left()


class CrowdTests(StreamCase):
    """
    More streams than the peer allows.
    """

    def test_limit(self) -> None:
        """
        One too many is an error of whoever opens it; the link and its streams
        stay, and there is room again when others have ended.
        """
        self.open()
        with self.assertRaises(LinkError) as caught:
            for _ in range(4_096):
                self.link.open_stream("nosuch", Noting())
        self.assertIn("too many", str(caught.exception))
        self.world.run(2.0)
        self.assertTrue(self.link.is_open)
        self.near.stream.write(b"still here")
        self.link.open_stream("nosuch", Noting())
        self.world.run(1.0)
        self.assertEqual(self.far.data, b"still here")
        self.near.stream.loseConnection()
        self.assert_nothing_left()


class HalfCloseTests(StreamCase):
    """
    One direction may end before the other.
    """

    def test_request_and_answer(self) -> None:
        """
        One side says all and then listens; the other answers after that.
        """
        self.open(HalfCloseable(), HalfCloseable())
        self.near.stream.write(b"question")
        self.near.stream.loseWriteConnection()
        self.near.stream.loseWriteConnection()
        self.near.stream.write(b"too late")
        self.world.run(0.5)
        self.assertEqual(self.near.told, ["made", "write lost"])
        self.assertEqual((self.far.data, self.far.told), (b"question", ["made", "read lost"]))
        self.far.stream.write(b"answer")
        self.far.stream.loseConnection()
        self.world.run(0.5)
        self.assertEqual(self.near.data, b"answer")
        self.assertEqual(self.near.told, ["made", "write lost", "read lost", ConnectionDone])
        self.assertEqual(self.far.told, ["made", "read lost", ConnectionDone])
        self.assert_nothing_left()

    def test_half_closed_from_both_sides(self) -> None:
        """
        When both directions have ended the stream has.
        """
        self.open(HalfCloseable(), HalfCloseable())
        self.near.stream.loseWriteConnection()
        self.world.run(0.5)
        self.far.stream.loseWriteConnection()
        self.world.run(0.5)
        self.assertEqual(self.near.told, ["made", "write lost", "read lost", ConnectionDone])
        self.assertEqual(self.far.told[:3], ["made", "read lost", "write lost"])
        self.assertEqual(self.far.told[3:], [ConnectionDone])
        self.assert_nothing_left()

    def test_other_side_knows_no_half_close(self) -> None:
        """
        A protocol that knows no half-close ends with the other's direction,
        after all that it has written was sent.
        """
        self.open(HalfCloseable(), Noting())
        self.far.stream.write(bytes(300_000))
        self.near.stream.loseWriteConnection()
        self.world.run(2.0)
        self.assertEqual(len(self.near.data), 300_000)
        self.assertEqual(self.near.told, ["made", "write lost", "read lost", ConnectionDone])
        self.assertEqual(self.far.told, ["made", ConnectionDone])
        self.assert_nothing_left()

    def test_end_waits_for_reader(self) -> None:
        """
        A reader that is paused is told of the end after it was given all.
        """
        self.open(far=HalfCloseable())
        self.far.stream.pauseProducing()
        self.near.stream.write(b"data")
        self.near.stream.loseWriteConnection()
        self.world.run(1.0)
        self.assertEqual((self.far.data, self.far.told), (b"", ["made"]))
        self.far.stream.resumeProducing()
        self.world.run(0.1)
        self.assertEqual((self.far.data, self.far.told), (b"data", ["made", "read lost"]))


class AcceptedTests(StreamCase):
    """
    Whoever opens a stream may wait for the answer.
    """

    def test_accepted(self) -> None:
        """
        Served: who waited before and who asks after are told.
        """
        self.b.services["test"] = Noting
        stream = self.link.open_stream("test", Noting())
        before, cancelled = stream.when_accepted(), stream.when_accepted()
        cancelled.cancel()
        self.failureResultOf(cancelled, CancelledError)
        self.assertNoResult(before)
        self.world.run(0.5)
        self.successResultOf(before)
        self.successResultOf(stream.when_accepted())

    def test_refused(self) -> None:
        """
        Refused: the reason reaches all that wait, and the protocol.
        """
        near = Noting()
        stream = self.link.open_stream("nothing", near)
        pusher = Pusher(stream, 1000)
        stream.registerProducer(pusher, True)
        pusher.resumeProducing()
        before = stream.when_accepted()
        self.world.run(0.5)
        for waiting in (before, stream.when_accepted()):
            self.failureResultOf(waiting, StreamRefusedError)
        self.assertEqual(near.told, ["made", StreamRefusedError])
        self.assertTrue(pusher.is_stopped)
        self.assert_nothing_left()

    def test_lost_before(self) -> None:
        """
        The link ends before there was an answer: that is the answer.
        """
        stream = self.link.open_stream("test", Noting())
        waiting = stream.when_accepted()
        self.link.close("enough")
        self.world.run(0.5)
        self.failureResultOf(waiting, ConnectionLost)
