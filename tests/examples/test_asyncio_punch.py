"""
C{docs/examples/asyncio_punch.py} brings two processes together, in asyncio.
"""

from __future__ import annotations

import socket
import sys
from collections.abc import Sequence
from pathlib import Path

from atmosphere.lab import Kind
from tests.end_to_end.harness import ROOT, EndToEndTestCase, Program, Relay
from tests.end_to_end.namespaces import INTERNET, homes

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

    def begin(self, *arguments: str, prefix: Sequence[str] = ()) -> Program:
        """
        Start one of the two.
        """
        variables = {"SECONDS": "3"}
        return self.start(PYTHON, EXAMPLE, *arguments, environment=variables, prefix=prefix)

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

    def at_homes(self, home: Kind, kind: str) -> None:
        """
        Let two talk from homes behind the kernel's own NATs, with a relay to help.

        @param home: what kind of NAT.
        @param kind: what is expected.
        """
        relay, *places = homes(self, self.folder, home, home)
        program = self.start("atmosphere", "relay", "--host", INTERNET, prefix=relay)
        program.wait_for("--relay")
        url = f"ws://{INTERNET}:8080"
        first = self.begin("7777", "45.77.2.2:7777", "good morning", url, prefix=places[0])
        second = self.begin("7777", "45.77.1.2:7777", "good evening", url, prefix=places[1])
        first.wait_for(f"{kind}: good evening")
        second.wait_for(f"{kind}: good morning")
        self.assertEqual((first.err, second.err), ("", ""))

    def test_homes(self) -> None:
        """
        Through the NATs of two homes there is a hole.
        """
        self.at_homes(Kind.PORT_RESTRICTED, "direct")

    def test_difficult_homes(self) -> None:
        """
        Through NATs that take another port for each peer there is none, and both
        meet at the relay.
        """
        self.at_homes(Kind.SYMMETRIC, "relay")
