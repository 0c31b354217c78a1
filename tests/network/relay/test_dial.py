"""
Tests for L{atmosphere.network.relay.dial}: what a relay says is a stranger's word.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from autobahn.twisted.websocket import WebSocketServerFactory, WebSocketServerProtocol
from hypothesis import given, settings, strategies as st
from twisted.internet.protocol import Factory, Protocol
from twisted.trial.unittest import SynchronousTestCase
from typing_extensions import override

from atmosphere.addresses import TransportAddress
from atmosphere.network.relay.batches import encode_batches
from atmosphere.network.relay.frames import (
    Absent,
    Challenge,
    Drain,
    FrameType,
    Notice,
    Pong,
    Refused,
    Welcome,
)
from atmosphere.network.relay.streams import BatchedTimer

from .relay_case import Node, RelayCase
from .switchboard_case import make_key

WELCOME = Welcome(TransportAddress("198.51.100.1", 1), (), 0.0)


def is_lost(node: Node) -> bool:
    """
    Say whether a node's connection has ended.
    """
    return not node.client.is_welcomed


class FalseRelay(WebSocketServerProtocol):
    """
    A relay that says what a test wants.
    """

    transport: Any

    @override
    def onConnect(self, request: Any) -> str | None:
        """
        Agree on the subprotocol, or not.
        """
        subprotocol: str | None = self.factory.subprotocol
        return subprotocol

    @override
    def onOpen(self) -> None:
        """
        Say the first words.
        """
        self.factory.connections.append(self)
        self.heard: list[bytes] = []
        for message in self.factory.script:
            self.sendMessage(message, isBinary=True)

    @override
    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        """
        Keep what the client says.
        """
        self.heard.append(payload)


class HostileRelayTests(RelayCase):
    """
    What a relay says is a stranger's word.
    """

    def lie(self, *script: bytes, subprotocol: str | None = "atmosphere.relay.1") -> Node:
        """
        Start a relay that sends these messages to each client, and a client.
        """
        factory: Any = WebSocketServerFactory(protocols=["atmosphere.relay.1"], reactor=self.relay)
        factory.protocol = FalseRelay
        factory._batched_timer = BatchedTimer(self.relay)
        factory.script, factory.connections, factory.subprotocol = script, [], subprotocol
        self.false = factory
        self.relay.listenTCP(8080, factory, 50, "")
        node = self.node(1)
        self.network.advance(0.4)
        return node

    def test_not_our_subprotocol(self) -> None:
        """
        A WebSocket server that is no relay is left.
        """
        node = self.lie(subprotocol=None)
        self.assertIn("is not a relay of this kind", node.client.error or "")
        self.stop()

    def test_out_of_order(self) -> None:
        """
        Frames that are broken, or come when they must not, end the connection.
        """
        challenge, welcome = Challenge(b"n" * 32, 0.0).encode(), WELCOME.encode()
        [deliver] = encode_batches(FrameType.DELIVER, make_key(2).node_id.raw, [b"x"])
        [send] = encode_batches(FrameType.SEND, make_key(2).node_id.raw, [b"x"])
        for script in (
            [welcome],
            [deliver],
            [challenge, deliver],
            [challenge, challenge],
            [challenge, Absent(make_key(2).node_id).encode()],
            [challenge, welcome, welcome],
            [challenge, welcome, send],
            [challenge, welcome, b"\x11" + bytes(34)],
            [challenge, welcome, b""],
        ):
            node = self.lie(*script)
            self.assertIn("broke the protocol", node.client.error or "", script)
            self.assertFalse(node.client.is_welcomed)
            self.assertEqual(node.received, [])
            self.relay.kill()
            self.relay.restart()
            self.network.run_until(node.client.stopService())

    def test_unknown_frames(self) -> None:
        """
        Frames of later versions are ignored.
        """
        node = self.lie(Challenge(b"n" * 32, 0.0).encode(), b"\x7fnews", WELCOME.encode())
        self.assertTrue(node.client.is_welcomed)
        self.stop()

    def test_masked_or_too_long(self) -> None:
        """
        What is not WebSocket, and messages over the limit, end the connection.
        """
        for data in (b"\x82\x81abcdx", b"\x82\x7f" + bytes(5) + b"\xff\xff\xff", b"\x81\x01x"):
            node = self.lie()
            self.false.connections[0].transport.write(data)
            self.network.advance(0.4)
            self.assertIn("broke the protocol", node.client.error or "")
            self.relay.kill()
            self.relay.restart()
            self.network.run_until(node.client.stopService())

    def test_flood(self) -> None:
        """
        Frames without end, of relays or of WebSocket, end the connection.
        """
        for flood in (Pong(b"12345678").encode(), None):
            node = self.lie(Challenge(b"n" * 32, 0.0).encode(), WELCOME.encode())
            self.assertTrue(node.client.is_welcomed)
            for _ in range(3000):
                if flood is None:
                    self.false.connections[0].sendPing(b"x")
                else:
                    self.false.connections[0].sendMessage(flood, isBinary=True)
            self.network.run_until(partial(is_lost, node))
            self.assertIn("reason for", node.client.error or "")
            self.relay.kill()
            self.relay.restart()
            self.network.run_until(node.client.stopService())

    def test_no_welcome(self) -> None:
        """
        A relay that never lets us in is left after ten seconds.
        """
        node = self.lie(Challenge(b"n" * 32, 0.0).encode())
        self.network.advance(10)
        self.assertIn("did not welcome us in time", node.client.error or "")
        self.stop()

    def test_escaped(self) -> None:
        """
        What a relay says is shown without its control characters.
        """
        node = self.lie(Refused(9, "\x1b[31mred\n").encode())
        self.assertIn("\\x1b[31mred\\x0a", node.client.error or "")
        self.stop()

    def test_news(self) -> None:
        """
        A relay's notices and its word that it goes down are heard; pings are answered.
        """
        node = self.lie(
            Challenge(b"n" * 32, 0.0).encode(),
            WELCOME.encode(),
            Notice(1, "slow").encode(),
            Drain(30, ("wss://other",)).encode(),
            b"\x3012345678",
        )
        self.assertEqual(node.client.draining, Drain(30, ("wss://other",)))
        self.assertTrue(node.client.is_welcomed)
        self.assertIn(Pong(b"12345678").encode(), self.false.connections[0].heard)
        self.stop()

    def test_the_signature_is_for_this_relay(self) -> None:
        """
        The login names the authority that was dialled.
        """
        self.lie(Challenge(b"n" * 32, 0.0).encode())
        [hello] = self.false.connections[0].heard
        self.assertIn(b"relay:8080", hello)
        self.stop()

    def test_notices_do_not_fill_the_log(self) -> None:
        """
        Of a relay's notices the first ten are logged.
        """
        notices = [Notice(0, str(number)).encode() for number in range(50)]
        node = self.lie(Challenge(b"n" * 32, 0.0).encode(), WELCOME.encode(), *notices)
        [connection] = [node.client._connection]
        assert connection is not None
        self.assertEqual(connection._notices, 50)
        self.assertTrue(node.client.is_welcomed)
        self.stop()

    def test_parking_without_end(self) -> None:
        """
        A relay that parks us again and again is left: at each change we tell all peers
        where we can be reached, and they bear no flood of that.
        """
        flips = [Notice(2 + number % 2, "now").encode() for number in range(1_000)]
        node = self.lie(Challenge(b"n" * 32, 0.0).encode(), WELCOME.encode(), *flips)
        self.assertIn("parks us more often", node.client.error or "")
        self.assertLess(len(node.changes), 12)
        self.stop()

    def test_parked_twice(self) -> None:
        """
        Being told the same again is no change.
        """
        parked = [Notice(2, "now").encode()] * 50
        node = self.lie(Challenge(b"n" * 32, 0.0).encode(), WELCOME.encode(), *parked)
        self.assertEqual([welcomed for welcomed, _ in node.changes], [True, False])
        self.stop()

    def test_going_down_without_end(self) -> None:
        """
        A relay's first word that it goes down counts; more of them change nothing.
        """
        words = [Drain(number, ()).encode() for number in range(500)]
        node = self.lie(Challenge(b"n" * 32, 0.0).encode(), WELCOME.encode(), *words)
        self.assertEqual(node.client.draining, Drain(0, ()))
        self.assertEqual(len(node.changes), 2)
        self.stop()

    def test_a_relay_that_does_not_hang_up(self) -> None:
        """
        Leaving a relay that ignores it takes two seconds.
        """
        node = self.lie(Challenge(b"n" * 32, 0.0).encode(), WELCOME.encode())
        self.false.connections[0].dataReceived = lambda data: None
        done = node.client.stopService()
        self.assertLess(self.network.run_until(done), 2.2)
        self.stop()

    def test_a_relay_that_closes_and_talks_on(self) -> None:
        """
        A relay that says goodbye and stays is left.
        """
        node = self.lie(Challenge(b"n" * 32, 0.0).encode(), WELCOME.encode())
        false = self.false.connections[0]
        false.dropConnection = lambda abort=False: None
        false.transport.write(b"\x88\x02\x03\xe8")
        self.network.run_until(partial(is_lost, node), 3)
        self.stop()


class ScriptedServer(Protocol):
    """
    Answers a request with these bytes, and hangs up on request.
    """

    def __init__(self, answer: bytes) -> None:
        self.answer = answer

    @override
    def dataReceived(self, data: bytes) -> None:
        """
        Answer.
        """
        assert self.transport is not None
        self.transport.write(self.answer)
        self.answer = b""


class HandshakeTests(RelayCase):
    """
    What answers the opening handshake may be anything.
    """

    def answer(self, answer: bytes) -> str:
        """
        Let a client connect to something that gives this answer.

        @return: why the client left.
        """
        port: Any = self.relay.listenTCP(
            8080, Factory.forProtocol(lambda: ScriptedServer(answer)), 50, ""
        )
        node = self.node(1)
        self.network.run_until(lambda: node.client.error is not None)
        self.network.run_until(node.client.stopService())
        port.stopListening()
        self.network.advance(1)
        return node.client.error or ""

    def test_not_http(self) -> None:
        """
        Something that is not HTTP is left as such.
        """
        for answer in (
            b"SSH-2.0-OpenSSH\r\n\r\n",
            b"HTTP/1.1 101 Switching\r\nno header\r\n\r\n",
            b"HTTP/1.1 101 \xff\r\n\r\n",
            b"HTTP/1.1 101 Switching\r\nX: \xff\r\n\r\n",
        ):
            self.assertIn("does not speak HTTP", self.answer(answer))

    def test_header_without_end(self) -> None:
        """
        A response that does not end is cut at 8 KiB.
        """
        self.assertIn("does not speak HTTP", self.answer(b"HTTP/1.1 101 A\r\n" * 60_000))

    def test_other_servers(self) -> None:
        """
        A web server without a relay is told by its status.
        """
        self.assertIn("HTTP 502", self.answer(b"HTTP/1.1 502 Bad Gateway\r\n\r\n"))
        self.assertIn(
            "relay:8080", self.answer(b"HTTP/1.1 101 Switching\r\nUpgrade: other\r\n\r\n")
        )


class FuzzTests(SynchronousTestCase):
    """
    Whatever a relay sends, the client goes on.
    """

    @settings(derandomize=True, max_examples=200, deadline=None)
    @given(st.binary(max_size=120), st.booleans())
    def test_any_bytes(self, data: bytes, is_welcomed: bool) -> None:
        """
        Any bytes after the handshake end the connection or do nothing.
        """
        case = HostileRelayTests("lie")
        case.setUp()
        script = [Challenge(b"n" * 32, 0.0).encode(), WELCOME.encode()] if is_welcomed else []
        node = case.lie(*script)
        if case.false.connections:
            case.false.connections[0].transport.write(data)
        case.network.advance(0.3)
        case.network.run_until(node.client.stopService())
        self.assertEqual(case.host("node1").getDelayedCalls(), [])
