"""
How two nodes reach each other.

The names of the program that atmosphere succeeds are handed out here. They
are looked up when they are asked for: importing this package loads nothing.
"""

from typing import TYPE_CHECKING

from atmosphere.lazy import lazy_names

__all__ = [
    "DEFAULT_RELAYS",
    "STUN_SERVERS",
    "ConnectionAttempt",
    "ConnectionState",
    "NATTraversal",
    "NetworkInfo",
    "PublicEndpoint",
    "RelayClient",
    "RelayInfo",
    "RelayServer",
    "RelaySession",
    "discover_public_ip",
    "establish_p2p_connection",
    "find_best_relay",
    "gather_network_info",
    "get_local_ip",
    "punch_hole",
    "start_relay_server",
]

if TYPE_CHECKING:
    from atmosphere.classic.nat import ConnectionAttempt, ConnectionState, NATTraversal, punch_hole
    from atmosphere.classic.p2p import establish_p2p_connection
    from atmosphere.classic.relay import (
        RelayClient,
        RelayServer,
        RelaySession,
        find_best_relay,
        start_relay_server,
    )
    from atmosphere.classic.stun import (
        STUN_SERVERS,
        discover_public_ip,
        gather_network_info,
        get_local_ip,
    )
    from atmosphere.network.relay.selection import DEFAULT_RELAYS, RelayInfo
    from atmosphere.network.stun.public_endpoint import NetworkInfo, PublicEndpoint
else:
    __getattr__, __dir__ = lazy_names(
        __name__,
        {
            "atmosphere.classic.nat": [
                "ConnectionAttempt",
                "ConnectionState",
                "NATTraversal",
                "punch_hole",
            ],
            "atmosphere.classic.p2p": ["establish_p2p_connection"],
            "atmosphere.classic.relay": [
                "RelayClient",
                "RelayServer",
                "RelaySession",
                "find_best_relay",
                "start_relay_server",
            ],
            "atmosphere.classic.stun": [
                "STUN_SERVERS",
                "discover_public_ip",
                "gather_network_info",
                "get_local_ip",
            ],
            "atmosphere.network.relay.selection": ["DEFAULT_RELAYS", "RelayInfo"],
            "atmosphere.network.stun.public_endpoint": ["NetworkInfo", "PublicEndpoint"],
        },
    )
