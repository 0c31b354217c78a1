# -*- test-case-name: tests.lab.test_internet -*-
"""
Programs that run in a laboratory, and end with it.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import stat
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import atmosphere

from .namespaces import LabError, Namespace, die_with_parent

__all__ = [
    "FOLDER_PREFIX",
    "Programs",
    "Running",
    "Times",
    "atmosphere_command",
    "environment",
    "remove_leftovers",
]

#: How folders of laboratories are called; the process ID of each follows.
FOLDER_PREFIX = "atmosphere-lab-"

#: Seconds that a program may take for anything, on a slow machine.
PATIENCE = 60.0

#: Seconds between two looks at what a program does.
GLANCE = 0.01

#: Where the code is that this is part of.
ROOT = Path(atmosphere.__file__).resolve().parents[1]


class Times(NamedTuple):
    """
    Where time comes from, and how it passes.

    @ivar elapsed: seconds since some moment.
    @ivar wall: POSIX time, by which logs go.
    @ivar pause: waits for some seconds.
    """

    elapsed: Callable[[], float]
    wall: Callable[[], float]
    pause: Callable[[float], None]


def atmosphere_command() -> tuple[str, ...]:
    """
    Find the program C{atmosphere}, as installed with this Python.
    """
    beside = Path(sys.executable).with_name("atmosphere")
    found = str(beside) if beside.exists() else shutil.which("atmosphere")
    if found is not None:
        return (found,)
    return (sys.executable, "-c", "from atmosphere.cli import main; main()")


def environment(home: Path) -> dict[str, str]:
    """
    Make the variables of a program: none of ours but those that keep it in the
    laboratory.
    """
    kept = {name: text for name, text in os.environ.items() if name[:11] != "ATMOSPHERE_"}
    return {
        **kept,
        "ATMOSPHERE_NO_PUBLIC_STUN": "1",
        "HOME": str(home),
        "PYTHONPATH": os.pathsep.join(filter(None, (str(ROOT), kept.get("PYTHONPATH")))),
        "RES_OPTIONS": "timeout:1 attempts:1",
    }


def remove_leftovers(place: Path) -> None:
    """
    Remove the folders of laboratories that were killed: nothing else of them is left.

    @param place: where such folders are made.
    """
    for folder in place.glob(f"{FOLDER_PREFIX}*-*"):
        pid = folder.name.removeprefix(FOLDER_PREFIX).partition("-")[0]
        try:
            facts = folder.lstat()
        except FileNotFoundError:  # another laboratory begins, and was faster
            continue
        is_ours = stat.S_ISDIR(facts.st_mode) and facts.st_uid == os.geteuid()
        if is_ours and pid.isdigit() and not Path(f"/proc/{pid}").exists():
            shutil.rmtree(folder, ignore_errors=True)


class Running:
    """
    A program that runs until it is stopped, or we are.

    @ivar out: the file with its standard output.
    @ivar err: the file with its standard error.
    """

    def __init__(
        self,
        command: Sequence[str],
        variables: Mapping[str, str],
        folder: Path,
        name: str,
        times: Times,
    ) -> None:
        self.name = name
        self.out, self.err = folder / f"{name}.out", folder / f"{name}.err"
        self._times = times
        with open(self.out, "wb") as out, open(self.err, "wb") as err:
            self._process = subprocess.Popen(
                command,
                env=dict(variables),
                cwd=folder,
                stdin=subprocess.PIPE,
                stdout=out,
                stderr=err,
                start_new_session=True,  # Ctrl-C is for us, who stop them in order
                preexec_fn=die_with_parent,
            )

    @property
    def is_running(self) -> bool:
        """
        Whether it has not ended.
        """
        return self._process.poll() is None

    def text(self) -> str:
        """
        Read what it has printed to its standard output.
        """
        return self.out.read_text("utf-8", "replace")

    def failure(self, what: str) -> LabError:
        """
        Make an error of what it did not do.
        """
        said = self.err.read_text("utf-8", "replace").strip().splitlines()[-1:]
        return LabError(f"{self.name} {what}{': ' if said else ''}{''.join(said)[:300]}")

    def wait_until(self, condition: Callable[[], bool], what: str) -> None:
        """
        Look at it again and again until something holds.

        @raise LabError: it has ended, or takes too long.
        """
        end = self._times.elapsed() + PATIENCE
        while not condition():
            if not self.is_running:
                raise self.failure(f"ended with {self._process.returncode} before {what}")
            if self._times.elapsed() > end:
                raise self.failure(f"takes longer than {PATIENCE:g} s until {what}")
            self._times.pause(GLANCE)

    def wait_for(self, text: str) -> None:
        """
        Wait until it has printed something.
        """
        self.wait_until(lambda: text in self.text(), f"it said {text!r}")

    def finish(self) -> str:
        """
        Wait until it has ended well.

        @return: what it printed.
        @raise LabError: it failed or did not end.
        """
        try:
            status = self._process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            raise self.failure("does not end") from None
        if status:
            raise self.failure(f"ended with {status}")
        return self.text()

    def signal(self, number: int) -> None:
        """
        Send it a signal.
        """
        self._process.send_signal(number)

    def stop(self) -> None:
        """
        End it: politely, and if that does not help, at once.
        """
        with contextlib.suppress(OSError):
            if self._process.stdin is not None:
                self._process.stdin.close()
        if self.is_running:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(5)
            except subprocess.TimeoutExpired:
                self._process.kill()
        self._process.wait()


class Programs:
    """
    All programs of a laboratory.

    @ivar folder: where their files are.
    """

    def __init__(self, folder: Path, times: Times) -> None:
        self.folder = folder
        self.times = times
        self._all: list[Running] = []

    def start(self, where: Namespace | None, name: str, *arguments: str) -> Running:
        """
        Start C{atmosphere}.

        @param where: the machine that it runs on; C{None} is this one.
        @param name: what to call this run in file names and messages.
        """
        prefix = () if where is None else where.prefix
        command = (*prefix, *atmosphere_command(), *arguments)
        running = Running(
            command,
            environment(self.folder),
            self.folder,
            f"{name}-{len(self._all)}",
            self.times,
        )
        self._all.append(running)
        return running

    def stop(self) -> None:
        """
        End all, the youngest first.
        """
        while self._all:
            self._all.pop().stop()
