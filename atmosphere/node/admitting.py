# -*- test-case-name: tests.node.test_joining -*-
"""
The part of a node's local API about letting in and being let in.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from twisted.internet.defer import Deferred

from atmosphere.engine_driver import EngineClock
from atmosphere.errors import ConfigurationError, JoinError, LinkError, StateError
from atmosphere.identity import NodeID
from atmosphere.mesh.invitation import Invitation
from atmosphere.mesh.join_code import JoinCode
from atmosphere.mesh.joiner import Admitted, Waiting
from atmosphere.network.path.ways import DirectWay, Way

from .api import JSON, Emit
from .approving import Approvals
from .config import NodeConfig
from .founding import FoundingNode
from .invitations import Invitations
from .inviting import Redemption, make_invitation, make_plain_code, read_code
from .keeper import LinkKeeper
from .knocking import PATIENCE, Answers
from .links import NodeLinks
from .requesting import JoinRequest, Target, target_of
from .store import NodeStore
from .surroundings import Surroundings

__all__ = ["AdmittingNode"]


class AdmittingNode(FoundingNode):
    """
    See L{atmosphere.node.api.NodeAPI}.

    @ivar links: the node's links.
    @ivar surroundings: where it is.
    """

    links: NodeLinks
    surroundings: Surroundings
    _reactor: Any
    _store: NodeStore
    _config: NodeConfig
    _clock: EngineClock
    _wall: Callable[[], float]
    _entropy: Callable[[int], bytes]
    _keeper: LinkKeeper
    _invitations: Invitations
    _approvals: Approvals
    _answers: Answers
    _ticket: JoinCode | None
    _is_joining = False

    @abstractmethod
    def _note_mesh_relays(self) -> None:
        """
        Trust the relays that came with the join code.
        """

    # Letting in.

    def invite(
        self, *, hours: float, uses: int, mesh_name: str | None, approve: bool = False
    ) -> Deferred[JSON]:
        """
        Make a join code; found a mesh if the node is in none.
        """
        return Deferred.fromCoroutine(self._invite(hours, uses, mesh_name, approve))

    async def _invite(
        self, hours: float, uses: int, mesh_name: str | None, must_be_approved: bool
    ) -> JSON:
        """
        Do what L{invite} says.
        """
        founded = self.mesh.stored is None
        if founded:
            self.found(mesh_name)
        elif mesh_name is not None and self.mesh.stored and mesh_name != self.mesh.stored.name:
            held = self.mesh.stored.name
            raise ConfigurationError(
                f"this node is in the mesh {held}: run `atmosphere leave` to found another"
            )
        if must_be_approved:
            code, warnings = make_plain_code(
                self.mesh, self.surroundings, lifetime=hours * 3600, wall=self._wall()
            )
        else:
            await self.surroundings.learn_public_address()
            code, warnings = make_invitation(
                self._store.key,
                self.mesh,
                self._invitations,
                self.surroundings,
                lifetime=hours * 3600,
                uses=uses,
                wall=self._wall(),
                entropy=self._entropy,
            )
        return {
            "code": code.code,
            "expires_at": int(code.expires_at),
            "invite_id": code.invite_id.hex() or None,
            "uses": None if must_be_approved else uses,
            "mesh_id": code.mesh_id,
            "mesh_name": code.mesh_name,
            "founded": founded,
            "needs_approval": must_be_approved,
            "needs_answer": not must_be_approved and not code.relay_urls,
            "warnings": warnings,
        }

    def keep_invitation(self, invitation: Invitation) -> None:
        """
        Have a code redeemed here that was made elsewhere in this process, with this
        node's key.
        """
        self._invitations.add(invitation)

    def invitations(self) -> list[JSON]:
        """
        List the invitations that this node gave.
        """
        return [
            {
                "invite_id": each.invite_id.hex(),
                "expires_at": int(each.expires_at),
                "uses": each.uses,
                "redeemed_by": [str(node) for node in each.redeemed_by],
                "revoked": each.revoked,
            }
            for each in self._invitations.list()
        ]

    def revoke_invitation(self, invite_id: str) -> JSON:
        """
        Make an invitation worthless from now on.
        """
        return {"invite_id": self._invitations.revoke(invite_id).invite_id.hex()}

    def requests(self) -> list[JSON]:
        """
        List those that ask to be let in.
        """
        return self._approvals.list()

    def approve(self, request: str) -> JSON:
        """
        Let one of them in.
        """
        return self._approvals.approve(request)

    def deny(self, request: str) -> JSON:
        """
        Let one of them not in.
        """
        return self._approvals.deny(request)

    def follow_answer(
        self, answer: str, *, timeout: float = PATIENCE, emit: Emit = lambda line: None
    ) -> Deferred[JSON]:
        """
        Let a joiner in that no relay leads to, by the answer that it printed.
        """
        return Deferred.fromCoroutine(self._answers.follow(answer, timeout, emit))

    def _needs_mappings(self) -> bool:
        """
        Say whether somebody may come by a code of ours that names no relay.
        """
        try:
            return not self.relays.welcomed and self._invitations.has_open()
        except StateError:
            return False

    # Being let in.

    def join(
        self,
        code: str,
        *,
        capabilities: Sequence[str] = (),
        timeout: float | None = None,
        answers: bool = False,
        emit: Emit = lambda line: None,
    ) -> Deferred[JSON]:
        """
        Become a member by a join code.

        @param capabilities: words about this node, for the admin that is to approve.
        @param answers: make an answer to be carried when no relay leads to the issuer.
        """
        return Deferred.fromCoroutine(self._join(code, capabilities, timeout, answers, emit))

    async def _join(
        self,
        text: str,
        capabilities: Sequence[str],
        timeout: float | None,
        answers: bool,
        emit: Emit,
    ) -> JSON:
        """
        Do what L{join} says.
        """
        code = read_code(text, self._wall())
        if code.is_old:
            target = target_of(code, self._wall())
            return await self.request_to_join(
                target, capabilities=capabilities, timeout=timeout, emit=emit
            )
        with self._joining(code.mesh_id):
            admitted, way = await self._redeem(code, timeout, emit if answers else None)
        if isinstance(way, DirectWay):
            self._link_by(code.issuer, way)
        return await self._joined(admitted, code.issuer)

    def _link_by(self, issuer: NodeID, way: DirectWay) -> None:
        """
        Look for the issuer by the way that led there just now, which no record may name.
        """
        ways = dict.fromkeys([way, *self.links.ways_to(issuer)])
        self.links.connect(issuer, list(ways)).addErrback(lambda failure: failure.trap(LinkError))

    async def _redeem(
        self, code: JoinCode, timeout: float | None, emit: Emit | None
    ) -> tuple[Admitted, Way | None]:
        """
        Redeem a code that carries a secret.

        @param emit: is told of answers; C{None} makes none.
        @return: what we got, and by which way.
        """
        self._ticket = code
        urls = code.relay_urls or []
        self.surroundings.mesh_relays = tuple(urls)
        self.relays.reconnect()
        for url in urls:
            self.relays.use(url)
        redemption = Redemption(
            self._reactor,
            code,
            self._store.key,
            self._config.name,
            self.links,
            self.surroundings,
            now=self._clock.now,
            wall=self._wall,
            timeout=timeout,
            emit=emit,
        )
        try:
            admitted = await redemption.run()
            self._adopt(admitted, urls)
        finally:
            self._ticket = None
            self._note_mesh_relays()
            self.relays.use_only(self.surroundings.trusted_relays)
        return admitted, redemption.way

    def request_to_join(
        self,
        target: Target,
        *,
        capabilities: Sequence[str] = (),
        timeout: float | None = None,
        emit: Emit = lambda line: None,
    ) -> Deferred[JSON]:
        """
        Ask an admin of a mesh on the local network to be let in, and wait for that.

        @param timeout: seconds to wait; C{None} waits for ever.
        @param emit: called with C{waiting} (true), C{mesh_name}, C{asked} (the
            admin's node ID), C{node_id} and C{seconds} when the request is kept.
        @return: as L{join}. Cancelling it stops the waiting; the request is kept.
        """
        return Deferred.fromCoroutine(self._request(target, capabilities, timeout, emit))

    async def _request(
        self, target: Target, capabilities: Sequence[str], timeout: float | None, emit: Emit
    ) -> JSON:
        """
        Do what L{request_to_join} says.
        """
        own = str(self._store.key.node_id)

        def waits(issuer: NodeID, waiting: Waiting) -> None:
            """
            Say that an admin is to decide.
            """
            emit(
                {
                    "waiting": True,
                    "mesh_name": waiting.mesh_name,
                    "asked": str(issuer),
                    "node_id": own,
                    "seconds": waiting.seconds,
                }
            )

        with self._joining(target.mesh_id):
            request = JoinRequest(
                self._reactor,
                target,
                self._store.key,
                self._config.name,
                self.links,
                capabilities=capabilities,
                timeout=timeout,
                on_waiting=waits,
                now=self._clock.now,
                wall=self._wall,
            )
            admitted, issuer = await request.start()
            self._adopt(admitted, ())
        return await self._joined(admitted, issuer)

    @contextmanager
    def _joining(self, mesh_id: str | None) -> Iterator[None]:
        """
        Join once at a time, and only while in no mesh.

        @param mesh_id: the mesh that is to be joined, if it is known.
        @raise JoinError: the node is in a mesh, or about to be.
        """
        stored = self.mesh.stored
        if stored is not None:
            if stored.mesh_id == mesh_id:
                raise JoinError(f"this node is a member of the mesh {stored.name} already")
            raise JoinError(f"this node is in the mesh {stored.name}: run `atmosphere leave` first")
        if self._is_joining:
            raise JoinError("this node is joining already: end that first, with Ctrl-C")
        self._is_joining = True
        try:
            yield
        finally:
            self._is_joining = False

    def _adopt(self, admitted: Admitted, urls: Sequence[str]) -> None:
        """
        Become a member, unless we became one of another mesh meanwhile.
        """
        if self.mesh.stored is not None:
            raise JoinError(f"this node is in the mesh {self.mesh.stored.name} meanwhile")
        self.mesh.adopt(admitted, urls)

    async def _joined(self, admitted: Admitted, issuer: NodeID) -> JSON:
        """
        Begin as a member.
        """
        self._publish()
        self.relays.reconnect()
        await self._keeper.linked(issuer)
        return {
            "mesh_id": admitted.membership.mesh_id,
            "mesh_name": admitted.mesh_name,
            "node_id": str(self._store.key.node_id),
            "name": admitted.membership.name,
            "admitted_by": str(issuer),
        }
