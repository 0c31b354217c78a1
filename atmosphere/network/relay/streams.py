# -*- test-case-name: tests.network.relay.test_server -*-
"""
Autobahn with its bulk work taken off it, and on our clock.

L{MessageStream} is mixed into Autobahn's protocols, servers' and clients'.
Autobahn keeps the opening and closing handshakes and the control frames.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from autobahn.twisted.websocket import WebSocketAdapterProtocol, WebSocketClientProtocol
from autobahn.websocket.protocol import WebSocketProtocol
from twisted.internet.interfaces import IDelayedCall, IReactorTime, ISSLTransport
from twisted.logger import Logger
from typing_extensions import override

from atmosphere.errors import DecodeError

from .framing import FrameCutter, Item, Opcode, Violation
from .request import check_response_head

__all__ = ["BatchedTimer", "ClientStream", "MessageStream", "QuietLog", "send_at_once"]

MAX_HEAD = 8_192
_END = b"\r\n\r\n"


def send_at_once(transport: object) -> None:
    """
    Let no small frame wait for the other side to acknowledge one before it,
    which takes it 40 ms: Autobahn means to, but asks for its option too early.

    @param transport: TCP's, or TLS' on it; with any other nothing is done.
    """
    set_no_delay = getattr(transport, "setTcpNoDelay", None)
    if set_no_delay is not None:
        set_no_delay(True)


class QuietLog:
    """
    Takes Autobahn's log, which quotes strangers at length, to the level of debugging.
    """

    _log = Logger()

    def debug(self, *args: object, **kwargs: object) -> None:
        """
        Say nothing.
        """

    trace = info = debug

    def warn(self, template: str = "", **kwargs: object) -> None:
        """
        Say it to those who debug, without what strangers put into it.
        """
        self._log.debug("websocket: {template}", template=template)

    error = warn


class _Call:
    """
    A delayed call that may be cancelled at any time.
    """

    __slots__ = ("_call",)

    def __init__(self, call: IDelayedCall) -> None:
        self._call = call

    def cancel(self) -> None:
        """
        Forget the call, if it has not been made.
        """
        if self._call.active():
            self._call.cancel()


class BatchedTimer:
    """
    Puts Autobahn's timers on a reactor of our choice: it knows the global one only.
    """

    def __init__(self, reactor: IReactorTime) -> None:
        self._reactor = reactor

    def call_later(self, delay: float, function: Callable[..., object], *args: object) -> _Call:
        """
        Call a function later.
        """
        return _Call(self._reactor.callLater(delay, function, *args))


class MessageStream(WebSocketAdapterProtocol, WebSocketProtocol):  # type: ignore[misc]  # Autobahn types `peer` twice
    """
    Hands on whole messages as they are cut out of the stream.

    @ivar cutter: what cuts; its limit may be changed.
    """

    log = QuietLog()
    transport: Any
    cutter: FrameCutter
    _is_deaf = False

    @override
    def dataReceived(self, data: bytes) -> None:
        """
        Take messages past Autobahn once the handshake is over.
        """
        if self.state == self.STATE_OPEN:
            self._cut(data)
        elif not self._is_deaf:
            super().dataReceived(data)

    @override
    def consumeData(self) -> None:
        """
        Likewise for what came together with the handshake, or comes while closing.
        """
        if self.state in (self.STATE_OPEN, self.STATE_CLOSING):
            data, self.data = self.data, b""
            self._cut(data)
        else:
            super().consumeData()

    def _cut(self, data: bytes) -> None:
        """
        Cut messages out of the stream, and give control frames to Autobahn.
        """
        items: list[Item] = []
        violation = None
        try:
            self.cutter.cut(data, items)
        except Violation as caught:
            violation = caught
        self.will_receive()
        for opcode, payload in items:
            if opcode < Opcode.CLOSE:
                if self.state == self.STATE_OPEN:
                    self.receive_message(payload, opcode == Opcode.BINARY)
            elif self.state in (self.STATE_OPEN, self.STATE_CLOSING):
                self.receive_control_frame(bytes(payload))
        if violation is not None:
            self.fail(violation.code, str(violation))
        self.did_receive()

    def receive_control_frame(self, frame: bytes) -> None:
        """
        Let Autobahn answer a ping, note a pong, or close.

        @param frame: the whole frame.
        """
        self.data = frame
        while self.processData() and self.state != self.STATE_CLOSED:
            pass

    def fail(self, code: int, reason: str) -> None:
        """
        End a connection that broke the protocol; nothing more of it is taken.
        """
        if self.state == self.STATE_OPEN:
            self.sendCloseFrame(code, reason.encode("utf-8")[:100])
            self._is_deaf = True
            self.transport.unregisterProducer()
            if ISSLTransport.providedBy(self.transport):
                self.transport.loseConnection()
            else:  # closing for good, with data unread, would take our last word back
                self.transport.loseWriteConnection()
        elif self.state == self.STATE_CLOSING:
            self.transport.abortConnection()

    def will_receive(self) -> None:
        """
        Note that something came.
        """

    def receive_message(self, payload: bytes | bytearray, is_binary: bool) -> None:
        """
        Take a message.
        """
        raise NotImplementedError

    def did_receive(self) -> None:
        """
        Note that all was taken which came at once.
        """

    def forget_timers(self) -> None:
        """
        Cancel the timer that Autobahn leaves behind when a connection is lost.
        """
        call: Any = self.closeHandshakeTimeoutCall
        if call is not None:
            call.cancel()


class ClientStream(MessageStream, WebSocketClientProtocol):  # type: ignore[misc]  # Autobahn types `peer` twice
    """
    The dialling side: what answers may be anything.
    """

    _head: bytes | None = b""

    @override
    def dataReceived(self, data: bytes) -> None:
        """
        Look at the head of the response before Autobahn believes it.
        """
        if self._head is not None:
            self._head += data
            end = self._head.find(_END)
            if end < 0 and len(self._head) <= MAX_HEAD:
                return
            data, self._head = self._head, None
            try:
                check_response_head(data[: end + len(_END)] if 0 <= end <= MAX_HEAD else b"")
            except DecodeError:
                self.response_refused()
                return
        super().dataReceived(data)

    def response_refused(self) -> None:
        """
        Hang up: what answers does not speak HTTP.
        """
        raise NotImplementedError
