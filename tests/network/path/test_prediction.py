"""
Tests of L{atmosphere.network.path.prediction}: two engines behind NATs that ordinary
checks do not get through.
"""

from __future__ import annotations

from itertools import pairwise
from statistics import median

from twisted.trial.unittest import SynchronousTestCase

from atmosphere.addresses import TransportAddress
from atmosphere.network.nat.candidates import AddressRules
from atmosphere.network.path.prediction import Phase
from atmosphere.network.path.prediction_message import PredictionMessage, Step
from atmosphere.network.path.selection import PathPolicy
from atmosphere.network.path.ways import DirectWay
from atmosphere.network.stun.message import decode_message

from .hard_lane import DELAY, EASY, HARD_HOST, HardPair

SEEDS = range(20)


class HitTests(SynchronousTestCase):
    """
    Both become direct.
    """

    def test_seeds(self) -> None:
        """
        Whichever side the hard NAT is on, it takes half a second, and never three.
        """
        for hard in "ab":
            times = []
            for seed in SEEDS:
                pair = HardPair(hard, seed=seed)
                pair.begin()
                took = pair.until_direct()
                assert took is not None, (hard, seed)
                times.append(took)
                self.assertLessEqual(pair.most_sockets, 256)
            self.assertLess(median(times), 0.7)
            self.assertLess(max(times), 3.0)

    def test_loss(self) -> None:
        """
        Loss of 5 % changes little.
        """
        for seed in SEEDS:
            pair = HardPair(seed=seed)
            pair.loss = 0.05
            pair.begin()
            self.assertIsNotNone(pair.until_direct(), seed)

    def test_one_socket(self) -> None:
        """
        The way belongs to the socket that was hit; those that were not are closed at once,
        and that one stays.
        """
        pair = HardPair(seed=4)
        pair.begin()
        pair.until_direct()
        active = pair.a.active
        assert isinstance(active, DirectWay)
        self.assertEqual(active.address, EASY)
        hit = {known.way.socket for known in pair.a._ways if isinstance(known.way, DirectWay)}
        self.assertEqual(pair.sockets, hit - {None})
        self.assertIn(active.socket, pair.sockets)
        self.assertLessEqual(len(pair.sockets), 8)
        self.assertEqual(pair.most_sockets, 256)
        pair.run(600)
        self.assertEqual((pair.a.active, pair.is_direct()), (active, True))
        theirs = pair.b.active
        assert isinstance(theirs, DirectWay)
        self.assertEqual((theirs.address.host, theirs.socket), (HARD_HOST, None))

    def test_words(self) -> None:
        """
        Both sides keep in words what they did.
        """
        pair = HardPair(seed=4)
        pair.begin()
        pair.until_direct()
        proposed, opening, hit = pair.notes("a")
        self.assertIn("our NAT takes another one for each peer", proposed)
        self.assertEqual(opening, f"opening 256 sockets towards {EASY}")
        self.assertRegex(hit, rf"{EASY} from our port \d+ was hit after \d+ ms, with 256 sockets")
        probing, found = pair.notes("b")
        self.assertEqual(probing, f"probing ports of {HARD_HOST}, at most 1500")
        self.assertRegex(found, rf"{HARD_HOST}:\d+ was hit after \d+ ms, with \d+ probes")
        self.assertEqual(pair.prediction("b").outcome, found)

    def test_counted(self) -> None:
        """
        What was done is counted.
        """
        pair = HardPair(seed=4)
        pair.begin()
        pair.until_direct()
        hard, easy = (pair.budgets[name].counters for name in "ab")
        self.assertEqual((hard.bursts, hard.hits, hard.sockets, hard.probes), (1, 1, 256, 0))
        self.assertEqual((easy.bursts, easy.hits, easy.sockets), (1, 1, 0))
        self.assertLessEqual(easy.probes, len(pair.probes["b"]))
        self.assertFalse(pair.budgets["a"].is_held(pair.now))
        self.assertFalse(pair.budgets["b"].is_held(pair.now))

    def test_after_silence(self) -> None:
        """
        A way that was hit and then failed is left; after its pause the pair guesses anew, and
        the old socket is closed then.
        """
        for seed in range(1, 5):
            pair = HardPair(seed=seed)
            pair.begin()
            pair.until_direct()
            first = set(pair.sockets)
            pair._mapped.clear()  # the NAT was restarted
            pair._inside.clear()
            pair.run(30)
            self.assertFalse(pair.is_direct())
            self.assertEqual(pair.budgets["a"].counters.bursts, 1)
            pair.run(300)
            self.assertEqual(pair.budgets["a"].counters.bursts, 2)
            self.assertTrue(pair.is_direct())
            self.assertFalse(first & pair.sockets)


class NotNeededTests(SynchronousTestCase):
    """
    Where nothing is guessed.
    """

    def test_ordinary_checks(self) -> None:
        """
        A NAT that lets everybody in, or whoever was asked, needs no burst: checks suffice.
        """
        for hard in "ab":
            pair = HardPair(hard, seed=1)
            pair.is_filtering = False
            pair.begin()
            self.assertIsNotNone(pair.until_direct())
            pair.run(60)
            self.assertEqual([pair.budgets[each].counters.bursts for each in "ab"], [0, 0])
            self.assertEqual(pair.most_sockets, 0)
            self.assertFalse(pair.budgets[hard].is_held(pair.now))
            self.assertIn("not needed", pair.notes(hard)[-1])

    def test_two_hard_sides(self) -> None:
        """
        Two NATs of the hard kind, or none, have nothing to propose.
        """
        for stable in (True, False):
            pair = HardPair(seed=1)
            pair.stable = {"a": stable, "b": stable}
            pair.begin()
            pair.run(3600)
            self.assertEqual((pair.said, pair.most_sockets), ([], 0))

    def test_policy(self) -> None:
        """
        Whoever allows relayed paths only neither proposes nor accepts.
        """
        for which in "ab":
            pair = HardPair(seed=1)
            pair.sides[which].set_policy(PathPolicy.RELAYED, pair.now)
            pair.begin()
            pair.run(10)
            self.assertEqual(pair.most_sockets, 0)
            self.assertEqual(len(pair.said), 0 if which == "a" else 2)

    def test_late_knowledge(self) -> None:
        """
        A node that learns only later how its NAT maps guesses then.
        """
        pair = HardPair(seed=1)
        pair.stable["a"] = None
        pair.begin()
        pair.run(20)
        self.assertEqual(pair.said, [])
        pair.stable["a"] = False
        pair.tell()
        self.assertIsNotNone(pair.until_direct())


class BudgetTests(SynchronousTestCase):
    """
    How much is sent, and how often, if nobody is there.
    """

    def in_vain(self, seconds: float) -> HardPair:
        """
        Let a pair guess for so long with a NAT that swallows all.
        """
        pair = HardPair(seed=2)
        pair.is_deaf = True
        pair.begin()
        pair.run(seconds)
        return pair

    def test_third_party(self) -> None:
        """
        A host that a peer named, and that is another's, gets at most 1,500 probes, each
        of less than 200 bytes and to another port, at 1,000 a second; what comes to
        it besides are the seven ordinary checks.
        """
        pair = self.in_vain(20)
        sent = pair.probes["b"]
        began = pair.said[-1][0]
        self.assertEqual({way.address.host for _, way, _ in sent}, {HARD_HOST})
        ordinary = [each for each in sent if each[1].address.port == 50_000]
        probes = [each for each in sent if each[1].address.port != 50_000]
        self.assertGreater(probes[0][0], began)
        self.assertLessEqual(len(ordinary), 7 + 2)
        self.assertLessEqual(len(probes), 1500)
        self.assertGreaterEqual(len(probes), 1499)
        ports = {way.address.port for _, way, _ in probes}
        self.assertEqual(len(ports), len(probes))
        self.assertGreaterEqual(min(ports), 1024)
        self.assertLess(max(len(data) for _, _, data in probes), 200)
        times = [at for at, _, _ in probes]
        self.assertGreater(times[-1] - times[0], 1.48)
        for start in times[::100]:
            self.assertLessEqual(sum(start <= at < start + 0.1 - 1e-9 for at in times), 110)

    def test_target(self) -> None:
        """
        Nor does the address that an easy side names get more than a check from each socket.
        """
        pair = self.in_vain(20)
        sent = pair.probes["a"]
        self.assertEqual({way.address for _, way, _ in sent}, {EASY})
        by_sockets = [each for each in sent if each[1].socket is not None]
        self.assertEqual(len(by_sockets), len({way for _, way, _ in by_sockets}))
        self.assertEqual(len(by_sockets), 256)
        self.assertLessEqual(len(sent), 256 + 7 + 2)
        self.assertLess(max(len(data) for _, _, data in by_sockets), 200)
        self.assertEqual((pair.sockets, pair.most_sockets), (set(), 256))

    def test_again(self) -> None:
        """
        It is tried again after 10, 20, 40 and 60 minutes, and every hour then.
        """
        pair = self.in_vain(6 * 3600 + 100)
        began = [at for at, name, message in pair.said if message.step is Step.ACCEPT]
        gaps = [round((later - at) / 60) for at, later in pairwise(began)]
        self.assertEqual(gaps, [10, 20, 40, 60, 60, 60, 60])
        self.assertEqual(pair.budgets["b"].counters.probes, 1500 * len(began))
        self.assertRegex(pair.notes("b")[-1], r"no hit with 1500 probes in 3\.5 s")
        self.assertRegex(pair.notes("a")[-1], r"no hit with 256 sockets in 4\.0 s")

    def test_late_timer(self) -> None:
        """
        A timer that comes late does not let a flood out.
        """
        pair = HardPair(seed=2)
        pair.is_deaf = True
        pair.begin()
        while pair.prediction("b").phase is not Phase.RUNNING:
            pair.run(0.01)
        pair.b.datagrams_to_send(pair.now)
        pair.b.handle_timer(pair.now + 1.0)
        self.assertLessEqual(len(pair.b.datagrams_to_send(pair.now + 1.0)), 60 + 2)


class ConsentTests(SynchronousTestCase):
    """
    How the two come to an agreement, or do not.
    """

    def test_older_peer(self) -> None:
        """
        A peer that knows nothing of it does not answer; the place is free again after
        3 s, and it is asked again after 5 minutes.
        """
        pair = HardPair(seed=1)
        pair.begin("a")
        pair.run(2.9)
        self.assertTrue(pair.budgets["a"].is_held(pair.now))
        pair.run(1.0)
        self.assertFalse(pair.budgets["a"].is_held(pair.now))
        self.assertIn("older version", pair.notes("a")[-1])
        pair.run(250)
        self.assertEqual(len(pair.said), 1)
        pair.run(60)
        self.assertEqual([message.step for _, _, message in pair.said], [Step.PROPOSE] * 2)
        self.assertEqual(pair.budgets["a"].counters.bursts, 0)

    def test_busy(self) -> None:
        """
        An easy side that is busy says for how long, and is asked again then.
        """
        pair = HardPair(seed=1)
        pair.budgets["b"].hold("another link", pair.now + 0.2, 6)
        pair.begin()
        pair.run(1)
        self.assertEqual([message.step for _, _, message in pair.said], [Step.PROPOSE, Step.REFUSE])
        self.assertEqual(pair.said[1][2].seconds, 6)
        self.assertIn("put off for 6 s, another one is being made", pair.notes("b")[-1])
        self.assertIn("cannot take part for 6 s", pair.notes("a")[-1])
        self.assertIsNotNone(pair.until_direct(10))

    def test_own_place_taken(self) -> None:
        """
        A hard side that is busy waits with its proposal.
        """
        pair = HardPair(seed=1)
        pair.budgets["a"].hold("another link", pair.now, 6)
        pair.begin()
        pair.run(5)
        self.assertEqual(pair.said, [])
        self.assertIsNotNone(pair.until_direct(5))

    def test_claims(self) -> None:
        """
        Whoever claims an address that may not be sent to, or our own, is refused.
        """
        for own in (HARD_HOST, EASY.host):
            rules = AddressRules(own=frozenset({TransportAddress(own, 1024), EASY}))
            pair = HardPair(seed=1, rules=rules)
            pair.begin()
            pair.run(10)
            self.assertEqual((pair.most_sockets, pair.budgets["b"].counters.probes), (0, 0))

    def test_unasked(self) -> None:
        """
        A proposal from a side that has no hard NAT, an acceptance that nobody asked for and
        one of another attempt change nothing.
        """
        pair = HardPair(seed=1)
        pair.stable = {"a": True, "b": True}
        pair.begin()
        side = pair.prediction("a")
        for step in Step:
            side.heard(PredictionMessage(step, 1), pair.now)
        pair.run(10)
        self.assertEqual([message.step for _, _, message in pair.said], [Step.REFUSE])
        self.assertEqual(side.phase, Phase.IDLE)
        pair = HardPair(seed=1)
        pair.begin("a")
        pair.run(0.01)
        for step in (Step.ACCEPT, Step.REFUSE, Step.STOP):
            pair.prediction("a").heard(PredictionMessage(step, 77), pair.now)
        self.assertEqual(pair.prediction("a").phase, Phase.PROPOSED)
        pair.prediction("a").heard(PredictionMessage(Step.PROPOSE, 77), pair.now)
        self.assertEqual(pair.prediction("a").phase, Phase.PROPOSED)

    def test_already_direct(self) -> None:
        """
        A proposal where a direct way answers already is refused.
        """
        pair = HardPair(seed=1)
        pair.is_filtering = False
        pair.begin()
        pair.until_direct()
        pair.said.clear()
        pair.prediction("b").heard(PredictionMessage(Step.PROPOSE, 9), pair.now)
        pair.run(0.01)
        self.assertEqual([message.step for _, _, message in pair.said], [Step.REFUSE])


class EndTests(SynchronousTestCase):
    """
    How a burst ends before it has found anything.
    """

    def running(self, **settings: object) -> HardPair:
        """
        Make a pair whose burst has just begun, and that will not hit.
        """
        pair = HardPair(seed=1)
        pair.is_deaf = True
        for name, value in settings.items():
            setattr(pair, name, value)
        pair.begin()
        pair.run(0.45)
        self.assertTrue(any("opening" in text for text in pair.notes("a")))
        return pair

    def test_policy(self) -> None:
        """
        When the policy forbids direct ways the sockets are closed, and the peer stops too.
        """
        pair = self.running()
        self.assertEqual(len(pair.sockets), 256)
        pair.a.set_policy(PathPolicy.RELAYED, pair.now)
        pair.run(2 * DELAY + 0.01)
        self.assertEqual(pair.sockets, set())
        self.assertEqual(pair.prediction("b").phase, Phase.IDLE)
        self.assertIn("the peer has stopped", pair.notes("b")[-1])
        sent = pair.budgets["b"].counters.probes
        pair.run(60)
        self.assertEqual(pair.budgets["b"].counters.probes, sent)

    def test_addresses(self) -> None:
        """
        So they are when the addresses change.
        """
        pair = self.running()
        pair.stable["a"] = True
        pair.tell()
        pair.run(0.2)
        self.assertEqual((pair.sockets, pair.prediction("b").phase), (set(), Phase.IDLE))

    def test_no_sockets(self) -> None:
        """
        Without a single socket the burst is over for both.
        """
        pair = self.running(refuses_sockets=0)
        self.assertEqual(pair.prediction("a").phase, Phase.IDLE)
        self.assertEqual(pair.prediction("b").phase, Phase.IDLE)
        self.assertIn("no more descriptors", pair.notes("a")[-1])

    def test_few_sockets(self) -> None:
        """
        With fewer than wanted it goes on.
        """
        pair = self.running(refuses_sockets=100)
        self.assertEqual(pair.prediction("a").phase, Phase.RUNNING)
        self.assertEqual(len(pair.sockets), 100)
        self.assertIn("100 sockets only, no more descriptors", pair.notes("a")[-1])

    def test_link_gone(self) -> None:
        """
        With the link all is over: the place is free, and sockets that come late are closed.
        """
        pair = self.running()
        pair.prediction("a").stop()
        self.assertFalse(pair.budgets["a"].is_held(pair.now))
        self.assertIsNone(pair.prediction("a").get_timer())
        pair.prediction("a").sockets_opened([1], pair.now)
        pair.run(0.01)
        self.assertEqual(pair.sockets, set())


class HostileTests(SynchronousTestCase):
    """
    Whoever does not hold the keys.
    """

    def test_forged_answers(self) -> None:
        """
        An answer to a probe that is not rightly signed, or comes from elsewhere, counts
        for nothing; nor is one counted twice.
        """
        pair = HardPair(seed=1)
        pair.is_deaf = True
        pair.begin()
        while pair.prediction("b").phase is not Phase.RUNNING:
            pair.run(0.01)
        pair.run(0.05)
        _, way, probe = pair.probes["b"][-1]
        conversation = pair.a._checker.conversation
        good = conversation.answer_to(probe, decode_message(probe), DirectWay(EASY, 40_000))
        assert good is not None
        self.assertTrue(pair.b.is_waiting_for(good[8:20]))
        spoilt = good[:-30] + bytes([good[-30] ^ 1]) + good[-29:]
        ways = len(list(pair.b._ways))
        pair.b.receive_datagram(spoilt, way, pair.now)
        pair.b.receive_datagram(good, DirectWay(TransportAddress(HARD_HOST, 9999)), pair.now)
        pair.run(0.001)
        self.assertEqual(len(list(pair.b._ways)), ways)
        self.assertEqual(pair.prediction("b").phase, Phase.RUNNING)
        pair.b.receive_datagram(good, way, pair.now)
        self.assertEqual(pair.prediction("b").phase, Phase.IDLE)
        self.assertFalse(pair.b.is_waiting_for(good[8:20]))
