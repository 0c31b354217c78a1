"""
C{docs/examples/asyncio_punch.py} brings two processes together, in asyncio.
"""

from __future__ import annotations

import socket
import sys
from pathlib import Path

from tests.end_to_end.harness import ROOT, EndToEndTestCase, Program, Relay

EXAMPLE = str(ROOT / "docs" / "examples" / "asyncio_punch.py")

PYTHON = Path(sys.executable).name


class AsyncioPunchTests(EndToEndTestCase):
    """
    The example, as two processes.
    """

    def ports(self) -> list[int]:
        """
        Find two UDP ports that nobody has.
        """
        with (
            socket.socket(type=socket.SOCK_DGRAM) as one,
            socket.socket(type=socket.SOCK_DGRAM) as two,
        ):
            for each in (one, two):
                each.bind(("127.0.0.1", 0))
            return [one.getsockname()[1], two.getsockname()[1]]

    def begin(self, *arguments: str) -> Program:
        """
        Start one of the two.
        """
        return self.start(PYTHON, EXAMPLE, *arguments)

    def test_two_processes(self) -> None:
        """
        Two processes that punch towards each other find each other, and talk.
        """
        one, two = self.ports()
        first = self.begin(str(one), f"127.0.0.1:{two}", "good morning")
        second = self.begin(str(two), f"127.0.0.1:{one}", "good evening")
        first.wait_for("direct: good evening")
        second.wait_for("direct: good morning")
        self.assertEqual([each.wait().status for each in (first, second)], [0, 0])
        self.assertEqual((first.err, second.err), ("", ""))

    def test_seen(self) -> None:
        """
        Alone it tells how others see a port.
        """
        relay = Relay(self)
        ended = self.run_command(
            EXAMPLE,
            str(self.ports()[0]),
            program=PYTHON,
            environment={"STUN": f"127.0.0.1:{relay.stun_port}"},
        )
        self.assertRegex(ended.out, r"^127\.0\.0\.1:\d+  NAT: none, not reachable")
