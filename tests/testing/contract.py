# ruff: noqa: N815 (the names are those of a test case)
"""
What the suites of L{tests.testing.udp_contract} and L{tests.testing.tcp_contract} share.

Each suite is run against the real reactor on loopback and against a simulated
host: a fake passes the suite of what it replaces. A test is a coroutine; it
waits by L{Contract.until} for what it cannot know to have happened.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from twisted.internet.defer import Deferred

HOST = "127.0.0.1"


class Contract:
    """
    What the suites need of the test case that runs them.
    """

    reactor: Any
    assertEqual: Callable[..., None]
    assertTrue: Callable[..., None]
    assertLess: Callable[..., None]
    assertRaises: Callable[..., Any]
    assertIsInstance: Callable[..., None]
    addCleanup: Callable[..., Any]

    def until(self, condition: Callable[[], object]) -> Deferred[None]:
        """
        Wait until a condition holds, looking at it every so often.
        """
        done: Deferred[None] = Deferred()

        def look() -> None:
            if condition():
                done.callback(None)
            else:
                self.reactor.callLater(0.005, look)

        look()
        return done

    def pause(self, seconds: float) -> Deferred[None]:
        """
        Wait for some time, to see that nothing happens.
        """
        done: Deferred[None] = Deferred()
        self.reactor.callLater(seconds, done.callback, None)
        return done

    def complete(self, coroutine: Coroutine[Any, Any, None]) -> Deferred[None] | None:
        """
        Run a test to its end.
        """
        raise NotImplementedError
