"""
Tests of L{atmosphere.network.path.paths}: how soon a link is direct, to the
millisecond, and how large its datagrams may be.
"""

from __future__ import annotations

from collections.abc import Iterable

from twisted.trial.unittest import SynchronousTestCase

from atmosphere.addresses import TransportAddress
from atmosphere.network.nat.candidates import Candidate, CandidateType, make_candidate
from atmosphere.network.path.check_budget import CheckBudget
from atmosphere.network.path.ways import DirectWay

from . import lane
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
        self,
        by_a: Iterable[Candidate],
        by_b: Iterable[Candidate],
        *,
        is_told: bool = True,
        former: DirectWay | None = None,
    ) -> tuple[float, float]:
        """
        Dial over the relay.

        @param by_a: what the dialler offers.
        @param by_b: what the listener offers.
        @param is_told: the dialler knows the listener's address beforehand, so that
            its first flight goes there too.
        @param former: where the listener was before.
        @return: when the dialler and the listener became direct, in seconds.
        """
        pair = Pair(relay=0.04)
        there, back = Lane(TO_A, 0.04), Lane(TO_B, 0.04)
        there.gate, back.gate = back, there
        pair.lanes["a", TO_B], pair.lanes["b", TO_A] = there, back
        start = pair.now
        pair.a.add_initial_way(RELAY_TO_B)
        if former is not None:
            pair.a.add_initial_way(former)
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

    def test_moved(self) -> None:
        """
        An address that the dialler knew beforehand, and where the listener is no more,
        does not hold up the one that the listener names.
        """
        former = DirectWay(TransportAddress("11.0.0.2", 4444))
        dialler, listener = self.punch([seen(SEEN_A)], [seen(SEEN_B)], is_told=False, former=former)
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


class SizeTests(SynchronousTestCase):
    """
    How large datagrams may be on each way.
    """

    def sizes(self, pair: Pair) -> dict[str, int | None]:
        """
        Say what A knows of each way.
        """
        return {each.kind: each.datagram_size for each in pair.a.snapshot()}

    def test_found(self) -> None:
        """
        The largest that goes both ways is found on direct ways, within seconds and
        without any way being doubted meanwhile; a relay sees to its own.
        """
        for mtu, expected in ((65535, 1472), (1460, 1452), (1200, 1200)):
            pair = Pair()
            pair.lanes["b", lane.TO_A].mtu = mtu
            pair.open()
            pair.run(15.0)
            self.assertEqual(self.sizes(pair), {"direct": expected, "relayed": None})
            self.assertEqual(len(pair.changes("a")), 2)
            suspects = [each for each in pair.a.story(pair.now).ways if "since then" in each.fact]
            self.assertEqual(suspects, [])

    def test_black_hole(self) -> None:
        """
        A way that carries less than before is noticed, and stays in use.
        """
        pair = Pair()
        pair.open()
        pair.run(5.0)
        pair.lanes["a", lane.TO_B].mtu = 1300
        pair.run(140.0)
        self.assertEqual(self.sizes(pair)["direct"], 1280)
        self.assertEqual(len(pair.changes("a")), 2)
        story = pair.a.story(pair.now).active
        assert story is not None
        self.assertEqual(story.datagram_size, 1280)
        self.assertEqual(story.loss, 0.0)

    def test_budget(self) -> None:
        """
        Where the process has no checks left, larger datagrams wait.
        """
        pair = Pair(budget=CheckBudget(0.5, 10))
        pair.open()
        pair.run(120.0)
        self.assertEqual(pair.a.active, lane.TO_B)
