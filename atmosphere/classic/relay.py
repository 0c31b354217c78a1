# -*- test-case-name: tests.classic.test_relay -*-
"""
Relays under the original's names: a server, a client of one session, and the
choice of the best relay.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from twisted.internet.defer import CancelledError, Deferred, fail, maybeDeferred, succeed
from twisted.logger import Logger

from atmosphere.errors import ConfigurationError, RelayError
from atmosphere.network.relay.endpoint import parse_relay_url
from atmosphere.network.relay.frames import MAX_MESSAGE
from atmosphere.network.relay.limits import RelayConfig
from atmosphere.network.relay.pair_client import PairClient, connect_session
from atmosphere.network.relay.rendezvous import random_session
from atmosphere.network.relay.selection import DEFAULT_RELAYS, RelayInfo, best_relay
from atmosphere.network.relay.service import RelayService
from atmosphere.network.relay.session import Leg, is_session_id

from .connection import Told
from .inbox import Inbox
from .measuring import measure
from .world import World, the_world

__all__ = [
    "DEFAULT_RELAYS",
    "RelayClient",
    "RelayInfo",
    "RelayServer",
    "RelaySession",
    "default_relay_url",
    "find_best_relay",
    "start_relay_server",
]

_log = Logger()

#: What waits in a client until C{receive} asks for it; beyond that the relay waits.
INBOX_BYTES = 256 * 1024
INBOX_MESSAGES = 4096

STUN_PORT = 3478


def default_relay_url(world: World) -> str | None:
    """
    Find the relay that serves when nobody names one: C{ATMOSPHERE_RELAY_URL},
    or else the first of L{DEFAULT_RELAYS}.
    """
    named = world.environment.get("ATMOSPHERE_RELAY_URL", "").strip()
    if named:
        return named
    return DEFAULT_RELAYS[0].url if DEFAULT_RELAYS else None


@dataclass
class RelaySession:
    """
    Two peers of one session.

    @ivar session_id: its name.
    @ivar peer_a: who came first; L{None} as long as nobody has.
    @ivar peer_b: who came second.
    @ivar created_at: POSIX time at which the first came.
    @ivar bytes_relayed: payload that went from either to the other.
    """

    session_id: str
    peer_a: Any = None
    peer_b: Any = None
    created_at: float = 0.0
    bytes_relayed: int = 0

    def __init__(self, session_id: str, *, world: World | None = None) -> None:
        self.session_id = session_id
        self.peer_a = self.peer_b = None
        self.created_at = the_world(world).wall()
        self.bytes_relayed = 0

    def add_peer(self, peer: Any) -> bool:
        """
        Give a peer one of the two places.

        @return: whether there was one; a third peer gets none, and none gets two.
        """
        if peer is None or peer in (self.peer_a, self.peer_b):
            return False
        if self.peer_a is None:
            self.peer_a = peer
        elif self.peer_b is None:
            self.peer_b = peer
        else:
            return False
        return True

    def get_other_peer(self, peer: Any) -> Any:
        """
        Find the one that a peer talks to.

        @return: L{None} if it is not there, or C{peer} is none of the two.
        """
        if peer is None:
            return None
        if peer == self.peer_a:
            return self.peer_b
        return self.peer_a if peer == self.peer_b else None

    @property
    def is_complete(self) -> bool:
        """
        Whether both are there.
        """
        return self.peer_a is not None and self.peer_b is not None


class RelayServer:
    """
    A relay in this process, open to everybody within limits.

    It is the one of C{atmosphere relay}: with back-pressure, bounded rates and
    queues, and no place for a third client in a session. It serves nodes and
    STUN as well. To serve the members of a mesh only, to speak TLS, or for other
    limits, use L{RelayService<atmosphere.network.relay.service.RelayService>}.

    @ivar host: the address to listen on.
    @ivar port: TCP; once started, the number even if 0 was given.
    @ivar service: what does the work; L{None} while stopped.
    """

    def __init__(
        self, host: str = "0.0.0.0", port: int = 8080, *, world: World | None = None
    ) -> None:
        self.host = host
        self.port = port
        self.service: RelayService | None = None
        self._given_world = world

    @property
    def stun_port(self) -> int:
        """
        The UDP port that answers STUN: 3478 where it is free, any if C{port}
        was given as 0; 0 if there is none.
        """
        return 0 if self.service is None else self.service.stun_port

    @property
    def sessions(self) -> dict[str, RelaySession]:
        """
        The sessions that there are at present, by their IDs, as a copy. Peers
        are shown by their addresses.
        """
        if self.service is None:
            return {}
        server, world = self.service.server, the_world(self._given_world)
        found = {}
        for legs in server.sessions.legs():
            session = RelaySession(legs[0].session_id, world=world)
            session.created_at -= max(0.0, server.clock.now() - legs[0].since)
            for leg in legs:
                session.add_peer(self._name(self.service, leg))
                session.bytes_relayed += leg.relayed
            found[session.session_id] = session
        return found

    def _name(self, service: RelayService, leg: Leg) -> str:
        """
        Say who a client is.
        """
        connection = service.server.connection_of(leg)
        peer = None if connection is None else connection.transport.getPeer()
        host, port = getattr(peer, "host", "connecting"), getattr(peer, "port", id(leg))
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

    def start(self) -> Deferred[None]:
        """
        Listen and serve; it does no harm to call it twice.

        @return: fires when clients can connect; fails with C{ListenError} if
            the port is taken.
        """
        return maybeDeferred(self._start)

    def _start(self) -> None:
        """
        Do what L{start} says.
        """
        if self.service is not None:
            return
        world = the_world(self._given_world)
        config = RelayConfig(
            host=self.host,
            port=self.port,
            stun_port=STUN_PORT if self.port else None,
            is_open=True,
        )
        service = RelayService(world.reactor, config, entropy=world.entropy, wall=world.wall)
        service.privilegedStartService()
        service.startService()
        self.service, self.port = service, service.port

    def stop(self) -> Deferred[None]:
        """
        Close all sessions and the port.

        @return: fires when that is done, within seconds; cannot be cancelled.
        """
        service, self.service = self.service, None
        return succeed(None) if service is None else service.stopService()


def start_relay_server(
    host: str = "0.0.0.0", port: int = 8080, *, world: World | None = None
) -> Deferred[RelayServer]:
    """
    Make a relay and start it.

    @return: fires with the relay; fails with C{ListenError} if the port is taken.
    """
    server = RelayServer(host, port, world=world)
    return server.start().addCallback(lambda _: server)


class RelayClient:
    """
    One of the two clients of a session.

    Messages are passed on whole and in order; what is sent before the other one
    comes waits for it at the relay, for up to 30 seconds. When either leaves, the
    session is over::

        client = RelayClient("wss://relay.example", session_id="tea-time")
        if await client.connect():
            await client.send(b"hello")
            print(await client.receive(timeout=5))
            await client.disconnect()

    @ivar relay_url: the relay's.
    @ivar session_id: the session's name; whoever knows it can take part.
    @ivar error: in one line why the last connection could not be made, or ended.
    """

    def __init__(
        self, relay_url: str, session_id: str | None = None, *, world: World | None = None
    ) -> None:
        """
        @param session_id: 1 to 64 letters, digits, C{-} or C{_}; a random one if L{None}.
        @raise ConfigurationError: not the URL of a relay, or no such ID.
        """
        self._url = parse_relay_url(relay_url)
        self._given_world = world
        if session_id is None:
            session_id = random_session(the_world(world).entropy(16))
        if not is_session_id(session_id):
            raise ConfigurationError("a session ID has 1 to 64 letters, digits, - or _")
        self.relay_url = relay_url
        self.session_id = session_id
        self.error: str | None = None
        self._connecting: Deferred[PairClient] | None = None
        self._client: PairClient | None = None
        self._inbox: Inbox | None = None
        self._unsent: deque[tuple[bytes, Deferred[bool]]] = deque()
        self._ended: list[Deferred[None]] = []

    @property
    def is_connected(self) -> bool:
        """
        Whether we are in the session, with or without the other one.
        """
        return self._client is not None and self._client.is_established

    def connect(self, timeout: float = 10.0) -> Deferred[bool]:
        """
        Join the session.

        @param timeout: seconds until the relay must have let us in.
        @return: fires with whether it did; L{error} says why not. Cancelling hangs
            up. While an earlier call still waits it fires with L{False} at once.
        """
        return Deferred.fromCoroutine(self._connect(timeout))

    async def _connect(self, timeout: float) -> bool:
        """
        Do what L{connect} says.
        """
        if self.is_connected or self._connecting is not None:
            return self.is_connected
        world = the_world(self._given_world)
        inbox = self._inbox = Inbox(
            world.reactor, size=INBOX_BYTES, count=INBOX_MESSAGES, taken=self._taken
        )
        connecting = self._connecting = connect_session(
            world.reactor,
            self._url,
            self.session_id,
            self,
            entropy=world.entropy,
            timeout=timeout,
        )
        try:
            self._client = await connecting
        except (RelayError, CancelledError) as error:
            inbox.end()
            if isinstance(error, CancelledError):
                if self._connecting is connecting:
                    raise
                error = RelayError(f"{self._url.authority}: we left")
            self.error = str(error)
            _log.info("{error}", error=error)
            return False
        finally:
            if self._connecting is connecting:
                self._connecting = None
        self.error = None
        return self.is_connected

    def disconnect(self) -> Deferred[None]:
        """
        Leave the session, which ends it for the other one too. What came
        already can still be received.

        @return: fires when the connection is closed; cannot be cancelled.
        """
        done: Deferred[None] = Deferred()
        connecting, self._connecting = self._connecting, None
        if connecting is not None:
            connecting.cancel()
        if self._client is None:
            done.callback(None)
        else:
            self._ended.append(done)
            self._client.leave()
        return done

    def send(self, data: bytes) -> Deferred[bool]:
        """
        Send a message.

        @param data: up to 65,600 bytes.
        @return: fires with L{True} once the message is on its way, which is
            later if the other one does not read; with L{False} if we are in no
            session. Fails with C{ValueError} for a longer message. Cancelling
            takes a message back that still waits.
        """
        if len(data) > MAX_MESSAGE:
            return fail(ValueError(f"a message has at most {MAX_MESSAGE} bytes, not {len(data)}"))
        client = self._client
        if client is None or not client.is_established:
            return Told(False)
        if not client.is_full and not self._unsent:
            client.write(bytes(data))
            return Told(True)
        done: Deferred[bool] = Deferred(self._take_back)
        self._unsent.append((bytes(data), done))
        return done

    def _take_back(self, done: Deferred[bool]) -> None:
        """
        Forget a message that still waits.
        """
        self._unsent = deque(each for each in self._unsent if each[1] is not done)

    def receive(self, timeout: float | None = None) -> Deferred[bytes | None]:
        """
        Take the oldest message that came, or wait for one. As long as nobody
        takes them, the other one is made to wait.

        @param timeout: seconds; L{None} waits as long as it takes.
        @return: fires with the message, one in text as UTF-8; with L{None} if
            none came in time or the session is over. Cancelling stops the
            waiting and loses nothing.
        """
        if self._inbox is None:
            done: Deferred[bytes | None] = Deferred()
            done.callback(None)
            return done
        return self._inbox.get(timeout)

    def _taken(self) -> None:
        """
        Read on if there is room again.
        """
        if self._client is not None and self._inbox is not None and self._inbox.has_room:
            self._client.read_on()

    def pair_received(self, data: bytes) -> None:
        """
        Keep a message, and read no further when there are enough.
        """
        inbox = self._inbox
        if inbox is not None:
            inbox.put(data)
            if not inbox.has_room and self._client is not None:
                self._client.read_no_more()

    def pair_drained(self) -> None:
        """
        Send what waits.
        """
        client = self._client
        while self._unsent and client is not None and not client.is_full:
            data, done = self._unsent.popleft()
            client.write(data)
            done.callback(True)

    def pair_ended(self, error: str) -> None:
        """
        Tell all who wait.
        """
        self.error, self._client = error, None
        unsent, self._unsent = self._unsent, deque()
        ended, self._ended = self._ended, []
        if self._inbox is not None:
            self._inbox.end()
        for _, sending in unsent:
            sending.callback(False)
        for done in ended:
            done.callback(None)


def find_best_relay(
    relays: Sequence[RelayInfo] | None = None, *, world: World | None = None
) -> Deferred[RelayInfo | None]:
    """
    Measure how soon relays answer, all at once, and choose the fastest.

    @param relays: those to choose from, L{DEFAULT_RELAYS} if L{None}; their
        C{latency_ms} is set, to L{None} for those that do not answer.
    @return: fires with the relay, with L{None} if none answers. Cancelling
        ends the measuring.
    """

    async def work() -> RelayInfo | None:
        chosen = list(DEFAULT_RELAYS if relays is None else relays)
        await measure(the_world(world), chosen)
        return best_relay(chosen)

    return Deferred.fromCoroutine(work())
