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
    "PredictionHeard",
    "PredictionSaid",
    "SocketsKept",
    "SocketsWanted",
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


@dataclass(frozen=True, slots=True)
class PredictionSaid:
    """
    The peer is to be told this, about guessing ports.

    @ivar payload: see L{atmosphere.network.path.prediction_message}.
    """

    payload: bytes


@dataclass(frozen=True, slots=True)
class PredictionHeard:
    """
    The peer says this, about guessing ports. It comes in line with its offers.

    @ivar payload: likewise.
    """

    payload: bytes


@dataclass(frozen=True, slots=True)
class SocketsWanted:
    """
    So many sockets are to be opened towards an address, each for a way of its own.
    The owner says which by C{Prediction.sockets_opened}.

    @ivar target: the only address that they send to and hear.
    @ivar count: how many, besides those that there are.
    """

    target: TransportAddress
    count: int


@dataclass(frozen=True, slots=True)
class SocketsKept:
    """
    Of the sockets that were opened for this link only these are needed any more.

    @ivar ports: their local ports.
    """

    ports: frozenset[int]


PathEvent: TypeAlias = (
    PathChanged
    | PathSilent
    | PathRestored
    | ObservedAddress
    | PredictionSaid
    | PredictionHeard
    | SocketsWanted
    | SocketsKept
)


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
    @ivar datagram_size: the largest UDP payload that went both ways, in bytes; C{None}
        where none did, and for a relayed way.
    """

    way: Way
    kind: str
    state: WayState
    is_active: bool
    rtt: float | None
    last_heard: float | None
    reason: str
    datagram_size: int | None = None


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
            known.datagram_size,
        )
        for known in ranked
    ]
