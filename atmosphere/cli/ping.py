# -*- test-case-name: tests.cli.test_reading -*-
"""
C{atmosphere ping}: measure the way to a peer, and see it become direct.
"""

from __future__ import annotations

from typing import Any

import click

from .options import Count, Number, Settings, command, option, pass_settings

__all__ = ["ping"]

EXAMPLES = """
atmosphere ping portland
atmosphere ping --until-direct --timeout 20 portland
atmosphere ping --path relayed portland
atmosphere ping -c 3 -i 0.2 --json portland
"""


@command("ping", examples=EXAMPLES, short_help="Measure the way to a peer.")
@click.argument("peer")
@option(
    "--count",
    "-c",
    type=Count(0, 1_000_000),
    metavar="N",
    help="Pings to send; 0 is until Ctrl-C.  [default: 5; with --until-direct no limit]",
)
@option(
    "--interval",
    "-i",
    type=Number(0.01, 3600),
    default=1.0,
    show_default=True,
    metavar="SECONDS",
    help="Time between pings.",
)
@option(
    "--timeout",
    type=Number(0.01, 3600),
    default=10.0,
    show_default=True,
    metavar="SECONDS",
    help="Time to wait for a reply; with --until-direct and no -c, for the whole.",
)
@option(
    "--path",
    type=click.Choice(["auto", "relayed", "direct"]),
    default="auto",
    show_default=True,
    help="Ping by such a path alone, beside what else goes to the peer.",
)
@option("--until-direct", is_flag=True, help="Stop at the first reply that was not relayed.")
@pass_settings
def ping(
    settings: Settings,
    peer: str,
    count: int | None,
    interval: float,
    timeout: float,
    path: str,
    until_direct: bool,
) -> int:
    """
    Measure the way to PEER: a name, a node ID or the beginning of one.

    Exit code: 0 a reply came; 3 none came. With --until-direct: 0 a reply
    came by a path that is not relayed; 1 only relayed ones; 3 none.
    """
    from atmosphere.errors import NotRunningError

    from .client import LocalClient
    from .output import print_json

    if until_direct and path == "relayed":
        raise click.UsageError("--until-direct waits for what --path relayed rules out.")
    arguments = {
        "peer": peer,
        "count": (0 if until_direct else 5) if count is None else count,
        "interval": interval,
        "timeout": timeout,
        "until_direct": until_direct,
        "path": path,
    }
    summary: dict[str, Any] = {}
    silence = timeout * 2 + interval + 30
    client = LocalClient(settings.state)
    replies: list[dict[str, Any]] = []
    try:
        for line in client.stream("POST", "/v1/ping", arguments, timeout=silence):
            summary = line
            if "seq" in line:
                replies.append(line)
                if not settings.is_json:
                    print(describe_reply(peer, line), flush=True)
    except (KeyboardInterrupt, NotRunningError):
        if replies and not settings.is_json:
            print(describe_summary(summary_until_now(replies)))
        raise
    if settings.is_json:
        summary.pop("version", None)
        print_json(summary)
    else:
        print(describe_summary(summary))
    return exit_code(summary, until_direct=until_direct)


def describe_reply(peer: str, reply: dict[str, Any]) -> str:
    """
    Tell one reply to people.
    """
    from .output import describe_path, milliseconds, shown

    way, time = describe_path(reply.get("path")), milliseconds(reply.get("rtt_ms"))
    return f"pong from {shown(peer)} {way} in {time}"


def summary_until_now(replies: list[dict[str, Any]]) -> dict[str, Any]:
    """
    Sum up a run that was interrupted, or whose node went away, as far as its replies
    tell; a ping that was sent after the last of them is not counted.
    """
    from statistics import median

    times = [reply["rtt_ms"] for reply in replies]
    return {
        "sent": replies[-1]["seq"] + 1,
        "received": len(replies),
        "rtt_ms": {"min": min(times), "median": median(times), "max": max(times)},
    }


def describe_summary(summary: dict[str, Any]) -> str:
    """
    Tell the summary to people, in one line.
    """
    from .output import milliseconds

    text = f"{summary.get('sent', 0)} sent, {summary.get('received', 0)} received"
    times = summary.get("rtt_ms")
    if isinstance(times, dict) and times.get("median") is not None:
        low, middle, high = (milliseconds(times.get(name)) for name in ("min", "median", "max"))
        text += f", min {low}, median {middle}, max {high}"
    if summary.get("received") and "direct_ms" in summary:
        direct = summary["direct_ms"]
        text += "; relayed" if direct is None else f"; direct after {milliseconds(direct)}"
    return text


def exit_code(summary: dict[str, Any], *, until_direct: bool) -> int:
    """
    Choose the status to end with.
    """
    if not summary.get("received"):
        return 3
    replies = summary.get("replies") or []
    is_direct = any((reply.get("path") or {}).get("kind") != "relayed" for reply in replies)
    return 1 if until_direct and not is_direct else 0
