"""
Tests for L{atmosphere.certificates}.
"""

from collections.abc import Callable

from hypothesis import given, settings, strategies as st
from twisted.trial.unittest import SynchronousTestCase

from atmosphere import wire
from atmosphere.certificates import (
    CERTIFICATE_DOMAIN,
    decode_certificate,
    decode_chain,
    decode_genesis,
    decode_revocations,
    encode_chain,
    is_mesh_id,
)
from atmosphere.errors import DecodeError
from atmosphere.membership import issue_revocations
from atmosphere.statements import sign_statement
from tests.mesh_fixtures import ADMIN_CHAIN, ADMIN_KEY, ALICE, BOB, ROOT, WALL, admit

GENESIS = bytes.fromhex(
    "a40001018158208a88e3dd7409f195fd52db2d3cba5d72ca6709bf1d94121bf3748801b40f6f5c0201031a6b49d200"
)
CERTIFICATE = bytes.fromhex(
    "a9000101781f6d6573682d6f74786c6465787a62356b6d6f356e766132376675736973337802500000000000"
    "00000000000000000000010358208139770ea87d175f56a35466c34c7ecccb8d8a91b4ee37a25df60f5b8fc9"
    "b3940468706f72746c616e640503061a6b49d200071a6bc079000858208a88e3dd7409f195fd52db2d3cba5d"
    "72ca6709bf1d94121bf3748801b40f6f5c84aa36c32b11d7c3f08509b8fb6246f1f41f8c7946d58b86566f29"
    "9359444abff440c309a8a84c3ba186d2a95ae20652b74109242d554c241ee74f4ad4b7650d"
)
MESH = "mesh-otxldexzb5kmo5nva27fusis3x"
LIST = issue_revocations(
    ADMIN_KEY,
    ADMIN_CHAIN,
    wall=WALL,
    current=None,
    keys=[BOB.node_id],
    serials=[bytes(16)],
)

Decoder = Callable[[bytes], object]


def certificate(**changes: object) -> bytes:
    """
    Sign a certificate with other entries, C{k3="x"} for entry 3, as the root.
    """
    body: dict[int, object] = dict(wire.decode(CERTIFICATE[:-64], max_length=1024))
    for key, value in changes.items():
        if value is None:
            del body[int(key[1:])]
        else:
            body[int(key[1:])] = value
    return sign_statement(ROOT, CERTIFICATE_DOMAIN, body)


class VectorTests(SynchronousTestCase):
    """
    The bytes of version 1 stay what they are.
    """

    def test_genesis(self) -> None:
        """
        The mesh id is a hash of the genesis, in base32.
        """
        genesis = decode_genesis(GENESIS)
        self.assertEqual(genesis.roots, (ROOT.node_id,))
        self.assertEqual(genesis.created, WALL)
        self.assertEqual(genesis.mesh_id, MESH)

    def test_certificate(self) -> None:
        """
        Every entry of a certificate is read, and its signature holds.
        """
        found = decode_certificate(CERTIFICATE)
        self.assertEqual(found.mesh_id, MESH)
        self.assertEqual(found.serial, b"\0" * 15 + b"\1")
        self.assertEqual(found.node, ADMIN_KEY.node_id)
        self.assertEqual(found.name, "portland")
        self.assertEqual(found.roles, {"member", "admin"})
        self.assertEqual((found.not_before, found.not_after), (WALL, WALL + 90 * 86400))
        self.assertEqual(found.issuer, ROOT.node_id)
        self.assertTrue(found.is_signed())
        self.assertEqual(found.encoded, CERTIFICATE)

    def test_chain(self) -> None:
        """
        A chain is the genesis and what follows, and is small.
        """
        self.assertEqual(ADMIN_CHAIN, encode_chain(GENESIS, [CERTIFICATE]))
        chain = decode_chain(ADMIN_CHAIN)
        self.assertEqual(chain.mesh_id, MESH)
        self.assertEqual(chain.leaf.encoded, CERTIFICATE)
        self.assertLess(len(admit(ALICE.node_id, "x" * 63)), 600)

    def test_revocations(self) -> None:
        """
        A list names keys and serials.
        """
        found = decode_revocations(LIST.encoded)
        self.assertEqual(found, LIST)
        self.assertEqual(found.keys, {BOB.node_id})
        self.assertEqual(found.serials, {bytes(16)})
        self.assertEqual((found.epoch, found.time), (1, WALL))
        self.assertTrue(found.is_signed())

    def test_mesh_ids(self) -> None:
        """
        A mesh id is known by its form.
        """
        self.assertTrue(is_mesh_id(MESH))
        for text in ("", MESH[:-1], MESH + "a", MESH.upper(), "mesh-" + "1" * 26, "x" * 31):
            self.assertFalse(is_mesh_id(text))


class RefusedTests(SynchronousTestCase):
    """
    Statements say exactly what the format says, signed or not.
    """

    def test_certificates(self) -> None:
        """
        A wrong entry, one too many or one too few is refused.
        """
        decode_certificate(certificate())
        decode_certificate(certificate(k32="from later", k5=0xFFFFFFFF))
        for bad in (
            certificate(k0=2),
            certificate(k1="mesh-x"),
            certificate(k1=None),
            certificate(k2=b"short"),
            certificate(k3=bytes(32)),
            certificate(k4="Upper"),
            certificate(k4="new\nline"),
            certificate(k4=""),
            certificate(k5=-1),
            certificate(k5=2**32),
            certificate(k7=int(WALL)),
            certificate(k7=2**50),
            certificate(k8="issuer"),
            certificate(k9=0),
            certificate(k33=b"x" * 1024),
            b"",
            CERTIFICATE[:64],
            CERTIFICATE + b"\0",
        ):
            self.assertRaises(DecodeError, decode_certificate, bad)

    def test_genesis(self) -> None:
        """
        One to eight roots, one of which signs.
        """
        root = ROOT.node_id.raw
        for body in (
            {0: 1, 1: [], 2: 1, 3: 0},
            {0: 1, 1: [root, root], 2: 1, 3: 0},
            {0: 1, 1: [root], 2: 2, 3: 0},
            {0: 1, 1: [root], 2: 1},
            {0: 2, 1: [root], 2: 1, 3: 0},
            {0: 1, 1: [root], 2: 1, 3: 0, 32: b"x" * 512},
        ):
            self.assertRaises(DecodeError, decode_genesis, wire.encode(body))

    def test_chains(self) -> None:
        """
        A chain has a genesis and at most two certificates, and is one array.
        """
        for parts in (
            [],
            [GENESIS, CERTIFICATE, CERTIFICATE, CERTIFICATE],
            [CERTIFICATE],
            [GENESIS, "text"],
            {0: GENESIS},
            GENESIS,
        ):
            self.assertRaises(DecodeError, decode_chain, wire.encode(parts))
        self.assertRaises(DecodeError, decode_chain, ADMIN_CHAIN + b"\0")
        self.assertRaises(DecodeError, decode_chain, bytes(4097))
        empty = decode_chain(encode_chain(GENESIS, []))
        self.assertRaises(DecodeError, lambda: empty.leaf)

    def test_revocations(self) -> None:
        """
        A list belongs to its genesis' mesh, and has an epoch.
        """
        body = {0: 1, 1: MESH, 2: 1, 3: 0, 4: [], 5: [], 6: ROOT.node_id.raw}
        for changes in (
            {1: "mesh-" + "a" * 26},
            {2: 0},
            {2: 2**63},
            {4: [bytes(32)]},
            {4: [ROOT.node_id.raw] * 2},
            {5: [b"short"]},
            {7: 1},
        ):
            statement = sign_statement(ROOT, b"", body | changes)
            encoded = encode_chain(GENESIS, [statement])
            self.assertRaises(DecodeError, decode_revocations, encoded)
        decode_revocations(encode_chain(GENESIS, [sign_statement(ROOT, b"", body)]))
        self.assertRaises(DecodeError, decode_revocations, encode_chain(GENESIS, []))


class AnyBytesTests(SynchronousTestCase):
    """
    Whatever comes is a value or a L{DecodeError}.
    """

    @settings(derandomize=True, max_examples=200, deadline=None)
    @given(
        st.sampled_from([decode_genesis, decode_certificate, decode_chain, decode_revocations]),
        st.binary(max_size=300),
    )
    def test_any_bytes(self, decode: Decoder, data: bytes) -> None:
        """
        Random bytes are none of these.
        """
        self.assertRaises(DecodeError, decode, data)

    @settings(derandomize=True, max_examples=300, deadline=None)
    @given(
        st.sampled_from(
            [
                (decode_genesis, GENESIS),
                (decode_certificate, CERTIFICATE),
                (decode_chain, ADMIN_CHAIN),
                (decode_revocations, LIST.encoded),
            ]
        ),
        st.integers(0, 2000),
        st.integers(1, 255),
    )
    def test_any_flipped_byte(self, sample: tuple[Decoder, bytes], place: int, change: int) -> None:
        """
        A flipped byte makes other values or a L{DecodeError}, and never the same value.
        """
        decode, good = sample
        data = bytearray(good)
        data[place % len(data)] ^= change
        try:
            found = decode(bytes(data))
        except DecodeError:
            return
        self.assertNotEqual(found, decode(good))
