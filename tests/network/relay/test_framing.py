"""
Tests for L{atmosphere.network.relay.framing}: messages are cut out of a WebSocket stream.
"""

import struct

from hypothesis import given, settings, strategies as st
from twisted.trial.unittest import SynchronousTestCase

from atmosphere.network.relay import framing
from atmosphere.network.relay.framing import (
    FrameCutter,
    Item,
    Violation,
    mask_in_place,
    message_header,
)

SETTINGS = settings(derandomize=True, max_examples=200, deadline=None)
KEY = b"\x01\x02\x03\x04"


def masked(payload: bytes, key: bytes = KEY) -> bytes:
    """
    Mask a payload the slow way.
    """
    return bytes(octet ^ key[at % 4] for at, octet in enumerate(payload))


def frame(first: int, payload: bytes, *, is_masked: bool = True) -> bytes:
    """
    Write a frame the long way (RFC 6455 section 5.2).
    """
    mask = 0x80 if is_masked else 0
    if len(payload) < 126:
        head = bytes([first, mask | len(payload)])
    elif len(payload) < 65536:
        head = struct.pack("!BBH", first, mask | 126, len(payload))
    else:
        head = struct.pack("!BBQ", first, mask | 127, len(payload))
    return head + (KEY + masked(payload) if is_masked else payload)


class CutterTests(SynchronousTestCase):
    """
    Whole messages come out, however the stream was chopped.
    """

    def cut(self, *pieces: bytes, limit: int = 70_000, is_masked: bool = True) -> list[Item]:
        """
        Cut a stream that comes in pieces.
        """
        cutter = FrameCutter(limit, is_masked=is_masked)
        items: list[Item] = []
        for piece in pieces:
            cutter.cut(piece, items)
        return items

    def refuse(self, code: int, *pieces: bytes, limit: int = 70_000) -> None:
        """
        Expect a violation.
        """
        with self.assertRaises(Violation) as caught:
            self.cut(*pieces, limit=limit)
        self.assertEqual(caught.exception.code, code)

    def test_binary(self) -> None:
        """
        Binary messages of all three forms of length come out unmasked.
        """
        for length in (0, 1, 125, 126, 65535, 65536, 65600):
            payload = bytes(range(256)) * (length // 256 + 1)
            stream = frame(0x82, payload[:length])
            self.assertEqual(self.cut(stream), [(2, payload[:length])])
            plain = frame(0x82, payload[:length], is_masked=False)
            self.assertEqual(self.cut(plain, is_masked=False), [(2, payload[:length])])

    def test_byte_by_byte(self) -> None:
        """
        A stream that comes one byte at a time gives the same messages.
        """
        stream = frame(0x82, b"a" * 200) + frame(0x81, "é".encode()) + frame(0x89, b"ping")
        pieces = [stream[at : at + 1] for at in range(len(stream))]
        expected = [(2, b"a" * 200), (1, "é".encode()), (9, frame(0x89, b"ping"))]
        self.assertEqual(self.cut(*pieces), expected)
        self.assertEqual(self.cut(stream), expected)

    @SETTINGS
    @given(
        st.lists(
            st.tuples(st.sampled_from([0x82, 0x89, 0x8A]), st.binary(max_size=125)), max_size=6
        ),
        st.lists(st.integers(1, 40), min_size=1, max_size=30),
    )
    def test_any_chopping(self, frames: list[tuple[int, bytes]], sizes: list[int]) -> None:
        """
        Where the stream is cut in two makes no difference.
        """
        stream = b"".join(frame(*each) for each in frames)
        pieces = []
        rest = stream
        for size in sizes:
            pieces.append(rest[:size])
            rest = rest[size:]
        pieces.append(rest)
        self.assertEqual(self.cut(*pieces), self.cut(stream))

    @SETTINGS
    @given(st.lists(st.binary(max_size=60), max_size=6), st.booleans())
    def test_any_bytes(self, pieces: list[bytes], is_masked: bool) -> None:
        """
        Any bytes give messages or a violation, and nothing else.
        """
        try:
            self.cut(*pieces, is_masked=is_masked)
        except Violation:
            pass

    def test_fragments(self) -> None:
        """
        Fragments are put together, with a ping in between handed on as it came.
        """
        ping = frame(0x89, b"")
        stream = frame(0x02, b"one ") + ping + frame(0x00, b"two ") + frame(0x80, b"three")
        self.assertEqual(self.cut(stream), [(9, ping), (2, b"one two three")])

    def test_fragments_out_of_order(self) -> None:
        """
        A fragment without a beginning, and a beginning inside a message, are refused.
        """
        self.refuse(1002, frame(0x80, b"lost"))
        self.refuse(1002, frame(0x02, b"one"), frame(0x82, b"two"))
        self.refuse(1002, frame(0x01, b"one"), frame(0x01, b"two"))

    def test_too_long(self) -> None:
        """
        A message over the limit is refused from its header, in fragments from the one too many.
        """
        self.refuse(1009, frame(0x82, bytes(101))[:8], limit=100)
        self.refuse(1009, frame(0x02, bytes(60)), frame(0x80, bytes(41)), limit=100)
        self.assertEqual(len(self.cut(frame(0x82, bytes(100)), limit=100)), 1)

    def test_masking(self) -> None:
        """
        A client's frame without a mask, and a server's with one, are refused.
        """
        self.refuse(1002, frame(0x82, b"x", is_masked=False))
        with self.assertRaises(Violation):
            self.cut(frame(0x82, b"x"), is_masked=False)

    def test_reserved(self) -> None:
        """
        Reserved bits and kinds of frames that are not defined are refused.
        """
        for first in (0xC2, 0xA2, 0x92, 0x83, 0x87, 0x8B, 0x8F, 0x08, 0x09, 0xC9):
            self.refuse(1002, frame(first, b"x"))

    def test_long_control_frame(self) -> None:
        """
        A control frame has at most 125 bytes.
        """
        self.refuse(1002, frame(0x89, bytes(126)))

    def test_long_forms_of_short_lengths(self) -> None:
        """
        A length that is not in its shortest form is refused.
        """
        self.refuse(1002, b"\x82\xfe\x00\x7d" + KEY + bytes(125))
        self.refuse(1002, b"\x82\xff" + (65535).to_bytes(8, "big"))
        self.refuse(1009, b"\x82\xff" + b"\xff" * 8)

    def test_text(self) -> None:
        """
        Text has to be UTF-8, over fragments too.
        """
        self.refuse(1007, frame(0x81, b"\xff"))
        halves = "é".encode()
        self.assertEqual(self.cut(frame(0x01, halves[:1]), frame(0x80, halves[1:])), [(1, halves)])

    def test_what_came_before_a_violation(self) -> None:
        """
        Messages before a violation are there.
        """
        cutter = FrameCutter(1000, is_masked=True)
        items: list[Item] = []
        with self.assertRaises(Violation):
            cutter.cut(frame(0x82, b"good") + frame(0x83, b"bad"), items)
        self.assertEqual(items, [(2, b"good")])


class MaskTests(SynchronousTestCase):
    """
    Masking is fast, and the same as the slow way.
    """

    @SETTINGS
    @given(st.binary(max_size=300), st.binary(min_size=4, max_size=4))
    def test_as_the_slow_way(self, payload: bytes, key: bytes) -> None:
        """
        The library's masker, and ours for where it is missing, do what RFC 6455 says.
        """
        native = framing._native
        for each in (native, None):
            framing._native = each
            try:
                buffer = bytearray(payload)
                mask_in_place(buffer, key)
            finally:
                framing._native = native
            self.assertEqual(bytes(buffer), masked(payload, key))

    def test_the_library_has_its_masker(self) -> None:
        """
        Autobahn's masker is where we look for it.
        """
        self.assertIsNotNone(framing._native)


class HeaderTests(SynchronousTestCase):
    """
    Headers are those of RFC 6455.
    """

    def test_headers(self) -> None:
        """
        All lengths, binary and text, masked or not.
        """
        for length in (0, 125, 126, 65535, 65536):
            payload = bytes(length)
            self.assertEqual(
                message_header(length) + payload, frame(0x82, payload, is_masked=False)
            )
        self.assertEqual(message_header(5, is_binary=False, is_masked=True), b"\x81\x85")
