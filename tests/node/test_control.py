"""
Tests for L{atmosphere.node.control}: the local API over memory transports.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
from pathlib import Path

from twisted.internet import reactor  # noqa: TID251, real sockets are the point here
from twisted.internet.address import UNIXAddress
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase, TestCase
from typing_extensions import override

from atmosphere.errors import ListenError
from atmosphere.node.api import JSON
from atmosphere.node.control import ControlChannel, ControlFactory, ControlService

from .fake_node import FakeNode

OWNER = 1000


class FarTransport(StringTransport):
    """
    A transport that can be aborted, and says who is on its other end.
    """

    user: int | None = OWNER


class ControlTests(SynchronousTestCase):
    """
    Requests as bytes, answers as bytes.
    """

    @override
    def setUp(self) -> None:
        self.clock = Clock()
        self.node = FakeNode()
        self.factory = ControlFactory(
            self.clock,
            self.node,
            owner=OWNER,
            peer_user=lambda transport: getattr(transport, "user", None),
        )

    def connect(self, user: int | None = OWNER) -> tuple[ControlChannel, FarTransport]:
        """
        Open a connection.
        """
        channel = self.factory.buildProtocol(UNIXAddress(b"control.sock"))
        transport = FarTransport()
        transport.user = user
        channel.makeConnection(transport)
        return channel, transport

    def send(self, request: bytes) -> tuple[ControlChannel, FarTransport]:
        """
        Open a connection and send bytes.
        """
        channel, transport = self.connect()
        channel.dataReceived(request)
        return channel, transport

    def ask(
        self, method: str, path: str, body: bytes = b"", headers: str = "Host: localhost\r\n"
    ) -> tuple[int, JSON]:
        """
        Make a request and read its status and JSON.
        """
        head = f"{method} {path} HTTP/1.1\r\n{headers}Content-Length: {len(body)}\r\n\r\n"
        channel, transport = self.send(head.encode("ascii") + body)
        answer_head, _, answer = transport.value().partition(b"\r\n\r\n")
        self.assertIn(b"connection: close", answer_head.lower())
        self.assertTrue(transport.disconnecting)
        channel.connectionLost(Failure(ConnectionResetError()))
        return int(answer_head.split()[1]), json.loads(answer)

    def test_status(self) -> None:
        """
        A reading request is answered with one JSON object with a version.
        """
        status, answer = self.ask("GET", "/v1/status")
        self.assertEqual((status, answer["version"], answer["name"]), (200, 1, "portland"))

    def test_defaults(self) -> None:
        """
        What is not said in a request has the documented default.
        """
        self.assertEqual(self.ask("POST", "/v1/invite")[0], 200)
        self.assertEqual(self.node.calls, [("invite", 24.0, 1, None)])

    def test_refusal(self) -> None:
        """
        A failure says in one line what it is and how the command ends.
        """
        answer = self.ask("POST", "/v1/join", b'{"code":"atm1-x"}')
        self.assertEqual(
            answer, (403, {"version": 1, "error": "the code was used", "exit_code": 4})
        )

    def test_fault(self) -> None:
        """
        A mistake of ours is logged; the client learns only that there was one.
        """
        self.node.mistake = ZeroDivisionError("a mistake")
        status, answer = self.ask("GET", "/v1/peers")
        self.assertEqual((status, answer["exit_code"]), (409, 1))
        self.assertNotIn("mistake", answer["error"])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_get_changes_nothing(self) -> None:
        """
        Whatever changes something refuses GET.
        """
        for path in ("join", "leave", "invite", "ping", "invitations/revoke"):
            status, answer = self.ask("GET", f"/v1/{path}", b'{"code":"x","peer":"x"}')
            self.assertEqual((status, answer["exit_code"]), (400, 2), path)
        self.assertEqual(self.node.calls, [])

    def test_web_page(self) -> None:
        """
        A request with another Host, none, or an Origin is refused.
        """
        for headers in ("", "Host: evil.example\r\n", "Host: localhost\r\nOrigin: null\r\n"):
            self.assertEqual(self.ask("POST", "/v1/leave", headers=headers)[0], 400, headers)
        self.assertEqual(self.node.calls, [])

    def test_bad_bodies(self) -> None:
        """
        A body that is not exactly what the request takes is refused by name.
        """
        bodies = [
            b"[]",
            b"{",
            b"\xff",
            b'{"peer":"a","peer":"b"}',
            b'{"peer":"a","count":NaN}',
            b'{"peer":"a","timeout":1e999}',
            b'{"peer":"a","count":1.0}',
            b'{"peer":"a","count":true}',
            b'{"peer":"a","count":-1}',
            b'{"peer":"a","until_direct":1}',
            b'{"peer":"a","more":1}',
            b'{"peer":""}',
            b'{"peer":7}',
            b"{}",
            b'{"peer":' + b"[" * 9 + b"]" * 9 + b"}",
            b'{"peer":' + b"[" * 30000,
        ]
        for body in bodies:
            status, answer = self.ask("POST", "/v1/ping", body)
            self.assertEqual((status, answer["exit_code"]), (400, 2), body[:40])
        self.assertEqual(self.node.calls, [])

    def test_no_such_resource(self) -> None:
        """
        An unknown path is refused.
        """
        self.assertEqual(self.ask("GET", "/v1/env")[0], 400)

    def test_stream(self) -> None:
        """
        Each reply of a ping is sent when it comes, the summary last.
        """
        body = b'{"peer":"portland","count":2,"until_direct":true}'
        head = b"POST /v1/ping HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n"
        _, transport = self.send(head % len(body) + body)
        self.assertEqual(self.node.calls, [("ping", "portland", 2, 1.0, 10.0, True, "auto")])
        self.node.emit({"seq": 1})
        self.assertIn(b'{"seq":1}\n', transport.value())
        self.assertFalse(transport.disconnecting)
        self.node.pinging.callback({"sent": 1})
        self.assertIn(b'{"version":1,"sent":1}\n', transport.value())
        self.assertTrue(transport.disconnecting)

    def test_hang_up(self) -> None:
        """
        A client that hangs up cancels what it asked for.
        """
        cancelled: list[Deferred[JSON]] = []
        self.node.pinging = Deferred(cancelled.append)
        body = b'{"peer":"portland"}'
        head = b"POST /v1/ping HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n"
        channel, _ = self.send(head % len(body) + body)
        channel.connectionLost(Failure(ConnectionResetError()))
        self.assertEqual(cancelled, [self.node.pinging])
        self.node.emit({"seq": 1})
        self.assertEqual(self.factory.clients, 0)

    def test_another_user(self) -> None:
        """
        Other users are cut off without a word; root is let in.
        """
        _, transport = self.connect(OWNER + 1)
        self.assertEqual((transport.value(), transport.disconnecting), (b"", True))
        _, transport = self.connect(0)
        self.assertFalse(transport.disconnecting)

    def test_too_many(self) -> None:
        """
        The ninth client is told to come again, and may once another left.
        """
        channels = [self.connect()[0] for _ in range(8)]
        _, transport = self.connect()
        self.assertTrue(transport.value().startswith(b"HTTP/1.1 503 "))
        self.assertTrue(transport.disconnecting)
        channels[0].connectionLost(Failure(ConnectionResetError()))
        _, transport = self.connect()
        self.assertFalse(transport.disconnecting)

    def test_too_long(self) -> None:
        """
        A request without an end is cut off at its limit.
        """
        head = b"POST /v1/join HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
        channel, transport = self.send(head)
        for _ in range(100):
            channel.dataReceived(b"400\r\n" + b"x" * 1024 + b"\r\n")
        self.assertTrue(transport.value().startswith(b"HTTP/1.1 413 "))
        self.assertTrue(transport.disconnecting)

    def test_slow(self) -> None:
        """
        A request that has not arrived after 10 s is cut off, however often a
        byte of it comes.
        """
        channel, transport = self.send(b"GET /v1/status HTTP/1.1\r\n")
        for _ in range(11):
            channel.dataReceived(b"X: y\r\n")
            self.clock.advance(1)
        self.assertTrue(transport.disconnecting)
        channel.connectionLost(Failure(ConnectionResetError()))
        self.assertEqual(self.clock.getDelayedCalls(), [])


class SocketTests(TestCase):
    """
    The socket in the state directory.
    """

    timeout = 10

    @override
    def setUp(self) -> None:
        self.directory = Path(self.mktemp())
        self.directory.mkdir()
        self.path = self.directory / "control.sock"

    def service(self, path: Path) -> ControlService:
        """
        Make a service on the real reactor, which binds without being run.
        """
        made = ControlService(reactor, path, FakeNode())  # type: ignore[arg-type]
        self.addCleanup(made.stopService)
        return made

    def test_mode(self) -> None:
        """
        Only the owner may open the socket.
        """
        self.service(self.path).startService()
        self.assertEqual(os.stat(self.path).st_mode & 0o777, 0o600)

    def test_live_socket(self) -> None:
        """
        A socket on which another node answers is left alone.
        """
        self.service(self.path).startService()
        with self.assertRaises(ListenError) as caught:
            self.service(self.path).startService()
        self.assertIn("another node", str(caught.exception))
        self.assertTrue(self.path.exists())

    def test_stale_socket(self) -> None:
        """
        The socket of a node that was killed is replaced.
        """
        with socket.socket(socket.AF_UNIX) as dead:
            dead.bind(str(self.path))
        self.service(self.path).startService()
        self.assertTrue(self.path.exists())

    def test_not_a_socket(self) -> None:
        """
        A file of that name is never removed.
        """
        self.path.write_text("precious")
        with self.assertRaises(ListenError):
            self.service(self.path).startService()
        self.assertEqual(self.path.read_text(), "precious")

    async def test_deep_directory(self) -> None:
        """
        A directory whose name is longer than a socket's may be works too.
        """
        deep = self.directory / ("d" * 120)
        deep.mkdir()
        service = self.service(deep / "control.sock")
        service.startService()
        self.assertEqual(os.listdir(deep), ["control.sock"])
        await service.stopService()
        self.assertEqual(os.listdir(deep), [])

    async def test_directory_is_gone(self) -> None:
        """
        A service whose directory was removed stops all the same.
        """
        service = self.service(self.path)
        service.startService()
        shutil.rmtree(self.directory)
        await service.stopService()
        self.assertFalse(service.running)
