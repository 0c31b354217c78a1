"""
A node in a process of its own, which does on demand what a benchmark measures.

The benchmark calls L{Worker.call}; the process, which is this file run as a
program, reads one JSON object a line and answers each with one. Everything
is done over a stream of a link and, to compare, over plain Twisted TCP, by the
same protocols.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from benchmarks.figures import ROOT, resident_bytes
from benchmarks.relay.relay_process import RelayProcess, start_relay

__all__ = ["Worker", "joined_pair"]


class Worker:
    """
    The benchmark's side of one process.

    @ivar state: the state directory of its node, if it has one.
    """

    state = ""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.worker_process"],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def call(self, verb: str, **arguments: Any) -> dict[str, Any]:
        """
        Have something done.

        @raise RuntimeError: it failed in the process.
        """
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None and stdout is not None
        stdin.write(json.dumps({"do": verb, **arguments}) + "\n")
        stdin.flush()
        line = stdout.readline()
        if not line:
            raise RuntimeError(f"the process ended during {verb}")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise RuntimeError(f"{verb}: {answer['error']}")
        return answer

    def cpu(self) -> float:
        """
        Say how much processor time the process has used, in seconds.
        """
        return float(self.call("cpu")["seconds"])

    def resident(self) -> int:
        """
        Say how much memory the process holds.
        """
        return resident_bytes(self._process.pid)

    def stop(self) -> None:
        """
        End the process.
        """
        if self._process.stdin is not None:
            self._process.stdin.close()
        self._process.wait()


@contextmanager
def joined_pair(
    policy: str = "auto",
    proxy: Callable[[int], int] | None = None,
    *,
    has_control: bool = False,
) -> Iterator[tuple[Worker, Worker, RelayProcess]]:
    """
    Start a relay and two nodes in one mesh, linked.

    @param policy: which paths they use.
    @param proxy: begins a proxy before the relay, whose port it is told, and
        returns its own.
    @param has_control: whether the nodes have their local sockets.
    """
    with ExitStack() as stack:
        relay = start_relay()
        stack.callback(relay.stop)
        url = f"ws://127.0.0.1:{relay.port if proxy is None else proxy(relay.port)}"
        pair = []
        for name in ("portland", "seattle"):
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="atmosphere-"))
            worker = Worker()
            stack.callback(worker.stop)
            worker.state = f"{folder}/state"
            worker.call(
                "start",
                name=name,
                state=worker.state,
                relay=url,
                policy=policy,
                has_control=has_control,
            )
            pair.append(worker)
        one, two = pair
        two.call("join", code=one.call("invite")["code"])
        for worker in pair:
            worker.call("linked", kind="relayed" if policy == "relayed" else "direct")
        yield one, two, relay
