"""
Tests for L{atmosphere.network.relay.frames}: what a frame looks like.
"""

from twisted.trial.unittest import SynchronousTestCase

from atmosphere.addresses import TransportAddress
from atmosphere.identity import NodeKey
from atmosphere.network.relay.frames import (
    Absent,
    Challenge,
    Drain,
    HelloCredentials,
    Notice,
    NoticeCode,
    Ping,
    Pong,
    Refused,
    RefusedCode,
    Welcome,
    signed_bytes,
)

KEY = NodeKey(b"k" * 32)


class LayoutTests(SynchronousTestCase):
    """
    Frames have the layouts of the protocol's description.
    """

    def test_challenge(self) -> None:
        """
        A challenge is its type, 32 bytes, and the time in milliseconds.
        """
        frame = Challenge(b"n" * 32, 1.5).encode()
        self.assertEqual(frame, b"\x01" + b"n" * 32 + bytes(6) + b"\x05\xdc")

    def test_small_frames(self) -> None:
        """
        Absent, ping and pong are their type and what they carry.
        """
        raw = KEY.node_id.raw
        self.assertEqual(Absent(KEY.node_id).encode(), b"\x12" + raw)
        self.assertEqual(Ping(b"12345678").encode(), b"\x3012345678")
        self.assertEqual(Pong(b"12345678").encode(), b"\x3112345678")

    def test_notice_and_refused(self) -> None:
        """
        A notice and a refusal are a code of two bytes and a text.
        """
        self.assertEqual(Notice(NoticeCode.RATE, "slow").encode(), b"\x21\x00\x01slow")
        self.assertEqual(Refused(RefusedCode.FULL, "full").encode(), b"\x22\x00\x07full")

    def test_a_long_text_is_cut_between_characters(self) -> None:
        """
        A text of more than 512 bytes is cut, and stays UTF-8.
        """
        frame = Notice(0, "é" * 511 + "a").encode()
        self.assertEqual(frame[3:].decode("utf-8"), "é" * 256)
        self.assertEqual(Notice(0, "aé" * 400).encode()[3:].decode("utf-8"), "aé" * 170 + "a")

    def test_maps_are_deterministic(self) -> None:
        """
        A welcome and a drain have one spelling.
        """
        welcome = Welcome(TransportAddress("192.0.2.1", 7), (3478,), 0.001)
        self.assertEqual(
            welcome.encode().hex(),
            "03a7646d65736860646f70656ef4647261746500647374756e81190d966474696d650165627572737400"
            "686f627365727665646b3139322e302e322e313a37",
        )
        self.assertEqual(
            Drain(5, ("wss://b",)).encode().hex(),
            "20a2677365636f6e6473056c616c7465726e61746976657381677773733a2f2f62",
        )

    def test_what_is_signed(self) -> None:
        """
        The authority and the mesh carry their lengths, so that no two hellos share a signature.
        """
        node = KEY.node_id
        self.assertEqual(
            signed_bytes("relay:8080", b"n" * 32, node, "mesh-a"),
            b"atmosphere relay v1\x0arelay:8080" + b"n" * 32 + node.raw + b"\x06mesh-a",
        )
        self.assertRaises(ValueError, signed_bytes, "h" * 256, b"n" * 32, node, "")
        self.assertRaises(ValueError, signed_bytes, "h", b"n" * 32, node, "m" * 65)

    def test_credentials_are_not_shown(self) -> None:
        """
        Chains and tickets do not end up in logs by way of a representation.
        """
        shown = repr(HelloCredentials("mesh-a", b"chainbytes", b"ticketbytes"))
        self.assertNotIn("bytes", shown)
        self.assertIn("mesh-a", shown)
