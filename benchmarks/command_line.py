"""
The command line and nodes that it serves, as a user would run them: on loopback.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.figures import ROOT

__all__ = ["PROGRAM", "Node", "environment", "serving"]

#: What the installed command does.
PROGRAM = [sys.executable, "-c", "from atmosphere.cli import main; raise SystemExit(main())"]


def environment() -> dict[str, str]:
    """
    Make an environment in which the checkout is importable from anywhere.
    """
    return {**os.environ, "PYTHONPATH": str(ROOT)}


class Node:
    """
    A node with a state directory of its own.
    """

    def __init__(self, state: Path) -> None:
        self.state = state
        self.process: subprocess.Popen[bytes] | None = None

    def arguments(self, *arguments: str) -> list[str]:
        """
        Make the command line of a command for this node.
        """
        return [*PROGRAM, "--state", str(self.state), *arguments]

    def run(self, *arguments: str, text: str | None = None) -> dict[str, Any]:
        """
        Run a command.

        @param text: for its standard input.
        @return: what it printed, by C{--json}.
        """
        done = subprocess.run(
            self.arguments(*arguments, "--json"),
            env=environment(),
            input=text,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f"{arguments[0]} failed: {done.stderr}")
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    def serve(self) -> None:
        """
        Start the node, and wait until it and its relay answer.
        """
        self.process = subprocess.Popen(
            self.arguments(
                "--quiet",
                "serve",
                "--no-public-stun",
                "--allow-loopback",
                *("--interface", "127.0.0.1"),
            ),
            env=environment(),
            stdout=subprocess.DEVNULL,
        )
        self.run("status", "--wait", "20")

    def wait_linked(self) -> None:
        """
        Wait until the node is linked with its one peer, directly.
        """
        for _ in range(100):
            peers = self.run("peers")["peers"]
            path = peers[0]["path"] if peers else None
            if path is not None and path["kind"] == "direct":
                return
            time.sleep(0.1)
        raise RuntimeError("the nodes did not find each other")

    def stop(self) -> None:
        """
        Stop the node.
        """
        if self.process is not None:
            self.process.terminate()
            self.process.wait()


@contextmanager
def serving(relay_url: str, *names: str) -> Iterator[list[Node]]:
    """
    Make nodes and serve them; they are in no mesh yet.

    @param relay_url: the relay that they use.
    """
    with tempfile.TemporaryDirectory(prefix="atmosphere-") as folder:
        nodes = [Node(Path(folder) / name) for name in names]
        try:
            for name, node in zip(names, nodes, strict=True):
                node.run("init", "--name", name, "--relay", relay_url, "--no-public-stun")
                node.serve()
            yield nodes
        finally:
            for node in nodes:
                node.stop()
