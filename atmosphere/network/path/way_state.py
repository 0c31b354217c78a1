# -*- test-case-name: tests.network.path.test_known_way -*-
"""
The life of a way to a peer.
"""

from __future__ import annotations

from enum import Enum

__all__ = ["WayState"]


class WayState(Enum):
    """
    Where a way is in its life, in the words of RFC 8445 where it has them.
    """

    WAITING = "waiting"
    IN_PROGRESS = "in progress"
    ANSWERED = "answered"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    LOST = "lost"
