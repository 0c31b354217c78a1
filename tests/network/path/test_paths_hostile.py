"""
Tests of L{atmosphere.network.path.paths} against peers and strangers that do
what they should not.
"""

from __future__ import annotations

import itertools
from dataclasses import replace

from hypothesis import given, settings, strategies as st
from twisted.trial.unittest import SynchronousTestCase

from atmosphere.addresses import TransportAddress
from atmosphere.network.nat.credentials import Credentials
from atmosphere.network.nat.port_prediction import PredictionBudget
from atmosphere.network.path.check_budget import CheckBudget
from atmosphere.network.path.checks import CheckConversation
from atmosphere.network.path.known_way import WayState
from atmosphere.network.path.ways import DirectWay, Way
from atmosphere.network.stun.message import (
    Class,
    Message,
    decode_message,
    encode_check,
    encode_message,
)

from .lane import B_ID, DATA, RELAY, RELAY_TO_A, RELAY_TO_B, TO_A, TO_B, A, B, Pair, host


def is_answer(data: bytes) -> bool:
    """
    Say whether a datagram answers a check.
    """
    return decode_message(data).is_response


def forged_check(pair: Pair, *, pwd: str | None = None, size: int = 0) -> bytes:
    """
    Write a check to A that carries B's name.

    @param pwd: the key; A's own unless given.
    """
    local = pair.a._checker.conversation.local
    return encode_check(
        pair.random.randbytes(12),
        username=f"{pair.a.local_ufrag}:{pair.b.local_ufrag}",
        key=(local.pwd if pwd is None else pwd).encode(),
        priority=1,
        tie_breaker=1,
        is_controlling=False,
        size=size,
    )


class StrangerTests(SynchronousTestCase):
    """
    Datagrams of those who do not hold the keys.
    """

    def test_forged_check(self) -> None:
        """
        A check with a wrong password is not answered and teaches nothing.
        """
        pair = Pair()
        pair.open()
        before = [each.way for each in pair.a.snapshot()]
        evil = DirectWay(TransportAddress("11.6.6.6", 6666))
        pair.a.receive_datagram(forged_check(pair, pwd="x" * 24), evil, pair.now)
        self.assertEqual(pair.a.datagrams_to_send(pair.now), [])
        self.assertEqual([each.way for each in pair.a.snapshot()], before)

    def test_forged_response(self) -> None:
        """
        A response with a wrong key, or by another way, answers nothing.
        """
        pair = Pair()
        pair.connect()
        pair.cut(TO_A, TO_B)
        pair.exchange()
        pair.run(0.01)
        request = next(data for _, data in pair.lanes["a", TO_B].sent if not data.startswith(DATA))
        message = decode_message(request)
        liar = CheckConversation(
            local=Credentials("evil", "x" * 24),
            is_controlling=False,
            entropy=pair.random.randbytes,
        )
        forged = liar.answer_to(request, message, TO_A)
        right = pair.b._checker.conversation.answer_to(request, message, TO_A)
        assert forged is not None and right is not None
        for data, way in ((forged, TO_B), (right, RELAY_TO_B), (right[:-1], TO_B)):
            pair.a.receive_datagram(data, way, pair.now)
            self.assertTrue(pair.a.is_waiting_for(message.transaction_id))
        pair.a.receive_datagram(right, TO_B, pair.now)
        self.assertFalse(pair.a.is_waiting_for(message.transaction_id))
        pair.a.receive_datagram(right, TO_B, pair.now)

    def test_replayed_check(self) -> None:
        """
        A check that was overheard counts once: thrown at us again, by whatever way and
        however often, it gets no answer, makes no way known, and does not keep the
        peer's own checks from being answered.
        """
        pair = Pair()
        pair.open()
        pair.run(10.0)
        sent = pair.lanes["b", TO_A].sent + pair.lanes["b", RELAY_TO_A].sent
        checks = [data for _, data in sent if data[:2] == b"\0\1"]
        self.assertGreater(len(checks), 3)
        before = {each.way for each in pair.a.snapshot()}
        names: list[Way] = [TO_B, RELAY_TO_B]
        names += [DirectWay(TransportAddress("11.6.6.6", 5000 + each)) for each in range(8)]
        replays = itertools.cycle(itertools.product(checks, names))
        for _ in range(200):
            for data, way in itertools.islice(replays, 20):
                pair.a.receive_datagram(data, way, pair.now)
            pair.run(0.1)
        asked = [data for _, data in pair.lanes["b", TO_A].sent if not is_answer(data)]
        answers = [data for _, data in pair.lanes["a", TO_B].sent if is_answer(data)]
        self.assertEqual(len(answers), len(asked))
        self.assertEqual({each.way for each in pair.a.snapshot()}, before)
        self.assertEqual(pair.strays, [])
        self.assertEqual((pair.a.active, pair.b.active), (TO_B, TO_A))
        self.assertFalse(any(each.state is not WayState.SUCCEEDED for each in pair.b.snapshot()))

    def test_indication(self) -> None:
        """
        A Binding indication asks for nothing and gets nothing.
        """
        pair = Pair()
        pair.open()
        data = encode_message(Message(Class.INDICATION, bytes(12)))
        pair.a.receive_datagram(data, TO_B, pair.now)
        self.assertEqual(pair.a.datagrams_to_send(pair.now), [])

    def test_reflected_check(self) -> None:
        """
        Our own check, thrown back at us, is not taken for the peer's.
        """
        pair = Pair()
        pair.open()
        pair.run(5.0)
        own = [data for _, data in pair.lanes["a", TO_B].sent]
        pair.a.datagrams_to_send(pair.now)
        for data in own:
            if decode_message(data).message_class is Class.REQUEST:
                pair.a.receive_datagram(data, TO_B, pair.now)
        self.assertEqual(pair.a.datagrams_to_send(pair.now), [])

    @settings(max_examples=200, derandomize=True, deadline=None)
    @given(st.binary(max_size=200) | st.binary(max_size=60).map(lambda b: b"\x00\x01" + b))
    def test_any_bytes(self, data: bytes) -> None:
        """
        Any bytes are dropped without a word.
        """
        pair = Pair()
        pair.a.receive_datagram(data, TO_B, pair.now)
        self.assertEqual(pair.a.datagrams_to_send(pair.now), [])
        self.assertIsNone(pair.a.next_event())

    @settings(max_examples=200, derandomize=True, deadline=None)
    @given(st.data())
    def test_mutated_checks(self, draw: st.DataObject) -> None:
        """
        A check with any one byte changed is not answered.
        """
        pair = Pair()
        pair.open()
        check = bytearray(forged_check(pair))
        index = draw.draw(st.integers(0, len(check) - 1))
        check[index] ^= draw.draw(st.integers(1, 255))
        pair.a.receive_datagram(bytes(check), TO_B, pair.now)
        self.assertEqual(pair.a.datagrams_to_send(pair.now), [])


class HostilePeerTests(SynchronousTestCase):
    """
    A member that is rightly linked, and means harm.
    """

    def test_third_parties(self) -> None:
        """
        An address that never answers gets 7 checks and later one a minute, never
        data. Four of them get one of full size; all together no more bytes than 7
        checks of 200 bytes each would be.
        """
        pair = Pair()
        pair.connect()
        victims = [TransportAddress("11.2.3.4", 1024 + port) for port in range(16)]
        offer = pair.b.local_offer([host(each) for each in victims], [])
        pair.b.set_remote_offer(pair.a.local_offer([host(A)], []), pair.now)
        start = pair.now
        pair.a.set_remote_offer(offer, pair.now)
        pair.stream("a", 0.05, pair.now + 300)
        pair.run(28.0)
        for victim in victims:
            got = [data for _, _, data, way in pair.strays if way == DirectWay(victim)]
            self.assertLessEqual(len(got), 7)
            self.assertTrue(all(len(data) < 200 for data in got[1:]))
        sizes = [len(data) for _, _, data, _ in pair.strays]
        self.assertEqual(sum(size >= 200 for size in sizes), 4)
        self.assertLessEqual(sum(sizes), 16 * 7 * 200)
        pair.run(272.0)
        later = [at for at, _, _, _ in pair.strays if at > start + 240]
        self.assertLessEqual(len(later), 2 * 16)
        self.assertFalse(any(data.startswith(DATA) for _, _, data, _ in pair.strays))

    def test_named_again(self) -> None:
        """
        A peer that names an address, takes it back and names it again, a thousand times,
        has no more checks sent there than one that names it once.
        """
        pair = Pair()
        pair.connect()
        victims = [TransportAddress("11.2.3.4", 5000 + each) for each in range(16)]
        first = pair.b.local_offer([host(each) for each in victims], [])
        for turn in range(1000):
            named = first.candidates[: 16 * (turn % 2)]
            offer = replace(first, candidates=named, generation=turn + 1)
            pair.a.set_remote_offer(offer, pair.now)
            pair.run(0.3)
        for victim in victims:
            got = [at for at, _, _, way in pair.strays if way == DirectWay(victim)]
            self.assertLessEqual(len(got), 7 + 6)
        self.assertLessEqual(sum(len(data) >= 200 for _, _, data, _ in pair.strays), 4)
        self.assertLessEqual(len(pair.a.snapshot()), 2 + 16)

    def test_link_after_link(self) -> None:
        """
        A member that links with us again and again, and names somebody each time, has no
        more than 160 checks sent there at once, and then one in 2 s; a full-size one counts as 6.
        """
        budget = CheckBudget(100, 100)
        count = size = 0
        began = now = 1000.0
        for seed in range(60):
            pair = Pair(seed=seed, budget=budget)
            pair.now = now
            pair.connect()
            pair.a.may_predict(B_ID, PredictionBudget(), pair.now)
            victims = [TransportAddress("11.2.3.4", 1024 + port) for port in range(16)]
            offer = pair.b.local_offer([host(each) for each in victims], [])
            pair.a.set_remote_offer(offer, pair.now)
            pair.run(5.0)
            now = pair.now
            count += len(pair.strays)
            size += sum(len(data) for _, _, data, _ in pair.strays)
        most = 160 + (now - began) / 2
        self.assertLessEqual(count, most)
        self.assertGreater(count, 100)
        self.assertLessEqual(size, 200 * (most + 5))

    def test_pace(self) -> None:
        """
        Checks to addresses that never answered are 50 ms apart.
        """
        pair = Pair()
        pair.connect()
        victims = [TransportAddress("11.2.3.4", 1024 + port) for port in range(16)]
        pair.a.set_remote_offer(pair.b.local_offer([host(each) for each in victims], []), pair.now)
        pair.run(10.0)
        times = [at for at, _, _, _ in pair.strays]
        self.assertTrue(all(after - before > 0.0499 for before, after in itertools.pairwise(times)))

    def test_many_offers(self) -> None:
        """
        A peer that keeps naming new addresses is soon not followed any more.
        """
        pair = Pair()
        pair.open()
        for turn in range(50):
            victims = [TransportAddress(f"11.2.{turn}.{last}", 5000) for last in range(16)]
            offer = pair.b.local_offer([host(each) for each in victims], [])
            pair.a.set_remote_offer(offer, pair.now)
            self.assertLessEqual(len(pair.a.snapshot()), 48)
            pair.run(0.1)
        tried = {way for _, _, _, way in pair.strays}
        self.assertLessEqual(len(tried), 60)
        self.assertEqual(len(pair.a.decisions), 64)

    def test_restarts(self) -> None:
        """
        New credentials again and again, each an ICE restart, bring no more
        checks to addresses that never answered.
        """
        pair = Pair()
        pair.connect()
        victim = TransportAddress("11.2.3.4", 5000)
        first = pair.b.local_offer([host(victim)], [])
        for generation in range(1, 250):
            ufrag = f"u{generation:07d}"
            offer = replace(first, ufrag=ufrag, generation=generation)
            pair.a.set_remote_offer(offer, pair.now)
            pair.run(0.1)
        self.assertLessEqual(len(pair.strays), 8)

    def test_restarts_of_ours(self) -> None:
        """
        Each change of our own addresses looks at all once more; of full size are
        four first checks, and one more every 15 s.
        """
        pair = Pair()
        pair.connect()
        victims = [TransportAddress("11.2.3.4", 5000 + each) for each in range(16)]
        pair.a.set_remote_offer(pair.b.local_offer([host(each) for each in victims], []), pair.now)
        for turn in range(60):
            pair.a.new_local_candidates(
                [host(TransportAddress("10.9.9.9", 2000 + turn))], [], pair.now
            )
            pair.run(1.0)
        self.assertLessEqual(sum(len(data) >= 200 for _, _, data, _ in pair.strays), 4 + 4)

    def test_forged_sources_in_full(self) -> None:
        """
        A full-size check from a forged source brings that address an answer of the
        same size and at most one check of ours: twice what came, RFC 9000 allows three.
        """
        pair = Pair()
        pair.open()
        for turn in range(40):
            source = DirectWay(TransportAddress("11.9.9.9", 2000 + turn % 2))
            pair.a.receive_datagram(forged_check(pair, size=1200), source, pair.now)
            pair.run(0.1)
        got = sum(len(data) for _, _, data, _ in pair.strays)
        self.assertLessEqual(got, 2 * 40 * 1200)
        checks = [data for _, _, data, _ in pair.strays if not is_answer(data)]
        self.assertLessEqual(sum(len(data) == 1200 for data in checks), 2 * 3)

    def test_silence(self) -> None:
        """
        A peer that falls silent makes us look for it where it answered before,
        not where it never did.
        """
        pair = Pair()
        pair.open()
        victim = TransportAddress("11.2.3.4", 5000)
        offer = pair.b.local_offer([host(B), host(victim)], [RELAY])
        pair.a.set_remote_offer(offer, pair.now)
        pair.run(14.0)
        pair.cut(TO_A, TO_B, RELAY_TO_A, RELAY_TO_B)
        pair.run(110.0)
        self.assertTrue(pair.a.is_silent)
        self.assertLessEqual(len(pair.strays), 11)

    def test_many_sources(self) -> None:
        """
        A peer that forges the sources of its checks makes us send each source
        at most what it got sent, and remember few.
        """
        pair = Pair()
        pair.open()
        for turn in range(500):
            source = DirectWay(TransportAddress("11.9.9.9", 2000 + turn))
            pair.a.receive_datagram(forged_check(pair), source, pair.now)
            pair.run(0.01)
        self.assertLessEqual(len(pair.a.snapshot()), 2 + 8)
        for way in {way for _, _, _, way in pair.strays}:
            got = [data for _, _, data, to in pair.strays if to == way]
            self.assertLessEqual(sum(len(data) for data in got), 250)
        self.assertEqual(pair.a.active, TO_B)

    def test_flood_of_checks(self) -> None:
        """
        Of a flood of rightly signed checks, 100 a second are answered.
        """
        pair = Pair()
        pair.open()
        answers = 0
        for _ in range(1000):
            pair.a.receive_datagram(forged_check(pair), TO_B, pair.now)
            pair.now += 0.001
            answers += len(pair.a.datagrams_to_send(pair.now))
        self.assertLessEqual(answers, 210)

    def test_forbidden_sources(self) -> None:
        """
        A check from where no candidate may be is answered there, as it came,
        and not followed.
        """
        pair = Pair()
        pair.open()
        pair.a.receive_datagram(
            forged_check(pair), DirectWay(TransportAddress("127.0.0.1", 5000)), pair.now
        )
        self.assertEqual(len(pair.a.datagrams_to_send(pair.now)), 1)
        self.assertEqual(len(pair.a.snapshot()), 2)

    def test_unvalidated_ways_carry_nothing(self) -> None:
        """
        After the welcome, QUIC datagrams from a new source move no data there,
        however many come.
        """
        pair = Pair()
        pair.open()
        source = DirectWay(TransportAddress("11.3.3.3", 3333))
        for _ in range(100):
            pair.a.datagram_received(source, pair.now)
            self.assertEqual(pair.a.routes(pair.now), (TO_B,))
            pair.run(0.05)
        got = [data for _, _, data, way in pair.strays if way == source]
        self.assertTrue(0 < len(got) <= 7)


class BudgetTests(SynchronousTestCase):
    """
    The process's budget of checks is never exceeded.
    """

    def test_budget(self) -> None:
        """
        With a budget of 10 checks a second, all ways and both sides together
        send no more in any second, and a way that works stays.
        """
        pair = Pair(budget=CheckBudget(10, 10))
        pair.connect()
        pair.a.local_offer([host(A)], [RELAY])
        victims = [TransportAddress("11.2.3.4", 1024 + port) for port in range(15)]
        offer = pair.b.local_offer([host(B), *map(host, victims)], [RELAY])
        pair.a.set_remote_offer(offer, pair.now)
        pair.b.set_remote_offer(pair.a.local_offer([host(A)], [RELAY]), pair.now)
        start = pair.now
        pair.run(60.0)
        sent = sorted(
            at
            for at, data in [
                *(item for lane in pair.lanes.values() for item in lane.sent),
                *((at, data) for at, _, data, _ in pair.strays),
            ]
            if not data.startswith(DATA)
            and decode_message(data).message_class is Class.REQUEST
            and at >= start
        )
        for first in range(int(start), int(start) + 60):
            count = sum(first <= at < first + 1 for at in sent)
            self.assertLessEqual(count, 21)
        self.assertLessEqual(len(sent), 10 + 10 * 60)
        self.assertEqual((pair.a.active, pair.b.active), (TO_B, TO_A))
        self.assertIn(RELAY_TO_B, [each.way for each in pair.a.snapshot()])
        self.assertIn(RELAY_TO_A, [each.way for each in pair.b.snapshot()])
