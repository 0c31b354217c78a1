"""
Tests for L{atmosphere.network.relay.port}: what a stranger may say before anyone listens.
"""

import json

from atmosphere.network.relay.limits import RelayLimits

from .relay_case import RelayCase, upgrade


class PageTests(RelayCase):
    """
    The pages of a relay.
    """

    def test_health(self) -> None:
        """
        C{/health} says that all is well, how much is served, and the time.
        """
        self.serve()
        node = self.node(1)
        self.welcomed(node)
        page = self.get("/health?x=1")
        self.assertEqual(page.status, 200)
        facts = json.loads(page.rest)
        self.assertEqual((facts["status"], facts["sessions"]), ("ok", 1))
        self.assertAlmostEqual(facts["timestamp"], 1_800_000_000 + self.clock.seconds(), 0)
        self.assertIsNotNone(page.lost)
        self.service.server.drain(5)
        page = self.get("/health")
        self.assertEqual((page.status, json.loads(page.rest)["status"]), (503, "draining"))
        self.stop()

    def test_statistics(self) -> None:
        """
        C{/stats} counts, and names nobody.
        """
        self.serve()
        first, second = self.node(1), self.node(2)
        self.welcomed(first, second)
        first.client.send(second.node_id, [b"x" * 100])
        self.network.advance(1)
        page = self.get("/stats")
        facts = json.loads(page.rest)
        self.assertEqual(
            (facts["total_sessions"], facts["active_sessions"], facts["total_bytes_relayed"]),
            (2, 2, 135),
        )
        self.assertTrue(all(isinstance(fact, int) for fact in facts.values()))
        self.stop()

    def test_totals_outlive_sessions(self) -> None:
        """
        What was counted stays counted when sessions have ended and nodes have left.
        """
        self.serve()
        session = upgrade("/relay/session", Sec_WebSocket_Protocol="")
        first, second = self.raw(session), self.raw(session)
        first.send(b"x" * 1000)
        node, other = self.node(1), self.node(2)
        self.welcomed(node, other)
        node.client.send(other.node_id, [b"y" * 100])
        self.network.advance(1)
        facts = json.loads(self.get("/stats").rest)
        self.assertEqual((facts["total_sessions"], facts["active_sessions"]), (3, 3))
        relayed = facts["total_bytes_relayed"]
        self.assertGreaterEqual(relayed, 1100)
        second.transport.loseConnection()
        for each in (node, other):
            each.client.stopService()
        self.network.advance(10)
        facts = json.loads(self.get("/stats").rest)
        self.assertEqual((facts["total_sessions"], facts["active_sessions"]), (3, 0))
        self.assertEqual(facts["total_bytes_relayed"], relayed)
        health = json.loads(self.get("/health").rest)
        self.assertEqual(set(health), {"status", "sessions", "timestamp"})
        self.assertEqual((health["status"], health["sessions"]), ("ok", 0))
        self.stop()

    def test_everything_else(self) -> None:
        """
        Every other path has one and the same answer, without a word about who answers.
        """
        self.serve()
        pages = [self.get(path) for path in ("/", "/admin", "/health/x", "/%2e%2e/etc")]
        self.assertEqual({page.status for page in pages}, {404})
        self.assertEqual({page.rest for page in pages}, {b"not found\n"})
        for page in [*pages, self.get("/health"), self.raw(upgrade())]:
            self.assertNotIn(b"twisted", page.head.lower())
            self.assertNotIn(b"autobahn", page.head.lower())
        self.stop()

    def test_one_request(self) -> None:
        """
        A connection serves one request; what follows it is not read.
        """
        self.serve()
        request = b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: keep-alive\r\n\r\n"
        page = self.raw(request * 3)
        self.assertEqual(page.rest.count(b"timestamp"), 1)
        self.assertNotIn(b"HTTP/1.1", page.rest)
        self.assertIsNotNone(page.lost)
        self.stop()


class RefusalTests(RelayCase):
    """
    What is not for us is refused early.
    """

    def expect(self, status: int, request: bytes) -> None:
        """
        Expect a status and the end of the connection.
        """
        client = self.raw(request)
        self.assertEqual(client.status, status, request)
        self.network.advance(1)
        self.assertIsNotNone(client.lost)

    def test_requests(self) -> None:
        """
        Each kind of bad request has its status.
        """
        server = self.serve()
        for status, request in [
            (400, b"nonsense\r\n\r\n"),
            (400, b"\x16\x03\x01"),
            (400, b"GET /health HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"),
            (404, upgrade("/relay/a/b")),
            (404, upgrade("/relay/" + "x" * 65)),
            (403, upgrade(Origin="http://evil.example")),
            (403, upgrade("/relay/abc", Origin="null")),
            (405, b"POST /health HTTP/1.1\r\n\r\n"),
            (413, b"GET /health HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello"),
            (413, b"GET /health HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
            (426, upgrade(Upgrade="")),
            (431, b"GET /health HTTP/1.1\r\nX: " + b"x" * 8192),
            (431, b"GET /health HTTP/1.1\r\nX: " + b"x" * 8192 + b"\r\n\r\n"),
        ]:
            self.expect(status, request)
        self.assertEqual(server.counters.refused_requests, 13)
        self.stop()

    def test_what_autobahn_refuses(self) -> None:
        """
        A handshake that is no WebSocket handshake gets an answer, too.
        """
        self.serve()
        for status, request in [
            (400, upgrade(Sec_WebSocket_Protocol="")),
            (400, upgrade(Sec_WebSocket_Protocol="other")),
            (400, upgrade(Sec_WebSocket_Key="short")),
            (400, upgrade(Sec_WebSocket_Version="7")),
            (400, upgrade(Connection="close")),
        ]:
            self.expect(status, request)
        self.stop()

    def test_compression_is_not_negotiated(self) -> None:
        """
        A client that offers compression gets none.
        """
        self.serve()
        client = self.raw(upgrade(Sec_WebSocket_Extensions="permessage-deflate"))
        self.assertEqual(client.status, 101)
        self.assertNotIn(b"deflate", client.head)
        self.stop()

    def test_hosts(self) -> None:
        """
        A relay that knows its names serves these only, and pages at its address.
        """
        self.serve(names=("relay.example",))
        self.expect(421, upgrade())
        self.expect(421, upgrade(Host=""))
        self.assertEqual(self.raw(upgrade(Host="relay.example")).status, 101)
        self.assertEqual(self.get("/health").status, 421)
        for host in (b"relay.example", b"192.0.2.1:8080"):
            page = self.raw(b"GET /health HTTP/1.1\r\nHost: " + host + b"\r\n\r\n")
            self.assertEqual(page.status, 200)
        self.stop()

    def test_slow_request(self) -> None:
        """
        A request that is not complete after five seconds is cut, however it trickles.
        """
        server = self.serve()
        client = self.raw(b"GET /")
        for _ in range(4):
            client.write(b"x")
            self.network.advance(1)
        self.assertIsNone(client.lost)
        self.network.advance(1)
        self.assertIsNotNone(client.lost)
        self.assertEqual((client.head, server.counters.timed_out), (b"", 1))
        self.stop()


class ConnectionLimitTests(RelayCase):
    """
    So many connections, and no more.
    """

    def test_per_address(self) -> None:
        """
        One address has its limit, another is served.
        """
        server = self.serve(limits=RelayLimits(connections_per_address=2))
        first = self.raw(b"G")
        self.raw(b"G")
        third = self.raw(b"G")
        self.assertIsNotNone(third.lost)
        self.assertEqual(server.counters.refused_connections, 1)
        self.assertEqual(self.raw(upgrade(), host="other").status, 101)
        first.transport.loseConnection()
        self.network.advance(0.5)
        self.assertEqual(self.raw(upgrade()).status, 101)
        self.stop()

    def test_strangers_do_not_keep_nodes_out_for_ever(self) -> None:
        """
        Connections that never say who they are go after five seconds.
        """
        self.serve(limits=RelayLimits(unproven=3))
        for _ in range(3):
            self.raw(b"")
        self.assertIsNotNone(self.raw(upgrade()).lost)
        node = self.node(1)
        self.network.advance(20)
        self.assertTrue(node.client.is_welcomed)
        self.stop()

    def test_behind_a_proxy(self) -> None:
        """
        A proxy's word counts if it is configured, and clients behind it count apart.
        """
        self.serve(
            proxies=("198.51.100.1",),
            limits=RelayLimits(connections_per_address=1),
        )
        for address, status in [("203.0.113.1", 101), ("203.0.113.2", 101), ("203.0.113.1", 429)]:
            client = self.raw(upgrade(X_Forwarded_For=address), host="proxy")
            self.assertEqual(client.status, status)
        client = self.raw(upgrade(X_Forwarded_For="203.0.113.3"), host="no proxy")
        self.assertEqual(client.status, 101)
        client = self.raw(upgrade(X_Forwarded_For="203.0.113.4"), host="no proxy")
        self.assertIsNotNone(client.lost)
        self.stop()
