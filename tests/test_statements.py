"""
Tests for L{atmosphere.statements}.
"""

from collections.abc import Callable

from hypothesis import given, settings, strategies as st
from twisted.trial.unittest import SynchronousTestCase

from atmosphere import wire
from atmosphere.errors import DecodeError
from atmosphere.identity import NodeKey
from atmosphere.statements import Fields, sign_statement, split_statement

KEY = NodeKey(b"\x01" * 32)
NODE = KEY.node_id


class FieldsTests(SynchronousTestCase):
    """
    An entry is what the format says, or the whole map is refused.
    """

    def assert_refused(self, take: Callable[[Fields], object], *values: object) -> None:
        """
        Check that none of some values passes as entry 1.
        """
        for value in values:
            self.assertRaises(DecodeError, take, Fields({1: value}, "test"))
        self.assertRaises(DecodeError, take, Fields({}, "test"))

    def test_numbers(self) -> None:
        """
        An integer within its bounds; true is no number.
        """
        self.assertEqual(Fields({1: 5}, "test").number(1, 5, minimum=5), 5)
        self.assertEqual(Fields({1: 0}, "test").time(1), 0)
        self.assert_refused(lambda f: f.number(1, 5, minimum=2), 1, 6, True, "3", b"3", None, [3])
        self.assert_refused(lambda f: f.time(1), -1, 2**40)

    def test_octets_and_texts(self) -> None:
        """
        Bytes and texts of the right length, one not taken for the other.
        """
        self.assertEqual(Fields({1: b"ab"}, "test").octets(1, 2), b"ab")
        self.assertEqual(Fields({1: b"a"}, "test").octets(1, 2, 0), b"a")
        self.assertEqual(Fields({1: "é"}, "test").text(1, 1), "é")
        self.assert_refused(lambda f: f.octets(1, 2), b"a", b"abc", "ab", [97, 98], None)
        self.assert_refused(lambda f: f.text(1, 2), "", "abc", b"ab", None)
        self.assertIs(Fields({1: True}, "test").flag(1), True)
        self.assert_refused(lambda f: f.flag(1), 1, None, "yes")

    def test_lists(self) -> None:
        """
        Lists are short, and every item is what it should be.
        """
        self.assertEqual(Fields({1: ["a"]}, "test").texts(1, 1, 1), ("a",))
        self.assertEqual(Fields({1: [b"a"]}, "test").octet_strings(1, 1, 1), (b"a",))
        self.assertEqual(Fields({1: [NODE.raw]}, "test").nodes(1, 1), (NODE,))
        self.assert_refused(lambda f: f.texts(1, 1, 1), ["a", "b"], ["ab"], [""], [b"a"], {}, "a")
        self.assert_refused(lambda f: f.octet_strings(1, 1, 1), [b"a", b"b"], [b"ab"], [b""], ["a"])
        self.assert_refused(lambda f: f.nodes(1, 2, 1), [], [NODE.raw] * 2, [NODE.raw[1:]], [1])
        self.assert_refused(lambda f: f.items(1, 1), [1, 2], {}, b"a")

    def test_nodes(self) -> None:
        """
        A key of small order is no node, also here.
        """
        self.assertEqual(Fields({1: NODE.raw}, "test").node(1), NODE)
        self.assert_refused(lambda f: f.node(1), bytes(32), NODE.raw + b"a", "a" * 32)

    def test_unknown_entries(self) -> None:
        """
        What nobody knows is refused, but later versions may add from 32 on.
        """
        Fields({32: "later", 99: []}, "test").finish()
        for key in (31, 0, -1, "32", b"32"):
            self.assertRaises(DecodeError, Fields({key: 1}, "test").finish)
        self.assertTrue(Fields({1: 1}, "test").has(1))
        self.assertFalse(Fields({}, "test").has(1))

    def test_version(self) -> None:
        """
        Another version is refused by its number.
        """
        Fields({0: 1}, "test").version()
        error = self.assertRaises(DecodeError, Fields({0: 2}, "test").version)
        self.assertIn("version 2", str(error))
        self.assertRaises(DecodeError, Fields, [0, 1], "test")


class StatementTests(SynchronousTestCase):
    """
    A statement is its body, and a signature for one purpose.
    """

    def test_layout(self) -> None:
        """
        The body stands first as it was signed, then 64 bytes.
        """
        data = sign_statement(KEY, b"test\0", {1: "x", 0: 1})
        body, signature = split_statement(data, limit=100, what="test")
        self.assertEqual(body, bytes.fromhex("a20001016178"))
        self.assertTrue(NODE.verifies(signature, b"test\0" + body))
        self.assertFalse(NODE.verifies(signature, b"other\0" + body))

    @settings(derandomize=True, max_examples=200, deadline=None)
    @given(st.binary(max_size=200))
    def test_any_bytes(self, data: bytes) -> None:
        """
        Any bytes are a body and a signature, or a L{DecodeError}.
        """
        try:
            body, signature = split_statement(data, limit=150, what="test")
            Fields.decode(body, limit=150, what="test").finish()
        except DecodeError:
            return
        self.assertEqual(body + signature, data)
        self.assertIsInstance(wire.decode(body, max_length=150), dict)
