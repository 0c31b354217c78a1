"""
Tests for L{atmosphere.network.relay.client}: a node stays connected, whatever its relay does.
"""

from __future__ import annotations

from itertools import pairwise

from twisted.internet.protocol import Factory, Protocol
from typing_extensions import override

from atmosphere.addresses import TransportAddress
from atmosphere.errors import ConfigurationError, RelayError
from atmosphere.network.relay.frames import (
    HelloCredentials,
    Welcome,
)

from .relay_case import Node, RelayCase
from .switchboard_case import make_key

WELCOME = Welcome(TransportAddress("198.51.100.1", 1), (), 0.0)


class ClientTests(RelayCase):
    """
    A client of a good relay.
    """

    def test_datagrams(self) -> None:
        """
        Datagrams come to the other node in order, with their source.
        """
        self.serve()
        first, second = self.node(1), self.node(2)
        self.welcomed(first, second)
        datagrams = [bytes([number]) * 1200 for number in range(100)] + [b"end"]
        first.client.send(second.node_id, datagrams)
        self.network.advance(1)
        self.assertEqual([each for _, batch in second.received for each in batch], datagrams)
        self.assertEqual({node for node, _ in second.received}, {first.node_id})
        assert first.client.welcome is not None
        self.assertEqual(first.client.welcome.observed.host, "198.51.100.1")
        self.assertEqual(first.changes, [(True, None)])
        self.assertAlmostEqual(first.client.clock_offset or 1, 0, 1)
        self.stop()

    def test_before_the_welcome(self) -> None:
        """
        Datagrams for which there is no connection are lost, without a sound.
        """
        node = self.node(1)
        node.client.send(make_key(2).node_id, [b"x"])
        self.assertFalse(node.client.is_welcomed)
        self.assertEqual((node.client.rtt, node.client.dropped), (None, 0))
        self.stop()

    def test_a_receiver_that_fails(self) -> None:
        """
        An error in what takes the datagrams is logged, and the connection goes on.
        """
        self.serve()
        first, second = self.node(1), self.node(2)
        self.welcomed(first, second)

        def fail(*args: object) -> None:
            raise KeyError("no reason")

        second.client._on_datagrams = fail
        first.client.send(second.node_id, [b"x"])
        self.network.advance(1)
        self.assertEqual(len(self.flushLoggedErrors(KeyError)), 1)
        self.assertTrue(second.client.is_welcomed)
        self.stop()

    def test_expelled(self) -> None:
        """
        A member that was revoked is told so at once.
        """
        server = self.serve()
        node = self.node(1)
        self.welcomed(node)
        self.refused.add(node.node_id)
        server.expel(node.node_id, "revoked")
        self.network.advance(0.3)
        self.assertIn("revoked", node.client.error or "")
        self.assertFalse(node.client.is_welcomed)
        self.stop()

    def test_absent(self) -> None:
        """
        The client tells of nodes that the relay does not have.
        """
        self.serve()
        node = self.node(1)
        self.welcomed(node)
        node.client.send(make_key(2).node_id, [b"x"])
        self.network.advance(1)
        self.assertEqual(node.absent, [make_key(2).node_id])
        self.stop()

    def test_round_trip_time(self) -> None:
        """
        The round-trip time is known soon after the welcome, and stays measured.
        """
        self.serve()
        self.network.set_link(self.host("node1"), latency=0.05)
        node = self.node(1)
        self.welcomed(node)
        self.network.advance(0.5)
        self.assertAlmostEqual(node.client.rtt or 0, 0.12, 1)
        self.network.set_link(self.host("node1"), latency=0.2)
        self.network.advance(16)
        self.assertAlmostEqual(node.client.rtt or 0, 0.42, 1)
        self.stop()

    def test_ipv6_and_paths(self) -> None:
        """
        The URL may hold an IPv6 address and end with a slash.
        """
        self.relay = self.network.host("relay6", "2001:db8::1")
        self.serve(host="::")
        host = self.network.host("six", "2001:db8::6")
        node = Node(host, 1, "ws://[2001:db8::1]:8080/")
        node.client.startService()
        self.services.append(node.client)
        self.welcomed(node)
        assert node.client.welcome is not None
        self.assertEqual(node.client.welcome.observed.host, "2001:db8::6")
        self.stop()

    def test_bad_url(self) -> None:
        """
        A URL that cannot be meant is refused at once.
        """
        with self.assertRaises(ConfigurationError):
            Node(self.host("node1"), 1, "http://relay")

    def test_credentials_are_asked_for_each_time(self) -> None:
        """
        What the node shows is asked for at each login, so that it may be renewed.
        """
        asked = []

        def hello() -> HelloCredentials:
            asked.append(1)
            return HelloCredentials("mesh-a", b"chain")

        self.serve()
        node = self.node(1, hello=hello)
        self.welcomed(node)
        self.relay.kill()
        self.relay.restart()
        self.services.clear()
        self.services.append(node.client)
        self.serve()
        self.network.run_until(lambda: len(asked) > 1)
        self.welcomed(node)
        self.stop()

    def test_waiting_for_the_welcome(self) -> None:
        """
        Who waits is told at the welcome, at once if it was, and if it never comes.
        """
        self.serve()
        node = self.node(1)
        early, given_up = node.client.when_welcomed(), node.client.when_welcomed()
        given_up.cancel()
        self.failureResultOf(given_up)
        self.welcomed(node)
        self.assertIs(self.successResultOf(early), node.client.welcome)
        self.assertIs(self.successResultOf(node.client.when_welcomed()), node.client.welcome)
        lost = self.node(2, "ws://nowhere")
        never = lost.client.when_welcomed()
        self.stop()
        self.failureResultOf(never, RelayError)

    def test_stop_and_start_again(self) -> None:
        """
        A service that was stopped can be started again.
        """
        self.serve()
        node = self.node(1)
        self.welcomed(node)
        done = node.client.stopService()
        self.assertNoResult(done)
        self.network.run_until(done)
        self.assertIsNone(node.client.welcome)
        node.client.startService()
        self.welcomed(node)
        self.stop()

    def test_stop_while_connecting(self) -> None:
        """
        Stopping in the midst of connecting leaves nothing behind.
        """
        self.serve()
        for delay in (0.0, 0.011, 0.03, 0.05):
            node = self.node(1)
            self.network.advance(delay)
            done = node.client.stopService()
            self.network.run_until(done)
            self.network.advance(2)
            self.assertEqual(self.host("node1").getDelayedCalls(), [])
        self.stop()

    def test_too_fast(self) -> None:
        """
        What the network does not carry away in time is dropped, not piled up.
        """
        self.serve()
        first, second = self.node(1), self.node(2)
        self.welcomed(first, second)
        for _ in range(100):
            first.client.send(second.node_id, [bytes(1200)] * 50)
        self.assertGreater(first.client.dropped, 50)
        self.network.advance(5)
        self.assertGreater(len(second.received), 1)
        self.stop()


class ReconnectionTests(RelayCase):
    """
    A client never gives up, and never hurries.
    """

    def test_back_off(self) -> None:
        """
        Attempts come at growing distances, up to four seconds, and after ten minutes up to sixty.
        """
        attempts: list[float] = []
        clock = self.clock

        class Attempt(Protocol):
            """
            A port that hangs up.
            """

            @override
            def connectionMade(self) -> None:
                """
                Note the time.
                """
                attempts.append(clock.seconds())
                assert self.transport is not None
                self.transport.loseConnection()

        self.relay.listenTCP(8080, Factory.forProtocol(Attempt), 50, "")
        self.node(1)
        self.network.advance(1800)
        gaps = [after - before for before, after in pairwise(attempts)]
        for gap, full in zip(gaps, [0.5, 1, 2, 4, 4, 4, 4, 4], strict=False):
            self.assertTrue(full / 2 <= gap - 0.05 <= full + 0.1, (gap, full))
        self.assertTrue(all(gap >= 29 for gap in gaps[-5:]))
        self.assertTrue(all(gap <= 60.2 for gap in gaps))
        self.stop()

    def test_relay_comes_back(self) -> None:
        """
        After an outage of minutes a client is back within five seconds.
        """
        self.serve()
        node = self.node(1)
        self.welcomed(node)
        self.relay.kill()
        self.services.remove(self.service)
        self.network.advance(300)
        self.assertFalse(node.client.is_welcomed)
        self.assertIn("refuses", node.client.error or "")
        self.relay.restart()
        self.serve()
        self.assertLess(self.network.run_until(lambda: node.client.is_welcomed), 4.5)
        self.assertIsNone(node.client.error)
        self.stop()

    def test_relay_vanishes(self) -> None:
        """
        A relay whose machine is cut off is noticed by its silence.
        """
        self.serve()
        node = self.node(1)
        self.welcomed(node)
        self.network.cut(self.relay)
        self.network.advance(61)
        self.assertFalse(node.client.is_welcomed)
        self.network.heal()
        self.network.run_until(lambda: node.client.is_welcomed)
        self.stop()

    def test_graceful_end(self) -> None:
        """
        A relay that is stopped says so, and the client says it on.
        """
        self.serve()
        node = self.node(1)
        self.welcomed(node)
        done = self.service.stopService()
        self.network.run_until(done)
        self.network.run_until(lambda: not node.client.is_welcomed)
        self.assertIn("the relay goes down", node.client.error or "")
        self.stop()

    def test_replaced(self) -> None:
        """
        A client that was replaced by another with its key waits five seconds at least.
        """
        self.serve()
        first = self.node(1)
        self.welcomed(first)
        second = Node(self.host("other"), 1, "ws://relay:8080")
        second.client.startService()
        self.services.append(second.client)
        self.welcomed(second)
        self.network.run_until(lambda: not first.client.is_welcomed)
        self.assertIn("newer connection", first.client.error or "")
        self.assertGreaterEqual(self.network.run_until(lambda: first.client.is_welcomed), 5)
        self.stop()

    def test_copied_key(self) -> None:
        """
        Two clients with one key end parked, say so, and the last one is served again.
        """
        self.serve()
        first = self.node(1)
        second = Node(self.host("other"), 1, "ws://relay:8080")
        second.client.startService()
        self.services.append(second.client)
        self.network.run_until(
            lambda: all("another process" in (node.client.error or "") for node in (first, second))
        )
        self.network.advance(100)
        self.assertFalse(first.client.is_welcomed or second.client.is_welcomed)
        self.network.run_until(second.client.stopService())
        self.network.run_until(lambda: first.client.is_welcomed)
        self.assertIsNone(first.client.error)
        self.stop()


class ErrorTests(RelayCase):
    """
    Why there is no connection is said in one line.
    """

    def expect(self, words: str, url: str = "ws://relay:8080", seconds: float = 30) -> None:
        """
        Expect words in a client's error, that it is told once, and that it goes on trying.
        """
        node = self.node(1, url)
        self.network.run_until(lambda: node.client.error is not None, seconds)
        self.assertIn(words, node.client.error or "")
        self.network.advance(30)
        self.assertEqual(len(node.changes), 1)
        self.stop()

    def test_refused(self) -> None:
        """
        No relay listens.
        """
        self.expect("relay:8080 refuses connections")

    def test_no_such_name(self) -> None:
        """
        The name means nothing.
        """
        self.expect("nowhere: no address is known", "ws://nowhere")

    def test_no_answer(self) -> None:
        """
        Nothing comes back at all.
        """
        self.network.cut(self.relay)
        self.expect("does not answer")

    def test_wrong_path(self) -> None:
        """
        There is a server, but no relay at that path.
        """
        self.serve()
        self.expect("HTTP 404", "ws://relay:8080/elsewhere")

    def test_silent_server(self) -> None:
        """
        Something listens and says nothing.
        """
        self.relay.listenTCP(8080, Factory.forProtocol(Protocol), 50, "")
        self.expect("accepts connections but does not answer")

    def test_not_admitted(self) -> None:
        """
        The relay does not want us.
        """
        self.serve()
        self.refused.add(make_key(1).node_id)
        self.expect("it refused us: no member")

    def test_clock_of_one_that_refuses(self) -> None:
        """
        A relay that refuses us has told the time, which may be the very reason.
        """
        self.serve()
        node = self.node(1)
        self.refused.add(node.node_id)
        self.assertIsNone(node.client.clock_offset)
        self.network.run_until(lambda: node.client.error is not None, 5)
        assert node.client.clock_offset is not None
        self.assertAlmostEqual(node.client.clock_offset, 0, 1)
        self.stop()
