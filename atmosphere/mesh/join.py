# -*- test-case-name: tests.mesh.test_join -*-
"""
The conversation by which a machine joins, both of its sides.

Each side is a machine that takes the bytes of one stream and hands out bytes
and events; neither knows clocks, disks or links. The format stands in
C{docs/protocols/join.md}.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Enum
from typing import TypeAlias

from atmosphere import wire
from atmosphere.errors import DecodeError, JoinError, MembershipError
from atmosphere.identity import NodeID
from atmosphere.membership import (
    Membership,
    RevocationList,
    verify_chain,
    verify_revocations,
)
from atmosphere.statements import Fields
from atmosphere.text import escape_peer_text

from .framing import MessageReader, encode_message
from .invitation import PROOF_LENGTH, invitation_key, redeem_proof
from .join_code import INVITE_LENGTH, MAXIMUM_MESH_NAME, JoinCode

__all__ = [
    "Admitted",
    "Broken",
    "Declined",
    "Issuer",
    "JoinCode",
    "Joiner",
    "RedeemAsked",
]

SERVICE = "atmosphere.join"
#: Seconds between a request and its refusal, whatever the reason.
REFUSAL_DELAY = 1.0
#: The one thing that a refused joiner is told.
REFUSAL = "the code was not accepted"

MAXIMUM_REQUEST = 4096
MAXIMUM_REPLY = 40 * 1024
MAXIMUM_TOTAL = 1024 * 1024
MAXIMUM_CHAIN = 4096
MAXIMUM_RECORD = 2048
MAXIMUM_WANTED = 255

Introduced: TypeAlias = tuple[bytes, bytes | None]
"""A member's chain and its newest record, as they came."""


# ----------------------------------------------------------------- the joiner


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


class _Stage(Enum):
    """
    How far a conversation has come.
    """

    ASKING = "asking"
    ADMITTED = "admitted"
    ENDED = "ended"


class Joiner:
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
        self._request: dict[str, object] = {
            "redeem": code.invite_id,
            "proof": redeem_proof(key, code.invite_id, issuer=issuer, joiner=node, binding=binding),
            "name": wanted_name[:MAXIMUM_WANTED] or "node",
        }
        self._code = code
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

    def receive(self, data: bytes, wall: float) -> Admitted | Declined | None:
        """
        Take bytes from the issuer.

        @param wall: POSIX time.
        @return: how it ended, once it has; then the stream is to be closed.
        """
        if self._stage is _Stage.ENDED:
            return None
        try:
            for message in self._reader.receive(data):
                ending = self._take(message, wall)
                if ending is not None:
                    self._stage = _Stage.ENDED
                    return ending
        except (DecodeError, MembershipError) as error:
            self._stage = _Stage.ENDED
            return Declined(f"the issuer's answer does not hold: {error}", is_final=False)
        return None

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

    def _take(self, message: Fields, wall: float) -> Admitted | Declined | None:
        """
        Act on one message.

        @raise DecodeError: it is none that may come now.
        @raise MembershipError: what it shows does not hold.
        """
        ending: Admitted | Declined | None = None
        if self._stage is _Stage.ASKING:
            if message.has("refused"):
                reason = escape_peer_text(message.text("refused", 200), 120)
                ending = Declined(f"{reason}; ask for a new one", is_final=True)
            else:
                self._take_chain(message, wall)
        elif message.has("revocations"):
            self._revocations = verify_revocations(
                message.octets("revocations", MAXIMUM_REPLY, 1),
                mesh_id=self._code.mesh_id,
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

    def _take_chain(self, message: Fields, wall: float) -> None:
        """
        Take the chain that makes us a member.
        """
        self._chain = message.octets("admitted", MAXIMUM_CHAIN, 1)
        self._mesh_name = message.text("mesh", MAXIMUM_MESH_NAME)
        self._membership = verify_chain(
            self._chain, self._node, mesh_id=self._code.mesh_id, wall=wall, revocations=None
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


# ----------------------------------------------------------------- the issuer


@dataclass(frozen=True, slots=True)
class RedeemAsked:
    """
    A joiner wants in. Look the invitation up, ask
    L{redeem_rule<atmosphere.mesh.invitation.redeem_rule>}, keep what it says,
    then answer by L{Issuer.admit} or L{Issuer.refuse}.

    @ivar wanted_name: a stranger's text, neither valid nor safe.
    """

    invite_id: bytes
    joiner: NodeID
    proof: bytes = field(repr=False)
    binding: bytes = field(repr=False)
    wanted_name: str


@dataclass(frozen=True, slots=True)
class Broken:
    """
    The joiner does not keep to the protocol; the stream is to be reset.
    """

    reason: str


class Issuer:
    """
    The side that lets in.
    """

    def __init__(self, joiner: NodeID, *, binding: bytes) -> None:
        """
        @param joiner: who has dialled and proven its key.
        @param binding: of the link.
        """
        self._joiner = joiner
        self._binding = binding
        self._reader = MessageReader("join", MAXIMUM_REQUEST, MAXIMUM_REQUEST + 2)
        self._has_asked = False

    def receive(self, data: bytes) -> RedeemAsked | Broken | None:
        """
        Take bytes from the joiner.

        @return: what it wants, once it has said so; nothing may follow.
        """
        try:
            messages = self._reader.receive(data)
            if len(messages) + self._has_asked > 1:
                return Broken("more than one request")
            if not messages:
                return None
            self._has_asked = True
            return self._asked(messages[0])
        except DecodeError as error:
            return Broken(str(error))

    def _asked(self, message: Fields) -> RedeemAsked:
        """
        Read the request.

        @raise DecodeError: it is none.
        """
        asked = RedeemAsked(
            message.octets("redeem", INVITE_LENGTH),
            self._joiner,
            message.octets("proof", PROOF_LENGTH),
            self._binding,
            message.text("name", MAXIMUM_WANTED),
        )
        message.finish()
        return asked

    def admit(
        self,
        chain: bytes,
        mesh_name: str,
        *,
        revocations: bytes | None = None,
        members: Iterable[Introduced] = (),
    ) -> bytes:
        """
        Write the answer to a joiner that may come in; the stream ends after it.

        @param chain: the joiner's.
        @param revocations: the mesh's list, if there is one.
        @param members: whom to name first; those that are too many are left to gossip.
        """
        written = [encode_message({"admitted": chain, "mesh": mesh_name})]
        if revocations is not None:
            written.append(encode_message({"revocations": revocations}))
        done = encode_message({"done": True})
        room = MAXIMUM_TOTAL - sum(map(len, written)) - len(done)
        for message in encode_members(members):
            room -= len(message)
            if room < 0:
                break
            written.append(message)
        return b"".join([*written, done])

    def refuse(self) -> bytes:
        """
        Write the answer to anybody else, to be sent L{REFUSAL_DELAY} seconds
        after the request came. It is always the same.
        """
        return encode_message({"refused": REFUSAL})


def encode_members(members: Iterable[Introduced]) -> Iterable[bytes]:
    """
    Write messages that name members, each as full as it may be.
    """
    batch: list[list[bytes | None]] = []
    size = 0
    for chain, record in members:
        entry: list[bytes | None] = [chain, record]
        length = len(wire.encode(entry))
        if batch and size + length > MAXIMUM_REPLY - 64:
            yield encode_message({"members": batch})
            batch, size = [], 0
        batch.append(entry)
        size += length
    if batch:
        yield encode_message({"members": batch})


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
