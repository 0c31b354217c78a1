"""
Tests for L{atmosphere.cli.stdio}: a fake node, and the command in a process of its own.
"""

from __future__ import annotations

import os
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase
from typing_extensions import override

END = bytes(4)


def frame(data: bytes, first_bit: int = 0) -> bytes:
    """
    Write a frame.
    """
    return struct.pack("!I", len(data) | first_bit << 31) + data


class StandardStreamsTests(SynchronousTestCase):
    """
    C{atmosphere forward --stdio}, against the socket that C{docs/local_streams.md} describes.
    """

    @override
    def setUp(self) -> None:
        self.state = Path(tempfile.mkdtemp(prefix="atmosphere-test-"))
        self.addCleanup(shutil.rmtree, self.state)
        self.node = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.addCleanup(self.node.close)
        self.node.settimeout(10)
        self.node.bind(str(self.state / "streams.sock"))
        self.node.listen()

    def start(self) -> tuple[subprocess.Popen[bytes], socket.socket]:
        """
        Start the command, and read its request.
        """
        arguments = ["--state", str(self.state), "forward", "--stdio", "portland:ssh"]
        arguments += ["--path", "relayed"]
        command = subprocess.Popen(
            [sys.executable, "-c", "from atmosphere.cli import main; main()", *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        )
        self.addCleanup(command.communicate)
        self.addCleanup(command.kill)
        wire, _ = self.node.accept()
        self.addCleanup(wire.close)
        wire.settimeout(20)
        line = wire.recv(4096)
        self.assertEqual(
            line,
            b'{"connect": "portland", "service": "ssh", "path": "relayed", "timeout": 30.0,'
            b' "framed": true}\n',
        )
        return command, wire

    def exactly(self, wire: socket.socket, size: int) -> bytes:
        """
        Read so many bytes.
        """
        data = b""
        while len(data) < size:
            data += wire.recv(size - len(data))
        return data

    def check_end(self, command: subprocess.Popen[bytes], status: int, text: str) -> bytes:
        """
        Check how the command ends.

        @return: what it wrote.
        """
        out, err = command.communicate(timeout=20)
        self.assertEqual((command.returncode, err.decode()), (status, text))
        return out

    def test_both_ways(self) -> None:
        """
        Bytes of any value go both ways, and each direction ends by itself.
        """
        command, wire = self.start()
        data = bytes(range(256)) * 100
        wire.sendall(b'{"ok": true}\n' + frame(data)[:7])
        wire.sendall(frame(data)[7:] + END)
        assert command.stdin is not None
        assert command.stdout is not None
        self.assertEqual(command.stdout.read(), data)  # its end, with our direction open
        command.stdin.write(data)
        command.stdin.close()
        got = b""
        while len(got) < len(data):
            (size,) = struct.unpack("!I", self.exactly(wire, 4))
            got += self.exactly(wire, size)
        self.assertEqual(got, data)
        self.assertEqual(self.exactly(wire, 4), END)
        wire.close()
        command.stdin = None
        self.check_end(command, 0, "")

    def test_refused(self) -> None:
        """
        The node's reason is shown in one line, with its exit code; nothing in
        it reaches the terminal as it is.
        """
        command, wire = self.start()
        wire.sendall(b'{"error": "portland refused\\u001b[31m ssh", "exit_code": 4}\n')
        wire.close()
        text = "atmosphere: portland refused\\x1b[31m ssh\n"
        self.assertEqual(self.check_end(command, 4, text), b"")

    def test_broken(self) -> None:
        """
        A stream that breaks, or a node that goes, ends it with 3.
        """
        command, wire = self.start()
        wire.sendall(b'{"ok": true}\n' + frame(b"hi") + frame(b"it was cut", 1))
        out = self.check_end(command, 3, "atmosphere: the stream broke: it was cut\n")
        self.assertEqual(out, b"hi")
        command, wire = self.start()
        wire.sendall(b'{"ok": true}\n' + frame(b"hi") + b"\0")
        wire.close()
        words = (
            f"atmosphere: the node is gone: start it again with `atmosphere --state {self.state}"
            " serve`, then repeat this command\n"
        )
        self.assertEqual(self.check_end(command, 3, words), b"hi")

    def test_no_sense(self) -> None:
        """
        What is no answer is none.
        """
        for answer in (b"what?\n", b"[]\n", b"", b"{}\n"):
            command, wire = self.start()
            wire.sendall(answer)
            wire.close()
            _, err = command.communicate(timeout=20)
            self.assertIn(command.returncode, (1, 3))
            self.assertEqual(len(err.splitlines()), 1, err)

    def test_reader_gone(self) -> None:
        """
        When nobody reads its output it ends without a word.
        """
        command, wire = self.start()
        assert command.stdout is not None
        command.stdout.close()
        command.stdout = None
        wire.sendall(b'{"ok": true}\n' + frame(b"hi"))
        self.check_end(command, 1, "")
