# -*- test-case-name: tests.node.test_streams_port -*-
"""
Services that other programs on the machine offer through this node, and the
streams that wait to be taken.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IPushProducer, IReactorTime
from twisted.internet.protocol import Factory, Protocol
from typing_extensions import override
from zope.interface import implementer

from atmosphere.errors import StreamRefusedError
from atmosphere.services.pairing import Half, make_pair

from .api import JSON

__all__ = ["Offer", "Waiting", "describe"]

MAXIMUM_WAITING = 256
TAKE_TIMEOUT = 10.0


def describe(address: Any) -> JSON:
    """
    Say in JSON who is at the other end of a stream.
    """
    return {"node_id": str(address.node), "name": address.name, "path": address.path}


@dataclass
class Waiting:
    """
    A stream of a peer's that no program has taken yet.

    @ivar decided: fires with the half that the link's side gets.
    """

    address: Any
    decided: Deferred[Any]
    expiry: IDelayedCall | None = None


@implementer(IPushProducer)
class Offer(Factory[Protocol]):
    """
    Hands a service's streams to the program that offers it. The peer is told
    that its stream is served when the program has taken it.
    """

    noisy = False

    def __init__(
        self,
        clock: IReactorTime,
        offers: dict[str, Offer],
        entropy: Callable[[int], bytes],
        tell: Callable[[JSON], None],
    ) -> None:
        """
        @param offers: who has the stream of a token, over all services.
        @param tell: writes a line to the program.
        """
        self.waiting: dict[str, Waiting] = {}
        self._clock = clock
        self._offers = offers
        self._entropy = entropy
        self._tell = tell
        self._is_stalled = False

    def pauseProducing(self) -> None:
        """
        The program does not read: tell it of no more streams.
        """
        self._is_stalled = True

    def resumeProducing(self) -> None:
        """
        The program reads.
        """
        self._is_stalled = False

    def stopProducing(self) -> None:
        """
        Nothing: L{close} is called.
        """

    @override
    def buildProtocol(self, addr: Any) -> Any:
        """
        Tell the program of a stream.

        @return: a Deferred, which cancelling forgets.
        """
        if self._is_stalled or len(self.waiting) >= MAXIMUM_WAITING:
            raise StreamRefusedError("too many streams wait to be served")
        token = self._entropy(16).hex()
        decided: Deferred[Any] = Deferred(lambda _: self._cancelled(token))
        found = self.waiting[token] = Waiting(addr, decided)
        self._offers[token] = self
        found.expiry = self._clock.callLater(
            TAKE_TIMEOUT, self.refuse, token, "the service did not take the stream in time"
        )
        self._tell({"stream": token, **describe(addr)})
        return decided

    def _cancelled(self, token: str) -> None:
        """
        The peer does not want the stream any more.
        """
        self._forget(token)

    def _forget(self, token: str) -> Waiting:
        """
        Take a stream off the list.
        """
        found = self.waiting.pop(token)
        del self._offers[token]
        if found.expiry is not None and found.expiry.active():
            found.expiry.cancel()
        return found

    def take(self, token: str) -> tuple[Half, Half, Any]:
        """
        Have a stream served.

        @return: the half that the peer's side has, the one that the program's side
            gets, and who the peer is.
        """
        found = self._forget(token)
        far, near = make_pair()
        found.decided.callback(far)
        return far, near, found.address

    def refuse(self, token: str, reason: str) -> None:
        """
        Have a stream refused.
        """
        self._forget(token).decided.errback(StreamRefusedError(reason))

    def close(self) -> None:
        """
        The program is gone: refuse all.
        """
        for token in list(self.waiting):
            self.refuse(token, "the service has ended")
