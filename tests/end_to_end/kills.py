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
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from atmosphere.errors import AtmosphereError
from atmosphere.mesh.join_code import JoinCode
from atmosphere.node.store import NodeStore
from tests.node.kills import DEEDS, Kills

from .forked import Command, Node, elapsed, identity_in, pause

__all__ = ["main"]

#: Seconds that each deed takes, to begin with; later its last one.
TYPICAL = {"init": 0.1, "invite": 0.1, "join": 0.8, "leave": 0.1, "serve": 0.4}


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
