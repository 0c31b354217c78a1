# -*- test-case-name: tests.network.ice.test_agent -*-
"""
What an ICE agent reports.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from .candidates import IceCandidate
from .pairs import IcePath

__all__ = ["ConsentLost", "Event", "Failed", "Received", "RoleChanged", "Selected"]


@dataclass(frozen=True, slots=True)
class Selected:
    """
    A pair was nominated, and data goes by it from now on.

    @ivar path: by its addresses.
    @ivar local: how the peer sees us.
    @ivar remote: the peer's candidate.
    """

    path: IcePath
    local: IceCandidate
    remote: IceCandidate


@dataclass(frozen=True, slots=True)
class Failed:
    """
    No pair works, and there was time enough for one.

    @ivar reason: for people.
    """

    reason: str


@dataclass(frozen=True, slots=True)
class ConsentLost:
    """
    The peer has not consented for 30 s: nothing is sent any more until a restart.
    """


@dataclass(frozen=True, slots=True)
class RoleChanged:
    """
    Both agents had the same role; ours is the other now.
    """

    is_controlling: bool


@dataclass(frozen=True, slots=True)
class Received:
    """
    The peer sent a datagram.
    """

    data: bytes


Event: TypeAlias = Selected | Failed | ConsentLost | RoleChanged | Received
