# -*- test-case-name: tests.node.test_mesh -*-
"""
The mesh that a node is in: its roster, kept on disk, and its own place there.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Iterable, Sequence

from twisted.logger import Logger

from atmosphere.addresses import TransportAddress
from atmosphere.certificates import MEMBER
from atmosphere.errors import DecodeError, JoinError, MembershipError, StateError
from atmosphere.identity import NodeID, NodeKey
from atmosphere.membership import (
    TOLERANCE,
    Membership,
    decode_chain,
    found_mesh,
    issue_certificate,
    membership_of,
    verify_chain,
)
from atmosphere.mesh.joiner import Admitted, Introduced
from atmosphere.mesh.record import sign_record
from atmosphere.mesh.roster import Change, Cloned, Joined, Left, Member, Roster, Updated

from .database import StoredMember
from .store import NodeStore, StoredMesh

__all__ = ["NodeMesh"]

RECORD_SEQUENCE = "record_sequence"


class NodeMesh:
    """
    Who belongs to our mesh, and what we are in it.

    @ivar roster: the members; C{None} while the node is in no mesh.
    @ivar listeners: called with each change.
    """

    _log = Logger()

    def __init__(
        self, store: NodeStore, *, wall: Callable[[], float], entropy: Callable[[int], bytes]
    ) -> None:
        self.roster: Roster | None = None
        self.listeners: list[Callable[[Change], None]] = []
        self._store = store
        self._wall = wall
        self._entropy = entropy
        self._own: Membership | None = None
        self._unkept: set[NodeID] = set()
        self._is_disk_good = True
        self._load()

    def _load(self) -> None:
        """
        Read what was kept.
        """
        self._unkept.clear()
        stored = self._store.mesh
        if stored is None:
            self.roster, self._own = None, None
            return
        self.roster = Roster(stored.mesh_id)
        self._own = membership_of(decode_chain(stored.chain))
        if self._store.revocations is not None:
            self.roster.restore_revocations(self._store.revocations)
        for member in self._store.members():
            try:
                self.roster.restore(member.chain, member.record, seen=member.seen)
            except DecodeError as error:
                self._log.warn("a member on the disk is damaged: {error}", error=error)
        self.roster.restore(stored.chain, self._own_record())

    def _own_record(self) -> bytes | None:
        """
        Find our newest record among the members on the disk.
        """
        assert self.roster is not None
        own = self.roster.get(self._store.key.node_id)
        return None if own is None or own.record is None else own.record.encoded

    @property
    def node_id(self) -> NodeID:
        """
        Who we are.
        """
        return self._store.key.node_id

    @property
    def stored(self) -> StoredMesh | None:
        """
        The mesh as it is kept; C{None} if the node is in none.
        """
        return self._store.mesh

    @property
    def own(self) -> Membership | None:
        """
        What we are in the mesh.
        """
        return self._own

    @property
    def chain(self) -> bytes:
        """
        Our membership chain; empty without a mesh.
        """
        stored = self._store.mesh
        return b"" if stored is None else stored.chain

    @property
    def is_admin(self) -> bool:
        """
        Whether we may admit others.
        """
        return self._own is not None and self._own.is_admin

    def others(self) -> list[Member]:
        """
        List the members but ourselves, by name.
        """
        members = [] if self.roster is None else list(self.roster)
        return sorted(
            (member for member in members if member.node != self.node_id),
            key=lambda member: (member.name, member.node),
        )

    def is_one_of(self, member: Membership, named: Collection[str]) -> bool:
        """
        Say whether a member was named: by a name that in this mesh is nobody
        else's, or by its node ID.
        """
        if str(member.node) in named:
            return True
        if member.name not in named:
            return False
        namesakes = [each for each in self.others() if each.name == member.name]
        return all(each.node == member.node for each in namesakes)

    def check(self, peer: NodeID, chain: bytes) -> Membership | None:
        """
        Say what a peer is in our mesh.

        @param chain: what it showed.
        @return: C{None} for one that shows nothing and may ask to join.
        @raise MembershipError: it may not be linked to.
        """
        if self.roster is None:
            raise MembershipError("the node that was asked is in no mesh")
        if not chain:
            if not self.is_admin:
                raise MembershipError("the node that was asked cannot admit others")
            return None
        membership = verify_chain(
            chain,
            peer,
            mesh_id=self.roster.mesh_id,
            wall=self._wall(),
            revocations=self.roster.revocations,
        )
        self.merge(lambda roster: roster.merge_chain(chain, self._wall()))
        return membership

    def known(self, peer: NodeID) -> Membership | None:
        """
        Say what a peer is in our mesh by the chain that we hold, judged as if it had
        shown that now; C{None} if there is none that holds.
        """
        member = None if self.roster is None else self.roster.get(peer)
        if self.roster is None or member is None:
            return None
        mesh_id, revocations = self.roster.mesh_id, self.roster.revocations
        try:
            return verify_chain(
                member.chain, peer, mesh_id=mesh_id, wall=self._wall(), revocations=revocations
            )
        except (DecodeError, MembershipError):
            return None

    def merge(self, change: Callable[[Roster], list[Change]]) -> list[Change]:
        """
        Change the roster, keep what changed on disk, then tell the listeners.

        @raise DecodeError: what is to be merged is malformed.
        @raise MembershipError: it does not hold.
        """
        if self.roster is None:
            return []
        changes = change(self.roster)
        self.keep(changes)
        return changes

    def keep(self, changes: Sequence[Change]) -> None:
        """
        Keep changes on disk, then tell the listeners, even if the disk refused:
        who was revoked is shut out all the same. What was not kept is kept with
        the next change.
        """
        for each in changes:
            if isinstance(each, Joined | Updated):
                self._unkept.add(each.member.node)
            elif isinstance(each, Left):
                self._unkept.add(each.node)
        try:
            self._save()
        except StateError as error:
            self._disk_refused(error)
        else:
            self._is_disk_good = True
        for each in changes:
            if isinstance(each, Cloned):
                self._warn_of_clone(each)
            for listener in list(self.listeners):
                listener(each)

    def _warn_of_clone(self, cloned: Cloned) -> None:
        """
        Say that two machines use one key, and where they are.
        """
        self._log.error(
            "two machines use the key of {node}: one at {ours}, one at {theirs}",
            node=cloned.node.short,
            ours=", ".join(map(str, cloned.ours.endpoints)) or "no address",
            theirs=", ".join(map(str, cloned.theirs.endpoints)) or "no address",
        )

    def _save(self) -> None:
        """
        Bring the disk up to date with the roster, the revocations first.

        @raise StateError: the disk refused.
        """
        roster = self.roster
        assert roster is not None
        held = roster.revocations
        if held is not None and held.encoded != self._store.revocations:
            self._store.save_revocations(held.encoded)
        kept = [member for node in self._unkept if (member := roster.get(node)) is not None]
        gone = [node for node in self._unkept if node not in roster]
        if kept:
            self._store.upsert_members(map(_to_store, kept))
        if gone:
            self._store.remove_members(gone)
        if self.node_id in self._unkept:
            self._renewed()
        self._unkept.clear()

    def _renewed(self) -> None:
        """
        Keep our own chain when a newer one has come.

        @raise StateError: the disk refused.
        """
        stored = self._store.mesh
        own = None if self.roster is None else self.roster.get(self.node_id)
        if stored is not None and own is not None and own.chain != stored.chain:
            self._store.save_mesh(dataclasses.replace(stored, chain=own.chain))
            self._own = own.membership

    def _disk_refused(self, error: StateError) -> None:
        """
        Say that the disk keeps nothing, once until it does again.
        """
        if self._is_disk_good:
            self._log.error("what changes in the mesh is not kept: {error}", error=error)
        self._is_disk_good = False

    def expire(self) -> None:
        """
        Let go of members whose time is long over; not when ours is over too, for
        then it may be our clock that is wrong.
        """
        if self._may_judge():
            self.merge(lambda roster: roster.expire(self._wall()))

    def _may_judge(self) -> bool:
        """
        Say whether our own certificate holds by our clock.
        """
        own = self._own
        return own is not None and self._wall() <= own.not_after + TOLERANCE

    def has(self, node: NodeID) -> bool:
        """
        Say whether a node is a member whose certificate has not ended, as far as
        we may judge that.
        """
        member = None if self.roster is None else self.roster.get(node)
        if self.roster is None or member is None:
            return False
        return self.roster.is_current(member, self._wall()) or not self._may_judge()

    def found(self, mesh_name: str, relays: Iterable[str]) -> None:
        """
        Found a mesh: its root key and our own certificate as its first admin.

        @raise StateError: it cannot be kept.
        """
        root = NodeKey(self._entropy(32))
        chain = found_mesh(
            root,
            self.node_id,
            self._store.settings.name,
            wall=self._wall(),
            entropy=self._entropy,
        )
        self._store.save_root_key(root.seed)
        mesh_id = decode_chain(chain).mesh_id
        self._enter(StoredMesh(mesh_id, mesh_name, chain, tuple(relays)))

    def adopt(self, admitted: Admitted, relays: Iterable[str]) -> None:
        """
        Become a member: keep the chain first, then whom the issuer named.
        """
        membership = admitted.membership
        self._enter(
            StoredMesh(membership.mesh_id, admitted.mesh_name, admitted.chain, tuple(relays))
        )
        if admitted.revocations is not None:
            encoded = admitted.revocations.encoded
            self.merge(lambda roster: roster.merge_revocations(encoded, self._wall()))
        for introduced in admitted.members:
            self._introduce(introduced)

    def _introduce(self, introduced: Introduced) -> None:
        """
        Take in one whom the issuer named, if what it says holds.
        """
        chain, record = introduced
        try:
            self.merge(lambda roster: roster.merge_chain(chain, self._wall()))
            if record is not None:
                self.merge(lambda roster: roster.merge_record(record, self._wall()))
        except (DecodeError, MembershipError) as error:
            self._log.warn("the issuer named a member that does not hold: {error}", error=error)

    def _enter(self, mesh: StoredMesh) -> None:
        """
        Keep a mesh, and begin its roster with ourselves.
        """
        self._store.save_mesh(mesh)
        self._load()
        assert self.roster is not None
        own = self.roster.get(self.node_id)
        assert own is not None
        self._store.upsert_members([_to_store(own)])

    def leave(self) -> StoredMesh:
        """
        Forget the mesh.

        @return: what was left.
        @raise JoinError: the node is in none.
        """
        stored = self._store.mesh
        if stored is None:
            raise JoinError("this node is in no mesh")
        self._store.forget_mesh()
        self._load()
        return stored

    def issue(self, node: NodeID, wanted_name: str) -> bytes:
        """
        Certify a joiner, and take it into the roster.

        A joiner that has a certificate gets another under the same name.

        @return: its chain.
        @raise MembershipError: we may not, or the node was revoked.
        """
        if self.roster is None:
            raise MembershipError("this node is in no mesh")
        chain = issue_certificate(
            self._store.key,
            self.chain,
            node,
            self.roster.name_for(node, wanted_name),
            wall=self._wall(),
            entropy=self._entropy,
            roles=frozenset({MEMBER}),
            revocations=self.roster.revocations,
        )
        self.merge(lambda roster: roster.merge_chain(chain, self._wall()))
        return chain

    def publish(
        self,
        endpoints: Sequence[TransportAddress],
        relays: Sequence[str],
        services: Sequence[str],
        version: str,
    ) -> None:
        """
        Sign a new record of ourselves, if what it says is new.
        """
        if self.roster is None:
            return
        own = self.roster.get(self.node_id)
        if own is None:  # we were revoked
            return
        record = own.record
        told = (tuple(endpoints), tuple(relays), tuple(services), version)
        if record is not None and told == (
            record.endpoints,
            record.relays,
            record.services,
            record.version,
        ):
            return
        last = self._store.fact(RECORD_SEQUENCE)
        sequence = max(
            last if isinstance(last, int) else 0, 0 if record is None else record.sequence
        )
        try:
            self._store.save_fact(RECORD_SEQUENCE, sequence + 1)
        except StateError as error:
            self._disk_refused(error)
            return
        signed = sign_record(
            self._store.key,
            self.roster.mesh_id,
            sequence + 1,
            wall=self._wall(),
            endpoints=endpoints,
            relays=relays,
            services=services,
            version=version,
        )
        self.merge(lambda roster: roster.merge_record(signed.encoded, self._wall()))

    def introductions(self) -> list[Introduced]:
        """
        List all members as a joiner is told of them.
        """
        return [
            (member.chain, None if member.record is None else member.record.encoded)
            for member in (() if self.roster is None else self.roster)
        ]


def _to_store(member: Member) -> StoredMember:
    """
    Bring a member to the form in which it is kept.
    """
    record = None if member.record is None else member.record.encoded
    return StoredMember(member.node.raw, member.chain, record, member.seen)
