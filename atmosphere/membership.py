# -*- test-case-name: tests.test_membership -*-
"""
Who belongs to a mesh: what makes a member, who may admit, and what was revoked.

A mesh is its genesis, a list of root keys; its id is a hash of that and
belongs to nobody else. A root certifies admins, an admin certifies members,
and whoever wants to know checks the chain with no more than the mesh id.
The rules are those of C{docs/protocols/membership.md}.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from . import wire
from .certificates import (
    ADMIN,
    CERTIFICATE_DOMAIN,
    MEMBER,
    RELAY,
    REVOCATIONS_DOMAIN,
    ROLE_BITS,
    SERIAL_LENGTH,
    Certificate,
    Chain,
    Genesis,
    RevocationList,
    decode_certificate,
    decode_chain,
    decode_revocations,
    encode_chain,
)
from .errors import DecodeError, MembershipError
from .identity import NodeID, NodeKey
from .statements import sign_statement
from .text import is_valid_name

__all__ = [
    "ADMIN",
    "MEMBER",
    "RELAY",
    "Certificate",
    "Chain",
    "Genesis",
    "Membership",
    "RevocationList",
    "decode_chain",
    "decode_revocations",
    "encode_chain",
    "found_mesh",
    "issue_certificate",
    "issue_revocations",
    "membership_of",
    "renew_certificate",
    "verify_chain",
    "verify_revocations",
]

Entropy: TypeAlias = Callable[[int], bytes]
"""A source of random bytes, such as C{secrets.token_bytes}."""

DAY = 86400
MEMBER_LIFETIME = 30 * DAY
ADMIN_LIFETIME = 90 * DAY
WARNING_TIME = 7 * DAY
#: How far the clocks of two nodes may be apart.
TOLERANCE = 600
#: How much higher than ours the epoch of a list may be.
MAXIMUM_JUMP = 2**32


@dataclass(frozen=True, slots=True)
class Membership:
    """
    What a chain has shown about a node.

    @ivar not_after: when the first certificate of the chain ends, POSIX time.
    @ivar not_before: when the node's own certificate began.
    @ivar serial: of the node's own certificate.
    @ivar issuer: who signed that.
    """

    mesh_id: str
    node: NodeID
    name: str
    roles: frozenset[str]
    not_after: float
    not_before: float = 0.0
    serial: bytes = b""
    issuer: NodeID | None = None

    @property
    def is_admin(self) -> bool:
        """
        Whether the node may certify others.
        """
        return ADMIN in self.roles

    def is_renewal_due(self, wall: float) -> bool:
        """
        Say whether half of the lifetime has passed.
        """
        return wall >= (self.not_before + self.not_after) / 2

    def is_ending(self, wall: float) -> bool:
        """
        Say whether it is time to warn: due, and 7 days or less are left.
        """
        return self.is_renewal_due(wall) and wall >= self.not_after - WARNING_TIME


def _read(chain: bytes) -> Chain:
    """
    Read a chain for those who only want to know whether it holds.

    @raise MembershipError: it cannot be read.
    """
    try:
        return decode_chain(chain)
    except DecodeError as error:
        raise MembershipError(f"the chain cannot be read: {error}") from None


def _check_link(
    certificate: Certificate,
    issuers: Iterable[NodeID],
    wall: float,
    revocations: RevocationList | None,
) -> None:
    """
    Check one certificate of a chain.

    @param issuers: whose signature counts.
    @raise MembershipError: it does not hold, with the reason.
    """
    name = f"the certificate of {certificate.name}"
    if certificate.issuer not in set(issuers):
        raise MembershipError(f"{name} was issued by a node that may not")
    if MEMBER not in certificate.roles:
        raise MembershipError(f"{name} does not make it a member")
    if wall < certificate.not_before - TOLERANCE:
        raise MembershipError(f"{name} is not valid yet; is this machine's clock right?")
    if wall > certificate.not_after + TOLERANCE:
        raise MembershipError(f"{name} has expired; is this machine's clock right?")
    if revocations is not None and revocations.covers(certificate):
        raise MembershipError(f"{name}, or its issuer, was revoked")
    if not certificate.is_signed():
        raise MembershipError(f"{name} carries a wrong signature")


def _check_certificates(
    genesis: Genesis,
    certificates: Sequence[Certificate],
    wall: float,
    revocations: RevocationList | None,
) -> None:
    """
    Check that each certificate follows from the one before, and the first from a root.

    @raise MembershipError: it does not, with the reason.
    """
    issuers = genesis.roots
    for depth, certificate in enumerate(certificates):
        if certificate.mesh_id != genesis.mesh_id:
            raise MembershipError("a certificate of the chain belongs to another mesh")
        if depth and ADMIN not in certificates[depth - 1].roles:
            raise MembershipError(f"{certificates[depth - 1].name} is no admin and cannot admit")
        if depth and ADMIN in certificate.roles:
            raise MembershipError("only a root of the mesh makes admins")
        _check_link(certificate, issuers, wall, revocations)
        issuers = (certificate.node,)


def verify_chain(
    chain: bytes,
    node: NodeID,
    *,
    mesh_id: str | None,
    wall: float,
    revocations: RevocationList | None,
) -> Membership:
    """
    Check all that makes a node a member.

    Whoever calls has seen that the peer holds C{node}'s key.

    @param chain: what the node showed, at most 4 KiB.
    @param node: who showed it.
    @param mesh_id: the mesh that counts; C{None} takes any.
    @param wall: POSIX time.
    @param revocations: the newest list of that mesh, if there is one.
    @raise MembershipError: the node is no member, with the reason.
    """
    decoded = _read(chain)
    if mesh_id is not None and decoded.mesh_id != mesh_id:
        raise MembershipError(f"the node belongs to another mesh, {decoded.mesh_id}")
    if not decoded.certificates:
        raise MembershipError("there is no certificate in the chain")
    if decoded.leaf.node != node:
        raise MembershipError("the chain is about another node")
    _check_certificates(decoded.genesis, decoded.certificates, wall, revocations)
    return membership_of(decoded)


def membership_of(chain: Chain) -> Membership:
    """
    Say what a chain claims. Only for chains that were verified before, such as our own store's.

    @raise DecodeError: there is no certificate in it.
    """
    leaf = chain.leaf
    return Membership(
        chain.mesh_id,
        leaf.node,
        leaf.name,
        leaf.roles,
        float(min(certificate.not_after for certificate in chain.certificates)),
        float(leaf.not_before),
        leaf.serial,
        leaf.issuer,
    )


def _check_signer(found: RevocationList, current: RevocationList | None) -> None:
    """
    Check that a list's signer may sign it.

    @raise MembershipError: it may not.
    """
    if found.certificates:
        # The certificate counts as it was when the list was signed: what was
        # revoked stays so when the signer's own certificate has ended.
        _check_certificates(found.genesis, found.certificates, found.time, current)
        certificate = found.certificates[-1]
        may_sign = certificate.node == found.signer and ADMIN in certificate.roles
    else:
        may_sign = found.signer in found.genesis.roots
    if not may_sign:
        raise MembershipError("the revocation list was signed by a node that may not")
    if not found.is_signed():
        raise MembershipError("the revocation list carries a wrong signature")


def verify_revocations(
    data: bytes, *, mesh_id: str, wall: float, current: RevocationList | None
) -> RevocationList:
    """
    Check a list that came from anywhere.

    @param current: the list that we hold.
    @return: the list to hold from now on: the new one, or C{current} itself
        when the two are the same.
    @raise MembershipError: it is forged, older than ours, or of another mesh.
    """
    if current is not None and data == current.encoded:
        return current
    try:
        found = decode_revocations(data)
    except DecodeError as error:
        raise MembershipError(f"the revocation list cannot be read: {error}") from None
    if found.mesh_id != mesh_id:
        raise MembershipError("the revocation list is another mesh's")
    epoch = 0 if current is None else current.epoch
    if found.epoch > epoch + MAXIMUM_JUMP or found.time > wall + TOLERANCE:
        raise MembershipError("the revocation list is from the future")
    if not found.replaces(current):
        raise MembershipError("the revocation list is older than the one we hold")
    _check_signer(found, current)
    return found


def found_mesh(root: NodeKey, node: NodeID, name: str, *, wall: float, entropy: Entropy) -> bytes:
    """
    Begin a mesh, and make its first admin.

    @param root: a new key, for nothing but this mesh.
    @param node: the founder's node.
    @param name: the founder's name.
    @return: the founder's chain; its genesis names the mesh.
    """
    body = {0: 1, 1: [root.node_id.raw], 2: 1, 3: int(wall)}
    authority = encode_chain(wire.encode(body), [])
    roles = frozenset({MEMBER, ADMIN})
    return issue_certificate(root, authority, node, name, roles=roles, wall=wall, entropy=entropy)


def _authority(
    issuer: NodeKey, authority: bytes, wall: float, revocations: RevocationList | None
) -> tuple[Chain, tuple[Certificate, ...]]:
    """
    Say with which certificates a key may issue and revoke: none for a root, one for an admin.

    @raise MembershipError: the key may not issue.
    """
    chain = _read(authority)
    if issuer.node_id in chain.genesis.roots:
        return chain, ()
    membership = verify_chain(
        authority, issuer.node_id, mesh_id=None, wall=wall, revocations=revocations
    )
    if not membership.is_admin:
        raise MembershipError("this node is no admin of the mesh")
    return chain, chain.certificates


def issue_certificate(
    issuer: NodeKey,
    authority: bytes,
    node: NodeID,
    name: str,
    *,
    wall: float,
    entropy: Entropy,
    roles: frozenset[str] = frozenset({MEMBER}),
    lifetime: float | None = None,
    revocations: RevocationList | None = None,
) -> bytes:
    """
    Make a node a member.

    @param issuer: a root of the mesh, or an admin.
    @param authority: the issuer's own chain; for a root any chain of the mesh,
        also one without certificates.
    @param name: a valid and unused name, see L{atmosphere.text.unused_name}.
    @param lifetime: seconds; by default 30 days, for an admin 90. Cut where
        the issuer's own certificate ends.
    @return: the new member's chain.
    @raise MembershipError: the issuer may not, or the node was revoked.
    @raise ValueError: the name or the roles cannot be.
    """
    if not is_valid_name(name) or MEMBER not in roles:
        raise ValueError("a member needs a valid name and the role of a member")
    chain, above = _authority(issuer, authority, wall, revocations)
    if ADMIN in roles and above:
        raise MembershipError("only a root of the mesh makes admins")
    if lifetime is None:
        lifetime = ADMIN_LIFETIME if ADMIN in roles else MEMBER_LIFETIME
    end = min([int(wall + lifetime), *(certificate.not_after for certificate in above)])
    body = {
        0: 1,
        1: chain.mesh_id,
        2: entropy(SERIAL_LENGTH),
        3: node.raw,
        4: name,
        5: sum(bit for role, bit in ROLE_BITS if role in roles),
        6: int(wall),
        7: end,
        8: issuer.node_id.raw,
    }
    certificate = decode_certificate(sign_statement(issuer, CERTIFICATE_DOMAIN, body))
    if revocations is not None and revocations.covers(certificate):
        raise MembershipError(f"{name} was revoked and cannot be admitted")
    parts = [one.encoded for one in (*above, certificate)]
    return encode_chain(chain.genesis.encoded, parts)


def renew_certificate(
    issuer: NodeKey,
    authority: bytes,
    chain: bytes,
    *,
    wall: float,
    entropy: Entropy,
    lifetime: float | None = None,
    revocations: RevocationList | None = None,
) -> bytes:
    """
    Give a member a certificate that lasts longer, with the name and roles that it has.

    @param chain: the member's present chain, of the same mesh and still valid.
    @return: the member's new chain.
    @raise MembershipError: the chain does not hold, or the issuer may not.
    """
    genesis = _authority(issuer, authority, wall, revocations)[0].genesis
    certificates = _read(chain).certificates
    if not certificates:
        raise MembershipError("there is no certificate in the chain")
    node = certificates[-1].node
    held = verify_chain(chain, node, mesh_id=genesis.mesh_id, wall=wall, revocations=revocations)
    return issue_certificate(
        issuer,
        authority,
        node,
        held.name,
        wall=wall,
        entropy=entropy,
        roles=held.roles,
        lifetime=lifetime,
        revocations=revocations,
    )


def issue_revocations(
    signer: NodeKey,
    authority: bytes,
    *,
    wall: float,
    current: RevocationList | None,
    keys: Iterable[NodeID] = (),
    serials: Iterable[bytes] = (),
) -> RevocationList:
    """
    Revoke: sign the next list, with all that the present one holds.

    @param signer: a root or an admin.
    @param authority: the signer's chain; for a root any chain of the mesh.
    @param keys: nodes to shut out.
    @param serials: certificates that shall not count any more.
    @raise MembershipError: the signer may not, or the list would be too long.
    """
    chain, above = _authority(signer, authority, wall, current)
    held_keys = frozenset() if current is None else current.keys
    held_serials = frozenset() if current is None else current.serials
    body = {
        0: 1,
        1: chain.mesh_id,
        2: 1 if current is None else current.epoch + 1,
        3: int(wall),
        4: sorted(node.raw for node in held_keys.union(keys)),
        5: sorted(held_serials.union(serials)),
        6: signer.node_id.raw,
    }
    statement = sign_statement(signer, REVOCATIONS_DOMAIN, body)
    parts = [*(certificate.encoded for certificate in above), statement]
    return verify_revocations(
        encode_chain(chain.genesis.encoded, parts),
        mesh_id=chain.mesh_id,
        wall=wall,
        current=current,
    )
