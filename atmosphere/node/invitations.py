# -*- test-case-name: tests.node.test_database -*-
"""
Invitations on the disk: each is redeemed as often as it says and no more,
whatever runs at the same time and whenever the process is killed.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable

from atmosphere.errors import ConfigurationError
from atmosphere.identity import NodeID, Secret
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
            return outcome

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
            return invitation

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


def _read(rows: sqlite3.Connection, invite_id: bytes) -> Invitation | None:
    """
    Read an invitation.
    """
    row = rows.execute(
        "SELECT key, expires_at, uses, revoked FROM invitations WHERE invite_id = ?", (invite_id,)
    ).fetchone()
    if row is None:
        return None
    joiners = rows.execute(
        "SELECT joiner FROM redemptions WHERE invite_id = ? ORDER BY place", (invite_id,)
    )
    key, expires_at, uses, revoked = row
    return Invitation(
        invite_id,
        Secret(key),
        expires_at,
        uses,
        tuple(NodeID(joiner) for (joiner,) in joiners),
        bool(revoked),
    )
