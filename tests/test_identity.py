"""
Tests for L{atmosphere.identity}.
"""

from hypothesis import given, settings, strategies as st
from twisted.trial.unittest import SynchronousTestCase

from atmosphere.errors import IdentityError
from atmosphere.identity import NodeID, NodeKey, Secret

_PRIME = 2**255 - 19

# The 8 points of small order, as listed for Ed25519 and Curve25519 by their users,
# and the encodings of 0 and 1 that are not canonical; the top bit is the sign of x.
_SMALL_ORDER = [
    "0000000000000000000000000000000000000000000000000000000000000000",
    "0000000000000000000000000000000000000000000000000000000000000080",
    "0100000000000000000000000000000000000000000000000000000000000000",
    "0100000000000000000000000000000000000000000000000000000000000080",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
]
_NOT_CANONICAL = [
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
    "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
]


class NodeIDTests(SynchronousTestCase):
    """
    A node ID is a key that is safe to trust, in one spelling.
    """

    def test_small_order_is_refused(self) -> None:
        """
        A key with which any message seems signed cannot name a node.
        """
        for text in _SMALL_ORDER:
            error = self.assertRaises(IdentityError, NodeID, bytes.fromhex(text))
            self.assertIn("small order", str(error))

    def test_not_canonical_is_refused(self) -> None:
        """
        A second encoding of the same key is no second node.
        """
        for text in _NOT_CANONICAL:
            error = self.assertRaises(IdentityError, NodeID, bytes.fromhex(text))
            self.assertIn("canonical", str(error))

    def test_wrong_length_is_refused(self) -> None:
        """
        Only 32 bytes are a key.
        """
        for length in (0, 31, 33):
            self.assertRaises(IdentityError, NodeID, b"\x05" * length)

    def test_text(self) -> None:
        """
        The text has 52 characters and reads back; its short form begins it.
        """
        node_id = NodeKey(b"\x07" * 32).node_id
        text = str(node_id)
        self.assertEqual(len(text), 52)
        self.assertEqual(text, text.lower())
        self.assertEqual(NodeID.from_text(text), node_id)
        self.assertTrue(text.startswith(node_id.short))
        self.assertEqual(len(node_id.short), 10)

    def test_one_spelling(self) -> None:
        """
        Capitals, other lengths and stray bits in the last character are refused.
        """
        text = str(NodeKey(b"\x07" * 32).node_id)
        last = {"a": "b", "q": "r"}[text[-1]]
        for other in (text.upper(), text[:-1], text + "a", text[:-1] + last, "é" * 52, ""):
            self.assertRaises(IdentityError, NodeID.from_text, other)

    @settings(derandomize=True, max_examples=200, deadline=None)
    @given(st.text(max_size=60))
    def test_any_text(self, text: str) -> None:
        """
        Any text is a node ID or an L{IdentityError}.
        """
        try:
            NodeID.from_text(text)
        except IdentityError:
            return
        self.assertEqual(len(text), 52)


class NodeKeyTests(SynchronousTestCase):
    """
    A private key signs, and never shows itself.
    """

    def test_rfc_8032_vector(self) -> None:
        """
        The first test vector of RFC 8032 §7.1 comes out to the byte.
        """
        key = NodeKey(
            bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")
        )
        self.assertEqual(
            key.node_id.raw.hex(),
            "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        )
        signature = key.sign(b"")
        self.assertTrue(signature.hex().startswith("e5564300c360ac729086e2cc806e828a"))
        self.assertTrue(key.node_id.verifies(signature, b""))

    def test_foreign_signature(self) -> None:
        """
        Another message, another key or a cut signature does not verify.
        """
        key, other = NodeKey(b"\x01" * 32), NodeKey(b"\x02" * 32)
        signature = key.sign(b"hello")
        self.assertTrue(key.node_id.verifies(signature, b"hello"))
        self.assertFalse(key.node_id.verifies(signature, b"hellp"))
        self.assertFalse(other.node_id.verifies(signature, b"hello"))
        self.assertFalse(key.node_id.verifies(signature[:-1], b"hello"))

    def test_nothing_is_shown(self) -> None:
        """
        No representation contains a byte of the seed.
        """
        key = NodeKey(b"\xabsecret seed, thirty-two bytes.."[:32])
        for shown in (repr(key), repr(key.seed), str(key.seed), f"{Secret(b'secret')}"):
            self.assertNotIn("secret", shown)
        self.assertEqual(repr(key.seed), "<redacted>")
        self.assertEqual(NodeKey(key.seed.reveal()).node_id, key.node_id)

    def test_secrets_are_not_compared(self) -> None:
        """
        C{==} on secrets would take a time that tells; it never says yes.
        """
        self.assertNotEqual(Secret(b"a"), Secret(b"a"))
        self.assertRaises(TypeError, hash, Secret(b"a"))

    def test_wrong_length(self) -> None:
        """
        A seed of another length is refused.
        """
        self.assertRaises(IdentityError, NodeKey, b"short")
