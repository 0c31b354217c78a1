"""
Tests for L{atmosphere.network.quic.stream_state}.
"""

from hypothesis import given, settings, strategies as st
from twisted.trial.unittest import SynchronousTestCase

from atmosphere.errors import DecodeError
from atmosphere.network.quic.stream_state import (
    INITIAL_CREDIT,
    MAX_WINDOW,
    Opening,
    StreamState,
    answer_bytes,
    header_bytes,
)


def accepted() -> StreamState:
    """
    Make a stream that we opened and the peer accepted.
    """
    state = StreamState(4, opener=True, service="echo")
    state.receive(answer_bytes(None))
    return state


class OpeningTests(SynchronousTestCase):
    """
    A stream begins with its service's name and its answer.
    """

    def test_header(self) -> None:
        """
        The name is read, also byte by byte, and what follows is data.
        """
        for size in (1, 3, 100):
            state = StreamState(0, opener=False)
            stream = header_bytes("écho") + b"data"
            got = b"".join(
                state.receive(stream[at : at + size]) for at in range(0, len(stream), size)
            )
            self.assertEqual((state.service, got), ("écho", b"data"))
            self.assertIs(state.opening, Opening.UNDECIDED)

    def test_answer(self) -> None:
        """
        Yes is followed by data, no by a reason and nothing more.
        """
        state = StreamState(4, opener=True, service="echo")
        self.assertEqual(state.receive(answer_bytes(None) + b"data"), b"data")
        self.assertIs(state.opening, Opening.OPEN)
        state = StreamState(4, opener=True, service="echo")
        for octet in answer_bytes("not here") + b"junk":
            self.assertEqual(state.receive(bytes([octet])), b"")
        self.assertIs(state.opening, Opening.REFUSED)
        self.assertEqual(state.reason, "not here")

    def test_malformed(self) -> None:
        """
        A name that is empty or not UTF-8, or an answer that is neither, is an error.
        """
        self.assertRaises(DecodeError, StreamState(0, opener=False).receive, b"\x00x")
        self.assertRaises(DecodeError, StreamState(0, opener=False).receive, b"\x01\xff")
        self.assertRaises(DecodeError, StreamState(4, opener=True).receive, b"\x02")
        self.assertRaises(ValueError, header_bytes, "")
        self.assertRaises(ValueError, header_bytes, "é" * 128)

    def test_long_reason(self) -> None:
        """
        A reason is cut to 255 bytes, between characters.
        """
        state = StreamState(4, opener=True)
        state.receive(answer_bytes("é" * 200))
        self.assertEqual(state.reason, "é" * 127)

    @settings(derandomize=True, max_examples=200, deadline=None)
    @given(st.lists(st.binary(max_size=300), max_size=5), st.booleans())
    def test_any_bytes(self, pieces: list[bytes], opener: bool) -> None:
        """
        Any bytes are data or a L{DecodeError}.
        """
        state = StreamState(0, opener=opener)
        try:
            for piece in pieces:
                state.receive(piece)
        except DecodeError as error:
            self.assertTrue(str(error))


class CreditTests(SynchronousTestCase):
    """
    Nobody sends more than the reader has room for.
    """

    def test_receiver_insists(self) -> None:
        """
        One byte beyond the credit is an error.
        """
        state = accepted()
        state.receive(bytes(INITIAL_CREDIT))
        self.assertRaises(DecodeError, state.receive, b"x")

    def test_grants(self) -> None:
        """
        A new limit is granted when a quarter of the window was consumed.
        """
        state = accepted()
        state.receive(bytes(INITIAL_CREDIT))
        self.assertFalse(state.consumed(INITIAL_CREDIT // 4 - 1))
        self.assertTrue(state.consumed(1))
        self.assertEqual(state.new_limit(9.0, 0.1), INITIAL_CREDIT + INITIAL_CREDIT // 4)

    def test_window_grows_for_a_quick_reader(self) -> None:
        """
        A reader that keeps up within a round trip gets up to 4 MiB outstanding.
        """
        state = accepted()
        granted = INITIAL_CREDIT
        for _ in range(100):
            state.receive(bytes(granted - state._received))
            if state.consumed(granted - state._consumed):
                granted = state.new_limit(9.0, 0.1)
        self.assertEqual(granted - state._consumed, MAX_WINDOW)

    def test_sender_waits(self) -> None:
        """
        What is taken never exceeds the limit, QUIC's room, or what was written.
        """
        state = accepted()
        state.write(b"ab")
        state.write(b"cdef")
        self.assertEqual(state.take(3), b"abc")
        self.assertEqual(state.take(100), b"def")
        self.assertEqual(state.take(100), b"")
        state.write(bytes(2 * INITIAL_CREDIT))
        self.assertEqual(len(state.take(10**9)), INITIAL_CREDIT - 6)
        self.assertEqual(state.take(10**9), b"")
        state.credit(INITIAL_CREDIT + 10)
        state.credit(5)
        self.assertEqual(len(state.take(10**9)), 10)
        state.drop_outbox()
        self.assertEqual(state.outbox_length, 0)
