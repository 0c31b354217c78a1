"""
The command that kills programs does what it says; its long run is for people.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys

from twisted.trial.unittest import SynchronousTestCase

from .harness import ROOT


class KillTests(SynchronousTestCase):
    """
    A few rounds.
    """

    def test_few_rounds(self) -> None:
        """
        Each kind of program is killed once and the state looked at; nothing is lost.
        """
        done = subprocess.run(
            [sys.executable, "-m", "tests.end_to_end.kills", "--rounds=5", "--places=5"],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            cwd=ROOT,
            capture_output=True,
            encoding="utf-8",
            timeout=200,
            check=False,
        )
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertRegex(
            done.stdout.splitlines()[-1],
            re.escape("(init 1, invite 1, join 1, leave 1, serve 1), 5 on the state alone; ")
            + r"acknowledged \d+ and \d+; lost, unreadable, redeemed twice: 0; seed 1, \d+ s",
        )
