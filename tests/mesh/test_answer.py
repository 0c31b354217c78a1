"""
Tests for L{atmosphere.mesh.answer}.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hypothesis import given, settings, strategies as st
from twisted.trial.unittest import SynchronousTestCase

from atmosphere import wire
from atmosphere.addresses import TransportAddress
from atmosphere.errors import DecodeError, JoinError
from atmosphere.identity import Secret
from atmosphere.membership import TOLERANCE
from atmosphere.mesh.answer import (
    LIFETIME,
    MAC_LENGTH,
    MAXIMUM_CANDIDATES,
    PREFIX,
    TYPES,
    Answer,
    check_answer,
    is_answer,
    make_answer,
    read_answer,
)
from atmosphere.mesh.code_text import decode_base64, encode_base64
from atmosphere.mesh.invitation import Invitation, invitation_of
from atmosphere.mesh.join_code import JoinCode, issue_join_code
from atmosphere.network.nat.candidates import CandidateType, make_candidate
from tests.mesh_fixtures import ADMIN_CHAIN, ADMIN_KEY, ALICE, BOB, STRANGER, WALL, Counted

ISSUER = ADMIN_KEY.node_id
OUTSIDE = TransportAddress("203.0.113.7", 17777)

#: An answer as it was first written; it must be readable for ever.
PINNED = (
    "atma1-hwFQAAAAAAAAAAAAAAAAAAAAAVgg7UkoxijRwsbq6QM4kFmVYSlZJzpcY_k2NsFGFKyHN9Eaa0ngEAGBRwHLAHEH"
    "RXFGywBx-kVxD_47nhq0VLRWTRNdn6IsHw"
)


def code(seed: int = 0, **settings: Any) -> JoinCode:
    """
    Make a code.

    @param seed: another one for each.
    """
    entropy = Counted()
    entropy.calls = seed
    wanted: dict[str, Any] = {"lifetime": 86400, "public_endpoint": "203.0.113.250:17777"}
    return issue_join_code(
        ADMIN_KEY,
        ADMIN_CHAIN,
        mesh_name="home",
        endpoint="192.168.178.20:7777",
        wall=WALL,
        entropy=entropy,
        **{**wanted, **settings},
    )


CODE = code()
HELD = invitation_of(CODE)


def answer(source: JoinCode = CODE, *addresses: TransportAddress, **settings: Any) -> str:
    """
    Make an answer.
    """
    reflexive = CandidateType.SERVER_REFLEXIVE
    candidates = [make_candidate(reflexive, each) for each in addresses or (OUTSIDE,)]
    wanted: dict[str, Any] = {"has_stable_port": True, "wall": WALL}
    return make_answer(source, ALICE.node_id, candidates, **{**wanted, **settings})[0]


def encoded(*changes: tuple[int, object], more: tuple[object, ...] = ()) -> str:
    """
    Write an answer with other elements, without a mac that fits.
    """
    raw = decode_base64(answer().removeprefix(PREFIX))
    body: list[Any] = wire.decode(raw[:-MAC_LENGTH], max_length=512)
    for place, value in changes:
        body[place] = value
    return PREFIX + encode_base64(wire.encode([*body, *more]) + bytes(MAC_LENGTH))


class ReadTests(SynchronousTestCase):
    """
    The text of an answer.
    """

    def test_round_trip(self) -> None:
        """
        What was put in comes out, with and without prefix, padding and white space.
        """
        inside = TransportAddress("2001:db8::7", 7777)
        text = answer(CODE, OUTSIDE, inside)
        self.assertTrue(is_answer(f" {text}") and not is_answer(CODE.code))
        for each in (text, f" {text[:30]}\n{text[30:]} ", text.removeprefix(PREFIX), text + "=="):
            found = read_answer(each)
            self.assertEqual(found.invite_id, CODE.invite_id)
            self.assertEqual(found.joiner, ALICE.node_id)
            self.assertEqual(found.expires_at, WALL + LIFETIME)
            self.assertEqual([each.address for each in found.candidates], [OUTSIDE, inside])
            self.assertEqual(found.dialled, TransportAddress("203.0.113.250", 17777))
            self.assertIs(found.has_stable_port, True)

    def test_short(self) -> None:
        """
        An answer of one address fits into one line of a chat, that of eight into three.
        """
        self.assertLess(len(answer()), 160)
        many = [TransportAddress(f"2001:db8::{n}", 7777) for n in range(1, 12)]
        text = answer(CODE, *many)
        self.assertEqual(len(read_answer(text).candidates), MAXIMUM_CANDIDATES)
        self.assertLess(len(text), 420)

    def test_pinned(self) -> None:
        """
        The first answer ever written can be read.
        """
        self.assertEqual(answer(), PINNED)
        self.assertEqual(check_answer(read_answer(PINNED), HELD, ISSUER, WALL), HELD)

    def test_end(self) -> None:
        """
        An answer ends an hour later, or with its code; what is not known is not said.
        """
        short = code(lifetime=600, public_endpoint=None)
        found = read_answer(answer(short, has_stable_port=None))
        self.assertEqual(found.expires_at, WALL + 600)
        self.assertEqual((found.dialled, found.has_stable_port), (None, None))
        self.assertIs(read_answer(answer(has_stable_port=False)).has_stable_port, False)

    def test_no_answer(self) -> None:
        """
        There is none without a secret, and none that names no address.
        """
        old = JoinCode("m", "home", "k", "192.0.2.1:7777", 0, 1)
        host = make_candidate(CandidateType.PEER_REFLEXIVE, OUTSIDE)
        for source, candidates in ((old, [host]), (CODE, [host]), (CODE, [])):
            with self.assertRaises(JoinError):
                make_answer(source, ALICE.node_id, candidates, has_stable_port=None, wall=WALL)

    def test_code(self) -> None:
        """
        A code that was pasted in its place is named as what it is.
        """
        with self.assertRaisesRegex(DecodeError, "that is a join code"):
            read_answer(CODE.code)

    def test_ten_thousand(self) -> None:
        """
        An answer with ten thousand addresses is refused unread, with the mac of a real
        code too; so is every piece of a good one.
        """
        places = [b"\x01\x0b" + number.to_bytes(3, "big") + b"\x45\x71" for number in range(10_000)]
        for count in (9, 60, 10_000):
            text = encoded((5, places[:count]))
            self.assertRaises(DecodeError, read_answer, text)
        good = answer()
        for length in range(len(PREFIX), len(good)):
            self.assertRaises(DecodeError, read_answer, good[:length])

    def test_other_forms(self) -> None:
        """
        An answer has one form, and any other is refused with the remedy.
        """
        place = b"\x01" + OUTSIDE.packed + b"\x45\x71"
        wrapped = b"\x01" + bytes(10) + b"\xff\xff" + OUTSIDE.packed + b"\x45\x71"
        bad = [
            encoded((0, 2)),
            encoded((0, True)),
            encoded((1, bytes(15))),
            encoded((2, bytes(32))),
            encoded((2, bytes(31))),
            encoded((3, -1)),
            encoded((3, 2**40 + 1)),
            encoded((3, False)),
            encoded((4, 3)),
            encoded((4, True)),
            encoded((5, [])),
            encoded((5, [place, place])),
            encoded((5, [place[:-2] + n.to_bytes(2, "big") for n in range(1, 10)])),
            encoded((5, [wrapped])),
            encoded((5, [place[:-2] + bytes(2)])),
            encoded((5, [b"\x02" + place[1:]])),
            encoded((5, [b"\x06" + place[1:]])),
            encoded((5, [b""])),
            encoded((5, [place[:-1]])),
            encoded((5, ["x"])),
            encoded((6, bytes(5))),
            encoded((6, bytes(6))),
            encoded((6, None)),
            encoded(more=(1,)),
            "",
            PREFIX,
            answer()[:-4],
            answer() + "AAAA",
            PREFIX + encode_base64(b"\x80" + bytes(600)),
            "rubbish!",
        ]
        for text in bad:
            with self.assertRaisesRegex(DecodeError, "copy all of it", msg=text):
                read_answer(text)
        with self.assertRaisesRegex(DecodeError, "too long"):
            read_answer("x" * 3000)

    @settings(max_examples=200, deadline=None, derandomize=True)
    @given(st.binary(max_size=300))
    def test_any_bytes(self, data: bytes) -> None:
        """
        Any bytes are an answer or a L{DecodeError}.
        """
        for text in (encode_base64(data), data.decode("latin-1")):
            try:
                read_answer(text)
            except DecodeError:
                continue

    @settings(max_examples=200, deadline=None, derandomize=True)
    @given(
        st.lists(
            st.tuples(
                st.sampled_from(TYPES),
                st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6)),
                st.integers(1, 65535),
            ),
            min_size=1,
            max_size=12,
        ),
        st.sampled_from([None, True, False]),
    )
    def test_any_candidates(self, places: list[Any], stable: bool | None) -> None:
        """
        What can be said can be read, each address once.
        """
        candidates = [
            make_candidate(kind, TransportAddress(str(host), port))
            for kind, host, port in places
            if not getattr(host, "scope_id", None)
        ]
        unique = {each.address: each for each in candidates}
        text, _ = make_answer(
            CODE, ALICE.node_id, list(unique.values()), has_stable_port=stable, wall=WALL
        )
        found = read_answer(text)
        self.assertEqual(found.candidates, tuple(unique.values())[:MAXIMUM_CANDIDATES])
        self.assertIs(found.has_stable_port, stable)


class CheckTests(SynchronousTestCase):
    """
    Which answers are followed.
    """

    def refused(self, found: Answer, held: Invitation | None = HELD, wall: float = WALL) -> str:
        """
        Check that an answer is not followed.

        @return: why.
        """
        error = self.assertRaises(JoinError, check_answer, found, held, ISSUER, wall)
        self.assertEqual(error.exit_code, 4)
        return str(error)

    def test_good(self) -> None:
        """
        An answer is good as often as it is handed in, for ten minutes beyond its end.
        """
        found = read_answer(answer())
        for wall in (WALL, WALL, WALL - 3600, WALL + LIFETIME + TOLERANCE - 1):
            self.assertIs(check_answer(found, HELD, ISSUER, wall), HELD)

    def test_every_bit(self) -> None:
        """
        No bit of an answer can be changed, nor the node that it is for.
        """
        raw = decode_base64(answer().removeprefix(PREFIX))
        for place in range(len(raw) * 8):
            changed = bytearray(raw)
            changed[place // 8] ^= 1 << place % 8
            try:
                found = read_answer(encode_base64(bytes(changed)))
            except DecodeError:
                continue
            self.assertIn("was changed", self.refused(found))
        with self.assertRaisesRegex(JoinError, "was changed"):
            check_answer(read_answer(answer()), HELD, STRANGER.node_id, WALL)

    def test_other_code(self) -> None:
        """
        An answer to another code is worth nothing for this one.
        """
        other = read_answer(answer(code(seed=9)))
        self.assertIn("was not made here", self.refused(other, None))
        self.assertIn("was changed", self.refused(replace(other, invite_id=CODE.invite_id)))
        self.assertIn("was changed", self.refused(other, replace(HELD, key=Secret(bytes(32)))))

    def test_worthless_code(self) -> None:
        """
        What was revoked, used up, or has expired is said with the remedy.
        """
        found = read_answer(answer())
        for held, wall, words in (
            (replace(HELD, revoked=True), WALL, "revoked; run `atmosphere invite`"),
            (replace(HELD, redeemed_by=(BOB.node_id,)), WALL, "used already; run"),
            (HELD, WALL + 86400, "has expired; run `atmosphere invite`"),
            (HELD, WALL + LIFETIME + TOLERANCE, "run `atmosphere join` again"),
            (replace(HELD, expires_at=WALL + 60), WALL, "this answer has expired"),
            (
                replace(HELD, redeemed_by=(ALICE.node_id,), arrived=frozenset({ALICE.node_id})),
                WALL,
                "has joined by this code already",
            ),
        ):
            self.assertIn(words, self.refused(found, held, wall))
        again = replace(HELD, redeemed_by=(ALICE.node_id,))
        self.assertIs(check_answer(found, again, ISSUER, WALL), again)
