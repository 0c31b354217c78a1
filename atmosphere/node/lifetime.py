# -*- test-case-name: tests.node.test_lifetime -*-
"""
For how long the router before us remembers a port: measured for a report, which
takes minutes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from atmosphere.network.stun.behavior import BindingLifetime
from atmosphere.network.stun.discovery import Server
from atmosphere.network.stun.lifetime import Waited
from atmosphere.network.stun.lifetime_client import measure_lifetime

from .advice import lifetime_words
from .api import JSON
from .measuring import resolve_servers

__all__ = ["gather_lifetime", "servers_of"]

#: So many servers are tried, each for five seconds, until one can help.
MOST_SERVERS = 4


def servers_of(report: JSON) -> list[Server]:
    """
    Find the servers that answered for a report: first those with a second socket.
    """
    answered = [each for each in report["servers"] if each.get("public") is not None]
    answered.sort(key=lambda each: each.get("second_socket") is None)
    return [Server.from_text(each["server"]) for each in answered]


async def gather_lifetime(
    reactor: Any,
    report: JSON,
    *,
    entropy: Callable[[int], bytes],
    interfaces: Iterable[str] = ("0.0.0.0", "::"),
    on_progress: Callable[[Waited], None],
) -> JSON:
    """
    Measure with a server that answered for a report.

    It is done from ports of our own, so it does not matter whether a node runs.

    @param report: what C{atmosphere network} says.
    @param interfaces: the addresses to listen on, one for each family.
    @param on_progress: called with each time that was tried.
    @return: C{server}, C{at_least_s}, C{less_than_s}, C{error}, C{words}, each
        perhaps C{None}; see C{docs/cli.md}.
    """
    if report["behind_nat"] is False and report["reachable"]:
        return _as_json(None, None, "nothing before this machine keeps strangers out", None)
    names, _ = await resolve_servers(reactor, servers_of(report))
    bound = {":" in each: each for each in interfaces}
    hosts: set[str] = set()
    error = "no STUN server answered"
    for address in sorted(names, key=lambda each: each.is_ipv6):
        if address.is_ipv6 not in bound or address.host in hosts or len(hosts) == MOST_SERVERS:
            continue
        hosts.add(address.host)
        found = await measure_lifetime(
            reactor,
            address,
            entropy=entropy,
            interface=bound[address.is_ipv6],
            on_progress=on_progress,
        )
        if found.error is None:
            return _as_json(names[address], found, None, report["behind_nat"])
        error = f"STUN server {names[address]}: {found.error}"
    return _as_json(None, None, error, None)


def _as_json(
    server: Server | None,
    found: BindingLifetime | None,
    error: str | None,
    is_behind_nat: bool | None,
) -> JSON:
    """
    Give what a report shows.
    """
    at_least = None if found is None else found.at_least
    less_than = None if found is None else found.less_than
    words = None
    if found is not None:
        words = lifetime_words(at_least, less_than, is_behind_nat=is_behind_nat)
    return {
        "server": None if server is None else str(server),
        "at_least_s": at_least,
        "less_than_s": less_than,
        "error": error,
        "words": words,
    }
