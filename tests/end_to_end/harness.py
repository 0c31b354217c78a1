"""
Runs the real programs, each in a process of its own, with state directories in
a temporary folder and nothing but loopback.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from twisted.trial.unittest import SkipTest, SynchronousTestCase
from typing_extensions import override

import atmosphere

__all__ = [
    "EndToEndTestCase",
    "Ended",
    "Machine",
    "Program",
    "Relay",
    "can_connect",
    "elapsed",
    "find_program",
    "free_port",
]

#: Seconds that anything may take on a slow machine.
PATIENCE = 60.0

#: Where the code is that these tests came with.
ROOT = Path(atmosphere.__file__).resolve().parents[1]

#: Variables that keep what is started on loopback, whatever options it has.
LOOPBACK = {
    "ATMOSPHERE_INTERFACE": "127.0.0.1",
    "ATMOSPHERE_HOST": "127.0.0.1",
    "ATMOSPHERE_NO_PUBLIC_STUN": "1",
}

elapsed = time.monotonic  # noqa: TID251, the programs run in real time


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


class Program:
    """
    A program that runs until it is stopped.

    @ivar pid: its process ID.
    """

    def __init__(
        self, command: Sequence[str], environment: Mapping[str, str], folder: Path
    ) -> None:
        self.command = list(command)
        self._changed = threading.Condition()
        self._texts = {"out": bytearray(), "err": bytearray()}
        self._process = subprocess.Popen(
            self.command,
            env=dict(environment),
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        self.pid = self._process.pid
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        self._readers = [
            self._read("out", self._process.stdout),
            self._read("err", self._process.stderr),
        ]

    def _read(self, name: str, stream: IO[bytes]) -> threading.Thread:
        """
        Collect what the program prints, so that it never waits for us.
        """

        def collect() -> None:
            with stream:
                while data := os.read(stream.fileno(), 65536):
                    with self._changed:
                        self._texts[name] += data
                        self._changed.notify_all()

        thread = threading.Thread(target=collect, daemon=True)
        thread.start()
        return thread

    @property
    def out(self) -> str:
        """
        What it has printed to its standard output.
        """
        with self._changed:
            return self._texts["out"].decode("utf-8", "replace")

    @property
    def err(self) -> str:
        """
        What it has printed to its standard error.
        """
        with self._changed:
            return self._texts["err"].decode("utf-8", "replace")

    def wait_for(self, text: str, seconds: float = PATIENCE) -> None:
        """
        Wait until the program has printed something.

        @raise AssertionError: it did not in time.
        """
        wanted = text.encode("utf-8")
        with self._changed:
            if self._changed.wait_for(
                lambda: any(wanted in each for each in self._texts.values()), seconds
            ):
                return
        raise AssertionError(f"{self.command}: no {text!r} in:\n{self.out}\n{self.err}")

    def is_running(self) -> bool:
        """
        Say whether it has not ended.
        """
        return self._process.poll() is None

    def wait(self, seconds: float = PATIENCE) -> Ended:
        """
        Wait until the program has ended.

        @raise AssertionError: it did not in time.
        """
        try:
            status = self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{self.command} runs on:\n{self.out}\n{self.err}") from None
        for reader in self._readers:
            reader.join(seconds)
        return Ended(status, self.out, self.err)

    def stop(self, number: int = signal.SIGINT) -> Ended:
        """
        Send it a signal and wait for its end.
        """
        if self.is_running():
            self._process.send_signal(number)
        return self.wait()

    def kill(self) -> None:
        """
        End it without a chance to say good-bye.
        """
        if self.is_running():
            self._process.kill()
        self.wait()


class Machine:
    """
    One of the user's hosts: a state directory and the node that runs on it.

    @ivar state: the state directory.
    @ivar node: the running node.
    @ivar prefix: what stands before each of its commands.
    """

    def __init__(self, case: EndToEndTestCase, name: str) -> None:
        self.case = case
        self.name = name
        self.state = case.folder / name
        self.node: Program | None = None
        self.variables: dict[str, str] = {}
        self.prefix: tuple[str, ...] = ()

    @property
    def environment(self) -> dict[str, str]:
        """
        The variables of all that runs on this host.
        """
        return {"ATMOSPHERE_HOME": str(self.state), **self.variables}

    def run(
        self,
        *arguments: str,
        stdin: str = "",
        status: int | None = 0,
        environment: Mapping[str, str] | None = None,
    ) -> Ended:
        """
        Run a command to its end.

        @param status: how it has to end; C{None} means that the test looks itself.
        """
        variables = {**self.environment, **(environment or {})}
        return self.case.run_command(
            *arguments, stdin=stdin, status=status, environment=variables, prefix=self.prefix
        )

    def json(self, *arguments: str, stdin: str = "", status: int = 0) -> dict[str, Any]:
        """
        Run a command with C{--json}.

        @return: its answer.
        """
        answer: dict[str, Any] = json.loads(
            self.run(*arguments, "--json", stdin=stdin, status=status).out
        )
        self.case.assertEqual(answer["version"], 1)
        return answer

    def init(self, *arguments: str) -> None:
        """
        Make the node, with a UDP port that nobody else has.
        """
        self.run("init", "--name", self.name, "--udp-port", str(free_port()), *arguments)

    def serve(self, *arguments: str, program: str = "atmosphere") -> Program:
        """
        Start the node and wait until it is up and its relay has welcomed it.

        @param program: C{atmosphere}, or C{twistd}.
        """
        self.node = self.start(*arguments, program=program)
        self.run("status", "--wait", "30")
        return self.node

    def start(self, *arguments: str, program: str = "atmosphere") -> Program:
        """
        Start the node, and wait for nothing.
        """
        command = ["serve"] if program == "atmosphere" else ["-n", "atmosphere", "--node"]
        return self.case.start(
            program, *command, *arguments, environment=self.environment, prefix=self.prefix
        )

    def start_unwelcome(self, *arguments: str) -> Program:
        """
        Start the node and wait until it answers, whatever its relay does.
        """
        self.node = self.start(*arguments)
        self.case.wait_until(
            lambda: self.run("status", status=None).status == 0, f"{self.name} answers"
        )
        return self.node

    def kill(self) -> None:
        """
        Kill the node.
        """
        assert self.node is not None
        self.node.kill()

    def wait_until_connected(self, *names: str) -> list[dict[str, Any]]:
        """
        Wait until the node is connected with others.

        @return: its peers.
        """
        found: list[dict[str, Any]] = []

        def look() -> bool:
            found[:] = self.json("peers")["peers"]
            connected = {peer["name"] for peer in found if peer["state"] == "connected"}
            return connected >= set(names)

        self.case.wait_until(look, f"{self.name} connected with {names}")
        return found


class Relay:
    """
    A relay on ports of its own, which it keeps when it is started again.
    """

    def __init__(
        self, case: EndToEndTestCase, *arguments: str, program: str = "atmosphere"
    ) -> None:
        self._case = case
        self._program = program
        self.port, self.stun_port = free_port(), free_port()
        self._arguments = [
            *(["relay"] if program == "atmosphere" else ["-n", "atmosphere", "--relay"]),
            *("--host", "127.0.0.1", "--port", str(self.port)),
            *("--stun-port", str(self.stun_port), *arguments),
        ]
        self.url = f"{'wss' if '--cert' in arguments else 'ws'}://127.0.0.1:{self.port}"
        self.start()

    def start(self) -> None:
        """
        Start it, and wait until it listens and has said so.
        """
        self.program = self._case.start(self._program, *self._arguments)
        self._case.wait_until(
            lambda: can_connect(self.port) and "\n" in self.program.out, "the relay listens"
        )

    def kill(self) -> None:
        """
        Kill it.
        """
        self.program.kill()


class EndToEndTestCase(SynchronousTestCase):
    """
    A folder for the state of all hosts, and the processes of one test, which all
    end with it.

    @ivar folder: the folder.
    @ivar programs: all that was started.
    @ivar ended: all that has run to its end, as (arguments, result).
    """

    @override
    def setUp(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="atmosphere-"))
        self.addCleanup(shutil.rmtree, self.folder)
        self.programs: list[Program] = []
        self.ended: list[tuple[tuple[str, ...], Ended]] = []
        self.addCleanup(self._end_all)

    def _end_all(self) -> None:
        """
        End what still runs.
        """
        for program in reversed(self.programs):
            program.kill()

    def _environment(self, environment: Mapping[str, str] | None) -> dict[str, str]:
        """
        Make the variables of a process: none of ours but the given ones.
        """
        kept = {name: text for name, text in os.environ.items() if name[:11] != "ATMOSPHERE_"}
        return {
            **kept,
            **LOOPBACK,
            "HOME": str(self.folder),
            "PYTHONPATH": str(ROOT),
            "RES_OPTIONS": "timeout:1 attempts:1",
            **(environment or {}),
        }

    def start(
        self,
        name: str,
        *arguments: str,
        environment: Mapping[str, str] | None = None,
        prefix: Sequence[str] = (),
    ) -> Program:
        """
        Start a program for the length of the test.

        @param name: C{atmosphere}, C{twistd}, or the path of another program.
        @param prefix: what stands before the command.
        """
        place = self.folder / f"run-{len(self.programs)}"  # twistd keeps its pid where it runs
        place.mkdir()
        command = [*prefix, find_program(name), *arguments]
        program = Program(command, self._environment(environment), place)
        self.programs.append(program)
        return program

    def run_command(
        self,
        *arguments: str,
        stdin: str = "",
        status: int | None = 0,
        program: str = "atmosphere",
        environment: Mapping[str, str] | None = None,
        prefix: Sequence[str] = (),
    ) -> Ended:
        """
        Run a command to its end.

        @param status: how it has to end; C{None} means that the test looks itself.
        """
        try:
            done = subprocess.run(
                [*prefix, find_program(program), *arguments],
                env=self._environment(environment),
                cwd=self.folder,
                input=stdin,
                capture_output=True,
                encoding="utf-8",
                timeout=PATIENCE,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise AssertionError(f"{arguments} ran on: {error.stdout!r} {error.stderr!r}") from None
        ended = Ended(done.returncode, done.stdout, done.stderr)
        self.ended.append((arguments, ended))
        if status is not None and ended.status != status:
            logs = "\n".join(f"{each.command}\n{each.out}{each.err}" for each in self.programs)
            self.fail(f"{arguments} ended with {ended.status}, not {status}: {ended}\n{logs}")
        return ended

    def wait_until(
        self, condition: Callable[[], bool], what: str, seconds: float = PATIENCE
    ) -> None:
        """
        Ask again and again until something holds.
        """
        end = elapsed() + seconds
        pause = threading.Event()
        while not condition():
            if elapsed() > end:
                self.fail(f"not within {seconds:g} s: {what}")
            pause.wait(0.05)

    def assert_one_line(self, ended: Ended, status: int, *texts: str) -> None:
        """
        Check that a command failed as people can bear it: one line on standard
        error, which says certain things, and no traceback.
        """
        self.assertEqual(ended.status, status, ended)
        self.assertEqual(len(ended.err.splitlines()), 1, ended.err)
        self.assertTrue(ended.err.startswith("atmosphere: "), ended.err)
        for text in texts:
            self.assertIn(text, ended.err)
        self.assertNotIn("Traceback", ended.out + ended.err)

    def assert_no_traceback(self) -> None:
        """
        Check that nothing that was started has printed a traceback.
        """
        for program in self.programs:
            self.assertNotIn("Traceback", program.out + program.err)
        for arguments, ended in self.ended:
            self.assertNotIn("Traceback", ended.out + ended.err, str(arguments))


def find_program(name: str) -> str:
    """
    Find a program that was installed together with this Python.

    @raise SkipTest: it was not.
    """
    if os.path.isabs(name):
        return name
    beside = Path(sys.executable).with_name(name)
    found = str(beside) if beside.exists() else shutil.which(name)
    if found is None:
        raise SkipTest(f"{name} is not installed: pip install -e . puts it beside Python")
    return found


def can_connect(port: int) -> bool:
    """
    Say whether something listens on a TCP port of loopback.
    """
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def free_port() -> int:
    """
    Find a port that is free for TCP and for UDP.
    """
    while True:
        with (
            socket.socket(socket.AF_INET, socket.SOCK_STREAM) as tcp,
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp,
            contextlib.suppress(OSError),
        ):
            tcp.bind(("127.0.0.1", 0))
            port: int = tcp.getsockname()[1]
            udp.bind(("127.0.0.1", port))
            return port
