# -*- test-case-name: tests.mesh.test_invitation -*-
"""
Invitations as their issuer keeps them, and the rule by which one is redeemed.

The rule is a pure function: whoever keeps invitations reads one, asks the
rule, writes what the rule says in the same transaction and flushes it to the
disk, and only then lets a certificate be signed.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Hashable
from dataclasses import dataclass, replace
from enum import Enum

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from atmosphere.errors import JoinError
from atmosphere.identity import NodeID, Secret
from atmosphere.membership import TOLERANCE, RevocationList
from atmosphere.rate import TokenBucket

from .join_code import INVITE_LENGTH, JoinCode

__all__ = [
    "Invitation",
    "Reason",
    "Redeemed",
    "Refused",
    "TryLimits",
    "invitation_key",
    "invitation_of",
    "redeem_proof",
    "redeem_rule",
]

KEY_LENGTH = 32
PROOF_LENGTH = 32
MINIMUM_BINDING = 16
MAXIMUM_BINDING = 64

TRIES_PER_MINUTE = 10
MAXIMUM_SOURCES = 4096

_KEY_INFO = b"atmosphere invitation v1"


@dataclass(frozen=True, slots=True)
class Invitation:
    """
    What an issuer keeps of a join code: enough to check its secret, not the secret.

    @ivar key: 32 bytes derived from the secret.
    @ivar uses: how many nodes may join.
    @ivar redeemed_by: those that have, in order.
    @ivar revoked: the issuer has withdrawn it.
    @ivar arrived: those that have shown the certificate which they got by it: no answer
        was lost, so they may not ask again.
    """

    invite_id: bytes
    key: Secret
    expires_at: float
    uses: int = 1
    redeemed_by: tuple[NodeID, ...] = ()
    revoked: bool = False
    arrived: frozenset[NodeID] = frozenset()


class Reason(Enum):
    """
    Why a code was not accepted. For the issuer's eyes: a joiner is never told.
    """

    UNKNOWN = "there is no such invitation"
    WRONG_SECRET = "the secret is wrong"
    REVOKED = "the invitation was revoked"
    NODE_REVOKED = "the node was revoked"
    EXPIRED = "the invitation has expired"
    USED = "the invitation was used up by others"
    ARRIVED = "the node has joined by the invitation before, and left"
    TOO_MANY_TRIES = "too many tries from there"


@dataclass(frozen=True, slots=True)
class Redeemed:
    """
    The joiner may have a certificate.

    @ivar invitation: what to keep from now on, before anything is signed.
    @ivar is_repeat: the joiner had redeemed it before, and asks again because
        the reply was lost; there is nothing new to keep.
    """

    invitation: Invitation
    is_repeat: bool = False


@dataclass(frozen=True, slots=True)
class Refused:
    """
    The joiner gets nothing, and learns nothing but that.
    """

    reason: Reason


def invitation_key(secret: Secret, invite_id: bytes) -> Secret:
    """
    Derive what the issuer keeps and the joiner proves to know.
    """
    derived = HKDF(SHA256(), KEY_LENGTH, salt=invite_id, info=_KEY_INFO)
    return Secret(derived.derive(secret.reveal()))


def invitation_of(code: JoinCode) -> Invitation:
    """
    Say what to keep of a code that was just made.

    @raise JoinError: the code has no secret.
    """
    if code.secret is None:
        raise JoinError("there is no secret in this join code")
    key = invitation_key(code.secret, code.invite_id)
    return Invitation(code.invite_id, key, code.expires_at, code.uses)


def redeem_proof(
    key: Secret, invite_id: bytes, *, issuer: NodeID, joiner: NodeID, binding: bytes
) -> bytes:
    """
    Prove to know a code's secret, to one issuer, as one joiner, on one link.

    @param key: L{invitation_key}.
    @param binding: the link's channel binding, 16 to 64 bytes.
    @return: 32 bytes.
    @raise ValueError: a binding that binds nothing.
    """
    if not MINIMUM_BINDING <= len(binding) <= MAXIMUM_BINDING:
        raise ValueError("without a channel binding there is no proof")
    message = b"redeem" + invite_id + issuer.raw + joiner.raw + binding
    return hmac.digest(key.reveal(), message, hashlib.sha256)


def redeem_rule(
    invitation: Invitation | None,
    joiner: NodeID,
    proof: bytes,
    binding: bytes,
    issuer: NodeID,
    wall: float,
    *,
    revocations: RevocationList | None = None,
) -> Redeemed | Refused:
    """
    Decide whether a joiner may have a certificate.

    The proof is checked first, and for an unknown invitation too, so that who
    does not know the secret learns nothing, not even by the time it takes.

    @param invitation: what is kept under the id that the joiner named.
    @param proof: what the joiner sent.
    @param wall: POSIX time.
    """
    held = invitation or Invitation(bytes(INVITE_LENGTH), Secret(bytes(KEY_LENGTH)), 0.0)
    expected = redeem_proof(held.key, held.invite_id, issuer=issuer, joiner=joiner, binding=binding)
    is_right = hmac.compare_digest(expected, proof)
    is_repeat = joiner in held.redeemed_by
    if invitation is None:
        return Refused(Reason.UNKNOWN)
    if not is_right:
        return Refused(Reason.WRONG_SECRET)
    if held.revoked:
        return Refused(Reason.REVOKED)
    if revocations is not None and joiner in revocations.keys:
        return Refused(Reason.NODE_REVOKED)
    if wall >= held.expires_at + (TOLERANCE if is_repeat else 0):
        return Refused(Reason.EXPIRED)
    if joiner in held.arrived:
        return Refused(Reason.ARRIVED)
    if is_repeat:
        return Redeemed(held, is_repeat=True)
    if len(held.redeemed_by) >= held.uses:
        return Refused(Reason.USED)
    return Redeemed(replace(held, redeemed_by=(*held.redeemed_by, joiner)))


class TryLimits:
    """
    How often one source may fail: 10 times at once, and 10 times a minute. Tries
    that succeed cost nothing, so that many may join through one relay.
    """

    def __init__(self, per_minute: int = TRIES_PER_MINUTE) -> None:
        self._per_minute = per_minute
        self._sources: dict[Hashable, TokenBucket] = {}

    def may_try(self, source: Hashable, now: float) -> bool:
        """
        Say whether a source may try once more.

        @param source: an address; of IPv6 the first 64 bits; of what came
            through a relay, the relay.
        """
        bucket = self._sources.get(source)
        return bucket is None or bucket.level(now) >= 1

    def failed(self, source: Hashable, now: float) -> None:
        """
        Count a try that failed.
        """
        bucket = self._sources.get(source)
        if bucket is None:
            self._make_room(now)
            bucket = TokenBucket(self._per_minute / 60, self._per_minute)
            self._sources[source] = bucket
        bucket.take(1, now)

    def _make_room(self, now: float) -> None:
        """
        Forget sources that have been quiet; if none has, the one that came first.
        """
        if len(self._sources) < MAXIMUM_SOURCES:
            return
        quiet = [source for source, bucket in self._sources.items() if bucket.is_full(now)]
        for source in quiet or [next(iter(self._sources))]:
            del self._sources[source]
