"""
Run the command line against a fake node on a real UNIX socket.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from click.testing import CliRunner
from twisted.internet import reactor  # noqa: TID251, real sockets are the point here
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase
from typing_extensions import override

from atmosphere.cli.app import run
from atmosphere.node.config import NodeConfig
from atmosphere.node.control import ControlService
from atmosphere.node.store import NodeStore
from tests.node.fake_node import FakeNode

__all__ = ["CommandTestCase", "Ended", "atmosphere"]


@dataclass(frozen=True)
class Ended:
    """
    A command that has ended.

    @ivar status: its exit code.
    @ivar out: its standard output.
    @ivar err: its standard error.
    """

    status: int
    out: str
    err: str


def atmosphere(*arguments: str, stdin: str = "", env: Mapping[str, str] | None = None) -> Ended:
    """
    Run a command in this process, blocking.
    """
    clean: dict[str, str | None] = {
        name: None for name in os.environ if name.startswith("ATMOSPHERE_")
    }
    with CliRunner().isolation(input=stdin, env={**clean, **(env or {})}) as streams:
        status = run(arguments)
        sys.stdout.flush()
        sys.stderr.flush()
        out, err = streams[0].getvalue(), streams[1].getvalue()
    return Ended(status, out.decode("utf-8"), err.decode("utf-8"))


@contextlib.contextmanager
def state_directory() -> Iterator[Path]:
    """
    Make a directory that is removed afterwards.
    """
    path = Path(tempfile.mkdtemp(prefix="atmosphere-test-"))
    try:
        yield path
    finally:
        shutil.rmtree(path)


class CommandTestCase(TestCase):
    """
    A state directory with a node in it, and a fake that answers for it.

    @ivar state: the state directory.
    @ivar node: the fake.
    """

    timeout = 10

    @override
    def setUp(self) -> None:
        stack = contextlib.ExitStack()
        self.addCleanup(stack.close)
        self.state = stack.enter_context(state_directory()) / "state"
        config = NodeConfig("portland")
        NodeStore.create(self.state, config, wall=lambda: 0.0, entropy=os.urandom).close()
        self.node = FakeNode()

    async def command(
        self,
        *arguments: str,
        stdin: str = "",
        is_running: bool = True,
        env: Mapping[str, str] | None = None,
    ) -> Ended:
        """
        Run a command while the fake answers.
        """
        control = ControlService(reactor, self.state / "control.sock", self.node)  # type: ignore[arg-type]
        if is_running:
            control.startService()
        try:
            ended: Ended = await deferToThread(
                atmosphere, "--state", str(self.state), *arguments, stdin=stdin, env=env
            )
        finally:
            await control.stopService()
        return ended
