# -*- test-case-name: tests.classic.test_p2p -*-
"""
A connection to a peer of which nothing is known but its address: direct if that
can be had, else by a relay.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from twisted.internet.defer import CancelledError, Deferred, DeferredList
from twisted.logger import Logger
from typing_extensions import override

from atmosphere.addresses import TransportAddress
from atmosphere.errors import (
    AtmosphereError,
    DecodeError,
    NoPathError,
    RelayError,
)
from atmosphere.network.relay.endpoint import RelayURL, parse_relay_url
from atmosphere.network.relay.limits import split_authority
from atmosphere.network.relay.rendezvous import GREETING, own_endpoints, session_of
from atmosphere.network.stun.discovery import mapped_refusal
from atmosphere.network.stun.public_endpoint import PublicEndpoint

from .connection import PeerConnection
from .nat import ConnectionAttempt, ConnectionState, punch
from .ports import Port, open_port, resolve
from .relay import STUN_PORT, RelayClient, default_relay_url
from .stun import get_local_ip, known_endpoints
from .world import World, the_world

__all__ = ["P2PResult", "RelayedConnection", "establish_p2p_connection"]

#: What the relay's STUN server is waited for: three requests within a second.
_STUN_RTO = 0.15

_log = Logger()


class P2PResult(tuple[bool, str | None]):
    """
    What C{establish_p2p_connection} has brought: whether there is a connection,
    and C{"direct"}, C{"relay"} or L{None}.

    @ivar connection: the connection, open; L{None} if there is none.
    @ivar attempt: how it came to be, or did not.
    """

    connection: PeerConnection | None
    attempt: ConnectionAttempt

    def __new__(cls, connection: PeerConnection | None, attempt: ConnectionAttempt) -> P2PResult:
        """
        Make it of what there is.
        """
        kind = None if connection is None else connection.kind
        made = super().__new__(cls, (connection is not None, kind))
        made.connection = connection
        made.attempt = attempt
        return made


class RelayedConnection(PeerConnection):
    """
    A session at a relay in which the other one has come.

    @ivar client: our place in it.
    """

    kind = "relay"

    def __init__(self, client: RelayClient) -> None:
        self.client = client

    @property
    @override
    def is_open(self) -> bool:
        return self.client.is_connected

    @override
    def send(self, data: bytes) -> Deferred[bool]:
        return self.client.send(data)

    @override
    def receive(self, timeout: float | None = None) -> Deferred[bytes | None]:
        return self.client.receive(timeout)

    @override
    def close(self) -> Deferred[None]:
        return self.client.disconnect()


def establish_p2p_connection(
    local_port: int,
    remote_endpoint: PublicEndpoint | str | tuple[str, int],
    relay_url: str | None = None,
    timeout: float = 10.0,
    *,
    world: World | None = None,
) -> Deferred[P2PResult]:
    """
    Connect to a peer that does the same towards us.

    First a hole is punched. If none comes to be in time, both meet at the
    relay, in a session that each computes from its own endpoint and the
    other's: so C{relay_url} has to be the same on both sides, and
    C{remote_endpoint} the one that the other side has told, whether by STUN
    (C{discover_public_ip(local_port)}), as its local address, or as seen by the
    STUN server beside the relay. The connection stays open::

        ok, kind = result = await establish_p2p_connection(7777, "203.0.113.7:7777", relay)
        if ok:
            await result.connection.send(b"hello")
            print(kind, await result.connection.receive())

    Nothing is encrypted, and whoever knows both endpoints can take part at
    the relay: use a mesh where that matters.

    @param local_port: our UDP port, 0 for any.
    @param remote_endpoint: the peer's, C{"IP:PORT"} or C{"NAME:PORT"} as a text.
    @param relay_url: the relay; if L{None}, C{ATMOSPHERE_RELAY_URL} or the first of
        C{DEFAULT_RELAYS}, if there is any.
    @param timeout: seconds for the hole, and as many again for the relay.
    @return: fires with C{(True, "direct")}, C{(True, "relay")} or C{(False, None)},
        and the connection as its attribute. Fails with C{DecodeError} or
        C{ConfigurationError} for what is no endpoint or URL, with C{ListenError} if
        the port is taken. Cancelling gives up.
    """
    return Deferred.fromCoroutine(
        _establish(the_world(world), local_port, remote_endpoint, relay_url, timeout)
    )


async def _read_endpoint(
    world: World, endpoint: PublicEndpoint | str | tuple[str, int]
) -> TransportAddress:
    """
    Find the transport address that is meant.

    @raise DecodeError: none is.
    """
    if isinstance(endpoint, PublicEndpoint):
        return endpoint.address
    if isinstance(endpoint, str):
        host, port = split_authority(endpoint)
        if port is None:
            raise DecodeError(f"{endpoint!r:.100} is not IP:PORT")
        return await resolve(world, host, port)
    return await resolve(world, endpoint[0], endpoint[1])


async def _establish(
    world: World,
    local_port: int,
    endpoint: PublicEndpoint | str | tuple[str, int],
    relay_url: str | None,
    timeout: float,
) -> P2PResult:
    """
    Do what L{establish_p2p_connection} says.
    """
    chosen = relay_url or default_relay_url(world)
    relay = None if chosen is None else parse_relay_url(chosen)
    remote = await _read_endpoint(world, endpoint)
    port = open_port(world, local_port, is_ipv6=remote.is_ipv6)
    asking = Deferred.fromCoroutine(_seen_by_relay(world, port, relay, is_ipv6=remote.is_ipv6))
    asking.addErrback(lambda failure: failure.trap(CancelledError) and None)
    attempt = ConnectionAttempt(
        str(remote),
        (get_local_ip(world=world), port.number),
        (remote.host, remote.port),
        ConnectionState.PUNCHING,
        world.wall(),
    )

    def result(connection: PeerConnection | None, state: ConnectionState) -> P2PResult:
        attempt.state = state
        if connection is not None:
            attempt.established_at = world.wall()
        return P2PResult(connection, attempt)

    try:
        try:
            connection = await punch(world, port.number, remote, timeout)
        except NoPathError as error:
            _log.info("{error}", error=error)
        else:
            return result(connection, ConnectionState.ESTABLISHED)
        if relay is None:
            return result(None, ConnectionState.FAILED)
        candidates = _candidates(world, local_port, port.number, await asking)
    finally:
        asking.cancel()
        await port.release()
    sessions = [session_of(own, remote) for own in own_endpoints(candidates, remote)]
    try:
        if not sessions:
            raise RelayError("no address of ours is one that the peer may know")
        client = await _meet(world, relay, sessions, timeout)
    except RelayError as error:
        _log.info("{error}", error=error)
        return result(None, ConnectionState.FAILED)
    attempt.relay_url = relay.text
    return result(RelayedConnection(client), ConnectionState.RELAY)


def _candidates(
    world: World, local_port: int, number: int, seen: TransportAddress | None
) -> list[TransportAddress]:
    """
    List as what the peer may know us, the likelier first.

    @param local_port: as the caller gave it.
    @param number: the port that is open.
    @param seen: as the STUN server beside the relay sees it.
    """
    found: list[TransportAddress] = []
    for each in dict.fromkeys((local_port, number)):
        found += [endpoint.address for endpoint in known_endpoints(each, world)]
    if seen is not None:
        found += [seen, TransportAddress(seen.host, number)]
    for text in (*world.routes().values(), "127.0.0.1", "::1", *world.addresses()):
        try:
            found.append(TransportAddress(text, number))
        except DecodeError:
            continue
    return found


async def _seen_by_relay(
    world: World, port: Port, relay: RelayURL | None, *, is_ipv6: bool
) -> TransportAddress | None:
    """
    Ask the STUN server beside a relay how it sees our port.

    @return: L{None} if there is none, or what it says makes no sense.
    """
    if relay is None:
        return None
    try:
        asked = await resolve(world, relay.host, STUN_PORT)
        if asked.is_ipv6 != is_ipv6:
            return None
        stun = port.protocol.stun
        response = await stun.request(asked, rto=_STUN_RTO, attempts=3, patience=3)
    except AtmosphereError as error:
        _log.debug("no STUN beside the relay: {error}", error=error)
        return None
    mapped = response.mapped
    return None if mapped is None or mapped_refusal(asked, mapped) is not None else mapped


async def _join(client: RelayClient, world: World, timeout: float) -> RelayClient:
    """
    Join a session, and wait until the other one is there.

    @raise RelayError: it does not come, or we are not let in.
    """
    deadline = world.reactor.seconds() + timeout
    if not await client.connect(timeout):
        raise RelayError(client.error or "no session")
    await client.send(GREETING)
    greeting = await client.receive(max(0.0, deadline - world.reactor.seconds()))
    if greeting != GREETING:
        raise RelayError(client.error or "nobody came, or somebody who did not greet")
    return client


async def _meet(
    world: World, relay: RelayURL, sessions: Sequence[str], timeout: float
) -> RelayClient:
    """
    Join sessions until the peer is in one; leave the others.

    @param sessions: one at least.
    @raise RelayError: it is in none.
    """
    clients = [RelayClient(relay.text, each, world=world) for each in sessions]
    joining = [Deferred.fromCoroutine(_join(each, world, timeout)) for each in clients]
    winner: RelayClient | None = None
    try:
        outcome: Any = await DeferredList(joining, fireOnOneCallback=True, consumeErrors=True)
        if isinstance(outcome, tuple):
            found: RelayClient = outcome[0]
            winner = found
            return found
        if any(failure.check(CancelledError) for _, failure in outcome):
            raise CancelledError()  # which a C{DeferredList} keeps to itself
        raise RelayError(outcome[0][1].getErrorMessage())
    finally:
        leaving = []
        for each, client in zip(joining, clients, strict=True):
            if client is not winner:
                each.cancel()
                leaving.append(client.disconnect())
        await DeferredList(leaving)
