# -*- test-case-name: tests.network.path.test_burst -*-
"""
A burst of checks by many sockets to one address, or to many ports of one host: how
many leave when, and when it is over.

C{docs/protocols/prediction.md} §3 is what it follows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice
from math import inf

from atmosphere.addresses import TransportAddress
from atmosphere.network.nat.port_prediction import (
    MAX_PROBES,
    PROBE_PAUSE,
    PROBES_AT_ONCE,
    SOCKETS_AT_ONCE,
    draw_ports,
)

from .hard_pair import Pair

__all__ = ["Burst"]

#: Seconds for which sockets stay open, and for which answers are waited for.
SOCKETS_FOR = 4.0
ANSWERS_FOR = 2.0

#: Seconds that are made up for at most when the timer came late.
MOST_OVERDUE = 5 * PROBE_PAUSE

#: Seconds without new probes once the peer was heard directly.
HIT_PAUSE = 0.5


class Burst:
    """
    One burst of one side.

    @ivar pair: the two sides.
    @ivar began_at: when it began, in engine time.
    @ivar end_at: when it is over, if nothing was hit.
    @ivar due: when to go on.
    @ivar sent: how many sockets sent a check, or how many probes left.
    """

    def __init__(
        self, pair: Pair, max_sockets: int, entropy: Callable[[int], bytes], now: float
    ) -> None:
        """
        @param max_sockets: the most that may be opened.
        @param entropy: draws the ports that are probed.
        """
        self.pair = pair
        self.began_at = self.due = now
        self.sent = 0
        self._ports = draw_ports(entropy)
        self._left = max_sockets if pair.is_hard else MAX_PROBES
        probing = MAX_PROBES / PROBES_AT_ONCE * PROBE_PAUSE
        self.end_at = now + (SOCKETS_FOR if pair.is_hard else probing + ANSWERS_FOR)

    @property
    def tools(self) -> str:
        """
        What it is made with, in words.
        """
        return "sockets" if self.pair.is_hard else "probes"

    @property
    def plan(self) -> str:
        """
        What is still to be done, in words.
        """
        if self.pair.is_hard:
            return f"opening {self._left} sockets towards {self.pair.target}"
        return f"probing ports of {self.pair.host}, at most {self._left}"

    def sockets_due(self, now: float) -> int:
        """
        Say how many more sockets are to be opened now.
        """
        return self._take(SOCKETS_AT_ONCE, self.due, now)

    def probes_due(self, now: float, heard: float = -inf) -> Iterator[TransportAddress]:
        """
        Say where probes are to be sent now.

        @param heard: when the peer was heard directly last; what comes of it is waited for.
        @return: each is drawn when it is asked for.
        """
        due = self.due
        if heard >= self.began_at:
            due = max(due, heard + HIT_PAUSE)
        count = self._take(PROBES_AT_ONCE, due, now)
        self.sent += count
        return (TransportAddress(self.pair.host, port) for port in islice(self._ports, count))

    def _take(self, at_once: int, due: float, now: float) -> int:
        """
        Say how many are due, and when to go on.
        """
        due = max(due, now - MOST_OVERDUE)
        count = 0
        while self._left > count and due <= now:
            count = min(self._left, count + at_once)
            due += PROBE_PAUSE
        self._left -= count
        self.due = due if self._left else self.end_at
        return count

    def cut_short(self) -> None:
        """
        No more sockets are to be had: wait for what those that there are bring.
        """
        self._left = 0
