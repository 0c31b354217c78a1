"""
Tests of L{atmosphere.network.path.paths}: how soon a link is direct, to the millisecond.
"""

from __future__ import annotations

from collections.abc import Iterable

from twisted.trial.unittest import SynchronousTestCase

from atmosphere.addresses import TransportAddress
from atmosphere.network.nat.candidates import Candidate, CandidateType, make_candidate
from atmosphere.network.path.ways import DirectWay

from .lane import RELAY, RELAY_TO_B, Lane, Pair, host

#: What the NATs of the two make of their addresses.
SEEN_A = TransportAddress("11.0.0.1", 7777)
SEEN_B = TransportAddress("11.0.0.2", 7777)
TO_B, TO_A = DirectWay(SEEN_B), DirectWay(SEEN_A)

#: Where neither of them is.
ELSEWHERE = [host(TransportAddress("192.168.1.10", port)) for port in range(2000, 2004)]


def seen(address: TransportAddress) -> Candidate:
    """
    Make a candidate that a STUN server told.
    """
    return make_candidate(CandidateType.SERVER_REFLEXIVE, address)


class TimesTests(SynchronousTestCase):
    """
    Both are behind NATs that let in only answers, 40 ms from each other by the relay
    and directly; all of QUIC's flights leave when they may.
    """

    def punch(
        self, by_a: Iterable[Candidate], by_b: Iterable[Candidate], *, is_told: bool = True
    ) -> tuple[float, float]:
        """
        Dial over the relay.

        @param by_a: what the dialler offers.
        @param by_b: what the listener offers.
        @param is_told: the dialler knows the listener's address beforehand, so that
            its first flight goes there too.
        @return: when the dialler and the listener became direct, in seconds.
        """
        pair = Pair(relay=0.04)
        there, back = Lane(TO_A, 0.04), Lane(TO_B, 0.04)
        there.gate, back.gate = back, there
        pair.lanes["a", TO_B], pair.lanes["b", TO_A] = there, back
        start = pair.now
        pair.a.add_initial_way(RELAY_TO_B)
        if is_told:
            pair.a.add_initial_way(TO_B)
        offer_of_a = pair.a.local_offer(by_a, [RELAY])
        offer_of_b = pair.b.local_offer(by_b, [RELAY])
        pair.send_data("a")
        pair.run(0.04)
        pair.send_data("b")
        pair.run(0.04)
        pair.send_data("a")  # the proof, with an offer
        pair.run(0.04)
        pair.b.welcomed(pair.now)
        pair.b.set_remote_offer(offer_of_a, pair.now)
        pair.send_data("b")
        pair.run(0.04)
        pair.a.welcomed(pair.now)
        pair.a.set_remote_offer(offer_of_b, pair.now)
        pair.run(1.0)
        self.assertEqual((pair.a.active, pair.b.active), (TO_B, TO_A))
        direct = [
            next(at for at, way in pair.changes(name) if isinstance(way, DirectWay)) - start
            for name in "ab"
        ]
        return direct[0], direct[1]

    def test_told(self) -> None:
        """
        The dialler's first flight has opened its NAT, so the listener's first check
        comes through: the listener is direct at 200 ms, the dialler at 240.
        """
        dialler, listener = self.punch([seen(SEEN_A)], [seen(SEEN_B)])
        self.assertAlmostEqual(listener, 0.2)
        self.assertAlmostEqual(dialler, 0.24)

    def test_not_told(self) -> None:
        """
        Else the dialler's check is the first that comes through, and is returned in
        full size: the dialler is direct at 240 ms, the listener at 280.
        """
        dialler, listener = self.punch([seen(SEEN_A)], [seen(SEEN_B)], is_told=False)
        self.assertAlmostEqual(dialler, 0.24)
        self.assertAlmostEqual(listener, 0.28)

    def test_beside_others(self) -> None:
        """
        Private addresses that the peer has in a network like ours, though it is
        elsewhere, do not hold up the one that is reached.
        """
        dialler, listener = self.punch([*ELSEWHERE, seen(SEEN_A)], [*ELSEWHERE, seen(SEEN_B)])
        self.assertAlmostEqual(listener, 0.2)
        self.assertAlmostEqual(dialler, 0.24)
