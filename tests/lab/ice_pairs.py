"""
Our ICE agent and somebody else's, aioice, behind the kernel's own NATs. They take half a
minute, and so stand apart from the other tests::

    sudo python -m twisted.trial tests.lab.ice_pairs
"""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
from typing import Any

from atmosphere.lab import Kind
from atmosphere.lab.namespaces import Namespace, die_with_parent
from atmosphere.lab.places import STUN
from tests.network.ice import aioice_peer, own_peer

from .lab_case import LabTestCase

PATIENCE = 20.0


class Program:
    """
    An agent in a process on a machine of the laboratory.
    """

    def __init__(self, where: Namespace, script: str, *, is_controlling: bool) -> None:
        options = ["--stun", str(STUN)] + (["--controlling"] if is_controlling else [])
        self._process = subprocess.Popen(
            [*where.prefix, sys.executable, script, *options],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
            preexec_fn=die_with_parent,
        )
        self._rest = b""

    def read(self) -> dict[str, Any]:
        """
        Wait for a line that it writes.
        """
        assert self._process.stdout is not None
        number = self._process.stdout.fileno()
        while b"\n" not in self._rest:
            ready, _, _ = select.select([number], [], [], PATIENCE)
            data = os.read(number, 65536) if ready else b""
            if not data:
                raise AssertionError("it says nothing")
            self._rest += data
        line, _, self._rest = self._rest.partition(b"\n")
        found: dict[str, Any] = json.loads(line)
        return found

    def tell(self, **message: Any) -> None:
        """
        Write it a line.
        """
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(message).encode() + b"\n")
        self._process.stdin.flush()

    def stop(self) -> None:
        """
        End it.
        """
        self._process.kill()
        self._process.communicate()


class IcePairTests(LabTestCase):
    """
    Two programs that have nothing in common but the RFCs, in two homes.
    """

    def meet(self, one: Kind, two: Kind, *, is_controlling: bool) -> dict[str, Any]:
        """
        Let our agent in the first home meet aioice in the second.

        @return: what ours says of it.
        """
        internet = self.internet(one, two, delay=0.02)
        scripts = (own_peer.__file__, aioice_peer.__file__)
        programs = []
        for home, script, role in zip(
            internet.homes, scripts, (is_controlling, not is_controlling), strict=True
        ):
            programs.append(Program(home.host, str(script), is_controlling=role))
            self.addCleanup(programs[-1].stop)
        ours, theirs = programs
        offers = [program.read() for program in programs]
        ours.tell(**offers[1], is_complete=True)
        theirs.tell(**offers[0], is_complete=True)
        said = [program.read() for program in programs]
        self.assertTrue(all(each["connected"] for each in said), said)
        self.assertEqual(
            [each["controlling"] for each in said], [is_controlling, not is_controlling]
        )
        return said[0]

    def test_port_restricted(self) -> None:
        """
        Two NATs that let in answers alone, with either side controlling, within a second.
        """
        for is_controlling in (True, False):
            said = self.meet(
                Kind.PORT_RESTRICTED, Kind.PORT_RESTRICTED, is_controlling=is_controlling
            )
            self.assertNotEqual((said["local"], said["remote"]), ("host", "host"))
            self.assertLess(said["seconds"], 1.0)

    def test_symmetric(self) -> None:
        """
        A NAT that takes another port for each destination, with one that looks at
        addresses alone, with either side controlling.
        """
        for is_controlling in (True, False):
            self.meet(Kind.SYMMETRIC, Kind.ADDRESS_RESTRICTED, is_controlling=is_controlling)
