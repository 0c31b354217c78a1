"""
Tests of L{atmosphere.network.path.paths}: two engines, several ways, virtual time.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from atmosphere.addresses import TransportAddress
from atmosphere.network.path.known_way import DISTRUST_AFTER, WayState
from atmosphere.network.path.reports import ObservedAddress, PathChanged, PathRestored, PathSilent
from atmosphere.network.path.selection import PathPolicy
from atmosphere.network.path.ways import DirectWay

from .lane import RELAY, RELAY_TO_A, RELAY_TO_B, TO_A, TO_B, A, B, Pair, host


class OpeningTests(SynchronousTestCase):
    """
    Before the welcome, and the first moments after it.
    """

    def test_dialler_sends_on_all(self) -> None:
        """
        Before the welcome the dialler sends on a relay and at most 4 addresses.
        """
        pair = Pair()
        self.assertEqual(pair.a.routes(pair.now), ())
        self.assertTrue(pair.a.add_initial_way(RELAY_TO_B))
        ways = [DirectWay(TransportAddress("10.0.0.2", port)) for port in range(7777, 7783)]
        taken = [pair.a.add_initial_way(way) for way in ways]
        self.assertEqual(taken, [True] * 4 + [False] * 2)
        self.assertTrue(pair.a.add_initial_way(ways[0]))
        self.assertEqual(pair.a.routes(pair.now), (RELAY_TO_B, *ways[:4]))

    def test_listener_answers_on_first(self) -> None:
        """
        The listener answers on the way by which its first datagram came, and
        both take that way at the welcome.
        """
        pair = Pair()
        self.assertEqual(pair.b.routes(pair.now), ())
        pair.a.add_initial_way(RELAY_TO_B)
        pair.a.add_initial_way(TO_B)
        pair.send_data("a")
        pair.run(0.1)
        self.assertEqual(pair.b.routes(pair.now), (TO_A,))
        pair.send_data("b")
        pair.run(0.1)
        self.assertEqual(pair.a.active, TO_B)
        self.assertEqual(set(pair.a.routes(pair.now)), {TO_B, RELAY_TO_B})
        pair.a.welcomed(pair.now)
        pair.a.welcomed(pair.now)
        self.assertEqual(pair.a.routes(pair.now), (TO_B,))
        self.assertFalse(pair.a.add_initial_way(RELAY_TO_B))

    def test_first_way_may_be_anywhere(self) -> None:
        """
        The listener answers its first datagram also where it would try no
        candidate, such as on loopback.
        """
        pair = Pair()
        loopback = DirectWay(TransportAddress("127.0.0.1", 5000))
        pair.b.datagram_received(loopback, pair.now)
        self.assertEqual(pair.b.routes(pair.now), (loopback,))
        pair.b.datagram_received(DirectWay(TransportAddress("127.0.0.1", 5001)), pair.now)
        self.assertEqual(len(pair.b.snapshot()), 1)

    def test_dialler_hears_by_a_way_it_did_not_send_by(self) -> None:
        """
        An answer from an address that the dialler did not dial proves no way;
        at the welcome it begins on the first that it dialled.
        """
        pair = Pair()
        pair.a.add_initial_way(RELAY_TO_B)
        pair.a.datagram_received(TO_B, pair.now)
        self.assertIsNone(pair.a.active)
        self.assertIsNone(pair.a.active_kind)
        pair.a.welcomed(pair.now)
        self.assertEqual(pair.a.active, RELAY_TO_B)
        self.assertEqual(pair.a.active_kind, "relayed")

    def test_welcome_without_any_way(self) -> None:
        """
        A welcome with no way known is survived; the first relay serves.
        """
        pair = Pair()
        pair.b.welcomed(pair.now)
        pair.b.set_remote_offer(pair.a.local_offer([host(A)], [RELAY]), pair.now)
        self.assertEqual(pair.b.routes(pair.now), ())
        pair.b.way_back(RELAY_TO_A, pair.now)
        pair.a.welcomed(pair.now)
        pair.a.set_remote_offer(pair.b.local_offer([], []), pair.now)
        pair.run(2.0)
        self.assertEqual(pair.b.active, TO_A)

    def test_no_checks_before_offer(self) -> None:
        """
        Without the peer's offer nothing is checked and nothing distrusted.
        """
        pair = Pair()
        pair.connect()
        self.assertIsNone(pair.a.get_timer())
        pair.a.handle_timer(pair.now + 5)
        pair.run(60.0)
        self.assertEqual(pair.a.active, RELAY_TO_B)
        self.assertEqual(pair.a.datagrams_to_send(pair.now), [])

    def test_offer_before_welcome(self) -> None:
        """
        An offer that came with the proof waits for the welcome.
        """
        pair = Pair()
        pair.a.add_initial_way(RELAY_TO_B)
        pair.exchange()
        pair.send_data("a")
        pair.run(0.1)
        self.assertEqual(pair.a.datagrams_to_send(pair.now), [])
        pair.send_data("b")
        pair.run(0.1)
        pair.a.welcomed(pair.now)
        pair.b.welcomed(pair.now)
        pair.run(1.0)
        self.assertEqual((pair.a.active, pair.b.active), (TO_B, TO_A))

    def test_checks_begin_before_our_welcome(self) -> None:
        """
        A check that overtakes the welcome is answered, not dropped.
        """
        pair = Pair()
        pair.a.add_initial_way(RELAY_TO_B)
        pair.exchange()
        pair.send_data("a")
        pair.run(0.1)
        pair.b.welcomed(pair.now)
        pair.run(0.1)
        self.assertEqual(pair.b.active, TO_A)
        self.assertIsNone(pair.a.active)


class ChoiceTests(SynchronousTestCase):
    """
    Data moves to the best way, and away from a dead one.
    """

    def test_relayed_then_direct(self) -> None:
        """
        A link that began on the relay is direct one direct round trip after
        both sides know each other's offer.
        """
        pair = Pair()
        pair.connect()
        self.assertEqual((pair.a.active, pair.b.active), (RELAY_TO_B, RELAY_TO_A))
        start = pair.now
        pair.exchange()
        pair.run(2.0)
        self.assertEqual((pair.a.active, pair.b.active), (TO_B, TO_A))
        for name in "ab":
            self.assertLessEqual(pair.changes(name, start)[-1][0], start + 0.002 + 1e-9)
        self.assertEqual(pair.a.active_kind, "direct")
        self.assertAlmostEqual(pair.a.snapshot()[0].rtt or 0, 0.002)
        seen = [event for _, event in pair.events["a"] if isinstance(event, ObservedAddress)]
        self.assertEqual(seen, [ObservedAddress(A)])

    def test_through_two_nats(self) -> None:
        """
        Through two NATs that let in only answers, the link is direct one and a half
        round trips after both offers were there, however far apart the two arrive.
        """
        for apart in (0.0, 0.01, 0.04, 0.1, 0.3):
            pair = Pair(relay=0.04, direct=0.04)
            there, back = pair.lanes["a", TO_B], pair.lanes["b", TO_A]
            there.gate, back.gate = back, there
            pair.connect()
            offer = pair.a.local_offer([host(A)], [RELAY])
            pair.b.set_remote_offer(offer, pair.now)
            pair.run(apart)
            start = pair.now
            pair.a.set_remote_offer(pair.b.local_offer([host(B)], [RELAY]), pair.now)
            pair.run(2.0)
            for name in "ab":
                self.assertLessEqual(pair.changes(name, start)[-1][0] - start, 0.12 + 1e-6, apart)

    def test_same_way_each_time(self) -> None:
        """
        While data comes and goes by the active way no way is looked at; when some
        comes by another, they are.
        """
        pair = Pair()
        pair.open()
        now = pair.now
        pair.a.datagram_received(TO_B, now)
        pair.a.datagrams_to_send(now)
        due = pair.a.get_timer()
        for _ in range(3):
            pair.a.datagram_received(TO_B, now)
            pair.a.routes(now)
            self.assertEqual(pair.a.datagrams_to_send(now), [])
            self.assertEqual(pair.a.get_timer(), due)
        self.assertFalse(pair.a._ways.is_touched)
        self.assertEqual(pair.a.snapshot()[0].last_heard, now)
        pair.a.get_timer()
        pair.a.datagram_received(RELAY_TO_B, now)
        self.assertTrue(pair.a._ways.is_touched)
        self.assertLessEqual(pair.a.get_timer() or 1e9, now + 1)
        pair.a.datagram_received(DirectWay(B), now + 0.2)
        self.assertEqual(pair.a.snapshot()[0].last_heard, now + 0.2)

    def test_snapshot(self) -> None:
        """
        Status lists the active way first, with state, round trip and reason.
        """
        pair = Pair()
        pair.open()
        first, second = pair.a.snapshot()
        self.assertEqual((first.way, first.kind, first.is_active), (TO_B, "direct", True))
        self.assertEqual(
            (second.way, second.kind, second.is_active), (RELAY_TO_B, "relayed", False)
        )
        self.assertIs(second.state, WayState.SUCCEEDED)
        self.assertAlmostEqual(second.rtt or 0, 0.02)
        self.assertIsNotNone(first.last_heard)
        self.assertIn("1200 bytes", first.reason)

    def direct_dies(self, pair: Pair, *, within: float) -> None:
        """
        Cut the direct way; both change to the relay's, once.

        @param within: seconds.
        """
        start = pair.now
        pair.cut(TO_A, TO_B)
        pair.run(7.0)
        for name, relay in (("a", RELAY_TO_B), ("b", RELAY_TO_A)):
            ((at, way),) = pair.changes(name, start)
            self.assertEqual(way, relay)
            self.assertLessEqual(at - start, within)

    def test_direct_dies_and_returns(self) -> None:
        """
        When the direct way goes silent data is on the relay within 6.5 s, and
        is direct again soon after it is back.
        """
        pair = Pair()
        pair.open()
        self.direct_dies(pair, within=6.5)
        pair.run(20.0)
        pair.cut(TO_A, TO_B, is_up=True)
        pair.run(32.0)
        self.assertEqual((pair.a.active, pair.b.active), (TO_B, TO_A))
        self.assertFalse(pair.a.is_silent)

    def test_direct_dies_while_data_flow(self) -> None:
        """
        When data flow and the direct way dies they are on the relay within 2 s.
        """
        pair = Pair()
        pair.open()
        pair.stream("a", 0.05, pair.now + 60)
        pair.stream("b", 0.05, pair.now + 60)
        pair.run(5.0)
        self.direct_dies(pair, within=2.0)

    def test_silence_and_return(self) -> None:
        """
        When everything is dead the owner is told once, and told again within
        half a second and a bit of a way being back.
        """
        for seed in range(1, 8):
            self._fall_silent_and_return(Pair(seed=seed))

    def _fall_silent_and_return(self, pair: Pair) -> None:
        """
        Do so for a minute.
        """
        pair.open()
        pair.cut(TO_A, TO_B, RELAY_TO_A, RELAY_TO_B)
        start = pair.now
        pair.run(60.0)
        silent = [at for at, event in pair.events["a"] if isinstance(event, PathSilent)]
        self.assertEqual(len(silent), 1)
        self.assertLessEqual(silent[0] - start, 6.5)
        self.assertTrue(pair.a.is_silent)
        start = pair.now
        pair.cut(TO_A, TO_B, RELAY_TO_A, RELAY_TO_B, is_up=True)
        pair.run(1.0)
        restored = [at for at, event in pair.events["a"] if isinstance(event, PathRestored)]
        self.assertEqual(len(restored), 1)
        self.assertLessEqual(restored[0] - start, 0.53)
        self.assertFalse(pair.a.is_silent)

    def test_long_silence_backs_off(self) -> None:
        """
        After two minutes of silence a way is looked at only once a minute, but
        for ever: it comes back without a restart.
        """
        pair = Pair()
        pair.open()
        pair.cut(TO_A, TO_B, RELAY_TO_A, RELAY_TO_B)
        pair.run(3600.0)
        lane = pair.lanes["a", TO_B]
        last_hour = [at for at, _ in lane.sent if at > pair.now - 600]
        self.assertTrue(8 <= len(last_hour) <= 11, len(last_hour))
        pair.cut(TO_A, TO_B, RELAY_TO_A, RELAY_TO_B, is_up=True)
        pair.run(62.0)
        self.assertEqual((pair.a.active, pair.b.active), (TO_B, TO_A))

    def test_short_cut_is_restored(self) -> None:
        """
        A cut shorter than distrust changes no way, and its end is reported at
        once, so that QUIC sends again.
        """
        pair = Pair()
        pair.open()
        pair.stream("a", 0.1, pair.now + 20)
        pair.run(5.0)
        start = pair.now
        pair.cut(TO_A, TO_B, RELAY_TO_A, RELAY_TO_B)
        pair.run(4.0)
        pair.cut(TO_A, TO_B, RELAY_TO_A, RELAY_TO_B, is_up=True)
        back = pair.now
        pair.run(3.0)
        restored = [at for at, event in pair.events["a"] if isinstance(event, PathRestored)]
        self.assertEqual(pair.changes("a", start), [])
        self.assertLessEqual(restored[0] - back, 0.5)

    def test_one_direction_dies(self) -> None:
        """
        A way that no longer carries our datagrams is left, though the peer's
        still arrive by it.
        """
        pair = Pair()
        pair.open()
        pair.stream("a", 0.05, pair.now + 30)
        pair.stream("b", 0.05, pair.now + 30)
        start = pair.now
        pair.lanes["a", TO_B].is_up = False
        pair.run(DISTRUST_AFTER + 0.1)
        self.assertEqual(pair.a.active, RELAY_TO_B)
        pair.run(20.0)
        self.assertEqual(len(pair.changes("a", start)), 1)

    def test_loses_large_datagrams(self) -> None:
        """
        A way that answers small checks and loses full-size ones is never taken.
        """
        pair = Pair()
        for way, name in ((TO_B, "a"), (TO_A, "b")):
            pair.lanes[name, way].mtu = 1000
        pair.open()
        pair.run(60.0)
        self.assertEqual((pair.a.active, pair.b.active), (RELAY_TO_B, RELAY_TO_A))
        (report,) = [each for each in pair.a.snapshot() if each.way == TO_B]
        self.assertIs(report.state, WayState.FAILED)
        self.assertTrue(any("6 checks of 1200" in each.text for each in pair.a.decisions))

    def test_begins_to_lose_large_datagrams(self) -> None:
        """
        A way in use that begins to lose full-size datagrams is left.
        """
        pair = Pair()
        pair.open()
        pair.stream("a", 0.2, pair.now + 60)
        pair.lanes["a", TO_B].mtu = 1000
        pair.run(12.0)
        self.assertEqual(pair.a.active, RELAY_TO_B)

    def test_lossy_link_lives(self) -> None:
        """
        With 30 % loss on every way for five minutes the link is never silent.
        """
        for seed in range(5):
            pair = Pair(seed=seed)
            for lane in pair.lanes.values():
                lane.loss = 0.3
            pair.connect()
            if pair.a.active is None or pair.b.active is None:
                continue
            pair.exchange()
            pair.run(300.0)
            for name in "ab":
                self.assertEqual(
                    [event for _, event in pair.events[name] if isinstance(event, PathSilent)], []
                )

    def test_flapping_way_is_held_back(self) -> None:
        """
        A direct way that comes and goes is taken more and more rarely.
        """
        pair = Pair()
        pair.open()
        start = pair.now
        for _ in range(30):
            pair.cut(TO_A, TO_B)
            pair.run(10.0)
            pair.cut(TO_A, TO_B, is_up=True)
            pair.run(10.0)
        self.assertLess(len(pair.changes("a", start)), 40)


class PolicyTests(SynchronousTestCase):
    """
    What the user wants of a link.
    """

    def test_relayed(self) -> None:
        """
        A link that is to stay relayed sends no check to an address, answers
        none, and stays on the relay.
        """
        pair = Pair(policy=PathPolicy.RELAYED)
        self.assertFalse(pair.a.add_initial_way(TO_B))
        pair.open()
        pair.run(30.0)
        self.assertEqual((pair.a.active, pair.b.active), (RELAY_TO_B, RELAY_TO_A))
        self.assertEqual(pair.lanes["a", TO_B].sent, [])

    def test_change_to_relayed_and_back(self) -> None:
        """
        The policy may change while the link stands: the peer follows when its
        direct way is no longer answered.
        """
        pair = Pair()
        pair.open()
        pair.a.set_policy(PathPolicy.RELAYED, pair.now)
        self.assertEqual(pair.a.active, RELAY_TO_B)
        pair.run(7.0)
        self.assertEqual(pair.b.active, RELAY_TO_A)
        pair.a.set_policy(PathPolicy.AUTO, pair.now)
        pair.run(62.0)
        self.assertEqual((pair.a.active, pair.b.active), (TO_B, TO_A))

    def test_direct(self) -> None:
        """
        A link that is to be direct begins relayed, and does not go back.
        """
        pair = Pair(policy=PathPolicy.DIRECT)
        pair.open()
        self.assertEqual(pair.a.active, TO_B)
        pair.cut(TO_A, TO_B)
        pair.run(10.0)
        self.assertEqual(pair.a.active, TO_B)
        self.assertTrue(pair.a.is_silent)
        pair.a.way_lost(TO_B, pair.now)
        self.assertEqual(pair.a.routes(pair.now), ())

    def test_policy_before_welcome(self) -> None:
        """
        The policy may be set before the link stands.
        """
        pair = Pair()
        pair.a.set_policy(PathPolicy.DIRECT, pair.now)
        self.assertEqual(pair.a.decisions[-1].text, "the policy is direct")

    def test_changes_are_explained(self) -> None:
        """
        Each change says what was measured and which rule decided.
        """
        pair = Pair()
        pair.open()
        reasons = [event.reason for _, event in pair.events["a"] if isinstance(event, PathChanged)]
        self.assertEqual(reasons, ["the link began by it", "direct before relayed, 2.0 ms"])
        self.assertLessEqual(len(pair.a.decisions), 64)
