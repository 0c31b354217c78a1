"""
Tests for L{atmosphere.services.ping}.
"""

from __future__ import annotations

from twisted.internet.defer import TimeoutError as DeferredTimeoutError
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from typing_extensions import override

from atmosphere.errors import LinkError
from atmosphere.services.ping import PingClient, PingServer


class ClientTests(SynchronousTestCase):
    """
    What a client makes of the bytes that come back.
    """

    @override
    def setUp(self) -> None:
        """
        Connect a client to nothing.
        """
        self.clock = Clock()
        self.client = PingClient(self.clock, self.clock.seconds)
        self.transport = StringTransport()
        self.client.makeConnection(self.transport)

    def test_round_trip(self) -> None:
        """
        The reply's number says which ping it answers, in whatever pieces it comes.
        """
        first, second = self.client.ping(5), self.client.ping(5)
        sent = self.transport.value()
        self.assertEqual(sent, bytes(8) + bytes(7) + b"\x01")
        self.clock.advance(0.25)
        for octet in sent[8:]:
            self.client.dataReceived(bytes((octet,)))
        self.assertEqual(self.successResultOf(second), 0.25)
        self.assertNoResult(first)
        self.clock.advance(0.25)
        self.client.dataReceived(sent[:8] + sent[:8] + b"\xff" * 8)
        self.assertEqual(self.successResultOf(first), 0.5)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_no_reply(self) -> None:
        """
        A ping without a reply fails in time; a late reply does nothing.
        """
        waiting = self.client.ping(2)
        self.clock.advance(2)
        self.failureResultOf(waiting, DeferredTimeoutError)
        self.client.dataReceived(self.transport.value())

    def test_lost(self) -> None:
        """
        When the stream ends, nothing is waited for any longer.
        """
        waiting = [self.client.ping(2), self.client.ping(2)]
        self.client.connectionLost(Failure(ConnectionDone()))
        for each in [*waiting, self.client.ping(2)]:
            self.failureResultOf(each, ConnectionDone)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_not_connected(self) -> None:
        """
        A client without a stream says so.
        """
        waiting = PingClient(self.clock, self.clock.seconds).ping(2)
        self.failureResultOf(waiting, LinkError)
        self.assertEqual(self.clock.getDelayedCalls(), [])


class ServerTests(SynchronousTestCase):
    """
    What comes goes back.
    """

    def test_echo(self) -> None:
        """
        Every byte is returned, and reading waits for writing.
        """
        server, transport = PingServer(), StringTransport()
        server.makeConnection(transport)
        self.assertIs(transport.producer, transport)
        self.assertTrue(transport.streaming)
        server.dataReceived(b"one")
        server.dataReceived(b"two")
        self.assertEqual(transport.value(), b"onetwo")
