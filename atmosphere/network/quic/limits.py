# -*- test-case-name: tests.network.quic.test_limits -*-
"""
What a peer may make a link keep or do: streams before the proof, control messages.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from atmosphere.errors import DecodeError
from atmosphere.rate import TokenBucket

from .core_events import Phase

__all__ = [
    "COST_OF_EVENT",
    "HANDSHAKE_TIMEOUT",
    "MAX_BEFORE_PROOF",
    "MAX_EARLY",
    "PROOF_TIMEOUT",
    "UNPROVEN_STREAMS",
    "ControlBudget",
    "HeldEvents",
    "overdue_text",
]

HANDSHAKE_TIMEOUT = 15.0
PROOF_TIMEOUT = 5.0

MAX_HELD = 4_096
MAX_HELD_BY_DIALLER = 1_048_576
#: Bytes of datagrams, well encrypted and new, that a dialler sends up to its proof. QUIC
#: keeps what follows a gap in a stream, up to a megabyte, and reports none of it.
MAX_BEFORE_PROOF = 65_536
UNPROVEN_STREAMS = 8
#: What each event counts beside its bytes.
COST_OF_EVENT = 16
#: What a dialler sends on streams before the welcome, counted as the listener does;
#: the rest up to C{MAX_HELD} is for frames that are cut up on their way.
MAX_EARLY = 3_072

CONTROL_PER_SECOND = 64.0
CONTROL_AT_ONCE = 256.0
BYTES_PER_CONTROL = 16_384


_MISSING = {
    Phase.HANDSHAKE: f"the handshake did not end within {HANDSHAKE_TIMEOUT:.0f} s",
    Phase.PROOF_AWAITED: f"no proof came within {PROOF_TIMEOUT:.0f} s",
    Phase.WELCOME_AWAITED: f"no welcome came within {HANDSHAKE_TIMEOUT:.0f} s",
}


def overdue_text(phase: Phase) -> str:
    """
    Say what has not come in its time.
    """
    return f"time is up: {_MISSING.get(phase, phase.value)}"


class HeldEvents:
    """
    What came on streams before the link was connected.
    """

    def __init__(self, *, is_dialler: bool) -> None:
        self._is_dialler = is_dialler
        self._most = MAX_HELD_BY_DIALLER if is_dialler else MAX_HELD
        self._events: list[Any] = []
        self._length = self._received = 0

    def add(self, event: Any) -> None:
        """
        Keep an event of QUIC's that has a C{stream_id}.

        @raise DecodeError: too much of it, link §3.
        """
        self._events.append(event)
        self._length += len(getattr(event, "data", b"")) + COST_OF_EVENT
        is_far = not self._is_dialler and event.stream_id // 4 > UNPROVEN_STREAMS
        if self._length > self._most or is_far:
            raise DecodeError("too much was sent before the proof was checked", section="link §3")

    def is_too_much(self, datagrams: Sequence[bytes]) -> bool:
        """
        Count datagrams that came before the proof, whatever QUIC made of them, and say
        whether a dialler has sent too much of it.
        """
        self._received += sum(map(len, datagrams))
        return self._received > MAX_BEFORE_PROOF and not self._is_dialler

    def take(self) -> list[Any]:
        """
        Hand out what was kept, once.
        """
        events, self._events, self._length = self._events, [], 0
        return events


class ControlBudget:
    """
    How many control messages a peer may send: 256 at once, 64 a second, and one
    more for each 16 KiB of stream data that we sent, for those it has to credit.
    """

    def __init__(self) -> None:
        self._bucket = TokenBucket(CONTROL_PER_SECOND, CONTROL_AT_ONCE)
        self._earned = 0.0

    def earn(self, sent: int) -> None:
        """
        Note stream data that we sent.
        """
        self._earned += sent / BYTES_PER_CONTROL

    def spend(self, now: float) -> None:
        """
        Count a message.

        @raise DecodeError: too many of them, link §2.
        """
        if self._earned >= 1:
            self._earned -= 1
        elif not self._bucket.take(1, now):
            raise DecodeError("too many control messages", section="link §2")
