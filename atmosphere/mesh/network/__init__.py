"""
The names of L{atmosphere.network}, where programs of old may look for them.

They are looked up when they are asked for: importing this package loads nothing.
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
    from atmosphere.network import (
        DEFAULT_RELAYS,
        STUN_SERVERS,
        ConnectionAttempt,
        ConnectionState,
        NATTraversal,
        NetworkInfo,
        PublicEndpoint,
        RelayClient,
        RelayInfo,
        RelayServer,
        RelaySession,
        discover_public_ip,
        establish_p2p_connection,
        find_best_relay,
        gather_network_info,
        get_local_ip,
        punch_hole,
        start_relay_server,
    )
else:
    __getattr__, __dir__ = lazy_names(__name__, {"atmosphere.network": __all__})
