"""
What pairs have to reach.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from atmosphere.lab.kinds import Kind, all_pairs
from atmosphere.lab.targets import Row, carrier_target, row, runs_of, target

#: How many pairs each row has.
COUNTS = {
    Row.EASY: 20,
    Row.EASY_SYMMETRIC: 3,
    Row.SAME_LAN: 1,
    Row.HARD: 3,
    Row.HAIRPIN: 1,
    Row.CARRIER: 1,
    Row.RELAYED: 20,
    Row.IPV6: 1,
    Row.IPV4: 7,
}


class TargetTests(SynchronousTestCase):
    """
    The table, and how it is compared with what was measured.
    """

    def test_rows(self) -> None:
        """
        Easy pairs are direct soon, hard ones within seconds; others stay on the relay.
        """
        easy = target(Kind.CGNAT, Kind.PORT_RESTRICTED)
        self.assertEqual((easy.first, easy.direct, easy.direct_worst), (0.2, 0.3, 1.0))
        self.assertEqual(target(Kind.SYMMETRIC, Kind.ADDRESS_RESTRICTED), easy)
        self.assertEqual(target(Kind.IPV6, Kind.IPV6), easy)
        self.assertEqual(target(Kind.SAME_LAN, Kind.SAME_LAN).direct, 0.05)
        hard = target(Kind.CGNAT, Kind.SYMMETRIC)
        self.assertEqual((hard.share, hard.direct, hard.direct_worst), (0.99, 0.8, 3.0))
        for one, two in ((Kind.SYMMETRIC, Kind.SYMMETRIC), (Kind.NONE, Kind.UDP_BLOCKED)):
            self.assertEqual((target(one, two).share, target(one, two).first), (0, 0.5))
        self.assertEqual(carrier_target(is_hairpinning=True), easy)
        relayed = carrier_target(is_hairpinning=False)
        self.assertEqual((relayed.share, relayed.first), (0, 0.2))
        self.assertEqual(target(Kind.SAME_CGNAT, Kind.SAME_CGNAT), relayed)
        self.assertEqual(target(Kind.SAME_CGNAT_HAIRPIN, Kind.SAME_CGNAT_HAIRPIN), easy)
        self.assertEqual(target(Kind.SAME_CGNAT, Kind.NONE), easy)

    def test_every_row(self) -> None:
        """
        Each pair has one row, no row is without a pair, and targets are told in words.
        """
        rows = [row(*pair) for pair in all_pairs()]
        self.assertEqual({each: rows.count(each) for each in Row}, COUNTS)
        self.assertIs(row(Kind.SYMMETRIC, Kind.IPV6), Row.IPV4)
        self.assertEqual(
            target(Kind.SYMMETRIC, Kind.CGNAT).words,
            "first byte 500 ms (worst 500 ms); direct 99 %, 800 ms (worst 3000 ms)",
        )
        self.assertEqual(
            target(Kind.UDP_BLOCKED, Kind.CGNAT).words, "first byte 500 ms (worst 500 ms)"
        )

    def test_reached(self) -> None:
        """
        Times at the limit are good enough, and what is too fast for a row as well.
        """
        easy = target(Kind.NONE, Kind.NONE)
        self.assertEqual(easy.misses([0.2, 0.1, 0.5], [0.3, 0.2, 1.0]), ())
        relayed = target(Kind.SYMMETRIC, Kind.SYMMETRIC)
        self.assertEqual(relayed.misses([0.5, 0.1], [None, 9.0]), ())
        hard = target(Kind.SYMMETRIC, Kind.CGNAT)
        self.assertEqual(hard.misses([0.1] * 100, [0.5] * 99 + [None]), ())

    def test_missed(self) -> None:
        """
        What was not reached is said with both figures.
        """
        easy = target(Kind.NONE, Kind.NONE)
        self.assertEqual(
            easy.misses([0.3, 0.3, 0.6], [0.4, 0.4, 1.5]),
            (
                "first byte median 0.300 s, not 0.2 s",
                "first byte worst 0.600 s, not 0.5 s",
                "direct median 0.400 s, not 0.3 s",
                "direct worst 1.500 s, not 1 s",
            ),
        )
        self.assertEqual(
            easy.misses([0.1, None], [0.1, None]), ("1 of 2 runs connected", "1 of 2 runs direct")
        )
        self.assertEqual(easy.misses([], []), ("0 of 0 runs connected",))

    def test_runs(self) -> None:
        """
        A series has more runs of the pairs for which chance decides, a single run has not.
        """
        self.assertEqual(runs_of(Kind.SYMMETRIC, Kind.CGNAT, 5), 25)
        self.assertEqual(runs_of(Kind.PORT_RESTRICTED, Kind.SYMMETRIC, 2), 10)
        self.assertEqual(runs_of(Kind.SYMMETRIC, Kind.CGNAT, 1), 1)
        self.assertEqual(runs_of(Kind.SYMMETRIC, Kind.SYMMETRIC, 5), 5)
        self.assertEqual(runs_of(Kind.CGNAT, Kind.CGNAT, 5), 5)
