# -*- test-case-name: tests.node.test_port_watch -*-
"""
Whether our NAT takes another port for each destination, as far as one STUN server
with two ports can tell.
"""

from __future__ import annotations

from atmosphere.addresses import TransportAddress
from atmosphere.errors import DecodeError, TransactionRefusedError, TransactionTimeoutError
from atmosphere.network.stun.attributes import OTHER_ADDRESS, PADDING
from atmosphere.network.stun.client import StunClient
from atmosphere.network.stun.probe import PADDED, other_socket

__all__ = ["takes_another_port"]

ATTEMPTS = 3


async def takes_another_port(client: StunClient, server: TransportAddress) -> bool | None:
    """
    Ask a server from which port it sees us, by its two ports.

    @param client: on the port that this is about.
    @return: whether the two see different ports; C{None} if the server has no second
        port at its address, or does not answer there.
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
