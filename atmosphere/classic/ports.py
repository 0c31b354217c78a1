# -*- test-case-name: tests.classic.test_ports -*-
"""
The UDP ports that the original's names have open, each for as long as anybody uses it.

C{punch_hole(7777, …)}, C{NATTraversal(7777)} and C{discover_public_ip(7777)}
of one process all mean the same socket. So each is opened once, and closed
when the last user lets go.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred, maybeDeferred, succeed
from twisted.internet.error import CannotListenError

from atmosphere.addresses import TransportAddress
from atmosphere.errors import DecodeError, ListenError
from atmosphere.network.nat.hole_punch import HolePunch
from atmosphere.network.stun.service import resolver

from .world import World

__all__ = ["Port", "open_port", "resolve"]

_LONGEST_DATAGRAM = 65_536


class Port:
    """
    One UDP port that is open.

    @ivar protocol: what punches, asks STUN servers, sends and receives there.
    @ivar number: the port's number.
    """

    def __init__(self, world: World, wanted: int, *, is_ipv6: bool) -> None:
        """
        @raise ListenError: the port cannot be bound.
        """
        if not 0 <= wanted <= 65535:
            raise ListenError(f"UDP port {wanted} cannot be bound: there is none", port=wanted)
        self.protocol = HolePunch(world.reactor, world.entropy)
        self._users = 0
        self._open: dict[tuple[int, bool], Port] = world.session.setdefault("ports", {})
        interface = "::" if is_ipv6 else "0.0.0.0"
        try:
            self._listening: Any = world.reactor.listenUDP(
                wanted, self.protocol, interface, _LONGEST_DATAGRAM
            )
        except (CannotListenError, OSError) as error:
            text = f"UDP port {wanted} cannot be bound: {getattr(error, 'socketError', error)}"
            raise ListenError(text, port=wanted) from None
        self.number = int(self._listening.getHost().port)
        self._key = (self.number, is_ipv6)
        self._open[self._key] = self

    def use(self) -> Port:
        """
        Count one user more.
        """
        self._users += 1
        return self

    def release(self) -> Deferred[None]:
        """
        Count one user less, and close the port after the last.

        @return: fires when that is done; cannot be cancelled.
        """
        self._users -= 1
        if self._users > 0:
            return succeed(None)
        if self._open.get(self._key) is self:
            del self._open[self._key]
        return maybeDeferred(self._listening.stopListening).addCallback(lambda _: None)


def open_port(world: World, wanted: int, *, is_ipv6: bool = False) -> Port:
    """
    Open a port, or find the one that is open already.

    @param wanted: 0 opens any that is free.
    @return: with one user counted, who has to release it.
    @raise ListenError: it cannot be bound, or is taken by somebody else.
    """
    found: Port | None = world.session.get("ports", {}).get((wanted, is_ipv6)) if wanted else None
    return (found if found is not None else Port(world, wanted, is_ipv6=is_ipv6)).use()


async def resolve(world: World, host: str, port: int) -> TransportAddress:
    """
    Find the transport address of a host, IPv4 if it has such.

    @raise DecodeError: C{host} is neither an address nor a name that is known,
        or C{port} is none.
    """
    try:
        return TransportAddress(host, port)
    except DecodeError:
        if not 0 <= port <= 65535 or not host or not set(host) - set("0123456789.:"):
            raise
    try:
        found = await resolver(world.reactor)(host)
    except (OSError, LookupError) as error:
        raise DecodeError(f"{host!r:.80}: {error}") from None
    for each in sorted(found, key=lambda text: ":" in text):
        return TransportAddress(each, port)
    raise DecodeError(f"no address is known for {host!r:.80}")
