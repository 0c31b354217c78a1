# -*- test-case-name: tests.mesh.test_renewal -*-
"""
The conversation by which a member's certificate is renewed, both of its sides.

The format stands in C{docs/protocols/join.md}.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from atmosphere.errors import DecodeError, MembershipError
from atmosphere.identity import NodeID, NodeKey
from atmosphere.membership import (
    Membership,
    RevocationList,
    decode_chain,
    renew_certificate,
    verify_chain,
)
from atmosphere.statements import Fields
from atmosphere.text import escape_peer_text

from .framing import MessageReader, RequestReader, encode_message
from .issuer import MAXIMUM_REQUEST, Broken
from .joiner import MAXIMUM_CHAIN, Declined

__all__ = ["RenewalAsked", "RenewalIssuer", "Renewed", "Renewing", "renewal_rule"]

SERVICE = "atmosphere.renew"


@dataclass(frozen=True, slots=True)
class Renewed:
    """
    We have a certificate that lasts longer.
    """

    membership: Membership
    chain: bytes = field(repr=False)


class Renewing:
    """
    The side whose certificate is to be renewed.
    """

    def __init__(self, held: Membership, chain: bytes) -> None:
        """
        @param held: our membership.
        @param chain: what shows it.
        """
        self._held = held
        self._chain = chain
        self._reader = MessageReader("renew", MAXIMUM_REQUEST + 64, MAXIMUM_REQUEST + 66)
        self._has_ended = False

    def start(self) -> bytes:
        """
        Write the request; it is the first and last thing that we send.
        """
        return encode_message({"renew": self._chain})

    def receive(self, data: bytes, wall: float) -> Renewed | Declined | None:
        """
        Take bytes from the admin.

        @return: how it ended, once it has; then the stream is to be closed.
        """
        if self._has_ended:
            return None
        try:
            messages = self._reader.receive(data)
            ending = self._take(messages[0], wall) if messages else None
        except (DecodeError, MembershipError) as error:
            ending = Declined(f"the admin's answer does not hold: {error}", is_final=False)
        self._has_ended = ending is not None
        return ending

    def _take(self, message: Fields, wall: float) -> Renewed | Declined:
        """
        Act on the answer.

        @raise DecodeError: it is none.
        @raise MembershipError: the new chain is not as good as ours.
        """
        if message.has("refused"):
            reason = escape_peer_text(message.text("refused", 200), 120)
            message.finish()
            return Declined(reason, is_final=True)
        chain = message.octets("renewed", MAXIMUM_CHAIN, 1)
        message.finish()
        held = self._held
        found = verify_chain(chain, held.node, mesh_id=held.mesh_id, wall=wall, revocations=None)
        if (found.name, found.roles) != (held.name, held.roles):
            raise MembershipError("the new certificate has another name or other roles")
        if found.not_after <= held.not_after:
            raise MembershipError("the new certificate does not last longer")
        return Renewed(found, chain)


@dataclass(frozen=True, slots=True)
class RenewalAsked:
    """
    A member wants to be renewed: ask L{renewal_rule}.
    """

    node: NodeID
    chain: bytes = field(repr=False)


class RenewalIssuer:
    """
    The side that renews.
    """

    def __init__(self, node: NodeID) -> None:
        """
        @param node: the link's peer, which has proven its key.
        """
        self._node = node
        self._reader = RequestReader("renew", MAXIMUM_REQUEST + 64)

    def receive(self, data: bytes) -> RenewalAsked | Broken | None:
        """
        Take bytes from the member.

        @return: what it wants, once it has said so; nothing may follow.
        """
        try:
            message = self._reader.receive(data)
            if message is None:
                return None
            chain = message.octets("renew", MAXIMUM_CHAIN, 1)
            message.finish()
            return RenewalAsked(self._node, chain)
        except DecodeError as error:
            return Broken(str(error))

    def renew(self, chain: bytes) -> bytes:
        """
        Write the answer to a member that is renewed.
        """
        return encode_message({"renewed": chain})

    def refuse(self, reason: str) -> bytes:
        """
        Write the answer to a member that is not.
        """
        return encode_message({"refused": reason[:200]})


def renewal_rule(
    asked: RenewalAsked,
    issuer: NodeKey,
    authority: bytes,
    *,
    wall: float,
    entropy: Callable[[int], bytes],
    revocations: RevocationList | None,
) -> bytes:
    """
    Renew a member's certificate if it is due.

    @param issuer: an admin; or a root, which renews admins too.
    @param authority: the issuer's chain.
    @return: the member's new chain.
    @raise MembershipError: it is no member, is not due, or we may not; the
        text may be told to it.
    """
    try:
        mesh_id = decode_chain(authority).mesh_id
    except DecodeError as error:
        raise MembershipError(f"our own chain cannot be read: {error}") from None
    held = verify_chain(
        asked.chain, asked.node, mesh_id=mesh_id, wall=wall, revocations=revocations
    )
    if not held.is_renewal_due(wall):
        raise MembershipError("the certificate is not due for renewal yet")
    return renew_certificate(
        issuer, authority, asked.chain, wall=wall, entropy=entropy, revocations=revocations
    )
