# -*- test-case-name: tests.mesh.test_join -*-
"""
The conversation by which a machine joins: the side that lets in.

The other one is in L{atmosphere.mesh.joiner}, the format in
C{docs/protocols/join.md}.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from atmosphere import wire
from atmosphere.errors import DecodeError
from atmosphere.identity import NodeID
from atmosphere.statements import Fields

from .framing import RequestReader, encode_message
from .invitation import PROOF_LENGTH
from .join_code import INVITE_LENGTH
from .joiner import (
    MAXIMUM_REASON,
    MAXIMUM_REPLY,
    MAXIMUM_TOTAL,
    MAXIMUM_WANTED,
    Introduced,
)
from .request import RequestAsked, decode_request

__all__ = ["Broken", "Issuer", "RedeemAsked", "RequestAsked"]

#: Seconds between a request and its refusal, whatever the reason.
REFUSAL_DELAY = 1.0
#: The one thing that a refused joiner is told who showed a code.
REFUSAL = "the code was not accepted"

MAXIMUM_REQUEST = 4096


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
        self._reader = RequestReader("join", MAXIMUM_REQUEST)

    def receive(self, data: bytes) -> RedeemAsked | RequestAsked | Broken | None:
        """
        Take bytes from the joiner.

        @return: what it wants, once it has said so; nothing may follow.
        """
        try:
            message = self._reader.receive(data)
            return None if message is None else self._asked(message)
        except DecodeError as error:
            return Broken(str(error))

    def _asked(self, message: Fields) -> RedeemAsked | RequestAsked:
        """
        Read the request.

        @raise DecodeError: it is none.
        """
        if message.has("request"):
            return decode_request(message, self._joiner, self._binding)
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

    def refuse(self, reason: str = REFUSAL) -> bytes:
        """
        Write the answer to anybody else, to be sent L{REFUSAL_DELAY} seconds
        after the request came.

        @param reason: for those who hold a code it is always the same.
        """
        return encode_message({"refused": reason[:MAXIMUM_REASON]})

    def wait(self, mesh_name: str, seconds: float) -> bytes:
        """
        Write the answer to one whose request is kept; another one may follow.
        """
        return encode_message({"waiting": int(seconds), "mesh": mesh_name})

    def postpone(self, reason: str) -> bytes:
        """
        Write the answer to one whose request cannot be kept now.
        """
        return encode_message({"later": reason[:MAXIMUM_REASON]})


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
