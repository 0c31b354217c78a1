# -*- test-case-name: tests.mesh.test_roster -*-
"""
Who is in the mesh, as far as this node knows: the rules of its roster.

The roster holds nothing that was not signed, and of each member one chain and
one record. What comes in twice is recognised before a signature is checked.
Each method that changes something says what, so that it can be kept on disk
and passed on; reading back from our own disk is L{Roster.restore}.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import TypeAlias

from atmosphere.certificates import decode_chain, decode_revocations
from atmosphere.errors import ConfigurationError, DecodeError, IdentityError, MembershipError
from atmosphere.identity import NodeID
from atmosphere.membership import (
    TOLERANCE,
    Membership,
    RevocationList,
    membership_of,
    verify_chain,
    verify_revocations,
)
from atmosphere.text import escape_peer_text, unused_name

from .record import NodeRecord, decode_record

__all__ = [
    "Change",
    "Cloned",
    "Joined",
    "Left",
    "Member",
    "Revoked",
    "Roster",
    "Updated",
]

MAXIMUM_MEMBERS = 10_000
MAXIMUM_JUMP = 2**32
#: The fewest characters of a node ID that stand for the whole.
MINIMUM_PREFIX = 4
#: How long a member is still listed after its certificate has ended.
KEPT_AFTER_END = 7 * 86400


@dataclass(frozen=True, slots=True)
class Member:
    """
    A member, and all that is known of it.

    @ivar chain: its chain, as it came.
    @ivar record: its newest record, if one has come.
    @ivar seen: when we last heard it ourselves, POSIX time; 0 for never.
    """

    membership: Membership
    chain: bytes = field(repr=False)
    record: NodeRecord | None = None
    seen: float = 0.0

    @property
    def node(self) -> NodeID:
        """
        Who it is.
        """
        return self.membership.node

    @property
    def name(self) -> str:
        """
        What it is called.
        """
        return self.membership.name


@dataclass(frozen=True, slots=True)
class Joined:
    """
    A member that we did not know.
    """

    member: Member


@dataclass(frozen=True, slots=True)
class Updated:
    """
    A member with a newer chain or record.
    """

    member: Member


@dataclass(frozen=True, slots=True)
class Left:
    """
    A member that is none any more; its links are to be cut.
    """

    node: NodeID
    name: str
    reason: str


@dataclass(frozen=True, slots=True)
class Revoked:
    """
    A newer revocation list; those that left by it follow.
    """

    revocations: RevocationList


@dataclass(frozen=True, slots=True)
class Cloned:
    """
    Two records with the same sequence: two machines use one key.
    """

    node: NodeID
    ours: NodeRecord
    theirs: NodeRecord


Change: TypeAlias = Joined | Updated | Left | Revoked | Cloned


def _age(membership: Membership) -> tuple[float, float, bytes]:
    """
    Order the certificates of a node, newest last, the same at every node.
    """
    return membership.not_before, membership.not_after, membership.serial


class Roster:
    """
    The members of one mesh, ourselves among them.

    @ivar mesh_id: the mesh.
    @ivar revocations: the newest list.
    @ivar version: another number after each change of a chain or record.
    """

    def __init__(self, mesh_id: str, *, limit: int = MAXIMUM_MEMBERS) -> None:
        self.mesh_id = mesh_id
        self.revocations: RevocationList | None = None
        self.version = 0
        self._limit = limit
        self._members: dict[NodeID, Member] = {}

    # ------------------------------------------------------------- reading

    def __len__(self) -> int:
        return len(self._members)

    def __iter__(self) -> Iterator[Member]:
        return iter(list(self._members.values()))

    def __contains__(self, node: NodeID) -> bool:
        return node in self._members

    def get(self, node: NodeID) -> Member | None:
        """
        Find a member by its key.
        """
        return self._members.get(node)

    def names(self) -> dict[str, NodeID]:
        """
        Say which names are taken, and by whom.
        """
        return {member.name: member.node for member in self._members.values()}

    def name_for(self, node: NodeID, wanted: str) -> str:
        """
        Find the name to certify a node under: the one that it has, else a free one.
        """
        held = self._members.get(node)
        return held.name if held is not None else unused_name(wanted, self.names())

    def find(self, text: str) -> Member:
        """
        Find the member that a person means: by name, node ID, or the
        beginning of a node ID, of 4 characters or more.

        @raise ConfigurationError: it means nobody, or more than one.
        """
        found = [member for member in self._members.values() if member.name == text]
        if not found:
            try:
                exact = self._members.get(NodeID.from_text(text))
            except IdentityError:
                exact = None
            if exact is not None:
                return exact
            if len(text) >= MINIMUM_PREFIX:
                found = [m for m in self._members.values() if str(m.node).startswith(text)]
        if len(found) == 1:
            return found[0]
        shown = escape_peer_text(text)
        if not found:
            raise ConfigurationError(f"no member is called {shown}; see atmosphere peers")
        several = ", ".join(f"{member.name} {member.node.short}" for member in found[:4])
        raise ConfigurationError(f"{shown} may be any of {several}; write more of the node ID")

    # ------------------------------------------------------------- changing

    def restore(self, chain: bytes, record: bytes | None = None, *, seen: float = 0.0) -> Member:
        """
        Take back a member from our own disk, without checking signatures again.

        @raise DecodeError: it is damaged, or another mesh's.
        """
        decoded = decode_chain(chain)
        if decoded.mesh_id != self.mesh_id:
            raise DecodeError("roster: a member of another mesh")
        membership = membership_of(decoded)
        known = None if record is None else decode_record(record)
        if known is not None and known.node != membership.node:
            raise DecodeError("roster: another node's record")
        member = Member(membership, chain, known, seen)
        self._keep(member)
        return member

    def restore_revocations(self, encoded: bytes) -> None:
        """
        Take back the list from our own disk.

        @raise DecodeError: it is damaged, or another mesh's.
        """
        found = decode_revocations(encoded)
        if found.mesh_id != self.mesh_id:
            raise DecodeError("roster: a revocation list of another mesh")
        self.revocations = found

    def wants_chain(self, chain: bytes) -> NodeID | None:
        """
        Look at a chain before any signature is checked.

        @return: whose it is, if it is newer than the one we hold.
        @raise DecodeError: it is none.
        """
        decoded = decode_chain(chain)
        claimed = membership_of(decoded)
        held = self._members.get(claimed.node)
        if held is not None and _age(claimed) <= _age(held.membership):
            return None
        return claimed.node

    def merge_chain(self, chain: bytes, wall: float) -> list[Change]:
        """
        Take a chain from anywhere.

        @return: what changed; nothing if the chain is not newer than ours.
        @raise DecodeError: it is none.
        @raise MembershipError: it does not hold, or the roster is full.
        """
        node = self.wants_chain(chain)
        if node is None:
            return []
        membership = verify_chain(
            chain, node, mesh_id=self.mesh_id, wall=wall, revocations=self.revocations
        )
        held = self._members.get(node)
        if held is None:
            if len(self._members) >= self._limit:
                raise MembershipError(f"the roster is full: {self._limit} members")
            member = Member(membership, chain)
        else:
            member = replace(held, membership=membership, chain=chain)
        self._keep(member)
        return [Joined(member) if held is None else Updated(member)]

    def wants_record(self, record: bytes) -> NodeRecord | None:
        """
        Look at a record before its signature is checked.

        @return: what it says, unless we hold these very bytes or a newer one.
        @raise DecodeError: it is none.
        """
        found = decode_record(record)
        held = self._members.get(found.node)
        if held is None or held.record is None:
            return found
        if found.sequence < held.record.sequence or record == held.record.encoded:
            return None
        return found

    def merge_record(self, record: bytes, wall: float) -> list[Change]:
        """
        Take a record from anywhere.

        @return: what changed; nothing if the record is not newer than ours.
        @raise DecodeError: it is none.
        @raise MembershipError: it does not hold, or nobody here has signed it.
        """
        found = self.wants_record(record)
        if found is None:
            return []
        held = self._members.get(found.node)
        if held is None or found.mesh_id != self.mesh_id:
            raise MembershipError("a record of a node that is no member here")
        if found.time > wall + TOLERANCE:
            raise MembershipError(f"the record of {held.name} is from the future")
        if held.record is not None and found.sequence > held.record.sequence + MAXIMUM_JUMP:
            raise MembershipError(f"the record of {held.name} jumps too far ahead")
        if not found.is_signed():
            raise MembershipError(f"the record of {held.name} carries a wrong signature")
        if held.record is not None and found.sequence == held.record.sequence:
            return [Cloned(found.node, held.record, found)]
        member = replace(held, record=found)
        self._keep(member)
        return [Updated(member)]

    def merge_revocations(self, encoded: bytes, wall: float) -> list[Change]:
        """
        Take a revocation list from anywhere; who is on it leaves at once.

        @return: what changed; nothing if we hold that list.
        @raise MembershipError: it does not hold, or is older than ours.
        """
        found = verify_revocations(
            encoded, mesh_id=self.mesh_id, wall=wall, current=self.revocations
        )
        if found is self.revocations:
            return []
        self.revocations = found
        changes: list[Change] = [Revoked(found)]
        for member in self:
            certificates = decode_chain(member.chain).certificates
            if any(found.covers(certificate) for certificate in certificates):
                changes.append(self._remove(member, "was revoked"))
        return changes

    def expire(self, wall: float) -> list[Change]:
        """
        Let go of members whose certificate has ended a week ago. Until then
        they are listed, and can take nothing from it.
        """
        return [
            self._remove(member, "its certificate has ended")
            for member in self
            if wall > member.membership.not_after + KEPT_AFTER_END
        ]

    def is_current(self, member: Member, wall: float) -> bool:
        """
        Say whether a member's chain still holds by its time.
        """
        return wall <= member.membership.not_after + TOLERANCE

    def saw(self, node: NodeID, wall: float) -> None:
        """
        Note that we heard a node ourselves. No change: it is kept now and then.
        """
        held = self._members.get(node)
        if held is not None and wall > held.seen:
            self._members[node] = replace(held, seen=wall)

    def remove(self, node: NodeID, reason: str) -> list[Change]:
        """
        Strike a member off, because it said that it leaves.
        """
        held = self._members.get(node)
        return [] if held is None else [self._remove(held, reason)]

    def _keep(self, member: Member) -> None:
        """
        Put a member in its place.
        """
        self._members[member.node] = member
        self.version += 1

    def _remove(self, member: Member, reason: str) -> Left:
        """
        Strike a member off.
        """
        del self._members[member.node]
        self.version += 1
        return Left(member.node, member.name, reason)
