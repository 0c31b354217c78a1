# -*- test-case-name: tests.network.relay.test_client -*-
"""
The client of a relay: a service that keeps one connection, for ever.

What a relay says is a stranger's word: sizes, types and rates are bounded,
and nothing of it is believed about other nodes.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Sequence
from typing import Any

from autobahn.twisted.websocket import WebSocketClientFactory
from twisted.application.service import Service
from twisted.internet.abstract import isIPAddress, isIPv6Address
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionRefusedError, TimeoutError
from twisted.internet.interfaces import IDelayedCall, IStreamClientEndpoint
from twisted.logger import Logger
from twisted.python.failure import Failure
from typing_extensions import override

from atmosphere.errors import RelayError
from atmosphere.identity import NodeID, NodeKey

from .dial import ClientConnection
from .endpoint import connection_endpoint, describe_failure, parse_relay_url
from .frames import MAX_MESSAGE, SUBPROTOCOL, Drain, HelloCredentials, RefusedCode, Welcome
from .redial import MAX_DIALS, Redial
from .streams import BatchedTimer

__all__ = ["RelayClient"]

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
    connection that fails or ends is made anew, at first at once, later after up to
    4 seconds, and after ten minutes of outage up to a minute. Where nothing answers
    a dial follows the other. One that carries nothing any more is kept until another
    has come about.

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
        self._is_named = not (isIPAddress(self._parsed.host) or isIPv6Address(self._parsed.host))
        self._shortcut: tuple[str, IStreamClientEndpoint] | None = None
        self._is_plain = endpoint is None
        self._ca_file = ca_file
        self._reactor = reactor
        self._key = key
        self._wall = wall
        self._entropy = entropy
        self._redial = Redial(random)
        self._hello = hello
        self._on_datagrams = on_datagrams
        self._on_change = on_change
        self._on_absent = on_absent
        self._instance = entropy(16) if instance is None else instance
        self._connection: ClientConnection | None = None
        self._dials: dict[ClientConnection, Deferred[Any]] = {}
        self._retry: IDelayedCall | None = None
        self._is_parked = False
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
    def address(self) -> str | None:
        """
        The IP address of the relay that we are connected to; C{None} while we are not.
        """
        return None if self._connection is None else self._connection.peer_address

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

    def hurry(self, addresses: Container[str] | None = None) -> None:
        """
        The network may be another, or back: see at once whether the relay is there.

        @param addresses: those that this machine has now, if that is known: a connection
            that has another one of its own can bring nothing any more.
        """
        if self._connection is not None:
            own = self._connection.own_address
            if addresses is not None and own is not None and own not in addresses:
                self._connection.doubt()
            else:
                self._connection.ask()
        elif self._retry is not None:
            self._retry.cancel()
            self._connect()

    def _connect(self) -> None:
        """
        Try to connect, and once more soon if nothing answers.
        """
        now = self._reactor.seconds()
        self._retry = None
        self._redial.lost(now)
        if len(self._dials) >= MAX_DIALS:
            oldest = next(iter(self._dials))
            self._dials.pop(oldest).cancel()
            self._note_error(describe_failure(self._parsed, Failure(TimeoutError())))
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
        dial = self._choose_endpoint(now).connect(factory)
        self._dials[connection] = dial
        dial.addCallbacks(
            self._connected,
            self._not_connected,
            callbackArgs=(connection,),
            errbackArgs=(connection,),
        )
        if connection in self._dials:
            self._dial_soon()

    def _choose_endpoint(self, now: float) -> IStreamClientEndpoint:
        """
        Say how to connect: by the address that served last, and by name now and then.
        """
        if self._shortcut is None or (self._is_named and self._redial.is_by_name(now)):
            return self._endpoint
        return self._shortcut[1]

    def _dial_soon(self) -> None:
        """
        Make another dial soon, unless one comes about.
        """
        if self._retry is None:
            interval = self._redial.interval(self._reactor.seconds())
            self._retry = self._reactor.callLater(interval, self._connect)

    def _stop_dialling(self) -> None:
        """
        Give up what is under way, and what was to come.
        """
        dials, self._dials = self._dials, {}
        for dial in dials.values():
            dial.cancel()
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None

    def _connected(self, _: object, connection: ClientConnection) -> None:
        """
        Note that a transport is there. It takes the place of one that does not answer.
        """
        if self._dials.pop(connection, None) is None:
            connection.abandon()
            return
        self._stop_dialling()
        self._leave_silent()
        self._connection = connection

    def _leave_silent(self) -> None:
        """
        Leave a connection that carries nothing any more, if there is one.
        """
        old, self._connection = self._connection, None
        if old is not None:
            old.abandon()
            was_welcomed, self.welcome = self.welcome is not None, None
            self._is_parked = False
            if was_welcomed:
                self._note_error(f"{self._parsed.authority}: it has fallen silent", is_new=True)

    def _not_connected(self, failure: Failure, connection: ClientConnection) -> None:
        """
        Note that there is no transport.
        """
        if self._dials.pop(connection, None) is None:
            return  # we gave it up
        text = describe_failure(self._parsed, failure)
        if failure.check(ConnectionRefusedError):
            self._leave_silent()
            self.connection_ended(text, None)
        else:
            self._note_error(text)
            self._dial_soon()

    def connection_doubted(self, is_doubted: bool) -> None:
        """
        See whether another connection can be made, or that none is needed.
        """
        if is_doubted and not self._dials:
            if self._connection is not None:
                self._redial.rtt = self._connection.least_rtt or self._redial.rtt
            self._connect()
        elif not is_doubted:
            self._stop_dialling()
            self._redial.found()

    def connection_welcomed(self, welcome: Welcome) -> None:
        """
        Note that the relay let us in.
        """
        self.welcome, self.error, self.draining = welcome, None, None
        self._is_parked = False
        self.clock_offset = welcome.relay_time - self._wall()
        self._redial.found()
        self._note_address()
        self._welcomed_at = self._reactor.seconds()
        self.log.info("{url} welcomed us", url=self.url)
        waiting, self._waiting = self._waiting, []
        for done in waiting:
            done.callback(welcome)
        self._on_change(self)

    def _note_address(self) -> None:
        """
        Keep the address that serves.
        """
        address = self.address
        if not self._is_plain or address is None:
            return
        if self._shortcut is None or self._shortcut[0] != address:
            endpoint = connection_endpoint(self._reactor, self._parsed, self._ca_file, address)
            self._shortcut = address, endpoint

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
        ended = self._connection
        if ended is not None:
            self._redial.rtt = ended.least_rtt or self._redial.rtt
            if not was_welcomed and ended.relay_clock is not None:
                self.clock_offset = ended.relay_clock + now - self._wall()
        self._connection = self.welcome = None
        self._is_parked = False
        self._stop_dialling()
        if not self.running:
            self._finish()
            return
        self._redial.lost(now)
        served = now - self._welcomed_at if was_welcomed else 0.0
        is_told = refused is not None or self.draining is not None
        pause = self._redial.pause(now, served=served, is_told=is_told)
        if refused == RefusedCode.REPLACED:
            pause = max(pause, AFTER_REPLACED)
        self._retry = self._reactor.callLater(pause, self._connect)
        self._note_error(error, is_new=was_welcomed)

    def _note_error(self, error: str, *, is_new: bool = False) -> None:
        """
        Note why there is no connection, and say so if it is not known yet.

        @param is_new: there was one until now.
        """
        if self._connection is None and (is_new or error != self.error):
            self.error = error
            self.log.warn("relay {url}: {error}", url=self.url, error=error)  # noqa: G010  # Twisted's logger has no other
            self._on_change(self)

    @override
    def stopService(self) -> Deferred[None]:
        """
        Leave the relay.

        @return: fires once the transport is closed; cannot be cancelled.
        """
        super().stopService()
        stopped: Deferred[None] = Deferred()
        self._stopped = stopped
        self._stop_dialling()
        for done in self._waiting:
            done.errback(RelayError(f"the connection to {self.url} was given up"))
        self._waiting = []
        if self._connection is not None:
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
