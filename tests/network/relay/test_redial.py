"""
Tests for L{atmosphere.network.relay.redial}.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from atmosphere.network.relay.redial import Redial


class RedialTests(SynchronousTestCase):
    """
    Who answers is spared; where nothing answers the moment is not missed.
    """

    def pauses(self, redial: Redial, count: int, now: float = 0.0) -> list[float]:
        """
        Fail some times.
        """
        return [redial.pause(now) for _ in range(count)]

    def test_pauses(self) -> None:
        """
        After an answer pauses grow up to 4 s, by chance half of that at least; after ten
        minutes up to a minute.
        """
        redial = Redial(lambda: 0.0)
        redial.lost(0)
        self.assertEqual(self.pauses(redial, 5), [0.25, 0.5, 1.0, 2.0, 2.0])
        self.assertEqual(self.pauses(redial, 1, 601), [30.0])
        full = Redial(lambda: 1.0)
        self.assertEqual(self.pauses(full, 5), [0.5, 1.0, 2.0, 4.0, 4.0])

    def test_found(self) -> None:
        """
        An outage ends with a connection, and its failures count no longer when that stood
        for a minute.
        """
        redial = Redial(lambda: 1.0)
        redial.lost(0)
        self.pauses(redial, 4)
        redial.found()
        redial.lost(1000)
        self.assertEqual(redial.pause(1000, served=30), 4.0)
        self.assertEqual(redial.pause(1000, served=60), 0.5)

    def test_sudden(self) -> None:
        """
        A connection that served and ended without a word is made anew at once; one that
        did not serve, or a relay that said why, is not.
        """
        redial = Redial(lambda: 1.0)
        self.assertEqual(redial.pause(0, served=5, is_told=False), 0.1)
        self.assertEqual(redial.pause(0, served=5, is_told=True), 0.5)
        self.assertEqual(redial.pause(0, served=4, is_told=False), 1.0)

    def test_intervals(self) -> None:
        """
        Where nothing answers dials follow each other by two round trips, by 2.5 s if none
        is known and after two minutes, by 15 s after ten.
        """
        redial = Redial(lambda: 1.0)
        redial.lost(0)
        self.assertEqual(redial.interval(0), 2.5)
        for rtt, expected in ((0.001, 0.1), (0.3, 0.6), (9.0, 2.5)):
            redial.rtt = rtt
            self.assertEqual(redial.interval(119), expected)
        redial.rtt = 0.04
        self.assertEqual([redial.interval(each) for each in (120, 600)], [2.5, 15.0])
        redial.found()
        self.assertEqual(redial.interval(700), 0.1)

    def test_by_name(self) -> None:
        """
        While an address is known the name is looked up every ten seconds at most.
        """
        redial = Redial(lambda: 0.0)
        times = (0, 1, 9.9, 10, 19, 20.1)
        self.assertEqual([each for each in times if redial.is_by_name(each)], [0, 10, 20.1])
