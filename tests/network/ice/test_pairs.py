"""
Tests of L{atmosphere.network.ice.pairs}.
"""

from __future__ import annotations

from dataclasses import replace

from twisted.trial.unittest import SynchronousTestCase
from typing_extensions import override

from atmosphere.addresses import TransportAddress
from atmosphere.network.ice.candidates import IceCandidate, host_candidate
from atmosphere.network.ice.pairs import MAX_PAIRS, CheckList, Pair, PairState, pair_priority

OURS = TransportAddress("10.0.0.1", 5000)
LOCAL = host_candidate(OURS, 65535)


def remote(last: int, *, preference: int = 1, foundation: str = "") -> IceCandidate:
    """
    Make a candidate of the peer's.
    """
    candidate = host_candidate(TransportAddress(f"11.0.{last >> 8}.{last & 255}", 5000), preference)
    return replace(candidate, foundation=foundation or candidate.foundation)


class PairTests(SynchronousTestCase):
    """
    Which pairs there are, and which is next.
    """

    @override
    def setUp(self) -> None:
        """
        Make an empty list.
        """
        self.list = CheckList(is_controlling=True)

    def add(self, candidate: IceCandidate) -> Pair:
        """
        Pair a candidate of the peer's with ours.
        """
        address = candidate.address
        assert address is not None
        pair = self.list.add(LOCAL, candidate, (OURS, address))
        assert pair is not None
        return pair

    def test_priority(self) -> None:
        """
        The formula of RFC 8445 §6.1.2.3; both sides come to the same.
        """
        self.assertEqual(pair_priority(5, 3), 3 * 2**32 + 2 * 5 + 1)
        self.assertEqual(pair_priority(3, 5), 3 * 2**32 + 2 * 5)
        pair = self.add(remote(1))
        ours = self.list.priority(pair)
        self.assertEqual(ours, pair_priority(LOCAL.priority, remote(1).priority))
        self.list.is_controlling = False
        self.assertEqual(self.list.priority(pair), ours - 1)

    def test_one_of_each_foundation(self) -> None:
        """
        Of pairs with one foundation the best waits and the others are frozen, until one
        has succeeded or failed; whatever came first.
        """
        low = self.add(remote(1, preference=1, foundation="f"))
        high = self.add(remote(2, preference=2, foundation="f"))
        other = self.add(remote(3, preference=0))
        states = [each.state.value for each in (low, high, other)]
        self.assertEqual(states, ["frozen", "waiting", "waiting"])
        self.assertIs(self.list.next_pair(), high)
        high.state = PairState.IN_PROGRESS
        later = self.add(remote(4, preference=3, foundation="f"))
        self.assertIs(later.state, PairState.FROZEN)
        self.list.failed(high)
        self.assertIs(later.state, PairState.WAITING)
        self.assertIs(low.state, PairState.FROZEN)
        self.list.succeeded(later)
        self.assertIs(low.state, PairState.WAITING)
        self.assertIs(self.add(remote(5, foundation="f")).state, PairState.WAITING)

    def test_triggered_first(self) -> None:
        """
        Pairs that the peer checked are first, each once, and in order.
        """
        low = self.add(remote(1, preference=1))
        high = self.add(remote(2, preference=9))
        third = self.add(remote(3, preference=2, foundation=high.remote.foundation))
        for pair in (third, low, third):
            self.list.trigger(pair)
        self.assertTrue(self.list.has_work)
        order = []
        while self.list.has_work:
            following = self.list.next_pair()
            assert following is not None
            following.state = PairState.IN_PROGRESS
            order.append(following)
        self.assertEqual(order, [third, low, high])
        self.assertIsNone(self.list.next_pair())

    def test_same_addresses(self) -> None:
        """
        A path is there once; what was told replaces what was only seen.
        """
        seen = replace(remote(1), kind="prflx")
        pair = self.add(seen)
        self.assertIs(self.add(remote(1)), pair)
        self.assertEqual(pair.remote.kind, "host")
        self.add(seen)
        self.assertEqual(pair.remote.kind, "host")
        self.assertEqual(len(self.list), 1)

    def test_full(self) -> None:
        """
        A full list gives up what failed, then what is worst; never what works.
        """
        pairs = [self.add(remote(each, preference=10 + each)) for each in range(MAX_PAIRS)]
        worse = remote(500, preference=1)
        self.assertIsNone(self.list.add(LOCAL, worse, (OURS, TransportAddress("11.9.9.9", 1))))
        self.list.trigger(pairs[0])
        self.add(remote(501, preference=5000))
        self.assertNotIn(pairs[0], self.list)
        self.assertFalse(self.list.triggered)
        self.list.failed(pairs[50])
        self.add(worse)
        self.assertNotIn(pairs[50], self.list)
        for each in self.list:
            self.list.succeeded(each)
        self.assertIsNone(self.list.add(LOCAL, remote(502), (OURS, TransportAddress("1.1.1.1", 1))))
        self.assertEqual(len(self.list), MAX_PAIRS)

    def test_conclude(self) -> None:
        """
        After the nomination what nothing is known of is dropped.
        """
        first, second, third = (self.add(remote(each)) for each in range(3))
        self.list.trigger(second)
        self.list.succeeded(first)
        third.state = PairState.IN_PROGRESS
        self.list.conclude()
        self.assertEqual(list(self.list), [first, third])
        self.assertFalse(self.list.has_work)
