# -*- test-case-name: tests.test_certificates -*-
"""
The statements that make a mesh: its genesis, certificates and revocation lists.

These are their bytes, read and written; whether they hold is the business of
L{atmosphere.membership}. The formats stand in C{docs/protocols/membership.md}.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field

from . import wire
from .errors import DecodeError
from .identity import SIGNATURE_LENGTH, NodeID
from .statements import Fields, split_statement
from .text import is_valid_name

__all__ = [
    "Certificate",
    "Chain",
    "Genesis",
    "RevocationList",
    "decode_certificate",
    "decode_chain",
    "decode_genesis",
    "decode_revocations",
    "encode_chain",
    "is_mesh_id",
]

MEMBER = "member"
ADMIN = "admin"
RELAY = "relay"
#: The bits of roles in a certificate.
ROLE_BITS = ((MEMBER, 1), (ADMIN, 2), (RELAY, 4))

MAXIMUM_CHAIN = 4096
MAXIMUM_CERTIFICATE = 1024
MAXIMUM_GENESIS = 512
MAXIMUM_ROOTS = 8
MAXIMUM_LIST = 32 * 1024
MAXIMUM_ENTRIES = 512
MAXIMUM_EPOCH = 2**63 - 1
SERIAL_LENGTH = 16

CERTIFICATE_DOMAIN = b"atmosphere certificate v1\0"
REVOCATIONS_DOMAIN = b"atmosphere revocations v1\0"
GENESIS_DOMAIN = b"atmosphere mesh v1"

_MESH_PREFIX = "mesh-"
_MESH_ALPHABET = frozenset("abcdefghijklmnopqrstuvwxyz234567")
_MESH_LENGTH = len(_MESH_PREFIX) + 26


def is_mesh_id(text: str) -> bool:
    """
    Say whether a text has the form of a mesh id.
    """
    return (
        len(text) == _MESH_LENGTH
        and text.startswith(_MESH_PREFIX)
        and _MESH_ALPHABET.issuperset(text[len(_MESH_PREFIX) :])
    )


@dataclass(frozen=True, slots=True)
class Genesis:
    """
    What a mesh begins with, and is.

    @ivar roots: the keys that may make admins.
    @ivar created: POSIX time.
    @ivar encoded: the exact bytes; the mesh id is their hash.
    """

    roots: tuple[NodeID, ...]
    created: int
    encoded: bytes = field(repr=False)

    @property
    def mesh_id(self) -> str:
        """
        The mesh's name for machines: C{mesh-} and 26 characters of base32.
        """
        digest = hashlib.sha256(GENESIS_DOMAIN + self.encoded).digest()
        return _MESH_PREFIX + base64.b32encode(digest).decode("ascii").lower()[:26]


@dataclass(frozen=True, slots=True)
class Certificate:
    """
    An issuer's word that a node belongs to a mesh, under a name and in some roles.

    @ivar encoded: the exact bytes, signature included.
    """

    mesh_id: str
    serial: bytes
    node: NodeID
    name: str
    roles: frozenset[str]
    not_before: int
    not_after: int
    issuer: NodeID
    encoded: bytes = field(repr=False)

    def is_signed(self) -> bool:
        """
        Say whether the issuer's signature holds.
        """
        body, signature = self.encoded[:-SIGNATURE_LENGTH], self.encoded[-SIGNATURE_LENGTH:]
        return self.issuer.verifies(signature, CERTIFICATE_DOMAIN + body)


@dataclass(frozen=True, slots=True)
class Chain:
    """
    A genesis and the certificates that lead from it to a node; nothing is verified yet.
    """

    genesis: Genesis
    certificates: tuple[Certificate, ...]

    @property
    def mesh_id(self) -> str:
        """
        The mesh that the genesis names.
        """
        return self.genesis.mesh_id

    @property
    def leaf(self) -> Certificate:
        """
        The certificate of the chain's subject.

        @raise DecodeError: there is none.
        """
        if not self.certificates:
            raise DecodeError("chain: there is no certificate in it")
        return self.certificates[-1]


@dataclass(frozen=True, slots=True)
class RevocationList:
    """
    Whom and what a mesh has revoked.

    @ivar epoch: grows with each list.
    @ivar time: when it was signed.
    @ivar signer: a root or an admin of the mesh.
    @ivar encoded: the list as it travels, with what shows that its signer may sign it.
    """

    mesh_id: str
    epoch: int
    time: int
    keys: frozenset[NodeID]
    serials: frozenset[bytes]
    signer: NodeID
    encoded: bytes = field(repr=False)
    genesis: Genesis = field(repr=False)
    certificates: tuple[Certificate, ...] = field(repr=False)
    statement: bytes = field(repr=False)

    def covers(self, certificate: Certificate) -> bool:
        """
        Say whether a certificate's subject, serial or issuer was revoked.
        """
        return certificate.mesh_id == self.mesh_id and (
            certificate.node in self.keys
            or certificate.serial in self.serials
            or certificate.issuer in self.keys
        )

    def is_signed(self) -> bool:
        """
        Say whether the signer's signature holds.
        """
        body, signature = self.statement[:-SIGNATURE_LENGTH], self.statement[-SIGNATURE_LENGTH:]
        return self.signer.verifies(signature, REVOCATIONS_DOMAIN + body)

    @property
    def rank(self) -> tuple[int, bytes]:
        """
        What orders lists, so that all nodes keep the same one.
        """
        return self.epoch, hashlib.sha256(self.statement).digest()

    def replaces(self, other: RevocationList | None) -> bool:
        """
        Say whether this list takes another's place: a higher epoch, and within
        one epoch the greater hash.
        """
        return other is None or self.rank > other.rank


def decode_genesis(data: bytes) -> Genesis:
    """
    Read a genesis.

    @raise DecodeError: anything else.
    """
    fields = Fields.decode(data, limit=MAXIMUM_GENESIS, what="genesis")
    fields.version()
    roots = fields.nodes(1, MAXIMUM_ROOTS, minimum=1)
    fields.number(2, 1, minimum=1)
    created = fields.time(3)
    fields.finish()
    return Genesis(roots, created, data)


def decode_certificate(data: bytes) -> Certificate:
    """
    Read a certificate; its signature is not checked here.

    @raise DecodeError: anything else.
    """
    what = "certificate"
    body, _ = split_statement(data, limit=MAXIMUM_CERTIFICATE, what=what)
    fields = Fields.decode(body, limit=MAXIMUM_CERTIFICATE, what=what)
    fields.version()
    mesh_id = fields.text(1, _MESH_LENGTH)
    serial = fields.octets(2, SERIAL_LENGTH)
    node = fields.node(3)
    name = fields.text(4, 63)
    bits = fields.number(5, 2**32 - 1)
    not_before, not_after = fields.time(6), fields.time(7)
    issuer = fields.node(8)
    fields.finish()
    if not is_mesh_id(mesh_id) or not is_valid_name(name) or not_after <= not_before:
        raise DecodeError("certificate: the mesh id, the name or the times cannot be")
    roles = frozenset(role for role, bit in ROLE_BITS if bits & bit)
    return Certificate(mesh_id, serial, node, name, roles, not_before, not_after, issuer, data)


def encode_chain(genesis: bytes, statements: Sequence[bytes]) -> bytes:
    """
    Put a genesis and statements into one array.

    @param statements: from the root's on down.
    """
    return wire.encode([genesis, *statements])


def _decode_parts(data: bytes, *, limit: int, most: int, what: str) -> tuple[Genesis, list[bytes]]:
    """
    Part what L{encode_chain} made.

    @param most: the most statements.
    @raise DecodeError: anything else.
    """
    parts = wire.decode(data, max_length=limit)
    if not isinstance(parts, list) or not 1 <= len(parts) <= most + 1:
        raise DecodeError(f"{what}: not a genesis and at most {most} statements")
    statements = [part for part in parts if isinstance(part, bytes)]
    if len(statements) != len(parts):
        raise DecodeError(f"{what}: a part is not bytes")
    return decode_genesis(statements[0]), statements[1:]


def decode_chain(data: bytes) -> Chain:
    """
    Read a chain; no signature is checked here.

    @return: the chain, with none to two certificates.
    @raise DecodeError: anything else.
    """
    genesis, parts = _decode_parts(data, limit=MAXIMUM_CHAIN, most=2, what="chain")
    return Chain(genesis, tuple(decode_certificate(part) for part in parts))


def decode_revocations(data: bytes) -> RevocationList:
    """
    Read a list as it travels; no signature is checked here.

    @raise DecodeError: anything else.
    """
    what = "revocation list"
    genesis, parts = _decode_parts(data, limit=MAXIMUM_LIST, most=2, what=what)
    if not parts:
        raise DecodeError(f"{what}: there is no list")
    statement = parts[-1]
    body, _ = split_statement(statement, limit=MAXIMUM_LIST, what=what)
    fields = Fields.decode(body, limit=MAXIMUM_LIST, what=what)
    fields.version()
    mesh_id = fields.text(1, 64)
    epoch = fields.number(2, MAXIMUM_EPOCH, minimum=1)
    time = fields.time(3)
    keys = fields.nodes(4, MAXIMUM_ENTRIES)
    serials = fields.octet_strings(5, MAXIMUM_ENTRIES, SERIAL_LENGTH, SERIAL_LENGTH)
    signer = fields.node(6)
    fields.finish()
    if mesh_id != genesis.mesh_id:
        raise DecodeError(f"{what}: the genesis is another mesh's")
    return RevocationList(
        mesh_id,
        epoch,
        time,
        frozenset(keys),
        frozenset(serials),
        signer,
        data,
        genesis,
        tuple(decode_certificate(part) for part in parts[:-1]),
        statement,
    )
