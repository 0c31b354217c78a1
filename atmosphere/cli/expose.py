# -*- test-case-name: tests.cli.test_forwarding -*-
"""
C{atmosphere expose}: let members reach a server on this machine.
"""

from __future__ import annotations

import click

from .options import Settings, command, option, pass_settings

__all__ = ["expose"]

EXAMPLES = """
atmosphere expose ssh 22 --to seattle
atmosphere expose www tcp:192.168.1.4:80 --to seattle tacoma --keep
atmosphere expose app unix:/run/app.sock --to seattle
atmosphere expose ssh --remove
"""


@command("expose", examples=EXAMPLES, short_help="Let members reach a server on this machine.")
@click.argument("service")
@click.argument("target", required=False)
@click.argument("more", nargs=-1, metavar="")
@option(
    "--to",
    multiple=True,
    metavar="NAME...",
    help="The members that may reach it, by names or node IDs.",
)
@option("--keep", is_flag=True, help="Also after the node's next start.")
@option("--remove", is_flag=True, help="Let nobody reach it any more.")
@pass_settings
def expose(
    settings: Settings,
    service: str,
    target: str | None,
    more: tuple[str, ...],
    to: tuple[str, ...],
    keep: bool,
    remove: bool,
) -> None:
    """
    Let the members given by --to, and nobody else, reach the server TARGET
    under the name SERVICE: a port of this machine, or any Twisted client
    endpoint string.

    It lasts while the node runs. Said again, it replaces what was said before;
    connections that are open stay.
    """
    from .client import LocalClient
    from .output import note, print_json, shown

    client = LocalClient(settings.state)
    if remove:
        if target is not None or to or keep:
            raise click.UsageError("--remove takes the name of the service only.")
        answer = client.post("/v1/services/unexpose", {"service": service})
        if settings.is_json:
            print_json(answer)
        else:
            print(f"{shown(answer.get('service'))} is open to nobody any more")
        return
    if target is None:
        raise click.UsageError("Missing argument 'TARGET': a port, or tcp:127.0.0.1:22.")
    if not to:
        raise click.UsageError("Say who may reach it: --to NAME.")
    names = [*to, *more]  # what follows --to NAME looks like arguments
    arguments = {"service": service, "target": target, "to": names, "keep": keep}
    answer = client.post("/v1/services/expose", arguments)
    if settings.is_json:
        print_json(answer)
        return
    for name in answer.get("unknown") or []:
        note(f"warning: nobody in this mesh is called {shown(name)} now")
    who = ", ".join(shown(name) for name in answer.get("to") or [])
    length = "also after the next start" if answer.get("keep") else "while this node runs"
    print(f"{shown(service)} ({shown(answer.get('target'))}) is open to {who}, {length}")
