"""
STUN (RFC 8489): how others see our transport addresses.

The original program's names are here too, and are looked up when asked for::

    info = await gather_network_info(7777)
    print(info.best_endpoint, info.nat_type, info.is_publicly_reachable)
"""

from typing import TYPE_CHECKING

from atmosphere.lazy import lazy_names

__all__ = [
    "STUN_SERVERS",
    "NetworkInfo",
    "PublicEndpoint",
    "discover_public_ip",
    "forget_public_ip",
    "gather_network_info",
    "get_local_ip",
]

if TYPE_CHECKING:
    from atmosphere.classic.stun import (
        STUN_SERVERS,
        discover_public_ip,
        forget_public_ip,
        gather_network_info,
        get_local_ip,
    )
    from atmosphere.network.stun.public_endpoint import NetworkInfo, PublicEndpoint
else:
    __getattr__, __dir__ = lazy_names(
        __name__,
        {
            "atmosphere.classic.stun": [
                "STUN_SERVERS",
                "discover_public_ip",
                "forget_public_ip",
                "gather_network_info",
                "get_local_ip",
            ],
            "atmosphere.network.stun.public_endpoint": ["NetworkInfo", "PublicEndpoint"],
        },
    )
