"""
Tests for L{atmosphere.node.mesh}.
"""

from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase
from typing_extensions import override

from atmosphere.addresses import TransportAddress
from atmosphere.errors import JoinError, MembershipError
from atmosphere.identity import NodeKey
from atmosphere.membership import issue_revocations
from atmosphere.mesh.joiner import Admitted
from atmosphere.mesh.roster import Change, Joined, Left, Revoked, Updated
from atmosphere.node.config import NodeConfig
from atmosphere.node.mesh import NodeMesh
from atmosphere.node.store import NodeStore
from atmosphere.testing import seeded_entropy

NOW = 1_800_000_000.0
JOINER = NodeKey(b"\x07" * 32)
HOME = TransportAddress("198.51.100.1", 7777)


class MeshTests(SynchronousTestCase):
    """
    A node's mesh, on a real disk.
    """

    @override
    def setUp(self) -> None:
        """
        Make a node that is in no mesh.
        """
        self.now = NOW
        self.store = self.make_store("portland")
        self.changes: list[Change] = []
        self.mesh = self.make(self.store)

    def make_store(self, name: str, key: NodeKey | None = None) -> NodeStore:
        """
        Make a state directory.
        """
        store = NodeStore.create(
            Path(self.mktemp()),
            NodeConfig(name),
            wall=self.wall,
            entropy=seeded_entropy(name),
            key=key,
        )
        self.addCleanup(store.close)
        return store

    def wall(self) -> float:
        """
        Say the time.
        """
        return self.now

    def make(self, store: NodeStore) -> NodeMesh:
        """
        Begin with what the disk has, as a process does.
        """
        mesh = NodeMesh(store, wall=self.wall, entropy=seeded_entropy(1))
        mesh.listeners.append(self.changes.append)
        return mesh

    def kinds(self) -> list[type]:
        """
        List the kinds of changes since the last time.
        """
        changes, self.changes[:] = list(self.changes), []
        return [type(each) for each in changes]

    def test_none(self) -> None:
        """
        In no mesh a node has nobody, lets nobody in, and cannot leave.
        """
        self.assertEqual((self.mesh.others(), self.mesh.chain), ([], b""))
        self.assertIsNone(self.mesh.own)
        self.assertFalse(self.mesh.is_admin)
        self.mesh.publish([HOME], [], [], "1")
        for chain in (b"", b"chain"):
            self.assertRaises(MembershipError, self.mesh.check, JOINER.node_id, chain)
        self.assertRaises(MembershipError, self.mesh.issue, JOINER.node_id, "seattle")
        self.assertRaises(JoinError, self.mesh.leave)

    def test_found(self) -> None:
        """
        Who founds a mesh is its admin, keeps its root key, and is alone.
        """
        self.mesh.found("home", ())
        self.assertTrue(self.mesh.is_admin)
        self.assertEqual(self.mesh.others(), [])
        self.assertIsNotNone(self.store.root_key())
        again = self.make(self.store)
        self.assertEqual(again.own, self.mesh.own)
        self.assertEqual(again.stored, self.mesh.stored)

    def test_issue(self) -> None:
        """
        A joiner is certified and known from then on; once more, under the same name.
        """
        self.mesh.found("home", ())
        chain = self.mesh.issue(JOINER.node_id, "portland")
        self.assertEqual(self.kinds(), [Joined])
        (member,) = self.mesh.others()
        self.assertEqual((member.name, member.node), ("portland-2", JOINER.node_id))
        membership = self.mesh.check(JOINER.node_id, chain)
        assert membership is not None
        self.assertEqual(membership.name, "portland-2")
        self.now += 5
        self.mesh.issue(JOINER.node_id, "boston")
        self.assertEqual([each.name for each in self.mesh.others()], ["portland-2"])
        self.assertEqual([each.name for each in self.make(self.store).others()], ["portland-2"])

    def test_adopt(self) -> None:
        """
        A joiner keeps its chain, and whom the issuer named.
        """
        self.mesh.found("home", ())
        self.mesh.publish([HOME], [], [], "1")
        chain = self.mesh.issue(JOINER.node_id, "seattle")
        store = self.make_store("seattle", JOINER)
        joiner = self.make(store)
        membership = self.mesh.check(JOINER.node_id, chain)
        assert membership is not None
        named = [*self.mesh.introductions(), (b"not a chain", None)]
        joiner.adopt(Admitted(membership, chain, "home", None, tuple(named)), ["ws://relay:8080"])
        for mesh in (joiner, self.make(store)):
            (other,) = mesh.others()
            assert other.record is not None
            self.assertEqual((other.name, other.record.endpoints), ("portland", (HOME,)))
            assert mesh.stored is not None and mesh.own is not None
            self.assertEqual((mesh.stored.relays, mesh.own.name), (("ws://relay:8080",), "seattle"))
            self.assertFalse(mesh.is_admin)
            self.assertRaises(MembershipError, mesh.check, NodeKey(b"\x09" * 32).node_id, b"")

    def test_publish(self) -> None:
        """
        A record is signed when it says something new; its number only grows,
        also over a restart.
        """
        self.mesh.found("home", ())
        self.mesh.publish([HOME], [], [], "1")
        self.assertEqual(self.kinds(), [Updated])
        self.mesh.publish([HOME], [], [], "1")
        self.assertEqual(self.kinds(), [])
        self.mesh.publish([HOME], ["ws://relay:8080"], [], "1")
        again = self.make(self.store)
        again.publish([], [], [], "1")
        assert again.roster is not None
        own = again.roster.get(again.node_id)
        assert own is not None and own.record is not None
        self.assertEqual(own.record.sequence, 3)

    def test_revoked(self) -> None:
        """
        A revocation is kept on disk, and told after it was.
        """
        self.mesh.found("home", ())
        chain = self.mesh.issue(JOINER.node_id, "seattle")
        self.kinds()
        signed = issue_revocations(
            self.store.key, self.mesh.chain, wall=self.now, current=None, keys=[JOINER.node_id]
        )
        self.mesh.merge(lambda roster: roster.merge_revocations(signed.encoded, self.now))
        self.assertEqual(self.kinds(), [Revoked, Left])
        for mesh in (self.mesh, self.make(self.store)):
            self.assertEqual(mesh.others(), [])
            self.assertRaises(MembershipError, mesh.check, JOINER.node_id, chain)
            self.assertRaises(MembershipError, mesh.issue, JOINER.node_id, "seattle")

    def test_other_mesh(self) -> None:
        """
        The chain of another mesh is worth nothing here.
        """
        self.mesh.found("home", ())
        other = NodeMesh(
            self.make_store("boston", JOINER), wall=self.wall, entropy=seeded_entropy(2)
        )
        other.found("home", ())
        self.assertRaises(MembershipError, self.mesh.check, JOINER.node_id, other.chain)

    def test_leave(self) -> None:
        """
        After leaving, the disk knows no mesh, and another may be founded.
        """
        self.mesh.found("home", ())
        first = self.mesh.leave()
        self.assertEqual(first.name, "home")
        self.assertIsNone(self.make(self.store).stored)
        self.mesh.found("office", ())
        assert self.mesh.stored is not None
        self.assertNotEqual(self.mesh.stored.mesh_id, first.mesh_id)
