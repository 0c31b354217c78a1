# -*- test-case-name: tests.cli.test_reading -*-
"""
C{atmosphere network}: what this machine's network is like.
"""

from __future__ import annotations

from typing import Any

from .options import Settings, command, pass_settings
from .serve import node_options

__all__ = ["describe", "network"]

EXAMPLES = """
atmosphere network
atmosphere network --stun stun.example.org:3478 --json
"""


def _ask_here(settings: Settings, options: dict[str, Any]) -> Any:
    """
    Make the report in this process, since no node runs.

    @return: the report; an C{int} is the status of a failure.
    """
    from atmosphere.identity import NodeKey
    from atmosphere.network.relay.frames import HelloCredentials
    from atmosphere.node.config import DEFAULT_UDP_PORT, NodeConfig, with_options
    from atmosphere.node.report import gather_alone
    from atmosphere.node.store import NodeStore

    from .init import host_name
    from .run import run
    from .sources import entropy, random, wall

    config, key = NodeConfig(host_name()), NodeKey(entropy(32))
    credentials = HelloCredentials()
    port = None
    if NodeStore.exists(settings.state):
        with NodeStore.peek(settings.state, wall=wall) as store:
            config, key, port = store.settings, store.key, store.udp_port
            if store.mesh is not None:
                credentials = HelloCredentials(store.mesh.mesh_id, store.mesh.chain)
    config = with_options(config, **options)
    answers: list[dict[str, Any]] = []

    async def work(reactor: Any) -> None:
        answers.append(
            await gather_alone(
                reactor,
                config,
                key=key,
                credentials=credentials,
                port=config.udp_port or port or DEFAULT_UDP_PORT,
                entropy=entropy,
                wall=wall,
                random=random,
            )
        )

    status = run(work, settings, quieter=2)
    return answers[0] if answers else status or 1


@command("network", examples=EXAMPLES, short_help="Say what this machine's network is like.")
@node_options
@pass_settings
def network(settings: Settings, /, **options: Any) -> int:
    """
    Say what this machine's network is like: its addresses, its NAT, and the
    relays and how far they are. No running node is needed.

    On a node with neither relays nor STUN servers this asks public STUN
    servers, unless --no-public-stun is given. The options are for a report
    without a running node; a running one has its own.
    """
    from atmosphere.errors import NotRunningError

    from .client import LocalClient
    from .output import print_json

    try:
        answer: Any = LocalClient(settings.state).get("/v1/network")
    except NotRunningError:
        answer = _ask_here(settings, options)
    if isinstance(answer, int):
        return answer
    if settings.is_json:
        print_json(answer)
    else:
        for line in describe(answer):
            print(line)
    return 0


def _yes(value: object) -> str:
    """
    Write a truth value for people; C{None} was not measured.
    """
    return "not measured" if value is None else "yes" if value else "no"


def _socket(address: dict[str, Any]) -> str:
    """
    Write an IP address and a port.
    """
    from .output import shown

    ip, port = shown(address.get("ip")), address.get("port")
    if port is None:
        return ip
    return f"[{ip}]:{port}" if ":" in ip else f"{ip}:{port}"


def describe(answer: dict[str, Any]) -> list[str]:
    """
    Tell a report to people.
    """
    from .output import milliseconds, shown

    lines = [f"local       {_socket(answer.get('local') or {})}"]
    for each in answer.get("public") or []:
        lines.append(f"public      {_socket(each)}  ({shown(each.get('source'))})")
    if not answer.get("public"):
        lines.append("public      unknown")
    lines.append(f"behind NAT  {_yes(answer.get('behind_nat'))}")
    if answer.get("mapping"):
        lines.append(f"mapping     {shown(answer['mapping'])}")
    if answer.get("filtering"):
        lines.append(f"filtering   {shown(answer['filtering'])}")
    lines.append(f"reachable   {_yes(answer.get('reachable'))}")
    lines.append(f"UDP         {_yes(answer.get('udp'))}")
    lines.append(f"IPv6        {_yes(answer.get('ipv6'))}")
    for relay in answer.get("relays") or []:
        state = milliseconds(relay.get("rtt_ms")) if relay.get("ok") else "not connected"
        reason = "" if relay.get("ok") or not relay.get("error") else f": {shown(relay['error'])}"
        lines.append(f"relay       {shown(relay.get('url'))}  {state}{reason}")
    lines.extend(f"note        {shown(text, 300)}" for text in answer.get("notes") or [])
    return lines
