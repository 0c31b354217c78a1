# -*- test-case-name: tests.node.test_mappings -*-
"""
Keeps the mappings that our NATs made, while others know us by them and nothing else
passes through: a code without a relay is open, or an answer waits to be carried.
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from .surroundings import Surroundings

__all__ = ["REFRESH_EVERY", "MappingKeeper"]

#: Seconds; NATs keep a mapping for 30 and more (RFC 4787 asks for two minutes).
REFRESH_EVERY = 20.0


class MappingKeeper:
    """
    Asks a STUN server now and then, as long as it is wanted.
    """

    _log = Logger()

    def __init__(
        self,
        reactor: IReactorTime,
        surroundings: Surroundings,
        is_wanted: Callable[[], bool],
        kept: Callable[[], None] = lambda: None,
    ) -> None:
        """
        @param is_wanted: asked each time.
        @param kept: called when the servers were asked, whatever they said.
        """
        self._surroundings = surroundings
        self._is_wanted = is_wanted
        self._kept = kept
        self._asking: Deferred[None] | None = None
        self._reactor = reactor
        self._call: IDelayedCall | None = None

    def start(self) -> None:
        """
        Begin.
        """
        self._call = self._reactor.callLater(REFRESH_EVERY, self._look)

    def stop(self) -> None:
        """
        End.
        """
        if self._call is not None and self._call.active():
            self._call.cancel()
        if self._asking is not None:
            self._asking.cancel()

    def _look(self) -> None:
        """
        Ask, unless that is still under way.
        """
        self.start()
        if self._asking is None and self._is_wanted():
            asking = Deferred.fromCoroutine(self._surroundings.keep_mappings())
            self._asking = asking
            asking.addBoth(self._asked)

    def _asked(self, result: object) -> None:
        """
        It is done.
        """
        self._asking = None
        if not isinstance(result, Failure):
            self._kept()
        elif result.check(CancelledError) is None:
            self._log.failure("a mapping could not be kept", result)
