"""
Tests of the local API against programs that ask for nonsense, and against other users.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.internet import reactor  # noqa: TID251, real sockets are the point here
from twisted.internet.address import UNIXAddress
from twisted.internet.protocol import connectionDone
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import SkipTest, TestCase
from typing_extensions import override

from atmosphere.node.control import ControlFactory, ControlService
from atmosphere.node.control_routes import ROUTES
from atmosphere.node.streams_port import StreamsService
from tests.fuzz.conversations import Transport
from tests.node.fake_node import FakeNode
from tests.node.harness import WorldCase

#: Values that no program should send, as JSON.
VALUES = (
    "null true -1 0 0.5 1e308 9223372036854775808 [] {} [[]] [null] [1] [true,{}] "
    '"" "\\ud800" "\\u0000" "a\\u0000b" "\\u001b[31m" "\\u202e" "../../etc/passwd" "\\u0663"'
).split()
TEXTS = (
    "x" * 5_000,
    "tcp:127.0.0.1:99999999",
    "tcp:host=:port=x",
    "tcp:",
    "unix:",
    "unix:relative",
    "unix:/" + "x" * 200,
    "ssl:127.0.0.1:1:privateKey=/etc/shadow",
    "tls:a:1",
    "systemd:domain=INET:index=0",
    "stdio:",
    "nosuch:1:2",
    "\\",
    "a\\",
    "0.0.0.0:0",
    "127.0.0.1:-1",
    "[::1]:x",
    "[",
    "65536",
    "1" * 400,
    "atm1-" + "A" * 2_000,
    "portland:ssh:x",
    "stun.example.org:0",
    "\n",
    "é",
)

#: Good arguments, of which one at a time is made bad.
GOOD: dict[str, dict[str, Any]] = {
    "/v1/network": {"stun": ["192.0.2.1:3478"]},
    "/v1/invitations/revoke": {"invite_id": "00"},
    "/v1/services/expose": {"service": "ssh", "target": "22", "to": ["seattle"], "keep": False},
    "/v1/services/unexpose": {"service": "ssh"},
    "/v1/services/forward": {
        "listen": "2222",
        "peer": "seattle",
        "service": "ssh",
        "keep": False,
    },
    "/v1/services/unforward": {"listen": "2222"},
    "/v1/ping": {
        "peer": "seattle",
        "count": 1,
        "interval": 1,
        "timeout": 1,
        "until_direct": False,
    },
    "/v1/why": {"peer": "seattle"},
    "/v1/invite": {"hours": 1, "uses": 1, "mesh_name": "home", "approve": False},
    "/v1/requests/approve": {"request": "00"},
    "/v1/requests/deny": {"request": "00"},
    "/v1/join": {"code": "atm1-e30", "timeout": 1, "answers": False},
    "/v1/join/answer": {"answer": "atma1-e30", "timeout": 1},
    "/v1/mesh": {"mesh_name": "home"},
}


class NonsenseTests(WorldCase):
    """
    A node in a mesh of its own, asked for everything by everybody.
    """

    @override
    def setUp(self) -> None:
        """
        Start the node.
        """
        super().setUp()
        self.node = self.world.node("portland", "198.51.100.1")
        self.world.advance(1)
        self.world.result(self.node.service.invite(hours=1, uses=1, mesh_name="home"))
        self.factory = ControlFactory(
            self.world.clock, self.node.service, owner=1, peer_user=lambda transport: 1
        )

    def ask(self, path: str, body: bytes) -> dict[str, Any]:
        """
        Ask, hang up after a while, and read the first line of the answer.
        """
        channel = self.factory.buildProtocol(UNIXAddress(b"control.sock"))
        transport = Transport()
        channel.makeConnection(transport)
        head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n"
        channel.dataReceived(head.encode("ascii") + body)
        self.world.advance(0.05)
        answer = transport.value().partition(b"\r\n\r\n")[2]
        channel.connectionLost(connectionDone)
        self.assertEqual(self.factory.clients, 0)
        if not answer:
            return {}
        first = answer.splitlines()[1 if b"\r\n" in answer.split(b"{")[0] else 0]
        found: dict[str, Any] = json.loads(first)
        return found

    def test_every_argument(self) -> None:
        """
        Each argument of each request with each value that it should not have: an error
        of the program's, or an answer; never one of the node's.
        """
        posts = {path.decode() for path, routes in ROUTES.items() if b"POST" in routes}
        self.assertEqual(set(GOOD) | {"/v1/leave"}, posts)
        texts = [json.dumps(each) for each in TEXTS]
        asked = answered = 0
        for path, good in GOOD.items():
            for name in good:
                for value in (*VALUES, *texts):
                    others = {key: each for key, each in good.items() if key != name}
                    body = json.dumps(others)[:-1] + ("," if others else "")
                    answer = self.ask(path, f'{body}"{name}":{value}}}'.encode())
                    self.assertNotIn("inside the node", answer.get("error", ""), (path, value))
                    asked += 1
                    answered += bool(answer)
            for whole in (b"[]", b'{"x":1}', b'{"x":' * 9 + b"1" + b"}" * 9, b"NaN", b"{\xff}"):
                self.assertEqual(self.ask(path, whole)["exit_code"], 2, (path, whole))
        self.assertGreater(answered, 0.8 * asked)  # the others still wait for a peer
        self.assertEqual(self.node.service.status()["name"], "portland")

    def test_whole_bodies(self) -> None:
        """
        What is JSON to some readers alone, or is far too much, is refused.
        """
        bodies = [
            b'{"hours":1e999}',
            b'{"hours":NaN}',
            b'{"hours":-Infinity}',
            b'{"hours":1,"hours":1}',
            b'{"hours":' + b"9" * 5_000 + b"}",
            b'{"hours":1e-400000}',
            b'{"hours":0x10}',
            b"{'hours':1}",
            b'{"hours":1}{"hours":1}',
            b'\xef\xbb\xbf{"hours":1}',
            b"[" * 30_000,
            b'{"a":' * 12_000,
            b'{"hours":' + b"[" * 9 + b"]" * 9 + b"}",
            b'"' + b"\\u0000" * 10_000 + b'"',
        ]
        for body in bodies:
            self.assertEqual(self.ask("/v1/invite", body).get("exit_code"), 2, body[:40])
        for length in (70_000, 200_000):
            self.assertIn("exit_code", self.ask("/v1/invite", b" " * length))


class OtherUserTests(TestCase):
    """
    Sockets that somebody has opened to all users of the machine.
    """

    timeout = 10

    @override
    def setUp(self) -> None:
        """
        Listen, and open the sockets as wide as can be.
        """
        if os.geteuid() != 0:
            raise SkipTest("only root can be another user")
        self.folder = Path(tempfile.mkdtemp(prefix="atmosphere-"))
        self.addCleanup(shutil.rmtree, self.folder)
        self.folder.chmod(0o755)
        world: Any = reactor
        fake: Any = FakeNode()
        control = ControlService(world, self.folder / "control.sock", fake)
        streams = StreamsService(world, self.folder / "streams.sock", fake, entropy=os.urandom)
        for service in (control, streams):
            service.startService()
            self.addCleanup(service.stopService)
        for name in ("control.sock", "streams.sock"):
            (self.folder / name).chmod(0o666)

    def as_user(self, user: int, work: Callable[[], bytes]) -> bytes:
        """
        Do something in a process of another user.
        """
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                os.setgroups([])
                os.setgid(user)
                os.setuid(user)
                os.write(writer, work()[:4_096])
            finally:
                os._exit(0)
        os.close(writer)
        with os.fdopen(reader, "rb") as file:
            found = file.read()
        os.waitpid(child, 0)
        return found

    def said_to(self, user: int, name: str, request: bytes) -> bytes:
        """
        Ask at a socket as a user, and give what came.
        """
        path = str(self.folder / name)

        def work() -> bytes:
            with socket.socket(socket.AF_UNIX) as client:
                client.settimeout(5)
                client.connect(path)
                try:
                    client.sendall(request)
                    return b"said: " + client.recv(4_096)
                except (BrokenPipeError, ConnectionResetError):
                    return b"said: "

        return self.as_user(user, work)

    async def test_refused(self) -> None:
        """
        Another user is cut off without a word; root is served.
        """
        requests = {
            "control.sock": b"GET /v1/status HTTP/1.1\r\nHost: localhost\r\n\r\n",
            "streams.sock": b'{"connect":"portland","service":1}\n',
        }
        for name, request in requests.items():
            for user, is_served in ((65_534, False), (0, True)):
                said = await deferToThread(self.said_to, user, name, request)
                self.assertTrue(said.startswith(b"said: "), (name, user))
                self.assertEqual(len(said) > len(b"said: "), is_served, (name, user))
