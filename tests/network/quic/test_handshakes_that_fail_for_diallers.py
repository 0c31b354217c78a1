"""
Handshakes that must fail: a hostile listener at our dialler.

The other side of L{tests.network.quic.test_handshakes_that_fail}, and the same
must hold. A listener proves itself by TLS, before the dialler has said who it
is; so these are the counterparts::

    no proof                    no certificate, or no signature beneath it
    wrong key                   the wanted node's certificate without its key; another key
    replayed, reflected proof   a signature of an earlier handshake, recorded datagrams;
                                our proof said back to us
    proof for another listener  another node answers
    expired … other mesh        the chain in the welcome, which has a file of its own:
                                L{tests.network.quic.test_welcomes_that_fail}
"""

from __future__ import annotations

import datetime
from collections.abc import Sequence

import qh3.tls
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from qh3.quic import events as quic_events
from qh3.quic.packet import encode_quic_version_negotiation

from atmosphere.identity import NodeKey
from atmosphere.network.quic.acceptance import connection_id_of
from atmosphere.network.quic.credentials import make_credentials

from .refused_case import (
    STRANGER,
    RefusedCase,
    chain_for,
    welcome,
)
from .strangers import HostileConnection, Sign, Stranger, TLSAnswer

ED25519 = int(qh3.tls.SignatureAlgorithm.ED25519)
ECDSA = int(qh3.tls.SignatureAlgorithm.ECDSA_SECP256R1_SHA256)
RSA = int(qh3.tls.SignatureAlgorithm.RSA_PSS_RSAE_SHA256)
SMALL_ORDER = b"\x01" + bytes(31)
OTHER = NodeKey(bytes([5]) * 32)
_NAME = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "atmosphere")])


def certificate_of(key: NodeKey) -> bytes:
    """
    Make the certificate that a node shows, DER.
    """
    shown = x509.load_pem_x509_certificate(make_credentials(key).certificate_pem)
    return shown.public_bytes(Encoding.DER)


def make_certificate(
    key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | NodeKey, padding_length: int = 0
) -> bytes:
    """
    Make a self-signed certificate of any algorithm and size, DER.
    """
    is_node = isinstance(key, NodeKey)
    private = key.private_key if isinstance(key, NodeKey) else key
    builder = (
        x509.CertificateBuilder()
        .subject_name(_NAME)
        .issuer_name(_NAME)
        .public_key(private.public_key())
        .serial_number(1)
        .not_valid_before(datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC))
        .not_valid_after(datetime.datetime(2050, 1, 1, tzinfo=datetime.UTC))
    )
    if padding_length:
        extension = x509.UnrecognizedExtension(
            x509.ObjectIdentifier("1.3.6.1.4.1.55555.1"), bytes(padding_length)
        )
        builder = builder.add_extension(extension, critical=False)
    return builder.sign(private, None if is_node else hashes.SHA256()).public_bytes(Encoding.DER)


def signed_by(key: NodeKey) -> Sign:
    """
    Sign what TLS wants signed.
    """
    return lambda transcript: (ED25519, key.sign(transcript))


class ListenerCase(RefusedCase):
    """
    A listener that answers TLS as a test wants it to, and welcomes whoever comes.
    """

    def answers(
        self,
        certificates: Sequence[bytes] | None,
        sign: Sign | None,
        alpn: str | None = "atmosphere/1",
        compressed: bytes | None = None,
    ) -> None:
        """
        Have the stranger answer so.
        """
        answer = TLSAnswer(certificates, sign, alpn, compressed)
        self.stranger.make = lambda cid: HostileConnection(
            make_credentials(self.stranger.key), original_cid=cid, answer=answer
        )
        self.stranger.script = welcome(chain_for(STRANGER))

    def never_proved(self, why: str, *, within: float = 0.2, is_told: bool = True) -> None:
        """
        Dial, and check that the listener is refused before it has learnt who we are.
        """
        self.dial(self.wanted)
        self.not_linked(why, within=within, is_told=is_told)
        self.assertEqual(self.stranger.said, {})


class CertificateTests(ListenerCase):
    """
    A listener has the one key that was dialled, and shows it in one small certificate.
    """

    def test_as_it_should_be(self) -> None:
        """
        The listener that these tests vary is taken, if nothing is varied.
        """
        self.answers([certificate_of(self.stranger.key)], signed_by(self.stranger.key))
        self.dial()
        self.world.run(1.0)
        self.assertEqual(len(self.linked), 1)
        self.assertTrue(self.stranger.saw(quic_events.DatagramFrameReceived))
        self.stranger.stop()
        self.node.endpoint.stop()

    def test_no_certificate(self) -> None:
        """
        Without a certificate, TLS does not end.
        """
        for certificates, sign in (
            (None, None),
            (None, signed_by(self.stranger.key)),
            ([certificate_of(self.stranger.key)], None),
        ):
            self.begin()
            self.answers(certificates, sign)
            self.never_proved("unexpected message")

    def test_empty_certificate(self) -> None:
        """
        A list of no certificates is none either.
        """
        self.answers([], signed_by(self.stranger.key))
        self.never_proved("the handshake is malformed")

    def test_certificate_without_its_key(self) -> None:
        """
        The wanted node's certificate serves nobody who cannot sign with its key.
        """
        self.wanted = OTHER.node_id
        self.answers([certificate_of(OTHER)], signed_by(self.stranger.key))
        self.never_proved("signature")

    def test_wrong_key(self) -> None:
        """
        A node that is not the one that was dialled is refused before it learns who dials.
        """
        self.wanted = OTHER.node_id
        self.answers([certificate_of(self.stranger.key)], signed_by(self.stranger.key))
        self.never_proved("the listener is another node")

    def test_other_node_answers(self) -> None:
        """
        The same, if it is an honest member whose answer was brought to us.
        """
        self.wanted = OTHER.node_id
        self.stranger.script = welcome(chain_for(STRANGER))
        self.never_proved("the listener is another node")

    def test_small_order_key(self) -> None:
        """
        A key with which one signature holds for every message is no key.
        """
        shown = certificate_of(self.stranger.key)
        shown = shown.replace(self.stranger.key.node_id.raw, SMALL_ORDER)
        self.answers([shown], lambda transcript: (ED25519, SMALL_ORDER + bytes(32)))
        self.never_proved("the key has small order")

    def test_replayed_signature(self) -> None:
        """
        What the wanted node signed in an earlier handshake does not hold in another.
        """
        signatures: list[bytes] = []

        def sign(transcript: bytes) -> tuple[int, bytes]:
            """
            Sign, and keep the signature.
            """
            signatures.append(OTHER.sign(transcript))
            return ED25519, signatures[0]

        self.wanted = OTHER.node_id
        self.answers([certificate_of(OTHER)], sign)
        self.stranger.script = welcome(chain_for(5))
        self.dial(self.wanted)
        self.world.run(1.0)
        self.assertEqual(len(self.linked), 1)
        self.stranger.stop()
        self.node.endpoint.stop()
        self.begin()
        self.answers([certificate_of(OTHER)], lambda transcript: (ED25519, signatures[0]))
        self.never_proved("signature")

    def test_other_algorithm(self) -> None:
        """
        A listener whose key is of another algorithm is refused, well signed or not.
        """
        curve = ec.derive_private_key(7, ec.SECP256R1())
        long = rsa.generate_private_key(65_537, 2_048)
        pss = padding.PSS(padding.MGF1(hashes.SHA256()), 32)
        for certificate, sign in (
            (
                make_certificate(curve),
                lambda data: (ECDSA, curve.sign(data, ec.ECDSA(hashes.SHA256()))),
            ),
            (make_certificate(long), lambda data: (RSA, long.sign(data, pss, hashes.SHA256()))),
        ):
            self.begin()
            self.answers([certificate], sign)
            self.never_proved("a signature algorithm we did not advertise")
        self.begin()
        self.answers(
            [make_certificate(curve)],
            lambda data: (ED25519, curve.sign(data, ec.ECDSA(hashes.SHA256()))),
        )
        self.never_proved("Invalid Ed25519 public key")

    def test_several_certificates(self) -> None:
        """
        Of two certificates none is taken, be the first the right one.
        """
        shown = certificate_of(self.stranger.key)
        for certificates in ([shown, shown], [shown, certificate_of(OTHER)]):
            self.begin()
            self.answers(certificates, signed_by(self.stranger.key))
            self.never_proved("several certificates")

    def test_oversized_certificate(self) -> None:
        """
        A certificate of more than 1 KiB is refused.
        """
        for length in (1_000, 4_000):
            self.begin()
            self.answers(
                [make_certificate(self.stranger.key, length)], signed_by(self.stranger.key)
            )
            self.never_proved("certificate is too large")

    def test_endless_handshake(self) -> None:
        """
        More than 8 KiB of TLS are not kept, also when the handshake seems to be over.
        """
        self.answers([certificate_of(self.stranger.key)], signed_by(self.stranger.key))

        def script(stranger: Stranger, event: object) -> None:
            """
            Begin a session ticket of 16 MiB.
            """
            if isinstance(event, quic_events.HandshakeCompleted):
                core = stranger.speaking._connection._core
                assert core is not None
                core.send_crypto(int(qh3.tls.Epoch.ONE_RTT), 0, b"\x04\xff\xff\xff" + bytes(9_000))

        self.stranger.script = script
        self.dial()
        self.not_linked("the handshake is too long")

    def test_compressed_certificate(self) -> None:
        """
        A packed certificate is not unpacked: a kilobyte may become a gigabyte.
        """
        self.answers(None, signed_by(self.stranger.key), compressed=bytes(100))
        self.never_proved("a compressed certificate is not unpacked")

    def test_no_x509(self) -> None:
        """
        What is no certificate at all is refused, and not taken for a fault of ours.
        """
        for shown in (b"", b"\x30\x82\xff\xff", bytes(200)):
            self.begin()
            self.answers([shown], signed_by(self.stranger.key))
            self.never_proved("the handshake is malformed")
            self.assertEqual(self.node.endpoint.counters.failed_inside, 0)


class TransportTests(ListenerCase):
    """
    What is not our QUIC does not become a link.
    """

    def test_garbage_after_initial(self) -> None:
        """
        A dial that is answered by garbage alone is given up after 15 s.
        """

        def answer(data: bytes) -> list[bytes]:
            """
            Answer with noise that bears the dialler's connection ID.
            """
            source = data[15:23]
            noise = bytes(each ^ 0x5A for each in data[:1_100])
            head = b"\x08" + source + b"\x08" + bytes(8)
            return [
                b"\xc0\x00\x00\x00\x01" + head + b"\x00\x44\x00" + noise,
                b"\xe0\x00\x00\x00\x01" + head + b"\x44\x00" + noise,
                b"\x40" + source + noise,
            ]

        self.stranger.answers = answer
        self.dial()
        self.not_linked("no handshake came of it within 15 s", within=15.0, is_told=False)

    def test_recorded_datagrams(self) -> None:
        """
        What the wanted node sent in an earlier handshake is noise in another.
        """
        recorded: list[bytes] = []

        def record(data: bytes) -> bytes:
            """
            Keep what is sent.
            """
            recorded.append(data)
            return data

        self.stranger.script = welcome(chain_for(STRANGER))
        self.stranger.mangle = record
        self.dial()
        self.world.run(1.0)
        self.assertEqual(len(self.linked), 1)
        self.node.endpoint.stop()
        self.stranger.stop()
        self.begin()
        self.stranger.answers = lambda data: [
            each[:6] + data[15:23] + each[14:]
            if each[0] & 0x80
            else each[:1] + data[15:23] + each[9:]
            for each in recorded
        ]
        self.dial()
        self.not_linked("no handshake came of it within 15 s", within=15.0, is_told=False)

    def test_version_mismatch(self) -> None:
        """
        A listener that says it speaks other versions only is not spoken to in another.
        """
        for versions in ([0x6B3343CF], [0x1A2A3A4A, 0xFF00001D], []):
            self.begin()
            self.stranger.answers = lambda data, versions=versions: [
                encode_quic_version_negotiation(
                    connection_id_of(data) or b"", data[15:23], versions
                )
            ]
            self.dial()
            self.not_linked("the listener speaks no version of QUIC", is_told=False)
            self.assertNotIn("it refused", self.lines[0][1])

    def test_alpn_mismatch(self) -> None:
        """
        A listener that names another protocol, or none, is not spoken to.
        """
        for alpn in ("h3", "atmosphere/2", None):
            self.begin()
            self.answers([certificate_of(self.stranger.key)], signed_by(self.stranger.key), alpn)
            self.never_proved("ALPN")
