"""
Tests for L{atmosphere.cli.purge}.
"""

from __future__ import annotations

import os
from pathlib import Path

from twisted.trial.unittest import SkipTest, SynchronousTestCase
from typing_extensions import override

from atmosphere.cli.purge import purge
from atmosphere.errors import StateError
from atmosphere.node.config import NodeConfig
from atmosphere.node.store import NodeStore


class PurgeTests(SynchronousTestCase):
    """
    A directory with a node in it.
    """

    @override
    def setUp(self) -> None:
        self.home = Path(self.mktemp()).absolute()
        self.home.mkdir(mode=0o700)
        self.state = self.home / "state"
        self.make(self.state)

    def make(self, path: Path) -> None:
        """
        Make a node.
        """
        NodeStore.create(path, NodeConfig("p"), wall=lambda: 0.0, entropy=os.urandom).close()

    def test_whole(self) -> None:
        """
        All that a node may have written goes, and the directory.
        """
        for name in (
            "mesh.db-wal",
            "node.key.corrupt-12",
            "root.key.left-1-2",
            ".node.state.new",
            ".node.state.previous.new",
            "control.sock",
        ):
            (self.state / name).touch()
        self.assertEqual(purge(self.state), [])
        self.assertFalse(self.state.exists())

    def test_not_ours(self) -> None:
        """
        What a node did not write stays, and so does the directory: it may be somebody's home.
        """
        (self.state / "thesis").mkdir()
        (self.state / "thesis" / "node.key").touch()
        (self.state / "node.keys").touch()
        (self.state / "locksmith").touch()
        (self.state / "lock.d").mkdir()
        self.assertEqual(purge(self.state), ["lock.d", "locksmith", "node.keys", "thesis"])
        self.assertTrue((self.state / "thesis" / "node.key").exists())

    def test_links_inside(self) -> None:
        """
        A link goes; what it leads to stays.
        """
        precious = self.home / "precious"
        precious.touch()
        (self.state / "config.toml").unlink()
        (self.state / "config.toml").symlink_to(precious)
        self.assertEqual(purge(self.state), [])
        self.assertTrue(precious.exists())

    def test_own_link(self) -> None:
        """
        Our own link, or root's, is followed, and goes with the directory.
        """
        link = self.home / "link"
        link.symlink_to(self.state)
        self.assertEqual(purge(link), [])
        self.assertFalse(os.path.lexists(link) or self.state.exists())

    def test_link_of_another(self) -> None:
        """
        Nobody leads root to another's state by a link, at the end of the path or within it.
        """
        if os.geteuid() != 0:
            raise SkipTest("needs root")
        victim = self.home / "victim" / ".atmosphere"
        victim.parent.mkdir()
        self.make(victim)
        for link, path in (
            (self.home / "a", self.home / "a"),
            (self.home / "b", self.home / "b" / ".atmosphere"),
        ):
            link.symlink_to(victim if path == link else victim.parent)
            os.lchown(link, 65534, 65534)
            error = self.assertRaises(StateError, purge, path)
            self.assertIn("another user made", str(error))
        self.assertTrue(NodeStore.exists(victim))

    def test_gone(self) -> None:
        """
        What is not there is said in a line.
        """
        error = self.assertRaises(StateError, purge, self.home / "nothing")
        self.assertIn("cannot be deleted", str(error))
