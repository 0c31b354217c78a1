"""
Tests for how well a way carries checks.
"""

from twisted.trial.unittest import SynchronousTestCase

from atmosphere.network.path.quality import WINDOW, Quality


class QualityTests(SynchronousTestCase):
    """
    Loss and jitter, as the checks of a way tell.
    """

    def test_nothing_known(self) -> None:
        """
        A few checks say nothing about loss, one answer nothing about jitter.
        """
        quality = Quality()
        quality.sent(10.0)
        quality.answered(10.02, 10.0)
        self.assertEqual((quality.loss(20.0), quality.jitter), (None, None))

    def test_loss(self) -> None:
        """
        One check of ten that had no answer is ten percent; one that may still be
        answered does not count.
        """
        quality = Quality()
        for number in range(10):
            quality.sent(float(number))
            if number != 4:
                quality.answered(number + 0.02, float(number))
        quality.sent(10.0)
        self.assertEqual(quality.loss(10.5), 0.1)
        self.assertEqual(quality.loss(12.0), 2 / 11)

    def test_late(self) -> None:
        """
        An answer that comes late was not lost.
        """
        quality = Quality()
        for number in range(5):
            quality.sent(float(number))
        self.assertEqual(quality.loss(9.0), 1.0)
        quality.answered(9.0, 0.0)
        self.assertEqual(quality.loss(9.0), 0.8)

    def test_window(self) -> None:
        """
        Only the last checks count, and no more are kept.
        """
        quality = Quality()
        for number in range(WINDOW):
            quality.sent(float(number))
        for number in range(WINDOW, 2 * WINDOW):
            quality.sent(float(number))
            quality.answered(number + 0.1, float(number))
        self.assertEqual(quality.loss(1000.0), 0.0)
        quality.answered(1000.0, 3.0)  # long forgotten
        self.assertEqual(quality.loss(1000.0), 0.0)

    def test_jitter(self) -> None:
        """
        An even way has none; round trips that differ by 16 ms bring it up by 1 ms each.
        """
        quality = Quality()
        for number, rtt in enumerate((0.02, 0.02, 0.02)):
            quality.answered(number + rtt, float(number))
        self.assertAlmostEqual(quality.jitter or 0.0, 0.0)
        quality.answered(3.036, 3.0)
        self.assertAlmostEqual(quality.jitter or 0.0, 0.001)

    def test_begin(self) -> None:
        """
        A way that answers again begins anew.
        """
        quality = Quality()
        for number in range(8):
            quality.sent(float(number))
        quality.begin()
        self.assertIsNone(quality.loss(20.0))
