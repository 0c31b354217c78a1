"""
Tests for what the original's names take for granted.
"""

import subprocess
import sys
from typing import Any

from twisted.internet import reactor  # noqa: TID251  # it is what the test is about
from twisted.trial.unittest import SynchronousTestCase

from atmosphere.classic.world import World, the_world


class WorldTests(SynchronousTestCase):
    """
    The real world, and others.
    """

    def test_real(self) -> None:
        """
        Without another one it is the real reactor's, and always the same.
        """
        world = the_world()
        self.assertIs(world.reactor, reactor)
        self.assertIs(the_world(), world)
        self.assertEqual(len(world.entropy(5)), 5)
        self.assertIn("127.0.0.1", world.addresses())

    def test_other(self) -> None:
        """
        A world that was handed in is used.
        """
        other: Any = World(object())
        self.assertIs(the_world(other), other)
        self.assertIsNot(the_world(), other)


class ImportTests(SynchronousTestCase):
    """
    What importing costs.
    """

    def test_cheap(self) -> None:
        """
        Importing atmosphere and its faces loads no Twisted and installs no reactor;
        neither does asking for the names of classic install one.
        """
        program = (
            "import sys\n"
            "import atmosphere, atmosphere.network, atmosphere.network.stun\n"
            "import atmosphere.network.nat, atmosphere.network.relay\n"
            "from atmosphere.network.relay import DEFAULT_RELAYS, RelayInfo\n"
            "assert 'twisted' not in sys.modules, 'twisted'\n"
            "from atmosphere.network import *\n"
            "assert 'twisted.internet.reactor' not in sys.modules, 'reactor'\n"
        )
        ended = subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False
        )
        self.assertEqual((ended.returncode, ended.stderr), (0, ""))
