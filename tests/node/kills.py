"""
Processes that do to a state directory what commands do to it, and are killed in
the midst of it: between any two lines of our own, or at any microsecond.

Each acknowledges what it has done at the place where the command would print it.
L{Kills} then opens the directory as the next start does, and compares.
"""

from __future__ import annotations

import json
import os
import random
import select
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

from atmosphere.certificates import decode_chain
from atmosphere.identity import NodeID, NodeKey
from atmosphere.membership import membership_of
from atmosphere.mesh.invitation import (
    Invitation,
    Redeemed,
    Refused,
    invitation_key,
    invitation_of,
    redeem_proof,
    redeem_rule,
)
from atmosphere.mesh.join_code import JoinCode, issue_join_code
from atmosphere.mesh.joiner import Admitted
from atmosphere.node.config import NodeConfig
from atmosphere.node.mesh import NodeMesh
from atmosphere.node.store import NodeStore

__all__ = ["DEEDS", "Kills"]

NOW = 1_800_000_000.0
BINDING = b"channel binding!"

#: Whose lines count as places at which a process is killed.
OURS = tuple(
    os.path.join("atmosphere", room) for room in ("node", "mesh", "membership", "certificates")
)

Acknowledge = Callable[..., None]
Deed = Callable[["Kills", random.Random, Acknowledge], None]


def wall() -> float:
    """
    Say a time that never changes.
    """
    return NOW


@dataclass
class Known:
    """
    What was acknowledged, over all rounds.

    @ivar nodes: the identity in each directory.
    @ivar codes: the codes that were handed out, in order.
    @ivar redeemed: who was certified by each code, by its place in C{codes}.
    @ivar is_member: whether the joiner is a member; C{None} is not known, since it
        was killed in between.
    @ivar sequence: the last record of the issuer's that went out.
    """

    nodes: dict[str, str] = field(default_factory=dict)
    codes: list[str] = field(default_factory=list)
    redeemed: dict[int, str] = field(default_factory=dict)
    is_member: bool | None = False
    sequence: int = 0


class Kills:
    """
    Two state directories, C{issuer} and C{joiner}, any number that are only made,
    and all that may never be lost of them.

    @ivar problems: what was lost, changed or unreadable; one line each.
    @ivar rounds: how many processes were killed, by what they did.
    @ivar acknowledged: how much they had acknowledged.
    """

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder = folder
        self.random = random.Random(seed)
        self.known = Known()
        self.problems: list[str] = []
        self.rounds: dict[str, int] = {}
        self.acknowledged = 0
        self._opened: list[NodeStore] = []
        self._seen: set[str] = set()
        for name in ("issuer", "joiner"):
            config = NodeConfig(name)
            with NodeStore.create(folder / name, config, wall=wall, entropy=os.urandom) as store:
                self.known.nodes[name] = str(store.key.node_id)
        self.open_mesh("issuer")[1].found("home", ())
        self.close_all()

    # What the processes use.

    def open_mesh(self, name: str) -> tuple[NodeStore, NodeMesh]:
        """
        Open a directory as its node does.
        """
        store = NodeStore.open(self.folder / name, wall=wall)
        self._opened.append(store)
        return store, NodeMesh(store, wall=wall, entropy=os.urandom)

    def close_all(self) -> None:
        """
        Close what was opened.
        """
        for store in self._opened:
            store.close()
        self._opened.clear()

    def redeem(self, store: NodeStore, code: JoinCode, joiner: NodeID) -> Redeemed | Refused:
        """
        Redeem a code, as a node does at which somebody joins.
        """
        assert code.secret is not None
        key = invitation_key(code.secret, code.invite_id)
        issuer = store.key.node_id
        proof = redeem_proof(key, code.invite_id, issuer=issuer, joiner=joiner, binding=BINDING)

        def check(held: Invitation | None) -> Redeemed | Refused:
            return redeem_rule(held, joiner, proof, BINDING, issuer, NOW)

        return store.invitations.redeem(code.invite_id, joiner, check)

    # Killing.

    def round(self, deed: str, place: int | None = None) -> None:
        """
        Let a process do something again and again until it is killed, and see
        what it has left.

        @param place: the line of ours before which it is killed; C{None} means some
            moment after some of its acknowledgements.
        """
        told, tell = os.pipe()
        seed = self.random.getrandbits(32)
        child = os.fork()
        if child == 0:
            self._child(deed, seed, tell, place)
        os.close(tell)
        with os.fdopen(told, "rb", buffering=0) as pipe:
            lines = b""
            if place is None:
                awaited, delay = self.random.randrange(4), self.random.random() * 0.012
                while lines.count(b"\n") < awaited and (more := os.read(told, 65536)):
                    lines += more
                select.select([], [], [], delay)
                os.kill(child, signal.SIGKILL)
            while more := pipe.read(65536):
                lines += more
            _, status = os.waitpid(child, 0)
        if status != signal.SIGKILL:
            self.problems.append(f"{deed}: its process failed by itself, with {status}")
        self.rounds[deed] = self.rounds.get(deed, 0) + 1
        whole = lines[: lines.rfind(b"\n") + 1].splitlines()
        self.acknowledged += len(whole)
        self._learn(deed, [json.loads(line) for line in whole])
        self.look(f"{deed} {'at a moment' if place is None else f'at place {place}'}")

    def _child(self, deed: str, seed: int, tell: int, place: int | None) -> None:
        """
        Be the process.
        """
        try:
            entropy = random.Random(seed)

            def acknowledge(**facts: Any) -> None:
                os.write(tell, json.dumps(facts).encode() + b"\n")

            if place is not None:
                sys.settrace(killer(place))
            for _ in range(1000):
                DEEDS[deed](self, entropy, acknowledge)
                self.close_all()
        except BaseException as error:
            sys.settrace(None)
            os.write(2, f"{deed}: {error!r}\n".encode())
            raise
        finally:
            os._exit(1)

    def _learn(self, deed: str, facts: list[dict[str, Any]]) -> None:
        """
        Take in what was acknowledged.
        """
        known = self.known
        for fact in facts:
            known.nodes.update(fact.get("made", {}))
            if "code" in fact:
                known.codes.append(fact["code"])
            if "redeemed" in fact:
                if known.redeemed.setdefault(fact["redeemed"], fact["by"]) != fact["by"]:
                    self.problems.append(f"{deed}: code {fact['redeemed']} was redeemed twice")
            known.is_member = fact.get("member", known.is_member)  # null before it changes
            known.sequence = max(known.sequence, fact.get("sequence", 0))

    # Looking.

    def look(self, when: str) -> None:
        """
        Open everything, and compare it with what was acknowledged.
        """

        def check(is_right: bool, what: str) -> None:
            if not is_right:
                self.problems.append(f"{when}: {what}")

        for name in sorted({*self.known.nodes} - self._seen | {"issuer", "joiner"}):
            self._seen.add(name)
            with NodeStore.open(self.folder / name, wall=wall) as store:
                node = str(store.key.node_id)
                check(node == self.known.nodes[name], f"{name} has another identity")
                check(not store.notices, f"{name}: {store.notices}")
        for path in self.folder.iterdir():
            if path.name not in self._seen:
                self._seen.add(path.name)
                self._look_at_unfinished(path, check)
        store, mesh = self.open_mesh("issuer")
        check(mesh.is_admin and store.root_key() is not None, "the issuer admits nobody")
        kept = {each.invite_id: each for each in store.invitations.list()}
        for number, text in enumerate(self.known.codes):
            code = JoinCode.from_compact(text)
            invitation = kept.get(code.invite_id)
            check(invitation is not None, f"code {number} is lost")
            if invitation is None:
                continue
            assert code.secret is not None
            key = invitation_key(code.secret, code.invite_id)
            check(invitation.key.reveal() == key.reveal(), f"code {number} has another key")
            by = [str(each) for each in invitation.redeemed_by]
            check(len(by) <= 1, f"code {number} was redeemed twice")
            told = self.known.redeemed.get(number)
            check(told is None or by == [told], f"code {number}: its redemption is lost")
        sequence = store.fact("record_sequence")
        check((sequence or 0) >= self.known.sequence, "a record's number is used again")
        self._look_at_joiner(check)
        self.close_all()
        self._try_a_code(check)

    def _look_at_unfinished(self, path: Path, check: Callable[[bool, str], None]) -> None:
        """
        See whether a directory of which nothing was printed is a node, or becomes
        one by the next C{init}.
        """
        if NodeStore.exists(path):
            store = NodeStore.open(path, wall=wall)
            check(not store.notices, f"{path.name}: {store.notices}")
        else:
            store = NodeStore.create(path, NodeConfig("x"), wall=wall, entropy=os.urandom)
        store.close()

    def _look_at_joiner(self, check: Callable[[bool, str], None]) -> None:
        """
        See whether the joiner is what it was told to be.
        """
        store, mesh = self.open_mesh("joiner")
        is_member = store.mesh is not None
        known = self.known.is_member
        check(known is None or known == is_member, f"the joiner is a member: {is_member}")
        check(not is_member or mesh.own is not None, "the joiner's chain is lost")
        self.known.is_member = is_member

    def _try_a_code(self, check: Callable[[bool, str], None]) -> None:
        """
        Redeem a code that was redeemed before, as somebody else.
        """
        if not self.known.redeemed:
            return
        number = self.random.choice(sorted(self.known.redeemed))
        stranger = NodeKey(self.random.randbytes(32)).node_id
        store, _ = self.open_mesh("issuer")
        outcome = self.redeem(store, JoinCode.from_compact(self.known.codes[number]), stranger)
        check(isinstance(outcome, Refused), f"code {number} could be redeemed twice")
        self.close_all()


def killer(place: int) -> Callable[[FrameType, str, object], Any]:
    """
    Make a trace function that kills the process before the n-th line of ours.
    """
    left = place

    def trace(frame: FrameType, event: str, _: object) -> Any:
        nonlocal left
        if not any(each in frame.f_code.co_filename for each in OURS):
            return None
        if event == "line":
            left -= 1
            if left < 0:
                os.kill(os.getpid(), signal.SIGKILL)
        return trace

    return trace


# What the processes do; each is called again and again.


def _init(kills: Kills, entropy: random.Random, acknowledge: Acknowledge) -> None:
    """
    C{atmosphere init}: make a node.
    """
    name = f"made-{entropy.getrandbits(64):016x}"
    config = NodeConfig("x")
    with NodeStore.create(kills.folder / name, config, wall=wall, entropy=os.urandom) as store:
        node = str(store.key.node_id)
    acknowledge(made={name: node})


def _invite(kills: Kills, entropy: random.Random, acknowledge: Acknowledge) -> None:
    """
    C{atmosphere invite}: print a code.
    """
    store, mesh = kills.open_mesh("issuer")
    code = issue_join_code(
        store.key,
        mesh.chain,
        mesh_name="home",
        endpoint="192.0.2.1:7777",
        wall=NOW,
        entropy=os.urandom,
        lifetime=86400.0,
    )
    store.invitations.add(invitation_of(code))
    acknowledge(code=code.code)


def _join(kills: Kills, entropy: random.Random, acknowledge: Acknowledge) -> None:
    """
    C{atmosphere join}: at the issuer redeem a code and sign, at the joiner keep the
    membership. A joiner that is a member leaves first.
    """
    store, mesh = kills.open_mesh("issuer")
    other, joined = kills.open_mesh("joiner")
    open_codes = [
        number for number in range(len(kills.known.codes)) if number not in kills.known.redeemed
    ]
    if not open_codes:
        _invite_here(kills, store, mesh, acknowledge)
        open_codes = [len(kills.known.codes) - 1]
    number = open_codes[0]
    joiner = other.key.node_id
    acknowledge(member=None)
    if other.mesh is not None:
        joined.leave()
    code = JoinCode.from_compact(kills.known.codes[number])
    if isinstance(kills.redeem(store, code, joiner), Refused):
        raise AssertionError(f"code {number} is refused")
    chain = mesh.issue(joiner, "joiner")
    kills.known.redeemed[number] = str(joiner)
    acknowledge(redeemed=number, by=str(joiner))
    membership = membership_of(decode_chain(chain))
    members = tuple(mesh.introductions())
    joined.adopt(Admitted(membership, chain, "home", None, members), ("ws://192.0.2.1:8080",))
    acknowledge(member=True)


def _invite_here(kills: Kills, store: NodeStore, mesh: NodeMesh, acknowledge: Acknowledge) -> None:
    """
    Make a code of an open store's.
    """
    code = issue_join_code(
        store.key,
        mesh.chain,
        mesh_name="home",
        endpoint="192.0.2.1:7777",
        wall=NOW,
        entropy=os.urandom,
    )
    store.invitations.add(invitation_of(code))
    acknowledge(code=code.code)
    kills.known.codes.append(code.code)


def _leave(kills: Kills, entropy: random.Random, acknowledge: Acknowledge) -> None:
    """
    C{atmosphere leave}: forget the mesh; one that is in none joins first.
    """
    other, joined = kills.open_mesh("joiner")
    if other.mesh is None:
        kills.close_all()
        _join(kills, entropy, acknowledge)
        kills.close_all()
        other, joined = kills.open_mesh("joiner")
    acknowledge(member=None)
    joined.leave()
    acknowledge(member=False)


def _serve(kills: Kills, entropy: random.Random, acknowledge: Acknowledge) -> None:
    """
    C{atmosphere serve}: start, sign records, take members in, end.
    """
    store, mesh = kills.open_mesh("issuer")
    store.save_udp_port(7777)
    for _ in range(2):
        mesh.issue(NodeKey(entropy.randbytes(32)).node_id, "somebody")
        mesh.publish([], [f"wss://relay-{entropy.getrandbits(32)}.example"], (), "1")
        acknowledge(sequence=store.fact("record_sequence"))


DEEDS: dict[str, Deed] = {
    "init": _init,
    "invite": _invite,
    "join": _join,
    "leave": _leave,
    "serve": _serve,
}
