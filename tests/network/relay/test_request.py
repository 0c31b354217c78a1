"""
Tests for L{atmosphere.network.relay.request}: the head of an HTTP request.
"""

from hypothesis import given, settings, strategies as st
from twisted.trial.unittest import SynchronousTestCase

from atmosphere.errors import DecodeError
from atmosphere.network.relay.request import (
    check_response_head,
    decode_head,
    plain_response,
    websocket_head,
)

SETTINGS = settings(derandomize=True, max_examples=200, deadline=None)
pieces = st.sampled_from(
    [b"GET ", b"/", b"/relay", b" HTTP/1.1", b"\r\n", b"\n", b"Host: x", b": ", b"\x00", b"\xff"]
)


class HeadTests(SynchronousTestCase):
    """
    A good head gives its parts, one that is ambiguous is refused.
    """

    def test_a_head(self) -> None:
        """
        Method, path without query, and headers whatever their case.
        """
        head = decode_head(
            b"GET /relay/abc?x=1 HTTP/1.1\r\nHOST: relay:8080\r\nX-A: 1\r\nx-a:2 \r\n"
            b"Upgrade: h2c, WebSocket\r\n\r\n"
        )
        self.assertEqual((head.method, head.path), ("GET", "/relay/abc"))
        self.assertEqual(head.headers["host"], "relay:8080")
        self.assertEqual(head.headers["x-a"], "1, 2")
        self.assertTrue(head.wants_websocket)
        self.assertFalse(head.has_body)

    def test_bodies(self) -> None:
        """
        A length above zero, or a transfer encoding, announces a body.
        """
        for line, expected in [
            (b"Content-Length: 0", False),
            (b"Content-Length: 5", True),
            (b"Content-Length: 0x0", True),
            (b"Transfer-Encoding: chunked", True),
        ]:
            head = decode_head(b"GET / HTTP/1.1\r\n" + line + b"\r\n\r\n")
            self.assertEqual(head.has_body, expected)
            self.assertFalse(head.wants_websocket)

    def test_what_is_refused(self) -> None:
        """
        Everything that two readers could read differently is refused.
        """
        for head in (
            b"GET / HTTP/1.1\r\n",
            b"\r\n\r\n",
            b"GET /\r\n\r\n",
            b"GET / HTTP/2.0\r\n\r\n",
            b"GET  / HTTP/1.1\r\n\r\n",
            b"GET relay HTTP/1.1\r\n\r\n",
            b"GET http://relay/ HTTP/1.1\r\n\r\n",
            b"GET /\x00 HTTP/1.1\r\n\r\n",
            b"G(T / HTTP/1.1\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost : x\r\n\r\n",
            b"GET / HTTP/1.1\r\n Host: x\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: x\r\n y\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: x\nA: b\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n",
            b"GET / HTTP/1.1\r\nContent-Length: 0\r\ncontent-length: 5\r\n\r\n",
            b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 101 + b"\r\n",
        ):
            with self.assertRaises(DecodeError, msg=repr(head)):
                decode_head(head)

    @SETTINGS
    @given(st.one_of(st.binary(max_size=200), st.lists(pieces, max_size=20).map(b"".join)))
    def test_any_bytes(self, data: bytes) -> None:
        """
        Any bytes are a head or a DecodeError.
        """
        for each in (data, data + b"\r\n\r\n"):
            try:
                decode_head(each)
            except DecodeError:
                pass

    def test_a_response_says_nothing(self) -> None:
        """
        An answer to a bad request has a status and no more.
        """
        self.assertEqual(
            plain_response(404),
            b"HTTP/1.1 404 Not Found\r\nContent-Type: text/plain\r\nContent-Length: 10\r\n"
            b"Connection: close\r\n\r\nnot found\n",
        )

    def test_written_anew(self) -> None:
        """
        What Autobahn gets to see of a handshake is what one needs, and nothing else.
        """
        head = decode_head(
            b"GET /relay?x HTTP/1.1\r\nHost: relay\r\nUpgrade: x, websocket\r\n"
            b"Connection: keep-alive, Upgrade\r\nCookie: a\r\nSec-WebSocket-Key: k\r\n\r\n"
        )
        self.assertEqual(
            websocket_head(head),
            b"GET /relay HTTP/1.1\r\nUpgrade: websocket\r\nhost: relay\r\n"
            b"sec-websocket-key: k\r\nConnection: keep-alive, Upgrade\r\n\r\n",
        )
        self.assertNotIn(b"Connection", websocket_head(decode_head(b"GET / HTTP/1.1\r\n\r\n")))

    def test_responses(self) -> None:
        """
        A response's head is checked before anyone reads it.
        """
        check_response_head(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n")
        check_response_head(b"HTTP/1.0 404\r\n\r\n")
        for data in (
            b"",
            b"HTTP/1.1 200 OK\r\n",
            b"HTTP/1.1 999 X\r\n\r\n",
            b"ICY 200 OK\r\n\r\n",
            b"HTTP/1.1 200 \xc3\xa9\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nnone\r\n\r\n",
            b"HTTP/1.1 200 OK\r\n: none\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nA: \x00\r\n\r\n",
        ):
            with self.assertRaises(DecodeError, msg=repr(data)):
                check_response_head(data)
