"""
What stands between a node and the world: its interfaces, the candidates
that a peer may try (RFC 8445), and the punching of holes.

The original program's names are here too, and are looked up when asked for::

    traversal = NATTraversal(7777, on_message=lambda peer_id, data: print(peer_id, data))
    await traversal.start()
    attempt = await traversal.punch_hole("portland", "203.0.113.7", 7777)
    if attempt.is_direct:
        traversal.send_to_peer("portland", b"hello")
"""

from typing import TYPE_CHECKING

from atmosphere.lazy import lazy_names

__all__ = [
    "ConnectionAttempt",
    "ConnectionState",
    "NATTraversal",
    "P2PResult",
    "PeerConnection",
    "establish_p2p_connection",
    "punch_hole",
    "punched_connection",
]

if TYPE_CHECKING:
    from atmosphere.classic.connection import PeerConnection
    from atmosphere.classic.nat import (
        ConnectionAttempt,
        ConnectionState,
        NATTraversal,
        punch_hole,
        punched_connection,
    )
    from atmosphere.classic.p2p import P2PResult, establish_p2p_connection
else:
    __getattr__, __dir__ = lazy_names(
        __name__,
        {
            "atmosphere.classic.connection": ["PeerConnection"],
            "atmosphere.classic.nat": [
                "ConnectionAttempt",
                "ConnectionState",
                "NATTraversal",
                "punch_hole",
                "punched_connection",
            ],
            "atmosphere.classic.p2p": ["P2PResult", "establish_p2p_connection"],
        },
    )
