"""
Tests of commands whose node goes away while it answers them.
"""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Sequence
from typing import Any

from tests.cli.running import CommandTestCase, Ended, atmosphere

HEAD = b"HTTP/1.1 200 OK\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
PATH = {"kind": "relayed", "remote": "ws://relay:8080", "rtt_ms": 23.4}
REPLY = {"seq": 0, "rtt_ms": 23.4, "path": PATH}
FORWARD = {"listen": "127.0.0.1:2222", "peer": "portland", "service": "ssh", "keep": False}
WAITING = {"waiting": True, "mesh_name": "home", "asked": "p" * 52, "node_id": "s" * 52}
KNOCKING = {"knocking": True, "joiner": "s" * 52, "addresses": ["192.0.2.1:7777"], "seconds": 60}
REFUSED = {"version": 1, "error": "enough", "exit_code": 71}
REMEDY = "the node stopped before it had answered in full: start it again with"


def lines(*values: dict[str, Any], is_whole: bool = False) -> bytes:
    """
    Write the lines of a stream, as the node does.

    @param is_whole: end it as a node does that has said all.
    """
    data = HEAD
    for value in values:
        line = json.dumps(value).encode("ascii") + b"\n"
        data += b"%x\r\n%b\r\n" % (len(line), line)
    return data + b"0\r\n\r\n" * is_whole


class BreakingOffTests(CommandTestCase):
    """
    Commands against a socket that says what the test wants, and hangs up.
    """

    def ask(self, answers: Sequence[bytes], *arguments: str, stdin: str = "") -> Ended:
        """
        Run a command, and answer its requests.
        """
        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind(str(self.state / "control.sock"))
            listening.listen()
            listening.settimeout(5)

            def serve() -> None:
                for data in answers:
                    connection, _ = listening.accept()
                    with connection, connection.makefile("rb") as request:
                        length = 0
                        while (line := request.readline()) not in (b"", b"\r\n"):
                            name, _, value = line.partition(b":")
                            length = int(value) if name.lower() == b"content-length" else length
                        request.read(length)
                        connection.sendall(data)

            thread = threading.Thread(target=serve)
            thread.start()
            try:
                return atmosphere("--state", str(self.state), *arguments, stdin=stdin)
            finally:
                thread.join()
                (self.state / "control.sock").unlink()

    def check(self, ended: Ended, out: str = "") -> None:
        """
        Check that a command said in one line what happened and what helps.
        """
        self.assertEqual((ended.status, ended.out), (3, out), ended)
        self.assertIn(REMEDY, ended.err.splitlines()[-1])
        self.assertIn("serve`", ended.err)

    def test_ping(self) -> None:
        """
        C{ping} sums up what came, as after Ctrl-C, and fails.
        """
        ended = self.ask([lines(REPLY)], "ping", "portland")
        reply = "pong from portland via relay ws://relay:8080 in 23 ms\n"
        summary = "1 sent, 1 received, min 23 ms, median 23 ms, max 23 ms\n"
        self.check(ended, reply + summary)
        self.assertEqual(ended.err.count("\n"), 1)
        self.check(self.ask([lines()], "ping", "portland"))
        self.check(self.ask([b""], "ping", "portland"))

    def test_ping_json(self) -> None:
        """
        A program is not told of a summary that there is not.
        """
        self.check(self.ask([lines(REPLY)], "ping", "--json", "portland"))
        part = lines(REPLY) + b'5\r\n{"seq'
        self.check(self.ask([part], "ping", "--json", "--until-direct", "portland"))

    def test_forward(self) -> None:
        """
        C{forward} waits for the node, asks again, and says how to start it.
        """
        status = lines({"version": 1}, is_whole=True)
        answers = [lines(FORWARD), status, lines(REFUSED, is_whole=True)]
        ended = self.ask(answers, "forward", "2222", "portland:ssh")
        self.assertEqual(ended.status, 71, ended)
        gone, last = ended.err.splitlines()
        self.assertIn("the node is gone: waiting until it is back; start it with", gone)
        self.assertIn("serve`", gone)
        self.assertEqual(last, "atmosphere: enough")

    def test_forward_that_did_not_begin(self) -> None:
        """
        One that had not begun does not wait.
        """
        self.check(self.ask([lines()], "forward", "2222", "portland:ssh"))

    def test_join_by_an_answer(self) -> None:
        """
        C{join --answer} has let nobody in.
        """
        self.check(self.ask([lines(KNOCKING)], "join", "--answer", "-", stdin="atma1-here"))

    def test_join(self) -> None:
        """
        C{join} asks again once people have to do something.
        """
        status = lines({"version": 1}, is_whole=True)
        joined = {"version": 1, "mesh_id": "mesh-abc", "mesh_name": "home", "name": "seattle"}
        answers = [lines(WAITING), status, lines(joined, is_whole=True)]
        ended = self.ask(answers, "join", "-", stdin="plain")
        self.assertEqual(ended.status, 0, ended)
        self.assertIn("the node has stopped: waiting until it runs again", ended.err)

    def test_other_commands(self) -> None:
        """
        So it is with a command that waits for one answer.
        """
        for answer in (b"", HEAD, HEAD.replace(b"Transfer-Encoding: chunked", b"X: y") + b'{"ve'):
            self.check(self.ask([answer], "why", "portland"))
            self.check(self.ask([answer], "peers", "--json"))
