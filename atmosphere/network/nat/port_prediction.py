# -*- test-case-name: tests.network.nat.test_port_prediction -*-
"""
Guessing the ports of a NAT that takes another one for each destination: which ports are
tried, how fast, and how often a node may do that at all.

C{docs/protocols/prediction.md} says what follows from it, and why these figures.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass

from atmosphere.rate import TokenBucket

__all__ = [
    "MAX_PROBES",
    "MAX_SOCKETS",
    "PROBES_AT_ONCE",
    "PROBE_PAUSE",
    "SOCKETS_AT_ONCE",
    "BurstCounters",
    "PredictionBudget",
    "draw_ports",
]

#: Of one burst.
MAX_SOCKETS = 256
MAX_PROBES = 1500

#: Every so many seconds this many probes leave, or this many sockets are opened.
PROBE_PAUSE = 0.01
PROBES_AT_ONCE = 10
SOCKETS_AT_ONCE = 64

#: What no NAT gives away is not tried.
FIRST_PORT = 1024

#: Seconds, and what all links of a node may do within so many: new mappings, and
#: bursts that probe.
WINDOW = 60.0
MAX_MAPPINGS = 256
MAX_PROBINGS = 4

#: Seconds between two bursts with one peer, or towards one host: twice the first after
#: one that came to nothing, twice as many after each more, up to the longest.
FIRST_PAUSE = 300.0
LONGEST_PAUSE = 3600.0

#: Agreements with one peer: so many at once, and then one in so many seconds. One that is
#: taken back before its burst costs nothing else, and holds the place meanwhile.
AGREEMENTS_AT_ONCE = 4
AGREEMENT_PAUSE = 60.0

#: Peers, and hosts, whose last burst is remembered.
MAX_REMEMBERED = 1024


def draw_ports(entropy: Callable[[int], bytes]) -> Iterator[int]:
    """
    Draw the ports from 1,024 on in random order, each once.
    """
    drawn: set[int] = set()
    while len(drawn) < 65536 - FIRST_PORT:
        pool = entropy(2 * PROBES_AT_ONCE)
        for place in range(0, len(pool), 2):
            port = int.from_bytes(pool[place : place + 2], "big")
            if port >= FIRST_PORT and port not in drawn:
                drawn.add(port)
                yield port


@dataclass
class BurstCounters:
    """
    What was done since the node started.

    @ivar bursts: how many began.
    @ivar hits: how many of them led to a direct way.
    @ivar sockets: sockets opened, each a new mapping.
    @ivar probes: probes sent.
    """

    bursts: int = 0
    hits: int = 0
    sockets: int = 0
    probes: int = 0


@dataclass(frozen=True, slots=True)
class _Last:
    """
    When something may be repeated.

    @ivar allowed_at: engine time.
    @ivar pause: the seconds that it took until then.
    """

    allowed_at: float
    pause: float


class _Memory:
    """
    What was done with whom of late, and when it may be done again.
    """

    def __init__(self) -> None:
        self._last: OrderedDict[Hashable, _Last] = OrderedDict()

    def wait(self, key: Hashable, now: float) -> float:
        """
        Say for how long it may not be repeated.
        """
        last = self._last.get(key)
        return 0.0 if last is None else max(0.0, last.allowed_at - now)

    def began(self, key: Hashable, now: float) -> None:
        """
        Count one that begins: until it is known better it came to nothing.
        """
        before = self._last.pop(key, None)
        pause = FIRST_PAUSE if before is None else before.pause
        pause = min(LONGEST_PAUSE, 2 * pause)
        self._last[key] = _Last(now + pause, pause)
        if len(self._last) > MAX_REMEMBERED:
            self._last.popitem(last=False)

    def succeeded(self, key: Hashable, began_at: float, *, is_free: bool) -> None:
        """
        It came to something, so the pause does not grow.

        @param began_at: engine time.
        @param is_free: nor is there one at all.
        """
        self._last.pop(key, None)
        if not is_free:
            self._last[key] = _Last(began_at + FIRST_PAUSE, FIRST_PAUSE)


class PredictionBudget:
    """
    How much all links of a node may guess together.

    Whoever wants to begin holds the one place from the agreement with its peer until
    the burst is over; a place that is held for too long is free again.

    @ivar counters: what was done.
    @ivar max_sockets: the most that one burst may open.
    """

    def __init__(self, max_sockets: int = MAX_SOCKETS) -> None:
        self.counters = BurstCounters()
        self.max_sockets = min(MAX_SOCKETS, max_sockets)
        self._holder: object | None = None
        self._held_until = float("-inf")
        self._peers = _Memory()
        self._hosts = _Memory()
        self._agreements: OrderedDict[Hashable, TokenBucket] = OrderedDict()
        self._mappings: deque[tuple[float, int]] = deque()
        self._probings: deque[float] = deque()

    def mappings(self, now: float) -> int:
        """
        Count the mappings that were made in the last minute.
        """
        while self._mappings and self._mappings[0][0] <= now - WINDOW:
            self._mappings.popleft()
        return sum(count for _, count in self._mappings)

    def is_held(self, now: float) -> bool:
        """
        Say whether a burst is agreed on, or runs.
        """
        return self._holder is not None and now < self._held_until

    def wait(self, peer: Hashable, host: str | None, now: float) -> tuple[float, str] | None:
        """
        Say for how long no burst may begin, and why.

        @param host: where probes would go; C{None} for the side that opens sockets.
        @return: seconds and the reason; C{None} if it may begin now.
        """
        waits = [(self._peers.wait(peer, now), "one was tried of late")]
        agreements = self._agreements.get(peer)
        if agreements is not None:
            waits.append((agreements.delay(1, now), "several were agreed on of late"))
        if self.is_held(now):
            waits.append((self._held_until - now, "another one is being made"))
        if host is None:
            if self.mappings(now) + self.max_sockets > MAX_MAPPINGS:
                waits.append((self._mappings[0][0] + WINDOW - now, "too many mappings are new"))
        else:
            waits.append((self._hosts.wait(host, now), f"one towards {host} came to nothing"))
            while self._probings and self._probings[0] <= now - WINDOW:
                self._probings.popleft()
            if len(self._probings) >= MAX_PROBINGS:
                waits.append((self._probings[0] + WINDOW - now, "too many were made"))
        longest = max(waits, key=lambda each: each[0])
        return longest if longest[0] > 0 else None

    def hold(self, holder: object, now: float, seconds: float) -> None:
        """
        Take the one place; L{wait} said that it is free.

        @param holder: whoever gives it back.
        @param seconds: after which it is free in any case.
        """
        self._holder = holder
        self._held_until = now + seconds

    def agreeing(self, peer: Hashable, now: float) -> None:
        """
        Count that one is being agreed on with a peer, whatever becomes of it.
        """
        agreements = self._agreements.pop(peer, None)
        if agreements is None:
            agreements = TokenBucket(1 / AGREEMENT_PAUSE, AGREEMENTS_AT_ONCE)
        self._agreements[peer] = agreements
        agreements.take(1, now)
        if len(self._agreements) > MAX_REMEMBERED:
            self._agreements.popitem(last=False)

    def release(self, holder: object) -> None:
        """
        Give the place back, if it is still held.
        """
        if self._holder is holder:
            self._holder = None

    def began(self, peer: Hashable, host: str | None, now: float) -> None:
        """
        A burst begins.

        @param host: see L{wait}.
        """
        self.counters.bursts += 1
        self._peers.began(peer, now)
        if host is not None:
            self._hosts.began(host, now)
            self._probings.append(now)

    def succeeded(self, peer: Hashable, host: str | None, began_at: float) -> None:
        """
        A burst has led to a direct way.
        """
        self.counters.hits += 1
        self._peers.succeeded(peer, began_at, is_free=False)
        if host is not None:
            self._hosts.succeeded(host, began_at, is_free=True)

    def opened(self, count: int, now: float) -> None:
        """
        Sockets were opened.
        """
        self.counters.sockets += count
        self._mappings.append((now, count))
