"""
Tests for L{atmosphere.network.quic.acceptance}.
"""

from hypothesis import given, settings, strategies as st
from twisted.trial.unittest import SynchronousTestCase
from typing_extensions import override

from atmosphere.identity import NodeKey
from atmosphere.network.quic.acceptance import (
    MAX_HALF_OPEN,
    RETRY_HALF_OPEN,
    Acceptance,
    Verdict,
    connection_id_of,
)
from atmosphere.network.quic.adapter import QUICConnection, encode_retry
from atmosphere.network.quic.credentials import make_credentials
from atmosphere.testing.randomness import seeded_entropy

WAY = b"192.0.2.9:4000"


class AcceptanceTests(SynchronousTestCase):
    """
    A calm node accepts, a busy one asks for a token, a full one is silent.
    """

    @override
    def setUp(self) -> None:
        """
        Make a dialler's first flight, and a judge.
        """
        self.dialler = QUICConnection(make_credentials(NodeKey(b"\x01" * 32)))
        self.dialler.connect(0.0)
        self.initial = self.dialler.datagrams_to_send(0.0)[0]
        self.judge = Acceptance(seeded_entropy(1))

    def test_calm(self) -> None:
        """
        An Initial is accepted, and its connection ID is the datagram's.
        """
        initial, verdict = self.judge.judge(self.initial, WAY, 0, 0.0)
        self.assertIs(verdict, Verdict.ACCEPT)
        self.assertEqual(initial.original_cid, connection_id_of(self.initial))
        self.assertIsNone(initial.retry_cid)

    def test_busy(self) -> None:
        """
        Beyond 32 half-open connections, or 20 Initials in a second, a Retry is due.
        """
        self.assertIs(
            self.judge.judge(self.initial, WAY, RETRY_HALF_OPEN + 1, 0.0)[1], Verdict.RETRY
        )
        verdicts = [self.judge.judge(self.initial, WAY, 0, 0.0)[1] for _ in range(25)]
        self.assertEqual(verdicts.count(Verdict.ACCEPT), 19)
        self.assertEqual(verdicts[-1], Verdict.RETRY)
        self.assertIs(self.judge.judge(self.initial, WAY, 0, 1.0)[1], Verdict.ACCEPT)

    def test_full(self) -> None:
        """
        Beyond 256 half-open connections nothing is answered.
        """
        self.assertIs(self.judge.judge(self.initial, WAY, MAX_HALF_OPEN, 0.0)[1], Verdict.TOO_MANY)

    def retried(self) -> bytes:
        """
        Answer the Initial with Retry, and return the dialler's second one.
        """
        initial, _ = self.judge.judge(self.initial, WAY, 0, 0.0)
        token = self.judge.tokens.make(WAY, initial.destination_cid, b"retrycid", 0.0)
        packet = encode_retry(b"retrycid", initial.source_cid, initial.destination_cid, token)
        self.dialler.receive_datagrams([packet], 0.0)
        return self.dialler.datagrams_to_send(0.0)[0]

    def test_token(self) -> None:
        """
        An Initial that brings its token back is accepted even under load.
        """
        second = self.retried()
        initial, verdict = self.judge.judge(second, WAY, RETRY_HALF_OPEN + 1, 1.0)
        self.assertIs(verdict, Verdict.ACCEPT)
        self.assertEqual(initial.retry_cid, b"retrycid")
        self.assertEqual(initial.original_cid, connection_id_of(self.initial))

    def test_foreign_token(self) -> None:
        """
        A token from another address, or after its time, is dropped.
        """
        second = self.retried()
        self.assertIs(self.judge.judge(second, b"192.0.2.8:1", 0, 1.0)[1], Verdict.DROP)
        self.assertIs(self.judge.judge(second, WAY, 0, 11.0)[1], Verdict.DROP)

    def test_other_version(self) -> None:
        """
        Another version is answered with ours, a limited number of times; version
        negotiation itself never is.
        """
        other = self.initial[:1] + b"\x1a\x2a\x3a\x4a" + self.initial[5:]
        verdicts = [self.judge.judge(other, WAY, 0, 0.0)[1] for _ in range(30)]
        self.assertEqual(verdicts.count(Verdict.NEGOTIATE), 20)
        negotiation = self.initial[:1] + bytes(4) + self.initial[5:]
        self.assertIs(self.judge.judge(negotiation, WAY, 0, 0.0)[1], Verdict.DROP)

    def test_short(self) -> None:
        """
        An Initial below 1,200 bytes earns no answer (RFC 9000 §14.1).
        """
        self.assertIs(self.judge.judge(self.initial[:1199], WAY, 0, 0.0)[1], Verdict.DROP)

    @settings(derandomize=True, max_examples=200, deadline=None)
    @given(st.binary(min_size=1, max_size=60), st.booleans())
    def test_any_bytes(self, head: bytes, is_padded: bool) -> None:
        """
        Any bytes are judged.
        """
        data = head + bytes(1200) if is_padded else head
        connection_id_of(data)
        self.assertIsInstance(self.judge.judge(data, WAY, 0, 0.0)[1], Verdict)
