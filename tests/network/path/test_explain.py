"""
Tests for the story of a link.
"""

from twisted.trial.unittest import SynchronousTestCase

from atmosphere.addresses import TransportAddress
from atmosphere.network.nat.candidates import CandidateType, make_candidate
from atmosphere.network.path.explain import DOUBTFUL_AFTER, LinkStory, Verdict, WayStory, rule_words
from atmosphere.network.path.selection import PathPolicy, Rule
from atmosphere.network.path.ways import DirectWay, Way
from tests.network.path.lane import RELAY_TO_B, TO_A, TO_B, Pair, host


class StoryTests(SynchronousTestCase):
    """
    What is told of each way, after what has happened to it.
    """

    def story_of(self, pair: Pair) -> LinkStory:
        """
        Have the dialler tell.
        """
        return pair.a.story(pair.now)

    def way(self, pair: Pair, way: Way) -> WayStory:
        """
        Find one way in the dialler's story.
        """
        (found,) = [each for each in self.story_of(pair).ways if each.way == way]
        return found

    def decided(self, pair: Pair, way: Way) -> list[str]:
        """
        List what the dialler decided about a way.
        """
        return [each.text for each in self.story_of(pair).decisions if each.way == way]

    def test_decisions(self) -> None:
        """
        What was decided is told in words, and not as the names of states.
        """
        pair = Pair()
        pair.open()
        self.assertEqual(
            self.decided(pair, TO_B),
            ["works: 1200 bytes went both ways", "in use: direct before relayed, 2.0 ms"],
        )
        self.assertEqual(self.decided(pair, RELAY_TO_B), ["in use: the link began by it"])

    def test_from_elsewhere(self) -> None:
        """
        An address that nobody named is told as one from which something came.
        """
        pair = Pair()
        pair.connect()
        pair.b.set_remote_offer(pair.a.local_offer([host(TO_A.address)], []), pair.now)
        pair.a.set_remote_offer(pair.b.local_offer([], []), pair.now)
        pair.run(2.0)
        self.assertEqual(self.decided(pair, TO_B)[0], "a datagram came from there: to be checked")
        self.assertEqual(self.way(pair, TO_B).origin, "where its datagrams came from")

    def test_direct(self) -> None:
        """
        A direct way replaced the relayed one by rule 5.3, which also keeps the other
        from coming back.
        """
        pair = Pair()
        pair.open()
        direct, relayed = self.story_of(pair).ways
        self.assertEqual((direct.verdict, direct.rule), (Verdict.IN_USE, Rule.DIRECT))
        self.assertEqual(direct.fact, "answers in 2.0 ms; 1200 bytes went both ways")
        self.assertEqual(direct.origin, "the machine's own address")
        self.assertEqual((relayed.verdict, relayed.rule), (Verdict.READY, Rule.DIRECT))
        self.assertTrue(direct.is_active and direct.is_direct and not relayed.is_direct)

    def test_before_the_welcome(self) -> None:
        """
        Before the link stands its ways are told, and that they were not yet checked.
        """
        pair = Pair()
        pair.a.add_initial_way(TO_B)
        found = self.way(pair, TO_B)
        self.assertEqual(
            (found.verdict, found.fact), (Verdict.TRYING, "the link does not stand yet")
        )
        self.assertFalse(found.is_doubtful)
        self.assertEqual(found.origin, "where it was before")

    def test_trying(self) -> None:
        """
        While checks are unanswered, it is told how many there were.
        """
        pair = Pair()
        pair.cut(TO_B, TO_A)
        pair.open()
        found = self.way(pair, TO_B)
        self.assertEqual(found.verdict, Verdict.TRYING)
        self.assertRegex(found.fact, r"^no answer to \d checks of 7 so far$")
        self.assertGreaterEqual(int(found.fact.split()[3]), DOUBTFUL_AFTER)
        self.assertTrue(found.is_doubtful)

    def test_never_answered(self) -> None:
        """
        A way that never answered says after how many checks it was given up.
        """
        pair = Pair()
        pair.cut(TO_B, TO_A)
        pair.open()
        pair.run(20.0)
        found = self.way(pair, TO_B)
        self.assertEqual(found.verdict, Verdict.FAILED)
        self.assertEqual(found.fact, "never answered: 7 checks had no answer")
        self.assertFalse(found.has_answered)
        self.assertIn("failed: 7 checks had no answer", self.decided(pair, TO_B))
        pair.run(60.0)
        self.assertRegex(
            self.way(pair, TO_B).fact,
            r"^never answered: 7 checks had no answer; nor had \d more since$",
        )

    def test_too_small(self) -> None:
        """
        A way that loses full-size data says in what time it answered, and that it did.
        """
        pair = Pair()
        for way, name in ((TO_B, "a"), (TO_A, "b")):
            pair.lanes[name, way].mtu = 1000
        pair.open()
        pair.run(10.0)
        found = self.way(pair, TO_B)
        self.assertEqual(
            found.fact.partition(";")[0],
            "small checks were answered in 2 ms, but 6 checks of 1200 bytes were not",
        )
        self.assertTrue(found.is_too_small and found.has_answered)

    def test_silent(self) -> None:
        """
        A way that falls silent says for how long it was, and gives way by rule 5.1.
        """
        pair = Pair()
        pair.open()
        pair.cut(TO_B, TO_A)
        pair.run(12.0)
        story = self.story_of(pair)
        found = self.way(pair, TO_B)
        self.assertRegex(found.fact, r"^silent: no check was answered for [1-6]\.\d s, and another")
        active = story.active
        assert active is not None
        self.assertEqual((active.way, active.verdict), (RELAY_TO_B, Verdict.IN_USE))
        self.assertIn(active.rule, (Rule.BEST, Rule.ANSWERS))

    def test_all_silent(self) -> None:
        """
        When no way answers, the last one is used on, and that is what is told.
        """
        pair = Pair()
        pair.open()
        pair.cut(TO_B, TO_A, RELAY_TO_B)
        pair.run(30.0)
        story = self.story_of(pair)
        self.assertTrue(story.is_silent)
        active = story.active
        assert active is not None
        self.assertEqual(active.verdict, Verdict.USED_ON)
        self.assertEqual((active.loss, active.jitter), (None, None))

    def test_lost(self) -> None:
        """
        A relay that is gone is told as such.
        """
        pair = Pair()
        pair.open()
        pair.a.way_lost(RELAY_TO_B, pair.now, "its relay is gone")
        found = self.way(pair, RELAY_TO_B)
        self.assertEqual((found.verdict, found.fact), (Verdict.LOST, "its relay is gone"))

    def test_refused(self) -> None:
        """
        An address that must not be tried says why, once, however often it is named.
        """
        pair = Pair()
        pair.connect()
        candidates = [
            host(TransportAddress("127.0.0.1", 7777)),
            host(TransportAddress("8.8.8.8", 53)),
        ]
        for _ in range(3):
            offer = pair.b.local_offer(candidates, [])
            pair.a.set_remote_offer(offer, pair.now)
            candidates.append(host(TransportAddress("8.8.8.8", 22)))
        told = {str(each.way): each for each in self.story_of(pair).ways if each.is_refused}
        self.assertEqual(len(told), 3)
        self.assertEqual({each.verdict for each in told.values()}, {Verdict.NOT_TRIED})
        facts = {each.fact for each in told.values()}
        self.assertIn("port 53 belongs to other services", facts)
        self.assertEqual({each.times for each in self.story_of(pair).decisions}, {1})

    def test_policy(self) -> None:
        """
        What the policy forbids is not tried, and the policy is named.
        """
        pair = Pair(policy=PathPolicy.RELAYED)
        pair.open()
        found = self.way(pair, TO_B)
        self.assertEqual(
            (found.verdict, found.fact), (Verdict.NOT_TRIED, "path policy says relayed")
        )

    def test_slower(self) -> None:
        """
        Of two direct ways the slower one works and is not used, by rule 5.4.
        """
        other = DirectWay(TransportAddress("10.0.0.9", 7777))
        back = DirectWay(TransportAddress("10.0.0.8", 7777))
        pair = Pair()
        pair.lanes["a", other] = type(pair.lanes["a", TO_B])(back, 0.002)
        pair.lanes["b", back] = type(pair.lanes["a", TO_B])(other, 0.002)
        pair.connect()
        offer = pair.b.local_offer([host(TO_B.address), host(other.address)], [])
        pair.b.set_remote_offer(pair.a.local_offer([host(TO_A.address)], []), pair.now)
        pair.a.set_remote_offer(offer, pair.now)
        pair.run(3.0)
        found = self.way(pair, other)
        self.assertEqual((found.verdict, found.rule), (Verdict.READY, Rule.FASTER))

    def test_measured(self) -> None:
        """
        A way in use says how much it loses: five percent on one lane is told as
        three to seven.
        """
        losses = []
        for seed in range(6):
            pair = Pair(seed=seed)
            pair.open()
            pair.lanes["a", TO_B].loss = 0.05
            pair.run(900.0)
            found = self.way(pair, TO_B)
            assert found.loss is not None
            losses.append(found.loss)
            self.assertAlmostEqual(found.jitter or 0.0, 0.0)
        self.assertTrue(0.03 <= sum(losses) / len(losses) <= 0.07, losses)

    def test_near(self) -> None:
        """
        Two behind one public address are told to be.
        """
        public = TransportAddress("203.0.113.9", 7777)
        seen = make_candidate(CandidateType.SERVER_REFLEXIVE, public)
        pair = Pair()
        pair.connect()
        pair.a.local_offer([host(TO_A.address), seen], [])
        pair.a.set_remote_offer(pair.b.local_offer([host(TO_B.address), seen], []), pair.now)
        self.assertTrue(self.story_of(pair).is_near)

    def test_words(self) -> None:
        """
        Each rule and each origin has words of its own.
        """
        self.assertEqual(len({rule_words(rule) for rule in Rule}), len(Rule))
        told = set()
        for origin in CandidateType:
            pair = Pair()
            pair.connect()
            offer = pair.b.local_offer([make_candidate(origin, TO_B.address)], [])
            pair.a.set_remote_offer(offer, pair.now)
            told.add(self.way(pair, TO_B).origin)
        self.assertEqual(len(told), len(CandidateType))
