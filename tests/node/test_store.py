"""
Tests for L{atmosphere.node.store} and L{atmosphere.node.state_directory}.
"""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import cast

from twisted.trial.unittest import SynchronousTestCase
from typing_extensions import override

from atmosphere.errors import ConfigurationError, StateError
from atmosphere.identity import NodeKey
from atmosphere.node.config import NodeConfig
from atmosphere.node.database import MeshDatabase
from atmosphere.node.state_file import encode_state
from atmosphere.node.store import (
    NodeStore,
    StoredMember,
    StoredMesh,
    default_state_directory,
)

HOME = StoredMesh("mesh-home", "home", b"chain", ("ws://relay:8080",))


class FullDatabase:
    """
    A database on a full disk.
    """

    def claim(self, mesh_id: str) -> None:
        """
        Fail.
        """
        raise StateError("database or disk is full")


def clock() -> float:
    """
    Say a time that never changes.
    """
    return 1234.5


class StoreTestCase(SynchronousTestCase):
    """
    A directory with a node in it.
    """

    @override
    def setUp(self) -> None:
        self.path = Path(self.mktemp()).absolute()
        with NodeStore.create(
            self.path, NodeConfig("portland"), wall=clock, entropy=os.urandom
        ) as store:
            self.node_id = store.key.node_id

    def open(self) -> NodeStore:
        """
        Open the directory as its node does.
        """
        store = NodeStore.open(self.path, wall=clock)
        self.addCleanup(store.close)
        return store

    def refusal(self) -> str:
        """
        Try to open the directory, and say why that is refused.
        """
        with self.assertRaises((StateError, ConfigurationError)) as caught:
            NodeStore.open(self.path, wall=clock)
        return str(caught.exception)


class IdentityTests(StoreTestCase):
    """
    A node stays who it is, or says that it cannot.
    """

    def test_kept(self) -> None:
        """
        The key and the settings are the same after a restart.
        """
        store = self.open()
        self.assertEqual((store.key.node_id, store.settings.name), (self.node_id, "portland"))
        self.assertEqual(store.notices, [])

    def test_private(self) -> None:
        """
        The directory is its owner's alone, and so is everything in it.
        """
        self.assertEqual(self.path.stat().st_mode & 0o777, 0o700)
        for each in self.path.iterdir():
            self.assertEqual(each.stat().st_mode & 0o777, 0o600, each.name)

    def test_given_key(self) -> None:
        """
        A node can be made with a key that was kept elsewhere.
        """
        key = NodeKey(bytes(range(32)))
        path = Path(self.mktemp())
        config = NodeConfig("x")
        with NodeStore.create(path, config, wall=clock, entropy=os.urandom, key=key) as store:
            self.assertEqual(store.key.node_id, key.node_id)

    def test_not_twice(self) -> None:
        """
        A second C{init} in the same directory is refused, also when the key is damaged.
        """
        for name in ("node.key", "node.key.corrupt-1"):
            with self.assertRaises(StateError) as caught:
                NodeStore.create(self.path, NodeConfig("x"), wall=clock, entropy=os.urandom)
            self.assertIn("there is a node in", str(caught.exception))
            (self.path / "node.key").rename(self.path / name)
            (self.path / "node.key.previous").unlink(missing_ok=True)

    def test_damaged_key(self) -> None:
        """
        A damaged key is mended from its copy; without one nothing is made up.
        """
        (self.path / "node.key").write_bytes(b"rubbish")
        store = self.open()
        self.assertEqual(store.key.node_id, self.node_id)
        self.assertEqual(len(store.notices), 1)
        store.close()
        for name in ("node.key", "node.key.previous"):
            (self.path / name).write_bytes(b"rubbish")
        for _ in range(2):
            self.assertIn("put back a copy", self.refusal())
        (self.path / "node.key.previous").unlink()
        self.assertIn("damaged or lost", self.refusal())
        self.assertFalse((self.path / "node.key").exists())

    def test_no_node(self) -> None:
        """
        An empty or missing directory is no node, and the remedy is named.
        """
        for path in (Path(self.mktemp()), self.path / "mesh.db"):
            with self.assertRaises(StateError) as caught:
                NodeStore.open(path, wall=clock)
            self.assertNotIn("Traceback", str(caught.exception))
        with self.assertRaises(StateError) as caught:
            NodeStore.peek(Path(self.mktemp()), wall=clock)
        self.assertRegex(str(caught.exception), r"`atmosphere --state \S+ init`")

    def test_loose_modes(self) -> None:
        """
        A directory or key that others can open is refused with the command that mends it.
        """
        self.path.chmod(0o755)
        self.assertIn(f"chmod 700 {self.path}", self.refusal())
        self.path.chmod(0o700)
        (self.path / "node.key").chmod(0o644)
        self.assertIn(f"chmod 600 {self.path / 'node.key'}", self.refusal())

    def test_wrong_config(self) -> None:
        """
        A mistake in the settings is named with the file.
        """
        (self.path / "config.toml").write_text('name = "x"\ncolour = 1\n')
        self.assertEqual(self.refusal(), f"{self.path / 'config.toml'}: unknown setting 'colour'")

    def test_own_config(self) -> None:
        """
        Settings that were there before the node are used as they are, and that is said.
        """
        path = Path(self.mktemp())
        path.mkdir(mode=0o700)
        (path / "config.toml").write_text('name = "salem"\n')
        with NodeStore.create(path, NodeConfig("x"), wall=clock, entropy=os.urandom) as store:
            self.assertEqual(store.settings.name, "salem")
            self.assertEqual(len(store.notices), 1)

    def test_newer_format(self) -> None:
        """
        A file of a newer version is refused by name and stays as it is.
        """
        for name, kind in (("node.state", "node"), ("membership.state", "membership")):
            newer = encode_state(kind, 2, b"?")
            file = self.path / name
            file.write_bytes(newer)
            file.chmod(0o600)
            self.assertIn(f"{name} was written by a newer atmosphere", self.refusal())
            self.assertEqual(file.read_bytes(), newer)
            file.unlink()


class LockTests(StoreTestCase):
    """
    One node at a time.
    """

    def test_one_writer(self) -> None:
        """
        While a node runs another is refused, and readers are not.
        """
        store = self.open()
        store.save_udp_port(7778)
        self.assertIn("in use by another process", self.refusal())
        with NodeStore.peek(self.path, wall=clock) as reader:
            self.assertEqual(reader.udp_port, 7778)
            self.assertRaises(StateError, reader.save_udp_port, 1)
            self.assertRaises(StateError, reader.database.claim, "x")
        store.close()
        self.open()

    def test_killed(self) -> None:
        """
        The lock of a node that was killed is gone with it.
        """
        code = (
            "import os, sys, pathlib; from atmosphere.node.store import NodeStore;"
            "store = NodeStore.open(pathlib.Path(sys.argv[1]), wall=lambda: 0.0);"
            "os.kill(os.getpid(), 9)"
        )
        root = Path(__file__).parents[2]
        env = {**os.environ, "PYTHONPATH": str(root)}
        done = subprocess.run([sys.executable, "-c", code, str(self.path)], env=env, check=False)
        self.assertEqual(done.returncode, -9)
        self.open()

    def test_reader_mends_nothing(self) -> None:
        """
        A reader leaves damaged files to the node.
        """
        (self.path / "node.key").write_bytes(b"rubbish")
        (self.path / "mesh.db").write_bytes(b"rubbish" * 1000)
        before = sorted(os.listdir(self.path))
        self.assertRaises(StateError, NodeStore.peek, self.path, wall=clock)
        self.assertEqual(sorted(os.listdir(self.path)), before)


class MeshTests(StoreTestCase):
    """
    What is kept of the mesh.
    """

    def test_membership(self) -> None:
        """
        The chain and the relays are the same after a restart.
        """
        store = self.open()
        self.assertIsNone(store.mesh)
        store.save_mesh(HOME)
        store.save_revocations(b"signed")
        store.close()
        store = self.open()
        self.assertEqual((store.mesh, store.revocations), (HOME, b"signed"))

    def test_root_key(self) -> None:
        """
        The root key is kept; another mesh's sets it aside and loses nothing.
        """
        store = self.open()
        self.assertIsNone(store.root_key())
        keys = [NodeKey(bytes([number]) * 32) for number in (1, 2)]
        for key in keys:
            store.save_root_key(key.seed)
            kept = store.root_key()
            assert kept is not None
            self.assertEqual(kept.node_id, key.node_id)
        self.assertTrue((self.path / "root.key.left-1234").exists())

    def test_left(self) -> None:
        """
        After leaving nothing of the mesh is left but its root key, set aside.
        """
        store = self.open()
        store.save_mesh(HOME)
        store.save_root_key(NodeKey(bytes(32)).seed)
        store.save_revocations(b"signed")
        store.upsert_members([StoredMember(self.node_id.raw, b"chain", None, 1.0)])
        store.forget_mesh()
        store.close()
        store = self.open()
        self.assertEqual((store.mesh, store.revocations, store.members()), (None, None, []))
        self.assertIsNone(store.root_key())
        self.assertIn("root.key.left-1234", os.listdir(self.path))

    def test_left_on_full_disk(self) -> None:
        """
        Who leaves has left, though the disk has no room to note who was known; that
        goes with the next mesh.
        """
        store = self.open()
        store.save_mesh(HOME)
        store.upsert_members([StoredMember(self.node_id.raw, b"chain", None, 1.0)])
        database = store.database
        store._database = cast(MeshDatabase, FullDatabase())
        store.forget_mesh()
        self.assertIsNone(store.mesh)
        store._database = database
        store.save_mesh(replace(HOME, mesh_id="mesh-work"))
        self.assertEqual(store.members(), [])

    def test_another_mesh(self) -> None:
        """
        Members and revocations of one mesh are never taken for another's.
        """
        store = self.open()
        store.save_mesh(HOME)
        store.upsert_members([StoredMember(self.node_id.raw, b"chain", None, 1.0)])
        store.save_mesh(HOME)
        self.assertEqual(len(store.members()), 1)
        store.save_revocations(b"signed")
        store.save_mesh(StoredMesh("mesh-work", "work", b"other"))
        self.assertEqual((store.members(), store.revocations), ([], None))

    def test_members(self) -> None:
        """
        Members are kept, replaced and removed.
        """
        store = self.open()
        one = StoredMember(self.node_id.raw, b"chain", None, 1.0)
        two = StoredMember(NodeKey(bytes(32)).node_id.raw, b"chain", b"record", 2.0)
        store.upsert_members([one, two])
        store.upsert_members([StoredMember(one.node, b"renewed", b"record", 3.0)])
        store.close()
        store = self.open()
        kept = {member.node: member for member in store.members()}
        self.assertEqual((kept[one.node].chain, kept[two.node]), (b"renewed", two))
        store.remove_members([self.node_id])
        self.assertEqual(store.members(), [two])

    def test_facts(self) -> None:
        """
        Small facts are kept until they are forgotten.
        """
        store = self.open()
        store.save_udp_port(7778)
        store.save_fact("sequence", 9)
        store.save_fact("sequence", None)
        store.close()
        store = self.open()
        self.assertEqual((store.udp_port, store.fact("sequence")), (7778, None))


class RollbackTests(StoreTestCase):
    """
    What damage must not bring back.
    """

    def test_revocations(self) -> None:
        """
        Damage to the revocation list brings no older one back, whichever of its two
        files it hits.
        """
        for name in ("revocations.state", "revocations.state.previous"):
            store = self.open()
            store.save_revocations(b"first")
            store.save_revocations(b"second")
            store.close()
            (self.path / name).write_bytes(b"noise")
            store = self.open()
            self.assertEqual(store.revocations, b"second")
            store.close()


class DirectoryTests(SynchronousTestCase):
    """
    Where the state is.
    """

    def test_default(self) -> None:
        """
        One of two variables names the directory, else it is in the user's home.
        """
        home = default_state_directory({})
        self.assertEqual(home.name, ".atmosphere")
        both = {"ATMOSPHERE_HOME": "/a", "ATMOSPHERE_DATA_DIR": "/b"}
        self.assertEqual(default_state_directory(both), Path("/a"))
        del both["ATMOSPHERE_HOME"]
        self.assertEqual(default_state_directory(both), Path("/b"))

    def test_unusable(self) -> None:
        """
        A directory that cannot be made is an error of ours.
        """
        with self.assertRaises(StateError):
            NodeStore.create(Path("/proc/nowhere"), NodeConfig("x"), wall=clock, entropy=os.urandom)
