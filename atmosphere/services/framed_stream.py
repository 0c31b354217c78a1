# -*- test-case-name: tests.services.test_framed_stream -*-
"""
A stream inside a UNIX socket, in frames: an end is told from a break.

The frames are in C{docs/local_streams.md}.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from typing import Any

from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.internet.interfaces import (
    IAddress,
    IConsumer,
    IHalfCloseableProtocol,
    IProducer,
    IProtocol,
    IPushProducer,
    IReactorTime,
    ITransport,
)
from twisted.python.failure import Failure
from zope.interface import implementer

from atmosphere.network.quic.manners import TCPManners
from atmosphere.text import escape_peer_text

__all__ = ["FramedStream"]

MAXIMUM_PIECE = 16_777_216
MAXIMUM_REASON = 1_024
_HEADER = struct.Struct("!I")
_END = _HEADER.pack(0)
_LAST = 0x80000000


@implementer(ITransport, IConsumer, IPushProducer)
class FramedStream(TCPManners):
    """
    The transport of a protocol, on top of a UNIX socket's transport.

    Whoever owns that one's protocol calls L{received} and L{broken}.
    """

    disconnecting = False
    disconnected = False

    def __init__(
        self,
        clock: IReactorTime,
        below: Any,
        protocol: IProtocol,
        *,
        peer: IAddress,
        host: IAddress,
        gone: str,
    ) -> None:
        """
        @param below: the UNIX socket's transport.
        @param gone: what it means when that is closed in the middle.
        """
        self.protocol = protocol
        self.on_lost: Any = None
        self._clock = clock
        self._below = below
        self._peer = peer
        self._host = host
        self._gone = gone
        self._inbox = b""
        self._at = 0
        self._left = 0
        self._paused = False
        self._is_delivering = False
        self._is_due = False
        self._is_reading_paused = False
        self._has_read_all = False
        self._write_ended = False
        self._is_aborted = False
        self._producer: Any = None

    def begin(self) -> None:
        """
        Connect the protocol; one that fails from the start loses its stream.
        """
        try:
            self.protocol.makeConnection(self)
        except BaseException:
            self.abortConnection()
            raise

    # Facts.

    def getPeer(self) -> IAddress:
        """
        Say who is at the other end.
        """
        return self._peer

    def getHost(self) -> IAddress:
        """
        Say who we are.
        """
        return self._host

    # Writing.

    def write(self, data: bytes) -> None:
        """
        Send bytes after those that were written before.
        """
        is_closed = self.disconnecting and self._producer is None
        if is_closed or self.disconnected or self._write_ended:
            return
        for start in range(0, len(data), MAXIMUM_PIECE):
            piece = data[start : start + MAXIMUM_PIECE]
            self._below.writeSequence((_HEADER.pack(len(piece)), bytes(piece)))

    def writeSequence(self, data: Iterable[bytes]) -> None:
        """
        Send several pieces.
        """
        self.write(b"".join(data))

    def registerProducer(self, producer: IProducer, streaming: bool) -> None:
        """
        Take bytes from a producer, no faster than the other side reads them.
        """
        if self.disconnected or self._write_ended:
            producer.stopProducing()
            return
        self._producer = producer
        self._below.registerProducer(producer, streaming)

    def unregisterProducer(self) -> None:
        """
        The producer has said all.
        """
        if self._producer is not None:
            self._producer = None
            self._below.unregisterProducer()
            if self.disconnecting and not self.disconnected:
                self._finish()

    def loseWriteConnection(self) -> None:
        """
        End our direction; the other side may go on sending.
        """
        if not (self._write_ended or self.disconnecting or self.disconnected):
            self._below.write(_END)
            self._write_ended = True
            self._clock.callLater(0, self._write_is_over)

    def _write_is_over(self) -> None:
        """
        Tell the protocol that our direction has ended.
        """
        if self.disconnected or self.disconnecting:
            return
        if IHalfCloseableProtocol.providedBy(self.protocol):
            self.protocol.writeConnectionLost()
        if self._has_read_all:
            self.loseConnection()

    def loseConnection(self) -> None:
        """
        Send what was written, then end the stream.
        """
        if not self.disconnecting and not self.disconnected:
            self.disconnecting = True
            if self._producer is None:
                self._finish()

    def _finish(self) -> None:
        """
        End our direction and the connection, once all is sent.
        """
        if not self._write_ended:
            self._write_ended = True
            self._below.write(_END)
        self._below.loseConnection()

    def abortConnection(self) -> None:
        """
        End the stream at once; what was not sent is lost.
        """
        if not self.disconnected:
            self.disconnecting = self._is_aborted = True
            self._below.abortConnection()
            self._clock.callLater(0, self._lost, Failure(ConnectionAborted()))

    def give_up(self, reason: str) -> None:
        """
        Tell the other side that the stream broke, and why.
        """
        if not self.disconnected:
            self.disconnecting = self._write_ended = True
            text = reason.encode("utf-8")[:MAXIMUM_REASON]
            self._below.writeSequence((_HEADER.pack(_LAST | len(text)), text))
            self._below.loseConnection()

    # Reading, as a producer.

    def pauseProducing(self) -> None:
        """
        Hand no bytes to the protocol for now.
        """
        self._paused = True
        if not self._is_reading_paused:
            self._is_reading_paused = True
            self._below.pauseProducing()

    def _read(self) -> None:
        """
        Read from the socket again.
        """
        if self._is_reading_paused:
            self._is_reading_paused = False
            self._below.resumeProducing()

    def resumeProducing(self) -> None:
        """
        Hand bytes to the protocol again: those that are here in the next turn.
        """
        self._paused = False
        if self.disconnected:
            return
        if self._at < len(self._inbox):
            if not self._is_due:
                self._is_due = True
                self._clock.callLater(0, self._deliver)
        else:
            self._read()

    def stopProducing(self) -> None:
        """
        The consumer is gone: end the stream.
        """
        self.loseConnection()

    # What the socket brings.

    def received(self, data: bytes) -> None:
        """
        Bytes came.
        """
        self._inbox = self._inbox[self._at :] + data if self._at < len(self._inbox) else data
        self._at = 0
        if not self._paused and not self._is_delivering and not self._is_due:
            self._deliver()

    def _deliver(self) -> None:
        """
        Hand on what is here, until the protocol pauses us.
        """
        self._is_due = False
        self._is_delivering = True
        try:
            while self._at < len(self._inbox) and not self._paused and not self.disconnected:
                if not self._step():
                    break
        finally:
            self._is_delivering = False
            if self._at >= len(self._inbox):
                self._inbox, self._at = b"", 0
        if not self._paused and not self.disconnected:
            self._read()

    def _step(self) -> bool:
        """
        Hand on a piece, or read a header.

        @return: whether there may be more.
        """
        if self._left:
            piece = self._inbox[self._at : self._at + self._left]
            self._at += len(piece)
            self._left -= len(piece)
            if not self.disconnecting:
                self.protocol.dataReceived(piece)
            return True
        if len(self._inbox) - self._at < _HEADER.size:
            return False
        (word,) = _HEADER.unpack_from(self._inbox, self._at)
        if word & _LAST:
            return self._last_frame(word & ~_LAST)
        self._at += _HEADER.size
        if self._has_read_all or word > MAXIMUM_PIECE:
            self._last_words("the other side breaks the rules of local streams")
        elif word:
            self._left = word
        else:
            self._end_of_input()
        return True

    def _last_frame(self, length: int) -> bool:
        """
        The other side gave the stream up.
        """
        start = self._at + _HEADER.size
        if length > MAXIMUM_REASON:
            self._last_words("the other side breaks the rules of local streams")
        elif len(self._inbox) < start + length:
            return False
        else:
            text = self._inbox[start : start + length].decode("utf-8", "replace")
            self._last_words(escape_peer_text(text, 300))
        return True

    def _last_words(self, reason: str) -> None:
        """
        Nothing more comes, and not because all was said.
        """
        self._below.abortConnection()
        self._lost(Failure(ConnectionDone() if self.disconnecting else ConnectionLost(reason)))

    def _end_of_input(self) -> None:
        """
        The other side has ended its direction in good order.
        """
        self._has_read_all = True
        if self.disconnecting:
            return
        if not IHalfCloseableProtocol.providedBy(self.protocol):
            self.disconnecting = True  # at once, as TCP does: its producer may never end
            self._finish()
            self._lost(Failure(ConnectionDone()))
            return
        self.protocol.readConnectionLost()
        if self._write_ended:
            self.loseConnection()

    def broken(self) -> None:
        """
        The socket is closed. What is here is handed on first, even to a
        protocol that had paused us: nobody else will come for it.
        """
        self._paused = False
        self._is_delivering = True
        while self._at < len(self._inbox) and not self.disconnected and self._step():
            self._paused = False
        if self._is_aborted:
            self._lost(Failure(ConnectionAborted()))
        elif self.disconnecting or self._has_read_all:
            self._lost(Failure(ConnectionDone()))
        else:
            self._lost(Failure(ConnectionLost(self._gone)))

    def _lost(self, reason: Failure) -> None:
        """
        Tell the protocol that all is over, once.
        """
        if self.disconnected:
            return
        self.disconnected = True
        self._inbox = b""
        if self._producer is not None:
            self._producer = None
            self._below.unregisterProducer()
        try:
            self.protocol.connectionLost(reason)
        finally:
            if self.on_lost is not None:
                self.on_lost()
