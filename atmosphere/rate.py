# -*- test-case-name: tests.test_rate -*-
"""
Rates: how much of something may happen a second.

A bucket has no clock; the time comes in with each call. It is the one measure
for datagrams, bytes and attempts, whoever counts them.
"""

from __future__ import annotations

__all__ = ["TokenBucket"]


#: What flows in within so many seconds counts as there: a float that holds the
#: time of day is no finer, and who waits for L{TokenBucket.delay} must get its tokens.
_GRAIN = 1e-6


class TokenBucket:
    """
    A token bucket: full at the start, refilled at a steady rate.

    The time that is passed in may start anywhere; should it step back, nothing
    is refilled until it has caught up.

    @ivar rate: tokens that flow in, per second.
    @ivar burst: how many tokens the bucket holds.
    """

    __slots__ = ("_level", "_then", "burst", "rate")

    def __init__(self, rate: float, burst: float) -> None:
        if rate <= 0 or burst <= 0:
            raise ValueError("a rate and a burst are above zero")
        self.rate = rate
        self.burst = burst
        self._level = float(burst)
        self._then: float | None = None

    def level(self, now: float) -> float:
        """
        Say how many tokens are there.

        @return: up to L{burst}; negative while in debt.
        """
        if self._then is None:
            self._then = now
        elif now > self._then:
            self._level = min(self.burst, self._level + (now - self._then) * self.rate)
            self._then = now
        return self._level

    def take(self, amount: float, now: float) -> bool:
        """
        Take tokens if they are there, else nothing.

        @return: whether they were taken.
        """
        if self.level(now) + self.rate * _GRAIN < amount:
            return False
        self._level -= amount
        return True

    def charge(self, amount: float, now: float) -> None:
        """
        Take tokens whether they are there or not: for what has happened already.

        The level may go below zero; then L{take} refuses until the debt is paid.
        """
        self.level(now)
        self._level -= amount

    def delay(self, amount: float, now: float) -> float:
        """
        Say how long to wait until L{take} would succeed.

        More than the bucket holds can never be taken: then it is the time
        until the bucket is full.

        @return: seconds; zero if it can be taken now.
        """
        wait = (min(amount, self.burst) - self.level(now)) / self.rate
        return wait if wait > _GRAIN else 0.0

    def is_full(self, now: float) -> bool:
        """
        Say whether the bucket knows nothing that a new one would not know.
        """
        return self.level(now) >= self.burst
