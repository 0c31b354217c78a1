# -*- test-case-name: tests.mesh.test_join_code -*-
"""
Join codes: what a member hands to a machine that shall join, as text to paste.

The format, and that of the ticket made of a code for relays, stand in
C{docs/protocols/join.md}. A code is signed; its secret stands outside of what
is signed, so that the rest can be shown around.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from atmosphere.certificates import decode_chain
from atmosphere.errors import DecodeError, JoinError, MembershipError
from atmosphere.identity import SIGNATURE_LENGTH, NodeID, NodeKey, Secret
from atmosphere.membership import TOLERANCE, Membership, verify_chain

from . import code_text

__all__ = ["JoinCode", "Ticket", "check_ticket", "issue_join_code"]

PREFIX = "atm1-"
DOMAIN = b"atmosphere join code v1\0"

SECRET_LENGTH = 16
INVITE_LENGTH = 16
DEFAULT_LIFETIME = 86400
MAXIMUM_LIFETIME = 7 * 86400
MAXIMUM_USES = 1000
MAXIMUM_ISSUERS = 3
MAXIMUM_ADDRESSES = 8
MAXIMUM_MESH_NAME = 63

#: What stands behind the signed body; the two values have a fixed length.
_TAIL = ',"secret":"{}","signature":"{}"}}'
_TAIL_LENGTH = len(_TAIL.format("", "")) + 22 + 86


@dataclass(frozen=True, slots=True)
class JoinCode:
    """
    An invitation, as the joiner holds it.

    The first eight are the original program's, in its order. A code without
    issuers is an old one: it has no secret and nothing about it is proven.

    @ivar mesh_id: the mesh.
    @ivar mesh_name: what people call it; theirs to choose, so escape it.
    @ivar mesh_public_key: the first root key.
    @ivar endpoint: C{HOST:PORT} of the issuer on its own network.
    @ivar created_at: POSIX time.
    @ivar expires_at: POSIX time.
    @ivar public_endpoint: C{HOST:PORT} of the issuer from outside.
    @ivar relay_urls: where the issuer can be reached through a relay.
    @ivar endpoints: further ones of the issuer.
    @ivar issuers: who may redeem the code; the first has signed it.
    @ivar invite_id: 16 bytes.
    @ivar uses: how many machines may join with it.
    @ivar chain: the first issuer's membership.
    @ivar secret: 16 bytes; C{None} in an old code, and where only a ticket is known.
    @ivar signature: the first issuer's.
    @ivar short_code: what an old code called itself.
    """

    mesh_id: str
    mesh_name: str
    mesh_public_key: str
    endpoint: str
    created_at: float
    expires_at: float
    public_endpoint: str | None = None
    relay_urls: list[str] | None = None
    endpoints: tuple[str, ...] = field(default=(), kw_only=True)
    issuers: tuple[NodeID, ...] = field(default=(), kw_only=True)
    invite_id: bytes = field(default=b"", kw_only=True)
    uses: int = field(default=1, kw_only=True)
    chain: bytes = field(default=b"", kw_only=True, repr=False)
    secret: Secret | None = field(default=None, kw_only=True, repr=False, compare=False)
    signature: bytes = field(default=b"", kw_only=True, repr=False)
    short_code: str = field(default="", kw_only=True)

    @property
    def is_old(self) -> bool:
        """
        Whether this is a code of the original program: unsigned, for the local network.
        """
        return not self.issuers

    @property
    def issuer(self) -> NodeID:
        """
        Whom to dial.

        @raise JoinError: an old code does not say.
        """
        if not self.issuers:
            raise JoinError("this old code does not name the node that issued it")
        return self.issuers[0]

    @property
    def code(self) -> str:
        """
        The text to type or paste on the other machine.
        """
        if self.is_old:
            return self.short_code or self.to_compact()
        return PREFIX + self.to_compact()

    def is_expired_at(self, wall: float) -> bool:
        """
        Say whether the code has run out.
        """
        return wall >= self.expires_at

    def check_at(self, wall: float) -> Membership:
        """
        Check that the code may be used now.

        @return: the issuer's membership.
        @raise JoinError: it has expired, or its issuer may not admit; or it is
            an old one and proves nothing.
        """
        if self.is_expired_at(wall):
            raise JoinError("the join code has expired; ask for a new one")
        if self.created_at > wall + TOLERANCE:
            raise JoinError("the join code is from the future; is this machine's clock right?")
        issuer = self.issuer
        try:
            found = verify_chain(
                self.chain, issuer, mesh_id=self.mesh_id, wall=wall, revocations=None
            )
        except MembershipError as error:
            raise JoinError(f"the join code's issuer cannot admit: {error}") from None
        if not found.is_admin:
            raise JoinError("the join code's issuer is no admin of the mesh")
        return found

    def to_dict(self) -> dict[str, Any]:
        """
        Hand out what L{to_compact} writes, secret included, as a dictionary.
        """
        found: dict[str, Any] = {
            "mesh_id": self.mesh_id,
            "mesh_name": self.mesh_name,
            "mesh_public_key": self.mesh_public_key,
            "endpoint": self.endpoint,
            "created_at": self.created_at,
            "expires_at": self.expires_at,
        }
        if self.short_code:
            found["code"] = self.short_code
        if self.public_endpoint is not None:
            found["public_endpoint"] = self.public_endpoint
        if self.relay_urls:
            found["relay_urls"] = list(self.relay_urls)
        if self.is_old:
            return found
        if self.endpoints:
            found["endpoints"] = list(self.endpoints)
        found["v"] = 1
        found["issuers"] = [str(issuer) for issuer in self.issuers]
        found["invite"] = code_text.encode_base64(self.invite_id)
        if self.uses != 1:
            found["uses"] = self.uses
        found["chain"] = code_text.encode_base64(self.chain)
        if self.secret is not None:
            found["secret"] = code_text.encode_base64(self.secret.reveal())
        found["signature"] = code_text.encode_base64(self.signature)
        return found

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> JoinCode:
        """
        Read what L{to_dict} made.

        @raise DecodeError: anything else, and a signature that does not hold.
        """
        try:
            text = json.dumps(dict(data), separators=(",", ":"))
        except (TypeError, ValueError, RecursionError):
            raise DecodeError("the join code holds what JSON cannot say") from None
        return _read_code(text.encode("ascii"))

    def signed_body(self) -> bytes:
        """
        Write what the signature is over: all but the secret.
        """
        found = self.to_dict()
        found.pop("secret", None)
        found.pop("signature")
        return json.dumps(found, separators=(",", ":"))[:-1].encode("ascii")

    def to_compact(self) -> str:
        """
        Write the code without prefix: padded URL-safe base64 of compact JSON.

        @raise ValueError: only a ticket is known of this code.
        """
        if not self.is_old and self.secret is None:
            raise ValueError("without its secret this is no join code")
        text = json.dumps(self.to_dict(), separators=(",", ":"))
        return base64.urlsafe_b64encode(text.encode("ascii")).decode("ascii")

    @classmethod
    def from_compact(cls, text: str) -> JoinCode:
        """
        Read a code, with its prefix or without, white space no matter.

        The signature was checked when this returns, the issuer's right was
        not: for that there is L{check_at}.

        @raise DecodeError: it is damaged, or none at all.
        """
        return _read_code(code_text.decode_compact(text, PREFIX))

    def ticket(self) -> bytes:
        """
        Write what may be shown to relays: the signed body and the signature.

        @raise JoinError: an old code has none.
        """
        if self.is_old:
            raise JoinError("an old join code cannot be shown to a relay")
        return self.signed_body() + self.signature


def _read_code(raw: bytes) -> JoinCode:
    """
    Read the JSON of a code.

    @raise DecodeError: it is none.
    """
    values = code_text.decode_json(raw)
    if not values.has("v"):
        return _read_old(values)
    body, tail = raw[:-_TAIL_LENGTH], raw[-_TAIL_LENGTH:]
    secret = Secret(values.octets("secret", SECRET_LENGTH))
    signature = values.octets("signature", SIGNATURE_LENGTH)
    if tail != _tail(secret, signature):
        raise DecodeError("the join code does not end with its secret and signature")
    return replace(_read_signed(values, body, signature), secret=secret)


def _tail(secret: Secret, signature: bytes) -> bytes:
    """
    Write what stands behind the signed body.
    """
    texts = (code_text.encode_base64(each) for each in (secret.reveal(), signature))
    return _TAIL.format(*texts).encode("ascii")


def _read_old(values: code_text.Values) -> JoinCode:
    """
    Read a code of the original program.

    @raise DecodeError: one of the first six keys is missing, or a value is of another kind.
    """
    relays = values.texts("relay_urls", MAXIMUM_ADDRESSES, 0) if values.has("relay_urls") else []
    return JoinCode(
        values.text("mesh_id"),
        values.text("mesh_name"),
        values.text("mesh_public_key"),
        values.text("endpoint"),
        values.time("created_at"),
        values.time("expires_at"),
        values.text("public_endpoint") if values.has("public_endpoint") else None,
        relays or None,
        short_code=values.text("code") if values.has("code") else "",
    )


def _read_signed(values: code_text.Values, body: bytes, signature: bytes) -> JoinCode:
    """
    Read what a signature is over, the signature first.

    @param values: what the body says.
    @param body: the exact bytes.
    @raise DecodeError: the signature does not hold, or a value cannot be.
    """
    issuers = values.nodes("issuers", MAXIMUM_ISSUERS)
    if not issuers[0].verifies(signature, DOMAIN + body):
        raise DecodeError("the join code is damaged: its signature does not hold")
    if values.number("v") != 1:
        raise DecodeError("the join code is of a later version; update this program")
    found = JoinCode(
        values.text("mesh_id"),
        values.text("mesh_name", MAXIMUM_MESH_NAME),
        values.text("mesh_public_key"),
        values.endpoint("endpoint"),
        values.number("created_at"),
        values.number("expires_at"),
        values.endpoint("public_endpoint") if values.has("public_endpoint") else None,
        values.relay_urls("relay_urls", MAXIMUM_ADDRESSES) if values.has("relay_urls") else None,
        endpoints=(
            values.endpoints("endpoints", MAXIMUM_ADDRESSES) if values.has("endpoints") else ()
        ),
        issuers=issuers,
        invite_id=values.octets("invite", INVITE_LENGTH),
        uses=values.number("uses", MAXIMUM_USES, 2) if values.has("uses") else 1,
        chain=values.octets("chain"),
        signature=signature,
    )
    values.finish()
    chain = decode_chain(found.chain)
    if (
        found.mesh_id != chain.mesh_id
        or found.mesh_public_key != str(chain.genesis.roots[0])
        or chain.leaf.node != issuers[0]
        or not 0 < found.expires_at - found.created_at <= MAXIMUM_LIFETIME
        or found.signed_body() != body
    ):
        raise DecodeError("the join code contradicts itself")
    return found


def issue_join_code(
    issuer: NodeKey,
    chain: bytes,
    *,
    mesh_name: str,
    endpoint: str,
    wall: float,
    entropy: Callable[[int], bytes],
    public_endpoint: str | None = None,
    relay_urls: Sequence[str] = (),
    endpoints: Sequence[str] = (),
    lifetime: float = DEFAULT_LIFETIME,
    uses: int = 1,
) -> JoinCode:
    """
    Make a join code. Keep L{atmosphere.mesh.invitation.invitation_of} of it before it is shown.

    @param issuer: an admin of the mesh.
    @param chain: the issuer's.
    @param endpoint: C{ADDRESS:PORT} of the issuer on its own network.
    @param lifetime: seconds, up to 7 days.
    @raise JoinError: the issuer may not admit.
    @raise DecodeError: a value cannot be, or all together are too long.
    """
    found = decode_chain(chain)
    code = JoinCode(
        found.mesh_id,
        mesh_name,
        str(found.genesis.roots[0]),
        endpoint,
        int(wall),
        int(wall + lifetime),
        public_endpoint,
        list(relay_urls) or None,
        endpoints=tuple(endpoints),
        issuers=(issuer.node_id,),
        invite_id=entropy(INVITE_LENGTH),
        uses=uses,
        chain=chain,
        secret=Secret(entropy(SECRET_LENGTH)),
    )
    code = replace(code, signature=issuer.sign(DOMAIN + code.signed_body()))
    code.check_at(wall)
    JoinCode.from_compact(code.to_compact())
    return code


@dataclass(frozen=True, slots=True)
class Ticket:
    """
    What a joiner's ticket has shown to a relay.

    @ivar mesh_id: the mesh that the joiner is invited to.
    @ivar issuer: the only node that it may talk to.
    @ivar invite_id: which invitation; not secret.
    @ivar expires_at: until when, POSIX time.
    """

    mesh_id: str
    issuer: NodeID
    invite_id: bytes
    expires_at: float


def check_ticket(ticket: bytes, *, mesh_ids: Container[str] | None, wall: float) -> Ticket:
    """
    Check a ticket as a relay does, with nothing but the mesh ids that it serves.

    @param mesh_ids: the meshes that count; C{None} takes any.
    @raise JoinError: it does not hold, with the reason.
    """
    body, signature = ticket[:-SIGNATURE_LENGTH], ticket[-SIGNATURE_LENGTH:]
    try:
        code = _read_signed(code_text.decode_json(body + b"}"), body, signature)
    except DecodeError as error:
        raise JoinError(f"the ticket cannot be read: {error}") from None
    if mesh_ids is not None and code.mesh_id not in mesh_ids:
        raise JoinError("the ticket is for another mesh")
    code.check_at(wall)
    return Ticket(code.mesh_id, code.issuer, code.invite_id, code.expires_at)
