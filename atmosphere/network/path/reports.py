# -*- test-case-name: tests.network.path.test_paths -*-
"""
What the path engine tells its owner, and those who ask how a link stands.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeAlias

from atmosphere.addresses import TransportAddress

from .known_way import KnownWay, WayState
from .ways import Way

__all__ = [
    "ObservedAddress",
    "PathChanged",
    "PathEvent",
    "PathRestored",
    "PathSilent",
    "WayReport",
    "report_ways",
]


@dataclass(frozen=True, slots=True)
class PathChanged:
    """
    From now on data leaves by another way. The owner sends a QUIC PING: what
    left by the old way may be lost.

    @ivar old: the way until now; C{None} if there was none.
    @ivar new: the way from now on.
    @ivar reason: the fact and the rule, for people.
    """

    old: Way | None
    new: Way
    reason: str


@dataclass(frozen=True, slots=True)
class PathSilent:
    """
    No way has answered for too long. The owner dials anew and keeps the link.

    @ivar since: engine time of the last answer.
    """

    since: float


@dataclass(frozen=True, slots=True)
class PathRestored:
    """
    The active way answers again. The owner sends a QUIC PING: QUIC's own timers
    have backed off.

    @ivar way: the active way.
    """

    way: Way


@dataclass(frozen=True, slots=True)
class ObservedAddress:
    """
    The peer saw our checks come from another address than before.

    @ivar address: our address as the peer sees it.
    """

    address: TransportAddress


PathEvent: TypeAlias = PathChanged | PathSilent | PathRestored | ObservedAddress


@dataclass(frozen=True, slots=True)
class WayReport:
    """
    How one way stands.

    @ivar way: which.
    @ivar kind: C{direct} (reached as the peer told it), C{punched} (through
        NATs) or C{relayed}.
    @ivar state: where it is in its life.
    @ivar is_active: data leaves by it.
    @ivar rtt: its round trip in seconds, once measured.
    @ivar last_heard: engine time of the last authentic datagram by it.
    @ivar reason: why it is in that state.
    """

    way: Way
    kind: str
    state: WayState
    is_active: bool
    rtt: float | None
    last_heard: float | None
    reason: str


def report_ways(ways: Iterable[KnownWay], active: Way | None) -> list[WayReport]:
    """
    Say how each way stands, the active one first, then by rank.
    """
    ranked = sorted(ways, key=lambda each: (each.way != active, -each.priority))
    return [
        WayReport(
            known.way,
            known.kind,
            known.state,
            known.way == active,
            known.rtt,
            known.last_heard,
            known.reason,
        )
        for known in ranked
    ]
