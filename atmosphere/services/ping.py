# -*- test-case-name: tests.services.test_ping -*-
"""
The service C{atmosphere.ping}: what goes out comes back.

Each message is 8 bytes, a number; the server returns it as it is.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import cast

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IConsumer, IPushProducer, IReactorTime
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from typing_extensions import override

from atmosphere.errors import LinkError

__all__ = ["PING_SERVICE", "PingClient", "PingServer"]

PING_SERVICE = "atmosphere.ping"
MESSAGE_LENGTH = 8
_NUMBER = struct.Struct("!Q")


class PingServer(Protocol):
    """
    Returns whatever comes, no faster than the peer reads it.
    """

    @override
    def connectionMade(self) -> None:
        """
        Read only as fast as what we return is taken.
        """
        transport = cast(IConsumer, self.transport)
        transport.registerProducer(cast(IPushProducer, transport), True)

    @override
    def dataReceived(self, data: bytes) -> None:
        """
        Send it back.
        """
        assert self.transport is not None
        self.transport.write(data)


class PingClient(Protocol):
    """
    Sends pings on one stream and measures how long they take.
    """

    def __init__(self, reactor: IReactorTime, now: Callable[[], float]) -> None:
        """
        @param now: engine time, which never steps back.
        """
        self._reactor = reactor
        self._now = now
        self._waiting: dict[int, tuple[float, Deferred[float]]] = {}
        self._next = 0
        self._buffer = b""
        self._lost: Failure | None = None

    def ping(self, timeout: float) -> Deferred[float]:
        """
        Send one ping.

        @param timeout: seconds to wait for the reply.
        @return: fires with the round trip in seconds; fails with
            C{TimeoutError} or when the stream is lost. Cancelling forgets it.
        """
        number, self._next = self._next, self._next + 1
        waiting: Deferred[float] = Deferred()
        if self._lost is not None or self.transport is None:
            waiting.errback(self._lost or LinkError("the stream is not open"))
            return waiting
        self._waiting[number] = (self._now(), waiting)
        waiting.addTimeout(timeout, self._reactor)
        waiting.addBoth(self._forget, number)
        self.transport.write(_NUMBER.pack(number))
        return waiting

    def _forget(self, result: float | Failure, number: int) -> float | Failure:
        """
        One ping is over, one way or the other.
        """
        self._waiting.pop(number, None)
        return result

    @override
    def dataReceived(self, data: bytes) -> None:
        """
        Match replies to pings.
        """
        self._buffer += data
        while len(self._buffer) >= MESSAGE_LENGTH:
            (number,) = _NUMBER.unpack(self._buffer[:MESSAGE_LENGTH])
            self._buffer = self._buffer[MESSAGE_LENGTH:]
            found = self._waiting.pop(number, None)
            if found is not None:
                sent, waiting = found
                waiting.callback(self._now() - sent)

    @override
    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """
        Nothing more will come back.
        """
        self._lost = reason
        for _, waiting in list(self._waiting.values()):
            waiting.errback(reason)
