"""
Run commands as processes of their own, none of which outlives its test.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

__all__ = ["ProcessCase", "finish", "read_object"]

ROOT = Path(__file__).parents[2]

RUN = "from atmosphere.cli import main; main()"


def finish(process: subprocess.Popen[str], stdin: str | None = None) -> tuple[int, str, str]:
    """
    Wait for a command's end.
    """
    try:
        out, err = process.communicate(stdin, timeout=20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        raise
    return process.returncode, out, err


def read_object(process: subprocess.Popen[str]) -> dict[str, Any]:
    """
    Read the JSON object that a command prints first.
    """
    assert process.stdout is not None
    text = ""
    for line in process.stdout:
        text += line
        if line == "}\n":
            found: dict[str, Any] = json.loads(text)
            return found
    raise AssertionError(f"no object: {text!r} {finish(process)!r}")


class ProcessCase(SynchronousTestCase):
    """
    A test that starts commands.
    """

    def start(
        self,
        *arguments: str,
        stdin: int | None = subprocess.DEVNULL,
        env: Mapping[str, str] | None = None,
    ) -> subprocess.Popen[str]:
        """
        Start a command; what still runs of it when the test is over is killed.

        @param env: variables beside those that are set.
        """
        clean = {name: value for name, value in os.environ.items() if "ATMOSPHERE" not in name}
        process = subprocess.Popen(
            [sys.executable, "-c", RUN, *arguments],
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**clean, **(env or {}), "PYTHONPATH": str(ROOT)},
        )
        self.addCleanup(self._end, process)
        return process

    def _end(self, process: subprocess.Popen[str]) -> None:
        """
        Leave nothing of a command behind.
        """
        if process.poll() is None:
            process.kill()
            process.wait()
        for stream in (process.stdin, process.stdout, process.stderr):
            if stream is not None:
                stream.close()

    @contextmanager
    def running(
        self, *arguments: str, env: Mapping[str, str] | None = None
    ) -> Iterator[dict[str, Any]]:
        """
        Run a command that stays, and stop it at the end.

        @param env: variables beside those that are set.
        @return: what it says first.
        """
        process = self.start("--json", *arguments, env=env)
        try:
            yield read_object(process)
        finally:
            process.terminate()
            status, _, err = finish(process)
        if status != 0 or "Traceback" in err:
            raise AssertionError(f"{arguments} ended with {status}: {err}")
