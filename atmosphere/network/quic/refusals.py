# -*- test-case-name: tests.network.quic.test_refusals -*-
"""
What the log says of links that came to nothing: who it was, and why, in one line.

Anybody can have a node write such a line, so they are counted out: of strangers'
ones and of those of our own dials so many each, and the next line says how many
were left out. What is not worth a line is counted.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from atmosphere.identity import NodeID
from atmosphere.network.path.ways import RelayedWay, Way, way_text
from atmosphere.rate import TokenBucket
from atmosphere.text import escape_peer_text

__all__ = ["EndpointCounters", "Refusals", "stranger_text"]

LINES_PER_SECOND = 0.5
LINES_AT_ONCE = 20.0
MAX_REASON = 240


def stranger_text(peer: NodeID | None, way: Way | None) -> str:
    """
    Name the dialler of a link: by its key if it has proven it, else by its way.
    """
    if peer is not None:
        return f"{peer.short} at {way_text(way)}"
    if isinstance(way, RelayedWay):
        return f"a stranger at {way_text(way)}, which calls it {way.peer.short}"
    return f"a stranger at {way_text(way)}"


@dataclass
class EndpointCounters:
    """
    What strangers and the network did to us.
    """

    dropped: int = 0
    retries_sent: int = 0
    half_open_refused: int = 0
    failed_inside: int = 0


class _Lines:
    """
    The lines of one kind.
    """

    def __init__(self) -> None:
        self._budget = TokenBucket(LINES_PER_SECOND, LINES_AT_ONCE)
        self._left_out = 0

    def take(self, now: float) -> int | None:
        """
        Ask for a line.

        @return: how many were left out since the last one; C{None} if this one is.
        """
        if not self._budget.take(1, now):
            self._left_out += 1
            return None
        left_out, self._left_out = self._left_out, 0
        return left_out


class Refusals:
    """
    Writes those lines.
    """

    def __init__(self, write: Callable[..., None], write_aside: Callable[..., None]) -> None:
        """
        @param write: takes a line as a logger's method does.
        @param write_aside: the same, for what nobody wants to read every day.
        """
        self._write = write
        self._write_aside = write_aside
        self._of_strangers = _Lines()
        self._of_dials = _Lines()

    def refused(
        self,
        peer: NodeID | None,
        way: Way | None,
        reason: str,
        now: float,
        *,
        is_ours: bool = False,
    ) -> None:
        """
        Say that there is no link.

        @param way: by which something was heard.
        @param is_ours: we dialled; else somebody dialled us.
        """
        if not is_ours:
            who = stranger_text(peer, way)
            self._say(self._of_strangers, "no link from {who}: {reason}", who, reason, now)
            return
        name = "nobody" if peer is None else peer.short
        if way is None:
            self._write_aside("no link to {who}: {reason}", who=name, reason=reason)
            return
        who = f"{name} at {way_text(way)}"
        self._say(self._of_dials, "no link to {who}: {reason}", who, reason, now)

    def _say(self, lines: _Lines, text: str, who: str, reason: str, now: float) -> None:
        """
        Write a line, if there is one left.
        """
        left_out = lines.take(now)
        if left_out is None:
            return
        if not reason.isprintable():  # it should be, whoever made it
            reason = escape_peer_text(reason, MAX_REASON)
        more = f" (and {left_out} more were left out here)" if left_out else ""
        self._write(text + "{more}", who=who, reason=reason[:MAX_REASON], more=more)
