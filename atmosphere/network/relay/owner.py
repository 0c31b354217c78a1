# -*- test-case-name: tests.network.relay.test_dial -*-
"""
What a connection to a relay expects of whoever keeps it.
"""

from __future__ import annotations

from typing import Protocol

from atmosphere.identity import NodeID

from .frames import Drain, Welcome

__all__ = ["ConnectionOwner"]


class ConnectionOwner(Protocol):
    """
    Whom a connection tells what happens.
    """

    def connection_welcomed(self, welcome: Welcome) -> None:
        """
        The relay let us in.
        """

    def connection_parked(self, is_parked: bool, text: str) -> None:
        """
        The relay serves us no more for now, or again.
        """

    def connection_received(self, source: NodeID, datagrams: list[bytes]) -> None:
        """
        Datagrams came.
        """

    def connection_absent(self, node: NodeID) -> None:
        """
        The relay does not have a node that we sent to.
        """

    def connection_draining(self, drain: Drain) -> None:
        """
        The relay goes down.
        """

    def connection_doubted(self, is_doubted: bool) -> None:
        """
        The relay does not answer, or does again: try whether another connection can
        be made, and keep this one until then.
        """

    def connection_ended(self, error: str, refused: int | None) -> None:
        """
        The connection is over; called once.
        """
