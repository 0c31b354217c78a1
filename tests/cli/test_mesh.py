"""
Tests for L{atmosphere.cli.mesh}: backup and restore.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from dataclasses import replace
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase
from typing_extensions import override

from atmosphere.identity import NodeKey
from atmosphere.membership import found_mesh, verify_chain
from atmosphere.node.config import NodeConfig
from atmosphere.node.store import NodeStore, StoredMesh
from tests.cli.running import Ended, atmosphere

NOW = time.time()  # noqa: TID251, what the commands take for now


def clock() -> float:
    """
    Say a time that never changes.
    """
    return NOW


class BackupTests(SynchronousTestCase):
    """
    From the machine that founded a mesh to another one.
    """

    @override
    def setUp(self) -> None:
        self.directory = Path(self.mktemp()).absolute()
        self.directory.mkdir()
        self.file = self.directory / "home.backup"
        self.root = NodeKey(os.urandom(32))
        with self.make("a", "portland") as store:
            chain = found_mesh(
                self.root, store.key.node_id, "portland", wall=NOW, entropy=os.urandom
            )
            self.mesh_id = verify_chain(
                chain, store.key.node_id, mesh_id=None, wall=NOW, revocations=None
            ).mesh_id
            store.save_root_key(self.root.seed)
            store.save_mesh(StoredMesh(self.mesh_id, "home", chain))

    def make(self, name: str, node: str) -> NodeStore:
        """
        Make a node.
        """
        config = NodeConfig(node)
        return NodeStore.create(self.directory / name, config, wall=clock, entropy=os.urandom)

    def run_on(self, name: str, *arguments: str) -> Ended:
        """
        Run a command on a node's state.
        """
        return atmosphere("--state", str(self.directory / name), "mesh", *arguments)

    def check_restored(self, name: str) -> None:
        """
        Check that a node can admit others to the mesh.
        """
        with NodeStore.peek(self.directory / name, wall=clock) as store:
            stored, root = store.mesh, store.root_key()
            assert stored is not None
            assert root is not None
            self.assertEqual(root.node_id, self.root.node_id)
            membership = verify_chain(
                stored.chain, store.key.node_id, mesh_id=self.mesh_id, wall=NOW, revocations=None
            )
        self.assertEqual((stored.name, membership.is_admin), ("home", True))

    def test_open(self) -> None:
        """
        Without a terminal and a passphrase the backup is open, which is said,
        and its owner's alone; another machine restores it.
        """
        ended = self.run_on("a", "backup", str(self.file))
        self.assertEqual(ended.status, 0, ended)
        self.assertIn("not sealed", ended.err)
        self.assertEqual(self.file.stat().st_mode & 0o777, 0o600)
        self.make("b", "salem").close()
        ended = self.run_on("b", "restore", str(self.file))
        self.assertEqual(ended.status, 0, ended)
        self.check_restored("b")

    def test_sealed(self) -> None:
        """
        A sealed backup opens with its passphrase alone.
        """
        secret = self.directory / "passphrase"
        secret.write_text("correct horse\n")
        sealed = ("--passphrase-file", str(secret))
        answer = json.loads(self.run_on("a", "backup", str(self.file), *sealed, "--json").out)
        self.assertTrue(answer["sealed"])
        self.make("b", "salem").close()
        ended = self.run_on("b", "restore", str(self.file))
        self.assertEqual((ended.status, ended.err.count("\n")), (2, 1))
        self.assertIn("--passphrase-file", ended.err)
        secret.write_text("\n")
        ended = self.run_on("a", "backup", str(self.directory / "open"), *sealed)
        self.assertEqual((ended.status, ended.err.count("\n")), (2, 1))
        self.assertFalse((self.directory / "open").exists())
        secret.write_text("wrong\n")
        self.assertIn("wrong", self.run_on("b", "restore", str(self.file), *sealed).err)
        secret.write_text("correct horse\n")
        self.assertEqual(self.run_on("b", "restore", str(self.file), *sealed).status, 0)
        self.check_restored("b")

    def test_new_machine(self) -> None:
        """
        On a machine without a node one is made; also the founder's own machine,
        all its state lost, gets its mesh back.
        """
        self.run_on("a", "backup", str(self.file))
        shutil.rmtree(self.directory / "a")
        ended = self.run_on("a", "restore", str(self.file))
        self.assertEqual(ended.status, 0, ended)
        self.check_restored("a")

    def test_relays(self) -> None:
        """
        The new machine uses the relays that the old one used, or is told that it
        knows none.
        """
        with NodeStore.open(self.directory / "a", wall=clock) as store:
            mesh = store.mesh
            assert mesh is not None
            store.save_mesh(replace(mesh, relays=("wss://relay.example",)))
        self.run_on("a", "backup", str(self.file))
        ended = self.run_on("new", "restore", str(self.file))
        self.assertNotIn("names no relay", ended.err)
        with NodeStore.peek(self.directory / "new", wall=clock) as store:
            assert store.mesh is not None
            self.assertEqual(store.mesh.relays, ("wss://relay.example",))
        with NodeStore.open(self.directory / "a", wall=clock) as store:
            store.save_mesh(replace(mesh, relays=()))
        self.run_on("a", "backup", str(self.directory / "other"))
        ended = self.run_on("newer", "restore", str(self.directory / "other"))
        self.assertIn("names no relay", ended.err)

    def test_damaged_root(self) -> None:
        """
        A backup brings back a root key that was damaged, its copy too.
        """
        self.run_on("a", "backup", str(self.file))
        for name in ("root.key", "root.key.previous"):
            (self.directory / "a" / name).write_bytes(b"rubbish")
        ended = self.run_on("a", "backup", str(self.directory / "x"))
        self.assertEqual(ended.err.count("\n"), 1, ended)
        self.assertIn("root.key is damaged", ended.err)
        self.assertEqual(self.run_on("a", "restore", str(self.file)).status, 0)
        self.check_restored("a")

    def test_refused(self) -> None:
        """
        What cannot be done is one line: no mesh, no root key, a file in the
        way, no backup, another mesh.
        """
        self.run_on("a", "backup", str(self.file))
        (self.directory / "rubbish").write_bytes(b"rubbish")
        with self.make("b", "salem") as store:
            store.save_mesh(StoredMesh("mesh-other", "work", b"chain"))
        self.make("c", "eugene").close()
        cases = (
            ("c", ("backup", str(self.directory / "x")), 2, "in no mesh"),
            ("b", ("backup", str(self.directory / "x")), 2, "where it was founded"),
            ("a", ("backup", str(self.file)), 1, "is there already"),
            ("c", ("restore", str(self.directory / "rubbish")), 1, "no backup"),
            ("c", ("restore", str(self.directory / "x")), 1, "cannot be read"),
            ("b", ("restore", str(self.file)), 4, "`atmosphere leave`"),
        )
        for name, arguments, status, words in cases:
            ended = self.run_on(name, *arguments)
            self.assertEqual((ended.status, ended.err.count("\n")), (status, 1), ended)
            self.assertIn(words, ended.err)
