"""
Damaged disks: whatever becomes of the files of a state directory, the next start says
in one line what it found, and the node is the same node or does not start.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase
from typing_extensions import override

from atmosphere.errors import ConfigurationError, StateError
from atmosphere.identity import Secret
from atmosphere.membership import issue_revocations
from atmosphere.mesh.invitation import Invitation, Reason, Redeemed, Refused
from atmosphere.node.config import NodeConfig
from atmosphere.node.mesh import NodeMesh
from atmosphere.node.state_file import encode_state
from atmosphere.node.store import NodeStore

from .test_database import JOINERS, rule

NOW = 1_800_000_000.0

#: Those that begin with a checksum, and the kind that each is of.
STATE_FILES = {
    "node.key": "node-key",
    "root.key": "root-key",
    "membership.state": "membership",
    "revocations.state": "revocations",
    "node.state": "node",
}

#: Those without which there is no going on.
VITAL = ("node.key", "root.key")


def wall() -> float:
    """
    Say a time that never changes.
    """
    return NOW


def damages(good: bytes, seed: int) -> Iterator[bytes]:
    """
    List what may have become of a file: nothing, a part, rubbish, some flipped bits.
    """
    source = random.Random(seed)
    yield b""
    yield bytes(len(good))
    yield good[: len(good) // 2]
    yield good[:-1]
    yield good + b"\n"
    yield source.randbytes(len(good))
    for _ in range(6):
        bad = bytearray(good)
        bad[source.randrange(len(bad))] ^= 1 << source.randrange(8)
        yield bytes(bad)


class FaultTestCase(SynchronousTestCase):
    """
    The directory of the founder of a mesh, with every file that there can be.
    """

    @override
    def setUp(self) -> None:
        self.path = Path(self.mktemp()).absolute()
        config = NodeConfig("portland")
        with NodeStore.create(self.path, config, wall=wall, entropy=os.urandom) as store:
            self.node_id = store.key.node_id
            mesh = NodeMesh(store, wall=wall, entropy=os.urandom)
            mesh.found("home", ())
            root = store.root_key()
            assert root is not None
            self.root_id = root.node_id
            gone = issue_revocations(root, mesh.chain, wall=NOW, current=None, keys=[JOINERS[40]])
            mesh.merge(lambda roster: roster.merge_revocations(gone.encoded, NOW))
            mesh.issue(JOINERS[0], "seattle")
            store.save_udp_port(7777)
            invitation = Invitation(b"i" * 16, Secret(b"k" * 32), NOW + 3600)
            store.invitations.add(invitation)
            store.invitations.redeem(b"i" * 16, JOINERS[0], lambda held: rule(held, JOINERS[0]))
        self.good = {each.name: each.read_bytes() for each in self.path.iterdir()}

    def restore(self) -> None:
        """
        Bring all files back.
        """
        for each in self.path.iterdir():
            shutil.rmtree(each) if each.is_dir() and not each.is_symlink() else each.unlink()
        for name, content in self.good.items():
            (self.path / name).write_bytes(content)
            (self.path / name).chmod(0o600)

    def names(self) -> list[str]:
        """
        List the directory.
        """
        return sorted(os.listdir(self.path))

    def start(self) -> list[str]:
        """
        Open the directory as C{serve} does and use all that is there.

        @return: what was said.
        @raise StateError: the node does not start.
        """
        with NodeStore.open(self.path, wall=wall) as store:
            self.assertEqual(store.key.node_id, self.node_id)
            NodeMesh(store, wall=wall, entropy=os.urandom)
            store.invitations.list()
            root = store.root_key()
            assert root is None or root.node_id == self.root_id
            return list(store.notices)

    def said(self, name: str) -> str:
        """
        Start, and hand out what was said, which is one line and names the file.
        """
        try:
            notices = self.start()
        except (StateError, ConfigurationError) as error:
            notices = [str(error)]
        self.assertEqual(len(notices), 1, f"{name}: {notices}")
        self.assertIn(str(self.path / name), notices[0])
        self.assertNotIn("\n", notices[0])
        return notices[0]


class StateFileTests(FaultTestCase):
    """
    The files with a checksum.
    """

    def test_known(self) -> None:
        """
        The tests here know every file.
        """
        known = {*STATE_FILES, *(f"{name}.previous" for name in STATE_FILES)}
        self.assertEqual({*self.good}, {*known, "config.toml", "mesh.db", "lock"})
        self.assertEqual(self.start(), [])

    def test_damaged(self) -> None:
        """
        Each file, each kind of damage: it is set aside, its copy takes its place, and
        the next start has nothing to say any more. Likewise the copy.
        """
        for name in STATE_FILES:
            for each in (name, f"{name}.previous"):
                for number, bad in enumerate(damages(self.good[each], seed=1)):
                    self.restore()
                    (self.path / each).write_bytes(bad)
                    self.assertIn(f"{each}.corrupt-1800000000", self.said(each), number)
                    aside = self.path / f"{each}.corrupt-1800000000"
                    self.assertEqual(aside.read_bytes(), bad)
                    self.assertEqual(self.start(), [], each)

    def test_both_damaged(self) -> None:
        """
        A file and its copy: without a key there is no going on, today and tomorrow, and
        it is said what to do; without another file the node runs on, and it is said
        what that means.
        """
        for name in STATE_FILES:
            for bad in damages(self.good[name], seed=2):
                self.restore()
                for each in (name, f"{name}.previous"):
                    (self.path / each).write_bytes(bad)
                said = self.said(name)
                self.assertIn("set aside as", said)
                if name not in VITAL:
                    self.assertEqual(self.start(), [])
                    continue
                self.assertRaises(StateError, self.start)
                self.assertNotIn(name, self.names())
                if name == "node.key":
                    self.assertIn("put back a copy of it; only if there is none", said)

    def test_gone(self) -> None:
        """
        A file that is gone comes back from its copy, and the copy from the file; a key
        of which both are gone is not made anew.
        """
        for name in STATE_FILES:
            for each in (name, f"{name}.previous"):
                self.restore()
                (self.path / each).unlink()
                self.assertEqual(self.start(), [])
                self.assertIn(each, self.names())
        self.restore()
        for each in ("node.key", "node.key.previous"):
            (self.path / each).unlink()
        with self.assertRaises(StateError):
            self.start()
        self.assertNotIn("node.key", self.names())

    def test_newer(self) -> None:
        """
        A file in a newer format is refused by name, again and again, and never touched.
        """
        for name, kind in STATE_FILES.items():
            self.restore()
            newer = encode_state(kind, 2, b"from the future")
            (self.path / name).write_bytes(newer)
            before = self.names()
            for _ in range(2):
                self.assertIn(f"{name} was written by a newer atmosphere", self.said(name))
            self.assertEqual((self.path / name).read_bytes(), newer)
            self.assertEqual(self.names(), before)

    def test_not_a_file(self) -> None:
        """
        A link, even to a good file, a directory or a pipe is refused by name.
        """
        for name in (*STATE_FILES, "config.toml", "mesh.db"):
            for number, put in enumerate(OTHER_THINGS):
                self.restore()
                (self.path / name).rename(self.path.with_name("elsewhere"))
                put(self.path / name)
                said = self.said(name)
                self.assertTrue(number or "symbolic link" in said, said)
                self.assertEqual(
                    self.path.with_name("elsewhere").read_bytes(), self.good[name], name
                )


class ConfigTests(FaultTestCase):
    """
    C{config.toml}: the owner's file, which nothing but its owner mends.
    """

    def test_damaged(self) -> None:
        """
        Settings that cannot be read are named and left as they are; those whose damage
        cannot be seen, since they have no checksum, are no reason to be another node.
        """
        for number, bad in enumerate(damages(self.good["config.toml"], seed=3)):
            self.restore()
            (self.path / "config.toml").write_bytes(bad)
            try:
                self.assertEqual(self.start(), [])
            except ConfigurationError as error:
                self.assertIn(f"{self.path / 'config.toml'}", str(error))
                self.assertNotIn("\n", str(error))
            else:
                self.assertGreater(number, 1)
            self.assertEqual((self.path / "config.toml").read_bytes(), bad)

    def test_remedy(self) -> None:
        """
        What to do without settings is said, and helps.
        """
        for change in (Path.unlink, Path.touch):
            self.restore()
            (self.path / "config.toml").unlink()
            if change is Path.touch:
                change(self.path / "config.toml")
            said = self.said("config.toml")
            self.assertIn("""echo 'name = "NAME"' >""", said)
            (self.path / "config.toml").write_text('name = "NAME"\n')
            self.assertEqual(self.start(), [])

    def test_endless(self) -> None:
        """
        Settings beyond all reason are refused, not read to their end.
        """
        with (self.path / "config.toml").open("ab") as file:
            file.truncate(2**34)
        self.assertIn("has more than 262144 bytes", self.said("config.toml"))


class DatabaseTests(FaultTestCase):
    """
    C{mesh.db} and what SQLite keeps beside it.
    """

    def test_damaged(self) -> None:
        """
        Damage that can be seen costs members and open codes, is set aside and said;
        damage of one bit that SQLite does not see never makes a used code good again.
        """
        source = random.Random(4)
        name, good = "mesh.db", self.good["mesh.db"]
        flips = []
        places = [source.randrange(len(good)) for _ in range(30)]
        for start in (good.index(b"i" * 16), good.rindex(b"i" * 16)):  # where a code's rows are
            places += [start + source.randrange(-8, 72) for _ in range(30)]
        for place in places:
            flipped = bytearray(good)
            flipped[place] ^= 1 << source.randrange(8)
            flips.append(bytes(flipped))
        seen = 0
        for bad in (*damages(good, seed=5), *flips):
            self.restore()
            (self.path / name).write_bytes(bad)
            if notices := self.start():
                seen += 1
                self.assertIn(str(self.path / name), notices[0])
                self.assertTrue("set aside as" in notices[0] or "worthless" in notices[0], notices)
            self.assertEqual(self.start(), [])
            self.assertFalse(self.is_good_for(1), "a used code is good again")
        self.assertGreater(seen, 10)

    def change(self, *statements: str) -> None:
        """
        Change the database behind our own back.
        """
        with sqlite3.connect(self.path / "mesh.db") as connection:
            for statement in statements:
                connection.execute(statement)
        connection.close()

    def test_changed_code(self) -> None:
        """
        A code of which a number or a name has changed, or that is gone, is worthless,
        and that is said once, with its beginning.
        """
        for statement in (
            "UPDATE invitations SET uses = 1025",
            "UPDATE invitations SET expires_at = 1e300",
            "UPDATE invitations SET key = x'00'",
            "DELETE FROM redemptions",
            "UPDATE redemptions SET joiner = zeroblob(32)",
            "UPDATE redemptions SET place = -1",
            "DELETE FROM invitations",
            "UPDATE facts SET value = CAST(x'ff' AS TEXT) WHERE name LIKE 'seal:%'",
        ):
            self.restore()
            self.change(statement)
            self.assertRegex(self.said("mesh.db"), r"the invitation 6969\w+ was (damaged|lost)")
            self.assertFalse(self.is_good_for(1), statement)
            self.assertEqual(self.start(), [])

    def test_older(self) -> None:
        """
        A code of an earlier version, which has no checksum, is good.
        """
        self.change("DELETE FROM facts WHERE name LIKE 'seal:%'", "DELETE FROM redemptions")
        self.assertEqual(self.start(), [])
        self.assertTrue(self.is_good_for(1))
        self.assertFalse(self.is_good_for(2))

    def test_no_log(self) -> None:
        """
        A code that was given, used or revoked stands in the database itself: the log,
        in which SQLite takes damage for the end, is empty.
        """
        with NodeStore.open(self.path, wall=wall) as store:
            for number, use in enumerate((b"a", b"b", b"c")):
                store.invitations.add(Invitation(use * 16, Secret(b"k" * 32), NOW + 3600))
                store.invitations.redeem(use * 16, JOINERS[1], lambda held: rule(held, JOINERS[1]))
                self.assertEqual((self.path / "mesh.db-wal").stat().st_size, 0, number)
            store.invitations.revoke("62")
            self.assertEqual((self.path / "mesh.db-wal").stat().st_size, 0)

    def test_newer_in_log(self) -> None:
        """
        A newer version's database is not even folded, when that version was killed.
        """
        child = os.fork()
        if child == 0:
            try:
                connection = sqlite3.connect(self.path / "mesh.db", isolation_level=None)
                connection.execute("PRAGMA user_version = 2")
                os.kill(os.getpid(), signal.SIGKILL)
            finally:
                os._exit(1)
        os.waitpid(child, 0)
        before = [(self.path / f"mesh.db{end}").read_bytes() for end in ("", "-wal")]
        self.assertEqual(before[0], self.good["mesh.db"])
        for _ in range(2):
            self.assertIn("mesh.db was written by a newer atmosphere", self.said("mesh.db"))
        after = [(self.path / f"mesh.db{end}").read_bytes() for end in ("", "-wal")]
        self.assertEqual(after, before)

    def test_sides(self) -> None:
        """
        What belongs to the database is no link either.
        """
        for ending in ("-wal", "-shm"):
            self.restore()
            self.path.with_name("elsewhere").write_bytes(b"precious")
            (self.path / f"mesh.db{ending}").symlink_to(self.path.with_name("elsewhere"))
            self.assertIn("symbolic link", self.said(f"mesh.db{ending}"))
            self.assertEqual(self.path.with_name("elsewhere").read_bytes(), b"precious")

    def is_good_for(self, number: int) -> bool:
        """
        Say whether the code that was used is good for another joiner.
        """
        joiner = JOINERS[number]

        def check(held: Invitation | None) -> Redeemed | Refused:
            revoked = held is not None and held.revoked
            return Refused(Reason.REVOKED) if revoked else rule(held, joiner)

        with NodeStore.open(self.path, wall=wall) as store:
            outcome = store.invitations.redeem(b"i" * 16, joiner, check)
        return isinstance(outcome, Redeemed)


def _link(path: Path) -> None:
    """
    Put a symbolic link there, to a file that was.
    """
    path.symlink_to(path.parent.with_name("elsewhere"))


def _directory(path: Path) -> None:
    """
    Put a directory there.
    """
    path.mkdir(mode=0o700)


def _pipe(path: Path) -> None:
    """
    Put a pipe there.
    """
    os.mkfifo(path, 0o600)


OTHER_THINGS: tuple[Callable[[Path], None], ...] = (_link, _directory, _pipe)
