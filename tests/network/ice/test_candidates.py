"""
Tests of L{atmosphere.network.ice.candidates}.
"""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given, settings, strategies as st
from twisted.trial.unittest import SynchronousTestCase

from atmosphere.addresses import TransportAddress
from atmosphere.errors import DecodeError
from atmosphere.network.ice.candidates import (
    IceCandidate,
    decode_candidate,
    encode_candidate,
    host_candidate,
    reflexive_candidate,
)
from atmosphere.network.nat.candidates import CandidateType

HOST = "candidate:1 1 udp 2130706431 192.0.2.1 5000 typ host"
REFLEXIVE = (
    "candidate:Wa+/2 1 UDP 1694498815 198.51.100.7 6000 typ srflx raddr 10.0.0.1 rport 5000"
    " generation 0 ufrag EEtu"
)

ICE_CHARS = st.sampled_from("abcXYZ019+/")
TOKENS = st.text("abc-XYZ019.", min_size=1, max_size=8)
HOSTS = st.one_of(
    st.ip_addresses(v=4).map(str),
    st.ip_addresses(v=6).map(str).filter(lambda text: not text.startswith("::ffff:")),
    st.from_regex(r"[a-z][a-z0-9-]{0,8}\.local", fullmatch=True),
)
PORTS = st.integers(0, 65535)
CANDIDATES = st.builds(
    IceCandidate,
    foundation=st.text(ICE_CHARS, min_size=1, max_size=32),
    component=st.integers(1, 256),
    transport=TOKENS.map(str.lower),
    priority=st.integers(1, 2**31 - 1),
    host=HOSTS,
    port=PORTS,
    kind=TOKENS,
    related=st.none() | st.tuples(HOSTS, PORTS),
    extensions=st.lists(
        st.tuples(TOKENS.filter(lambda name: name != "raddr"), st.text("!aZ~9", min_size=1)),
        max_size=4,
    ).map(tuple),
)


class CandidateTests(SynchronousTestCase):
    """
    Lines in and out.
    """

    def test_host(self) -> None:
        """
        A host candidate, with a= before it and without.
        """
        for line in (HOST, f"a={HOST}"):
            candidate = decode_candidate(line)
            self.assertEqual(candidate.address, TransportAddress("192.0.2.1", 5000))
            self.assertIs(candidate.type, CandidateType.HOST)
            self.assertTrue(candidate.is_usable)
        self.assertEqual(encode_candidate(candidate), HOST)

    def test_reflexive(self) -> None:
        """
        A server-reflexive candidate with its base and extensions, which are kept.
        """
        candidate = decode_candidate(REFLEXIVE)
        self.assertEqual(candidate.related, ("10.0.0.1", 5000))
        self.assertEqual(candidate.extensions, (("generation", "0"), ("ufrag", "EEtu")))
        self.assertEqual(encode_candidate(candidate), REFLEXIVE.replace("UDP", "udp"))

    def test_of_no_use(self) -> None:
        """
        What is well-formed and no use to us is read: TCP, names, other components, newer types.
        """
        for old, new in (
            ("udp", "TCP"),
            ("192.0.2.1", "8f5a.local"),
            ("1 1", "1 2"),
            ("typ host", "typ newer"),
        ):
            candidate = decode_candidate(HOST.replace(old, new, 1))
            self.assertFalse(candidate.is_usable, new)

    def test_out_of_form(self) -> None:
        """
        Whatever breaks the grammar or a range is refused.
        """
        broken = [
            "",
            "candidate:",
            "candidate",
            HOST.replace("candidate:", "candidat:"),
            HOST.replace(" ", "  ", 1),
            HOST + " ",
            HOST + " generation",
            HOST + " raddr 10.0.0.1",
            HOST + " raddr 10.0.0.1 port 5",
            HOST + " raddr 10.0.0.256 rport 5",
            HOST + " a b" * 17,
            HOST + " x " + "y" * 1100,
            HOST + " x \u00e9",
            HOST.replace("typ", "type"),
            HOST.replace("candidate:1", "candidate:" + "1" * 33),
            HOST.replace("candidate:1", "candidate:%"),
            HOST.replace("1 1", "1 0"),
            HOST.replace("1 1", "1 257"),
            HOST.replace("1 1", "1 0001"),
            HOST.replace("udp", "u(p"),
            HOST.replace("2130706431", "0"),
            HOST.replace("2130706431", "2147483648"),
            HOST.replace("2130706431", "-1"),
            HOST.replace("2130706431", "\u0661"),
            HOST.replace("192.0.2.1", "192.0.2"),
            HOST.replace("192.0.2.1", "192.0.2.256"),
            HOST.replace("192.0.2.1", "fe80::1%eth0"),
            HOST.replace("192.0.2.1", "2001:db8::1::2"),
            HOST.replace("5000", "65536"),
            HOST.replace("5000", "+5"),
        ]
        for line in broken:
            self.assertRaises(DecodeError, decode_candidate, line)

    @settings(max_examples=200, derandomize=True, deadline=None)
    @given(CANDIDATES)
    def test_round_trip(self, candidate: IceCandidate) -> None:
        """
        What is written is read as the same.
        """
        self.assertEqual(decode_candidate(encode_candidate(candidate)), candidate)

    @settings(max_examples=200, derandomize=True, deadline=None)
    @given(st.text(max_size=80) | st.text(max_size=40).map(lambda text: f"{HOST} {text}"))
    def test_any_text(self, line: str) -> None:
        """
        Any text is a candidate, or a DecodeError.
        """
        try:
            candidate = decode_candidate(line)
        except DecodeError:
            return
        self.assertEqual(decode_candidate(encode_candidate(candidate)), candidate)

    def test_not_writable(self) -> None:
        """
        What the grammar does not have is not written.
        """
        good = decode_candidate(HOST)
        for bad in (
            replace(good, foundation="a b"),
            replace(good, extensions=(("a", "b c"),)),
            replace(good, transport="UDP"),
        ):
            self.assertRaises((DecodeError, ValueError), encode_candidate, bad)

    def test_made(self) -> None:
        """
        Priorities and foundations of our own are those of RFC 8445 §5.1.
        """
        host = host_candidate(TransportAddress("10.0.0.1", 5000), 65535)
        self.assertEqual(host.priority, 2130706431)
        seen = reflexive_candidate(TransportAddress("11.0.0.1", 6000), host, server="s")
        self.assertEqual((seen.priority, seen.related), (1694498815, ("10.0.0.1", 5000)))
        other = reflexive_candidate(TransportAddress("11.0.0.1", 6000), host, server="t")
        self.assertNotEqual(seen.foundation, other.foundation)
        found = reflexive_candidate(
            TransportAddress("11.0.0.1", 6000), host, kind=CandidateType.PEER_REFLEXIVE
        )
        self.assertEqual((found.kind, found.priority), ("prflx", 1862270975))
