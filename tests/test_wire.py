"""
Tests for L{atmosphere.wire}.
"""

from hypothesis import given, settings, strategies as st
from twisted.trial.unittest import SynchronousTestCase

from atmosphere import wire
from atmosphere.errors import DecodeError

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**64), 2**64 - 1) | st.binary() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.integers(0, 99) | st.text(max_size=4), inner, max_size=4)
    ),
    max_leaves=10,
)


class WireTests(SynchronousTestCase):
    """
    One value has one encoding.
    """

    @settings(derandomize=True, max_examples=200, deadline=None)
    @given(VALUES)
    def test_round_trip(self, value: wire.Value) -> None:
        """
        What is written reads back.
        """
        try:
            back = wire.decode(wire.encode(value), max_length=100_000)
        except DecodeError as error:
            self.assertIn("deeply", str(error))
        else:
            self.assertEqual(back, value)

    @settings(derandomize=True, max_examples=300, deadline=None)
    @given(st.binary(max_size=64))
    def test_any_bytes(self, data: bytes) -> None:
        """
        Any bytes are a value in its one encoding, or a L{DecodeError}.
        """
        try:
            value = wire.decode(data, max_length=64)
        except DecodeError:
            return
        self.assertEqual(wire.encode(value), data)

    def test_other_spellings(self) -> None:
        """
        A second spelling of a value is refused, whatever it is.
        """
        for text in (
            "1800",  # 0 in two bytes
            "9fff",  # an array of indefinite length
            "bf0102ff",  # a map of indefinite length
            "a201020103",  # a key twice
            "a202010102",  # keys out of order
            "0000",  # a byte too many
            "c074323031332d30332d32315432303a30343a30305a",  # a tag
            "f90000",  # a float
            "fb7ff8000000000000",  # not a number
            "f7",  # undefined
            "a1800000",  # an array as a key
            "5affffffff00",  # a length beyond the end
            "9bffffffffffffffff",
            "",
        ):
            self.assertRaises(DecodeError, wire.decode, bytes.fromhex(text), max_length=64)

    def test_no_tag_is_obeyed(self) -> None:
        """
        What a tag asks for, such as a regular expression to be compiled, is not done.
        """
        for number in (0, 2, 4, 5, 25, 28, 30, 35, 36, 55799, 2**64 - 1):
            data = b"\xdb" + number.to_bytes(8, "big") + b"\x60"
            error = self.assertRaises(DecodeError, wire.decode, data, max_length=64)
            self.assertEqual(str(error), "not CBOR: CBORDecodeError")

    def test_cutter(self) -> None:
        """
        A stream is cut into its messages, however it arrives; a length beyond
        the limit ends it.
        """
        stream = b"\x00\x03one\x00\x00\x00\x05three"
        for size in (1, 4, len(stream)):
            cutter = wire.MessageCutter("test", 5)
            messages = [
                message
                for at in range(0, len(stream), size)
                for message in cutter.feed(stream[at : at + size])
            ]
            self.assertEqual(messages, [b"one", b"", b"three"])
        self.assertRaises(DecodeError, list, wire.MessageCutter("test", 5).feed(b"\x00\x06"))

    def test_depth_and_length(self) -> None:
        """
        Deep nesting and long input end early and cheaply.
        """
        self.assertEqual(wire.decode(b"\x81" * 7 + b"\x80", max_length=8), [[[[[[[[]]]]]]]])
        self.assertRaises(DecodeError, wire.decode, b"\x81" * 8 + b"\x80", max_length=9)
        self.assertRaises(DecodeError, wire.decode, b"\x81" * 60_000, max_length=65_536)
        self.assertRaises(DecodeError, wire.decode, b"\x41a", max_length=1)

    def test_many_values(self) -> None:
        """
        Values that would cost far more than they take on the line are refused
        before they are worked on.
        """
        self.assertEqual(len(wire.decode(b"\x99\x1f\xff" + bytes(8_191), max_length=8_194)), 8_191)
        many = {
            b"\x99\x20\x00" + bytes(8_192): "values",
            b"\x99\xea\x60" + b"\xa0" * 60_000: "values",
        }
        many[b"\x99\x01\x01" + b"\xa0" * 257] = "maps"
        for data, word in many.items():
            error = self.assertRaises(DecodeError, wire.decode, data, max_length=65_536)
            self.assertIn(f"CBOR {word} in a message", str(error))
