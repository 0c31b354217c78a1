"""
Tests of L{atmosphere.network.path.paths}: relays, addresses and machines that
come and go.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from atmosphere.addresses import TransportAddress
from atmosphere.network.nat.candidates import AddressRules, CandidateType, make_candidate
from atmosphere.network.path.known_way import WayState
from atmosphere.network.path.ways import DirectWay, RelayedWay

from .lane import A_ID, B_ID, RELAY, RELAY_TO_A, RELAY_TO_B, TO_A, TO_B, A, B, Lane, Pair, host


class RelayTests(SynchronousTestCase):
    """
    Relays come and go.
    """

    def test_relay_lost_while_direct(self) -> None:
        """
        Losing the relay changes nothing for a direct link.
        """
        pair = Pair()
        pair.open()
        start = pair.now
        for side, way in ((pair.a, RELAY_TO_B), (pair.b, RELAY_TO_A)):
            side.way_lost(way, pair.now)
            side.way_lost(way, pair.now)
        pair.run(10.0)
        self.assertEqual(pair.changes("a", start), [])
        pair.a.way_back(RELAY_TO_B, pair.now)
        pair.a.way_back(RELAY_TO_B, pair.now)
        pair.run(1.0)
        (report,) = [each for each in pair.a.snapshot() if each.way == RELAY_TO_B]
        self.assertIs(report.state, WayState.SUCCEEDED)

    def test_relay_lost_while_relayed(self) -> None:
        """
        When our only way's relay goes we send nothing; when it is back, at once.
        """
        pair = Pair()
        pair.cut(TO_A, TO_B)
        pair.open()
        pair.a.way_lost(RELAY_TO_B, pair.now, "the relay is gone")
        self.assertEqual(pair.a.routes(pair.now), ())
        pair.run(10.0)
        self.assertTrue(pair.a.is_silent)
        pair.a.way_back(RELAY_TO_B, pair.now)
        self.assertEqual(pair.a.routes(pair.now), (RELAY_TO_B,))
        pair.run(1.0)
        self.assertFalse(pair.a.is_silent)

    def test_direct_lost_at_once(self) -> None:
        """
        When the socket refuses to send on the direct way, the relay takes over
        without waiting; a relay unknown until then may be added.
        """
        pair = Pair()
        pair.open()
        pair.a.way_lost(TO_B, pair.now, "no route to host")
        self.assertEqual(pair.a.routes(pair.now), (RELAY_TO_B,))
        other, back = RelayedWay("wss://two", B_ID), RelayedWay("wss://two", A_ID)
        pair.lanes["a", other] = Lane(back, 0.001)
        pair.lanes["b", back] = Lane(other, 0.001)
        pair.a.way_back(other, pair.now)
        pair.run(5.0)
        self.assertEqual(pair.a.active, other)
        self.assertIn(back, [each.way for each in pair.b.snapshot()])

    def test_all_lost(self) -> None:
        """
        With the active way lost and no proven one, a way that once answered
        is used rather than none.
        """
        pair = Pair()
        pair.open()
        pair.cut(RELAY_TO_A, RELAY_TO_B)
        pair.run(10.0)
        pair.a.way_lost(TO_B, pair.now)
        self.assertEqual(pair.a.routes(pair.now), (RELAY_TO_B,))

    def test_unknown_address_is_back(self) -> None:
        """
        An address that nobody named is no way because our socket is back.
        """
        pair = Pair()
        pair.open()
        pair.a.way_back(DirectWay(A), pair.now)
        self.assertEqual(len(pair.a.snapshot()), 2)

    def test_relay_lost_before_welcome(self) -> None:
        """
        A relay that goes before the welcome carries no more first flights; a
        relay that comes carries them.
        """
        pair = Pair()
        pair.a.add_initial_way(TO_B)
        pair.a.way_back(RELAY_TO_B, pair.now)
        self.assertEqual(pair.a.routes(pair.now), (TO_B, RELAY_TO_B))
        pair.a.way_lost(RELAY_TO_B, pair.now)
        self.assertEqual(pair.a.routes(pair.now), (TO_B,))
        pair.a.way_back(RELAY_TO_B, pair.now)
        self.assertEqual(pair.a.routes(pair.now), (TO_B, RELAY_TO_B))
        pair.a.way_lost(DirectWay(A), pair.now)
        pair.a.way_back(DirectWay(A), pair.now)


class RoamingTests(SynchronousTestCase):
    """
    Addresses change, NATs forget, machines sleep.
    """

    def rebind(self, pair: Pair) -> DirectWay:
        """
        Let A's NAT give it another port, by which alone B now reaches it.
        """
        moved = DirectWay(TransportAddress("10.0.0.1", 9999))
        pair.lanes["a", TO_B].arrives_as = moved
        pair.lanes["b", moved] = Lane(TO_B, 0.001)
        pair.lanes["b", TO_A].is_up = False
        return moved

    def test_rebinding_with_data(self) -> None:
        """
        After A's NAT rebinds, B sends to the new address within a second when
        data flows both ways, and without ever going to the relay.
        """
        pair = Pair()
        pair.open()
        pair.stream("a", 0.05, pair.now + 10)
        pair.stream("b", 0.05, pair.now + 10)
        pair.run(2.0)
        start = pair.now
        moved = self.rebind(pair)
        pair.run(5.0)
        ((at, way),) = pair.changes("b", start)
        self.assertEqual(way, moved)
        self.assertLessEqual(at - start, 1.0)
        self.assertEqual(pair.b.active_kind, "punched")

    def test_rebinding_while_receiving(self) -> None:
        """
        When only B sends, A notices the quiet within a second and B finds the
        new address within three.
        """
        pair = Pair()
        pair.open()
        pair.stream("b", 0.05, pair.now + 10)
        pair.run(2.0)
        start = pair.now
        moved = self.rebind(pair)
        pair.run(5.0)
        ((at, way),) = pair.changes("b", start)
        self.assertEqual(way, moved)
        self.assertLessEqual(at - start, 3.0)

    def test_punched(self) -> None:
        """
        An address that only a check revealed is reached, and called punched.
        """
        pair = Pair()
        moved = DirectWay(TransportAddress("10.0.0.1", 9999))
        pair.lanes["a", TO_B].arrives_as = moved
        pair.lanes["b", moved] = Lane(TO_B, 0.001)
        del pair.lanes["b", TO_A]
        pair.open()
        self.assertEqual((pair.a.active, pair.b.active), (TO_B, moved))
        self.assertEqual((pair.a.active_kind, pair.b.active_kind), ("direct", "punched"))

    def test_new_local_candidates(self) -> None:
        """
        When our addresses change the offer's generation rises, and ways that
        failed are looked at again at once.
        """
        pair = Pair()
        pair.cut(TO_A, TO_B)
        pair.open()
        pair.run(30.0)
        offer = pair.a.new_local_candidates([host(A)], [RELAY], pair.now)
        self.assertIsNone(offer)
        pair.cut(TO_A, TO_B, is_up=True)
        offer = pair.a.new_local_candidates([host(A), host(B)], [RELAY], pair.now)
        assert offer is not None
        self.assertEqual(offer.generation, 2)
        pair.run(0.1)
        self.assertEqual(pair.a.active, TO_B)

    def test_new_local_relays(self) -> None:
        """
        When only our relays change there is a new offer, and no new checks.
        """
        pair = Pair()
        pair.cut(TO_A, TO_B)
        pair.open()
        pair.run(15.0)
        before = len(pair.lanes["a", TO_B].sent)
        offer = pair.a.new_local_candidates([host(A)], [], pair.now)
        assert offer is not None
        self.assertEqual((offer.generation, offer.relays), (2, ()))
        pair.run(0.1)
        self.assertEqual(len(pair.lanes["a", TO_B].sent), before)

    def test_new_local_candidates_before_welcome(self) -> None:
        """
        Before the welcome a change of our addresses only makes another offer.
        """
        pair = Pair()
        rules = pair.a._ways.rules
        offer = pair.a.new_local_candidates([host(A)], [RELAY], pair.now, rules)
        assert offer is not None
        self.assertEqual(offer.generation, 1)

    def test_peer_names_another_address(self) -> None:
        """
        A newer offer brings new addresses and drops old ones that do not work;
        one that is not newer changes nothing.
        """
        pair = Pair()
        pair.cut(TO_A, TO_B)
        pair.open()
        other = TransportAddress("10.0.0.2", 8888)
        old = pair.a.remote_offer
        assert old is not None
        offer = pair.b.local_offer([host(other)], [RELAY])
        pair.a.set_remote_offer(offer, pair.now)
        pair.a.set_remote_offer(old, pair.now)
        pair.run(0.5)
        ways = [each.way for each in pair.a.snapshot()]
        self.assertIn(DirectWay(other), ways)
        self.assertNotIn(TO_B, ways)

    def test_new_credentials(self) -> None:
        """
        New credentials of the peer, an ICE restart, make all ways be checked
        with them.
        """
        pair = Pair()
        pair.open()
        other = Pair(seed=7)
        pair.b._checker.conversation.local = other.b._checker.conversation.local
        offer = pair.b.local_offer([host(B), host(A)], [RELAY])
        pair.a.set_remote_offer(offer, pair.now)
        pair.run(20.0)
        self.assertEqual(pair.a.active, TO_B)
        self.assertFalse(pair.a.is_silent)

    def test_same_public_address(self) -> None:
        """
        A private address of a peer is tried when both were seen at the same
        public address, and else refused with a reason.
        """
        public = make_candidate(CandidateType.SERVER_REFLEXIVE, TransportAddress("11.1.1.1", 4000))
        for ours, is_tried in (([host(A), public], True), ([host(A)], False)):
            pair = Pair()
            pair.a._ways.rules = type(pair.a._ways.rules)()
            pair.connect()
            theirs = pair.b.local_offer([host(B), public], [])
            pair.a.set_remote_offer(theirs, pair.now)
            pair.a.new_local_candidates(ours, [], pair.now)
            self.assertEqual(TO_B in [each.way for each in pair.a.snapshot()], is_tried)
            self.assertTrue(any("private" in each.text for each in pair.a.decisions))

    def test_families(self) -> None:
        """
        A peer's address of a family that we cannot send by is not checked, until we can,
        though nothing else of ours changes.
        """
        pair = Pair(rules=AddressRules(allow_private=True, barred={False: "no IPv4 here"}))
        pair.open()
        self.assertEqual(pair.lanes["a", TO_B].sent, [])
        (refused,) = [each for each in pair.a.story(pair.now).ways if each.is_refused]
        self.assertEqual((refused.way, refused.fact), (TO_B, "no IPv4 here"))
        rules = AddressRules(allow_private=True)
        self.assertIsNone(pair.a.new_local_candidates([host(A)], [RELAY], pair.now, rules))
        pair.run(0.1)
        self.assertEqual(pair.a.active, TO_B)

    def test_families_before_welcome(self) -> None:
        """
        Before the welcome such a change is kept for later.
        """
        pair = Pair(rules=AddressRules(allow_private=True, barred={False: "no IPv4 here"}))
        rules = AddressRules(allow_private=True)
        pair.a.local_offer([host(A)], [RELAY])
        self.assertIsNone(pair.a.new_local_candidates([host(A)], [RELAY], pair.now, rules))
        pair.open()
        self.assertEqual(pair.a.active, TO_B)

    def test_woke(self) -> None:
        """
        After a sleep all ways are checked at once: those that answer stay,
        those that do not are left within three seconds.
        """
        pair = Pair()
        pair.open()
        pair.cut(TO_A, TO_B)
        pair.now += 600.0
        start = pair.now
        for side in (pair.a, pair.b):
            side.woke(pair.now)
        pair.run(3.1)
        ((at, way),) = pair.changes("a", start)
        self.assertEqual(way, RELAY_TO_B)
        self.assertLessEqual(at - start, 3.0)
        self.assertFalse(pair.a.is_silent)

    def test_sleep_is_noticed(self) -> None:
        """
        A timer that comes far too late means that the machine slept; the link
        is not silent for that.
        """
        pair = Pair()
        pair.open()
        start = pair.now
        pair.now += 600.0
        pair.run(5.0)
        self.assertEqual([event for at, event in pair.events["a"] if at > start], [])
        self.assertEqual(pair.a.active, TO_B)

    def test_sleep_is_noticed_by_a_datagram(self) -> None:
        """
        It is noticed too when a datagram comes before the late timer.
        """
        pair = Pair()
        pair.open()
        start = pair.now
        pair.now += 600.0
        pair.a.datagrams_to_send(pair.now)
        self.assertEqual(pair.a.decisions[-1].text, "woke from sleep")
        pair.run(5.0)
        self.assertEqual([event for at, event in pair.events["a"] if at > start], [])

    def test_woke_before_anything(self) -> None:
        """
        Waking before the welcome does no harm.
        """
        pair = Pair()
        pair.a.woke(pair.now)
        self.assertIsNone(pair.a.get_timer())
