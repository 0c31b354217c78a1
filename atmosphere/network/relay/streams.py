# -*- test-case-name: tests.network.relay.test_server -*-
"""
Autobahn with its bulk work taken off it, and on our clock.

L{MessageStream} is mixed into Autobahn's protocols, servers' and clients'.
Autobahn keeps the opening and closing handshakes and the control frames.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

from autobahn.twisted.websocket import WebSocketAdapterProtocol, WebSocketClientProtocol
from autobahn.websocket.protocol import WebSocketProtocol
from twisted.internet.interfaces import IDelayedCall, IReactorTime, ISSLTransport
from twisted.logger import Logger
from typing_extensions import override

from atmosphere.errors import DecodeError
from atmosphere.rate import TokenBucket

from .frames import MAX_MESSAGE
from .framing import FrameCutter, Item, Opcode, Violation, mask_in_place, message_header
from .request import check_response_head

__all__ = ["BatchedTimer", "ClientStream", "MessageStream", "QuietLog", "send_at_once"]

MAX_HEAD = 8_192
#: Seconds that a relay has for closing the connection, once that was begun.
GOODBYE = 2.0
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


class MessageStream(ABC, WebSocketAdapterProtocol, WebSocketProtocol):  # type: ignore[misc]  # Autobahn types `peer` twice
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

    @abstractmethod
    def receive_message(self, payload: bytes | bytearray, is_binary: bool) -> None:
        """
        Take a message.
        """

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

    def __init__(
        self, reactor: IReactorTime, entropy: Callable[[int], bytes], control: TokenBucket
    ) -> None:
        """
        @param control: how much a relay may send that carries nothing.
        """
        super().__init__()
        self.cutter = FrameCutter(MAX_MESSAGE, is_masked=False)
        self._reactor = reactor
        self._entropy = entropy
        self._control = control
        self._end: IDelayedCall | None = None

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
        Hang up on what does not speak HTTP.
        """
        self.hang_up("what answers there does not speak HTTP")

    @override
    def receive_control_frame(self, frame: bytes) -> None:
        """
        Let Autobahn answer a ping, or close, but not for ever.
        """
        if not self.take_control():
            self.fail(1002, "it sends more than any relay has reason for")
            return
        super().receive_control_frame(frame)
        if self.state != self.STATE_OPEN:
            self.end_soon()

    def take_control(self) -> bool:
        """
        Count something that costs the relay nothing and us a little.

        @return: whether there was not too much of it.
        """
        return self._control.take(1, self._reactor.seconds())

    @override
    def fail(self, code: int, reason: str) -> None:
        """
        End the connection to a relay that broke the protocol.
        """
        self.hang_up(f"it broke the protocol: {reason}")

    @abstractmethod
    def hang_up(self, text: str) -> None:
        """
        End the connection at once, because of something.
        """

    def write_message(self, message: bytes) -> None:
        """
        Write a message, masked as a client's have to be; once the connection is
        not open any more, do nothing.
        """
        if self.state == self.STATE_OPEN:
            key, payload = self._entropy(4), bytearray(message)
            mask_in_place(payload, key)
            header = message_header(len(message), is_masked=True)
            self.transport.write(b"".join((header, key, payload)))

    def end_soon(self) -> None:
        """
        Leave the relay a moment to close the connection.
        """
        if self._end is None:
            self._end = self._reactor.callLater(GOODBYE, self.transport.abortConnection)

    @override
    def forget_timers(self) -> None:
        super().forget_timers()
        if self._end is not None and self._end.active():
            self._end.cancel()

    def refused_status(self) -> str | None:
        """
        Say with which HTTP status our handshake was answered, if it was refused.
        """
        status = str(getattr(self, "http_status_line", "")).split()
        return status[1][:3] if len(status) > 1 and status[1] != "101" else None
