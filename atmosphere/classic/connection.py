# -*- test-case-name: tests.classic.test_nat -*-
"""
Open ways to a peer, direct or relayed, behind one face.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

from twisted.internet.defer import Deferred, fail, succeed
from typing_extensions import override

from atmosphere.addresses import TransportAddress

from .inbox import Inbox
from .ports import Port
from .world import World

__all__ = ["DirectConnection", "PeerConnection", "Told"]

#: What waits until L{PeerConnection.receive} asks for it.
INBOX_BYTES = 1024 * 1024
INBOX_DATAGRAMS = 1024


class Told(Deferred[bool]):
    """
    An answer that is known at once: it may be awaited like any Deferred, and
    is true or false by itself.
    """

    def __init__(self, answer: bool) -> None:
        super().__init__()
        self._answer = answer
        self.callback(answer)

    def __bool__(self) -> bool:
        return self._answer


class PeerConnection(ABC):
    """
    A way to a peer that is open, until one of the two closes it.

    What is sent arrives as it was cut, one message for each L{send}, and is
    not encrypted: whoever needs that does it on top, or uses a mesh.

    @ivar kind: C{"direct"}, where messages are datagrams and may be lost; or
        C{"relay"}, where they are not.
    """

    kind: str

    @property
    @abstractmethod
    def is_open(self) -> bool:
        """
        Whether anything can be sent.
        """

    @abstractmethod
    def send(self, data: bytes) -> Deferred[bool]:
        """
        Send a message.

        @param data: up to 65,507 bytes direct, better no more than 1,200; up to
            65,600 by relay.
        @return: fires with L{True} once more can be sent, with L{False} if the
            way is closed; fails with C{ValueError} for what does not fit.
        """

    @abstractmethod
    def receive(self, timeout: float | None = None) -> Deferred[bytes | None]:
        """
        Take the oldest message that came, or wait for one.

        @param timeout: seconds; L{None} waits as long as it takes.
        @return: fires with the message, with L{None} if none came in time or
            the way is closed. Cancelling stops the waiting and loses nothing.
        """

    @abstractmethod
    def close(self) -> Deferred[None]:
        """
        Close the way.

        @return: fires when that is done; cannot be cancelled.
        """


class DirectConnection(PeerConnection):
    """
    A hole through whatever is between two UDP sockets.

    @ivar port: the socket; one user of it is this connection.
    @ivar remote: the peer.
    @ivar inbox: what came from there.
    """

    kind = "direct"

    def __init__(self, world: World, port: Port, remote: TransportAddress) -> None:
        self.port = port
        self.remote = remote
        self.inbox = Inbox(world.reactor, size=INBOX_BYTES, count=INBOX_DATAGRAMS)
        self._is_closed = False

    @property
    @override
    def is_open(self) -> bool:
        return not self._is_closed and self.port.protocol.is_established(self.remote)

    def deliver(self, data: bytes | None) -> None:
        """
        Keep a datagram, or note the end. When nobody asks for them, the oldest go.
        """
        if data is None:
            self.inbox.end()
        else:
            self.inbox.put(data, is_droppable=True)

    @override
    def send(self, data: bytes) -> Deferred[bool]:
        try:
            return Told(not self._is_closed and self.port.protocol.send(self.remote, data))
        except ValueError as error:
            return fail(error)

    @override
    def receive(self, timeout: float | None = None) -> Deferred[bytes | None]:
        return self.inbox.get(timeout)

    def hand_over(self) -> list[bytes]:
        """
        Give the hole to somebody else who has the same socket.

        @return: what came and was not asked for.
        """
        messages = self.inbox.drain()
        if not self._is_closed:
            self._is_closed = True
            self.inbox.end()
            self.port.release()
        return messages

    @override
    def close(self) -> Deferred[None]:
        if self._is_closed:
            return succeed(None)
        self._is_closed = True
        self.port.protocol.forget(self.remote)
        self.inbox.end()
        return self.port.release()
