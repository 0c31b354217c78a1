"""
Tests for the meeting of two that know each other's address.
"""

from base64 import urlsafe_b64encode
from hashlib import sha256

from twisted.trial.unittest import SynchronousTestCase

from atmosphere.addresses import TransportAddress
from atmosphere.network.relay.rendezvous import (
    MAX_SESSIONS,
    own_endpoints,
    random_session,
    session_of,
)
from atmosphere.network.relay.session import is_session_id

A = TransportAddress("203.0.113.1", 7777)
B = TransportAddress("198.51.100.2", 40000)


class SessionTests(SynchronousTestCase):
    """
    The names of sessions.
    """

    def test_both_alike(self) -> None:
        """
        Both sides compute the same, and any other pair something else.
        """
        session = session_of(A, B)
        self.assertEqual(session, session_of(B, A))
        self.assertNotEqual(session, session_of(A, TransportAddress("198.51.100.2", 40001)))
        self.assertTrue(is_session_id(session))
        self.assertEqual(len(session), 22)

    def test_value(self) -> None:
        """
        It is 16 bytes of a hash of both addresses in the order of their texts.
        """
        text = (
            b"atmosphere session of two transport addresses 1\0"
            b"198.51.100.2:40000\x00203.0.113.1:7777"
        )
        expected = urlsafe_b64encode(sha256(text).digest()[:16]).decode().rstrip("=")
        self.assertEqual(session_of(A, B), expected)

    def test_random(self) -> None:
        """
        Other sessions are named by 16 random bytes.
        """
        self.assertEqual(random_session(bytes(16)), "A" * 22)


class OwnEndpointsTests(SynchronousTestCase):
    """
    As what the peer may know us.
    """

    def choose(self, remote: str, *candidates: str) -> list[str]:
        """
        Choose among addresses in text.
        """
        chosen = own_endpoints(
            [TransportAddress.from_text(each) for each in candidates],
            TransportAddress.from_text(remote),
        )
        return [str(each) for each in chosen]

    def test_of_a_kind(self) -> None:
        """
        For a public peer our public address comes first, for a local one the local.
        """
        ours = ("192.168.1.5:7", "127.0.0.1:7", "203.0.113.1:7")
        for remote in ("198.51.100.2:9", "192.168.9.9:9", "127.0.0.1:9"):
            chosen = self.choose(remote, *ours)
            self.assertEqual(set(chosen), set(ours))
        self.assertEqual(self.choose("198.51.100.2:9", *ours)[0], "203.0.113.1:7")
        self.assertEqual(self.choose("192.168.9.9:9", *ours)[0], "192.168.1.5:7")
        self.assertEqual(self.choose("127.0.0.1:9", *ours)[0], "127.0.0.1:7")

    def test_left_out(self) -> None:
        """
        What the peer cannot know us by is left out: the other address family,
        its own address, and addresses of nobody.
        """
        chosen = self.choose("127.0.0.1:9", "[::1]:7", "127.0.0.1:9", "0.0.0.0:7", "127.0.0.1:7")
        self.assertEqual(chosen, ["127.0.0.1:7"])

    def test_bounded(self) -> None:
        """
        There are few, and none twice.
        """
        many = [f"10.0.0.{number // 2}:7" for number in range(40)]
        chosen = self.choose("10.1.1.1:9", *many)
        self.assertEqual(chosen, [f"10.0.0.{number}:7" for number in range(MAX_SESSIONS)])
