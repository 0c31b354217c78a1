# -*- test-case-name: tests.network.relay.test_client -*-
"""
The client of a relay: a service that keeps one connection, for ever.

What a relay says is a stranger's word: sizes, types and rates are bounded,
and nothing of it is believed about other nodes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from autobahn.twisted.websocket import WebSocketClientFactory
from twisted.application.service import Service
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IDelayedCall, IStreamClientEndpoint
from twisted.logger import Logger
from twisted.python.failure import Failure
from typing_extensions import override

from atmosphere.errors import RelayError
from atmosphere.identity import NodeID, NodeKey

from .dial import ClientConnection
from .endpoint import connection_endpoint, describe_failure, parse_relay_url
from .frames import MAX_MESSAGE, SUBPROTOCOL, Drain, HelloCredentials, RefusedCode, Welcome
from .streams import BatchedTimer

__all__ = ["RelayClient"]

FIRST_DELAY = 0.5
LONGEST_DELAY = 10.0
LONGEST_DELAY_LATER = 60.0
LONG_OUTAGE = 600.0
STEADY = 60.0
AFTER_REPLACED = 5.0


class _Factory(WebSocketClientFactory):
    """
    Makes the protocol of one connection.
    """

    noisy = False

    def __init__(self, connection: ClientConnection, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._connection = connection

    @override
    def buildProtocol(self, addr: object) -> ClientConnection:
        """
        Hand out the protocol.
        """
        self._connection.factory = self
        return self._connection


class RelayClient(Service):
    """
    Keeps a connection to one relay, and carries datagrams over it.

    Datagrams that cannot be sent at once are lost, as datagrams may be. A
    connection that fails or ends is made anew, at first after half a second,
    later after up to 10 seconds, and after ten minutes of outage up to a minute.

    @ivar url: the relay's, as it was given.
    @ivar welcome: what the relay said when it let us in; C{None} while it has not.
    @ivar error: in one line why there is no connection; C{None} if there is.
    @ivar draining: the relay's word that it goes down.
    @ivar clock_offset: by how many seconds the relay's clock was ahead of ours
        when it last let us in, or refused to: a hint.
    """

    log = Logger()

    def __init__(
        self,
        reactor: Any,
        url: str,
        key: NodeKey,
        *,
        entropy: Callable[[int], bytes],
        wall: Callable[[], float],
        random: Callable[[], float],
        hello: Callable[[], HelloCredentials],
        on_datagrams: Callable[[RelayClient, NodeID, list[bytes]], None],
        on_change: Callable[[RelayClient], None],
        ca_file: str | None = None,
        on_absent: Callable[[RelayClient, NodeID], None] | None = None,
        endpoint: IStreamClientEndpoint | None = None,
        instance: bytes | None = None,
    ) -> None:
        """
        @param reactor: provides TCP, time, and the resolution of names.
        @param random: a number from 0 to less than 1, to spread reconnections.
        @param hello: what we show to the relay, asked at each connection.
        @param on_datagrams: called for each batch that comes in.
        @param on_change: called when L{is_welcomed}, L{error} or L{draining} changed.
        @param on_absent: called when the relay does not have a node that we sent to.
        @param endpoint: how to connect, if not straight to the URL's host and port.
        @param instance: 16 bytes, one choice for the whole process.
        @raise ConfigurationError: the URL, or C{ca_file}, cannot be used.
        """
        self.url = url
        self.welcome: Welcome | None = None
        self.error: str | None = None
        self.draining: Drain | None = None
        self.clock_offset: float | None = None
        self._parsed = parse_relay_url(url)
        self._endpoint = endpoint or connection_endpoint(reactor, self._parsed, ca_file)
        self._reactor = reactor
        self._key = key
        self._wall = wall
        self._entropy = entropy
        self._random = random
        self._hello = hello
        self._on_datagrams = on_datagrams
        self._on_change = on_change
        self._on_absent = on_absent
        self._instance = entropy(16) if instance is None else instance
        self._connection: ClientConnection | None = None
        self._connecting: Deferred[Any] | None = None
        self._retry: IDelayedCall | None = None
        self._is_parked = False
        self._failures = 0
        self._lost_at: float | None = None
        self._welcomed_at = 0.0
        self._waiting: list[Deferred[Welcome]] = []
        self._stopped: Deferred[None] | None = None

    @property
    def is_welcomed(self) -> bool:
        """
        Whether datagrams can be sent and received.
        """
        return self.welcome is not None and not self._is_parked

    @property
    def rtt(self) -> float | None:
        """
        The last round-trip time to the relay in seconds; C{None} if unknown.
        """
        return None if self._connection is None else self._connection.rtt

    @property
    def dropped(self) -> int:
        """
        How many batches this connection did not send because too much waited.
        """
        return 0 if self._connection is None else self._connection.dropped

    def send(self, destination: NodeID, datagrams: Sequence[bytes]) -> None:
        """
        Send datagrams to another node; they may be lost.

        @raise ValueError: a datagram that is empty or longer than 65,535 bytes.
        """
        if self._connection is not None and self.is_welcomed:
            self._connection.send(destination, datagrams)

    def when_welcomed(self) -> Deferred[Welcome]:
        """
        Wait until the relay has let us in.

        @return: fires with the welcome, at once if it is there; fails with
            L{RelayError} when the service is stopped. Cancelling it stops the
            waiting and nothing else.
        """
        done: Deferred[Welcome] = Deferred(self._forget_waiting)
        if self.welcome is not None:
            done.callback(self.welcome)
        else:
            self._waiting.append(done)
        return done

    def _forget_waiting(self, done: Deferred[Welcome]) -> None:
        """
        Wait no longer for that one.
        """
        if done in self._waiting:
            self._waiting.remove(done)

    @override
    def startService(self) -> None:
        """
        Begin to connect.
        """
        super().startService()
        self._stopped = None
        self._connect()

    def _connect(self) -> None:
        """
        Try to connect once.
        """
        self._retry = None
        connection = ClientConnection(
            self._reactor,
            self._parsed,
            self._key,
            self._instance,
            self._entropy,
            self._hello,
            self,
        )
        factory = _Factory(
            connection,
            url=f"{'wss' if self._parsed.is_secure else 'ws'}://{self._parsed.authority}"
            f"{self._parsed.resource}",
            protocols=[SUBPROTOCOL],
            useragent="",
            reactor=self._reactor,
        )
        factory._batched_timer = BatchedTimer(self._reactor)  # noqa: SLF001  # else the global reactor
        factory.setProtocolOptions(
            maxFramePayloadSize=MAX_MESSAGE,
            maxMessagePayloadSize=MAX_MESSAGE,
            openHandshakeTimeout=10,
            closeHandshakeTimeout=1,
            serverConnectionDropTimeout=0,
            tcpNoDelay=True,
        )
        self._connection = connection
        self._connecting = self._endpoint.connect(factory)
        self._connecting.addCallbacks(self._connected, self._not_connected)

    def _connected(self, connection: ClientConnection) -> None:
        """
        Note that a transport is there.
        """
        self._connecting = None

    def _not_connected(self, failure: Failure) -> None:
        """
        Note that there is no transport.
        """
        self._connecting = None
        if failure.check(CancelledError) and not self.running:
            self._finish()
            return
        self.connection_ended(describe_failure(self._parsed, failure), None)

    def connection_welcomed(self, welcome: Welcome) -> None:
        """
        Note that the relay let us in.
        """
        self.welcome, self.error, self.draining = welcome, None, None
        self._is_parked = False
        self.clock_offset = welcome.relay_time - self._wall()
        self._lost_at = None
        self._welcomed_at = self._reactor.seconds()
        self.log.info("{url} welcomed us", url=self.url)
        waiting, self._waiting = self._waiting, []
        for done in waiting:
            done.callback(welcome)
        self._on_change(self)

    def connection_parked(self, is_parked: bool, text: str) -> None:
        """
        Note that the relay serves us no more for now, or again.
        """
        self._is_parked = is_parked
        self.error = f"{self._parsed.authority}: {text}" if is_parked else None
        self._on_change(self)

    def connection_received(self, source: NodeID, datagrams: list[bytes]) -> None:
        """
        Hand on what came.
        """
        try:
            self._on_datagrams(self, source, datagrams)
        except Exception:
            self.log.failure("datagrams of {node} could not be taken", node=source.short)

    def connection_absent(self, node: NodeID) -> None:
        """
        Hand on that a node is not there.
        """
        if self._on_absent is not None:
            self._on_absent(self, node)

    def connection_draining(self, drain: Drain) -> None:
        """
        Note that the relay goes down.
        """
        self.draining = drain
        self._on_change(self)

    def connection_ended(self, error: str, refused: int | None) -> None:
        """
        Note that the connection is over, and try again later.
        """
        now = self._reactor.seconds()
        was_welcomed = self.welcome is not None
        if not was_welcomed and self._connection and self._connection.relay_clock is not None:
            self.clock_offset = self._connection.relay_clock + now - self._wall()
        self._connection = self.welcome = None
        self._is_parked = False
        if not self.running:
            self._finish()
            return
        if was_welcomed and now - self._welcomed_at >= STEADY:
            self._failures = 0
        if self._lost_at is None:
            self._lost_at = now
        has_changed = was_welcomed or error != self.error
        self.error = error
        delay = self._delay(now)
        if refused == RefusedCode.REPLACED:
            delay = max(delay, AFTER_REPLACED)
        self._failures += 1
        self._retry = self._reactor.callLater(delay, self._connect)
        if has_changed:
            self.log.warn("relay {url}: {error}", url=self.url, error=error)  # noqa: G010
            self._on_change(self)

    def _delay(self, now: float) -> float:
        """
        Say how long to wait before the next attempt.
        """
        assert self._lost_at is not None
        longest = LONGEST_DELAY if now - self._lost_at < LONG_OUTAGE else LONGEST_DELAY_LATER
        full = min(longest, FIRST_DELAY * 2.0 ** min(self._failures, 16))
        return full * (0.5 + self._random() / 2)

    @override
    def stopService(self) -> Deferred[None]:
        """
        Leave the relay.

        @return: fires once the transport is closed; cannot be cancelled.
        """
        super().stopService()
        stopped: Deferred[None] = Deferred()
        self._stopped = stopped
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None
        for done in self._waiting:
            done.errback(RelayError(f"the connection to {self.url} was given up"))
        self._waiting = []
        if self._connecting is not None:
            self._connecting.cancel()
        elif self._connection is not None:
            self._connection.leave()
        else:
            self._finish()
        return stopped

    def _finish(self) -> None:
        """
        Note that nothing is left open.
        """
        self._connection = self.welcome = None
        if self._stopped is not None and not self._stopped.called:
            self._stopped.callback(None)
