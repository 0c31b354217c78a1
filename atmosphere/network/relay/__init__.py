"""
Relays: the way to a peer that is always open.

C{service} is a relay, C{client} keeps a node connected to one; what they say
to each other is in C{docs/protocols/relay.md}. The files C{server},
C{connection}, C{port}, C{service} and C{client}, C{pair_client}, C{dial},
C{endpoint}, and C{streams} beneath both, know Twisted; all others are bytes
and rules. This face imports nothing, so that these can be used without
loading those.

The original program's names are here too, and are looked up when asked for::

    server = await start_relay_server(port=8080)
    client = RelayClient("ws://localhost:8080", session_id="tea-time")
    if await client.connect():
        await client.send(b"hello")
"""

from typing import TYPE_CHECKING

from atmosphere.lazy import lazy_names

__all__ = [
    "DEFAULT_RELAYS",
    "RelayClient",
    "RelayInfo",
    "RelayServer",
    "RelaySession",
    "find_best_relay",
    "start_relay_server",
]

if TYPE_CHECKING:
    from atmosphere.classic.relay import (
        RelayClient,
        RelayServer,
        RelaySession,
        find_best_relay,
        start_relay_server,
    )
    from atmosphere.network.relay.selection import DEFAULT_RELAYS, RelayInfo
else:
    __getattr__, __dir__ = lazy_names(
        __name__,
        {
            "atmosphere.classic.relay": [
                "RelayClient",
                "RelayServer",
                "RelaySession",
                "find_best_relay",
                "start_relay_server",
            ],
            "atmosphere.network.relay.selection": ["DEFAULT_RELAYS", "RelayInfo"],
        },
    )
