"""
Tests of L{atmosphere.network.path.way_table}.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase
from typing_extensions import override

from atmosphere.addresses import TransportAddress
from atmosphere.network.nat.candidates import AddressRules, CandidateType, make_candidate
from atmosphere.network.path.known_way import WayState
from atmosphere.network.path.way_table import WayTable
from atmosphere.network.path.ways import DirectWay, RelayedWay

from .lane import A_ID, RELAY_TO_B, TO_B, B, host


def direct(last: int) -> DirectWay:
    """
    Make one of many direct ways.
    """
    return DirectWay(TransportAddress("11.1.1.1", 2000 + last))


class TableTests(SynchronousTestCase):
    """
    What becomes a way, and how many.
    """

    @override
    def setUp(self) -> None:
        """
        Make an empty table.
        """
        self.table = WayTable(AddressRules(allow_private=True))

    def test_initial(self) -> None:
        """
        Of each class only so many ways are known before the link.
        """
        relays = [RelayedWay(f"wss://{number}", A_ID) for number in range(10)]
        self.assertEqual(sum(map(self.table.add_initial, relays)), 8)
        self.assertEqual(sum(self.table.add_initial(direct(each)) for each in range(10)), 4)
        self.assertTrue(self.table.add_initial(direct(0)))
        self.assertTrue(self.table.is_initial(direct(0)))
        self.assertFalse(self.table.is_initial(direct(9)))
        self.assertIsNone(self.table.learn(relays[9], keep=None))

    def test_learned_take_turns(self) -> None:
        """
        The oldest address that never answered gives way to a new one; those
        that answered, and the active one, do not.
        """
        for each in range(8):
            self.assertIsNotNone(self.table.learn(direct(each), keep=None))
        kept = self.table.get(direct(1))
        assert kept is not None
        kept.has_answered = True
        for each in range(8, 12):
            self.assertIsNotNone(self.table.learn(direct(each), keep=direct(0)))
        left = {known.way for known in self.table}
        self.assertEqual(left, {direct(each) for each in (0, 1, 6, 7, 8, 9, 10, 11)})
        for known in self.table:
            known.has_answered = True
        self.assertIsNone(self.table.learn(direct(20), keep=None))

    def test_tell(self) -> None:
        """
        What the peer names becomes a way, what it names no more is dropped
        unless it works or was there before the link.
        """
        self.table.add_initial(direct(0))
        self.table.add_initial(RELAY_TO_B)
        named = [host(direct(each).address) for each in range(5)]
        self.assertEqual(self.table.tell(named, 0.0, is_near=False, keep=None), [])
        works = self.table.get(direct(1))
        assert works is not None
        works.trust("for the test")
        self.table.tell([host(B)], 0.0, is_near=False, keep=direct(2))
        left = {known.way for known in self.table}
        self.assertEqual(left, {direct(0), direct(1), direct(2), RELAY_TO_B, TO_B})
        self.assertIs(works.origin, CandidateType.PEER_REFLEXIVE)
        self.assertIs(works.state, WayState.SUCCEEDED)

    def test_unlikely(self) -> None:
        """
        A private address is unlikely while nothing says that the peer is near.
        """
        self.table.tell([host(B), host(direct(1).address)], 0.0, is_near=False, keep=None)
        self.assertEqual([each.is_unlikely for each in self.table], [True, False])
        self.table.tell([host(B), host(direct(1).address)], 0.0, is_near=True, keep=None)
        self.assertEqual([each.is_unlikely for each in self.table], [False, False])

    def test_recalled(self) -> None:
        """
        An address of earlier days is told from one that the peer names now.
        """
        self.table.add_initial(TO_B)
        (known,) = self.table
        self.assertTrue(known.is_recalled)
        self.table.tell([host(B)], 0.0, is_near=False, keep=None)
        self.assertFalse(known.is_recalled)

    def test_told_after_learned(self) -> None:
        """
        A learned address that the peer then names takes its type.
        """
        known = self.table.learn(TO_B, keep=None)
        assert known is not None
        seen = make_candidate(CandidateType.SERVER_REFLEXIVE, B)
        self.table.tell([seen], 0.0, is_near=False, keep=None)
        self.assertIs(known.origin, CandidateType.SERVER_REFLEXIVE)
        self.assertEqual(known.priority, seen.priority)

    def test_refusals(self) -> None:
        """
        What the rules refuse is no way, and the reason is told.
        """
        self.table.rules = AddressRules()
        refused = self.table.tell(
            [host(B), host(TransportAddress("127.0.0.1", 5000))], 0.0, is_near=True, keep=None
        )
        self.assertEqual(
            [way for way, _ in refused], [DirectWay(TransportAddress("127.0.0.1", 5000))]
        )
        self.assertIsNone(self.table.learn(DirectWay(TransportAddress("::1", 5000)), keep=None))

    def test_barred(self) -> None:
        """
        What is named in a family that we cannot send by is no way; what was known of it
        before the link is one no longer, and what came from there is.
        """
        ipv6 = [DirectWay(TransportAddress("2a10:77:1::2", port)) for port in (7777, 7778)]
        self.table.add_initial(direct(0))
        self.table.add_initial(ipv6[0])
        self.table.rules = AddressRules(barred={True: "no IPv6 here"})
        named = [host(ipv6[1].address), host(direct(1).address)]
        refused = self.table.tell(named, 0.0, is_near=False, keep=None)
        self.assertEqual(refused, [(ipv6[1], "no IPv6 here")])
        self.assertEqual({known.way for known in self.table}, {direct(0), direct(1)})
        self.assertIsNotNone(self.table.learn(ipv6[0], keep=None))

    def test_limits(self) -> None:
        """
        There are never more than 32 direct ways by being named.
        """
        for turn in range(4):
            named = [host(direct(16 * turn + each).address) for each in range(16)]
            self.table.tell(named, 1000.0 * turn, is_near=False, keep=None)
            for known in self.table:
                known.trust("for the test")
        self.assertEqual(len(list(self.table)), 32)

    def test_last_answered(self) -> None:
        """
        The way that answered last is found, if we can send by it.
        """
        self.assertIsNone(self.table.last_answered())
        for each in range(3):
            known = self.table.learn(direct(each), keep=None)
            assert known is not None
            known.check_answered(each, each, full_out=True, full_in=True, heartbeat=4.0)
        last = self.table.get(direct(2))
        assert last is not None
        self.assertIs(self.table.last_answered(), last)
        last.lose(3.0, "gone")
        found = self.table.last_answered()
        assert found is not None
        self.assertEqual(found.way, direct(1))
