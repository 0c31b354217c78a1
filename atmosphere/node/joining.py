# -*- test-case-name: tests.node.test_joining -*-
"""
Joining over a link: the two sides of the service C{atmosphere.join}.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.protocol import Protocol, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from typing_extensions import override

from atmosphere.errors import AtmosphereError, JoinError, StateError
from atmosphere.identity import NodeID
from atmosphere.mesh.invitation import (
    Invitation,
    Reason,
    Redeemed,
    Refused,
    TryLimits,
    redeem_rule,
)
from atmosphere.mesh.issuer import REFUSAL_DELAY, Broken, Issuer, RedeemAsked, RequestAsked
from atmosphere.mesh.joiner import SERVICE, Admitted, Asker, Declined, Waiting
from atmosphere.network.path.reports import PathEvent, PathSilent
from atmosphere.network.path.ways import RelayedWay, Way, way_source
from atmosphere.network.quic.connection import Link

from .approving import Approvals
from .invitations import Invitations
from .links import NodeLinks
from .mesh import NodeMesh

__all__ = ["SERVICE", "Admission", "IssuerProtocol", "JoinerProtocol", "serve_guest"]

Result = TypeVar("Result")

#: Seconds for an issuer to say anything.
ANSWER_TIMEOUT = 15.0


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
        self._expected = invitations.expected()

    def arrived(self, node: NodeID) -> None:
        """
        A member shows its certificate: if it got that by a code, the code is spent for
        good. Until then its answer may have been lost, and it may ask again.
        """
        if node not in self._expected:
            return
        try:
            self._invitations.arrived(node)
        except StateError as error:
            self._log.error("{who} may join again: {error}", who=node.short, error=error)
            return
        self._expected.discard(node)

    def redeem(
        self, asked: RedeemAsked, source: Hashable, *, is_shared: bool = False
    ) -> Redeemed | Refused:
        """
        Redeem an invitation: the rule's verdict is on the disk when this returns.

        @param source: where the joiner comes from, to limit its tries.
        @param is_shared: others come from there too, with good codes perhaps: the
            tries that failed there are nobody's reason not to look.
        @raise StateError: the disk refused; nothing was redeemed.
        """
        if not is_shared and not self._limits.may_try(source, self._now()):
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
        else:
            self._expected.add(asked.joiner)
        return outcome

    def answer(self, issuer: Issuer, asked: RedeemAsked, way: Way | None) -> bytes | None:
        """
        Decide about a joiner, and certify it.

        @param way: by which it comes.

        @return: the answer to be sent; C{None} for a refusal, which is to be
            sent a second later.
        """
        who = asked.joiner.short
        source = "" if way is None else way_source(way)
        may_log = self._limits.may_try(source, self._now())
        try:
            outcome = self.redeem(asked, source, is_shared=isinstance(way, RelayedWay))
            if isinstance(outcome, Refused):
                if may_log:  # else whoever knocks could fill the log
                    self._log.warn(
                        "{who} was not admitted: {reason}", who=who, reason=outcome.reason.value
                    )
                return None
            return self.admit(issuer, asked.joiner, asked.wanted_name)
        except AtmosphereError as error:
            self._log.error("{who} could not be admitted: {error}", who=who, error=error)
            return None

    def admit(self, issuer: Issuer, joiner: NodeID, wanted_name: str) -> bytes:
        """
        Certify a joiner. What entitles it to that is on the disk already.

        @return: the answer to it.
        @raise MembershipError: we may not, or the node was revoked.
        """
        chain = self._mesh.issue(joiner, wanted_name)
        stored, roster = self._mesh.stored, self._mesh.roster
        assert stored is not None and roster is not None
        name = roster.name_for(joiner, "")
        self._log.info("{who} ({name}) was admitted", who=joiner.short, name=name)
        revocations = roster.revocations
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

    def __init__(
        self, admission: Admission, approvals: Approvals, issuer: Issuer, way: Way | None
    ) -> None:
        """
        @param way: by which the joiner comes.
        """
        self.issuer = issuer
        self.way = way
        self._admission = admission
        self._approvals = approvals
        self._asked: RequestAsked | None = None

    @override
    def dataReceived(self, data: bytes) -> None:
        """
        Take the request, and answer it.
        """
        assert self.transport is not None
        asked = self.issuer.receive(data)
        match asked:
            case None:
                return
            case Broken():
                self.transport.loseConnection()
            case RedeemAsked():
                answer = self._admission.answer(self.issuer, asked, self.way)
                if answer is None:
                    self._admission.reactor.callLater(
                        REFUSAL_DELAY, self.finish, self.issuer.refuse()
                    )
                else:
                    self.finish(answer)
            case RequestAsked():
                self._asked = asked
                self._approvals.consider(asked, self)

    @override
    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """
        Wait for no decision any more.
        """
        if self._asked is not None:
            self._approvals.ended(self._asked.joiner, self)

    def say(self, data: bytes) -> None:
        """
        Send something; more may follow.
        """
        if self.transport is not None:
            self.transport.write(data)

    def finish(self, answer: bytes = b"") -> None:
        """
        Send the answer and end the stream.
        """
        self.say(answer)
        if self.transport is not None:
            self.transport.loseConnection()


class JoinerProtocol(Protocol):
    """
    The side that asks.

    @ivar done: fires with L{Admitted}, or fails with L{JoinError}.
    @ivar waiting: what we were told if an admin is to decide.
    """

    def __init__(
        self,
        joiner: Asker,
        wall: Callable[[], float],
        on_waiting: Callable[[Waiting], None] = lambda waiting: None,
    ) -> None:
        """
        @param on_waiting: called when an admin is to decide.
        """
        self.done: Deferred[Admitted] = Deferred(self._cancelled)
        self.waiting: Waiting | None = None
        self._joiner = joiner
        self._wall = wall
        self._on_waiting = on_waiting
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
        found = self._joiner.receive(data, self._wall())
        if isinstance(found, Waiting):
            self.waiting = found
            self._on_waiting(found)
        else:
            self._end(found)

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


@contextmanager
def impatience(
    reactor: IReactorTime, links: NodeLinks, link: Link, protocol: JoinerProtocol
) -> Iterator[None]:
    """
    Close a link while its issuer is silent, or has said nothing for too long.
    """
    reason = "the issuer does not answer"

    def path_changed(changed: Link, event: PathEvent) -> None:
        if changed is link and isinstance(event, PathSilent):
            link.close(reason)

    def time_is_up() -> None:
        if protocol.waiting is None:
            link.close(reason)

    call = reactor.callLater(ANSWER_TIMEOUT, time_is_up)
    links.on_path.append(path_changed)
    try:
        yield
    finally:
        links.on_path.remove(path_changed)
        if call.active():
            call.cancel()


def hang_up(result: Result, link: Link) -> Result:
    """
    Close a link whose conversation has ended, and tell the other side at once.

    It is a callback, and no C{finally} of the conversation: a coroutine that is
    collected together with its node must not send anything any more.
    """
    link.close("the joining is over")
    link.pump()
    return result


def serve_guest(admission: Admission, approvals: Approvals, link: Link) -> IssuerProtocol:
    """
    Serve one who wants to join.
    """
    path = link.path
    issuer = Issuer(link.peer, binding=link.core.quic.channel_binding())
    return IssuerProtocol(admission, approvals, issuer, None if path is None else path.way)
