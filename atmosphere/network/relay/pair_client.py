# -*- test-case-name: tests.network.relay.test_pair_client -*-
"""
The client of a session: one of two whose messages a relay passes to and fro.

See C{docs/protocols/relay.md} §7. What the relay and the other client say is a
stranger's word: sizes are bounded, and the owner may stop reading at any time.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from autobahn.twisted.websocket import WebSocketClientFactory
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectingCancelledError
from twisted.internet.interfaces import IPushProducer, IReactorTime
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure
from typing_extensions import override
from zope.interface import implementer

from atmosphere.errors import RelayError
from atmosphere.rate import TokenBucket
from atmosphere.text import escape_peer_text

from .endpoint import RelayURL, connection_endpoint, describe_failure
from .frames import MAX_MESSAGE
from .streams import BatchedTimer, ClientStream, send_at_once

__all__ = ["PairClient", "PairOwner", "connect_session", "is_cancellation"]

PING_INTERVAL = 15.0
PING_TIMEOUT = 30.0
CONTROL_RATE = 10.0
CONTROL_BURST = 100.0

_REFUSALS = {
    "403": "it serves members only",
    "404": "it serves no sessions there",
    "409": "the session has two clients already",
    "429": "too many sessions wait for a partner",
    "503": "it goes down, or is full",
}

_CLOSED = {
    4011: "nothing could be written to the other one",
    4012: "the relay goes down",
    4020: "nobody came",
    4021: "nothing was sent for too long",
}


class PairOwner(Protocol):
    """
    Whom a client tells what happens.
    """

    def pair_received(self, data: bytes) -> None:
        """
        The other client sent a message.
        """

    def pair_drained(self) -> None:
        """
        There is room again for what is to be sent.
        """

    def pair_ended(self, error: str) -> None:
        """
        The session is over; called once, and only if it was open.
        """


@implementer(IPushProducer)
class PairClient(ClientStream):
    """
    One of the two.

    @ivar is_full: whether no more should be sent for now.
    @ivar opened: fires once the relay has let us in; fails with L{RelayError}.
    """

    def __init__(
        self,
        reactor: IReactorTime,
        url: RelayURL,
        entropy: Callable[[int], bytes],
        owner: PairOwner,
    ) -> None:
        super().__init__(reactor, entropy, TokenBucket(CONTROL_RATE, CONTROL_BURST))
        self.is_full = False
        self.opened: Deferred[None] = Deferred()
        self._url = url
        self._owner: PairOwner | None = owner
        self._error: str | None = None
        self._is_paused = False
        self._was_opened = False

    @property
    def is_established(self) -> bool:
        """
        Whether messages can be sent.
        """
        return bool(self.state == self.STATE_OPEN)

    @override
    def onOpen(self) -> None:
        """
        Tell that the session can be used, perhaps by nobody else yet.
        """
        send_at_once(self.transport)
        self.transport.registerProducer(self, True)
        self._was_opened = True
        if not self.opened.called:
            self.opened.callback(None)

    @override
    def receive_message(self, payload: bytes | bytearray, is_binary: bool) -> None:
        """
        Take a message, text or not.
        """
        if self._owner is not None:
            self._owner.pair_received(bytes(payload))

    @override
    def hang_up(self, text: str) -> None:
        self._error = self._error or text
        self.transport.abortConnection()

    def write(self, data: bytes) -> None:
        """
        Send a message.

        @raise ValueError: longer than a relay takes.
        """
        if len(data) > MAX_MESSAGE:
            raise ValueError(f"a message has at most {MAX_MESSAGE} bytes, not {len(data)}")
        self.write_message(data)

    def read_no_more(self) -> None:
        """
        Read nothing for now: in the end the other client waits.
        """
        if not self._is_paused and self.is_established:
            self._is_paused = True
            self.transport.pauseProducing()

    def read_on(self) -> None:
        """
        Read again.
        """
        if self._is_paused:
            self._is_paused = False
            if not getattr(self.transport, "disconnecting", False):
                self.transport.resumeProducing()

    def leave(self) -> None:
        """
        Leave the session, which ends it for the other client as well.
        """
        self._error = self._error or "we left"
        self.read_on()
        if self.is_established:
            self.sendClose(1000)
            self.end_soon()
        elif self.transport is not None:
            self.transport.abortConnection()

    def pauseProducing(self) -> None:
        """
        Note that the transport is full.
        """
        self.is_full = True

    def resumeProducing(self) -> None:
        """
        Note that the transport has room.
        """
        self.is_full = False
        if self._owner is not None:
            self._owner.pair_drained()

    def stopProducing(self) -> None:
        """
        Note nothing: the transport tells of its end by C{connectionLost}.
        """

    @override
    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """
        Tell whoever waits, with what we know of the reason.
        """
        super().connectionLost(reason)
        self.forget_timers()
        owner, self._owner = self._owner, None
        why = self._error or self._explain()
        if why is not None:
            text = f"{self._url.authority}: {why}"
        elif self._was_opened:
            text = f"{self._url.authority}: the connection was lost"
        else:
            text = describe_failure(self._url, reason)
        if not self.opened.called:
            self.opened.errback(RelayError(text))
        elif owner is not None and self._was_opened:
            owner.pair_ended(text)

    def _explain(self) -> str | None:
        """
        Find out why the connection ended.

        @return: L{None} if WebSocket knows nothing of it.
        """
        status = self.refused_status()
        if status is not None:
            return _REFUSALS.get(status, f"it is no relay: HTTP {status}")
        if self.wasOpenHandshakeTimeout:
            return "it accepts connections but does not answer; is it a relay?"
        if self.remoteCloseCode is not None:
            return _CLOSED.get(
                self.remoteCloseCode,
                escape_peer_text(str(self.remoteCloseReason or "the session is over"), 100),
            )
        return None


class _Factory(WebSocketClientFactory):
    """
    Makes the protocol of one session.
    """

    noisy = False
    protocol_of: PairClient

    @override
    def buildProtocol(self, addr: object) -> PairClient:
        """
        Hand out the protocol.
        """
        self.protocol_of.factory = self
        return self.protocol_of


def is_cancellation(problem: BaseException) -> bool:
    """
    Say whether an error of Twisted's endpoints or agents means that we gave up
    ourselves.
    """
    if isinstance(problem, (CancelledError, ConnectingCancelledError)):
        return True
    reasons = getattr(problem, "reasons", ())
    return any(isinstance(each.value, CancelledError) for each in reasons)


def connect_session(
    reactor: Any,
    url: RelayURL,
    session_id: str,
    owner: PairOwner,
    *,
    entropy: Callable[[int], bytes],
    timeout: float = 10.0,
    ca_file: str | None = None,
) -> Deferred[PairClient]:
    """
    Join a session.

    @param reactor: provides TCP, time, and the resolution of names.
    @param session_id: see L{atmosphere.network.relay.session.is_session_id}.
    @param timeout: seconds until the relay must have let us in.
    @param ca_file: PEM certificates to trust instead of the platform's.
    @return: fires once messages can be sent, whether or not the other client
        is there; fails with L{RelayError}. Cancelling hangs up.
    @raise ConfigurationError: C{ca_file} cannot be read.
    """
    endpoint = connection_endpoint(reactor, url, ca_file)
    client = PairClient(reactor, url, entropy, owner)
    factory = _Factory(
        url=f"{'wss' if url.is_secure else 'ws'}://{url.authority}{url.resource}/{session_id}",
        useragent="",
        reactor=reactor,
    )
    factory.protocol_of = client
    factory._batched_timer = BatchedTimer(reactor)  # noqa: SLF001  # else the global reactor
    factory.setProtocolOptions(
        maxFramePayloadSize=MAX_MESSAGE,
        maxMessagePayloadSize=MAX_MESSAGE,
        openHandshakeTimeout=timeout,
        closeHandshakeTimeout=1,
        serverConnectionDropTimeout=0,
        autoPingInterval=PING_INTERVAL,
        autoPingTimeout=PING_TIMEOUT,
        tcpNoDelay=True,
    )

    async def connect() -> PairClient:
        opened = client.opened
        is_given_up = False
        attempt = endpoint.connect(factory)

        def give_up(_: Deferred[Any]) -> None:
            nonlocal is_given_up
            is_given_up = True
            attempt.cancel()  # which says that a name is unknown while it is looked up

        connected: Deferred[Any] = Deferred(give_up)
        attempt.chainDeferred(connected)
        try:
            await connected
        except Exception as problem:
            if is_given_up or is_cancellation(problem):
                raise CancelledError() from problem
            raise RelayError(describe_failure(url, Failure(problem))) from problem
        try:
            await opened
        except CancelledError:
            client.leave()
            raise
        return client

    connecting = Deferred.fromCoroutine(connect())
    return connecting.addTimeout(timeout, reactor, onTimeoutCancel=_too_late(url))


def _too_late(
    url: RelayURL,
) -> Callable[[PairClient | Failure, float], PairClient | Failure]:
    """
    Make what turns a time-out into an error of ours.
    """

    def turn(result: PairClient | Failure, timeout: float) -> PairClient | Failure:
        if isinstance(result, Failure):
            result.trap(CancelledError)
            raise RelayError(f"{url.authority} did not let us in within {timeout:g} s")
        return result

    return turn
