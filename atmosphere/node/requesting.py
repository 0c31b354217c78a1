# -*- test-case-name: tests.node.test_requesting -*-
"""
Asking to be let in, by a code that carries no secret or by an address alone:
what C{join} does on the local network.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NoReturn

from twisted.internet.defer import Deferred, TimeoutError
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.python.failure import Failure

from atmosphere.addresses import TransportAddress
from atmosphere.certificates import decode_chain, is_mesh_id
from atmosphere.errors import (
    DecodeError,
    IdentityError,
    JoinError,
    LinkError,
    MembershipError,
    NoPathError,
)
from atmosphere.identity import NodeID, NodeKey
from atmosphere.membership import TOLERANCE, verify_chain
from atmosphere.mesh.join_code import JoinCode
from atmosphere.mesh.joiner import SERVICE, Admitted, Requester, Waiting
from atmosphere.network.quic.connection import Link
from atmosphere.text import escape_peer_text

from .joining import JoinerProtocol, hang_up, impatience
from .links import NodeLinks

__all__ = ["JoinRequest", "Target", "address_of", "target_of"]

#: Seconds to reach the node that is asked.
REACH_TIMEOUT = 30.0
FIRST_PAUSE = 1.0
LONGEST_PAUSE = 15.0


@dataclass(frozen=True, slots=True)
class Target:
    """
    Whom to ask.

    @ivar address: where it listens.
    @ivar mesh_id: the mesh that it must be an admin of; C{None} takes any.
    @ivar root: the first root key of that mesh.
    """

    address: TransportAddress
    mesh_id: str | None = None
    root: NodeID | None = None


def target_of(code: JoinCode, wall: float) -> Target:
    """
    Say whom a code without a secret tells to ask.

    @raise JoinError: it has expired, or names no mesh that we can join.
    """
    if code.is_expired_at(wall):
        raise JoinError("the join code has expired; ask for a new one")
    if code.created_at > wall + TOLERANCE:
        raise JoinError("the join code is from the future; is this machine's clock right?")
    try:
        root = NodeID.from_text(code.mesh_public_key)
    except IdentityError:
        root = None
    if root is None or not is_mesh_id(code.mesh_id):
        raise JoinError(
            "this code names a mesh of the original program, which speaks another protocol:"
            " ask for a new one, made by `atmosphere invite`"
        )
    return Target(address_of(code.endpoint), code.mesh_id, root)


def address_of(endpoint: str) -> TransportAddress:
    """
    Read the endpoint of a node.

    @raise JoinError: it is none.
    """
    try:
        return TransportAddress.from_text(endpoint)
    except DecodeError as error:
        raise JoinError(f"the endpoint cannot be dialled: {error}") from None


class JoinRequest:
    """
    One node's way into a mesh by an admin's approval.
    """

    def __init__(
        self,
        reactor: IReactorTime,
        target: Target,
        key: NodeKey,
        wanted_name: str,
        links: NodeLinks,
        *,
        capabilities: Sequence[str] = (),
        timeout: float | None = None,
        on_waiting: Callable[[NodeID, Waiting], None] = lambda issuer, waiting: None,
        now: Callable[[], float],
        wall: Callable[[], float],
    ) -> None:
        """
        @param timeout: seconds to wait for a decision; C{None} waits for ever.
        @param on_waiting: called when the request is kept, once.
        """
        self._reactor = reactor
        self._target = target
        self._key = key
        self._wanted_name = wanted_name
        self._links = links
        self._capabilities = capabilities
        self._timeout = timeout
        self._on_waiting = on_waiting
        self._now = now
        self._wall = wall
        self._mesh_id = ""
        self._objection: MembershipError | None = None
        self._has_waited = False
        self._last_error = "nobody answers there"

    def _judge(self, node: NodeID, chain: bytes) -> None:
        """
        See whether a listener is an admin of the mesh that we want.

        @raise MembershipError: it is not.
        """
        target = self._target
        try:
            found = verify_chain(
                chain, node, mesh_id=target.mesh_id, wall=self._wall(), revocations=None
            )
            roots = decode_chain(chain).genesis.roots
            if target.root is not None and roots[0] != target.root:
                raise MembershipError("its mesh has another key than the code says")
            if not found.is_admin:
                raise MembershipError("it is no admin of the mesh and cannot admit")
        except MembershipError as error:
            self._objection = error
            raise
        self._mesh_id = found.mesh_id

    def start(self) -> Deferred[tuple[Admitted, NodeID]]:
        """
        Ask, and wait for the answer.

        @return: what we got, and from whom; fails with L{JoinError} if the
            request was denied or was not decided in time, and with
            L{NoPathError} if nobody was reached. Cancelling it stops the
            waiting; the request is kept where it is.
        """
        running = Deferred.fromCoroutine(self._run())
        if self._timeout is not None:
            running.addTimeout(self._timeout, self._reactor)
            running.addErrback(self._out_of_time)
        return running

    def _out_of_time(self, failure: Failure) -> NoReturn:
        """
        Say that it took too long.
        """
        failure.trap(TimeoutError)
        if self._has_waited:
            raise undecided("no admin has decided yet")
        raise NoPathError(self._unreached())

    def _unreached(self) -> str:
        """
        Say why we have no answer.
        """
        return f"the node at {self._target.address} was not reached: {self._last_error}"

    async def _run(self) -> tuple[Admitted, NodeID]:
        """
        Ask until there is an answer.
        """
        heard = self._now()
        pause = FIRST_PAUSE
        while True:
            try:
                link = await self._links.dial_unnamed(self._target.address, self._judge)
            except NoPathError:
                raise
            except LinkError as error:
                self._reject(error)
                self._last_error = escape_peer_text(str(error), 160)
            else:
                found = await self._ask(link)
                if isinstance(found, Admitted):
                    return found, link.peer
                if found:
                    heard, pause = self._now(), FIRST_PAUSE
            if not self._has_waited and self._now() - heard >= REACH_TIMEOUT:
                raise NoPathError(self._unreached())
            await deferLater(self._reactor, pause)
            pause = min(LONGEST_PAUSE, 2 * pause)

    def _reject(self, error: LinkError) -> None:
        """
        Give up if trying again is of no use.

        @raise JoinError: it is not.
        """
        if self._objection is not None:
            raise JoinError(
                f"the node at {self._target.address} cannot let this one in: {self._objection}"
            )
        if error.refusal is not None:
            raise JoinError(f"the node at {self._target.address} refused: {error.refusal}")

    async def _ask(self, link: Link) -> Admitted | bool:
        """
        Hold one conversation.

        @return: whether our request is kept, if nothing else came of it.
        @raise JoinError: it was denied.
        """
        requester = Requester(
            self._key,
            mesh_id=self._mesh_id,
            issuer=link.peer,
            binding=link.core.quic.channel_binding(),
            wanted_name=self._wanted_name,
            capabilities=self._capabilities,
        )
        protocol = JoinerProtocol(
            requester, self._wall, lambda waiting: self._kept(link.peer, waiting)
        )
        try:
            return await Deferred.fromCoroutine(self._converse(link, protocol)).addBoth(
                hang_up, link
            )
        except JoinError as error:
            if error.exit_code == JoinError.exit_code:
                raise
            self._last_error = str(error)
        except LinkError as error:
            self._last_error = escape_peer_text(str(error), 160)
        return protocol.waiting is not None

    async def _converse(self, link: Link, protocol: JoinerProtocol) -> Admitted:
        """
        Ask, and wait for the answer while the other side is there.
        """
        with impatience(self._reactor, self._links, link, protocol):
            link.open_stream(SERVICE, protocol)
            return await protocol.done

    def _kept(self, issuer: NodeID, waiting: Waiting) -> None:
        """
        Our request is kept.
        """
        if not self._has_waited:
            self._has_waited = True
            self._on_waiting(issuer, waiting)


def undecided(reason: str) -> JoinError:
    """
    Make the error of one who may come back later.
    """
    error = JoinError(f"{reason}; the request is kept: run the same command again later")
    error.exit_code = 3
    return error
