# -*- test-case-name: tests.classic.test_nat -*-
"""
Hole punching under the original's names.

How holes are punched is in L{atmosphere.network.nat.punching}.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from inspect import iscoroutine

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from atmosphere.addresses import TransportAddress
from atmosphere.errors import DecodeError, ListenError, NoPathError
from atmosphere.network.nat.punching import Established

from .connection import DirectConnection, PeerConnection, Told
from .ports import Port, open_port, resolve
from .stun import get_local_ip
from .world import World, the_world

__all__ = [
    "ConnectionAttempt",
    "ConnectionState",
    "NATTraversal",
    "held_connection",
    "punch",
    "punch_hole",
    "punched_connection",
]

_log = Logger()


class ConnectionState(Enum):
    """
    How far a connection to a peer is.
    """

    INIT = "init"
    PUNCHING = "punching"
    ESTABLISHED = "established"
    FAILED = "failed"
    RELAY = "relay"


@dataclass
class ConnectionAttempt:
    """
    A try to reach a peer, and what became of it.

    @ivar peer_id: as the caller names the peer.
    @ivar local_endpoint: our address and port.
    @ivar remote_endpoint: the peer's.
    @ivar state: L{ConnectionState.ESTABLISHED} when a hole is there,
        L{ConnectionState.RELAY} when a relay serves instead.
    @ivar started_at: POSIX time.
    @ivar established_at: POSIX time; L{None} as long as nothing is established.
    @ivar relay_url: the relay that serves, if one does.
    """

    peer_id: str
    local_endpoint: tuple[str, int]
    remote_endpoint: tuple[str, int]
    state: ConnectionState
    started_at: float
    established_at: float | None = None
    relay_url: str | None = None

    @property
    def duration(self) -> float | None:
        """
        How many seconds it took; L{None} as long as nothing is established.
        """
        return None if self.established_at is None else self.established_at - self.started_at

    @property
    def is_direct(self) -> bool:
        """
        Whether a hole is there.
        """
        return self.state is ConnectionState.ESTABLISHED and self.relay_url is None


@dataclass
class _Held:
    """
    A connection that L{punch_hole} made and keeps open.
    """

    local_port: int
    host: str
    connection: DirectConnection


def _held(world: World) -> list[_Held]:
    """
    List the connections that are kept open, those that have ended left out.
    """
    held: list[_Held] = world.session.setdefault("held", [])
    held[:] = [each for each in held if each.connection.is_open]
    return held


class NATTraversal:
    """
    Punches holes from one UDP port, and exchanges datagrams through them.

    Both sides call L{punch_hole} towards each other's public endpoint, within
    each other's C{timeout}::

        traversal = NATTraversal(7777, on_message=print)
        if await traversal.start():
            attempt = await traversal.punch_hole("portland", "203.0.113.7", 7777)
            if attempt.is_direct:
                traversal.send_to_peer("portland", b"hello")

    @ivar local_port: the port; once started, its number even if 0 was given.
    @ivar on_message: called with the peer's ID and the datagram; may be a
        coroutine function that awaits Deferreds.
    @ivar attempts: the last attempt for each peer's ID.
    """

    def __init__(
        self,
        local_port: int,
        on_message: Callable[[str, bytes], object] | None = None,
        *,
        world: World | None = None,
    ) -> None:
        self.local_port = local_port
        self.on_message = on_message
        self.attempts: dict[str, ConnectionAttempt] = {}
        self._given_world = world
        self._ports: dict[bool, Port] = {}
        self._remotes: dict[str, TransportAddress] = {}

    @property
    def _world(self) -> World:
        """
        The world that this happens in.
        """
        return the_world(self._given_world)

    def start(self) -> Deferred[bool]:
        """
        Open the port. A hole that C{punch_hole} made from it is found again by
        punching to the same peer.

        @return: fires with whether that went.
        """
        try:
            self._port(is_ipv6=False)
        except ListenError as error:
            _log.warn("{error}", error=error)
            return Told(False)
        return Told(True)

    def _port(self, *, is_ipv6: bool) -> Port:
        """
        Find the port for an address family, or open it.

        @raise ListenError: it cannot be bound.
        """
        port = self._ports.get(is_ipv6)
        if port is None:
            try:
                port = open_port(self._world, self.local_port, is_ipv6=is_ipv6)
            except ListenError:
                if not self._ports:
                    raise
                port = open_port(self._world, 0, is_ipv6=is_ipv6)
            if not self._ports:
                self.local_port = port.number
            self._ports[is_ipv6] = port
        return port

    def stop(self) -> Deferred[None]:
        """
        Close all holes and the port.

        @return: fires when that is done; cannot be cancelled.
        """
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        """
        Do what L{stop} says.
        """
        for peer_id, attempt in list(self.attempts.items()):
            self._forget(peer_id)
            attempt.state = ConnectionState.FAILED
        ports, self._ports = self._ports, {}
        for port in ports.values():
            await port.release()

    def punch_hole(
        self, peer_id: str, remote_host: str, remote_port: int, timeout: float = 10.0
    ) -> Deferred[ConnectionAttempt]:
        """
        Punch a hole to a peer.

        @param peer_id: what to call the peer from now on.
        @param remote_host: its public address, or a name for it.
        @param timeout: seconds for which the peer may be waited for.
        @return: fires with the attempt, established or failed; the latter too
            if we are not started or the address is none. Cancelling gives up.
        """
        return Deferred.fromCoroutine(self._punch(peer_id, remote_host, remote_port, timeout))

    async def _punch(
        self, peer_id: str, remote_host: str, remote_port: int, timeout: float
    ) -> ConnectionAttempt:
        """
        Do what L{punch_hole} says.
        """
        world = self._world
        attempt = self.attempts[peer_id] = ConnectionAttempt(
            peer_id,
            (get_local_ip(world=world), self.local_port),
            (remote_host, remote_port),
            ConnectionState.INIT,
            world.wall(),
        )
        try:
            remote = await self._find(attempt)
            await self._begin(attempt, remote, timeout)
        except (DecodeError, ListenError, NoPathError) as error:
            _log.info("no way to {peer}: {error}", peer=peer_id, error=error)
            attempt.state = ConnectionState.FAILED
        except BaseException:
            attempt.state = ConnectionState.FAILED
            raise
        else:
            attempt.state = ConnectionState.ESTABLISHED
            attempt.established_at = world.wall()
        return attempt

    async def _find(self, attempt: ConnectionAttempt) -> TransportAddress:
        """
        Find out where a peer is now. If that is elsewhere than before, or
        nowhere, the hole to where it was is given up.

        @raise DecodeError: that is no address.
        @raise NoPathError: meanwhile another attempt was begun.
        """
        peer_id, remote = attempt.peer_id, None
        try:
            remote = await resolve(self._world, *attempt.remote_endpoint)
        finally:
            if self.attempts.get(peer_id) is attempt and self._remotes.get(peer_id) != remote:
                self._forget(peer_id)
        if self.attempts.get(peer_id) is not attempt:
            raise NoPathError("another attempt was begun")
        attempt.remote_endpoint = (remote.host, remote.port)
        self._remotes[peer_id] = remote
        return remote

    def _begin(
        self, attempt: ConnectionAttempt, remote: TransportAddress, timeout: float
    ) -> Deferred[Established]:
        """
        Punch, and take what comes from the peer.

        @raise ListenError: its address family has no port.
        @raise NoPathError: we are not started.
        """
        if not self._ports:
            raise NoPathError("the traversal is not started")
        port = self._port(is_ipv6=remote.is_ipv6)

        def deliver(data: bytes | None) -> None:
            if data is None:
                attempt.state = ConnectionState.FAILED
            elif self.on_message is not None:
                result = self.on_message(attempt.peer_id, data)
                if iscoroutine(result):
                    running = Deferred.fromCoroutine(result)
                    running.addErrback(lambda failure: _log.failure("on_message failed", failure))

        attempt.state = ConnectionState.PUNCHING
        held = held_connection(self._world, port, remote)
        punching = port.protocol.punch(remote, deliver, timeout)
        if held is not None:
            for data in held.hand_over():
                deliver(data)
        return punching

    def _forget(self, peer_id: str) -> None:
        """
        Give up the hole to a peer, if there is one.
        """
        remote = self._remotes.pop(peer_id, None)
        port = None if remote is None else self._ports.get(remote.is_ipv6)
        if remote is not None and port is not None:
            port.protocol.forget(remote)

    def mark_established(self, peer_id: str) -> None:
        """
        Say that a hole is there, because the caller knows better: for instance
        from something that the peer answered by another way. Whoever is not
        being punched is left alone.
        """
        attempt = self.attempts.get(peer_id)
        if attempt is not None and attempt.state is ConnectionState.PUNCHING:
            remote = self._remotes[peer_id]
            self._ports[remote.is_ipv6].protocol.establish(remote)

    def send_to_peer(self, peer_id: str, data: bytes) -> Told:
        """
        Send a datagram to a peer; like any, it may be lost.

        @param data: up to 65,507 bytes, better no more than 1,200.
        @return: whether there is a hole to the peer. It can be awaited, and
            need not be.
        @raise ValueError: too long, or made to look like one of our checks.
        """
        attempt = self.attempts.get(peer_id)
        if attempt is None or not self._ports or not attempt.is_direct:
            return Told(False)
        remote = self._remotes[peer_id]
        return Told(self._ports[remote.is_ipv6].protocol.send(remote, data))


async def punch(
    world: World, local_port: int, remote: TransportAddress, timeout: float
) -> DirectConnection:
    """
    Punch a hole, and give the connection that it makes.

    @raise NoPathError: none could be made.
    @raise ListenError: the port cannot be bound.
    """
    port = open_port(world, local_port, is_ipv6=remote.is_ipv6)
    connection = held_connection(world, port, remote)
    if connection is not None:
        await port.release()
        return connection
    connection = DirectConnection(world, port, remote)
    try:
        await port.protocol.punch(remote, connection.deliver, timeout)
    except BaseException:
        await port.release()
        raise
    return connection


def held_connection(world: World, port: Port, remote: TransportAddress) -> DirectConnection | None:
    """
    Find the connection that L{punch_hole} has made from a port to a peer, if it
    is still open.
    """
    for each in _held(world):
        if each.connection.port is port and each.connection.remote == remote:
            return each.connection
    return None


def punch_hole(
    local_port: int,
    remote_host: str,
    remote_port: int,
    timeout: float = 10.0,
    *,
    world: World | None = None,
) -> Deferred[bool]:
    """
    Punch a hole to a peer, which does the same towards us.

    The socket stays open, and the hole with it: L{punched_connection} hands it
    out, and so does L{NATTraversal} on the same C{local_port}. It is kept until
    somebody closes it there, or the peer answers no more::

        if await punch_hole(7777, "203.0.113.7", 7777):
            connection = punched_connection(7777, "203.0.113.7", 7777)
            await connection.send(b"hello")
            print(await connection.receive())

    @param local_port: our UDP port, 0 for any.
    @param remote_host: the peer's public address, or a name for it.
    @param timeout: seconds for which the peer may be waited for.
    @return: fires with whether a hole is there. Cancelling gives up.
    """

    async def work() -> bool:
        here = the_world(world)
        try:
            remote = await resolve(here, remote_host, remote_port)
            connection = await punch(here, local_port, remote, timeout)
        except (DecodeError, ListenError, NoPathError) as error:
            _log.info("no hole: {error}", error=error)
            return False
        held = _held(here)
        if not any(each.connection is connection for each in held):
            held.append(_Held(local_port, remote_host, connection))
        return True

    return Deferred.fromCoroutine(work())


def punched_connection(
    local_port: int, remote_host: str, remote_port: int, *, world: World | None = None
) -> PeerConnection | None:
    """
    Give the connection that L{punch_hole} has made.

    @param local_port: as it was given there, or the port's number.
    @param remote_host: as it was given there, or the peer's address.
    @return: L{None} if there is none, or it has ended.
    """
    for each in _held(the_world(world)):
        connection = each.connection
        if (
            local_port in (each.local_port, connection.port.number)
            and remote_host in (each.host, connection.remote.host)
            and remote_port == connection.remote.port
        ):
            return connection
    return None
