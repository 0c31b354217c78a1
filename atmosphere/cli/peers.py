# -*- test-case-name: tests.cli.test_reading -*-
"""
C{atmosphere peers}: the other members.
"""

from __future__ import annotations

from .options import Settings, command, pass_settings

__all__ = ["peers"]

EXAMPLES = """
atmosphere peers
atmosphere peers --json
"""


@command("peers", examples=EXAMPLES, short_help="List the other members and how they are reached.")
@pass_settings
def peers(settings: Settings) -> None:
    """
    List the other members of the mesh.

    connected: there is a link; reachable: heard of lately; connecting: this node
    has just begun to look for it; away: not heard of for a while; gone: revoked,
    or not heard of for very long.
    """
    from .client import LocalClient
    from .output import describe_path, milliseconds, note, print_json, print_table, shown

    answer = LocalClient(settings.state).get("/v1/peers")
    if settings.is_json:
        print_json(answer)
        return
    rows = [
        [
            shown(peer.get("name")),
            shown(peer.get("node_id"))[:10],
            shown(peer.get("state")),
            describe_path(peer.get("path")),
            milliseconds((peer.get("path") or {}).get("rtt_ms")),
        ]
        for peer in answer.get("peers", [])
    ]
    if not rows:
        note("no other members yet: `atmosphere invite` lets one in")
        return
    print_table(["name", "node", "state", "path", "latency"], rows)
