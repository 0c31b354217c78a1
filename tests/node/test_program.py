"""
Tests for how remedies name the program.
"""

from __future__ import annotations

import shlex
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from atmosphere.node.program import program_for


class ProgramTests(SynchronousTestCase):
    """
    What a person is told to type.
    """

    def test_usual(self) -> None:
        """
        The usual directory need not be said, unless a variable names another.
        """
        usual = Path.home() / ".atmosphere"
        self.assertEqual(program_for(usual, {}), "atmosphere")
        self.assertEqual(program_for(usual, {"ATMOSPHERE_HOME": str(usual)}), "atmosphere")
        for name in ("ATMOSPHERE_HOME", "ATMOSPHERE_DATA_DIR"):
            environ = {name: "/srv/a"}
            self.assertEqual(program_for(usual, environ), f"atmosphere --state {usual}")
            self.assertEqual(program_for(Path("/srv/a"), environ), "atmosphere --state /srv/a")

    def test_quoted(self) -> None:
        """
        Another directory is named so that a shell takes it as one word.
        """
        self.assertEqual(program_for(Path("/srv/a"), {}), "atmosphere --state /srv/a")
        odd = "/srv/it's a & b"
        self.assertEqual(shlex.split(program_for(Path(odd), {})), ["atmosphere", "--state", odd])
