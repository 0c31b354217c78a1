"""
Tests of L{atmosphere.network.ice.consent}.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from atmosphere.network.ice.consent import Consent


class ConsentTests(SynchronousTestCase):
    """
    When consent is asked for, and when it expires.
    """

    def test_pauses(self) -> None:
        """
        4 to 6 s, by chance.
        """
        for chance, pause in ((b"\0\0", 4.0), (b"\xff\xff", 6.0)):
            consent = Consent(100.0, lambda count, chance=chance: chance)  # type: ignore[misc]
            self.assertAlmostEqual(consent.due, 100 + pause)
            consent.asked(110.0)
            self.assertAlmostEqual(consent.due, 110 + pause)

    def test_expires(self) -> None:
        """
        30 s after the last answer.
        """
        consent = Consent(100.0, bytes)
        self.assertEqual(consent.until, 130.0)
        consent.given(120.0)
        self.assertEqual(consent.until, 150.0)
