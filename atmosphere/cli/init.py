# -*- test-case-name: tests.cli.test_app -*-
"""
C{atmosphere init}: make a node.
"""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import click

from .options import Settings, command, option, pass_settings

if TYPE_CHECKING:
    from atmosphere.node.config import NodeConfig
    from atmosphere.node.store import NodeStore

__all__ = ["absolute_file", "host_name", "init", "make_node"]

EXAMPLES = """
atmosphere init --name portland --relay ws://relay.example.org:8080
atmosphere init
"""


def host_name() -> str:
    """
    Make a node's name of this machine's.
    """
    from atmosphere.text import tidy_name

    return tidy_name(socket.gethostname().split(".")[0])


def make_node(settings: Settings, config: NodeConfig) -> NodeStore:
    """
    Make a node in the state directory, and say what is worth saying.

    @return: its open store.
    """
    from atmosphere.node.store import NodeStore

    from .output import note
    from .sources import entropy, wall

    store = NodeStore.create(settings.state, config, wall=wall, entropy=entropy)
    for notice in store.notices:
        note(f"atmosphere: {notice}")
    return store


@command("init", examples=EXAMPLES, short_help="Make a node on this machine.")
@click.argument("name", required=False, metavar="[NAME]")
@option(
    "--name",
    "-n",
    "named",
    metavar="NAME",
    envvar=["ATMOSPHERE_NAME", "ATMOSPHERE_NODE_NAME"],
    help="The node's name.  [default: the host's]",
)
@option(
    "--relay",
    "relays",
    multiple=True,
    metavar="URL",
    envvar=["ATMOSPHERE_RELAY", "ATMOSPHERE_RELAY_URL"],
    help="A relay to use, ws://HOST:PORT or wss://HOST; repeatable.",
)
@option("--relay-ca", metavar="FILE", help="Certificates to verify wss:// relays with.")
@option("--stun", multiple=True, metavar="HOST:PORT", help="A STUN server to ask; repeatable.")
@option("--udp-port", type=int, metavar="PORT", help="The UDP port.  [default: 7777 or any free]")
@option(
    "--advertise",
    aliases=["--public-ip"],
    multiple=True,
    metavar="IP[:PORT]",
    help="An address at which others reach this node, such as a forwarded port; repeatable."
    " Without PORT it is the node's own.",
)
@option("--no-public-stun", is_flag=True, help="Never ask public STUN servers.")
@pass_settings
def init(
    settings: Settings,
    name: str | None,
    named: str | None,
    relays: tuple[str, ...],
    relay_ca: str | None,
    stun: tuple[str, ...],
    udp_port: int | None,
    advertise: tuple[str, ...],
    no_public_stun: bool,
) -> None:
    """
    Make a node on this machine: its key and its settings, and no mesh yet.

    The key is this node's identity and stays in the state directory; the
    settings are in config.toml there, to be edited at will.
    """
    from atmosphere.errors import ConfigurationError
    from atmosphere.node.config import NodeConfig, check_name, with_options
    from atmosphere.node.program import program_for

    from .output import print_json

    if name is not None and named is not None and name != named:
        raise ConfigurationError("two names were given: say it once, as NAME or with --name")
    config = with_options(
        NodeConfig(check_name(named or name or host_name())),
        relays=relays,
        relay_ca=None if relay_ca is None else absolute_file(relay_ca),
        stun=stun,
        udp_port=udp_port,
        advertise=advertise,
        no_public_stun=no_public_stun,
    )
    with make_node(settings, config) as store:
        node_id = str(store.key.node_id)
        config = store.settings
    if settings.is_json:
        print_json({"node_id": node_id, "name": config.name, "state": str(settings.state)})
        return
    print(f"made the node {config.name} ({node_id}) in {settings.state}")
    print(f"start it with: {program_for(settings.state)} serve")


def absolute_file(file: str) -> str:
    """
    Name a file so that it is found whatever directory the node starts in.

    @raise ConfigurationError: it cannot be read.
    """
    from pathlib import Path

    from atmosphere.errors import ConfigurationError

    path = Path(file).expanduser().absolute()
    try:
        with path.open("rb"):
            return str(path)
    except OSError as error:
        raise ConfigurationError(
            f"the certificates in {path} cannot be read: {error.strerror}"
        ) from None
