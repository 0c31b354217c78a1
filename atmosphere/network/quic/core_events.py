# -*- test-case-name: tests.network.quic.test_core -*-
"""
What a link reports to the Twisted side, one frozen value each; its phases, and
the codes with which it is closed.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from atmosphere.network.path.reports import PathEvent

from .handshake import Proof, Welcome

__all__ = [
    "CloseCode",
    "Closed",
    "DatagramReceived",
    "Ended",
    "Event",
    "OfferReceived",
    "PathReported",
    "Phase",
    "Pinned",
    "Proved",
    "RouteChanged",
    "StreamAborted",
    "StreamAccepted",
    "StreamData",
    "StreamDrained",
    "StreamEnded",
    "StreamFinished",
    "StreamOpened",
    "StreamRefused",
    "Welcomed",
]


class CloseCode:
    """
    Why a link was closed, as QUIC application codes.
    """

    DONE = 0
    REFUSED = 1
    VIOLATED = 2
    REPLACED = 3
    EXHAUSTED = 4


class Phase(Enum):
    """
    How far a link has come.

    A listener is C{PROVED} between the proof and its own verdict, a dialler
    between the listener's welcome and its own.
    """

    HANDSHAKE = "handshake"
    PROOF_AWAITED = "proof awaited"
    WELCOME_AWAITED = "welcome awaited"
    PROVED = "proved"
    CONNECTED = "connected"
    CLOSED = "closed"


@dataclass(frozen=True, slots=True)
class Pinned:
    """
    The listener holds the key that the dialler wants, and our proof is on its way.
    What is opened while the event is taken leaves in the same flight.
    """


@dataclass(frozen=True, slots=True)
class Proved:
    """
    The dialler's proof holds; its membership is still to be checked.

    Answer with C{welcome} or C{refuse}.
    """

    proof: Proof


@dataclass(frozen=True, slots=True)
class Welcomed:
    """
    The listener took us in; its membership is still to be checked.

    Answer with C{confirm} or C{close}.
    """

    welcome: Welcome


@dataclass(frozen=True, slots=True)
class OfferReceived:
    """
    The peer's path layer tells ours something.
    """

    payload: bytes


@dataclass(frozen=True, slots=True)
class StreamOpened:
    """
    The peer asks for a service; answer with C{accept} or C{refuse_stream}.
    """

    stream_id: int
    service: str


@dataclass(frozen=True, slots=True)
class StreamAccepted:
    """
    The peer serves the stream that we opened.
    """

    stream_id: int


@dataclass(frozen=True, slots=True)
class StreamRefused:
    """
    The peer does not serve the stream that we opened.
    """

    stream_id: int
    reason: str


@dataclass(frozen=True, slots=True)
class StreamData:
    """
    Bytes for the application; C{consumed} is to be called once it has them.
    """

    stream_id: int
    data: bytes


@dataclass(frozen=True, slots=True)
class StreamEnded:
    """
    The peer has ended its direction in good order.
    """

    stream_id: int


@dataclass(frozen=True, slots=True)
class StreamAborted:
    """
    The peer gave a stream up, in either direction.

    @ivar stops_us: it will not read on, rather than not send on.
    """

    stream_id: int
    stops_us: bool


@dataclass(frozen=True, slots=True)
class StreamDrained:
    """
    Little of what was written still waits: write on.
    """

    stream_id: int


@dataclass(frozen=True, slots=True)
class StreamFinished:
    """
    Everything that was written, and its end, has gone to QUIC.
    """

    stream_id: int


@dataclass(frozen=True, slots=True)
class RouteChanged:
    """
    Datagrams for this link bear another connection ID as well, or one less.
    """

    connection_id: bytes
    is_added: bool


@dataclass(frozen=True, slots=True)
class DatagramReceived:
    """
    A datagram for a service.
    """

    service: str
    data: bytes


@dataclass(frozen=True, slots=True)
class PathReported:
    """
    The path layer has news.
    """

    event: PathEvent


@dataclass(frozen=True, slots=True)
class Closed:
    """
    The link carries nothing any more.
    """

    reason: str


@dataclass(frozen=True, slots=True)
class Ended:
    """
    The peer has been told as well as can be: the engine may be let go.
    """


Event = (
    Pinned
    | Proved
    | Welcomed
    | OfferReceived
    | StreamOpened
    | StreamAccepted
    | StreamRefused
    | StreamData
    | StreamEnded
    | StreamAborted
    | StreamDrained
    | StreamFinished
    | RouteChanged
    | DatagramReceived
    | PathReported
    | Closed
    | Ended
)
