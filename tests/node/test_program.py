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
        The usual directory, or the one that a variable names, need not be said.
        """
        self.assertEqual(program_for(Path.home() / ".atmosphere", {}), "atmosphere")
        for name in ("ATMOSPHERE_HOME", "ATMOSPHERE_DATA_DIR"):
            self.assertEqual(program_for(Path("/srv/a"), {name: "/srv/a"}), "atmosphere")
        both = {"ATMOSPHERE_HOME": "/srv/a", "ATMOSPHERE_DATA_DIR": "/srv/b"}
        self.assertEqual(program_for(Path("/srv/b"), both), "atmosphere --state /srv/b")

    def test_quoted(self) -> None:
        """
        Another directory is named so that a shell takes it as one word.
        """
        self.assertEqual(program_for(Path("/srv/a"), {}), "atmosphere --state /srv/a")
        odd = "/srv/it's a & b"
        self.assertEqual(shlex.split(program_for(Path(odd), {})), ["atmosphere", "--state", odd])
