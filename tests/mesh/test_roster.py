"""
Tests for L{atmosphere.mesh.roster}.
"""

from twisted.trial.unittest import SynchronousTestCase

from atmosphere.errors import ConfigurationError, DecodeError, MembershipError
from atmosphere.identity import NodeKey
from atmosphere.membership import found_mesh, issue_revocations
from atmosphere.mesh.record import sign_record
from atmosphere.mesh.roster import Cloned, Joined, Left, Member, Revoked, Roster, Updated
from tests.mesh_fixtures import (
    ADMIN_CHAIN,
    ADMIN_KEY,
    ALICE,
    ALICE_CHAIN,
    BOB,
    MESH,
    ROOT,
    STRANGER,
    WALL,
    Counted,
    admit,
)

DAY = 86400


def make(**options: int) -> Roster:
    """
    Make a roster of the admin and Alice.
    """
    roster = Roster(MESH, **options)
    for chain in (ADMIN_CHAIN, ALICE_CHAIN):
        roster.merge_chain(chain, WALL)
    return roster


def record(sequence: int, key: NodeKey = ALICE, *, version: str = "", wall: float = WALL) -> bytes:
    """
    Sign a record.
    """
    return sign_record(key, MESH, sequence, wall=wall, version=version).encoded


class ChainTests(SynchronousTestCase):
    """
    A member is who has a chain, and the newest counts.
    """

    def test_join(self) -> None:
        """
        A new chain makes a member, the same again changes nothing.
        """
        roster = Roster(MESH)
        (change,) = roster.merge_chain(ALICE_CHAIN, WALL)
        assert isinstance(change, Joined)
        self.assertEqual(change.member.name, "seattle")
        self.assertEqual(change.member.node, ALICE.node_id)
        self.assertEqual(roster.merge_chain(ALICE_CHAIN, WALL), [])
        self.assertEqual(len(roster), 1)
        self.assertIn(ALICE.node_id, roster)
        self.assertEqual(list(roster), [change.member])

    def test_renewal(self) -> None:
        """
        A newer certificate replaces an older one, whatever the order they come in.
        """
        newer = admit(ALICE.node_id, "tacoma", wall=WALL + DAY, serial=9)
        roster = make()
        roster.merge_record(record(1), WALL)
        (change,) = roster.merge_chain(newer, WALL + DAY)
        assert isinstance(change, Updated)
        self.assertEqual(change.member.name, "tacoma")
        self.assertIsNotNone(change.member.record)
        self.assertEqual(roster.merge_chain(ALICE_CHAIN, WALL + DAY), [])

    def test_same_second(self) -> None:
        """
        Of two certificates of one second all rosters keep the same.
        """
        chains = [admit(ALICE.node_id, "seattle", serial=serial) for serial in (5, 6)]
        kept = []
        for order in (chains, chains[::-1]):
            roster = Roster(MESH)
            for chain in order:
                roster.merge_chain(chain, WALL)
            kept.append([member.chain for member in roster])
        self.assertEqual(kept[0], kept[1])

    def test_no_members(self) -> None:
        """
        Strangers, the expired and garbage do not come in.
        """
        roster = make()
        own = found_mesh(STRANGER, STRANGER.node_id, "x", wall=WALL, entropy=Counted())
        self.assertRaises(MembershipError, roster.merge_chain, own, WALL)
        late = admit(BOB.node_id, "bob")
        self.assertRaises(MembershipError, roster.merge_chain, late, WALL + 31 * DAY)
        self.assertRaises(DecodeError, roster.merge_chain, b"", WALL)
        self.assertEqual(len(roster), 2)

    def test_full(self) -> None:
        """
        A full roster takes no more, but renews those it has.
        """
        roster = make(limit=2)
        bob = admit(BOB.node_id, "bob")
        error = self.assertRaises(MembershipError, roster.merge_chain, bob, WALL)
        self.assertIn("full", str(error))
        newer = admit(ALICE.node_id, "seattle", wall=WALL + DAY)
        self.assertEqual(len(roster.merge_chain(newer, WALL + DAY)), 1)

    def test_end(self) -> None:
        """
        Who has ended is listed a week more, then let go.
        """
        roster = make()
        alice = roster.find("seattle")
        self.assertTrue(roster.is_current(alice, WALL + 30 * DAY))
        self.assertFalse(roster.is_current(alice, WALL + 31 * DAY))
        self.assertEqual(roster.expire(WALL + 37 * DAY), [])
        (change,) = roster.expire(WALL + 37 * DAY + 1)
        self.assertEqual(change, Left(ALICE.node_id, "seattle", "its certificate has ended"))
        self.assertNotIn(ALICE.node_id, roster)

    def test_leaving(self) -> None:
        """
        Who says goodbye is struck off.
        """
        roster = make()
        self.assertEqual(
            roster.remove(ALICE.node_id, "left"), [Left(ALICE.node_id, "seattle", "left")]
        )
        self.assertEqual(roster.remove(ALICE.node_id, "left"), [])


class RecordTests(SynchronousTestCase):
    """
    Of each member the newest record counts, and only its own.
    """

    def test_newest_counts(self) -> None:
        """
        A higher sequence replaces, a lower one and the same again change nothing.
        """
        roster = make()
        (change,) = roster.merge_record(record(5), WALL)
        assert isinstance(change, Updated)
        self.assertEqual(change.member.record, roster.find("seattle").record)
        for older in (record(5), record(4)):
            self.assertEqual(roster.merge_record(older, WALL), [])
        self.assertEqual(len(roster.merge_record(record(6), WALL)), 1)

    def test_refused(self) -> None:
        """
        Records of strangers, from the future, out of reach, or forged, are refused.
        """
        roster = make()
        roster.merge_record(record(5), WALL)
        forged = record(6)[:-1] + b"\0"
        other = sign_record(ALICE, "mesh-" + "a" * 26, 6, wall=WALL).encoded
        for bad in (
            record(1, BOB),
            record(6, wall=WALL + 601),
            record(6 + 2**32),
            forged,
            other,
        ):
            self.assertRaises(MembershipError, roster.merge_record, bad, WALL)
        self.assertRaises(DecodeError, roster.merge_record, b"", WALL)
        known = roster.find("seattle").record
        assert known is not None
        self.assertEqual(known.sequence, 5)
        roster.merge_record(record(5 + 2**32, wall=WALL + 600), WALL)

    def test_cloned(self) -> None:
        """
        Two records with one sequence are the sign of a copied key, and the first stays.
        """
        roster = make()
        roster.merge_record(record(5, version="a"), WALL)
        (change,) = roster.merge_record(record(5, version="b"), WALL)
        assert isinstance(change, Cloned)
        self.assertEqual((change.ours.version, change.theirs.version), ("a", "b"))
        known = roster.find("seattle").record
        assert known is not None
        self.assertEqual(known.version, "a")


class RevocationTests(SynchronousTestCase):
    """
    Who is revoked leaves at once, and does not come back.
    """

    def test_revoked(self) -> None:
        """
        A list strikes off those on it; older lists are refused.
        """
        roster = make()
        first = issue_revocations(ADMIN_KEY, ADMIN_CHAIN, wall=WALL, current=None)
        second = issue_revocations(
            ADMIN_KEY, ADMIN_CHAIN, wall=WALL, current=first, keys=[ALICE.node_id]
        )
        self.assertEqual(
            roster.merge_revocations(second.encoded, WALL),
            [Revoked(second), Left(ALICE.node_id, "seattle", "was revoked")],
        )
        self.assertEqual(roster.merge_revocations(second.encoded, WALL), [])
        self.assertRaises(MembershipError, roster.merge_revocations, first.encoded, WALL)
        self.assertRaises(MembershipError, roster.merge_chain, ALICE_CHAIN, WALL)

    def test_admin_takes_its_members_along(self) -> None:
        """
        With an admin go those that it let in.
        """
        roster = make()
        revoked = issue_revocations(
            ROOT, ADMIN_CHAIN, wall=WALL, current=None, keys=[ADMIN_KEY.node_id]
        )
        self.assertEqual(len(roster.merge_revocations(revoked.encoded, WALL)), 3)
        self.assertEqual(len(roster), 0)


class LookupTests(SynchronousTestCase):
    """
    People say names, or the beginning of a node ID.
    """

    def test_found(self) -> None:
        """
        By name, node ID, or four characters of it.
        """
        roster = make()
        text = str(ALICE.node_id)
        for word in ("seattle", text, text[:10], text[:4]):
            self.assertEqual(roster.find(word).node, ALICE.node_id)
        self.assertEqual(roster.get(ALICE.node_id), roster.find("seattle"))
        self.assertIsNone(roster.get(BOB.node_id))

    def test_not_found(self) -> None:
        """
        Unknown, too short and ambiguous words say what is wrong, safely.
        """
        roster = make()
        for word in ("nobody", str(ALICE.node_id)[:3], str(BOB.node_id), "", "\x1b[2J"):
            error = self.assertRaises(ConfigurationError, roster.find, word)
            self.assertIn("no member", str(error))
            self.assertNotIn("\x1b", str(error))
        roster.merge_chain(admit(BOB.node_id, "seattle"), WALL)
        error = self.assertRaises(ConfigurationError, roster.find, "seattle")
        self.assertIn(BOB.node_id.short, str(error))

    def test_names(self) -> None:
        """
        A new member gets a free name; who has one keeps it.
        """
        roster = make()
        self.assertEqual(roster.name_for(BOB.node_id, "Seattle"), "seattle-2")
        self.assertEqual(roster.name_for(BOB.node_id, "tacoma"), "tacoma")
        self.assertEqual(roster.name_for(ALICE.node_id, "other"), "seattle")
        self.assertEqual(roster.names()["portland"], ADMIN_KEY.node_id)


class RestoreTests(SynchronousTestCase):
    """
    After a restart the roster is what it was.
    """

    def test_restore(self) -> None:
        """
        Members and the list come back from disk without a signature being checked.
        """
        roster = make()
        roster.merge_record(record(5), WALL)
        roster.saw(ALICE.node_id, WALL + 1)
        roster.saw(ALICE.node_id, WALL)
        roster.saw(BOB.node_id, WALL)
        revocations = issue_revocations(ADMIN_KEY, ADMIN_CHAIN, wall=WALL, current=None)
        roster.merge_revocations(revocations.encoded, WALL)
        again = Roster(MESH)
        for member in roster:
            known = member.record
            again.restore(member.chain, None if known is None else known.encoded, seen=member.seen)
        again.restore_revocations(revocations.encoded)
        self.assertEqual(list(again), list(roster))
        self.assertEqual(again.revocations, roster.revocations)
        alice = again.find("seattle")
        assert isinstance(alice, Member)
        self.assertEqual(alice.seen, WALL + 1)

    def test_damaged(self) -> None:
        """
        What is not of this mesh or of this member is not taken back.
        """
        roster = Roster(MESH)
        own = found_mesh(STRANGER, STRANGER.node_id, "x", wall=WALL, entropy=Counted())
        self.assertRaises(DecodeError, roster.restore, own)
        self.assertRaises(DecodeError, roster.restore, ALICE_CHAIN, record(1, BOB))
        self.assertRaises(DecodeError, roster.restore, b"")
        other = issue_revocations(STRANGER, own, wall=WALL, current=None)
        self.assertRaises(DecodeError, roster.restore_revocations, other.encoded)
