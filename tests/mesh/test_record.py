"""
Tests for L{atmosphere.mesh.record}.
"""

from typing import Any

from hypothesis import given, settings, strategies as st
from twisted.trial.unittest import SynchronousTestCase

from atmosphere import wire
from atmosphere.addresses import TransportAddress
from atmosphere.errors import DecodeError
from atmosphere.mesh.record import RECORD_DOMAIN, NodeRecord, decode_record, sign_record
from atmosphere.statements import sign_statement
from tests.mesh_fixtures import ALICE, MESH, WALL

PINNED = bytes.fromhex(
    "a9000101781f6d6573682d6f74786c6465787a62356b6d6f356e7661323766757369733378025820ed4928c6"
    "28d1c2c6eae90338905995612959273a5c63f93636c14614ac8737d10305041a6b49d200058246c00002011e"
    "615220010db80000000000000000000000011e610681777773733a2f2f72656c61792e6578616d706c652e6f"
    "726707826373736864687474700865302e312e30f713f3ba4cbe8701ebb45f185990cf6452b4e25be9463d98"
    "404a08ecd7b058190b0a8f9892df4b2864d420ca9a985f45b1a5887793b09089f05926b89eba940b"
)


def make(**changes: Any) -> NodeRecord:
    """
    Sign a record as Alice.
    """
    arguments: dict[str, Any] = {
        "wall": WALL,
        "endpoints": [
            TransportAddress("192.0.2.1", 7777),
            TransportAddress("2001:db8::1", 7777),
        ],
        "relays": ["wss://relay.example.org"],
        "services": ["ssh", "http"],
        "version": "0.1.0",
    }
    return sign_record(ALICE, MESH, 5, **(arguments | changes))


class RecordTests(SynchronousTestCase):
    """
    A record says where a node is, in its own words.
    """

    def test_round_trip(self) -> None:
        """
        What is written reads back, and its signature holds.
        """
        record = make()
        self.assertEqual(decode_record(record.encoded), record)
        self.assertTrue(record.is_signed())
        self.assertEqual(record.endpoints[1], TransportAddress("2001:db8::1", 7777))
        self.assertEqual(record.sequence, 5)
        bare = sign_record(ALICE, MESH, 1, wall=WALL)
        self.assertEqual((bare.endpoints, bare.relays, bare.version), ((), (), ""))

    def test_vector(self) -> None:
        """
        The bytes of version 1 stay what they are.
        """
        self.assertEqual(make().encoded, PINNED)

    def test_forged(self) -> None:
        """
        Other words under the same signature do not hold.
        """
        record = make()
        body = record.encoded[:-64].replace(b"ssh", b"ftp")
        self.assertFalse(decode_record(body + record.encoded[-64:]).is_signed())

    def test_bad_values(self) -> None:
        """
        Too many addresses, relays that are none, and too much in all are refused.
        """
        address = TransportAddress("192.0.2.1", 7777)
        for changes in (
            {"endpoints": [address] * 17},
            {"relays": ["wss://relay.example.org"] * 9},
            {"relays": ["http://relay.example.org"]},
            {"relays": ["wss://" + "a" * 300]},
            {"services": ["s"] * 33},
            {"services": [""]},
            {"services": ["s" * 65]},
            {"services": ["s" * 64] * 32},
            {"version": "v" * 33},
            {"wall": -1.0},
        ):
            self.assertRaises(DecodeError, make, **changes)
        for sequence in (0, 2**63):
            self.assertRaises(DecodeError, sign_record, ALICE, MESH, sequence, wall=WALL)
        self.assertRaises(DecodeError, sign_record, ALICE, "mesh", 1, wall=WALL)

    def test_bad_entries(self) -> None:
        """
        A wrong or unknown entry is refused, one of a later version skipped.
        """
        body = dict(wire.decode(PINNED[:-64], max_length=2048))
        for changes in ({0: 2}, {2: bytes(32)}, {5: [bytes(7)]}, {5: [bytes(5)]}, {9: 1}, {5: 1}):
            data = sign_statement(ALICE, RECORD_DOMAIN, body | changes)
            self.assertRaises(DecodeError, decode_record, data)
        later = decode_record(sign_statement(ALICE, RECORD_DOMAIN, body | {40: "more"}))
        self.assertTrue(later.is_signed())

    @settings(derandomize=True, max_examples=200, deadline=None)
    @given(st.binary(max_size=200))
    def test_any_bytes(self, data: bytes) -> None:
        """
        Random bytes are no record.
        """
        self.assertRaises(DecodeError, decode_record, data)

    @settings(derandomize=True, max_examples=200, deadline=None)
    @given(st.integers(0, 1000), st.integers(1, 255))
    def test_any_flipped_byte(self, place: int, change: int) -> None:
        """
        A record with a flipped byte is none, or does not hold.
        """
        data = bytearray(PINNED)
        data[place % len(data)] ^= change
        try:
            record = decode_record(bytes(data))
        except DecodeError:
            return
        self.assertFalse(record.is_signed())
