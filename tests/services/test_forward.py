"""
Tests for L{atmosphere.services.forward}: limits, and servers of all kinds.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import (
    ConnectionDone,
    ConnectionLost,
    ConnectionRefusedError,
    DNSLookupError,
)
from twisted.internet.interfaces import IProtocol, IProtocolFactory, IStreamClientEndpoint
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from typing_extensions import override
from zope.interface import implementer

from atmosphere.errors import ConfigurationError, LinkError, StreamRefusedError
from atmosphere.identity import NodeID, NodeKey
from atmosphere.services.first_words import ENOUGH, FirstWords
from atmosphere.services.forward import (
    MOST_OF_ONE,
    MOST_UNANSWERED,
    OPENS_AT_ONCE,
    Exposed,
    ForwardFactory,
    Room,
    target_endpoint,
)

PORTLAND, SEATTLE = (NodeKey(bytes((number,)) * 32).node_id for number in (1, 2))


class HalfTransport(StringTransport):
    """
    Ends by halves.

    @ivar halves: how often our direction was ended.
    """

    halves = 0

    def loseWriteConnection(self) -> None:
        """
        Note it.
        """
        self.halves += 1


@implementer(IStreamClientEndpoint)
class Target:
    """
    A server that answers when the test wants.

    @ivar waiting: who waits for it to accept.
    """

    def __init__(self) -> None:
        self.waiting: list[tuple[IProtocolFactory, Deferred[IProtocol]]] = []

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:  # noqa: N803
        """
        Wait.
        """
        connecting: Deferred[IProtocol] = Deferred()
        self.waiting.append((protocolFactory, connecting))
        return connecting

    def accept(self, transport: Any = None) -> Any:
        """
        Accept the oldest.

        @return: the transport.
        """
        factory, connecting = self.waiting.pop(0)
        protocol = factory.buildProtocol(None)  # type: ignore[arg-type]
        assert protocol is not None
        used = transport or HalfTransport()
        protocol.makeConnection(used)
        connecting.callback(protocol)
        return used

    def fail(self, error: Exception) -> None:
        """
        Refuse the oldest.
        """
        self.waiting.pop(0)[1].errback(error)


class ExposedTests(SynchronousTestCase):
    """
    A server that members reach.
    """

    @override
    def setUp(self) -> None:
        """
        Expose a server.
        """
        self.clock = Clock()
        self.target = Target()
        self.room = Room(2_000)
        self.exposed = Exposed(self.clock, "ssh", self.target, self.room)

    def accept(self, member: NodeID = PORTLAND) -> Deferred[IProtocol]:
        """
        Open a stream.
        """
        accepting = self.exposed.accept(member)
        self.addCleanup(self.give_up, accepting)
        return accepting

    @staticmethod
    def give_up(accepting: Deferred[IProtocol]) -> None:
        """
        Leave nothing waiting when the test is over.
        """
        accepting.addErrback(lambda failure: None)
        accepting.cancel()

    def joined(self, server: Any = None) -> tuple[Any, Any]:
        """
        Open a stream that the server accepts.

        @return: the server's transport and the member's.
        """
        accepting = self.accept()
        server = self.target.accept(server)
        protocol = self.successResultOf(accepting)
        member = HalfTransport()
        protocol.makeConnection(member)
        self.member: Any = protocol
        return server, member

    def test_bytes(self) -> None:
        """
        What comes on one side goes out on the other; the end of each does too.
        """
        server, member = self.joined()
        self.member.dataReceived(b"hello")
        server.producer.resumeProducing()
        self.assertEqual(server.value(), b"hello")
        self.assertEqual((server.producerState, member.producerState), ("producing",) * 2)
        self.member.readConnectionLost()
        self.assertEqual((server.halves, member.halves), (1, 0))
        self.assertEqual(self.exposed.open, 1)

    def test_no_halves(self) -> None:
        """
        A server whose transport has no halves, as with TLS, is left in peace
        until the member has gone.
        """
        server, _ = self.joined(StringTransport())
        self.member.readConnectionLost()
        self.assertFalse(server.disconnecting)
        self.member.connectionLost(Failure(ConnectionDone()))
        self.assertTrue(server.disconnecting)

    def test_back_pressure(self) -> None:
        """
        A side that takes no more stops the other one.
        """
        server, member = self.joined()
        server.producer.pauseProducing()
        self.assertEqual(member.producerState, "paused")
        server.producer.resumeProducing()
        self.assertEqual(member.producerState, "producing")
        member.producer.pauseProducing()
        self.assertEqual(server.producerState, "paused")

    def test_nobody_reads(self) -> None:
        """
        A member that reads no more does not keep what it sent from the server.
        """
        server, member = self.joined()
        member.producer.pauseProducing()
        member.producer.stopProducing()
        self.assertEqual((server.producerState, server.disconnecting), ("producing", False))
        self.member.writeConnectionLost()
        self.member.dataReceived(b"all the same")
        self.assertEqual(server.value(), b"all the same")

    def test_failures(self) -> None:
        """
        Each way to fail has its words, and leaves nothing behind.
        """
        for error, words in (
            (ConnectionRefusedError(), "its server refuses connections"),
            (DNSLookupError(), "its server is not reached"),
            (ZeroDivisionError(), "its server is not reached"),
        ):
            accepting = self.accept()
            self.target.fail(error)
            self.assertEqual(str(self.failureResultOf(accepting, StreamRefusedError).value), words)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        accepting = self.accept()
        self.clock.advance(10)
        self.assertEqual(
            str(self.failureResultOf(accepting, StreamRefusedError).value),
            "its server does not answer",
        )
        accepting = self.accept()
        accepting.cancel()
        self.failureResultOf(accepting, CancelledError)
        self.assertEqual((self.exposed.open, self.room.taken), (0, 0))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_turns(self) -> None:
        """
        One member's rush does not fill the server's queue, nor stand in
        another's way.
        """
        accepting = [self.accept() for _ in range(MOST_UNANSWERED + 5)]
        self.assertEqual(len(self.target.waiting), MOST_UNANSWERED)
        other = self.accept(SEATTLE)
        self.assertEqual(len(self.target.waiting), MOST_UNANSWERED + 1)
        while self.target.waiting:
            self.target.accept()
        for each in (*accepting, other):
            self.successResultOf(each)

    def refusal(self, member: NodeID = PORTLAND) -> str:
        """
        Open a stream that is refused.
        """
        with self.assertRaises(StreamRefusedError) as caught:
            self.accept(member)
        return str(caught.exception)

    def test_many(self) -> None:
        """
        There is an end to how many connections a member opens at once, a second,
        and has; others are not concerned.
        """
        count = min(MOST_OF_ONE, int(OPENS_AT_ONCE))
        for _ in range(count):
            self.accept()
            self.target.accept()
        self.assertIn("a second", self.refusal())
        self.clock.advance(1)
        self.assertIn("of yours", self.refusal())
        for _ in range(2_000 - count):
            self.accept(SEATTLE)
        self.clock.advance(0)
        self.assertEqual(self.refusal(SEATTLE), "too many connections are open")
        self.assertEqual(self.exposed.open, self.room.taken)

    def test_places_come_back(self) -> None:
        """
        A connection that is over makes room.
        """
        self.joined()
        self.assertEqual((self.exposed.open, self.room.taken), (1, 1))
        self.member.other.connectionLost(Failure(ConnectionLost()))
        self.assertEqual((self.exposed.open, self.room.taken), (0, 0))
        self.assertTrue(self.member.transport.disconnecting)
        self.clock.advance(60)
        self.accept(SEATTLE)  # and nothing is remembered of those who are gone
        self.assertEqual(self.exposed.open, 1)


class ForwardFactoryTests(SynchronousTestCase):
    """
    Clients of ours.
    """

    @override
    def setUp(self) -> None:
        """
        Make a factory whose streams open when the test wants.
        """
        self.opening: list[Deferred[IProtocol]] = []
        self.wanted: list[tuple[IProtocolFactory, FirstWords]] = []
        self.told: list[str | None] = []
        self.room = Room(MOST_OF_ONE + 1)
        self.factory = ForwardFactory(self.open, self.told.append, self.room)

    def open(self, factory: IProtocolFactory, first: FirstWords) -> Deferred[IProtocol]:
        """
        Wait.
        """
        self.opening.append(Deferred())
        self.wanted.append((factory, first))
        return self.opening[-1]

    def client(self) -> tuple[Any, StringTransport]:
        """
        Connect a client.
        """
        protocol: Any = self.factory.buildProtocol(None)
        transport = StringTransport()
        protocol.makeConnection(transport)
        return protocol, transport

    def accept(self) -> Any:
        """
        Open the stream of the only client.

        @return: the stream's transport.
        """
        (factory, first), stream = self.wanted[0], HalfTransport()
        protocol = factory.buildProtocol(None)  # type: ignore[arg-type]
        assert protocol is not None
        first.finish(stream)
        protocol.makeConnection(stream)
        self.opening[0].callback(protocol)
        return stream

    def test_waits(self) -> None:
        """
        Of a client no more is read until its stream is open than may go with the opening.
        """
        protocol, transport = self.client()
        self.assertEqual(transport.producerState, "producing")
        protocol.dataReceived(bytes(ENOUGH - 1))
        self.assertEqual(transport.producerState, "producing")
        protocol.dataReceived(b"1")
        self.assertEqual(transport.producerState, "paused")
        stream = self.accept()
        self.assertEqual(transport.producerState, "producing")
        self.assertEqual(stream.value(), bytes(ENOUGH - 1) + b"1")
        protocol.dataReceived(b"2")
        self.assertEqual(stream.value()[-2:], b"12")

    def test_all_said(self) -> None:
        """
        The end of what a client says is told after that, once the stream is open.
        """
        protocol, _ = self.client()
        protocol.dataReceived(b"all")
        protocol.readConnectionLost()
        stream = self.accept()
        self.assertEqual((stream.value(), stream.halves), (b"all", 1))

    def test_not_opened(self) -> None:
        """
        A client whose stream is not opened is cut off, and the reason is told.
        """
        _, transport = self.client()
        self.opening[0].errback(LinkError("portland is \x1b not reached"))
        self.assertTrue(transport.disconnected)
        _, transport = self.client()
        self.opening[1].errback(ZeroDivisionError())
        self.assertTrue(transport.disconnected)
        self.assertEqual(
            self.told,
            ["portland is \\x1b not reached", "an error inside the node: its log says more"],
        )
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_client_gone(self) -> None:
        """
        A client that goes cancels its stream; nobody is told.
        """
        protocol, _ = self.client()
        protocol.connectionLost(Failure(ConnectionLost()))
        self.assertEqual((self.told, self.factory.open, self.room.taken), ([], 0, 0))

    def test_room(self) -> None:
        """
        There is an end to the clients.
        """
        for _ in range(MOST_OF_ONE):
            self.client()
        self.assertIsNone(self.factory.buildProtocol(None))
        self.assertEqual(self.told, ["too many connections are open"])
        another = ForwardFactory(self.open, self.told.append, self.room)
        self.assertIsNotNone(another.buildProtocol(None))
        self.assertIsNone(another.buildProtocol(None))


class TargetTests(SynchronousTestCase):
    """
    L{target_endpoint}.
    """

    def test_strings(self) -> None:
        """
        A port is short for one of this machine; what is nothing is said to be.
        """
        for text in ("22", "tcp:127.0.0.1:22", "unix:/run/app.sock"):
            self.assertTrue(IStreamClientEndpoint.providedBy(target_endpoint(object(), text)))
        for text in ("", "127.0.0.1:22", "tcp:127.0.0.1", "carrier:pigeon", "²²"):
            with self.assertRaises(ConfigurationError):
                target_endpoint(object(), text)
