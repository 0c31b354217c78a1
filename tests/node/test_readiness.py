"""
Tests for L{atmosphere.node.readiness}.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from twisted.logger import ILogObserver, LogEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from atmosphere.node.readiness import tell_ready, tell_stopping


@contextmanager
def manager(name: str) -> Iterator[socket.socket]:
    """
    Listen as a service manager does.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(name)
        listening.settimeout(10)
        yield listening


class TellTests(SynchronousTestCase):
    """
    What a service manager is told.
    """

    def test_by_path(self) -> None:
        """
        The socket may have a name in the file system.
        """
        name = os.path.relpath(Path(self.mktemp()).absolute())
        with manager(name) as listening:
            tell_ready({"NOTIFY_SOCKET": str(Path(name).absolute())})
            self.assertEqual(listening.recv(100), b"READY=1\nMAINPID=%d" % os.getpid())
            tell_stopping({"NOTIFY_SOCKET": str(Path(name).absolute())})
            self.assertEqual(listening.recv(100), b"STOPPING=1")

    def test_abstract(self) -> None:
        """
        The socket may have an abstract name.
        """
        name = f"atmosphere-test-{os.getpid()}"
        with manager(f"\0{name}") as listening:
            tell_stopping({"NOTIFY_SOCKET": f"@{name}"})
            self.assertEqual(listening.recv(100), b"STOPPING=1")

    def test_nobody(self) -> None:
        """
        Without a service manager nothing happens; one that does not listen is
        warned about and does no harm.
        """
        tell_ready({})
        tell_ready({"NOTIFY_SOCKET": "vsock:2:3"})
        events: list[LogEvent] = []

        @implementer(ILogObserver)
        def observe(event: LogEvent) -> None:
            events.append(event)

        globalLogPublisher.addObserver(observe)
        self.addCleanup(globalLogPublisher.removeObserver, observe)
        tell_ready({"NOTIFY_SOCKET": "/nonexistent/notify"})
        self.assertEqual([event["log_level"].name for event in events], ["warn"])
