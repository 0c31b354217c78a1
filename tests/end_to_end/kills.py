"""
Kills the real programs, again and again, and looks at what they leave.

Run from the root of a checkout::

    python -m tests.end_to_end.kills [--rounds 200] [--places 400] [--seed 1]

Each round starts C{init}, C{invite}, C{join}, C{leave} or C{serve}, as processes on
loopback with a state directory of their own, and kills one of them, or the node that
it talks to, at a random moment. Then the node is started again: it must answer
C{status} with the same identity, and all that was printed must hold. C{--places} adds
rounds that work on the state alone and are killed between any two lines of code, see
L{tests.node.kills}. The last line has the figures; the status is 1 if anything was lost.
"""

from __future__ import annotations

import argparse
import os
import random
import select
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NoReturn

from atmosphere.cli.app import main as run_program
from atmosphere.cli.client import LocalClient
from atmosphere.errors import AtmosphereError, NotRunningError
from atmosphere.mesh.join_code import JoinCode
from atmosphere.node.store import NodeStore
from tests.node.kills import DEEDS, Kills

from .harness import LOOPBACK, free_port

__all__ = ["main"]

elapsed = time.monotonic  # noqa: TID251, the programs run in real time

#: Seconds that each deed takes, to begin with; later its last one.
TYPICAL = {"init": 0.1, "invite": 0.1, "join": 0.8, "leave": 0.1, "serve": 0.4}
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


class Session:
    """
    A node that invites, one that joins and leaves, and many that are made.

    @ivar problems: what was lost; one line each.
    """

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder = folder
        self.random = random.Random(seed)
        self.problems: list[str] = []
        self.kills = dict.fromkeys(TYPICAL, 0)
        self.printed = 0
        self._typical = dict(TYPICAL)
        self._codes: dict[str, str] = {}
        self._used: dict[str, str] = {}
        self.issuer, self.joiner = Node(folder, "portland"), Node(folder, "seattle")
        for node in (self.issuer, self.joiner):
            made = node.init()
            made.wait()
            node.node_id = identity_in(made.out)
        self.issuer.serve()
        self._invite_whole()

    def check(self, when: str, is_right: bool, what: str) -> None:
        """
        Note what is not as it has to be.
        """
        if not is_right:
            self.problems.append(f"{when}: {what}")

    def round(self, deed: str) -> None:
        """
        Do something, kill who does it, and look.
        """
        try:
            getattr(self, f"_{deed}")()
            self._look(deed)
        except (AssertionError, AtmosphereError) as error:
            self.problems.append(f"{deed}: {error}")
            self.issuer.kill()
            self.joiner.kill()

    def _kill_in_time(self, deed: str, began: Callable[[], Command], *others: Node) -> Command:
        """
        Start a command, and at some moment kill it, or a node that it needs, or all.
        """
        victims = self.random.randrange(3) if others else 0
        moment = self.random.random() * self._typical[deed] * 1.6
        command = began()
        until = elapsed() + moment
        while (left := until - elapsed()) > 0 and command.is_running():
            pause(min(left, 0.001))
        if not command.is_running():
            self._typical[deed] = elapsed() - command.began
        if victims != 1:
            command.kill()
        if victims != 0:
            for node in others:
                node.kill()
        until = elapsed() + 2
        while victims and command.is_running() and elapsed() < until:
            pause(0.005)
        command.kill()  # nobody waits half a minute for a node that is dead
        self.kills[deed] += 1
        self.check(deed, "Traceback" not in command.err, command.err)
        return command

    # What is done, and killed.

    def _init(self) -> None:
        """
        Make a node, and if nothing was printed, make it once more.
        """
        node = Node(self.folder, f"made-{self.kills['init']}")
        command = self._kill_in_time("init", node.init)
        printed = identity_in(command.out)
        self.printed += bool(printed)
        if not printed:
            again = node.init()
            status = again.wait()
            has_node = "there is a node in" in again.err
            self.check("init", status == 0 or has_node, f"a second init: {again.err}")
            printed = identity_in(again.out)
        found = node.serve()["node_id"]
        self.check("init", printed in ("", found), "another identity")
        node.kill()
        shutil.rmtree(node.state)
        shutil.rmtree(node.folder)

    def _invite(self) -> None:
        """
        Print a code.
        """
        self.issuer.serve()
        command = self._kill_in_time("invite", lambda: self.issuer.command("invite"), self.issuer)
        if command.out.endswith("\n"):
            self._keep(command.out.strip())

    def _invite_whole(self) -> str:
        """
        Print a code without being killed.
        """
        self.issuer.serve()
        command = self.issuer.command("invite")
        if command.wait():
            raise AssertionError(f"invite: {command.err}")
        return self._keep(command.out.strip())

    def _keep(self, text: str) -> str:
        """
        Keep a code that was printed.
        """
        self.printed += 1
        self._codes[JoinCode.from_compact(text).invite_id.hex()] = text
        return text

    def _fresh(self) -> tuple[str, str]:
        """
        Take a code that nobody has used, as far as we know.
        """
        for invite_id, text in self._codes.items():
            if invite_id not in self._used:
                return invite_id, text
        self._invite_whole()
        return self._fresh()

    def _be_outside(self) -> None:
        """
        Have the joiner in no mesh.
        """
        if self._is_member():
            self.joiner.kill()
            self.joiner.command("leave").wait()

    def _is_member(self) -> bool:
        """
        Say what stands on the joiner's disk.
        """
        with NodeStore.peek(self.joiner.state, wall=time.time) as store:  # noqa: TID251
            return store.mesh is not None

    def _join(self) -> None:
        """
        Join by a code: in the command itself or in a node that runs; if that did not
        end well, again by the same code, as its user would.
        """
        self._be_outside()
        invite_id, text = self._fresh()
        self.issuer.serve()
        if self.random.randrange(2):
            self.joiner.serve()
        command = self._kill_in_time(
            "join", lambda: self.joiner.command("join", "-", stdin=text), self.issuer, self.joiner
        )
        self.issuer.serve()
        has_joined = command.out.startswith("joined the mesh")
        self.printed += has_joined
        is_member = self._is_member()
        self.check("join", is_member or not has_joined, "a membership is lost")
        if not is_member:
            again = self.joiner.command("join", "-", stdin=text)
            if again.wait() and not self._is_member():
                raise AssertionError(f"join, for the second time: {again.err}")
        self._used[invite_id] = self.joiner.node_id

    def _leave(self) -> None:
        """
        Leave.
        """
        if not self._is_member():
            self._join_whole()
        if self.random.randrange(2):
            self.joiner.serve()
        command = self._kill_in_time(
            "leave", lambda: self.joiner.command("leave"), *[self.joiner] * bool(self.joiner.node)
        )
        has_left = command.out.startswith("left the mesh")
        self.printed += has_left
        self.check("leave", not (has_left and self._is_member()), "it is a member again")

    def _join_whole(self) -> None:
        """
        Join without being killed.
        """
        invite_id, text = self._fresh()
        self.issuer.serve()
        command = self.joiner.command("join", "-", stdin=text)
        if command.wait():
            raise AssertionError(f"join: {command.err}")
        self._used[invite_id] = self.joiner.node_id

    def _serve(self) -> None:
        """
        Run a node: kill it while it starts, and while it runs.
        """
        node = self.random.choice((self.issuer, self.joiner))
        node.kill()
        before = self._is_member()

        def begin() -> Command:
            node.start()
            assert node.node is not None
            return node.node

        self._kill_in_time("serve", begin)
        self.check("serve", before == self._is_member(), "its membership changed")

    # Looking.

    def _look(self, deed: str) -> None:
        """
        Start both nodes and compare what they say with what was printed.
        """
        for node in (self.issuer, self.joiner):
            status = node.serve()
            self.check(deed, status["node_id"] == node.node_id, f"{node.name} is another node")
            assert node.node is not None
            self.check(deed, "corrupt-" not in node.node.err, f"{node.name}: {node.node.err}")
        kept = {
            each["invite_id"]: each
            for each in self.issuer.client.get("/v1/invitations")["invitations"]
        }
        for invite_id in self._codes:
            by = kept.get(invite_id, {}).get("redeemed_by")
            self.check(deed, by is not None, f"the code {invite_id} is lost")
            self.check(deed, len(by or ()) < 2, f"the code {invite_id} was redeemed twice")
            used = self._used.get(invite_id)
            self.check(deed, used is None or by == [used], f"the redemption of {invite_id} is lost")
        for file in (*self.issuer.state.iterdir(), *self.joiner.state.iterdir()):
            self.check(deed, ".corrupt-" not in file.name, f"{file} was found damaged")
        self.joiner.kill()


def identity_in(printed: str) -> str:
    """
    Find the identity in what C{init} prints; empty if it printed nothing.
    """
    return printed.partition("(")[2].partition(")")[0] if "\n" in printed else ""


def say(text: str) -> None:
    """
    Tell people.
    """
    print(text, flush=True)  # noqa: T201


def main() -> int:
    """
    Run the rounds.

    @return: the status to end with.
    """
    parser = argparse.ArgumentParser(prog="python -m tests.end_to_end.kills")
    parser.add_argument("--rounds", type=int, default=200, help="of the real programs")
    parser.add_argument("--places", type=int, default=400, help="rounds on the state alone")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(143))
    folder = Path(tempfile.mkdtemp(prefix="atmosphere-kills-"))
    began = elapsed()
    problems: list[str] = []
    session: Session | None = None
    state: Kills | None = None
    try:
        (folder / "programs").mkdir()
        if options.rounds:
            session = Session(folder / "programs", options.seed)
            for number in range(options.rounds):
                session.round(list(TYPICAL)[number % len(TYPICAL)])
                if (number + 1) % 20 == 0:
                    say(f"{number + 1} of {options.rounds} rounds, {elapsed() - began:.0f} s")
            problems += session.problems
        if options.places:
            (folder / "state").mkdir()
            state = Kills(folder / "state", options.seed)
            for number in range(options.places):
                place = None if number % 2 else state.random.randrange(1500)
                state.round(list(DEEDS)[number // 2 % len(DEEDS)], place)
            problems += [f"on the state alone: {each}" for each in state.problems]
    finally:
        if session is not None:
            session.issuer.kill()
            session.joiner.kill()
        shutil.rmtree(folder, ignore_errors=True)
    for problem in problems:
        say(f"lost: {problem}")
    by_deed = ", ".join(f"{name} {n}" for name, n in (session.kills if session else {}).items())
    say(
        f"kills: {options.rounds} programs ({by_deed}), {options.places} on the state alone;"
        f" acknowledged {session.printed if session else 0}"
        f" and {state.acknowledged if state else 0};"
        f" lost, unreadable, redeemed twice: {len(problems)}; seed {options.seed},"
        f" {elapsed() - began:.0f} s"
    )
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
