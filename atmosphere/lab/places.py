# -*- test-case-name: tests.lab.test_internet -*-
"""
Which addresses there are in a laboratory.

They look like those of the Internet, since some software refuses what is reserved for
documentation, and so would we.
"""

from __future__ import annotations

from atmosphere.addresses import TransportAddress

__all__ = [
    "CARRIER",
    "HOST",
    "HOST_IPV6",
    "LAN",
    "PREFIX_IPV6",
    "PUBLIC",
    "RELAY",
    "ROUTER",
    "SERVERS",
    "SERVERS_IPV6",
    "STUN",
    "STUN_IPV6",
    "TCP_PORTS",
]

#: Where the relay is. The server that measures homes has other addresses, two in each
#: family: only so can a NAT that lets in by address be told from one that lets in all.
RELAY = "45.77.0.1"
SERVERS = ("45.77.0.2", "45.77.0.3")
SERVERS_IPV6 = ("2a10:77:ffff::2", "2a10:77:ffff::3")
STUN = TransportAddress(SERVERS[0], 3478)
STUN_IPV6 = TransportAddress(SERVERS_IPV6[0], 3478)

#: The TCP ports of the first of them that homes try to reach.
TCP_PORTS = (443, 8080)

#: With the number of a home, from 1: its public address, its end of the carrier's
#: network, and its prefix.
PUBLIC = "45.77.{}.2"
CARRIER = "100.64.{}"
PREFIX_IPV6 = "2a10:77:{}:"

#: The same in every home, as in real ones; the last number is that of the machine.
LAN = "192.168.1"
ROUTER = f"{LAN}.1"
HOST = f"{LAN}.{{}}"
HOST_IPV6 = f"{PREFIX_IPV6}:{{}}"
