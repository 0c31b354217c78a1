# -*- test-case-name: tests.network.relay.test_redial -*-
"""
When a relay is dialled again: rules, without a clock of their own.

A relay that refuses, or hangs up, is there: it gets time to recover, and not all who
lost it come back at once. Where nothing answers at all there is nobody to be spared,
and the moment at which the network is back is found only by trying.
"""

from __future__ import annotations

from collections.abc import Callable

__all__ = ["MAX_DIALS", "Redial"]

#: How many dials are under way at once while nothing answers, the oldest given up for a
#: new one: so each has four times the distance between two.
MAX_DIALS = 4

#: Seconds before the first dials after a failure, then always the last of them; and
#: before the one after a connection that served ended without a word.
PAUSES = (0.5, 1.0, 2.0, 4.0)
PAUSE_IF_SUDDEN = 0.1

#: Seconds for which a connection has to have served for that.
SERVED = 5.0
#: Seconds after which earlier failures say nothing about it.
STEADY = 60.0

#: Seconds between two dials that nothing answers: at least, and at most.
LEAST_INTERVAL = 0.1
INTERVAL = 2.5

#: Seconds of an outage after which nobody is in a hurry any more, and after which it is
#: not expected to end soon.
HURRY_FOR = 120.0
LONG_OUTAGE = 600.0
PAUSE_LATER = 60.0
INTERVAL_LATER = 15.0

#: Seconds between two dials by name while the address is known: a name that cannot be
#: resolved holds a thread for long.
BY_NAME_EVERY = 10.0


class Redial:
    """
    Says when to dial a relay next.

    @ivar rtt: the round trip to the relay, if it was ever measured.
    """

    def __init__(self, random: Callable[[], float]) -> None:
        """
        @param random: a number from 0 to less than 1.
        """
        self.rtt: float | None = None
        self._random = random
        self._failures = 0
        self._lost_at: float | None = None
        self._next_by_name = float("-inf")

    def lost(self, now: float) -> None:
        """
        There is no connection, or none that answers.
        """
        if self._lost_at is None:
            self._lost_at = now

    def found(self) -> None:
        """
        There is a connection that answers.
        """
        self._lost_at = None

    def _outage(self, now: float) -> float:
        """
        Say for how long there was none.
        """
        return 0.0 if self._lost_at is None else now - self._lost_at

    def pause(self, now: float, *, served: float = 0.0, is_told: bool = True) -> float:
        """
        Say how long to wait after a relay refused, or hung up.

        @param served: how many seconds the connection has served.
        @param is_told: the relay said why it ended, or there was none.
        """
        if served >= STEADY:
            self._failures = 0
        if served >= SERVED and not is_told:
            full = PAUSE_IF_SUDDEN
        else:
            full = PAUSES[min(self._failures, len(PAUSES) - 1)]
            if self._failures >= len(PAUSES) and self._outage(now) >= LONG_OUTAGE:
                full = PAUSE_LATER
            self._failures += 1
        return full * (0.5 + self._random() / 2)

    def interval(self, now: float) -> float:
        """
        Say how long after a dial to make another, if nothing answers.
        """
        outage = self._outage(now)
        if outage >= LONG_OUTAGE:
            full = INTERVAL_LATER
        elif outage >= HURRY_FOR or self.rtt is None:
            full = INTERVAL
        else:
            full = min(INTERVAL, max(LEAST_INTERVAL, 2 * self.rtt))
        return full * (0.75 + self._random() / 4)

    def is_by_name(self, now: float) -> bool:
        """
        Say whether to ask for the relay's address anew, if one is known.
        """
        if now < self._next_by_name:
            return False
        self._next_by_name = now + BY_NAME_EVERY
        return True
