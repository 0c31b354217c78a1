"""
Tests for L{atmosphere.mesh.framing}.
"""

from hypothesis import given, settings, strategies as st
from twisted.trial.unittest import SynchronousTestCase

from atmosphere.errors import DecodeError
from atmosphere.mesh.framing import MessageReader, RequestReader, encode_message


class FramingTests(SynchronousTestCase):
    """
    Messages come out of a stream as they went in, however it was cut.
    """

    @settings(derandomize=True, max_examples=200, deadline=None)
    @given(st.lists(st.integers(0, 9), max_size=4), st.integers(1, 9))
    def test_any_cut(self, values: list[int], size: int) -> None:
        """
        The pieces in which bytes arrive make no difference.
        """
        data = b"".join(encode_message({"value": value}) for value in values)
        reader = MessageReader("test", 64)
        found = []
        for start in range(0, len(data), size):
            found += [m.number("value", 9) for m in reader.receive(data[start : start + size])]
        self.assertEqual(found, values)

    def test_too_long(self) -> None:
        """
        A long message is refused by its length alone; so is too much in all.
        """
        self.assertRaises(DecodeError, MessageReader("test", 64).receive, b"\x00\x41")
        reader = MessageReader("test", 64, 10)
        reader.receive(encode_message({"a": 1}))
        self.assertRaises(DecodeError, reader.receive, encode_message({"b": 1}))
        self.assertRaises(ValueError, encode_message, {"a": bytes(60 * 1024)})

    def test_one_request(self) -> None:
        """
        A request may come in pieces; a second one is refused, together with the
        first or later.
        """
        request = encode_message({"a": 1})
        reader = RequestReader("test", 64)
        self.assertIsNone(reader.receive(request[:3]))
        found = reader.receive(request[3:])
        assert found is not None
        self.assertEqual(found.number("a", 9), 1)
        self.assertRaises(DecodeError, reader.receive, request)
        self.assertRaises(DecodeError, RequestReader("test", 64).receive, request * 2)

    def test_no_maps(self) -> None:
        """
        A message is a map; an empty one is none at all.
        """
        for data in (b"\x00\x00", b"\x00\x01\x80", b"\x00\x01\xff"):
            self.assertRaises(DecodeError, MessageReader("test", 64).receive, data)

    @settings(derandomize=True, max_examples=200, deadline=None)
    @given(st.binary(max_size=100))
    def test_any_bytes(self, data: bytes) -> None:
        """
        Any bytes are messages, the beginning of one, or a L{DecodeError}.
        """
        reader = MessageReader("test", 50)
        try:
            reader.receive(data)
        except DecodeError:
            return
        self.assertLessEqual(len(reader._cutter._buffer), 52)
