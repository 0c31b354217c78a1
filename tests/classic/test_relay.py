"""
Tests for relays under the original's names.
"""

from __future__ import annotations

import json
from typing import Any

from twisted.internet.defer import CancelledError
from twisted.internet.protocol import Factory, Protocol
from typing_extensions import override

from atmosphere.classic.relay import (
    DEFAULT_RELAYS,
    RelayClient,
    RelayInfo,
    RelayServer,
    RelaySession,
    default_relay_url,
    find_best_relay,
    start_relay_server,
)
from atmosphere.errors import ConfigurationError, ListenError
from atmosphere.network.relay.frames import MAX_MESSAGE
from atmosphere.network.relay.session import is_session_id

from .world_case import RELAY, WorldCase


class Answers(Protocol):
    """
    Answers every request alike.
    """

    answer = b""

    @override
    def dataReceived(self, data: bytes) -> None:
        """
        Answer.
        """
        if self.transport is not None:
            self.transport.write(self.answer)
            if self.answer:
                self.transport.loseConnection()


class RelayCase(WorldCase):
    """
    A relay, and clients of it.
    """

    def client(self, number: int, session: str | None = "tea-time") -> RelayClient:
        """
        Make a client in a home of its own.
        """
        made = RelayClient(RELAY, session, world=self.home(number))
        self.closers.append(made.disconnect)
        return made

    def pair(self) -> tuple[RelayClient, RelayClient]:
        """
        Make two clients and connect them.
        """
        first, second = self.client(1), self.client(2)
        self.assertEqual(self.results(first.connect(), second.connect()), [True, True])
        return first, second


class ClientTests(RelayCase):
    """
    C{RelayClient}.
    """

    def test_talk(self) -> None:
        """
        Two in one session talk; what is sent before the other one comes waits for it.
        """
        self.serve()
        first, second = self.client(1), self.client(2)
        self.assertTrue(self.result(first.connect()))
        self.assertTrue(self.result(first.send(b"early")))
        self.network.advance(5)
        self.assertTrue(self.result(second.connect()))
        self.assertTrue(self.result(second.connect()))
        self.assertEqual(self.result(second.receive()), b"early")
        waiting = first.receive()
        self.assertTrue(self.result(second.send(bytes(MAX_MESSAGE))))
        self.assertEqual(self.result(waiting), bytes(MAX_MESSAGE))
        self.assertIsNone(self.result(first.receive(timeout=1)))

    def test_leave(self) -> None:
        """
        When one leaves, the other is told; what came can still be received, and
        both may come again.
        """
        self.serve()
        first, second = self.pair()
        self.result(first.send(b"last"))
        self.network.advance(1)
        waiting = first.receive()
        self.result(first.disconnect())
        self.assertIsNone(self.result(waiting))
        self.network.advance(1)
        self.assertFalse(second.is_connected)
        self.assertIn("the other one has left", second.error or "")
        self.assertEqual(self.result(second.receive()), b"last")
        self.assertIsNone(self.result(second.receive()))
        self.assertFalse(self.result(second.send(b"hello?")))
        self.assertEqual(self.results(first.connect(), second.connect()), [True, True])
        self.result(first.send(b"again"))
        self.assertEqual(self.result(second.receive()), b"again")

    def test_sessions(self) -> None:
        """
        Without a name a session has a random one; what is no name is refused.
        """
        first, second = self.client(1, None), self.client(2, None)
        self.assertTrue(is_session_id(first.session_id))
        self.assertEqual(len(first.session_id), 22)
        self.assertNotEqual(first.session_id, second.session_id)
        for url, session in ((RELAY, "a/b"), (RELAY, ""), ("relay", "a"), ("http://relay", "a")):
            with self.assertRaises(ConfigurationError):
                RelayClient(url, session, world=self.worlds[0])

    def test_not_connected(self) -> None:
        """
        Before and without a connection nothing is sent or received.
        """
        client = self.client(1)
        self.assertIsNone(self.result(client.receive()))
        self.assertFalse(self.result(client.send(b"hello")))
        self.assertFalse(self.result(client.connect(timeout=3)))
        self.assertIn("is the relay running there?", client.error or "")
        self.assertIsNone(self.result(client.receive()))
        self.failureResultOf(client.send(bytes(MAX_MESSAGE + 1)), ValueError)

    def test_silence(self) -> None:
        """
        Where nobody answers, not even by a refusal, C{timeout} is kept.
        """
        self.serve()
        self.network.cut(self.relay_host)
        client = self.client(1)
        self.assertLess(self.network.run_until(client.connect(timeout=2)), 2.1)
        self.assertFalse(client.is_connected)

    def test_connect_twice(self) -> None:
        """
        Who connects while it connects already does not take both places.
        """
        server = self.serve()
        client = self.client(1)
        first, second = client.connect(), client.connect()
        self.assertFalse(self.result(second))
        self.assertTrue(self.result(first))
        self.assertFalse(server.sessions[client.session_id].is_complete)

    def test_disconnect_early(self) -> None:
        """
        Who disconnects while it connects stays outside.
        """
        server = self.serve()
        client = self.client(1)
        connecting = client.connect()
        self.result(client.disconnect())
        self.assertFalse(self.result(connecting))
        self.assertIn("we left", client.error or "")
        self.network.advance(2)
        self.assertEqual((client.is_connected, server.sessions), (False, {}))

    def test_cancelled_early(self) -> None:
        """
        Cancelling is that too while the relay's name is looked up.
        """
        home = self.home(1)
        self.delay_names(home)
        client = RelayClient(RELAY, world=home)
        connecting = client.connect()
        connecting.cancel()
        self.failureResultOf(connecting, CancelledError)
        self.assertIsNone(self.result(client.receive()))
        self.network.advance(2)

    def test_back_pressure(self) -> None:
        """
        Who does not receive makes the other one wait; nothing is lost, and no memory filled.
        """
        self.serve()
        first, second = self.pair()
        sending = [first.send(number.to_bytes(4, "big") + bytes(60_000)) for number in range(100)]
        self.network.advance(5)
        self.assertFalse(sending[-1].called)
        assert second._inbox is not None
        self.assertLess(second._inbox._bytes, 600_000)
        got: list[int] = []
        while len(got) < 100:
            message = self.result(second.receive(timeout=30))
            assert message is not None
            got.append(int.from_bytes(message[:4], "big"))
        self.assertEqual(got, list(range(100)))
        self.assertEqual({self.successResultOf(each) for each in sending}, {True})

    def test_waiting_sends(self) -> None:
        """
        A message that waits can be taken back, and is not sent once the session is over.
        """
        self.serve()
        first, second = self.pair()
        sending = [first.send(bytes(60_000)) for number in range(100)]
        self.network.advance(2)
        sending[-1].cancel()
        self.failureResultOf(sending[-1], CancelledError)
        self.relay_host.kill()
        self.closers.pop(0)
        self.network.run_until(lambda: not first.is_connected)
        self.network.run_until(lambda: not second.is_connected)
        self.assertIs(self.successResultOf(sending[-2]), False)

    def test_cancelled(self) -> None:
        """
        A connection that is being made can be given up.
        """
        self.serve()
        client = self.client(1)
        connecting = client.connect()
        self.network.advance(0.01)
        connecting.cancel()
        self.network.run_until(connecting)
        self.failureResultOf(connecting, CancelledError)
        self.assertFalse(client.is_connected)


class ServerTests(RelayCase):
    """
    C{RelayServer}, C{RelaySession} and C{start_relay_server}.
    """

    def test_sessions(self) -> None:
        """
        The server shows its sessions: who is in them since when, and what they carried.
        """
        server = self.serve()
        self.assertEqual(server.sessions, {})
        first = self.client(1)
        self.result(first.connect())
        self.assertFalse(server.sessions["tea-time"].is_complete)
        self.network.advance(3)
        second = self.client(2)
        self.result(second.connect())
        self.result(first.send(b"hello"))
        self.result(second.receive())
        session = server.sessions["tea-time"]
        self.assertTrue(session.is_complete)
        self.assertTrue(session.peer_a.startswith("8.8.1.1:"))
        self.assertTrue(session.peer_b.startswith("8.8.2.1:"))
        self.assertEqual(session.get_other_peer(session.peer_a), session.peer_b)
        self.assertEqual(session.bytes_relayed, 5)
        self.assertAlmostEqual(self.worlds[0].wall() - session.created_at, 3, 0)
        self.result(second.disconnect())
        self.network.advance(1)
        self.assertEqual(server.sessions, {})

    def test_session(self) -> None:
        """
        A session has two places, and each peer one.
        """
        session = RelaySession("tea", world=self.home(1))
        self.assertEqual((session.bytes_relayed, session.is_complete), (0, False))
        self.assertGreater(session.created_at, 1_700_000_000)
        a, b, c = object(), object(), object()
        self.assertEqual([session.add_peer(each) for each in (a, a, b, c)], [True, False] * 2)
        self.assertTrue(session.is_complete)
        self.assertIs(session.get_other_peer(a), b)
        self.assertIs(session.get_other_peer(b), a)
        self.assertIsNone(session.get_other_peer(c))
        self.assertIsNone(session.get_other_peer(None))
        self.assertFalse(session.add_peer(None))
        half = RelaySession("tea", world=self.worlds[0])
        half.peer_b = b
        self.assertTrue(half.add_peer(a))
        self.assertIs(half.peer_a, a)

    def test_start(self) -> None:
        """
        Started by the function it serves; a port that is taken is named.
        """
        world = self.world(self.relay_host)
        server = self.result(start_relay_server("0.0.0.0", 8080, world=world))
        self.closers.append(server.stop)
        self.result(server.start())
        self.assertEqual((server.port, server.stun_port), (8080, 3478))
        self.failureResultOf(RelayServer("0.0.0.0", 8080, world=world).start(), ListenError)
        free = RelayServer(port=0, world=world)
        self.assertEqual(free.stun_port, 0)
        self.result(free.start())
        self.assertNotEqual(free.port, 0)
        self.result(free.stop())
        self.result(free.stop())
        self.assertEqual(free.sessions, {})


class BestRelayTests(RelayCase):
    """
    C{find_best_relay} and what serves by default.
    """

    def relay(self, name: str, number: int, latency: float) -> RelayInfo:
        """
        Start a relay at some distance.
        """
        host = self.network.host(name, f"8.8.70.{number}")
        self.network.set_link(host, latency=latency)
        server = RelayServer(world=self.world(host))
        self.result(server.start())
        self.closers.append(server.stop)
        return RelayInfo(f"ws://{name}:8080", "here")

    def other(self, name: str, number: int, answer: bytes) -> RelayInfo:
        """
        Start something that is no relay.
        """
        host = self.network.host(name, f"8.8.70.{number}")
        factory: Any = Factory.forProtocol(type("Fixed", (Answers,), {"answer": answer}))
        host.listenTCP(8080, factory)
        return RelayInfo(f"ws://{name}:8080", "there", latency_ms=0.1)

    def page(self, body: object) -> bytes:
        """
        Write an answer in JSON.
        """
        text = json.dumps(body)
        head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(text)}\r\nConnection: close\r\n\r\n"
        return (head + text).encode()

    def test_nearest(self) -> None:
        """
        The relay that answers soonest is chosen, by measurement and not by what was noted.
        """
        far, near = self.relay("far", 1, 0.2), self.relay("near", 2, 0.01)
        far.latency_ms = 0.1
        self.assertIs(self.result(find_best_relay([far, near], world=self.home(1))), near)
        assert near.latency_ms is not None and far.latency_ms is not None
        self.assertGreater(far.latency_ms, 400)
        self.assertLess(near.latency_ms, 100)

    def test_no_relays(self) -> None:
        """
        What is no relay, is silent, or sends without end is never chosen, and
        costs no more than a few seconds.
        """
        redirect = b"HTTP/1.1 302 Found\r\nLocation: http://near:8080/health\r\n\r\n"
        self.relay("near", 9, 0.001)
        others = [
            self.other("silent", 1, b""),
            self.other("endless", 2, b"HTTP/1.1 200 OK\r\n\r\n" + bytes(1_000_000)),
            self.other("draining", 3, self.page({"status": "draining"})),
            self.other("list", 4, self.page([1])),
            self.other("ssh", 5, b"SSH-2.0-OpenSSH\r\n"),
            self.other("moved", 6, redirect),
            RelayInfo("ws://nowhere:1", "nowhere", 5.0),
            RelayInfo("no url", "nowhere", 5.0),
        ]
        finding = find_best_relay(others, world=self.home(1))
        self.assertLess(self.network.run_until(finding), 11)
        self.assertIsNone(self.successResultOf(finding))
        self.assertEqual({each.latency_ms for each in others}, {None})

    def test_default(self) -> None:
        """
        Nobody is asked by default; those in the list are, once somebody puts them there.
        """
        home = self.home(1)
        trace = self.network.record()
        self.assertIsNone(self.result(find_best_relay(world=home)))
        self.assertEqual(trace, [])
        near = self.relay("near", 1, 0.01)
        DEFAULT_RELAYS.append(near)
        self.addCleanup(DEFAULT_RELAYS.clear)
        self.assertIs(self.result(find_best_relay(world=home)), near)

    def test_default_url(self) -> None:
        """
        C{ATMOSPHERE_RELAY_URL} comes before the list, and without either there is none.
        """
        self.assertIsNone(default_relay_url(self.home(1, ATMOSPHERE_RELAY_URL=" ")))
        DEFAULT_RELAYS.append(RelayInfo("ws://listed", "here"))
        self.addCleanup(DEFAULT_RELAYS.clear)
        self.assertEqual(default_relay_url(self.home(2)), "ws://listed")
        named = self.home(3, ATMOSPHERE_RELAY_URL="ws://named")
        self.assertEqual(default_relay_url(named), "ws://named")

    def test_cancelled(self) -> None:
        """
        Measuring can be given up.
        """
        finding = find_best_relay([self.other("silent", 1, b"")], world=self.home(1))
        self.network.advance(0.5)
        finding.cancel()
        self.network.run_until(finding)
        self.failureResultOf(finding, CancelledError)
