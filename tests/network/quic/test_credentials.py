"""
Tests for L{atmosphere.network.quic.credentials}.
"""

from cryptography import x509
from twisted.trial.unittest import SynchronousTestCase

from atmosphere.errors import DecodeError, IdentityError
from atmosphere.identity import NodeKey
from atmosphere.network.quic.credentials import (
    MAX_CERTIFICATE_LENGTH,
    make_credentials,
    node_id_of_public_key,
)

PREFIX = bytes.fromhex("302a300506032b6570032100")


class CredentialsTests(SynchronousTestCase):
    """
    One key has one small certificate, and the key reads back from it.
    """

    def test_one_certificate(self) -> None:
        """
        The same key makes the same certificate, with no clock and no chance in it.
        """
        key = NodeKey(b"\x05" * 32)
        first, second = make_credentials(key), make_credentials(key)
        self.assertEqual(first, second)
        certificate = x509.load_pem_x509_certificate(first.certificate_pem)
        self.assertEqual(certificate.public_key(), key.private_key.public_key())
        self.assertLess(len(first.certificate_pem), MAX_CERTIFICATE_LENGTH)

    def test_nothing_is_shown(self) -> None:
        """
        The representation names the node and not its key.
        """
        credentials = make_credentials(NodeKey(b"\x05" * 32))
        self.assertNotIn("PRIVATE", repr(credentials))
        self.assertIn(credentials.node_id.short, repr(credentials))

    def test_public_key(self) -> None:
        """
        The node ID reads back from the key's DER; other forms are refused.
        """
        node_id = NodeKey(b"\x05" * 32).node_id
        self.assertEqual(node_id_of_public_key(PREFIX + node_id.raw), node_id)
        for bad in (
            b"",
            node_id.raw,
            PREFIX + node_id.raw + b"\x00",
            PREFIX[:-1] + b"\x01" + node_id.raw,
        ):
            self.assertRaises(DecodeError, node_id_of_public_key, bad)
        self.assertRaises(IdentityError, node_id_of_public_key, PREFIX + bytes(32))
