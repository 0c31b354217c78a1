"""
Tests for L{atmosphere.rate}.
"""

from hypothesis import given, settings, strategies as st
from twisted.trial.unittest import SynchronousTestCase

from atmosphere.rate import TokenBucket


class TokenBucketTests(SynchronousTestCase):
    """
    A burst at once, then a steady rate.
    """

    def test_burst_then_rate(self) -> None:
        """
        A new bucket gives its burst at once and then what flows in.
        """
        bucket = TokenBucket(rate=10, burst=3)
        self.assertEqual([bucket.take(1, 100.0) for _ in range(4)], [True, True, True, False])
        self.assertTrue(bucket.take(1, 100.1))
        self.assertFalse(bucket.take(1, 100.1))

    def test_never_above_burst(self) -> None:
        """
        A long silence saves up no more than the burst.
        """
        bucket = TokenBucket(rate=10, burst=3)
        bucket.take(3, 0.0)
        self.assertFalse(bucket.is_full(0.1))
        self.assertTrue(bucket.is_full(1000.0))
        self.assertEqual(bucket.level(1000.0), 3)

    def test_delay(self) -> None:
        """
        The delay is the time until the tokens are there; for more than the
        bucket holds it is the time until it is full.
        """
        bucket = TokenBucket(rate=10, burst=5)
        self.assertEqual(bucket.delay(5, 0.0), 0.0)
        bucket.take(5, 0.0)
        self.assertAlmostEqual(bucket.delay(2, 0.0), 0.2)
        self.assertAlmostEqual(bucket.delay(500, 0.0), 0.5)

    def test_wait_as_told(self) -> None:
        """
        Who waits as long as was said gets the tokens, even with clocks that count from 1970.
        """
        bucket = TokenBucket(rate=2_097_152, burst=4_194_304)
        now = 1_790_000_000.123
        bucket.charge(6_000_000, now)
        for _ in range(100):
            now += bucket.delay(65_536, now)
            self.assertTrue(bucket.take(65_536, now))

    def test_debt(self) -> None:
        """
        What has happened already is charged, and paid back before anything is given.
        """
        bucket = TokenBucket(rate=10, burst=5)
        bucket.charge(15, 0.0)
        self.assertEqual(bucket.level(0.0), -10)
        self.assertFalse(bucket.take(1, 0.5))
        self.assertAlmostEqual(bucket.delay(1, 0.5), 0.6)
        self.assertTrue(bucket.take(1, 1.2))

    def test_time_steps_back(self) -> None:
        """
        Nothing flows in while the time that was passed lies in the past.
        """
        bucket = TokenBucket(rate=10, burst=5)
        bucket.take(5, 10.0)
        self.assertFalse(bucket.take(1, 5.0))
        self.assertFalse(bucket.take(1, 10.0))
        self.assertTrue(bucket.take(1, 10.1))

    def test_senseless_figures(self) -> None:
        """
        A rate or burst of nothing is a mistake of the caller.
        """
        for rate, burst in ((0, 1), (1, 0), (-1, 1)):
            self.assertRaises(ValueError, TokenBucket, rate, burst)

    @settings(derandomize=True, max_examples=200, deadline=None)
    @given(
        st.lists(
            st.tuples(st.floats(0, 2, allow_nan=False), st.floats(0.01, 5, allow_nan=False)),
            max_size=50,
        )
    )
    def test_never_more_than_promised(self, steps: list[tuple[float, float]]) -> None:
        """
        Whatever is asked when, no more is given than the burst and what flowed in.
        """
        bucket = TokenBucket(rate=2, burst=4)
        now = taken = 0.0
        for step, amount in steps:
            now += step
            if bucket.take(amount, now):
                taken += amount
            self.assertLessEqual(taken, 4 + 2 * now + 1e-5)
