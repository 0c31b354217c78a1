# -*- test-case-name: tests.node.test_clock -*-
"""
A clock for the reactor that nobody can set.

Twisted's timers run on the time of day: when that is set back, they wait out the
step, and when it is set forward, all that is waited for times out at once.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any

__all__ = ["steady_seconds", "use_steady_clock"]


def steady_seconds() -> Callable[[], float]:
    """
    Find a clock that only goes on: one that counts sleep too, where there is one,
    so that a node notices that the machine has slept.

    @return: seconds since some moment in the past.
    """
    boot = getattr(time, "CLOCK_BOOTTIME", None)
    if boot is None:
        return time.monotonic
    return partial(time.clock_gettime, boot)


def use_steady_clock(reactor: Any) -> None:
    """
    Have a reactor of ours count by a clock that only goes on. Call it before
    anything is to be called later.
    """
    reactor.seconds = steady_seconds()
