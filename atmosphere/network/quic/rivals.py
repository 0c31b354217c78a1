# -*- test-case-name: tests.network.quic.test_endpoint -*-
"""
Which of two links between the same two processes is current: both sides come to
the same, see C{docs/protocols/link.md}, section 3.
"""

from __future__ import annotations

from typing import Protocol

from atmosphere.identity import NodeID
from atmosphere.membership import Membership

from .core import LinkCore

__all__ = ["Rival", "newer_wins"]


class Rival(Protocol):
    """
    What is asked of a link.
    """

    own_id: NodeID
    membership: Membership | None
    generation: int
    is_dialler: bool
    core: LinkCore

    @property
    def peer(self) -> NodeID:
        """
        Who is at the other end.
        """
        ...


def newer_wins(older: Rival, newer: Rival) -> bool:
    """
    Say which of two links is current: never one on which the peer is but a guest,
    if on the other it is a member.
    """
    if (older.membership is None) != (newer.membership is None):
        return newer.membership is not None
    if newer.generation != older.generation:
        return newer.generation > older.generation
    if older.is_dialler == newer.is_dialler:
        return newer.core.quic.channel_binding() > older.core.quic.channel_binding()
    lower_is_us = newer.own_id < newer.peer
    return newer.is_dialler == lower_is_us
