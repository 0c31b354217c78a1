"""
Tests of L{atmosphere.network.path.hard_pair}.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from atmosphere.addresses import TransportAddress
from atmosphere.network.nat.candidates import Candidate, CandidateType, make_candidate
from atmosphere.network.path.exchange import PathOffer
from atmosphere.network.path.hard_pair import Pair, find_pair

SEEN = CandidateType.SERVER_REFLEXIVE
HOST = CandidateType.HOST


def candidate(kind: CandidateType, text: str) -> Candidate:
    """
    Make a candidate.
    """
    return make_candidate(kind, TransportAddress.from_text(text))


def offer(is_stable: bool | None, *candidates: Candidate) -> PathOffer:
    """
    Make an offer.
    """
    return PathOffer("ufrag", "p" * 24, candidates, has_stable_port=is_stable)


HARD = offer(False, candidate(HOST, "192.168.1.2:7777"), candidate(SEEN, "45.77.1.2:50000"))
EASY = offer(True, candidate(HOST, "192.168.2.2:7777"), candidate(SEEN, "45.77.2.2:7777"))
TARGET = TransportAddress("45.77.2.2", 7777)


class PairTests(SynchronousTestCase):
    """
    Who is which side.
    """

    def test_sides(self) -> None:
        """
        Whose port depends on the destination opens sockets, the other one probes.
        """
        self.assertEqual(find_pair(HARD, EASY), Pair(True, TARGET, "45.77.1.2"))
        self.assertEqual(find_pair(EASY, HARD), Pair(False, TARGET, "45.77.1.2"))

    def test_unknown(self) -> None:
        """
        A side that does not know how its NAT maps counts as easy.
        """
        unknown = offer(None, *EASY.candidates)
        self.assertEqual(find_pair(HARD, unknown), Pair(True, TARGET, "45.77.1.2"))
        self.assertIsNone(find_pair(EASY, unknown))

    def test_two_of_a_kind(self) -> None:
        """
        Two hard sides, or two easy ones, guess nothing, nor do those without offers.
        """
        other = offer(False, candidate(SEEN, "45.77.3.2:7777"))
        self.assertIsNone(find_pair(HARD, other))
        self.assertIsNone(find_pair(EASY, offer(True, candidate(SEEN, "45.77.3.2:7777"))))
        self.assertIsNone(find_pair(None, HARD))
        self.assertIsNone(find_pair(EASY, None))

    def test_addresses(self) -> None:
        """
        Only global IPv4 addresses that servers saw count; a machine without a NAT has a
        host address for them to be aimed at.
        """
        public = offer(True, candidate(HOST, "45.77.9.9:7777"))
        found = find_pair(HARD, public)
        assert found is not None
        self.assertEqual(str(found.target), "45.77.9.9:7777")
        for bad in ("10.1.2.3:7777", "127.0.0.1:7777", "169.254.169.254:80", "[2001:db8::1]:7777"):
            self.assertIsNone(find_pair(EASY, offer(False, candidate(SEEN, bad))), bad)
            self.assertIsNone(find_pair(HARD, offer(True, candidate(SEEN, bad))), bad)
        self.assertIsNone(find_pair(EASY, offer(False, candidate(HOST, "45.77.1.2:7777"))))

    def test_same_address(self) -> None:
        """
        Two nodes behind one address have no use for it.
        """
        near = offer(True, candidate(SEEN, "45.77.1.2:7777"))
        self.assertIsNone(find_pair(HARD, near))
        self.assertIsNone(find_pair(near, HARD))
