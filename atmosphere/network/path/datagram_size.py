# -*- test-case-name: tests.network.path.test_datagram_size -*-
"""
How large datagrams go both ways by one path: a search by padded checks (RFC 8899).

It decides which size is tried when; the checks are sent by
L{atmosphere.network.path.checker}.
"""

from __future__ import annotations

from .ways import DirectWay, Way

__all__ = ["FULL_SIZE", "LARGEST_SIZE", "SIZES", "DatagramSize"]

#: The UDP payload that a way must carry both ways, in bytes.
FULL_SIZE = 1200

#: UDP payloads that are tried: the least of IPv6 less its headers, that of IPv6 itself,
#: tunnels, PPPoE by IPv4 or Ethernet by IPv6, Ethernet by IPv4.
SIZES = (FULL_SIZE, 1232, 1280, 1400, 1452, 1472)

LARGEST_SIZE = SIZES[-1]

#: The largest by IPv6.
LARGEST_IPV6 = 1452

#: Seconds after a way was proven until the search begins: data goes first.
START_AFTER = 1.0

#: Seconds until a probe counts as lost, and how many of one size in a row are too large.
PROBE_PATIENCE = 1.0
MAX_PROBES = 3

#: Seconds after which a size is tried once more, and a larger one is looked for.
CONFIRM_AFTER = 120.0
RAISE_AFTER = 600.0

#: Seconds between two checks of what is doubted because data is lost.
DOUBT_PAUSE = 1.0


class DatagramSize:
    """
    The largest datagram of one way.

    @ivar size: what went both ways last, in bytes.
    @ivar due: when a probe is to be sent, or has been lost; C{None} while the way
        is not proven.
    @ivar target: the size of the next probe; C{None} if none is wanted.
    @ivar hole: what went once and does not go now, in bytes; 0 if there is nothing like that.
    @ivar is_news: the hole was found just now.
    """

    __slots__ = (
        *("_asked_at", "_bound", "_count", "_found", "_is_out", "_patience", "_raise_at"),
        *("_sure_until", "due", "hole", "is_news", "size", "target"),
    )

    def __init__(self, *, is_ipv6: bool) -> None:
        self.size = FULL_SIZE
        self.due: float | None = None
        self.target: int | None = None
        self._count = sum(not is_ipv6 or each <= LARGEST_IPV6 for each in SIZES)
        self._found = 0
        self._bound = self._count
        self._is_out = 0
        self._raise_at = 0.0
        self._patience = PROBE_PATIENCE
        self._asked_at = self._sure_until = float("-inf")
        self.hole = 0
        self.is_news = False

    @classmethod
    def of(cls, way: Way) -> DatagramSize | None:
        """
        Make one for a way; C{None} for a relayed one, whose relay sees to it.
        """
        return cls(is_ipv6=way.address.is_ipv6) if isinstance(way, DirectWay) else None

    def begin(self, now: float) -> None:
        """
        The way is proven: look for more than its proof has shown, unless that began.
        """
        if self.due is None:
            self._search(now + START_AFTER, 0, self._count)

    def end(self) -> None:
        """
        The way has failed: nothing is known of it.
        """
        self.size = FULL_SIZE
        self.hole, self.is_news = 0, False
        self.due = self.target = None

    def adopt(self, now: float, size: int) -> None:
        """
        Take what another link found by the same way.
        """
        if size in SIZES[: self._count] and size > self.size:
            self.size = size
            self._search(now + START_AFTER, SIZES.index(size), self._count)

    def doubt(self, now: float, patience: float) -> None:
        """
        Data is lost: see soon whether the size that went still goes.

        @param patience: seconds until a probe counts as lost.
        """
        is_doubted = self._is_out and self.target == self.size
        if self.due is None or self.size == FULL_SIZE or is_doubted:
            return
        self.target, self._is_out = self.size, 0
        self._patience = min(patience, PROBE_PATIENCE)
        self.due = max(now, self._sure_until)

    def _search(self, when: float, found: int, bound: int) -> None:
        """
        Look between two sizes, the largest of all first, since it is the usual one.

        @param found: the index of what goes.
        @param bound: the index of what does not.
        """
        self._found, self._bound, self._is_out = found, bound, 0
        self._patience = PROBE_PATIENCE
        if bound - found <= 1:
            self._rest(when)
            return
        index = bound - 1 if bound == self._count else (found + bound) // 2
        self.target, self.due = SIZES[index], when

    def _rest(self, when: float) -> None:
        """
        The search is over; look again later.
        """
        self._raise_at = when + RAISE_AFTER
        self._settle(when)

    def _settle(self, when: float) -> None:
        """
        Wait until the size is to be confirmed.
        """
        self._is_out = 0
        self._patience = PROBE_PATIENCE
        self.target = self.size if self._found else None
        self.due = when + CONFIRM_AFTER if self._found else self._raise_at

    def probe(self, now: float, answered_at: float | None = float("inf")) -> int | None:
        """
        Say of which size a probe is to be sent now, after what was lost is counted.
        The caller tells by L{sent} if it did so.

        @param answered_at: as for L{expire}.
        """
        if self.due is None or now < self.due:
            return None
        if self._is_out >= MAX_PROBES:
            self.expire(now, answered_at)
        elif not self._is_out and self._bound - self._found <= 1 and now >= self._raise_at:
            self._search(now, self._found, self._count)
            if self._bound - self._found <= 1:  # it is the largest already
                self._rest(now)
        return self.target if now >= self.due and self._is_out < MAX_PROBES else None

    def expire(self, now: float, answered_at: float | None = float("inf")) -> None:
        """
        See whether all probes of a size were lost. Those of a size that went before say
        something only if the way answers otherwise: else the way itself is the matter.

        @param answered_at: when the way's last check was answered.
        """
        if self.due is None or now < self.due or self._is_out < MAX_PROBES:
            return
        if self.target == self.size and (answered_at is None or answered_at < self._asked_at):
            self.due = now + self._patience
        else:
            self._lost(now)

    def sent(self, now: float) -> None:
        """
        A probe left.
        """
        if not self._is_out:
            self._asked_at = now
        self._is_out += 1
        self.due = now + self._patience

    def put_off(self, when: float) -> None:
        """
        There was no room for a probe.
        """
        self.due = when

    def _lost(self, now: float) -> None:
        """
        All probes of one size were lost: it is too large, or no longer good.
        """
        if self.target == self.size:  # a black hole for what went before
            bound, self.hole, self.size = self._found, self.size, FULL_SIZE
            self.is_news = True
            self._search(now, 0, max(1, bound))
        elif self.target is not None:
            self._search(now, self._found, SIZES.index(self.target))

    def answered(self, now: float, size: int) -> None:
        """
        A check of a size was answered by one of the same.
        """
        if self.due is None or size not in SIZES:
            return
        if size == self.target == self.size:
            self._sure_until = now + DOUBT_PAUSE
            if self._bound - self._found > 1:  # a doubt came between
                self._search(now + START_AFTER, self._found, self._bound)
            else:
                self._settle(now)
        elif size == self.target and size > self.size:
            self.size = size
            self.hole = 0 if size >= self.hole else self.hole
            self._search(now, SIZES.index(size), self._bound)
