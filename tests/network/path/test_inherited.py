"""
Tests of L{atmosphere.network.path.paths}: ways that an earlier link with the same peer proved.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from atmosphere.addresses import TransportAddress
from atmosphere.network.nat.candidates import AddressRules
from atmosphere.network.path.known_way import WayState
from atmosphere.network.path.selection import PathPolicy
from atmosphere.network.path.way_table import MAX_INHERITED
from atmosphere.network.path.ways import DirectWay

from .lane import RELAY_TO_B, TO_A, TO_B, Lane, Pair

#: A way that no offer names, by a socket of its own: as one that was guessed.
HOLE = DirectWay(TransportAddress("11.0.0.2", 7777), 40001)
BACK = DirectWay(TransportAddress("11.0.0.1", 53211))


def _pair(seed: int = 1) -> Pair:
    """
    Make two sides of which nobody is reached where the offers say.
    """
    pair = Pair(seed=seed)
    pair.cut(TO_A, TO_B)
    pair.lanes["a", HOLE] = Lane(BACK, 0.005)
    pair.lanes["b", BACK] = Lane(HOLE, 0.005)
    return pair


class InheritTests(SynchronousTestCase):
    """
    What an earlier link found is tried first, and believed when it answers.
    """

    def test_direct_at_once(self) -> None:
        """
        Such a way is in use by both as soon as full-size checks were answered by it; the
        other side need not know of it.
        """
        pair = _pair()
        pair.connect()
        pair.a.inherit([HOLE], pair.now)
        self.assertEqual(pair.a.active, RELAY_TO_B)
        self.assertEqual(pair.lanes["a", HOLE].sent, [])  # whose password is not known yet
        began = pair.now
        pair.exchange()
        pair.run(0.2)
        (taken,) = [at for at, way in pair.changes("a") if way == HOLE]
        self.assertLess(taken - began, 0.05)
        self.assertEqual((pair.a.active, pair.b.active), (HOLE, BACK))
        self.assertIn(HOLE, pair.a.proven())
        self.assertEqual(pair.b.proven(), [BACK])

    def test_checks_first(self) -> None:
        """
        Its check leaves before those to addresses that the peer names.
        """
        pair = _pair()
        pair.connect()
        pair.a.inherit([HOLE], pair.now)
        pair.exchange()
        sent = [way for _, way in pair.a.datagrams_to_send(pair.now) if isinstance(way, DirectWay)]
        self.assertEqual(sent[0], HOLE)

    def test_late(self) -> None:
        """
        A link that checks already takes such ways too.
        """
        pair = _pair()
        pair.open()
        pair.a.inherit([HOLE], pair.now)
        pair.run(0.2)
        self.assertEqual(pair.a.active, HOLE)

    def test_dead(self) -> None:
        """
        One that does not answer carries nothing; it is looked at again now and then, as
        an address that the peer named.
        """
        pair = _pair()
        pair.lanes["a", HOLE].is_up = False
        pair.connect()
        pair.a.inherit([HOLE], pair.now)
        pair.exchange()
        pair.run(16.0)
        self.assertEqual(pair.a.active, RELAY_TO_B)
        (report,) = [each for each in pair.a.snapshot() if each.way == HOLE]
        self.assertIs(report.state, WayState.FAILED)
        sent = pair.lanes["a", HOLE].sent
        self.assertEqual([len(data) >= 1200 for _, data in sent], [True, *[False] * 6])
        self.assertEqual(pair.a.proven(), [])
        pair.run(200.0)
        self.assertEqual(len(sent), 7 + 4)
        self.assertNotIn(HOLE, [way for _, way in pair.changes("a")])

    def test_forged_answer(self) -> None:
        """
        Answers signed for another link prove nothing: the peer's password is that of
        this link's offer.
        """
        pair, other = _pair(), _pair(seed=2)
        for each in (pair, other):
            each.connect()
            each.a.inherit([HOLE], each.now)
            each.exchange()
        for data, way in pair.a.datagrams_to_send(pair.now):
            if way == HOLE:
                other.b.receive_datagram(data, BACK, other.now)
        self.assertEqual(
            [way for _, way in other.b.datagrams_to_send(other.now) if way == BACK], []
        )

    def test_not_allowed(self) -> None:
        """
        The policy and the address filter are asked anew.
        """
        pair = Pair(policy=PathPolicy.RELAYED)
        pair.connect()
        pair.a.inherit([HOLE], pair.now)
        self.assertFalse(pair.a.has_way(HOLE))
        pair = Pair(rules=AddressRules(own=frozenset({HOLE.address})))
        pair.connect()
        pair.a.inherit([HOLE], pair.now)
        self.assertFalse(pair.a.has_way(HOLE))

    def test_bounds(self) -> None:
        """
        Neither are many handed on, nor are many taken.
        """
        pair = Pair()
        pair.connect()
        many = [DirectWay(TransportAddress("11.0.0.2", 5000 + each)) for each in range(20)]
        pair.a.inherit(many, pair.now)
        self.assertEqual(sum(pair.a.has_way(way) for way in many), 8)
        for number, way in enumerate(many):
            known = pair.a._ways.get(way)
            if known is not None:
                known.last_answered = float(number)
        self.assertEqual(pair.a.proven(), many[7 : 7 - MAX_INHERITED : -1])

    def test_named_too(self) -> None:
        """
        One that the peer names as well is one way, and stays when it is checked first.
        """
        pair = Pair()
        pair.open()
        pair.a.inherit([TO_B], pair.now)
        pair.run(1.0)
        self.assertEqual(pair.a.active, TO_B)
        self.assertEqual(len([each for each in pair.a.snapshot() if each.way == TO_B]), 1)
