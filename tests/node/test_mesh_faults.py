"""
Tests of L{atmosphere.node.mesh} when the disk or the clock fails.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

from twisted.trial.unittest import SynchronousTestCase
from typing_extensions import override

from atmosphere.errors import StateError
from atmosphere.identity import NodeKey
from atmosphere.membership import DAY, issue_revocations
from atmosphere.mesh.roster import Change, Left, Revoked
from atmosphere.node.config import NodeConfig
from atmosphere.node.mesh import NodeMesh
from atmosphere.node.store import NodeStore
from atmosphere.testing import seeded_entropy

from .harness import WorldCase

NOW = 1_800_000_000.0
JOINER = NodeKey(b"\x07" * 32)


class Disk:
    """
    A store whose disk may be full: then it can be read, and not written.
    """

    def __init__(self, store: NodeStore) -> None:
        self.is_full = False
        self._store = store

    def __getattr__(self, name: str) -> Any:
        if self.is_full and name.startswith(("save_", "upsert_", "remove_")):
            return self._refuse
        return getattr(self._store, name)

    def _refuse(self, *_: object) -> None:
        """
        Fail as a full disk does.
        """
        raise StateError("no space left on device")


class FullDiskTests(SynchronousTestCase):
    """
    A node whose disk is full runs on, and above all shuts out who was revoked.
    """

    @override
    def setUp(self) -> None:
        """
        Make a mesh of two.
        """
        path = Path(self.mktemp())
        self.store = NodeStore.create(
            path, NodeConfig("portland"), wall=lambda: NOW, entropy=seeded_entropy("key")
        )
        self.addCleanup(self.store.close)
        self.disk = cast(Any, Disk(self.store))
        self.mesh = NodeMesh(self.disk, wall=lambda: NOW, entropy=seeded_entropy(1))
        self.mesh.found("home", ())
        self.mesh.issue(JOINER.node_id, "seattle")
        self.changes: list[Change] = []
        self.mesh.listeners.append(self.changes.append)
        root = self.store.root_key()
        assert root is not None
        self.revocations = issue_revocations(
            root, self.mesh.chain, wall=NOW, current=None, keys=[JOINER.node_id]
        )

    def revoke(self) -> None:
        """
        Let the list come in.
        """
        self.mesh.merge(lambda roster: roster.merge_revocations(self.revocations.encoded, NOW))

    def test_revocation_counts(self) -> None:
        """
        Who listens is told, so that links are cut, and the list is kept as
        soon as there is room.
        """
        self.disk.is_full = True
        self.revoke()
        self.assertEqual([type(each) for each in self.changes], [Revoked, Left])
        self.assertIsNone(self.store.revocations)
        self.disk.is_full = False
        self.mesh.issue(NodeKey(b"\x08" * 32).node_id, "boston")
        self.assertEqual(self.store.revocations, self.revocations.encoded)
        self.assertNotIn(JOINER.node_id.raw, [each.node for each in self.store.members()])

    def test_record_waits(self) -> None:
        """
        A record whose number cannot be kept is not published: after a crash the
        number would be used again.
        """
        self.disk.is_full = True
        self.mesh.publish([], ["wss://relay.example"], (), "1")
        assert self.mesh.roster is not None
        own = self.mesh.roster.get(self.mesh.node_id)
        assert own is not None
        self.assertIsNone(own.record)
        self.disk.is_full = False
        self.mesh.publish([], ["wss://relay.example"], (), "1")
        own = self.mesh.roster.get(self.mesh.node_id)
        assert own is not None
        self.assertIsNotNone(own.record)

    def test_we_are_revoked(self) -> None:
        """
        A node that was revoked itself has nothing to publish, and does not fail.
        """
        root = self.store.root_key()
        assert root is not None
        found = issue_revocations(
            root, self.mesh.chain, wall=NOW, current=None, keys=[self.mesh.node_id]
        )
        self.mesh.merge(lambda roster: roster.merge_revocations(found.encoded, NOW))
        self.mesh.publish([], ["wss://relay.example"], (), "1")


class EndTests(WorldCase):
    """
    A member whose certificate has ended, because nobody renewed it.
    """

    def test_link_is_cut(self) -> None:
        """
        Its link is cut, as a new one would be refused.
        """
        first = self.world.node("portland", "198.51.100.1")
        second = self.world.node("seattle", "198.51.100.2")
        self.world.join(first, second)
        self.world.until(lambda: first.is_linked(second), 10)
        second.service._renewals.stop()
        self.world.skip(31 * DAY)
        self.world.until(lambda: first.link_to(second) is None, 700)
        self.world.network.advance(100)
        self.assertIsNone(first.link_to(second))


class ClockTests(WorldCase):
    """
    A clock that is wrong by a year.
    """

    def test_year_ahead(self) -> None:
        """
        A clock that leaps ahead and back costs nobody its place in the roster.
        """
        first = self.world.node("portland", "198.51.100.1")
        second = self.world.node("seattle", "198.51.100.2")
        self.world.join(first, second)
        self.world.until(lambda: first.is_linked(second), 10)
        self.world.skip(365 * DAY)
        self.world.network.advance(1300)
        self.world.skip(-365 * DAY)
        self.world.network.advance(1300)
        for node in (first, second):
            roster = node.service.mesh.roster
            assert roster is not None
            self.assertEqual(len(list(roster)), 2)
        self.world.until(lambda: first.is_linked(second), 60)
