# -*- test-case-name: tests.node.test_knocking -*-
"""
Following answers: the issuer's side of joining without a relay.

What C{join --answer} does: an answer is checked against the code that it names, and
its addresses are knocked at until the joiner comes in by the hole.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import CancelledError, Deferred, TimeoutError
from twisted.logger import Logger
from twisted.python.failure import Failure

from atmosphere.addresses import TransportAddress
from atmosphere.engine_driver import EngineClock, EngineDriver
from atmosphere.errors import DecodeError, JoinError, NoPathError
from atmosphere.identity import NodeID
from atmosphere.mesh.answer import Answer, check_answer, read_answer
from atmosphere.mesh.knock import KnockCredentials, Knocking
from atmosphere.network.nat.candidates import CandidateType, share_public_address
from atmosphere.network.path.ways import DirectWay
from atmosphere.network.quic.connection import Link

from .api import JSON, Emit
from .invitations import Invitations
from .links import NodeLinks
from .mesh import NodeMesh
from .pinging import path_of
from .surroundings import Surroundings

__all__ = ["PATIENCE", "Answers"]

#: Answers that are followed at once.
MAX_FOLLOWED = 8

#: Seconds for which an answer is followed.
PATIENCE = 60.0


_SEEN_OUTSIDE = (CandidateType.SERVER_REFLEXIVE, CandidateType.ADVERTISED)


def _about_nats(here: bool | None, there: bool | None, has_failed: bool) -> str | None:
    """
    Say what two NATs make of each other.

    @param here: whether ours has a stable port.
    @param there: whether the joiner's has.
    """
    if here is False and there is False:
        return (
            "both NATs take another port for each peer (address-dependent mapping), so that"
            " neither side can tell the other its port"
        )
    if not has_failed or (here is not False and there is not False):
        return None
    one, other = (
        ("this side's", "the joiner's") if here is False else ("the joiner's", "this side's")
    )
    return (
        f"{one} NAT takes another port for each peer (address-dependent mapping), and {other} lets"
        " in only the ports that it knows"
    )


class _Following:
    """
    One answer that is followed.

    @ivar answer: the answer.
    @ivar arrived: fires with the link on which the joiner is a member.
    @ivar was_reached: whether the joiner came as a guest.
    """

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        self.arrived: Deferred[Link] = Deferred()
        self.was_reached = False


class Answers:
    """
    The answers that were handed in at this node.
    """

    _log = Logger()

    def __init__(
        self,
        reactor: Any,
        mesh: NodeMesh,
        invitations: Invitations,
        links: NodeLinks,
        surroundings: Surroundings,
        *,
        clock: EngineClock,
        wall: Callable[[], float],
        entropy: Callable[[int], bytes],
    ) -> None:
        self._reactor = reactor
        self._mesh = mesh
        self._invitations = invitations
        self._links = links
        self._surroundings = surroundings
        self._clock = clock
        self._wall = wall
        self._entropy = entropy
        self._followed: dict[NodeID, _Following] = {}
        links.on_connected.append(self._connected)

    async def follow(self, text: str, timeout: float, emit: Emit) -> JSON:
        """
        Knock at the addresses of an answer until its joiner is a member.

        @param timeout: seconds.
        @param emit: told whom it is for and where it is sought, what may be in the way,
            and when it was reached.
        @return: who joined, and by which path it is linked.
        @raise JoinError: the answer is not good.
        @raise NoPathError: the joiner did not come.
        """
        try:
            answer = read_answer(text)
        except DecodeError as error:
            raise JoinError(f"the answer cannot be read: {error}") from None
        own = self._mesh.node_id
        held = check_answer(answer, self._invitations.get(answer.invite_id), own, self._wall())
        credentials = KnockCredentials.of(held.key, own, answer.joiner)
        following = self._begin(answer)
        knocking = Knocking(
            credentials,
            [each.address for each in answer.candidates],
            may_send=lambda address: self._refusal(answer, address) is None,
            budget=self._links.budget,
            entropy=self._entropy,
            now=self._clock.now(),
        )
        driver: EngineDriver[TransportAddress, object] = EngineDriver(
            self._reactor, knocking, self._send, lambda event: None, self._clock
        )
        learning: Deferred[None] | None = None
        try:
            emit(self._describe(answer, timeout))
            driver.pump()
            learning = Deferred.fromCoroutine(self._look_here(answer, emit))
            learning.addErrback(self._not_learnt)
            link = await self._wait(following, driver, timeout, emit)
        finally:
            driver.stop()
            if learning is not None:
                learning.cancel()
            if self._followed.get(answer.joiner) is following:
                del self._followed[answer.joiner]
        stored, roster = self._mesh.stored, self._mesh.roster
        return {
            "node_id": str(answer.joiner),
            "name": "" if roster is None else roster.name_for(answer.joiner, ""),
            "mesh_name": "" if stored is None else stored.name,
            "path": path_of(link),
        }

    def _begin(self, answer: Answer) -> _Following:
        """
        Note that an answer is followed.

        @raise JoinError: too many are.
        @raise NoPathError: it names no address that may be tried.
        """
        judged = [self._refusal(answer, each.address) for each in answer.candidates]
        refusals = [reason for reason in judged if reason is not None]
        if len(refusals) == len(judged):
            raise NoPathError(
                f"the answer names no address that may be tried: {'; '.join(sorted({*refusals}))}."
                " A relay that both sides reach helps: `--relay URL`"
            )
        older = self._followed.pop(answer.joiner, None)
        if older is not None and not older.arrived.called:
            older.arrived.errback(JoinError("this answer, or a newer one, was handed in again"))
        if len(self._followed) >= MAX_FOLLOWED:
            raise JoinError(
                f"{MAX_FOLLOWED} answers are followed already: wait a minute for one to end"
            )
        following = self._followed[answer.joiner] = _Following(answer)
        return following

    async def _wait(
        self,
        following: _Following,
        driver: EngineDriver[TransportAddress, object],
        timeout: float,
        emit: Emit,
    ) -> Link:
        """
        Wait for the joiner.
        """

        def reached(link: Link) -> None:
            if link.peer == following.answer.joiner and not following.was_reached:
                following.was_reached = True
                driver.stop()
                emit({"reached": True, "path": path_of(link)})

        present = self._links.link_to(following.answer.joiner)
        if present is not None:
            return present
        self._links.on_connected.append(reached)
        try:
            return await following.arrived.addTimeout(timeout, self._reactor)
        except TimeoutError:
            raise NoPathError(self._why_not(following, timeout)) from None
        finally:
            self._links.on_connected.remove(reached)

    def _connected(self, link: Link) -> None:
        """
        A link is there: maybe one that is waited for.
        """
        following = self._followed.get(link.peer)
        if following is not None and link.membership is not None and not following.arrived.called:
            following.arrived.callback(link)

    def _refusal(self, answer: Answer, address: TransportAddress) -> str | None:
        """
        Say why an address of an answer must not be knocked at.
        """
        where = self._surroundings
        is_near = where.is_near(address) or share_public_address(
            where.candidates(), answer.candidates
        )
        return where.rules().refusal(address, is_near=is_near)

    def _send(self, datagrams: list[tuple[bytes, TransportAddress]]) -> None:
        """
        Send knocks.
        """
        for data, address in datagrams:
            self._links.send(DirectWay(address), [data])

    def _describe(self, answer: Answer, timeout: float) -> JSON:
        """
        Say what is going to be done.
        """
        judged = [(each.address, self._refusal(answer, each.address)) for each in answer.candidates]
        return {
            "knocking": True,
            "joiner": str(answer.joiner),
            "addresses": [str(address) for address, reason in judged if reason is None],
            "refused": [
                {"address": str(address), "reason": reason}
                for address, reason in judged
                if reason is not None
            ],
            "seconds": int(timeout),
        }

    async def _look_here(self, answer: Answer, emit: Emit) -> None:
        """
        See how others see this node now, and say what is in the way of the joiner.
        """
        await self._surroundings.learn_public_address(is_anew=True)
        text = self._obstacle(answer)
        if text is not None:
            emit({"warning": text})

    def _not_learnt(self, failure: Failure) -> None:
        """
        Go on without knowing how others see us.
        """
        if failure.check(CancelledError) is None:
            self._log.failure("the public address was not learnt", failure)

    def _obstacle(self, answer: Answer, *, has_failed: bool = False) -> str | None:
        """
        Say what is likely to keep the joiner away, and what helps.

        @param has_failed: it did not come; else what may yet turn out well is not named.
        """
        where = self._surroundings
        text = _about_nats(where.has_stable_port, answer.has_stable_port, has_failed)
        if text is not None:
            return (
                f"{text}. Forward UDP port {where.ports.port_of(is_ipv6=False)} on this side's"
                " router, start this node with --advertise PUBLIC-ADDRESS and run `atmosphere"
                " invite` again, or give both sides a relay"
            )
        if answer.dialled is None:
            return (
                "the code of this answer names no public address of this node: it works only if"
                " the other side lets this one's datagrams in. Name a STUN server here, with"
                " --stun HOST:PORT, and run `atmosphere invite` again"
            )
        ours = {each.address: each.type for each in where.candidates()}
        outside = [str(each) for each, kind in ours.items() if kind in _SEEN_OUTSIDE]
        if outside and answer.dialled not in ours and where.has_stable_port is not False:
            return (
                f"the code of this answer says {answer.dialled}, but others see this node at"
                f" {', '.join(sorted(outside))} now: run `atmosphere invite` for a new code"
            )
        return None

    def _why_not(self, following: _Following, timeout: float) -> str:
        """
        Say why the joiner did not come.
        """
        answer = following.answer
        who = answer.joiner.short
        if following.was_reached:
            return (
                f"{who} was reached and has not joined within {timeout:g} s: what `atmosphere"
                " join` says there, and the log here, tell more"
            )
        obstacle = self._obstacle(answer, has_failed=True)
        if obstacle is not None:
            return f"{who} did not come within {timeout:g} s: {obstacle}"
        return (
            f"{who} did not come within {timeout:g} s: does `atmosphere join` still wait there, and"
            " is this the last answer that it printed? Else a NAT or firewall between lets"
            " nothing in: `atmosphere network` on both machines tells more"
        )
