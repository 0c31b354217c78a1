"""
Tests of a relay's port against web pages, smugglers and floods of headers.
"""

from __future__ import annotations

from itertools import product

from atmosphere.network.relay.limits import RelayConfig, RelayLimits
from atmosphere.network.relay.port import is_foreign_page
from tests.network.relay.relay_case import RawClient, RelayCase, upgrade

ROUTES = ("/health", "/stats", "/relay", "/relay/abc", "/", "/other")


def request(path: str, **headers: str) -> bytes:
    """
    Write what a web page would make a browser send: a WebSocket handshake where one is
    served, a GET elsewhere.
    """
    if path.startswith("/relay"):
        return upgrade(path, **headers)
    lines = {"Host": "relay:8080", **headers}
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items() if value)
    return f"GET {path} HTTP/1.1\r\n{head}\r\n".encode("ascii")


class WebPageTests(RelayCase):
    """
    A page in a browser that can reach the relay.
    """

    def ask(self, path: str, **headers: str) -> RawClient:
        """
        Ask as a browser.
        """
        return self.raw(request(path, **headers))

    def test_origin(self) -> None:
        """
        Whatever has an Origin is refused on every route, with nothing told.
        """
        self.serve()
        for path, origin in product(ROUTES, ("http://evil.example", "null", "http://relay:8080")):
            client = self.ask(path, Origin=origin)
            self.assertEqual((path, client.status), (path, 403))
            self.assertEqual(client.rest, b"forbidden\n")
            self.assertNotIn(b"access-control", client.head.lower())
        self.stop()

    def test_rebound_name(self) -> None:
        """
        A name that an attacker made to mean this relay gets nothing from a relay that
        knows its own names; they and plain addresses do.
        """
        self.serve(names=("relay.example",))
        for path, host in product(ROUTES, ("evil.example", "evil.example:8080", "localhost")):
            self.assertEqual((path, self.ask(path, Host=host).status), (path, 421))
        served = {"/health": 200, "/stats": 200, "/": 404, "/other": 404}
        for (path, status), host in product(
            served.items(), ("relay.example", "192.0.2.1", "[2001:db8::1]:8080", "")
        ):
            self.assertEqual((path, self.ask(path, Host=host).status), (path, status))
        self.assertEqual(self.ask("/relay", Host="relay.example").status, 101)
        self.assertEqual(self.ask("/relay", Host="192.0.2.1").status, 421)
        self.stop()

    def test_rebound_to_loopback(self) -> None:
        """
        A relay for this machine alone is called by no foreign name.
        """
        config = RelayConfig(host="127.0.0.1")
        for host in ("evil.example", "evil.example:8080", "localhost.evil.example"):
            self.assertTrue(is_foreign_page(host, config), host)
        for host in ("localhost:8080", "127.0.0.1:8080", "[::1]", ""):
            self.assertFalse(is_foreign_page(host, config), host)
        self.assertFalse(is_foreign_page("any.example", RelayConfig()))


class SmugglingTests(RelayCase):
    """
    Requests that two readers could read differently, and more than one of them.
    """

    def test_ambiguous(self) -> None:
        """
        Each is refused, or answered once; what follows it is never a request.
        """
        server = self.serve()
        hidden = b"GET /stats HTTP/1.1\r\nHost: relay\r\n\r\n"
        heads = [
            b"Content-Length: 0\r\nTransfer-Encoding: chunked",
            b"Transfer-Encoding: xchunked",
            b"Transfer-Encoding:\x0bchunked",
            b"Transfer-Encoding : chunked",
            b" Transfer-Encoding: chunked",
            b"Content-Length: 5\r\nContent-Length: 6",
            b"Content-Length: +5",
            b"Content-Length: 0, 5",
            b"Content-Length: 00",
            b"X: y\n\nGET /stats HTTP/1.1",
            b"X: y\r Host: evil",
            b"X: y\r\n folded",
            b"X\x00: y",
            b"Host: relay",
            b"Upgrade: websocket\r\nContent-Length: 5",
        ]
        for head in heads:
            client = self.raw(
                b"GET /health HTTP/1.1\r\nHost: relay\r\n" + head + b"\r\n\r\n" + hidden
            )
            self.assertNotIn(b"total_sessions", client.rest, head)
            self.assertLessEqual(client.rest.count(b"timestamp"), 1)
            self.assertNotIn(b"HTTP/1.", client.rest)
            self.assertIsNotNone(client.lost, head)
        self.assertEqual(server.gate.total, 0)
        self.stop()

    def test_behind_an_upgrade(self) -> None:
        """
        A request behind a WebSocket handshake is WebSocket's, and ends it.
        """
        self.serve()
        client = self.raw(upgrade() + b"GET /stats HTTP/1.1\r\nHost: relay\r\n\r\n")
        self.assertEqual(client.status, 101)
        self.assertNotIn(b"total_sessions", b"".join(client.messages))
        self.network.advance(6)
        self.assertIsNotNone(client.lost)
        self.stop()

    def test_targets(self) -> None:
        """
        A target that is no plain path is refused.
        """
        self.serve()
        for target in (b"http://relay/stats", b"//relay/stats", b"*", b"relay:1", b"/st\xc3\xa4ts"):
            client = self.raw(b"GET " + target + b" HTTP/1.1\r\nHost: relay\r\n\r\n")
            self.assertIn(client.status, (400, 404), target)
        self.stop()


class FloodTests(RelayCase):
    """
    Headers without end, from one client and from many.
    """

    def test_one(self) -> None:
        """
        Of a head that never ends the relay keeps 8 KiB, then answers and hangs up.
        """
        server = self.serve()
        client = self.raw(b"GET /relay HTTP/1.1\r\n")
        for number in range(600):
            client.write(b"X-%d: %s\r\n" % (number, b"y" * 1_000))
            self.network.advance(0.01)
            [*fronts] = self.service._front.fronts
            self.assertLessEqual(sum(len(each._buffer) for each in fronts), 8_192 + 65_536)
            if client.lost is not None:
                break
        self.assertEqual(client.status, 431)
        self.assertEqual(server.gate.total, 0)
        self.stop()

    def test_many(self) -> None:
        """
        Clients that trickle their heads take the places of strangers for five seconds,
        and none of a node's.
        """
        server = self.serve(limits=RelayLimits(unproven=40))
        node = self.node(1)
        self.welcomed(node)
        clients = [self.raw(b"GET /", host=f"stranger{number % 4}") for number in range(60)]
        self.assertLessEqual(server.gate.unsettled, 40)
        for _ in range(6):
            for client in clients:
                if client.lost is None:
                    client.write(b"x")
            self.network.advance(1)
        self.assertEqual(server.gate.unsettled, 0)
        self.assertTrue(node.client.is_welcomed)
        self.assertEqual(self.get("/health").status, 200)
        self.stop()
