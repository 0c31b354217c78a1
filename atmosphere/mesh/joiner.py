# -*- test-case-name: tests.mesh.test_join -*-
"""
The conversation by which a machine joins: the joiner's side.

It is a machine that takes the bytes of one stream and hands out bytes and
events, and knows no clocks, disks or links; so is the other side, in
L{atmosphere.mesh.issuer}. The format stands in C{docs/protocols/join.md}.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import TypeAlias

from typing_extensions import override

from atmosphere.errors import DecodeError, JoinError, MembershipError
from atmosphere.identity import NodeID, NodeKey
from atmosphere.membership import (
    Membership,
    RevocationList,
    verify_chain,
    verify_revocations,
)
from atmosphere.statements import Fields
from atmosphere.text import escape_peer_text

from .framing import MessageReader, encode_message
from .invitation import invitation_key, redeem_proof
from .join_code import MAXIMUM_MESH_NAME, JoinCode
from .request import make_request

__all__ = [
    "Admitted",
    "Asker",
    "Declined",
    "Joiner",
    "Requester",
    "Waiting",
]

SERVICE = "atmosphere.join"

MAXIMUM_REPLY = 40 * 1024
MAXIMUM_TOTAL = 1024 * 1024
MAXIMUM_CHAIN = 4096
MAXIMUM_RECORD = 2048
MAXIMUM_WANTED = 255
MAXIMUM_REASON = 200
MAXIMUM_WAITING = 30 * 86400

Introduced: TypeAlias = tuple[bytes, bytes | None]
"""A member's chain and its newest record, as they came."""


@dataclass(frozen=True, slots=True)
class Admitted:
    """
    We are a member.

    @ivar membership: what our chain says, verified.
    @ivar chain: it.
    @ivar mesh_name: what people call the mesh.
    @ivar revocations: the mesh's list, verified; C{None} if there is none.
    @ivar members: whom the issuer named; for a roster to verify.
    """

    membership: Membership
    chain: bytes
    mesh_name: str
    revocations: RevocationList | None
    members: tuple[Introduced, ...] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Declined:
    """
    We are not.

    @ivar reason: a line for people, safe to show.
    @ivar is_final: the issuer has refused; trying again is of no use.
    """

    reason: str
    is_final: bool


@dataclass(frozen=True, slots=True)
class Waiting:
    """
    Our request is kept, and an admin will decide.

    @ivar mesh_name: what people call the mesh.
    @ivar seconds: for how long the request is kept.
    """

    mesh_name: str
    seconds: int


class _Stage(Enum):
    """
    How far a conversation has come.
    """

    ASKING = "asking"
    ADMITTED = "admitted"
    ENDED = "ended"


class Asker:
    """
    The side that asks, whatever it has to show.
    """

    def __init__(self, request: dict[str, object], mesh_id: str, node: NodeID) -> None:
        """
        @param request: the one message that we send.
        @param mesh_id: the mesh that we want to join.
        @param node: who we are.
        """
        self._request = request
        self._mesh_id = mesh_id
        self._node = node
        self._stage = _Stage.ASKING
        self._reader = MessageReader("join", MAXIMUM_REPLY, MAXIMUM_TOTAL)
        self._membership: Membership | None = None
        self._chain = b""
        self._mesh_name = ""
        self._revocations: RevocationList | None = None
        self._members: list[Introduced] = []

    def start(self) -> bytes:
        """
        Write the request; it is the first and last thing that we send.
        """
        return encode_message(self._request)

    def receive(self, data: bytes, wall: float) -> Admitted | Declined | Waiting | None:
        """
        Take bytes from the issuer.

        @param wall: POSIX time.
        @return: how it ended, once it has; then the stream is to be closed. Or
            that we are to wait, which is no end.
        """
        waiting: Waiting | None = None
        if self._stage is _Stage.ENDED:
            return None
        try:
            for message in self._reader.receive(data):
                ending = self._take(message, wall)
                if isinstance(ending, Waiting):
                    waiting = ending
                elif ending is not None:
                    self._stage = _Stage.ENDED
                    return ending
        except (DecodeError, MembershipError) as error:
            self._stage = _Stage.ENDED
            return Declined(f"the issuer's answer does not hold: {error}", is_final=False)
        return waiting

    def end(self) -> Admitted | Declined | None:
        """
        Take note that the stream has ended.

        Who has its chain is a member; gossip brings what was cut off.
        """
        stage, self._stage = self._stage, _Stage.ENDED
        match stage:
            case _Stage.ASKING:
                return Declined("the issuer ended the conversation without a word", is_final=False)
            case _Stage.ADMITTED:
                return self._admitted()
            case _Stage.ENDED:
                return None

    def _take(self, message: Fields, wall: float) -> Admitted | Declined | Waiting | None:
        """
        Act on one message.

        @raise DecodeError: it is none that may come now.
        @raise MembershipError: what it shows does not hold.
        """
        ending: Admitted | Declined | Waiting | None = None
        if self._stage is _Stage.ASKING:
            ending = self._take_verdict(message)
            if ending is None:
                self._take_chain(message, wall)
        elif message.has("revocations"):
            self._revocations = verify_revocations(
                message.octets("revocations", MAXIMUM_REPLY, 1),
                mesh_id=self._mesh_id,
                wall=wall,
                current=self._revocations,
            )
        elif message.has("members"):
            self._members += decode_members(message)
        else:
            message.flag("done")
            ending = self._admitted()
        message.finish()
        return ending

    def _take_verdict(self, message: Fields) -> Declined | Waiting | None:
        """
        Act on a message that is no admission.

        @return: C{None} for one that is.
        """
        if not message.has("refused"):
            return None
        reason = escape_peer_text(message.text("refused", MAXIMUM_REASON), 120)
        return Declined(reason, is_final=True)

    def _take_chain(self, message: Fields, wall: float) -> None:
        """
        Take the chain that makes us a member.
        """
        self._chain = message.octets("admitted", MAXIMUM_CHAIN, 1)
        self._mesh_name = message.text("mesh", MAXIMUM_MESH_NAME)
        self._membership = verify_chain(
            self._chain, self._node, mesh_id=self._mesh_id, wall=wall, revocations=None
        )
        self._stage = _Stage.ADMITTED

    def _admitted(self) -> Admitted:
        """
        Say what we have got.
        """
        assert self._membership is not None
        return Admitted(
            self._membership,
            self._chain,
            self._mesh_name,
            self._revocations,
            tuple(self._members),
        )


class Joiner(Asker):
    """
    The side that holds a code.
    """

    def __init__(
        self, code: JoinCode, node: NodeID, *, issuer: NodeID, binding: bytes, wanted_name: str
    ) -> None:
        """
        @param code: checked by L{JoinCode.check_at}.
        @param node: who we are.
        @param issuer: whom we have dialled; one of the code's issuers.
        @param binding: of the link to it.
        @param wanted_name: any text; the issuer makes a free and valid name of it.
        @raise JoinError: the code has no secret, or does not name that issuer.
        """
        if code.secret is None or issuer not in code.issuers:
            raise JoinError("this join code cannot be redeemed there")
        key = invitation_key(code.secret, code.invite_id)
        request: dict[str, object] = {
            "redeem": code.invite_id,
            "proof": redeem_proof(key, code.invite_id, issuer=issuer, joiner=node, binding=binding),
            "name": wanted_name[:MAXIMUM_WANTED] or "node",
        }
        super().__init__(request, code.mesh_id, node)

    @override
    def _take_verdict(self, message: Fields) -> Declined | Waiting | None:
        """
        Say what to do about a refusal.
        """
        found = super()._take_verdict(message)
        if isinstance(found, Declined):
            return Declined(f"{found.reason}; ask for a new one", is_final=True)
        return found


class Requester(Asker):
    """
    The side that has no secret, and asks an admin.
    """

    def __init__(
        self,
        key: NodeKey,
        *,
        mesh_id: str,
        issuer: NodeID,
        binding: bytes,
        wanted_name: str,
        capabilities: Sequence[str] = (),
    ) -> None:
        """
        @param key: ours.
        @param mesh_id: the mesh that the issuer has shown to belong to.
        @param issuer: whom we have dialled.
        @param binding: of the link to it.
        @raise DecodeError: too many capabilities, or too long ones.
        """
        request = make_request(
            key,
            mesh_id=mesh_id,
            issuer=issuer,
            binding=binding,
            wanted_name=wanted_name,
            capabilities=capabilities,
        )
        super().__init__(request, mesh_id, key.node_id)

    @override
    def _take_verdict(self, message: Fields) -> Declined | Waiting | None:
        """
        See whether the request is kept, or to be made again later.
        """
        if message.has("waiting"):
            seconds = message.number("waiting", MAXIMUM_WAITING)
            return Waiting(message.text("mesh", MAXIMUM_MESH_NAME), seconds)
        if message.has("later"):
            reason = escape_peer_text(message.text("later", MAXIMUM_REASON), 120)
            return Declined(reason, is_final=False)
        return super()._take_verdict(message)


def decode_members(message: Fields) -> list[Introduced]:
    """
    Read one of them.

    @raise DecodeError: an entry is not a chain and a record.
    """
    found: list[Introduced] = []
    for entry in message.items("members", 1024):
        match entry:
            case [bytes() as chain, bytes() | None as record] if (
                0 < len(chain) <= MAXIMUM_CHAIN and len(record or b"") <= MAXIMUM_RECORD
            ):
                found.append((chain, record))
            case _:
                raise DecodeError("join: an entry is not a chain and a record")
    return found
