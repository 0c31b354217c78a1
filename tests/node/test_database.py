"""
Tests for L{atmosphere.node.database} and L{atmosphere.node.invitations}.
"""

from __future__ import annotations

import os
import signal
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase
from typing_extensions import override

from atmosphere.errors import ConfigurationError, StateError
from atmosphere.identity import NodeID, NodeKey, Secret
from atmosphere.mesh.invitation import Invitation, Reason, Redeemed, Refused
from atmosphere.node.database import MeshDatabase, StoredMember
from atmosphere.node.invitations import Invitations

NOW = 1_000_000.0
JOINERS = [NodeKey(bytes([number]) * 32).node_id for number in range(1, 61)]


def rule(invitation: Invitation | None, joiner: NodeID) -> Redeemed | Refused:
    """
    The part of the rule that counts uses.
    """
    if invitation is None:
        return Refused(Reason.UNKNOWN)
    if joiner in invitation.redeemed_by:
        return Redeemed(invitation, is_repeat=True)
    if len(invitation.redeemed_by) >= invitation.uses:
        return Refused(Reason.USED)
    redeemed_by = (*invitation.redeemed_by, joiner)
    return Redeemed(replace(invitation, redeemed_by=redeemed_by))


class DatabaseTestCase(SynchronousTestCase):
    """
    A database in a private directory.
    """

    @override
    def setUp(self) -> None:
        self.directory = Path(self.mktemp())
        self.directory.mkdir(mode=0o700)
        self.path = self.directory / "mesh.db"
        self.notices: list[str] = []

    def open(self, *, may_write: bool = True) -> MeshDatabase:
        """
        Open the database anew.
        """
        database = MeshDatabase(
            self.path, wall=lambda: NOW, notice=self.notices.append, may_write=may_write
        )
        self.addCleanup(database.close)
        return database

    def invitations(self) -> Invitations:
        """
        Open the database and take its invitations.
        """
        return Invitations(self.open(), lambda: NOW)


class DatabaseTests(DatabaseTestCase):
    """
    The file.
    """

    def test_rest(self) -> None:
        """
        A database that rests holds no file, wakes when it is used, and stays
        closed once it was closed.
        """
        database = self.open()
        database.claim("mesh-one")
        database.rest()
        self.assertEqual([each.name for each in self.directory.iterdir()], ["mesh.db"])
        self.assertEqual(database.members(), [])
        database.rest()
        database.rest()
        database.claim("mesh-one")
        database.close()
        self.assertRaises(StateError, database.members)
        resting = self.open()
        resting.rest()
        resting.close()

    def test_durable(self) -> None:
        """
        The log is written ahead and flushed at each commit.
        """
        with self.open().reading() as rows:
            self.assertEqual(rows.execute("PRAGMA journal_mode").fetchone(), ("wal",))
            self.assertEqual(rows.execute("PRAGMA synchronous").fetchone(), (2,))

    def test_damaged(self) -> None:
        """
        A damaged database is set aside with all that belongs to it, a new one
        is begun, and it is said what is lost.
        """
        database = self.open()
        database.upsert_members([StoredMember(JOINERS[0].raw, b"chain", None, 1.0)])
        database.close()
        good = self.path.read_bytes()
        for bad in (b"", b"rubbish" * 1000, good[: len(good) // 2], good[:100] + bytes(8000)):
            self.notices.clear()
            self.path.write_bytes(bad)
            database = self.open()
            self.assertEqual(database.members(), [])
            database.close()
            self.assertEqual(len(self.notices), 1, bad[:20])
            self.assertIn("invitations that were open are lost", self.notices[0])
        asides = [name for name in os.listdir(self.directory) if "corrupt" in name]
        self.assertEqual(len(asides), 4)

    def test_newer(self) -> None:
        """
        A database in a newer format is refused by name and not changed.
        """
        self.open().close()
        with sqlite3.connect(self.path) as connection:
            connection.execute("PRAGMA user_version = 2")
        connection.close()
        before = self.path.read_bytes()
        for may_write in (True, False):
            with self.assertRaises(StateError) as caught:
                self.open(may_write=may_write)
            self.assertIn("mesh.db was written by a newer atmosphere", str(caught.exception))
        self.assertEqual(self.path.read_bytes(), before)
        self.assertEqual(self.notices, [])

    def test_reader(self) -> None:
        """
        A reader sees what the writer has committed, and can change nothing.
        """
        reader = self.open(may_write=False)
        self.assertEqual(reader.members(), [])
        self.assertFalse(self.path.exists())
        writer = self.open()
        reader = self.open(may_write=False)
        writer.upsert_members([StoredMember(JOINERS[0].raw, b"chain", None, 1.0)])
        self.assertEqual(len(reader.members()), 1)
        self.assertRaises(StateError, reader.claim, "mesh-x")

    def test_loose_mode(self) -> None:
        """
        A database that others can read is refused.
        """
        self.open().close()
        self.path.chmod(0o604)
        self.assertRaises(StateError, self.open)

    def test_undone(self) -> None:
        """
        What fails half way leaves nothing behind.
        """
        database = self.open()
        good = StoredMember(JOINERS[0].raw, b"chain", None, 1.0)
        self.assertRaises(
            StateError, database.upsert_members, [good, StoredMember(b"short", b"", None, 1.0)]
        )
        self.assertEqual(database.members(), [])


class InvitationTests(DatabaseTestCase):
    """
    Invitations.
    """

    invitation = Invitation(b"i" * 16, Secret(b"k" * 32), NOW + 3600, uses=2)

    def test_kept(self) -> None:
        """
        An invitation is the same after a restart, its secret included.
        """
        given = replace(self.invitation, redeemed_by=tuple(JOINERS[:2]))
        self.invitations().add(given)
        (kept,) = self.invitations().list()
        self.assertEqual(kept.key.reveal(), given.key.reveal())
        self.assertEqual(replace(kept, key=given.key), given)

    def test_redeemed(self) -> None:
        """
        An invitation is good for as many joiners as it says; each of them may
        come again, and no other.
        """
        invitations = self.invitations()
        invitations.add(self.invitation)
        outcomes = [
            invitations.redeem(b"i" * 16, joiner, partial(rule, joiner=joiner))
            for joiner in (*JOINERS[:3], JOINERS[0])
        ]
        self.assertEqual(
            [isinstance(each, Redeemed) for each in outcomes], [True, True, False, True]
        )
        (kept,) = self.invitations().list()
        self.assertEqual(kept.redeemed_by, tuple(JOINERS[:2]))

    def test_unknown(self) -> None:
        """
        The rule is asked about an invitation that does not exist too.
        """
        asked: list[object] = []

        def check(held: Invitation | None) -> Redeemed | Refused:
            asked.append(held)
            return Refused(Reason.UNKNOWN)

        self.invitations().redeem(b"?" * 16, JOINERS[0], check)
        self.assertEqual(asked, [None])

    def test_rule_that_fails(self) -> None:
        """
        When the rule fails nothing is redeemed.
        """
        invitations = self.invitations()
        invitations.add(self.invitation)

        def check(held: Invitation | None) -> Redeemed | Refused:
            raise ZeroDivisionError

        self.assertRaises(ZeroDivisionError, invitations.redeem, b"i" * 16, JOINERS[0], check)
        self.assertEqual(invitations.list()[0].redeemed_by, ())

    def test_fifty_at_once(self) -> None:
        """
        Of fifty who redeem a code for one at the same time, each by a
        connection of its own, exactly one succeeds.
        """
        self.invitations().add(replace(self.invitation, uses=1))

        def redeem(joiner: NodeID) -> bool:
            database = MeshDatabase(self.path, wall=lambda: NOW, notice=self.notices.append)
            try:
                outcome = Invitations(database, lambda: NOW).redeem(
                    b"i" * 16, joiner, lambda held: rule(held, joiner)
                )
                return isinstance(outcome, Redeemed)
            finally:
                database.close()

        with ThreadPoolExecutor(10) as pool:
            outcomes = list(pool.map(redeem, JOINERS[:50]))
        self.assertEqual(outcomes.count(True), 1)

    def test_killed(self) -> None:
        """
        Whenever the node is killed, what it had told a joiner stands.
        """
        for attempt in range(4):
            invite_id = bytes([attempt]) * 16
            self.invitations().add(replace(self.invitation, invite_id=invite_id, uses=60))
            told, tell = os.pipe()
            child = os.fork()
            if child == 0:
                try:
                    invitations = self.invitations()
                    for number, joiner in enumerate(JOINERS):
                        invitations.redeem(invite_id, joiner, partial(rule, joiner=joiner))
                        os.write(tell, b"%d\n" % number)
                finally:
                    os._exit(1)
            os.close(tell)
            with os.fdopen(told, "rb") as acknowledgements:
                for _ in range(2 + attempt):
                    acknowledgements.readline()
                os.kill(child, signal.SIGKILL)
                os.waitpid(child, 0)
                acknowledged = 2 + attempt + len(acknowledgements.read().splitlines())
            kept = {each.invite_id: each for each in self.invitations().list()}[invite_id]
            self.assertIn(len(kept.redeemed_by) - acknowledged, (0, 1))
        self.assertEqual(self.notices, [])

    def test_revoked(self) -> None:
        """
        An invitation is revoked by the beginning of its ID, if that is clear.
        """
        invitations = self.invitations()
        invitations.add(self.invitation)
        invitations.add(replace(self.invitation, invite_id=b"j" * 16))
        for prefix in ("", "6", "ff", "%", "zz"):
            self.assertRaises(ConfigurationError, invitations.revoke, prefix)
        self.assertTrue(invitations.revoke("6A").revoked)
        revoked = {each.invite_id: each.revoked for each in invitations.list()}
        self.assertEqual(revoked, {b"i" * 16: False, b"j" * 16: True})

    def test_forgotten(self) -> None:
        """
        Invitations that ended long ago are forgotten, those that ended lately are not.
        """
        invitations = self.invitations()
        for number, age in enumerate((40 * 86400.0, 86400.0)):
            past = replace(self.invitation, invite_id=bytes([number]) * 16, expires_at=NOW - age)
            invitations.add(past)
        invitations.add(self.invitation)
        self.assertEqual(len(invitations.list()), 2)

    def test_twice(self) -> None:
        """
        The same ID cannot be given twice.
        """
        invitations = self.invitations()
        invitations.add(self.invitation)
        self.assertRaises(StateError, invitations.add, self.invitation)
