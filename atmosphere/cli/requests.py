# -*- test-case-name: tests.cli.test_requests -*-
"""
C{atmosphere requests}, C{approve} and C{deny}: who asks to be let in, and what
becomes of it.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import click

from .options import Settings, command, pass_settings

__all__ = ["approve", "deny", "requests"]

REQUESTS_EXAMPLES = """
atmosphere requests
atmosphere requests --json
"""

APPROVE_EXAMPLES = """
atmosphere approve seattle
atmosphere approve k3fq7x2ah5
"""

DENY_EXAMPLES = """
atmosphere deny seattle
"""

#: The characters of a node ID that stand for it among people.
SHORT = 10


def _moment(value: object) -> str:
    """
    Write a time for people, in their own zone.
    """
    if not isinstance(value, (int, float)):
        return "-"
    return datetime.fromtimestamp(value, UTC).astimezone().strftime("%Y-%m-%d %H:%M")


def _state(request: dict[str, Any]) -> str:
    """
    Say in a few words how a request stands.
    """
    from .output import shown

    state = shown(request.get("state"))
    is_there = request.get("is_waiting")
    return "waiting, gone for now" if state == "waiting" and not is_there else state


def _name(request: dict[str, Any]) -> str:
    """
    Show a name; one with spaces in quotation marks, so that it is no further columns.
    """
    from .output import shown

    name = shown(request.get("name"), 63)
    return f'"{name}"' if " " in name else name


@command("requests", examples=REQUESTS_EXAMPLES, short_help="List who asks to be let in.")
@pass_settings
def requests(settings: Settings) -> None:
    """
    List the machines that ask to join by a code from `invite --approve`.

    The name is what the machine calls itself: compare the node ID with the one
    that is shown there before you approve.
    """
    from .client import LocalClient
    from .output import note, print_json, print_table, shown

    answer = LocalClient(settings.state).get("/v1/requests")
    if settings.is_json:
        print_json(answer)
        return
    rows = [
        [
            shown(str(each.get("node_id"))[:SHORT]),
            _name(each),
            shown(each.get("address")),
            _moment(each.get("came")),
            _state(each),
            shown(each.get("node_id")),
        ]
        for each in answer.get("requests", [])
    ]
    if not rows:
        note("no requests")
        return
    print_table(["request", "name", "from", "came", "state", "node ID"], rows)


@command("approve", examples=APPROVE_EXAMPLES, short_help="Let one in that asks.")
@click.argument("request", metavar="NAME|ID")
@pass_settings
def approve(settings: Settings, request: str) -> None:
    """
    Let a machine in that asks: by the name that it wants, its node ID, or the
    beginning of that. See `atmosphere requests`.

    One that does not wait at present gets its certificate when it asks again,
    within a week.
    """
    from .client import LocalClient
    from .output import print_json, shown

    answer = LocalClient(settings.state).post("/v1/requests/approve", {"request": request})
    if settings.is_json:
        print_json(answer)
        return
    who = f"{shown(answer.get('name'), 63)} ({shown(answer.get('node_id'))})"
    if answer.get("admitted"):
        print(f"{who} is a member now")
    else:
        print(f"approved {who}; it becomes a member when it runs `atmosphere join` again")


@command("deny", examples=DENY_EXAMPLES, short_help="Let one not in that asks.")
@click.argument("request", metavar="NAME|ID")
@pass_settings
def deny(settings: Settings, request: str) -> None:
    """
    Let a machine not in that asks: by the name that it wants, its node ID, or
    the beginning of that. It is told so, and cannot ask again for a day.
    """
    from .client import LocalClient
    from .output import print_json, shown

    answer = LocalClient(settings.state).post("/v1/requests/deny", {"request": request})
    if settings.is_json:
        print_json(answer)
        return
    print(f"denied {shown(answer.get('name'), 63)} ({shown(answer.get('node_id'))})")
