# -*- test-case-name: tests.network.quic.test_larger -*-
"""
When a link is dialled anew for larger datagrams: C{docs/protocols/link.md}, section 8.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from typing import Protocol

from atmosphere.identity import NodeID
from atmosphere.network.path.ways import DirectWay, RelayedWay, Way

from .adapter import LARGEST_DATAGRAM_SIZE, MAX_DATAGRAM_SIZE
from .core import LinkCore

__all__ = ["Enlargements", "Growing", "size_asked_for"]

#: Bytes that a link has moved before it is worth a handshake, and the least datagram
#: that is worth one.
WORTH_MOVED = 4_194_304
WORTH_SIZE = 1400

#: What the first datagrams of a large link's dialler have.
LARGE_INITIAL = 1280

#: Seconds between two attempts with one peer: at first, at most, and after which all is forgiven.
PAUSE = 60.0
LONGEST_PAUSE = 1920.0
FORGIVEN_AFTER = 3600.0

MAX_PEERS = 1024

#: Links with the same peer beside the current one: older ones that have streams yet.
MAX_BESIDE = 1


class Growing(Protocol):
    """
    What is asked of a link.
    """

    core: LinkCore
    is_dialler: bool
    is_silent: bool

    @property
    def peer(self) -> NodeID:
        """
        Who is at the other end.
        """
        ...


def size_asked_for(first_length: int) -> int:
    """
    Say how large a listener makes its datagrams, by the length of the first one that
    came. It lowers that to what it has measured itself before it sends anything so large.
    """
    return LARGEST_DATAGRAM_SIZE if first_length >= LARGE_INITIAL else MAX_DATAGRAM_SIZE


class Enlargements:
    """
    Says for which links another one with larger datagrams is worth a handshake.
    """

    def __init__(self, worth_moved: int = WORTH_MOVED) -> None:
        self._worth_moved = worth_moved
        self._attempts: OrderedDict[NodeID, tuple[float, float]] = OrderedDict()

    def wanted(
        self, link: Growing, links: Iterable[Growing], now: float
    ) -> tuple[list[Way], int] | None:
        """
        Say by which ways, and with datagrams of which size, another link is to be dialled
        now instead of a current one; C{None} if it is not worth it. An attempt is counted.

        @param links: all there are, of which those with the peer must not become too many.
        """
        quic, paths = link.core.quic, link.core.paths
        if not link.is_dialler or quic.moved < self._worth_moved:
            return None
        way, size = paths.active, paths.carried
        if not isinstance(way, DirectWay) or way.socket is not None or link.is_silent:
            return None
        if size < WORTH_SIZE or size <= quic.datagram_size:
            return None
        if sum(each.core.peer == link.peer for each in links) > MAX_BESIDE + 1:
            return None
        if not self._may(link.peer, now):
            return None
        relayed = [each for each in paths.working_ways() if isinstance(each, RelayedWay)]
        return [way, *relayed], size

    def adopt(self, link: Growing, older: Growing | None, now: float) -> None:
        """
        Let a large link that is connected now have what an older one with the same peer
        has measured; without, its datagrams become small.
        """
        quic, paths = link.core.quic, link.core.paths
        if quic.datagram_size > MAX_DATAGRAM_SIZE and older is not None:
            paths.adopt_sizes(older.core.paths, now)
            size = min(quic.datagram_size, paths.carried)
            if size > MAX_DATAGRAM_SIZE:
                text = f"this link is new, for datagrams of up to {size} bytes"
                paths.decisions.note(now, paths.active, text)

    def _may(self, peer: NodeID, now: float) -> bool:
        """
        Say whether it is time for an attempt, and count it.
        """
        last, pause = self._attempts.get(peer, (float("-inf"), PAUSE / 2))
        if now < last + pause:
            return False
        pause = PAUSE if now >= last + FORGIVEN_AFTER else min(2 * pause, LONGEST_PAUSE)
        self._attempts[peer] = now, pause
        self._attempts.move_to_end(peer)
        if len(self._attempts) > MAX_PEERS:
            self._attempts.popitem(last=False)
        return True
