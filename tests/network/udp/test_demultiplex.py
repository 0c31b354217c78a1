"""
Tests for L{atmosphere.network.udp.demultiplex}.
"""

from hypothesis import given, settings, strategies as st
from twisted.trial.unittest import SynchronousTestCase

from atmosphere.network.udp.demultiplex import (
    Kind,
    are_quic,
    classify,
    has_username,
    is_stun,
    is_stun_response,
)

HEADER = b"\x00\x01\x00\x00\x21\x12\xa4\x42" + bytes(12)


def stun(body: bytes, first: bytes = b"\x00\x01") -> bytes:
    """
    Put a STUN header before attributes.
    """
    return first + len(body).to_bytes(2, "big") + HEADER[4:] + body


class ClassifyTests(SynchronousTestCase):
    """
    The ranges of RFC 9443.
    """

    def test_every_first_byte(self) -> None:
        """
        All 256 first bytes are what the RFC's drawing says.
        """
        expected = {
            Kind.STUN: range(0, 4),
            Kind.ZRTP: range(16, 20),
            Kind.DTLS: range(20, 64),
            Kind.TURN_CHANNEL: range(64, 80),
            Kind.RTP: range(128, 192),
        }
        for first in range(256):
            found = classify(bytes((first,)), from_turn_server=True)
            named = [kind for kind, firsts in expected.items() if first in firsts]
            default = Kind.UNKNOWN if 4 <= first < 16 else Kind.QUIC
            self.assertIs(found, named[0] if named else default, first)

    def test_channel_data_comes_from_turn_servers(self) -> None:
        """
        From anybody else 64 to 79 is QUIC, and all the rest is the same.
        """
        for first in range(256):
            theirs = classify(bytes((first,)), from_turn_server=True)
            expected = Kind.QUIC if theirs is Kind.TURN_CHANNEL else theirs
            self.assertIs(classify(bytes((first,))), expected, first)

    def test_empty(self) -> None:
        """
        A datagram without a byte is nothing.
        """
        self.assertIs(classify(b""), Kind.UNKNOWN)

    def test_all_of_quic(self) -> None:
        """
        Several datagrams are QUIC's if each of them is.
        """
        self.assertTrue(are_quic([b"\x40", b"\xc0x"]))
        self.assertTrue(are_quic([]))
        for other in (b"", b"\0", HEADER, b"\x80"):
            self.assertFalse(are_quic([b"\x40", other]))


class StunTests(SynchronousTestCase):
    """
    What is read of a STUN message to choose its receiver.
    """

    def test_is_stun(self) -> None:
        """
        Cookie and length tell STUN from what only begins like it.
        """
        self.assertTrue(is_stun(HEADER))
        self.assertTrue(is_stun(stun(bytes(8))))
        for bad in (b"", HEADER[:19], HEADER + b"\0", HEADER[:4] + bytes(16), b"\x40" + HEADER[1:]):
            self.assertFalse(is_stun(bad))

    def test_responses(self) -> None:
        """
        Success and error responses are responses; requests and indications are not.
        """
        for first, is_response in ((0x01, False), (0x11, False), (0x101, True), (0x111, True)):
            self.assertIs(is_stun_response(first.to_bytes(2, "big")), is_response)

    def test_username(self) -> None:
        """
        USERNAME is found wherever it stands, and not inside other values.
        """
        username = b"\x00\x06\x00\x03a:b\0"
        self.assertTrue(has_username(stun(username)))
        self.assertTrue(has_username(stun(b"\x80\x22\x00\x05abcde\0\0\0" + username)))
        self.assertFalse(has_username(stun(b"\x80\x22\x00\x08" + username)))
        self.assertFalse(has_username(stun(b"")))
        self.assertFalse(has_username(stun(b"\x80\x22\xff\xff" + username)))

    @settings(derandomize=True, max_examples=200, deadline=None)
    @given(st.binary(max_size=100))
    def test_any_bytes(self, data: bytes) -> None:
        """
        Whatever comes, looking at it raises nothing.
        """
        for each in (data, HEADER + data):
            self.assertIsInstance(classify(each), Kind)
            self.assertIsInstance(is_stun(each) and is_stun_response(each), bool)
            self.assertIsInstance(has_username(each), bool)
