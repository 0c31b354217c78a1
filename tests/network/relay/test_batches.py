"""
Tests for L{atmosphere.network.relay.batches}: many datagrams in a frame.
"""

from hypothesis import given, settings, strategies as st
from twisted.trial.unittest import SynchronousTestCase

from atmosphere.errors import DecodeError
from atmosphere.network.relay.batches import (
    BATCH_HEADER,
    MAX_BATCH,
    MAX_DATAGRAMS,
    check_batch,
    encode_batches,
    is_probe,
    split_batch,
)
from atmosphere.network.relay.frames import MAX_MESSAGE, FrameType

PEER = bytes(range(32))
SETTINGS = settings(derandomize=True, max_examples=200, deadline=None)


def unpack(frames: list[bytes]) -> list[bytes]:
    """
    Take frames apart again.
    """
    return [
        datagram
        for frame in frames
        for datagram in split_batch(check_batch(frame), frame[BATCH_HEADER:])
    ]


class EncodeTests(SynchronousTestCase):
    """
    Datagrams are put into as few frames as their sizes allow.
    """

    def test_equal_sizes_share_a_frame(self) -> None:
        """
        Datagrams of one size and a shorter last one need one frame.
        """
        frames = encode_batches(FrameType.SEND, PEER, [b"aaaa", b"bbbb", b"cc"])
        self.assertEqual(frames, [b"\x10" + PEER + b"\x00\x04aaaabbbbcc"])

    def test_a_longer_one_begins_a_frame(self) -> None:
        """
        A datagram that is longer than those before it needs a new frame.
        """
        frames = encode_batches(FrameType.DELIVER, PEER, [b"a", b"bb", b"c", b"d"])
        self.assertEqual([frame[33:] for frame in frames], [b"\0\1a", b"\0\2bbc", b"\0\1d"])

    def test_no_more_than_64(self) -> None:
        """
        The 65th datagram goes into a second frame.
        """
        frames = encode_batches(FrameType.SEND, PEER, [b"x"] * (MAX_DATAGRAMS + 1))
        self.assertEqual([len(frame) - BATCH_HEADER for frame in frames], [64, 1])

    def test_no_frame_is_too_long(self) -> None:
        """
        What would make a frame too long goes into the next.
        """
        frames = encode_batches(FrameType.SEND, PEER, [bytes(1400)] * 50)
        self.assertEqual(len(frames), 2)
        self.assertTrue(all(len(frame) <= MAX_MESSAGE for frame in frames))

    def test_sizes_that_cannot_be(self) -> None:
        """
        Empty datagrams, and those longer than UDP's, are refused.
        """
        for datagram in (b"", bytes(65_536)):
            self.assertRaises(ValueError, encode_batches, FrameType.SEND, PEER, [datagram])
        self.assertEqual(encode_batches(FrameType.SEND, PEER, []), [])

    @SETTINGS
    @given(st.lists(st.binary(min_size=1, max_size=3000), max_size=80))
    def test_round_trip(self, datagrams: list[bytes]) -> None:
        """
        All datagrams come out again, in order.
        """
        frames = encode_batches(FrameType.SEND, PEER, datagrams)
        self.assertEqual(unpack(frames), datagrams)


class CheckTests(SynchronousTestCase):
    """
    A batch that is none is refused.
    """

    def test_lies_about_sizes(self) -> None:
        """
        No datagrams, a size of zero, too many, and too long are refused.
        """
        head = b"\x10" + PEER
        for message in (
            head,
            head + b"\x00\x04",
            head + b"\x00\x00abcd",
            head + b"\x00\x01" + b"x" * 65,
            head + b"\xff\xff" + bytes(MAX_BATCH + 1),
        ):
            with self.assertRaises(DecodeError):
                check_batch(message)

    @SETTINGS
    @given(st.binary(max_size=200))
    def test_any_bytes(self, message: bytes) -> None:
        """
        Any bytes are a batch of 1 to 64 datagrams, or a DecodeError.
        """
        try:
            size = check_batch(message)
        except DecodeError:
            return
        self.assertTrue(1 <= len(split_batch(size, message[BATCH_HEADER:])) <= 64)


class ProbeTests(SynchronousTestCase):
    """
    STUN is told from the rest.
    """

    def test_stun(self) -> None:
        """
        A first byte of 0 to 3, and the magic cookie: a probe.
        """
        stun = b"\x00\x01\x00\x00\x21\x12\xa4\x42" + bytes(12)
        for datagram, expected in [
            (stun, True),
            (b"\x40" + stun[1:], False),
            (stun[:4] + bytes(16), False),
            (b"\x00", False),
            (stun + bytes(2048), False),
        ]:
            [frame] = encode_batches(FrameType.DELIVER, PEER, [datagram])
            self.assertEqual(is_probe(frame), expected)
            self.assertEqual(is_probe(bytearray(frame)), expected)
