# -*- test-case-name: tests.network.quic.test_credentials -*-
"""
What a listener shows in the TLS handshake, and how the dialler pins it.

The certificate is self-signed by the node's Ed25519 key (RFC 8410) and says
nothing else of worth: a dialler looks at the raw key alone and ignores every
other field. It is made without a clock and without chance, so one key has one
certificate.
"""

from __future__ import annotations

import datetime
from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.x509.oid import NameOID
from typing_extensions import override

from atmosphere.errors import DecodeError, IdentityError
from atmosphere.identity import NodeID, NodeKey

__all__ = ["Credentials", "make_credentials", "node_id_of_public_key"]

_SPKI_PREFIX = bytes.fromhex("302a300506032b6570032100")
_NOT_BEFORE = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)
_NOT_AFTER = datetime.datetime(9999, 12, 31, 23, 59, 59, tzinfo=datetime.UTC)

MAX_CERTIFICATE_LENGTH = 1024


@dataclass(frozen=True, slots=True, repr=False)
class Credentials:
    """
    A node's certificate and key in the form that the QUIC library reads.

    @ivar node_id: whose they are.
    @ivar certificate_pem: the self-signed certificate, PEM.
    @ivar private_key_pem: the key, PKCS #8 in PEM; never shown.
    """

    node_id: NodeID
    certificate_pem: bytes
    private_key_pem: bytes

    @override
    def __repr__(self) -> str:
        return f"<Credentials of {self.node_id.short}>"


def make_credentials(key: NodeKey) -> Credentials:
    """
    Make the certificate that pins a node's key.

    @see: RFC 8410 for Ed25519 in certificates.
    """
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "atmosphere")])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.private_key.public_key())
        .serial_number(1)
        .not_valid_before(_NOT_BEFORE)
        .not_valid_after(_NOT_AFTER)
        .sign(key.private_key, None)
    )
    return Credentials(
        key.node_id,
        certificate.public_bytes(serialization.Encoding.PEM),
        key.private_key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        ),
    )


def node_id_of_public_key(spki: bytes) -> NodeID:
    """
    Read the node ID out of a certificate's SubjectPublicKeyInfo.

    @param spki: DER; for Ed25519 a fixed prefix of 12 bytes and the key's 32.
    @raise DecodeError: another algorithm or form.
    @raise IdentityError: a key that may not name a node.
    @see: RFC 8410 §4
    """
    if len(spki) != len(_SPKI_PREFIX) + 32 or not spki.startswith(_SPKI_PREFIX):
        raise DecodeError("the certificate's key is not Ed25519", section="RFC 8410 §4")
    try:
        return NodeID(spki[len(_SPKI_PREFIX) :])
    except IdentityError as error:
        raise IdentityError(f"the certificate's key: {error}") from error
