"""
Tests for L{atmosphere.mesh.code_text}.
"""

from hypothesis import given, settings, strategies as st
from twisted.trial.unittest import SynchronousTestCase

from atmosphere.errors import DecodeError
from atmosphere.mesh.code_text import (
    Values,
    decode_base64,
    decode_compact,
    decode_json,
    encode_base64,
    is_relay_url,
)


class Base64Tests(SynchronousTestCase):
    """
    Bytes have one spelling, padding aside.
    """

    @settings(derandomize=True, max_examples=200, deadline=None)
    @given(st.binary(max_size=50))
    def test_round_trip(self, data: bytes) -> None:
        """
        What is written reads back.
        """
        self.assertEqual(decode_base64(encode_base64(data)), data)

    def test_other_spellings(self) -> None:
        """
        The other alphabet, stray bits and foreign letters are refused.
        """
        self.assertEqual(decode_base64("-_8="), b"\xfb\xff")
        for text in ("+/8=", "-_9=", "A", "AA=A", "é", "A A=", "AAAAA"):
            self.assertRaises(DecodeError, decode_base64, text)

    @settings(derandomize=True, max_examples=200, deadline=None)
    @given(st.text(max_size=20))
    def test_any_text(self, text: str) -> None:
        """
        Any text is bytes or a L{DecodeError}.
        """
        try:
            data = decode_compact(text, "x-")
        except DecodeError:
            return
        self.assertLessEqual(len(data), len(text))


class JSONTests(SynchronousTestCase):
    """
    JSON is read as the standard says, not as the library does.
    """

    def test_depth(self) -> None:
        """
        Seven levels in the object are deep enough.
        """
        decode_json(b'{"a":' + b"[" * 6 + b"1" + b"]" * 6 + b"}")
        self.assertRaises(DecodeError, decode_json, b'{"a":' + b"[" * 8 + b"]" * 8 + b"}")

    def test_numbers(self) -> None:
        """
        An integer is one, within its bounds.
        """
        self.assertEqual(Values({"a": 2}).number("a", 2, 2), 2)
        for value in (True, 1.0, "1", None, 3, -1):
            self.assertRaises(DecodeError, Values({"a": value}).number, "a", 2)

    @settings(derandomize=True, max_examples=200, deadline=None)
    @given(st.binary(max_size=60) | st.text('[]{}":,1e.-NaInfy\\u ', max_size=60).map(str.encode))
    def test_any_bytes(self, raw: bytes) -> None:
        """
        Any bytes are an object or a L{DecodeError}.
        """
        try:
            decode_json(raw).finish()
        except DecodeError:
            return
        self.assertEqual(raw.strip()[:1], b"{")


class RelayURLTests(SynchronousTestCase):
    """
    A relay's URL is a scheme, a host, perhaps a port and a path.
    """

    def test_urls(self) -> None:
        """
        No user, no fragment, no other scheme, nothing that cannot be seen.
        """
        for text in ("ws://relay:8080", "wss://relay.example.org/x?y", "wss://[2001:db8::1]:443/"):
            self.assertTrue(is_relay_url(text), text)
        for text in (
            "",
            "relay:8080",
            "http://relay",
            "ws:///path",
            "ws://u:p@relay",
            "ws://relay:0",
            "ws://relay:99999",
            "ws://[relay",
            "ws://relay/#x",
            "ws://rélay",
            "ws://relay/\n",
            "ws://relay/ x",
            "ws://" + "r" * 252,
        ):
            self.assertFalse(is_relay_url(text), text)
