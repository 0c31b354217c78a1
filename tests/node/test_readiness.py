"""
Tests for L{atmosphere.node.readiness}.
"""

from __future__ import annotations

import os

from twisted.logger import ILogObserver, LogEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from atmosphere.node.readiness import tell_ready, tell_stopping
from tests.service_manager import listening, service_manager


class TellTests(SynchronousTestCase):
    """
    What a service manager is told.
    """

    def test_by_path(self) -> None:
        """
        The socket may have a name in the file system.
        """
        with service_manager() as (manager, name):
            tell_ready({"NOTIFY_SOCKET": name})
            self.assertEqual(manager.recv(100), b"READY=1\nMAINPID=%d" % os.getpid())
            tell_stopping({"NOTIFY_SOCKET": name})
            self.assertEqual(manager.recv(100), b"STOPPING=1")

    def test_abstract(self) -> None:
        """
        The socket may have an abstract name.
        """
        name = f"atmosphere-test-{os.getpid()}"
        with listening(f"\0{name}") as manager:
            tell_stopping({"NOTIFY_SOCKET": f"@{name}"})
            self.assertEqual(manager.recv(100), b"STOPPING=1")

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
