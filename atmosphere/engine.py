# -*- test-case-name: tests.test_engine_driver -*-
"""
The contract of every sans-IO engine: five verbs, no sockets, no clock.

What decides is a state machine that is told the time with each call and that
answers with bytes to send and events to report. L{atmosphere.engine_driver}
is the one place where such an engine meets Twisted. The verbs are those of the
QUIC libraries.
"""

from __future__ import annotations

from typing import Protocol, TypeVar, runtime_checkable

__all__ = ["Engine"]

PathT = TypeVar("PathT")
EventT_co = TypeVar("EventT_co", covariant=True)


@runtime_checkable
class Engine(Protocol[PathT, EventT_co]):
    """
    A state machine that speaks datagrams.

    C{now} is engine time: seconds from an arbitrary start, never stepping
    back. A I{path} says whence a datagram came or where it goes; its type is
    the engine's own.
    """

    def receive_datagram(self, data: bytes, path: PathT, now: float) -> None:
        """
        Take one datagram that arrived. Bad input is dropped or becomes an
        event, it never raises.
        """

    def datagrams_to_send(self, now: float) -> list[tuple[bytes, PathT]]:
        """
        Hand out what is to be sent now, in order; each is handed out once.
        """

    def get_timer(self) -> float | None:
        """
        Say when L{handle_timer} wants to be called; C{None} for never.
        """

    def handle_timer(self, now: float) -> None:
        """
        Do what is due. Calling it early does no harm.
        """

    def next_event(self) -> EventT_co | None:
        """
        Hand out the oldest event that was not yet handed out.
        """
