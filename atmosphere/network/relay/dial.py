# -*- test-case-name: tests.network.relay.test_dial -*-
"""
The dialling side of a relay connection: one WebSocket, from hello to its end.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from autobahn.websocket.types import ConnectionResponse
from twisted.internet.interfaces import IDelayedCall, IPushProducer, IReactorTime
from twisted.internet.protocol import connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from typing_extensions import override
from zope.interface import implementer

from atmosphere.errors import DecodeError
from atmosphere.identity import NodeID, NodeKey
from atmosphere.rate import TokenBucket
from atmosphere.text import escape_peer_text

from .batches import encode_batches, split_batch
from .endpoint import RelayURL, describe_failure
from .frames import (
    SUBPROTOCOL,
    Absent,
    Challenge,
    Deliver,
    Drain,
    Frame,
    FrameType,
    Hello,
    HelloCredentials,
    Notice,
    NoticeCode,
    Ping,
    Pong,
    Refused,
    Unknown,
    Welcome,
    signed_bytes,
)
from .owner import ConnectionOwner
from .reader import decode
from .streams import ClientStream, send_at_once

__all__ = ["ClientConnection"]

WELCOME_TIMEOUT = 10.0
PING_INTERVAL = 15.0
SILENCE = 45.0
#: Seconds without a word after which a relay that we send by is asked whether it is there,
#: and those that it has for the answer until it is doubted.
QUIET = 1.5
ANSWER_WITHIN = 4.0
QUEUE = 256 * 1024
LOGGED_NOTICES = 10
CONTROL_RATE = 100.0
CONTROL_BURST = 1_000.0
#: Changes of being parked; each makes us tell all peers where we can be reached.
PARKINGS_PER_SECOND = 0.1
PARKINGS_AT_ONCE = 8.0
_TRANSPORT_BUFFER = 64 * 1024


@implementer(IPushProducer)
class ClientConnection(ClientStream):
    """
    One connection to a relay.

    @ivar rtt: the last round-trip time in seconds.
    @ivar least_rtt: the lowest of all: without what waited in queues.
    @ivar relay_clock: the relay's time less the reactor's, as of its challenge.
    @ivar dropped: how many datagrams were not sent because too many waited.
    @ivar ignored: how many frames of unknown types came.
    """

    _log = Logger()

    def __init__(
        self,
        reactor: IReactorTime,
        url: RelayURL,
        key: NodeKey,
        instance: bytes,
        entropy: Callable[[int], bytes],
        credentials: Callable[[], HelloCredentials],
        owner: ConnectionOwner,
    ) -> None:
        super().__init__(reactor, entropy, TokenBucket(CONTROL_RATE, CONTROL_BURST))
        self.rtt: float | None = None
        self.least_rtt: float | None = None
        self.relay_clock: float | None = None
        self.dropped = 0
        self.ignored = 0
        self._url = url
        self._key = key
        self._instance = instance
        self._credentials = credentials
        self._owner: ConnectionOwner | None = owner
        self._error: str | None = None
        self._refused: int | None = None
        self._notices = 0
        self._is_hello_sent = False
        self._is_welcomed = False
        self._is_full = False
        self._waiting = 0
        self._heard = self._drained = 0.0
        self._doubt: IDelayedCall | None = None
        self._is_doubted = False
        self._sent_at: tuple[bytes, float] | None = None
        self._pings = 0
        self._parkings = TokenBucket(PARKINGS_PER_SECOND, PARKINGS_AT_ONCE)
        self._is_parked = False
        self._is_draining = False
        self._timer: IDelayedCall | None = None

    @property
    def peer_address(self) -> str | None:
        """
        The IP address of the relay; C{None} if it has none.
        """
        host = getattr(self.transport.getPeer(), "host", None)
        return host if isinstance(host, str) else None

    @property
    def own_address(self) -> str | None:
        """
        The IP address that we have on this connection; C{None} if it has none.
        """
        host = getattr(self.transport.getHost(), "host", None)
        return host if isinstance(host, str) else None

    @override
    def onConnect(self, response: ConnectionResponse) -> None:
        """
        See whether the other side is a relay.
        """
        if response.protocol != SUBPROTOCOL:
            self._fail("it serves WebSocket, but is not a relay of this kind")

    @override
    def onOpen(self) -> None:
        """
        Wait for the challenge.
        """
        if self.state != self.STATE_OPEN:
            return
        send_at_once(self.transport)
        self.transport.registerProducer(self, True)
        self._heard = self._reactor.seconds()
        self._timer = self._reactor.callLater(WELCOME_TIMEOUT, self._no_welcome)

    def _no_welcome(self) -> None:
        """
        Give up on a relay that does not let us in.
        """
        self._timer = None
        self._fail("it did not welcome us in time")

    @override
    def will_receive(self) -> None:
        """
        Note that the relay is there.
        """
        self._heard = self._reactor.seconds()
        if self._is_doubted:
            self._is_doubted = False
            if self._owner is not None:
                self._owner.connection_doubted(False)

    @override
    def hang_up(self, text: str) -> None:
        self._fail(text, abort=True)

    @override
    def receive_message(self, payload: bytes | bytearray, is_binary: bool) -> None:
        """
        Take a frame; end the connection if it is none.
        """
        if self._owner is None:
            return
        try:
            if not is_binary:
                raise DecodeError("a frame in text")
            if payload[:1] == b"\x11":
                self._receive_datagrams(bytes(payload))
            else:
                self._receive_control(decode(bytes(payload)))
        except DecodeError as error:
            self._fail(f"it broke the protocol: {error}")

    def _receive_datagrams(self, payload: bytes) -> None:
        """
        Take a batch of datagrams.

        @raise DecodeError: it is none, or comes before the welcome.
        """
        frame = decode(payload)
        if not isinstance(frame, Deliver) or not self._is_welcomed:
            raise DecodeError("datagrams before the welcome")
        datagrams = split_batch(frame.segment_size, frame.batch)
        self._tell().connection_received(frame.peer, datagrams)

    def _receive_control(self, frame: Frame) -> None:
        """
        Take any other frame.

        @raise DecodeError: it has no place here and now, or there are too many.
        """
        if not self.take_control():
            raise DecodeError("more frames than any relay has reason for")
        match frame:
            case Refused(code, text):
                self._refused = code
                self._fail(f"it refused us: {escape_peer_text(text, 200)}")
            case Challenge() if not self._is_hello_sent:
                self._answer(frame)
            case Welcome() if self._is_hello_sent and not self._is_welcomed:
                self._is_welcomed = True
                self._ping()
                self._tell().connection_welcomed(frame)
            case Unknown():
                self.ignored += 1
            case _ if self._is_welcomed:
                self._receive_news(frame)
            case _:
                raise DecodeError("a frame before the welcome")

    def _receive_news(self, frame: Frame) -> None:
        """
        Take a frame that comes after the welcome only.

        @raise DecodeError: there is no such.
        """
        match frame:
            case Ping(token):
                self.write_message(Pong(token).encode())
            case Pong(token):
                if self._sent_at is not None and self._sent_at[0] == token:
                    self.rtt = max(0.0, self._heard - self._sent_at[1])
                    self.least_rtt = min(self.rtt, self.least_rtt or self.rtt)
                    self._sent_at = None
            case Absent(node):
                self._tell().connection_absent(node)
            case Drain():
                if not self._is_draining:
                    self._is_draining = True
                    self._tell().connection_draining(frame)
            case Notice(code, text):
                self._receive_notice(code, escape_peer_text(text, 200))
            case _:
                raise DecodeError("a frame that relays do not send")

    def _receive_notice(self, code: int, text: str) -> None:
        """
        Take a word from the relay, and what it may change.

        @raise DecodeError: it changes too often.
        """
        self._notices += 1
        if self._notices <= LOGGED_NOTICES:
            self._log.info("{url} says: {text}", url=self._url.text, text=text)
        is_parked = code == NoticeCode.PARKED
        if code not in (NoticeCode.PARKED, NoticeCode.UNPARKED) or is_parked is self._is_parked:
            return
        if not self._parkings.take(1, self._heard):
            raise DecodeError("it parks us more often than any relay has reason for")
        self._is_parked = is_parked
        self._tell().connection_parked(is_parked, text)

    def _tell(self) -> ConnectionOwner:
        """
        Find whom to tell; there is someone as long as frames are taken.
        """
        assert self._owner is not None
        return self._owner

    def _answer(self, challenge: Challenge) -> None:
        """
        Say who we are.
        """
        self._is_hello_sent = True
        self.relay_clock = challenge.relay_time - self._reactor.seconds()
        credentials, node = self._credentials(), self._key.node_id
        signed = signed_bytes(self._url.authority, challenge.nonce, node, credentials.mesh_id)
        hello = Hello(
            node, self._url.authority, self._instance, credentials, self._key.sign(signed)
        )
        self.write_message(hello.encode())

    def _ping(self) -> None:
        """
        Ask whether the relay is there, and see that it was.
        """
        now = self._reactor.seconds()
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = None
        if now - self._heard >= SILENCE:
            self.hang_up("it has fallen silent")
            return
        self._send_ping(now)
        self._timer = self._reactor.callLater(PING_INTERVAL, self._ping)

    def _send_ping(self, now: float) -> None:
        """
        Ask whether the relay is there.
        """
        self._pings += 1
        token = self._pings.to_bytes(8, "big")
        self._sent_at = (token, now)
        self.write_message(Ping(token).encode())

    def ask(self) -> None:
        """
        Ask whether the relay is there, and doubt it if it does not say so soon.
        """
        if self._doubt is None and self._is_welcomed and not self._is_doubted:
            self._send_ping(self._reactor.seconds())
            self._doubt = self._reactor.callLater(ANSWER_WITHIN, self._see_answer)

    def _see_answer(self) -> None:
        """
        Doubt a relay from which nothing came, and to which nothing went, since it was asked.
        """
        self._doubt = None
        asked = self._reactor.seconds() - ANSWER_WITHIN
        if max(self._heard, self._drained) <= asked:
            self.doubt()

    def doubt(self) -> None:
        """
        Have another connection made beside this one, until the relay says something.
        """
        if self._is_welcomed and not self._is_doubted and self._owner is not None:
            self._is_doubted = True
            self._owner.connection_doubted(True)

    def send(self, destination: NodeID, datagrams: Sequence[bytes]) -> None:
        """
        Send datagrams; they are dropped if too much waits already.
        """
        if self._doubt is None and self._reactor.seconds() - self._heard >= QUIET:
            self.ask()
        for message in encode_batches(FrameType.SEND, destination.raw, datagrams):
            if self._is_full:
                self._waiting += len(message)
                if self._waiting > QUEUE - _TRANSPORT_BUFFER:
                    self._waiting -= len(message)
                    self.dropped += 1
                    continue
            self.write_message(message)

    def leave(self) -> None:
        """
        Say goodbye.
        """
        self._error = self._error or "we left"
        self._close(abort=False)

    def abandon(self) -> None:
        """
        Close it without a word to anybody: another connection has taken its place.
        """
        self._owner = None
        if self.transport is not None:
            self.transport.abortConnection()

    def _fail(self, text: str, *, abort: bool = False) -> None:
        """
        End the connection, because of something.
        """
        self._error = self._error or f"{self._url.authority}: {text}"
        self._close(abort=abort)

    def _close(self, *, abort: bool) -> None:
        """
        Close the connection, whatever the other side does about it.
        """
        if self.state == self.STATE_OPEN and not abort:
            self.sendClose(1000)
            self.end_soon()
        elif self.transport is not None:
            self.transport.abortConnection()

    def pauseProducing(self) -> None:
        """
        Note that the transport is full.
        """
        self._is_full = True

    def resumeProducing(self) -> None:
        """
        Note that the transport is empty again.
        """
        self._is_full = False
        self._waiting = 0
        self._drained = self._reactor.seconds()

    def stopProducing(self) -> None:
        """
        Note nothing: the transport tells of its end by C{connectionLost}.
        """

    @override
    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """
        Tell the owner, with what we know of the reason.
        """
        super().connectionLost(reason)
        self.forget_timers()
        for call in (self._timer, self._doubt):
            if call is not None and call.active():
                call.cancel()
        self._timer = self._doubt = None
        owner, self._owner = self._owner, None
        if owner is not None:
            owner.connection_ended(self._error or self._explain(reason), self._refused)

    def _explain(self, reason: Failure) -> str:
        """
        Find out why a connection ended.
        """
        where = self._url.authority
        status = self.refused_status()
        if status is not None:
            return f"{where} is no relay, or not at {self._url.resource}: HTTP {status}"
        if self.wasOpenHandshakeTimeout:
            return f"{where} accepts connections but does not answer; is it a relay?"
        if self.remoteCloseCode not in (None, 1000):
            text = escape_peer_text(str(self.remoteCloseReason or ""), 100)
            return f"{where} closed the connection: {self.remoteCloseCode} {text}".rstrip()
        if self._is_welcomed:
            return f"{where}: the connection was lost"
        return describe_failure(self._url, reason)
