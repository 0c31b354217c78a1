# -*- test-case-name: tests.node.test_database -*-
"""
Invitations on the disk: each is redeemed as often as it says and no more,
whatever runs at the same time and whenever the process is killed.

Redemptions are numbered from 0; that of a joiner which has arrived as a member has
minus its number, minus 1. Each invitation has a checksum among the database's facts,
written in the same transaction; those of earlier versions have none.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Callable

from atmosphere.errors import ConfigurationError, IdentityError
from atmosphere.identity import NodeID, Secret
from atmosphere.membership import TOLERANCE
from atmosphere.mesh.invitation import Invitation, Redeemed, Refused

from .database import MeshDatabase

__all__ = ["Invitations"]

#: Seconds for which an invitation is listed after its end.
REMEMBERED = 30 * 86400.0

#: Invitations that may be open or remembered at a time.
MAXIMUM = 10_000


class Invitations:
    """
    The invitations that this node gave.
    """

    def __init__(self, database: MeshDatabase, wall: Callable[[], float]) -> None:
        self._database = database
        self._wall = wall

    def add(self, invitation: Invitation) -> None:
        """
        Keep an invitation; when this returns, it is durable.

        @raise ConfigurationError: there are far too many.
        @raise StateError: the disk refused, or the ID is there already.
        """
        with self._database.transaction() as rows:
            rows.execute(
                "DELETE FROM invitations WHERE expires_at < ?", (self._wall() - REMEMBERED,)
            )
            rows.execute(
                "DELETE FROM facts WHERE name LIKE 'seal:%' AND substr(name, 6) NOT IN"
                " (SELECT lower(hex(invite_id)) FROM invitations)"
            )
            count = rows.execute("SELECT count(*) FROM invitations").fetchone()[0]
            if count >= MAXIMUM:
                raise ConfigurationError(
                    f"there are {count} invitations already: give one of them more uses"
                )
            rows.execute(
                "INSERT INTO invitations (invite_id, key, expires_at, uses, revoked)"
                " VALUES (?, ?, ?, ?, ?)",
                (
                    invitation.invite_id,
                    invitation.key.reveal(),
                    float(invitation.expires_at),
                    invitation.uses,
                    int(invitation.revoked),
                ),
            )
            for place, joiner in enumerate(invitation.redeemed_by):
                _insert_redemption(rows, invitation.invite_id, joiner, place)
            _seal(rows, invitation.invite_id)
        self._database.fold()

    def redeem(
        self,
        invite_id: bytes,
        joiner: NodeID,
        check: Callable[[Invitation | None], Redeemed | Refused],
    ) -> Redeemed | Refused:
        """
        Look an invitation up, ask the rule, and keep what it says: one atomic
        step under the writer's lock, flushed to the disk before this returns.
        Only then may a certificate be signed.

        @param joiner: who redeems it.
        @param check: the rule; it gets C{None} for an unknown invitation.
        @return: what the rule said.
        @raise StateError: the disk refused; then nothing was redeemed.
        """
        with self._database.transaction() as rows:
            held = _read(rows, invite_id)
            outcome = check(held)
            if isinstance(outcome, Redeemed) and held is not None:
                before = set(held.redeemed_by)
                for place, each in enumerate(outcome.invitation.redeemed_by):
                    if each not in before:
                        _insert_redemption(rows, invite_id, each, place)
                _seal(rows, invite_id)
        self._database.fold()
        return outcome

    def arrived(self, joiner: NodeID) -> None:
        """
        Note that a joiner has shown the certificate which it got: its answer was not
        lost, so none of its codes is good for it any more, should it leave.

        @raise StateError: the disk refused.
        """
        with self._database.transaction() as rows:
            found = rows.execute(
                "SELECT invite_id FROM redemptions WHERE joiner = ? AND place >= 0", (joiner.raw,)
            ).fetchall()
            for (invite_id,) in found:
                rows.execute(
                    "UPDATE redemptions SET place = -1 - place WHERE invite_id = ? AND joiner = ?",
                    (invite_id, joiner.raw),
                )
                _seal(rows, invite_id)

    def expected(self) -> set[NodeID]:
        """
        List those that have redeemed a code and not arrived yet, while they may
        redeem it again.
        """
        with self._database.reading() as rows:
            found = rows.execute(
                "SELECT joiner FROM redemptions NATURAL JOIN invitations"
                " WHERE place >= 0 AND expires_at > ?",
                (self._wall() - TOLERANCE,),
            )
            return {NodeID(joiner) for (joiner,) in found}

    def revoke_damaged(self) -> list[str]:
        """
        Revoke those that are not as they were written. SQLite sees damage to its own
        structure only, and a flipped bit could make a used code good again.

        @return: what was found, one line each for people.
        """
        found = []
        with self._database.transaction() as rows:
            seals = dict(rows.execute("SELECT name, value FROM facts WHERE name LIKE 'seal:%'"))
            for (invite_id,) in rows.execute("SELECT invite_id FROM invitations").fetchall():
                seal = seals.pop(_seal_name(invite_id), None)
                if seal is None or seal == _digest(rows, invite_id):
                    continue
                found.append(f"the invitation {invite_id.hex()} was damaged on the disk")
                rows.execute("UPDATE invitations SET revoked = 1 WHERE invite_id = ?", (invite_id,))
                _seal(rows, invite_id)
            for name in seals:
                found.append(f"the invitation {name.partition(':')[2]} was lost on the disk")
                rows.execute("DELETE FROM facts WHERE name = ?", (name,))
        return [f"{self._database.path}: {each} and is worthless; make another" for each in found]

    def revoke(self, prefix: str) -> Invitation:
        """
        Make an invitation worthless from now on.

        @param prefix: the beginning of its ID in hexadecimal.
        @return: the invitation.
        @raise ConfigurationError: none begins so, or several do.
        """
        wanted = prefix.lower()
        with self._database.transaction() as rows:
            found = [
                invite_id
                for (invite_id,) in rows.execute("SELECT invite_id FROM invitations")
                if invite_id.hex().startswith(wanted)
            ]
            if len(found) != 1:
                how = "no invitation begins" if not found else f"{len(found)} invitations begin"
                raise ConfigurationError(
                    f"{how} with {prefix[:40]!a}: see `atmosphere invite list`"
                )
            rows.execute("UPDATE invitations SET revoked = 1 WHERE invite_id = ?", (found[0],))
            invitation = _read(rows, found[0])
            assert invitation is not None
            _seal(rows, found[0])
        self._database.fold()
        return invitation

    def get(self, invite_id: bytes) -> Invitation | None:
        """
        Find an invitation.
        """
        with self._database.reading() as rows:
            return _read(rows, invite_id)

    def has_open(self) -> bool:
        """
        Say whether any could still be redeemed by somebody new.
        """
        with self._database.reading() as rows:
            found = rows.execute(
                "SELECT 1 FROM invitations AS held WHERE revoked = 0 AND expires_at > ? AND uses >"
                " (SELECT count(*) FROM redemptions WHERE invite_id = held.invite_id) LIMIT 1",
                (self._wall(),),
            )
            return found.fetchone() is not None

    def list(self) -> list[Invitation]:
        """
        List the invitations, those that end last first.
        """
        with self._database.reading() as rows:
            found = rows.execute("SELECT invite_id FROM invitations ORDER BY expires_at DESC")
            invitations = [_read(rows, invite_id) for (invite_id,) in found.fetchall()]
        return [each for each in invitations if each is not None]


def _insert_redemption(
    rows: sqlite3.Connection, invite_id: bytes, joiner: NodeID, place: int
) -> None:
    """
    Write who has redeemed an invitation.
    """
    rows.execute(
        "INSERT INTO redemptions (invite_id, joiner, place) VALUES (?, ?, ?)",
        (invite_id, joiner.raw, place),
    )


def _seal_name(invite_id: bytes) -> str:
    """
    Name the fact that holds an invitation's checksum.
    """
    return f"seal:{invite_id.hex()}"


def _digest(rows: sqlite3.Connection, invite_id: bytes) -> str:
    """
    Make the checksum of an invitation and all its redemptions.
    """
    digest = hashlib.sha256()
    for query in (
        "SELECT invite_id, key, expires_at, uses, revoked FROM invitations WHERE invite_id = ?",
        "SELECT joiner, place FROM redemptions WHERE invite_id = ? ORDER BY joiner",
    ):
        for row in rows.execute(query, (invite_id,)):
            digest.update(repr(row).encode("ascii"))
    return digest.hexdigest()


def _seal(rows: sqlite3.Connection, invite_id: bytes) -> None:
    """
    Write an invitation's checksum, in the transaction that changed it.
    """
    rows.execute(
        "INSERT OR REPLACE INTO facts VALUES (?, ?)",
        (_seal_name(invite_id), _digest(rows, invite_id)),
    )


def _read(rows: sqlite3.Connection, invite_id: bytes) -> Invitation | None:
    """
    Read an invitation.
    """
    row = rows.execute(
        "SELECT key, expires_at, uses, revoked FROM invitations WHERE invite_id = ?", (invite_id,)
    ).fetchone()
    if row is None:
        return None
    redemptions = rows.execute(
        "SELECT joiner, place FROM redemptions WHERE invite_id = ?"
        " ORDER BY CASE WHEN place < 0 THEN -1 - place ELSE place END",
        (invite_id,),
    ).fetchall()
    key, expires_at, uses, revoked = row
    joiners: list[NodeID] = []
    arrived: set[NodeID] = set()
    for raw, place in redemptions:
        try:
            joiners.append(NodeID(raw))
        except IdentityError:
            revoked = 1  # it was used, by whom cannot be known any more
            continue
        if place < 0:
            arrived.add(joiners[-1])
    return Invitation(
        invite_id,
        Secret(key),
        expires_at,
        uses,
        tuple(joiners),
        bool(revoked),
        frozenset(arrived),
    )
