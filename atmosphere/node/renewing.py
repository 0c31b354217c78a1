# -*- test-case-name: tests.node.test_renewing -*-
"""
Keeps the node's certificate from ending: renewal, asked for and given.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.interfaces import IReactorTime
from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.failure import Failure
from typing_extensions import override

from atmosphere.errors import AtmosphereError, LinkError, MembershipError, StreamRefusedError
from atmosphere.mesh.joiner import Declined
from atmosphere.mesh.renewal import (
    SERVICE,
    RenewalAsked,
    RenewalIssuer,
    Renewed,
    Renewing,
    renewal_rule,
)
from atmosphere.network.quic.connection import Link

from .links import NodeLinks
from .mesh import NodeMesh
from .store import NodeStore

__all__ = ["Renewals"]

LOOK_EVERY = 600.0


class _Asking(Protocol):
    """
    The side whose certificate is to be renewed.
    """

    def __init__(self, renewals: Renewals, renewing: Renewing) -> None:
        self._renewals = renewals
        self._renewing = renewing

    @override
    def connectionMade(self) -> None:
        """
        Ask.
        """
        assert self.transport is not None
        self.transport.write(self._renewing.start())

    @override
    def dataReceived(self, data: bytes) -> None:
        """
        Take the answer.
        """
        ending = self._renewing.receive(data, self._renewals.wall())
        if ending is not None:
            self._renewals.answered(ending)
            assert self.transport is not None
            self.transport.loseConnection()

    @override
    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """
        Whatever became of it, the next one may ask.
        """
        self._renewals.is_asking = False


class _Giving(Protocol):
    """
    The side that renews.
    """

    def __init__(self, renewals: Renewals, issuer: RenewalIssuer) -> None:
        self._renewals = renewals
        self._issuer = issuer

    @override
    def dataReceived(self, data: bytes) -> None:
        """
        Take the request, and answer it.
        """
        assert self.transport is not None
        asked = self._issuer.receive(data)
        if asked is None:
            return
        if isinstance(asked, RenewalAsked):
            self.transport.write(self._renewals.answer(self._issuer, asked))
        self.transport.loseConnection()


class Renewals:
    """
    Asks for our certificate's renewal when it is due, and renews those of members.

    @ivar is_asking: a request is under way.
    """

    _log = Logger()

    def __init__(
        self,
        reactor: IReactorTime,
        store: NodeStore,
        mesh: NodeMesh,
        links: NodeLinks,
        *,
        wall: Callable[[], float],
        entropy: Callable[[int], bytes],
    ) -> None:
        self.wall = wall
        self.is_asking = False
        self._store = store
        self._mesh = mesh
        self._links = links
        self._entropy = entropy
        self._loop = LoopingCall(self.look)
        self._loop.clock = reactor
        links.services[SERVICE] = self._serve
        links.on_connected.append(self._connected)

    def start(self) -> None:
        """
        Begin to watch our certificate.
        """
        self._loop.start(LOOK_EVERY, now=True)

    def stop(self) -> None:
        """
        End.
        """
        if self._loop.running:
            self._loop.stop()

    def look(self) -> None:
        """
        Let go of members whose time is long over, and see to our own.
        """
        self._mesh.expire()
        self._links.recheck()
        if not self._is_due() or self._renew_ourselves():
            return
        for link in self._links.endpoint.links:
            self._ask(link)

    def _is_due(self) -> bool:
        """
        Say whether half of our certificate's lifetime is over.
        """
        own = self._mesh.own
        return own is not None and own.is_renewal_due(self.wall())

    def _renew_ourselves(self) -> bool:
        """
        Renew our own certificate with the mesh's root key, if this machine holds it.

        @return: whether that was done.
        """
        try:
            root = self._store.root_key()
            if root is None:
                return False
            asked = RenewalAsked(self._mesh.node_id, self._mesh.chain)
            self._keep(self._rule(asked, root))
        except AtmosphereError as error:
            self._log.warn("our certificate could not be renewed: {error}", error=error)
            return False
        return True

    def _rule(self, asked: RenewalAsked, issuer: Any) -> bytes:
        """
        Renew a certificate if it is due.

        @raise MembershipError: it is not, or we may not.
        """
        roster = self._mesh.roster
        return renewal_rule(
            asked,
            issuer,
            self._mesh.chain,
            wall=self.wall(),
            entropy=self._entropy,
            revocations=None if roster is None else roster.revocations,
        )

    def _keep(self, chain: bytes) -> None:
        """
        Keep a new chain, and tell the mesh.
        """
        self._mesh.merge(lambda roster: roster.merge_chain(chain, self.wall()))

    def _connected(self, link: Link) -> None:
        """
        Ask an admin that has just come.
        """
        if self._is_due():
            self._ask(link)

    def _ask(self, link: Link) -> None:
        """
        Ask a peer, if it is an admin and nobody is asked yet.
        """
        own = self._mesh.own
        is_admin = link.membership is not None and link.membership.is_admin
        if self.is_asking or own is None or not is_admin or not link.is_open:
            return
        asking = _Asking(self, Renewing(own, self._mesh.chain))
        try:
            link.open_stream(SERVICE, asking)
        except LinkError as error:
            self._log.info("no renewal for now: {error}", error=error)
        else:
            self.is_asking = True

    def answered(self, ending: Renewed | Declined) -> None:
        """
        Keep what an admin gave us.
        """
        if isinstance(ending, Declined):
            self._log.warn("no renewal: {reason}", reason=ending.reason)
            return
        try:
            self._keep(ending.chain)
        except AtmosphereError as error:
            self._log.warn("the renewed certificate does not hold: {error}", error=error)
        else:
            self._log.info("our certificate was renewed")

    def _serve(self, link: Link) -> _Giving:
        """
        Serve a member.

        @raise StreamRefusedError: we are no admin.
        """
        if not self._mesh.is_admin:
            raise StreamRefusedError("this node is no admin")
        return _Giving(self, RenewalIssuer(link.peer))

    def answer(self, issuer: RenewalIssuer, asked: RenewalAsked) -> bytes:
        """
        Renew a member, or say why not. One that shows an old chain again gets
        what it was given already.
        """
        roster = self._mesh.roster
        held = None if roster is None else roster.get(asked.node)
        if held is not None and held.chain != asked.chain:
            known = held.membership
            if known.issuer == self._mesh.node_id and not known.is_renewal_due(self.wall()):
                return issuer.renew(held.chain)
        try:
            chain = self._rule(asked, self._store.key)
            self._keep(chain)
        except MembershipError as error:
            return issuer.refuse(str(error))
        return issuer.renew(chain)
