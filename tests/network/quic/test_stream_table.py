"""
Tests of L{atmosphere.network.quic.stream_table}: what goes to QUIC, and when it is asked.
"""

from __future__ import annotations

from collections import deque
from typing import Any, cast

from twisted.trial.unittest import SynchronousTestCase
from typing_extensions import override

from atmosphere.network.quic import core_events as events
from atmosphere.network.quic.stream_state import INITIAL_CREDIT, answer_bytes
from atmosphere.network.quic.stream_table import MAX_UNSENT, StreamTable


class Sink:
    """
    A QUIC connection that keeps what it is given.

    @ivar sent: the streams' bytes.
    @ivar left: what it says it has still to send.
    @ivar asked: how often it was asked that.
    """

    is_dialler = True
    stream_limit = 100
    smoothed_rtt = None

    def __init__(self) -> None:
        self.sent: dict[int, bytes] = {}
        self.left = 0
        self.asked = 0

    def send_stream(self, stream_id: int, data: bytes, fin: bool = False) -> None:
        """
        Keep the bytes.
        """
        self.sent[stream_id] = self.sent.get(stream_id, b"") + data

    def unsent(self, stream_id: int) -> int:
        """
        Say what is left, and that we were asked.
        """
        self.asked += 1
        return self.left


class FlushTests(SynchronousTestCase):
    """
    Bytes that an application wrote, on their way to QUIC.
    """

    @override
    def setUp(self) -> None:
        """
        Open a stream that the peer has accepted, with much credit.
        """
        self.quic = Sink()
        self.out: deque[events.Event] = deque()
        self.granted: list[tuple[int, int]] = []
        self.table = StreamTable(
            cast(Any, self.quic),
            self.out,
            lambda stream_id, limit: self.granted.append((stream_id, limit)),
            lambda length: None,
        )
        self.stream_id = self.table.open("echo")
        self.table.credit(self.stream_id, 8 * MAX_UNSENT)
        self.quic.sent.clear()

    def write(self, data: bytes) -> None:
        """
        Write and flush.
        """
        self.table.write(self.stream_id, data)
        self.table.flush()

    def test_asked_seldom(self) -> None:
        """
        QUIC is asked how much it has left only when that may be too much.
        """
        pieces = [bytes([n]) * (MAX_UNSENT // 4) for n in range(9)]
        for piece in pieces:
            self.write(piece)
        self.assertEqual(self.quic.sent[self.stream_id], b"".join(pieces))
        self.assertEqual(self.quic.asked, 2)

    def test_full(self) -> None:
        """
        QUIC that has enough is given no more until it has less.
        """
        self.write(b"a" * MAX_UNSENT)
        self.quic.left = MAX_UNSENT
        self.write(b"b" * 10)
        self.assertEqual(len(self.quic.sent[self.stream_id]), MAX_UNSENT)
        self.assertEqual(self.table.waiting(self.stream_id), 10)
        self.quic.left = MAX_UNSENT - 4
        self.table.flush()
        self.assertEqual(self.table.waiting(self.stream_id), 6)
        self.quic.left = 0
        self.assertTrue(self.table.flush())
        self.assertFalse(self.table.flush())
        self.assertEqual(self.quic.sent[self.stream_id], b"a" * MAX_UNSENT + b"b" * 10)

    def test_credit_when_due(self) -> None:
        """
        The application's reading asks for a new limit now and then, not each time.
        """
        data = answer_bytes(None) + b"x" * INITIAL_CREDIT
        state = self.table._streams[self.stream_id]
        state.receive(data)
        quarter = INITIAL_CREDIT // 4
        self.assertFalse(self.table.consumed(self.stream_id, quarter - 1))
        self.assertTrue(self.table.consumed(self.stream_id, 1))
        self.table.grant(self.stream_id, 1.0)
        self.assertEqual(self.granted, [(self.stream_id, INITIAL_CREDIT + quarter)])
        self.assertFalse(self.table.consumed(99, 1))
        self.table.grant(99, 1.0)
        self.assertEqual(len(self.granted), 1)
