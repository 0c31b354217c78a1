# -*- test-case-name: tests.cli.test_serving -*-
"""
C{atmosphere serve}: run this machine's node in the foreground.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import click
from typing_extensions import override

from .options import Command, Settings, command, option, pass_settings

if TYPE_CHECKING:
    from atmosphere.node.store import NodeStore

__all__ = ["first_lines", "network_options", "node_options", "open_store", "serve"]

EXAMPLES = """
atmosphere serve
atmosphere serve --relay ws://relay.example.org:8080 --udp-port 7777
atmosphere --state /var/lib/atmosphere serve --log-format json
"""

FunctionT = TypeVar("FunctionT", bound=Callable[..., Any])


def _given(
    function: FunctionT, decorators: Sequence[Callable[[FunctionT], FunctionT]]
) -> FunctionT:
    """
    Give a command options, in that order.
    """
    for each in reversed(decorators):
        function = each(function)
    return function


def network_options(function: FunctionT, *, host: Sequence[str] = ("--host",)) -> FunctionT:
    """
    Give a command those of the L{node_options} that say how the network is reached.

    @param host: the original's names for C{--interface}.
    """
    decorators = [
        option(
            "--relay",
            "relays",
            multiple=True,
            metavar="URL",
            help="A relay to use beside those in config.toml; repeatable.",
        ),
        option("--relay-ca", metavar="FILE", help="Certificates to verify wss:// relays with."),
        option(
            "--stun", multiple=True, metavar="HOST:PORT", help="A STUN server to ask; repeatable."
        ),
        option(
            "--udp-port",
            aliases=["--port", "-p"],
            type=int,
            metavar="PORT",
            envvar=["ATMOSPHERE_UDP_PORT", "ATMOSPHERE_PORT"],
            help="The UDP port to listen on.",
        ),
        option(
            "--interface",
            "interfaces",
            aliases=host,
            multiple=True,
            metavar="ADDRESS",
            envvar=["ATMOSPHERE_INTERFACE", "ATMOSPHERE_HOST"],
            help="An address to listen on; repeatable.  [default: 0.0.0.0 and ::]",
        ),
        option(
            "--advertise",
            aliases=["--public-ip"],
            multiple=True,
            metavar="IP[:PORT]",
            help="An address at which others reach this node; repeatable.",
        ),
        option("--no-public-stun", is_flag=True, help="Never ask public STUN servers."),
    ]
    return _given(function, decorators)


def node_options(function: FunctionT, *, host: Sequence[str] = ("--host",)) -> FunctionT:
    """
    Give a command the options that add to a node's settings for one run.

    @param host: the original's names for C{--interface}.
    """
    decorators = [
        option(
            "--allow-loopback",
            is_flag=True,
            help="Reach peers on this same machine by its loopback addresses.",
        ),
        option(
            "--paths",
            "path_policy",
            type=click.Choice(["auto", "relayed", "direct"]),
            help="Which paths to use.  [default: auto]",
        ),
    ]
    return network_options(_given(function, decorators), host=host)


def open_store(settings: Settings) -> NodeStore:
    """
    Open the state directory for the node that we are about to run; say what
    was found damaged.

    @raise ConfigurationError: no node was made there.
    """
    from atmosphere.errors import ConfigurationError
    from atmosphere.node.program import program_for
    from atmosphere.node.store import NodeStore

    from .output import note
    from .sources import wall

    if not NodeStore.exists(settings.state):
        program = program_for(settings.state)
        raise ConfigurationError(
            f"there is no node in {settings.state}: make one with `{program} init`"
        )
    store = NodeStore.open(settings.state, wall=wall)
    for notice in store.notices:
        note(f"atmosphere: {notice}")
    return store


def first_lines(status: dict[str, Any]) -> list[str]:
    """
    Say who the node is, where it listens, and how it fares with its relay.
    """
    from .output import shown

    name, node_id = shown(status.get("name")), shown(status.get("node_id"))
    listening = ", ".join(map(shown, status.get("listening") or [])) or "nothing"
    mesh = status.get("mesh_name")
    member = "in no mesh yet" if mesh is None else f"in the mesh {shown(mesh)}"
    lines = [f"node {name} ({node_id}), {member}, listens on UDP {listening}"]
    relay = status.get("relay")
    if relay is None:
        lines.append("no relay: peers elsewhere are reached directly or not at all")
    else:
        state = "connected" if relay.get("ok") else "connecting"
        lines.append(f"relay {shown(relay.get('url'))}: {state}")
    return lines


def allow_many_files(most: int = 16_384) -> None:
    """
    Let this process have as many descriptors as it may, one for each connection
    that it forwards.
    """
    import contextlib
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = most if hard == resource.RLIM_INFINITY else min(most, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with contextlib.suppress(OSError, ValueError):  # it runs with fewer, too
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


class _Serve(Command):
    """
    The command, of which C{-h} is the original's host to listen on; with
    nothing behind it, it asks for help as everywhere else.
    """

    @override
    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """
        Read the arguments.
        """
        if args[-1:] == ["-h"]:
            args = [*args[:-1], "--help"]
        return super().parse_args(ctx, args)


@command(
    "serve",
    examples=EXAMPLES,
    short_help="Run this machine's node.",
    cls=_Serve,
    context_settings={"help_option_names": ["--help"]},
)
@partial(node_options, host=("--host", "-h"))
@pass_settings
def serve(settings: Settings, /, **options: Any) -> int:
    """
    Run this machine's node in the foreground, until Ctrl-C or SIGTERM.

    Other commands talk to it through its state directory. `twistd atmosphere
    --node` does the same as a daemon.
    """
    allow_many_files()
    with open_store(settings) as store:
        from atmosphere.node.config import with_fallback, with_options

        config = with_fallback(with_options(store.settings, **options), os.environ)

        from atmosphere.node.service import NodeService

        from .output import print_json
        from .run import run, run_service, stay
        from .sources import entropy, random, wall

        async def work(reactor: Any) -> int | None:
            node = NodeService(
                reactor,
                store,
                config,
                entropy=entropy,
                wall=wall,
                random=random,
            )

            async def tell_and_stay() -> None:
                await node.when_started()
                status = node.status()
                if settings.is_json:
                    print_json(status, flush=True)
                else:
                    print("\n".join(first_lines(status)), flush=True)
                await stay()

            return await run_service(node, tell_and_stay)

        return run(work, settings)
