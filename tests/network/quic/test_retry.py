"""
Tests for L{atmosphere.network.quic.retry}.
"""

from hypothesis import given, settings, strategies as st
from twisted.trial.unittest import SynchronousTestCase
from typing_extensions import override

from atmosphere.network.quic.retry import LIFETIME, RetryTokens
from atmosphere.testing.randomness import seeded_entropy


class RetryTokenTests(SynchronousTestCase):
    """
    A token is good for one way, one connection ID, and ten seconds.
    """

    @override
    def setUp(self) -> None:
        """
        Make the tokens of two processes.
        """
        entropy = seeded_entropy(1)
        self.tokens = RetryTokens(entropy)
        self.others = RetryTokens(entropy)
        self.token = self.tokens.make(b"192.0.2.9:4000", b"original", b"retrycid", 100.0)

    def test_good(self) -> None:
        """
        It brings the original connection ID back until it expires.
        """
        for now in (100.0, 100.0 + LIFETIME):
            self.assertEqual(
                self.tokens.check(self.token, b"192.0.2.9:4000", b"retrycid", now), b"original"
            )

    def test_bad(self) -> None:
        """
        Expired, from elsewhere, for another ID, or another process's: no.
        """
        way, cid = b"192.0.2.9:4000", b"retrycid"
        self.assertIsNone(self.tokens.check(self.token, way, cid, 100.1 + LIFETIME))
        self.assertIsNone(self.tokens.check(self.token, b"192.0.2.9:4001", cid, 100.0))
        self.assertIsNone(self.tokens.check(self.token, way, b"othercid", 100.0))
        self.assertIsNone(self.others.check(self.token, way, cid, 100.0))

    def test_mutated(self) -> None:
        """
        A token with any bit changed, or cut, is no token.
        """
        for position in range(len(self.token)):
            mutated = bytearray(self.token)
            mutated[position] ^= 1
            self.assertIsNone(
                self.tokens.check(bytes(mutated), b"192.0.2.9:4000", b"retrycid", 100.0)
            )
            self.assertIsNone(
                self.tokens.check(self.token[:position], b"192.0.2.9:4000", b"retrycid", 100.0)
            )

    @settings(derandomize=True, max_examples=200, deadline=None)
    @given(st.binary(max_size=60))
    def test_any_bytes(self, token: bytes) -> None:
        """
        Any bytes are judged, and are not a token of ours.
        """
        self.assertIsNone(self.tokens.check(token, b"w", b"c", 0.0))
