"""
The real programs as forks of this process, which has imported them already: many
times faster than starting them, and no less the real ones.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import time
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

from atmosphere.cli.app import main as run_program
from atmosphere.cli.client import LocalClient
from atmosphere.errors import NotRunningError

from .harness import LOOPBACK, free_port

__all__ = ["Command", "Node", "elapsed", "identity_in", "pause"]

elapsed = time.monotonic  # noqa: TID251, the programs run in real time

PATIENCE = 40.0


class Command:
    """
    A command of the real program, in a process of its own which has imported the
    program already; its output goes to a file, so that what was printed is known
    however it ended.
    """

    def __init__(self, folder: Path, state: Path, *arguments: str, stdin: str = "") -> None:
        self.arguments = arguments
        self.began = elapsed()
        self.status: int | None = None
        self._files = [folder / f"{name}.txt" for name in ("in", "out", "err")]
        for file in self._files:
            file.unlink(missing_ok=True)
        self._files[0].write_text(stdin)
        self._err = self._files[2]
        self.pid = os.fork()
        if self.pid == 0:
            self._be({"ATMOSPHERE_HOME": str(state), "HOME": str(folder)})

    def _be(self, variables: Mapping[str, str]) -> NoReturn:
        """
        Be the program.
        """
        try:
            os.environ.update(LOOPBACK, ATMOSPHERE_ALLOW_LOOPBACK="1", **variables)
            for number, file in enumerate(self._files):
                mode = os.O_RDONLY if number == 0 else os.O_WRONLY | os.O_CREAT | os.O_APPEND
                os.dup2(os.open(file, mode, 0o600), number)
            sys.argv = ["atmosphere", *self.arguments]
            run_program()
        except SystemExit as error:
            sys.stdout.flush()
            os._exit(error.code if isinstance(error.code, int) else 1)
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(70)

    @property
    def out(self) -> str:
        """
        What it has printed.
        """
        return self._files[1].read_text() if self._files[1].exists() else ""

    @property
    def err(self) -> str:
        """
        What it has said beside.
        """
        return self._err.read_text() if self._err.exists() else ""

    def is_running(self) -> bool:
        """
        Say whether it has not ended.
        """
        if self.status is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.status = os.waitstatus_to_exitcode(status)
        return self.status is None

    def wait(self) -> int:
        """
        Wait for its end.
        """
        while self.is_running():
            if elapsed() - self.began > PATIENCE:
                self.kill()
                raise AssertionError(f"{self.arguments} ran on: {self.out}{self.err}")
            pause(0.002)
        assert self.status is not None
        return self.status

    def kill(self) -> None:
        """
        Kill it.
        """
        if self.is_running():
            os.kill(self.pid, signal.SIGKILL)
            self.status = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


def pause(seconds: float) -> None:
    """
    Let others run.
    """
    select.select([], [], [], seconds)


class Node:
    """
    A host: its state directory, and its node while it runs.

    @ivar node_id: the identity that was printed.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self.name = name
        self.folder = folder / f"{name}-run"
        self.folder.mkdir()
        self.state = folder / name
        self.port = free_port()
        self.node: Command | None = None
        self.node_id = ""
        self.client = LocalClient(self.state)

    def command(self, *arguments: str, stdin: str = "") -> Command:
        """
        Start a command.
        """
        return Command(self.folder, self.state, *arguments, stdin=stdin)

    def init(self) -> Command:
        """
        Start C{init}.
        """
        return self.command("init", "--name", self.name, "--udp-port", str(self.port))

    def start(self) -> None:
        """
        Start the node, without waiting for it.
        """
        place = self.folder / "node"
        place.mkdir(exist_ok=True)
        self.node = Command(place, self.state, "serve")

    def status(self) -> dict[str, Any]:
        """
        Wait until the node answers.

        @raise AssertionError: it does not, or ends.
        """
        assert self.node is not None
        while True:
            try:
                return self.client.get("/v1/status", timeout=10)
            except NotRunningError:
                if not self.node.is_running():
                    raise AssertionError(f"{self.name} does not start: {self.node.err}") from None
                if elapsed() - self.node.began > PATIENCE:
                    raise AssertionError(f"{self.name} does not answer") from None
            pause(0.01)

    def serve(self) -> dict[str, Any]:
        """
        Start the node unless it runs, and ask it.
        """
        if self.node is None or not self.node.is_running():
            self.start()
        return self.status()

    def kill(self) -> None:
        """
        Kill the node.
        """
        if self.node is not None:
            self.node.kill()
            self.node = None


def identity_in(printed: str) -> str:
    """
    Find the identity in what C{init} prints; empty if it printed nothing.
    """
    return printed.partition("(")[2].partition(")")[0] if "\n" in printed else ""
