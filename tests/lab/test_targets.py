"""
What pairs have to reach.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from atmosphere.lab.kinds import Kind
from atmosphere.lab.targets import carrier_target, target


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
        self.assertEqual(carrier_target(is_hairpinning=False).share, 0)

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
                "first answer median 0.300 s, not 0.2 s",
                "first answer worst 0.600 s, not 0.5 s",
                "direct median 0.400 s, not 0.3 s",
                "direct worst 1.500 s, not 1 s",
            ),
        )
        self.assertEqual(
            easy.misses([0.1, None], [0.1, None]), ("1 of 2 runs connected", "1 of 2 runs direct")
        )
        self.assertEqual(easy.misses([], []), ("0 of 0 runs connected",))
