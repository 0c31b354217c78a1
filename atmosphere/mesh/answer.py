# -*- test-case-name: tests.mesh.test_answer -*-
"""
Answers: what a joiner that no relay helps has people carry back to the issuer.

An answer says where the joiner can be reached, so that both sides can open their
NATs for each other at once. It is made with the secret of the code, for one
issuer and one joiner, and admits nobody. The format stands in
C{docs/protocols/join.md}, I{Without a relay}.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence
from dataclasses import dataclass, field

from atmosphere import wire
from atmosphere.addresses import TransportAddress
from atmosphere.errors import DecodeError, IdentityError, JoinError
from atmosphere.identity import NodeID, Secret
from atmosphere.membership import TOLERANCE
from atmosphere.network.nat.candidates import Candidate, CandidateType, make_candidate

from .code_text import decode_base64, encode_base64
from .invitation import KEY_LENGTH, Invitation, invitation_key
from .join_code import INVITE_LENGTH, PREFIX as CODE_PREFIX, JoinCode

__all__ = ["Answer", "check_answer", "is_answer", "make_answer", "read_answer"]

PREFIX = "atma1-"
DOMAIN = b"atmosphere join answer v1\0"

#: Bytes of the code that authenticates an answer, and of both together at most.
MAC_LENGTH = 16
MAXIMUM_LENGTH = 512

#: Characters of an answer, white space aside.
MAXIMUM_TEXT = 1024
MAXIMUM_CANDIDATES = 8

#: POSIX seconds.
MAXIMUM_TIME = 2**40

#: Seconds for which an answer is good, unless its code ends before.
LIFETIME = 3600

#: How a candidate may have been come by.
TYPES = (
    CandidateType.HOST,
    CandidateType.SERVER_REFLEXIVE,
    CandidateType.MAPPED,
    CandidateType.ADVERTISED,
)

_PORTS: dict[int, bool | None] = {0: None, 1: True, 2: False}
_REMEDY = "have the other machine show it again, and copy all of it"


@dataclass(frozen=True, slots=True)
class Answer:
    """
    An answer as it was read; nothing about it is proven before L{check_answer}.

    @ivar invite_id: which code it belongs to.
    @ivar joiner: who made it.
    @ivar expires_at: POSIX time.
    @ivar has_stable_port: whether STUN servers see the joiner at one port; C{None} if
        it does not know.
    @ivar candidates: where the joiner may be reached, the best first.
    @ivar dialled: where it dials the issuer from outside; C{None} if its code did not say.
    @ivar body: the exact bytes that
    @ivar mac: was made of.
    """

    invite_id: bytes
    joiner: NodeID
    expires_at: int
    has_stable_port: bool | None
    candidates: tuple[Candidate, ...]
    dialled: TransportAddress | None
    body: bytes = field(repr=False)
    mac: bytes = field(repr=False)


def is_answer(text: str) -> bool:
    """
    Say whether a text that somebody pasted calls itself an answer.
    """
    return "".join(text[: 4 * len(PREFIX)].split()).startswith(PREFIX)


def _mac(key: Secret, issuer: NodeID, body: bytes) -> bytes:
    """
    Authenticate a body.
    """
    return hmac.digest(key.reveal(), DOMAIN + issuer.raw + body, hashlib.sha256)[:MAC_LENGTH]


def _pack(address: TransportAddress) -> bytes:
    """
    Write an address and its port.
    """
    return address.packed + address.port.to_bytes(2, "big")


def make_answer(
    code: JoinCode,
    joiner: NodeID,
    candidates: Sequence[Candidate],
    *,
    has_stable_port: bool | None,
    wall: float,
) -> tuple[str, int]:
    """
    Make the answer to a code.

    @param candidates: the best first; those beyond 8 are left out.
    @return: the text to carry back, and when it ends in POSIX seconds.
    @raise JoinError: the code has no secret, or there is no candidate.
    """
    if code.secret is None:
        raise JoinError("there is no secret in this join code")
    places = [
        bytes([each.type.value]) + _pack(each.address)
        for each in candidates
        if each.type in TYPES and each.address.port
    ]
    if not places:
        raise JoinError("an answer needs an address at which this machine can be reached")
    dialled = b""
    if code.public_endpoint is not None:
        dialled = _pack(TransportAddress.from_text(code.public_endpoint))
    expires_at = int(min(wall + LIFETIME, code.expires_at))
    port = {stable: number for number, stable in _PORTS.items()}[has_stable_port]
    body = wire.encode(
        [
            1,
            code.invite_id,
            joiner.raw,
            expires_at,
            port,
            list(dict.fromkeys(places))[:MAXIMUM_CANDIDATES],
            dialled,
        ]
    )
    mac = _mac(invitation_key(code.secret, code.invite_id), code.issuer, body)
    return PREFIX + encode_base64(body + mac), expires_at


def read_answer(text: str) -> Answer:
    """
    Read an answer, with its prefix or without, white space no matter.

    @raise DecodeError: it is damaged, or none at all.
    """
    if len(text) > 2 * MAXIMUM_TEXT:
        raise DecodeError("too long for an answer")
    bare = "".join(text.split())
    if bare.startswith(CODE_PREFIX):
        raise DecodeError(
            "that is a join code and no answer: `atmosphere join -` takes it, on the machine"
            " that is to join"
        )
    try:
        data = decode_base64(bare.removeprefix(PREFIX))
        if not MAC_LENGTH < len(data) <= MAXIMUM_LENGTH or len(bare) > MAXIMUM_TEXT:
            raise DecodeError("an answer has another length")
        return _read(data[:-MAC_LENGTH], data[-MAC_LENGTH:])
    except DecodeError:
        raise DecodeError(
            f"this is no answer, or a piece of it is missing or wrong: {_REMEDY}"
        ) from None


def _read(body: bytes, mac: bytes) -> Answer:
    """
    Read the body of an answer.

    @raise DecodeError: it is not one, and none in its only form.
    """
    match wire.decode(body, max_length=MAXIMUM_LENGTH):
        case [
            int(version),
            bytes(invite_id),
            bytes(joiner),
            int(expires_at),
            int(port),
            list(places),
            bytes(dialled),
        ]:
            pass
        case _:
            raise DecodeError("not an answer")
    candidates = tuple(map(_read_place, places))
    is_good = (
        version == 1
        and len(invite_id) == INVITE_LENGTH
        and 0 <= expires_at <= MAXIMUM_TIME
        and port in _PORTS
        and bool not in (type(version), type(expires_at), type(port))
        and 1 <= len(candidates) <= MAXIMUM_CANDIDATES
        and len({each.address for each in candidates}) == len(candidates)
    )
    if not is_good:
        raise DecodeError("not an answer")
    try:
        node = NodeID(joiner)
    except IdentityError as error:
        raise DecodeError(str(error)) from None
    return Answer(
        invite_id,
        node,
        expires_at,
        _PORTS[port],
        candidates,
        _unpack(dialled) if dialled else None,
        body,
        mac,
    )


def _unpack(data: bytes) -> TransportAddress:
    """
    Read an address and its port.

    @raise DecodeError: another length, no port, or an IPv4 address that is wrapped.
    """
    address = TransportAddress.from_bytes(data[:-2], int.from_bytes(data[-2:], "big"))
    if not address.port or _pack(address) != data:
        raise DecodeError("not an address in its one form")
    return address


def _read_place(value: object) -> Candidate:
    """
    Read one candidate.

    @raise DecodeError: it is none.
    """
    if not isinstance(value, bytes) or not value:
        raise DecodeError("a candidate is bytes")
    for candidate_type in TYPES:
        if candidate_type.value == value[0]:
            return make_candidate(candidate_type, _unpack(value[1:]))
    raise DecodeError("a candidate of no type that may be here")


def check_answer(
    answer: Answer, invitation: Invitation | None, issuer: NodeID, wall: float
) -> Invitation:
    """
    See whether an answer may be followed: it was made with the secret of a code of
    ours that is still good.

    @param invitation: what is kept under the answer's invite ID.
    @return: the invitation.
    @raise JoinError: why not, and what helps.
    """
    held = invitation or Invitation(bytes(INVITE_LENGTH), Secret(bytes(KEY_LENGTH)), 0.0)
    is_right = hmac.compare_digest(_mac(held.key, issuer, answer.body), answer.mac)
    if invitation is None:
        raise JoinError(
            "this answer belongs to a code that was not made here: take it to the machine where"
            " `atmosphere invite` printed the code"
        )
    if not is_right:
        raise JoinError(
            f"this answer was not made with the code that it names, or it was changed: {_REMEDY}"
        )
    again = "run `atmosphere invite` for a new one"
    if held.revoked:
        raise JoinError(f"the code of this answer was revoked; {again}")
    if answer.joiner in held.arrived:
        raise JoinError("that machine has joined by this code already")
    if answer.joiner not in held.redeemed_by and len(held.redeemed_by) >= held.uses:
        raise JoinError(f"the code of this answer was used already; {again}")
    if wall >= held.expires_at:
        raise JoinError(f"the code of this answer has expired; {again}")
    if wall >= answer.expires_at + TOLERANCE or answer.expires_at > held.expires_at:
        raise JoinError(
            "this answer has expired: run `atmosphere join` again on the machine that is to join,"
            " with the same code, and take the answer that it prints then"
        )
    return held
