# -*- test-case-name: tests.classic.test_world -*-
"""
What the original's names take for granted: a reactor, clocks, randomness, a machine.

Its functions had no such arguments, so this is the one place of the room that
names the real ones; they are looked up when a function is called and not
before. Whoever wants others hands a L{World} in by the keyword C{world}, which
all of them have: that is how they are tested in a simulated network.
"""

from __future__ import annotations

import os
import random
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from atmosphere.network.nat.interfaces import list_interfaces

__all__ = ["World", "the_world"]


def _real_addresses() -> list[str]:
    """
    List the addresses of this machine.
    """
    return [each.address for each in list_interfaces()]


def _real_routes() -> dict[bool, str]:
    """
    Find the addresses that this machine sends from, by whether they are IPv6.
    """
    from atmosphere.node.report import local_addresses

    return local_addresses()


@dataclass(eq=False)
class World:
    """
    Where the original's names take effect.

    @ivar reactor: has UDP, TCP, time and name resolution.
    @ivar wall: tells POSIX time.
    @ivar entropy: makes random bytes.
    @ivar random: a number from 0 to less than 1.
    @ivar addresses: lists the IP addresses of this machine, loopback too.
    @ivar routes: finds the addresses that it sends from, by whether they are IPv6.
    @ivar environment: the process's variables.
    @ivar session: what is known or open as long as the process lives, by whose it is.
    """

    reactor: Any
    wall: Callable[[], float] = time.time
    entropy: Callable[[int], bytes] = secrets.token_bytes
    random: Callable[[], float] = random.random
    addresses: Callable[[], list[str]] = _real_addresses
    routes: Callable[[], dict[bool, str]] = _real_routes
    environment: Mapping[str, str] = field(default_factory=lambda: os.environ)
    session: dict[str, Any] = field(default_factory=dict)


_real: list[World] = []


def the_world(world: World | None = None) -> World:
    """
    Give the real world, unless another one is wanted.

    @param world: the one to use, if it is not the real one.
    @return: for the same reactor always the same, so that what was found out
        is kept for the session.
    """
    if world is not None:
        return world
    from twisted.internet import reactor

    if not _real or _real[0].reactor is not reactor:
        _real[:] = [World(reactor)]
    return _real[0]
