# -*- test-case-name: tests.node.test_port_watch -*-
"""
Whether our NAT takes another port for each destination, as far as one STUN server
with two ports can tell.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import CannotListenError
from twisted.python.failure import Failure

from atmosphere.addresses import TransportAddress
from atmosphere.errors import DecodeError, TransactionRefusedError, TransactionTimeoutError
from atmosphere.network.stun.attributes import OTHER_ADDRESS, PADDING
from atmosphere.network.stun.client import StunClient
from atmosphere.network.stun.probe import PADDED, other_socket

__all__ = ["takes_another_port"]

ATTEMPTS = 3


def takes_another_port(
    reactor: Any,
    server: TransportAddress,
    *,
    interface: str,
    entropy: Callable[[int], bytes],
) -> Deferred[bool | None]:
    """
    Ask a server from which port it sees us, by its two ports.

    It is asked from a UDP port of its own: from the node's, the second port of the
    server would be one that we sent to, and could not show any more whether strangers
    are let in.

    @param reactor: provides UDP and time.
    @param interface: the address to ask from.
    @return: whether the two see different ports; C{None} if the server has no second
        port at its address, or does not answer there.
    """
    client = StunClient(reactor, entropy)
    try:
        listening = reactor.listenUDP(0, client, interface, 8192)
    except CannotListenError:
        return succeed(None)

    def over(result: bool | Failure | None) -> bool | Failure | None:
        listening.stopListening()  # which takes a turn of the reactor, and cannot fail
        return result

    return Deferred.fromCoroutine(_compare(client, server)).addBoth(over)


async def _compare(client: StunClient, server: TransportAddress) -> bool | None:
    """
    Ask both ports of a server.
    """
    try:
        padding = (PADDING, bytes(PADDED - 24))  # the answer may not be longer
        first = await client.request(server, attempts=ATTEMPTS, attributes=(padding,))
        announced = first.message.get(OTHER_ADDRESS)
        other = None if announced is None else other_socket(server, announced)
        if first.mapped is None or other is None or other.host != server.host:
            return None
        second = await client.request(other, attempts=ATTEMPTS)
    except (TransactionTimeoutError, TransactionRefusedError, DecodeError):
        return None
    return None if second.mapped is None else second.mapped.port != first.mapped.port
