"""
Tests of L{atmosphere.network.path.exchange}.
"""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings, strategies as st
from twisted.trial.unittest import SynchronousTestCase

from atmosphere import wire
from atmosphere.addresses import TransportAddress
from atmosphere.errors import DecodeError
from atmosphere.network.nat.candidates import CandidateType, make_candidate
from atmosphere.network.path.exchange import (
    MAX_OFFER_LENGTH,
    PathOffer,
    decode_offer,
    encode_offer,
    next_offer,
)

UFRAG, PWD = "abcd1234", "p" * 22

OFFER = PathOffer(
    UFRAG,
    PWD,
    (
        make_candidate(CandidateType.HOST, TransportAddress("192.0.2.1", 7777)),
        make_candidate(CandidateType.SERVER_REFLEXIVE, TransportAddress("2001:db8::1", 443)),
    ),
    ("wss://relay.example/relay", "ws://[::1]:8080"),
    3,
)

GOOD = [1, 3, UFRAG, PWD, [[0, b"\xc0\x00\x02\x01", 7777, 5, "f"]], ["wss://r"]]

addresses = st.builds(
    TransportAddress.from_bytes,
    st.binary(min_size=4, max_size=4) | st.binary(min_size=16, max_size=16),
    st.integers(0, 65535),
)
offers = st.builds(
    PathOffer,
    st.from_regex(r"[A-Za-z0-9+/]{4,32}", fullmatch=True),
    st.from_regex(r"[A-Za-z0-9+/]{22,64}", fullmatch=True),
    st.lists(st.builds(make_candidate, st.sampled_from(CandidateType), addresses), max_size=16).map(
        tuple
    ),
    st.lists(st.from_regex(r"wss?://[a-z.]{1,40}", fullmatch=True), max_size=8).map(tuple),
    st.integers(1, 2**32 - 1),
)


class OfferTests(SynchronousTestCase):
    """
    An offer is one strict form.
    """

    def test_vector(self) -> None:
        """
        The bytes of an offer stay as they are.
        """
        offer = decode_offer(wire.encode(GOOD))
        self.assertEqual(offer.candidates[0].address, TransportAddress("192.0.2.1", 7777))
        self.assertEqual(offer.relays, ("wss://r",))
        self.assertEqual(
            encode_offer(offer),
            b"\x86\x01\x03\x68abcd1234\x76"
            + b"p" * 22
            + b"\x81\x85\x00\x44\xc0\x00\x02\x01\x19\x1e\x61\x05\x61f"
            + b"\x81\x67wss://r",
        )

    def test_round_trip(self) -> None:
        """
        What is written is read.
        """
        self.assertEqual(decode_offer(encode_offer(OFFER)), OFFER)

    def test_secret_is_not_shown(self) -> None:
        """
        The password does not show in logs.
        """
        self.assertNotIn(PWD, repr(OFFER))

    def test_port(self) -> None:
        """
        Whether the sender's port is stable is told if it is known; what says neither
        means nothing, and a change of it makes a new offer.
        """
        before = None
        for number, value in enumerate((None, True, False), 1):
            offer = next_offer(before, UFRAG, PWD, [], [], value)
            self.assertEqual(decode_offer(encode_offer(offer)), offer)
            self.assertEqual((offer.generation, offer.has_stable_port), (number, value))
            self.assertIs(next_offer(offer, UFRAG, PWD, [], [], value), offer)
            before = offer
        for odd in (0, 3, -1, 2**40, "1", None, True, [1]):
            self.assertIsNone(decode_offer(wire.encode([*GOOD, odd])).has_stable_port)

    def test_more_elements(self) -> None:
        """
        A later version may add elements.
        """
        self.assertEqual(decode_offer(wire.encode([*GOOD, {"new": 1}])).generation, 3)

    def test_refused(self) -> None:
        """
        Each field has its form and its bound.
        """

        def changed(index: int, value: Any) -> list[Any]:
            """
            The good offer with one element changed.
            """
            return [*GOOD[:index], value, *GOOD[index + 1 :]]

        candidate: list[Any] = GOOD[4][0]  # type: ignore[index]
        bad: list[Any] = [
            None,
            [],
            changed(0, 2),
            changed(1, 0),
            changed(1, True),
            changed(1, 2**32),
            changed(2, "abc"),
            changed(2, "a" * 33),
            changed(2, "abc:d"),
            changed(2, b"abcd"),
            changed(3, "p" * 21),
            changed(3, "p" * 65),
            changed(4, {}),
            changed(4, [candidate] * 17),
            changed(4, [1]),
            changed(4, [candidate[:4]]),
            changed(4, [["0", *candidate[1:]]]),
            changed(4, [[6, *candidate[1:]]]),
            changed(4, [[0, b"12345", *candidate[2:]]]),
            changed(4, [[0, candidate[1], 65536, 5, "f"]]),
            changed(4, [[0, candidate[1], 1, 0, "f"]]),
            changed(4, [[0, candidate[1], 1, 2**31, "f"]]),
            changed(4, [[0, candidate[1], 1, 5, ""]]),
            changed(5, ["http://r"]),
            changed(5, ["wss://a b"]),
            changed(5, ["wss://" + "r" * 251]),
            changed(5, ["wss://r"] * 9),
            changed(5, [7]),
        ]
        for value in bad:
            with self.assertRaises(DecodeError, msg=repr(value)):
                decode_offer(wire.encode(value))
        with self.assertRaises(DecodeError):
            decode_offer(wire.encode([*GOOD, bytes(MAX_OFFER_LENGTH)]))

    def test_own_mistakes(self) -> None:
        """
        What the peer would refuse is not written.
        """
        self.assertRaises(ValueError, encode_offer, PathOffer("abc", PWD))

    @settings(max_examples=200, derandomize=True, deadline=None)
    @given(offers)
    def test_any_offer(self, offer: PathOffer) -> None:
        """
        Every offer within the limits comes back as it was.
        """
        data = encode_offer(offer)
        self.assertLessEqual(len(data), MAX_OFFER_LENGTH)
        self.assertEqual(decode_offer(data), offer)

    @settings(max_examples=200, derandomize=True, deadline=None)
    @given(st.binary(max_size=300), st.integers(0, 80))
    def test_any_bytes(self, data: bytes, cut: int) -> None:
        """
        Any bytes are an offer or a decode error.
        """
        for each in (data, encode_offer(OFFER)[:cut] + data):
            try:
                decode_offer(each)
            except DecodeError:
                continue
