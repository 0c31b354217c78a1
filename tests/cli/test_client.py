"""
Tests for L{atmosphere.cli.client}: a node that answers badly, or not at all.
"""

from __future__ import annotations

import socket
import threading
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase
from typing_extensions import override

from atmosphere.cli.client import LocalClient, NodeError
from atmosphere.errors import AtmosphereError, NotRunningError

HEAD = b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"


class LocalClientTests(SynchronousTestCase):
    """
    The client against a socket that says what the test wants.
    """

    @override
    def setUp(self) -> None:
        self.state = Path(self.mktemp())
        self.state.mkdir()

    def answer(self, data: bytes, *, timeout: float = 5.0) -> list[dict[str, object]]:
        """
        Ask a socket that answers with these bytes and hangs up.
        """
        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind(str(self.state / "control.sock"))
            listening.listen()

            def serve() -> None:
                connection, _ = listening.accept()
                with connection:
                    connection.recv(65536)
                    connection.sendall(data)
                    if timeout < 1:
                        connection.recv(1)

            thread = threading.Thread(target=serve)
            thread.start()
            try:
                client = LocalClient(self.state)
                return list(client.stream("GET", "/v1/status", timeout=timeout))
            finally:
                thread.join()
                (self.state / "control.sock").unlink()

    def test_lines(self) -> None:
        """
        Each line of an answer is handed on.
        """
        summary = b'{"version":1,"sent":1}\n'
        self.assertEqual(
            self.answer(HEAD + b'{"seq":1}\n' + summary), [{"seq": 1}, {"version": 1, "sent": 1}]
        )

    def test_broken_off(self) -> None:
        """
        An answer whose last line is not there is none, however its connection ended.
        """
        chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        for data in (
            b"",
            HEAD,
            HEAD + b'{"seq":1}\n',
            HEAD + b'{"seq":1}\n{"version":1,"se',
            chunked,
            chunked + b'a\r\n{"seq":1}\n\r\n',
            chunked + b'a\r\n{"seq":1}\n\r\n0\r\n\r\n',
            chunked + b'a\r\n{"seq"',
        ):
            with self.assertRaises(NotRunningError, msg=data) as caught:
                self.answer(data)
            self.assertIn("stopped before it had answered in full", str(caught.exception), data)
            self.assertIn("serve`", str(caught.exception))

    def test_error(self) -> None:
        """
        An error of the node is raised with its own exit code.
        """
        with self.assertRaises(NodeError) as caught:
            self.answer(HEAD + b'{"seq":1}\n{"error":"gone","exit_code":3}\n')
        self.assertEqual((str(caught.exception), caught.exception.exit_code), ("gone", 3))

    def test_rubbish(self) -> None:
        """
        Whatever else comes is an error of ours, never a traceback.
        """
        for data in (b"", b"rubbish", HEAD, HEAD + b"{", HEAD + b"[]\n", HEAD + b"\xff\n"):
            with self.assertRaises(AtmosphereError, msg=data) as caught:
                self.answer(data)
            self.assertEqual(caught.exception.exit_code, 3)

    def test_silence(self) -> None:
        """
        A node that hangs is given up.
        """
        with self.assertRaises(NotRunningError) as caught:
            self.answer(HEAD, timeout=0.1)
        self.assertIn("did not answer within 0.1 s", str(caught.exception))

    def test_nobody(self) -> None:
        """
        Without a node the remedy depends on whether one was made.
        """
        with self.assertRaises(NotRunningError) as caught:
            LocalClient(self.state).get("/v1/status")
        self.assertIn("init`", str(caught.exception))
        (self.state / "node.key").touch()
        with self.assertRaises(NotRunningError) as caught:
            LocalClient(self.state).get("/v1/status")
        self.assertIn("serve`", str(caught.exception))
        self.assertNotIn("init`", str(caught.exception))
