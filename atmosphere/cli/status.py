# -*- test-case-name: tests.cli.test_reading -*-
"""
C{atmosphere status}: who this node is and how it fares.
"""

from __future__ import annotations

from typing import Any

from .options import Number, Settings, command, option, pass_settings
from .sources import elapsed, pause

__all__ = ["status"]

EXAMPLES = """
atmosphere status
atmosphere status --wait 30 --json
"""

POLL_INTERVAL = 0.2


def _is_ready(answer: dict[str, Any]) -> bool:
    """
    Say whether the node is up and a relay, if it has any, has welcomed it.
    """
    relay = answer.get("relay")
    return relay is None or bool(relay.get("ok"))


def _wait(settings: Settings, seconds: float) -> dict[str, Any]:
    """
    Ask until the node is ready.

    @raise AtmosphereError: it was not within so many seconds; the exit code
        is 3.
    """
    from atmosphere.errors import NotRunningError, RelayError

    from .client import LocalClient
    from .output import shown

    client = LocalClient(settings.state)
    deadline = elapsed() + seconds
    while True:
        left = deadline - elapsed()
        try:
            answer = client.get("/v1/status", timeout=max(left, 1.0))
            if _is_ready(answer):
                return answer
        except NotRunningError:
            if left <= 0:
                raise
        else:
            if left <= 0:
                relay = answer["relay"]
                reason = relay.get("error") or "no answer yet"
                raise RelayError(
                    f"the relay {shown(relay.get('url'))} has not welcomed this node within"
                    f" {seconds:g} s: {shown(reason)}"
                )
        pause(min(POLL_INTERVAL, max(left, 0.0)))


@command("status", examples=EXAMPLES, short_help="Say who this node is and how it fares.")
@option(
    "--wait",
    type=Number(0, 86_400),
    metavar="SECONDS",
    help="Return when the node answers and its relay has welcomed it; exit 3 after SECONDS.",
)
@pass_settings
def status(settings: Settings, wait: float | None) -> None:
    """
    Say who this node is, where it listens, and what it is connected to.
    """
    from .client import LocalClient
    from .output import print_json

    if wait is None:
        answer = LocalClient(settings.state).get("/v1/status")
    else:
        answer = _wait(settings, wait)
    if settings.is_json:
        print_json(answer)
        return
    for line in describe(answer):
        print(line)


def describe(answer: dict[str, Any]) -> list[str]:
    """
    Tell a status to people.
    """
    from .output import shown

    lines = [f"node       {shown(answer.get('name'))}  {shown(answer.get('node_id'))}"]
    if answer.get("mesh_id") is None:
        lines.append(
            "mesh       none: `atmosphere invite` founds one, `atmosphere join -` joins one"
        )
    else:
        lines.append(f"mesh       {shown(answer.get('mesh_name'))}  {shown(answer['mesh_id'])}")
    listening = answer.get("listening") or []
    lines.append(f"listening  {', '.join(map(shown, listening)) or '-'}")
    relay = answer.get("relay")
    relays = answer.get("relays") or ([] if relay is None else [relay])
    for each in relays:
        state = "connected" if each.get("ok") else "not connected"
        reason = "" if each.get("ok") or not each.get("error") else f": {shown(each['error'])}"
        lines.append(f"relay      {shown(each.get('url'))}  {state}{reason}")
    if not relays:
        lines.append("relay      none")
    peers = answer.get("peers") or {}
    lines.append(f"peers      {peers.get('connected', 0)} of {peers.get('known', 0)} connected")
    guessing = answer.get("port_guessing") or {}
    if guessing.get("bursts"):
        lines.append(
            f"guessing   {guessing.get('hits', 0)} of {guessing['bursts']} tries to guess the port"
            f" of a NAT; {guessing.get('sockets_opened', 0)} sockets opened,"
            f" {guessing.get('probes_sent', 0)} probes sent"
        )
    lines.extend(f"warning    {shown(text, 1000)}" for text in answer.get("warnings") or [])
    return lines
