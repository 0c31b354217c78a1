# -*- test-case-name: tests.cli.test_joining -*-
"""
C{atmosphere invite}: let another machine in.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import click

from .options import (
    CommandGroup,
    Count,
    Number,
    Settings,
    command,
    common_options,
    option,
    pass_settings,
)
from .sources import wall

__all__ = ["describe", "invite", "make_invitation"]

EXAMPLES = """
atmosphere invite
atmosphere invite --hours 1 --uses 3
atmosphere invite | ssh seattle atmosphere join -
atmosphere invite --approve
"""


def make_invitation(
    settings: Settings, hours: float, uses: int, mesh_name: str | None, *, approve: bool = False
) -> None:
    """
    Ask the node for a join code and print it.
    """
    from .client import LocalClient
    from .output import note, print_json

    client = LocalClient(settings.state)
    arguments = {"hours": hours, "uses": uses, "mesh_name": mesh_name, "approve": approve}
    answer = client.post("/v1/invite", arguments, timeout=60)
    if settings.is_json:
        print_json(answer)
        return
    for line in describe(answer):
        note(line)
    print(answer["code"])


def _until(moment: object) -> str:
    """
    Write a time for people, in their own zone.
    """
    if not isinstance(moment, (int, float)):
        return "-"
    return datetime.fromtimestamp(moment, UTC).astimezone().strftime("%Y-%m-%d %H:%M %Z")


def describe(answer: dict[str, Any]) -> list[str]:
    """
    Say what goes with a join code; the code itself is printed apart.
    """
    from .output import shown

    lines = []
    name = shown(answer.get("mesh_name"))
    if answer.get("founded"):
        lines.append(
            f"founded the mesh {name}. Only this machine can admit others: keep a copy of that"
            " right, with `atmosphere mesh backup FILE`."
        )
    lines.extend(f"warning: {shown(text, 1000)}" for text in answer.get("warnings") or [])
    if answer.get("needs_approval"):
        lines.append(
            f"with this code a machine on the local network asks to be let into {name}, until"
            f" {_until(answer.get('expires_at'))}; then run `atmosphere requests` here, and"
            " `atmosphere approve`. There, run this and paste the code:"
        )
        return [*lines, "", "    atmosphere join -", ""]
    uses = answer.get("uses", 1)
    how_often = "once" if uses == 1 else f"{uses} times"
    lines.append(
        f"this code lets a machine into {name}, {how_often}, until"
        f" {_until(answer.get('expires_at'))}. There, run this and paste the code:"
    )
    lines.extend(["", "    atmosphere join -", ""])
    if answer.get("needs_answer"):
        lines[-1:] = [
            "",
            "this node has no relay: if the other machine does not come in at once, it prints an"
            " answer; run `atmosphere join --answer -` here then and paste that. The code:",
        ]
    return lines


@click.group(
    "invite",
    cls=CommandGroup,
    examples=EXAMPLES,
    invoke_without_command=True,
    short_help="Let another machine in: print a join code.",
)
@option(
    "--hours",
    type=Number(0, 168, min_open=True),
    default=24,
    show_default=True,
    metavar="HOURS",
    help="How long the code is good.",
)
@option(
    "--uses",
    type=Count(1, 1_000),
    default=1,
    show_default=True,
    metavar="N",
    help="How many machines may use it.",
)
@option(
    "--mesh-name",
    metavar="NAME",
    help="What to call a mesh that is founded now.  [default: home]",
)
@option(
    "--approve",
    is_flag=True,
    help="A code without a secret, for the local network: you approve who uses it.",
)
@common_options()
@pass_settings
@click.pass_context
def invite(
    context: click.Context,
    settings: Settings,
    hours: float,
    uses: int,
    mesh_name: str | None,
    approve: bool,
) -> None:
    """
    Print a join code, and the command to run on the other machine.

    The first invitation founds a mesh. The code goes to standard output, all
    else to standard error. Whoever has the code can join: keep it to yourself.

    A code made with --approve is no secret. Who uses it has to be on the local
    network, and waits until you approve: see `atmosphere requests`.
    """
    if approve and uses != 1:
        raise click.UsageError("Only one of --approve and --uses: you decide who uses such a code.")
    if context.invoked_subcommand is None:
        make_invitation(settings, hours, uses, mesh_name, approve=approve)


@command("list", examples="atmosphere invite list", short_help="List the invitations.")
@pass_settings
def list_invitations(settings: Settings) -> None:
    """
    List the invitations that this node gave. Secrets are not shown.
    """
    from .client import LocalClient
    from .output import note, print_json, print_table, shown

    answer = LocalClient(settings.state).get("/v1/invitations")
    if settings.is_json:
        print_json(answer)
        return
    rows = [
        [
            shown(each.get("invite_id")),
            state_of(each, wall()),
            f"{len(each.get('redeemed_by') or [])} of {each.get('uses')}",
            _until(each.get("expires_at")),
        ]
        for each in answer.get("invitations", [])
    ]
    if not rows:
        note("no invitations")
        return
    print_table(["invitation", "state", "used", "expires"], rows)


def state_of(invitation: dict[str, Any], now: float) -> str:
    """
    Say in a word whether an invitation is still good.
    """
    if invitation.get("revoked"):
        return "revoked"
    if len(invitation.get("redeemed_by") or []) >= invitation.get("uses", 1):
        return "used"
    return "expired" if invitation.get("expires_at", 0) <= now else "open"


@command(
    "revoke", examples="atmosphere invite revoke 7f3a", short_help="Make an invitation worthless."
)
@click.argument("invitation", metavar="ID")
@pass_settings
def revoke(settings: Settings, invitation: str) -> None:
    """
    Make the invitation ID, or the one that begins so, worthless from now on.

    Who joined by it stays a member.
    """
    from .client import LocalClient
    from .output import print_json, shown

    client = LocalClient(settings.state)
    answer = client.post("/v1/invitations/revoke", {"invite_id": invitation})
    if settings.is_json:
        print_json(answer)
        return
    print(f"revoked {shown(answer.get('invite_id'))}")


invite.add_command(list_invitations)
invite.add_command(revoke)
