"""
Tests for L{atmosphere.cli.demo}: the demo is run for real, as a newcomer would.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from pathlib import Path

from twisted.internet.utils import getProcessOutputAndValue
from twisted.trial.unittest import TestCase

import atmosphere

ROOT = Path(atmosphere.__file__).resolve().parents[1]
RUN = "from atmosphere.cli import main; main()"


class DemoTests(TestCase):
    """
    The demo shows a relayed and a direct transfer, and leaves nothing behind.
    """

    timeout = 60

    async def test_json(self) -> None:
        """
        Both transfers were good, on the same stream, the second one direct; no
        folder is left, and nothing on the standard error.
        """
        folder = Path(tempfile.mkdtemp())
        self.addCleanup(folder.rmdir)
        environ = {**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(folder)}
        out, err, status = await getProcessOutputAndValue(
            sys.executable, ["-c", RUN, "demo", "--json"], env=environ
        )
        self.assertEqual((err.decode(), status), ("", 0))
        facts = json.loads(out)
        self.assertEqual(facts["version"], 1)
        first, second = facts["steps"]
        self.assertEqual(first["path"]["kind"], "relayed")
        self.assertEqual(second["path"]["kind"], "direct")
        self.assertEqual(first["stream"], second["stream"])
        self.assertNotEqual(first["sha256"], second["sha256"])
        self.assertEqual(list(folder.iterdir()), [])

    async def test_text(self) -> None:
        """
        A person reads a few lines, the last of which says that all is over.
        """
        environ = {**os.environ, "PYTHONPATH": str(ROOT)}
        out, err, status = await getProcessOutputAndValue(
            sys.executable, ["-c", RUN, "demo"], env=environ
        )
        lines = out.decode().splitlines()
        self.assertEqual((err.decode(), status), ("", 0))
        self.assertLess(len(lines), 12)
        self.assertIn("relayed", lines[-4])
        self.assertIn("direct", lines[-2])
        self.assertIn("nothing is left behind", lines[-1])
