# -*- test-case-name: tests.node.test_joining -*-
"""
Joining over a link: the two sides of the service C{atmosphere.join}.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.protocol import Protocol, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from typing_extensions import override

from atmosphere.errors import AtmosphereError, JoinError
from atmosphere.mesh.invitation import (
    Invitation,
    Reason,
    Redeemed,
    Refused,
    TryLimits,
    redeem_rule,
)
from atmosphere.mesh.join import (
    REFUSAL_DELAY,
    SERVICE,
    Admitted,
    Broken,
    Declined,
    Issuer,
    Joiner,
    RedeemAsked,
)
from atmosphere.network.path.ways import way_source
from atmosphere.network.quic.connection import Link

from .invitations import Invitations
from .mesh import NodeMesh

__all__ = ["SERVICE", "Admission", "IssuerProtocol", "JoinerProtocol", "serve_guest"]


class Admission:
    """
    What a node does about those that knock.
    """

    _log = Logger()

    def __init__(
        self,
        reactor: IReactorTime,
        mesh: NodeMesh,
        invitations: Invitations,
        *,
        now: Callable[[], float],
        wall: Callable[[], float],
    ) -> None:
        self.reactor = reactor
        self._mesh = mesh
        self._invitations = invitations
        self._limits = TryLimits()
        self._now = now
        self._wall = wall

    def redeem(self, asked: RedeemAsked, source: Hashable) -> Redeemed | Refused:
        """
        Redeem an invitation: the rule's verdict is on the disk when this returns.

        @param source: where the joiner comes from, to limit its tries.
        @raise StateError: the disk refused; nothing was redeemed.
        """
        if not self._limits.may_try(source, self._now()):
            return Refused(Reason.TOO_MANY_TRIES)
        roster = self._mesh.roster

        def check(held: Invitation | None) -> Redeemed | Refused:
            """
            Ask the rule.
            """
            return redeem_rule(
                held,
                asked.joiner,
                asked.proof,
                asked.binding,
                self._mesh.node_id,
                self._wall(),
                revocations=None if roster is None else roster.revocations,
            )

        outcome = self._invitations.redeem(asked.invite_id, asked.joiner, check)
        if isinstance(outcome, Refused):
            self._limits.failed(source, self._now())
        return outcome

    def answer(self, issuer: Issuer, asked: RedeemAsked, source: Hashable) -> bytes | None:
        """
        Decide about a joiner, and certify it.

        @return: the answer to be sent; C{None} for a refusal, which is to be
            sent a second later.
        """
        who = asked.joiner.short
        try:
            outcome = self.redeem(asked, source)
            if isinstance(outcome, Refused):
                self._log.warn(
                    "{who} was not admitted: {reason}", who=who, reason=outcome.reason.value
                )
                return None
            chain = self._mesh.issue(asked.joiner, asked.wanted_name)
        except AtmosphereError as error:
            self._log.error("{who} could not be admitted: {error}", who=who, error=error)
            return None
        stored = self._mesh.stored
        assert stored is not None
        name = self._mesh.roster.name_for(asked.joiner, "") if self._mesh.roster else ""
        self._log.info("{who} ({name}) was admitted", who=who, name=name)
        roster = self._mesh.roster
        revocations = None if roster is None else roster.revocations
        return issuer.admit(
            chain,
            stored.name,
            revocations=None if revocations is None else revocations.encoded,
            members=self._mesh.introductions(),
        )


class IssuerProtocol(Protocol):
    """
    The side that lets in.
    """

    def __init__(self, admission: Admission, issuer: Issuer, source: Hashable) -> None:
        self._admission = admission
        self._issuer = issuer
        self._source = source

    @override
    def dataReceived(self, data: bytes) -> None:
        """
        Take the request, and answer it.
        """
        assert self.transport is not None
        asked = self._issuer.receive(data)
        match asked:
            case None:
                return
            case Broken():
                self.transport.loseConnection()
            case RedeemAsked():
                answer = self._admission.answer(self._issuer, asked, self._source)
                if answer is None:
                    self._admission.reactor.callLater(
                        REFUSAL_DELAY, self._finish, self._issuer.refuse()
                    )
                else:
                    self._finish(answer)

    def _finish(self, answer: bytes) -> None:
        """
        Send the answer and end the stream.
        """
        if self.transport is not None:
            self.transport.write(answer)
            self.transport.loseConnection()


class JoinerProtocol(Protocol):
    """
    The side that holds a code.

    @ivar done: fires with L{Admitted}, or fails with L{JoinError}.
    """

    def __init__(self, joiner: Joiner, wall: Callable[[], float]) -> None:
        self.done: Deferred[Admitted] = Deferred(self._cancelled)
        self._joiner = joiner
        self._wall = wall
        self._is_over = False

    @override
    def connectionMade(self) -> None:
        """
        Ask.
        """
        assert self.transport is not None
        self.transport.write(self._joiner.start())

    @override
    def dataReceived(self, data: bytes) -> None:
        """
        Take the answer.
        """
        self._end(self._joiner.receive(data, self._wall()))

    @override
    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """
        See whether the answer was whole.
        """
        self._end(self._joiner.end() or Declined("the issuer has gone", is_final=False))

    def _end(self, ending: Admitted | Declined | None) -> None:
        """
        Say how it went, once.
        """
        if ending is None or self._is_over:
            return
        self._is_over = True
        if isinstance(ending, Admitted):
            self.done.callback(ending)
        else:
            error = JoinError(ending.reason)
            if not ending.is_final:
                error.exit_code = 3
            self.done.errback(error)
        if self.transport is not None:
            self.transport.loseConnection()

    def _cancelled(self, _: Deferred[Admitted]) -> None:
        """
        Give up.
        """
        self._is_over = True
        if self.transport is not None:
            self.transport.loseConnection()


def serve_guest(admission: Admission, link: Link) -> IssuerProtocol:
    """
    Serve one who wants to join.
    """
    path = link.path
    source = "" if path is None else way_source(path.way)
    issuer = Issuer(link.peer, binding=link.core.quic.channel_binding())
    return IssuerProtocol(admission, issuer, source)
