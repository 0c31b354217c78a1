"""
Ports that lead to a peer's servers: what comes through them, and what becomes
of them when a relay, a node or a server goes.
"""

from __future__ import annotations

import hashlib
import http.client
import os
import random
import re
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

from typing_extensions import override

from .harness import Program, can_connect, find_program, free_port
from .test_session import SessionTestCase

MIB = 1_048_576


def resident(program: Program | subprocess.Popen[bytes]) -> int:
    """
    Say how many bytes of memory a process holds.
    """
    pages = Path(f"/proc/{program.pid}/statm").read_text().split()[1]
    return int(pages) * os.sysconf("SC_PAGESIZE")


class ForwardingTestCase(SessionTestCase):
    """
    Portland serves files by HTTP on its loopback, and exposes that to seattle.

    @ivar www: the port of the server.
    """

    @override
    def setUp(self) -> None:
        super().setUp()
        self.www = free_port()
        self.files = self.folder / "files"
        self.files.mkdir()
        self.data = random.Random(7).randbytes(3_000_000)
        (self.files / "data").write_bytes(self.data)

    def begin_forwarding(self, *, paths: str = "auto", keep: tuple[str, ...] = ()) -> None:
        """
        Go through the session, serve the files, expose them.
        """
        self.relay = self.begin(paths=paths)
        self.serve_files()
        self.portland.run("expose", "www", str(self.www), "--to", "seattle", *keep)

    def serve_files(self) -> Program:
        """
        Start the server.
        """
        arguments = ("-m", "http.server", str(self.www), "--bind", "127.0.0.1")
        server = self.start(sys.executable, *arguments, "--directory", str(self.files))
        self.wait_until(lambda: can_connect(self.www), "the server listens")
        return server

    def forward(self, *arguments: str) -> tuple[Program, int]:
        """
        Forward a port of seattle's to it.

        @return: what runs, and the port.
        """
        command = ("forward", *(arguments or ("127.0.0.1:0", "portland:www")))
        program = self.start("atmosphere", *command, environment=self.seattle.environment)
        program.wait_for("leads to portland:www, until Ctrl-C")
        match = re.match(r"127\.0\.0\.1:(\d+) leads", program.out)
        assert match is not None, program.out
        return program, int(match[1])

    def fetch(self, port: int, name: str = "data") -> bytes:
        """
        Fetch a file through a forward.
        """
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        try:
            connection.request("GET", f"/{name}")
            return connection.getresponse().read()
        finally:
            connection.close()


class ForwardTests(ForwardingTestCase):
    """
    C{atmosphere forward} and C{atmosphere expose}.
    """

    def test_http(self) -> None:
        """
        Files come through, one after the other and many at once; what is exposed
        and forwarded is listed on either side; Ctrl-C ends it.
        """
        self.begin_forwarding()
        program, port = self.forward()
        self.assertEqual(self.fetch(port), self.data)
        fetched: list[bytes] = []
        threads = [
            threading.Thread(target=lambda: fetched.append(self.fetch(port))) for _ in range(40)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        digests = {hashlib.sha256(each).hexdigest() for each in fetched}
        self.assertEqual((len(fetched), digests), (40, {hashlib.sha256(self.data).hexdigest()}))

        (exposed,) = self.portland.json("services")["exposed"]
        self.assertEqual(
            {name: exposed[name] for name in ("service", "target", "to", "keep", "problem")},
            {
                "service": "www",
                "target": str(self.www),
                "to": ["seattle"],
                "keep": False,
                "problem": None,
            },
        )
        (forward,) = self.seattle.json("services")["forwards"]
        self.assertEqual((forward["listen"], forward["peer"]), (f"127.0.0.1:{port}", "portland"))
        text = self.seattle.run("services").out
        self.wait_until(
            lambda: self.seattle.json("services")["forwards"][0]["open"] == 0, "all are closed"
        )
        self.assertRegex(text, rf"forward +127\.0\.0\.1:{port} +portland:www +for the run")
        taken = self.seattle.run("forward", str(port), "portland:www", status=None)
        self.assert_one_line(taken, 2, "forwarded already")
        self.assertEqual(program.stop().status, 130)
        self.wait_until(lambda: not can_connect(port), "the port is closed")
        self.assertEqual(self.seattle.json("services")["forwards"], [])
        self.assert_no_traceback()

    def test_faults(self) -> None:
        """
        A server that is down is seen as one, and said; a node that is gone is
        waited for; both are used again when they are back.
        """
        self.begin_forwarding(keep=("--keep",))
        program, port = self.forward()
        self.assertEqual(self.fetch(port), self.data)
        self.www_is_down()
        with self.assertRaises(ConnectionError):
            self.fetch(port)
        program.wait_for("portland refused www: its server refuses connections")
        self.serve_files()
        self.assertEqual(self.fetch(port), self.data)

        self.seattle.kill()
        program.wait_for("the node is gone: waiting until it is back")
        self.seattle.serve()
        self.wait_until(lambda: can_connect(port), "the forward is back")
        self.wait_for_ping(self.seattle, self.portland)
        self.assertEqual(self.fetch(port), self.data)
        self.portland.kill()
        self.portland.serve()
        self.wait_for_ping(self.seattle, self.portland)
        self.assertEqual(self.fetch(port), self.data)  # it was kept
        self.assert_no_traceback()

    def www_is_down(self) -> None:
        """
        Stop the server.
        """
        self.programs[-2].kill()  # the last one is the forward
        self.wait_until(lambda: not can_connect(self.www), "the server is gone")

    def test_kept(self) -> None:
        """
        A forward that is kept outlives the command and the node, until it is removed.
        """
        self.begin_forwarding()
        port = str(free_port())
        kept = self.seattle.run("forward", port, "portland:www", "--keep")
        self.assertIn("also after the next start", kept.out)
        self.assertEqual(self.fetch(int(port)), self.data)
        self.seattle.kill()
        self.seattle.serve()
        self.wait_for_ping(self.seattle, self.portland)
        self.assertEqual(self.fetch(int(port)), self.data)
        self.seattle.run("forward", "--remove", port)
        self.wait_until(lambda: not can_connect(int(port)), "the port is closed")
        again = self.seattle.run("forward", "--remove", port, status=2)
        self.assert_one_line(again, 2, f"no forward is kept for 127.0.0.1:{port}")

    def test_relay_restart(self) -> None:
        """
        A relay that is killed and started again under an open connection loses nothing.
        """
        self.begin_forwarding(paths="relayed")
        _, port = self.forward()
        with socket.create_connection(("127.0.0.1", port), 30) as wire:
            wire.sendall(b"GET /data HTTP/1.0\r\n\r\n")
            got = wire.recv(1000)
            self.relay.kill()
            self.relay.start()
            while data := wire.recv(65536):
                got += data
        self.assertEqual(got.partition(b"\r\n\r\n")[2], self.data)

    def test_stopped_reader(self) -> None:
        """
        Pushing a gigabyte at one who does not read fills nobody's memory.
        """
        self.begin_forwarding()
        listening = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(listening.close)
        target = str(listening.getsockname()[1])
        self.portland.run("expose", "deaf", target, "--to", "seattle")
        command = [find_program("atmosphere"), "forward", "--stdio", "portland:deaf"]
        pushing = subprocess.Popen(
            command,
            env=self._environment(self.seattle.environment),
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
        )
        self.addCleanup(pushing.wait)
        self.addCleanup(pushing.kill)
        assert pushing.stdin is not None
        self.addCleanup(pushing.stdin.close)
        accepted, _ = listening.accept()
        self.addCleanup(accepted.close)
        assert self.portland.node is not None
        assert self.seattle.node is not None
        watched: list[Program | subprocess.Popen[bytes]] = [
            pushing,
            self.portland.node,
            self.seattle.node,
        ]
        before = [resident(each) for each in watched]
        os.set_blocking(pushing.stdin.fileno(), False)
        pushed, idle = 0, 0
        while pushed < 1024 * MIB and idle < 20:
            try:
                pushed += os.write(pushing.stdin.fileno(), bytes(MIB))
                idle = 0
            except BlockingIOError:
                idle += 1
                threading.Event().wait(0.1)
        grown = [resident(each) - old for each, old in zip(watched, before, strict=True)]
        self.assertLess(max(grown), 8 * MIB, grown)
        self.assertLess(pushed, 16 * MIB)


class StandardStreamTests(ForwardingTestCase):
    """
    C{atmosphere forward --stdio}.
    """

    def test_exit_codes(self) -> None:
        """
        It ends with 0 when both have said all, 2 for a peer that nobody knows, 3
        without a node, 4 when the peer refuses, each with one line at most.
        """
        self.begin_forwarding()
        request = "GET /data HTTP/1.0\r\n\r\n"
        done = subprocess.run(
            [find_program("atmosphere"), "forward", "--stdio", "portland:www"],
            env=self._environment(self.seattle.environment),
            input=request.encode("ascii"),
            capture_output=True,
            timeout=60,
            check=False,
        )
        self.assertEqual((done.returncode, done.stderr), (0, b""))
        self.assertEqual(done.stdout.partition(b"\r\n\r\n")[2], self.data)
        for status, text, words in (
            (2, "no member is called tacoma", "tacoma:www"),
            (2, "is not PEER:SERVICE", "portland"),
            (4, "portland refused wiki: there is no such service here", "portland:wiki"),
        ):
            ended = self.seattle.run("forward", "--stdio", words, status=status)
            self.assert_one_line(ended, status, text)
        self.portland.kill()
        ended = self.seattle.run("forward", "--stdio", "--timeout", "2", "portland:www", status=3)
        self.assert_one_line(ended, 3, "portland")
        self.seattle.kill()
        ended = self.seattle.run("forward", "--stdio", "portland:www", status=3)
        self.assert_one_line(ended, 3, "no running node")
        self.assert_no_traceback()

    def test_node_killed(self) -> None:
        """
        A node that is killed under an open stream is not taken for a peer that
        has finished.
        """
        self.begin_forwarding()
        command = [find_program("atmosphere"), "forward", "--stdio", "portland:www"]
        with subprocess.Popen(
            command,
            env=self._environment(self.seattle.environment),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        ) as running:
            assert running.stdin is not None
            assert running.stdout is not None
            assert running.stderr is not None
            running.stdin.write(b"GET /data HTTP/1.1\r\nHost: portland\r\n\r\n")
            running.stdin.flush()
            self.assertEqual(running.stdout.read(9), b"HTTP/1.0 ")
            assert self.seattle.node is not None
            os.kill(self.seattle.node.pid, signal.SIGKILL)
            running.stdout.read()
            self.assertEqual(running.wait(30), 3)
            told = running.stderr.read()
            self.assertTrue(told.startswith(b"atmosphere: the node is gone: start it again"), told)
            self.assertEqual(told.count(b"\n"), 1)
