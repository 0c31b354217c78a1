# -*- test-case-name: tests.cli.test_forwarding -*-
"""
C{atmosphere forward}: reach a peer's service from a port of this machine, or
from standard input and output.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

import click

from atmosphere.errors import NotRunningError

from .options import Number, Settings, command, option, pass_settings
from .sources import pause

if TYPE_CHECKING:
    from .client import LocalClient

__all__ = ["forward"]

EXAMPLES = """
atmosphere forward 2222 portland:ssh
atmosphere forward unix:/tmp/www.sock portland:www
atmosphere forward 127.0.0.1:8080 portland:www --keep
atmosphere forward --remove 8080
ssh -o ProxyCommand='atmosphere forward --stdio portland:ssh' portland
"""

#: Seconds between attempts to find a node again that has gone.
RETRY_PAUSE = 1.0


@command("forward", examples=EXAMPLES, short_help="Reach a peer's service from this machine.")
@click.argument("words", nargs=-1, required=True, metavar="[LISTEN] PEER:SERVICE")
@option("--stdio", is_flag=True, help="Use standard input and output, as ssh's ProxyCommand does.")
@option("--keep", is_flag=True, help="Leave it to the node, also after its next start.")
@option("--remove", is_flag=True, help="End what was kept for LISTEN.")
@option(
    "--timeout",
    type=Number(0.01, 3600),
    default=30,
    show_default=True,
    metavar="SECONDS",
    help="With --stdio: how long to try.",
)
@option(
    "--path",
    type=click.Choice(["auto", "relayed", "direct"]),
    default="auto",
    show_default=True,
    help="With --stdio: by which paths.",
)
@pass_settings
def forward(
    settings: Settings,
    words: tuple[str, ...],
    stdio: bool,
    keep: bool,
    remove: bool,
    timeout: float,
    path: str,
) -> int | None:
    """
    Lead whoever connects to LISTEN to the service SERVICE of PEER, until Ctrl-C.

    LISTEN is a port of loopback, an address and a port, or unix: and a path.
    The peer decides whether we may. With --stdio there is no LISTEN: what comes
    on standard input goes to the service, and what it answers to standard output.
    """
    from .client import LocalClient
    from .output import print_json, shown

    if stdio + keep + remove > 1:
        raise click.UsageError("Only one of --stdio, --keep and --remove.")
    if path != "auto" and not stdio:
        raise click.UsageError("--path goes with --stdio.")
    if len(words) != (1 if stdio or remove else 2):
        wanted = "PEER:SERVICE" if stdio else "LISTEN" if remove else "LISTEN PEER:SERVICE"
        raise click.UsageError(f"The arguments are {wanted}.")
    if stdio:
        from .stdio import connect_stdio

        return connect_stdio(settings.state, *_peer_and_service(words[0]), timeout, path)
    client = LocalClient(settings.state)
    listen = _absolute(words[0])
    if remove:
        answer = client.post("/v1/services/unforward", {"listen": listen})
        if settings.is_json:
            print_json(answer)
        else:
            print(f"{shown(answer.get('listen'))} leads nowhere any more")
        return None
    peer, service = _peer_and_service(words[1])
    arguments = {"listen": listen, "peer": peer, "service": service, "keep": keep}
    if not keep:
        return _stay(client, settings, arguments)
    answer = client.post("/v1/services/forward", arguments)
    _show(answer, settings)
    return None


def _peer_and_service(text: str) -> tuple[str, str]:
    """
    Read C{PEER:SERVICE}.
    """
    peer, colon, service = text.partition(":")
    if not (peer and colon and service):
        raise click.UsageError(f"{text!r} is not PEER:SERVICE, such as portland:ssh.")
    return peer, service


def _absolute(listen: str) -> str:
    """
    Name a path in full: the node runs elsewhere.
    """
    if listen.startswith("unix:"):
        return "unix:" + os.path.abspath(os.path.expanduser(listen.removeprefix("unix:")))
    return listen


def _show(answer: dict[str, Any], settings: Settings) -> None:
    """
    Say where one can connect from now on.
    """
    from .output import print_json, shown

    if settings.is_json:
        print_json(answer, flush=True)
        return
    end = "also after the next start" if answer.get("keep") else "until Ctrl-C"
    there = f"{shown(answer.get('peer'))}:{shown(answer.get('service'))}"
    print(f"{shown(answer.get('listen'))} leads to {there}, {end}", flush=True)


def _stay(client: LocalClient, settings: Settings, arguments: dict[str, Any]) -> int:
    """
    Keep a forward for as long as this process lives, whatever becomes of the node.
    """
    from atmosphere.node.program import program_for

    from .client import NodeError

    has_begun = False
    while True:
        try:
            for line in client.stream("POST", "/v1/services/forward", arguments):
                if "listen" in line:
                    if not has_begun:
                        _show(line, settings)
                    has_begun = True
                    arguments = {**arguments, "listen": line["listen"]}
                elif line.get("problem") is not None:
                    _complain(str(line["problem"]))
        except (NotRunningError, NodeError) as error:
            if not has_begun or error.exit_code != NotRunningError.exit_code:
                raise
            if isinstance(error, NodeError):
                _complain(str(error))
                pause(RETRY_PAUSE)
                continue
            _complain(
                "the node is gone: waiting until it is back; start it with"
                f" `{program_for(settings.state)} serve`"
            )
            while not client.is_running():
                pause(RETRY_PAUSE)


def _complain(text: str) -> None:
    """
    Say on standard error what went wrong on the way.
    """
    from .output import shown

    print(f"atmosphere: {shown(text, 400)}", file=sys.stderr, flush=True)
