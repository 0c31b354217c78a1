# -*- test-case-name: tests.network.relay.test_line -*-
"""
Lines: a node's connection to the switchboard, and what waits to be written to it.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from enum import Enum
from typing import TypeAlias

from atmosphere.addresses import TransportAddress
from atmosphere.identity import NodeID
from atmosphere.rate import TokenBucket

from .batches import is_probe
from .frames import FrameType
from .limits import RelayLimits

__all__ = ["Admission", "Closed", "Line", "LineState", "Resumed", "Throttled", "Welcomed"]

Message: TypeAlias = bytes | bytearray

#: What Twisted's transport holds beside our queue before it pauses its producer.
TRANSPORT_BUFFER = 64 * 1024

#: Messages that wait for a node, at most: a small one costs more than its bytes.
MAX_WAITING = 2_048


NEVER = float("inf")


@dataclass(frozen=True, slots=True)
class Admission:
    """
    What a node may do at a relay.

    @ivar is_proven: a member of a mesh that the relay serves.
    @ivar mesh_id: the mesh that was proved; empty for none.
    @ivar only_to: the only nodes that it may reach and be reached by; C{None} for all.
    @ivar expires: when to end the connection, in POSIX seconds; C{None} for never.
    """

    is_proven: bool = False
    mesh_id: str = ""
    only_to: frozenset[NodeID] | None = None
    expires: float | None = None


class LineState(Enum):
    """
    How far a connection has come.
    """

    CHALLENGED = "challenged"
    WELCOMED = "welcomed"
    PARKED = "parked"
    CLOSED = "closed"


class Line:
    """
    One connection of a node.

    @ivar observed: the node's address as we see it.
    @ivar nonce: what its hello must have signed.
    @ivar heard: when it last sent anything, in engine time.
    @ivar paused_since: since when nothing can be written; L{NEVER} if it can.
    @ivar throttled_until: until when it is not read; L{NEVER} if it is.
    @ivar expires: when its admission ends.
    @ivar armed: the time of its next entry among the deadlines.
    @ivar armed_later: the time of the entry after that.
    @ivar deliver_header: the first 33 bytes of each frame that carries its datagrams.
    """

    __slots__ = (
        "_limit",
        "_outbox",
        "_probes",
        "_size",
        "absent_told",
        "admission",
        "armed",
        "armed_later",
        "bucket",
        "connected",
        "deliver_header",
        "expires",
        "heard",
        "instance",
        "is_ready",
        "node",
        "nonce",
        "notified_rate",
        "observed",
        "paused_since",
        "state",
        "throttled_until",
    )

    def __init__(
        self, observed: TransportAddress, nonce: bytes, limits: RelayLimits, now: float
    ) -> None:
        self.observed = observed
        self.nonce = nonce
        self.state = LineState.CHALLENGED
        self.connected = self.heard = now
        self.node: NodeID | None = None
        self.instance = b""
        self.admission = Admission()
        self.bucket: TokenBucket | None = None
        self.paused_since = self.throttled_until = self.expires = NEVER
        self.armed = self.armed_later = NEVER
        self.notified_rate = -NEVER
        self.is_ready = False
        self.deliver_header = b""
        self.absent_told: dict[bytes, float] | None = None
        self._limit = max(limits.queue - TRANSPORT_BUFFER, TRANSPORT_BUFFER)
        self._outbox: deque[Message] = deque()
        self._probes: deque[Message] | None = None
        self._size = 0

    @property
    def queued(self) -> int:
        """
        How many bytes wait, probes not counted.
        """
        return self._size

    @property
    def is_paused(self) -> bool:
        """
        Whether nothing can be written now.
        """
        return self.paused_since != NEVER

    def put(self, message: Message, probes: int) -> tuple[int, int]:
        """
        Queue a message; the oldest make room.

        @param probes: how many messages with STUN are kept.
        @return: how many messages were dropped, and their bytes.
        """
        if message[0] == FrameType.DELIVER and is_probe(message):
            if self._probes is None:
                self._probes = deque(maxlen=probes)
            full = len(self._probes) == probes
            lost = len(self._probes[0]) if full else 0
            self._probes.append(message)
            return int(full), lost
        self._outbox.append(message)
        self._size += len(message)
        messages = size = 0
        outbox = self._outbox
        while (self._size > self._limit or len(outbox) > MAX_WAITING) and len(outbox) > 1:
            dropped = len(outbox.popleft())
            self._size -= dropped
            messages += 1
            size += dropped
        return messages, size

    def take(self, most: int) -> list[Message]:
        """
        Hand out what waits, probes first.

        @param most: stop once so many bytes are handed out.
        """
        taken: list[Message] = []
        if self._probes:
            taken.extend(self._probes)
            self._probes = None
        size = 0
        outbox = self._outbox
        while outbox and size < most:
            message = outbox.popleft()
            size += len(message)
            taken.append(message)
        self._size -= size
        return taken

    def clear(self) -> None:
        """
        Let go of what nobody will read: a line that is gone is known until its
        deadlines have passed.
        """
        self._outbox.clear()
        self._probes = self.absent_told = None
        self._size = 0

    def due(self, limits: RelayLimits) -> float:
        """
        Say when the next thing happens by itself.
        """
        if self.state is LineState.CHALLENGED:
            quiet = self.connected + limits.hello_timeout
        else:
            quiet = self.heard + limits.silence
        return min(
            quiet, self.paused_since + limits.write_timeout, self.throttled_until, self.expires
        )


@dataclass(frozen=True, slots=True)
class Welcomed:
    """
    A node proved who it is and was let in.
    """

    line: Line


@dataclass(frozen=True, slots=True)
class Throttled:
    """
    Read no more from that connection, until it is L{Resumed}.
    """

    line: Line


@dataclass(frozen=True, slots=True)
class Resumed:
    """
    Read from that connection again.
    """

    line: Line


@dataclass(frozen=True, slots=True)
class Closed:
    """
    End that connection once what waits was written.

    @ivar code: WebSocket's close code.
    """

    line: Line
    code: int
    reason: str
