# -*- test-case-name: tests.node.test_requesting -*-
"""
Requests to join: taken from the local network, kept, and decided by an admin.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol as Seam

from twisted.logger import Logger

from atmosphere.errors import AtmosphereError, StateError
from atmosphere.identity import NodeID
from atmosphere.mesh.invitation import TryLimits
from atmosphere.mesh.issuer import Issuer, RequestAsked
from atmosphere.network.path.ways import DirectWay, Way, way_source
from atmosphere.text import escape_peer_text

from .api import JSON
from .mesh import NodeMesh
from .requests import Requests, RequestState, StoredRequest
from .surroundings import Surroundings

__all__ = ["Approvals", "Conversation"]

ASKS_PER_MINUTE = 30

DENIED = "an admin of the mesh denied the request"
NOT_LOCAL = (
    "requests to join are taken from the local network only: ask for a code made by"
    " `atmosphere invite`"
)


class Conversation(Seam):
    """
    The stream of one who asks.
    """

    issuer: Issuer
    way: Way | None

    def say(self, data: bytes) -> None:
        """
        Send something; more may follow.
        """

    def finish(self, answer: bytes = b"") -> None:
        """
        Send the answer and end the stream.
        """


class Approvals:
    """
    What a node does about those that ask to be let in.
    """

    _log = Logger()

    def __init__(
        self,
        mesh: NodeMesh,
        requests: Requests,
        surroundings: Surroundings,
        admit: Callable[[Issuer, NodeID, str], bytes],
        *,
        now: Callable[[], float],
        wall: Callable[[], float],
    ) -> None:
        """
        @param admit: certifies a joiner under a name like the one that it wants,
            and writes the answer to it.
        """
        self._mesh = mesh
        self._requests = requests
        self._surroundings = surroundings
        self._admit = admit
        self._now = now
        self._wall = wall
        self._limits = TryLimits(ASKS_PER_MINUTE)
        self._waiting: dict[NodeID, Conversation] = {}
        self._expected = {
            each.node for each in requests.list() if each.state is RequestState.ADMITTED
        }

    # For those who ask.

    def consider(self, asked: RequestAsked, conversation: Conversation) -> None:
        """
        Answer one who asks: at once, or when an admin has decided.
        """
        issuer, way = conversation.issuer, conversation.way
        source = "" if way is None else way_source(way)
        if not self._limits.may_try(source, self._now()):
            conversation.finish(issuer.postpone("too many requests came from there"))
            return
        self._limits.failed(source, self._now())
        refusal = self._refusal(asked, way)
        if refusal is not None or not isinstance(way, DirectWay):
            refusal = refusal or NOT_LOCAL
            self._log.info(
                "{who} asks to join and was refused: {reason}",
                who=asked.joiner.short,
                reason=refusal,
            )
            conversation.finish(issuer.refuse(refusal))
            return
        try:
            held = self._requests.take(asked, source, str(way.address))
            if held is None:
                self._log.warn("no room for a request to join from {way}", way=str(way.address))
                conversation.finish(issuer.postpone("too many requests wait there already"))
                return
            self._answer(held, conversation)
        except AtmosphereError as error:
            self._log.error(
                "the request of {who} failed: {error}", who=asked.joiner.short, error=error
            )
            conversation.finish(issuer.postpone("the node could not do it now"))

    def _refusal(self, asked: RequestAsked, way: Way | None) -> str | None:
        """
        Say why a request is not even kept.
        """
        roster = self._mesh.roster
        if roster is None or not self._mesh.is_admin:
            return "the node that was asked cannot admit others"
        if asked.mesh_id != roster.mesh_id:
            return "the node that was asked is in another mesh"
        if not asked.is_signed_for(self._mesh.node_id):
            return "the request is not signed by who sent it"
        if roster.revocations is not None and asked.joiner in roster.revocations.keys:
            return "the node was revoked"
        if not isinstance(way, DirectWay) or not self._surroundings.is_local(way.address):
            return NOT_LOCAL
        return None

    def _answer(self, held: StoredRequest, conversation: Conversation) -> None:
        """
        Say how a request stands.

        @raise MembershipError: the joiner cannot be certified.
        @raise StateError: the disk refused.
        """
        match held.state:
            case RequestState.APPROVED | RequestState.ADMITTED:
                self._let_in(held, conversation)
            case RequestState.DENIED:
                conversation.finish(conversation.issuer.refuse(DENIED))
            case RequestState.WAITING:
                self._keep_waiting(held, conversation)

    def _keep_waiting(self, held: StoredRequest, conversation: Conversation) -> None:
        """
        Tell a joiner that an admin will decide, and keep its stream for the answer.
        """
        older = self._waiting.get(held.node)
        if older is None:
            self._log.info(
                "{who} ({name}) at {address} asks to join: see `atmosphere requests`",
                who=held.node.short,
                name=escape_peer_text(held.name),
                address=held.address,
            )
        self._waiting[held.node] = conversation
        if older is not None:
            older.finish()
        stored = self._mesh.stored
        name = stored.name if stored is not None else ""
        seconds = max(0.0, held.expires_at - self._wall())
        conversation.say(conversation.issuer.wait(name, seconds))

    def _let_in(self, held: StoredRequest, conversation: Conversation) -> None:
        """
        Certify a joiner, and tell it.
        """
        answer = self._admit(conversation.issuer, held.node, held.name)
        self._requests.note_admitted(held)
        self._expected.add(held.node)
        conversation.finish(answer)

    def ended(self, node: NodeID, conversation: Conversation) -> None:
        """
        One who asked has gone; its request is kept.
        """
        if self._waiting.get(node) is conversation:
            del self._waiting[node]

    def arrived(self, node: NodeID) -> None:
        """
        A member shows its certificate: if it got that by a request, this has had its
        use. Until then the answer may have been lost, and the node may ask again.
        """
        if node not in self._expected:
            return
        try:
            self._requests.forget_admitted(node)
        except StateError as error:
            self._log.error("{who} may join again: {error}", who=node.short, error=error)
            return
        self._expected.discard(node)

    # For the admin.

    def approve(self, text: str) -> JSON:
        """
        Let one in: now, if it waits, else when it asks again.

        @raise ConfigurationError: the text means no request, or more than one.
        @raise MembershipError: this node may not admit.
        """
        held = self._decide(text, RequestState.APPROVED)
        conversation = self._waiting.pop(held.node, None)
        if conversation is not None:
            try:
                self._let_in(held, conversation)
            except AtmosphereError:
                conversation.finish()
                raise
        roster = self._mesh.roster
        member = None if roster is None else roster.get(held.node)
        is_in = conversation is not None and member is not None
        name = member.name if is_in and member is not None else held.name
        return {"node_id": str(held.node), "name": name, "admitted": is_in}

    def _decide(self, text: str, state: RequestState) -> StoredRequest:
        """
        Find the request that is meant, and keep what becomes of it.
        """
        roster = self._mesh.roster
        members = () if roster is None else [each.node for each in roster]
        return self._requests.decide(text, state, members=members)

    def deny(self, text: str) -> JSON:
        """
        Let one not in, and tell it; it cannot ask again for a day.

        @raise ConfigurationError: the text means no request, or more than one.
        """
        held = self._decide(text, RequestState.DENIED)
        conversation = self._waiting.pop(held.node, None)
        if conversation is not None:
            conversation.finish(conversation.issuer.refuse(DENIED))
        return {"node_id": str(held.node), "name": held.name}

    def list(self) -> list[JSON]:
        """
        List the requests, those that came first first.
        """
        return [
            {
                "node_id": str(each.node),
                "name": each.name,
                "capabilities": list(each.capabilities),
                "address": each.address,
                "came": int(each.came),
                "expires_at": int(each.expires_at),
                "state": each.state.value,
                "is_waiting": each.node in self._waiting,
            }
            for each in self._requests.list()
        ]
