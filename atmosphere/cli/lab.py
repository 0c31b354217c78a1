# -*- test-case-name: tests.lab.test_command -*-
"""
C{atmosphere lab}: real NATs and real nodes on this machine, without a network.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click
from typing_extensions import override

from .lab_faults import faults
from .lab_matrix import matrix
from .lab_programs import internal
from .lab_workshop import (
    Tell,
    conditions_of,
    lab_options,
    status_of,
    summary,
    try_pair,
    workshop,
)
from .options import CommandGroup, Settings, command, common_options, option, pass_settings

__all__ = ["lab"]

EXAMPLES = """
atmosphere lab list
sudo atmosphere lab "symmetric x cgnat"
sudo atmosphere lab "same-cgnat x same-cgnat" --why --timeout 15
sudo atmosphere lab matrix --runs 5
sudo atmosphere lab faults --fault relay --size 10MB
"""


class _Lab(CommandGroup):
    """
    A group in which whatever is no command is a pair of homes.
    """

    @override
    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """
        Find the command, which may go without saying.
        """
        name = click.utils.make_str(args[0])
        found = self.get_command(ctx, name)
        if found is not None:
            return name, found, args[1:]
        return "pair", pair, args


@click.group(
    "lab",
    cls=_Lab,
    examples=EXAMPLES,
    short_help="Try real NATs on this machine.",
    subcommand_metavar="PAIR | COMMAND [OPTIONS]",
)
@common_options()
def lab() -> None:
    """
    Try how two homes behind real NATs find each other. A PAIR such as `symmetric x
    cgnat` builds both homes, and servers between them, of network namespaces on
    this machine, which nothing connects to the outside; measures that the homes
    are what they are called; and runs a relay and two nodes in it. It tells what
    happened when, and leaves nothing behind.

    Needs root, Linux with nftables, iproute2 and TUN. The delay of the uplinks is
    made by a program of ours.
    """


@command("list", examples="atmosphere lab list", short_help="List the kinds of homes.")
@pass_settings
def list_kinds(settings: Settings) -> int:
    """
    List the kinds of homes, and say whether they can be built here.
    """
    from atmosphere.lab import Kind, missing

    from .output import print_json, print_table

    lacking = missing()
    if settings.is_json:
        kinds = [{"name": kind.value, "words": kind.words} for kind in Kind]
        print_json({"kinds": kinds, "missing": lacking})
        return 0
    print_table(["kind", "what it is"], [[kind.value, kind.words] for kind in Kind])
    if lacking is not None:
        print(f"\nnot on this machine now: {lacking}")
    return 0


@command(
    "pair",
    examples="""
    sudo atmosphere lab "symmetric x cgnat"
    sudo atmosphere lab "same-lan x same-lan" --json
    """,
    short_help="Try one pair; the word itself may be left out.",
)
@click.argument("pair", nargs=-1, required=True)
@lab_options
@option("--why", "has_why", is_flag=True, help="Also what `atmosphere why portland` then says.")
@pass_settings
def pair(
    settings: Settings,
    /,
    pair: Sequence[str],
    runs: int,
    timeout: float,
    has_why: bool,
    **options: Any,
) -> int:
    """
    Try one PAIR: portland is in the first home, seattle in the second, and seattle
    looks for portland.

    Exit code: 0 connected, and directly if these NATs let it; 1 relayed where they
    would let it be direct; 3 not connected.
    """
    from atmosphere.lab import parse_pair

    from .output import print_json

    kinds = parse_pair(" ".join(pair))
    conditions = conditions_of(**options)
    tell = _teller(settings)
    with workshop() as (folder, times):
        outcome = try_pair(kinds, conditions, runs, timeout, folder, times, tell)
    if settings.is_json:
        print_json(outcome.as_json() | {"delay_ms": options["delay"]})
    else:
        tell("done", f"{summary(outcome)}; everything is stopped, nothing is left behind")
        if has_why and outcome.runs[-1].why is not None:
            from .why import describe

            print("\n".join(["", *describe(outcome.runs[-1].why)]))
    return status_of(outcome)


for each in (list_kinds, pair, matrix, faults, internal):
    lab.add_command(each)


def _teller(settings: Settings) -> Tell:
    """
    Make what tells a line, with the seconds since now.
    """
    from .sources import elapsed

    begun = elapsed()

    def tell(subject: str, text: str) -> None:
        if not settings.is_json:
            when = f"{elapsed() - begun:6.2f} s" if subject else ""
            print(f"{when:8}  {subject:<9} {text}", flush=True)

    return tell
