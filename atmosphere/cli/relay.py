# -*- test-case-name: tests.cli.test_serving -*-
"""
C{atmosphere relay}: run a relay in the foreground.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from .options import Settings, command, option, pass_settings

if TYPE_CHECKING:
    from atmosphere.network.relay.service import RelayService

__all__ = ["relay", "relay_options"]

EXAMPLES = """
atmosphere relay --port 8080
atmosphere relay --port 443 --cert fullchain.pem --key privkey.pem --name relay.example.org
atmosphere relay --host 127.0.0.1 --port 8080 --stun-port 0 --open
"""

FunctionT = TypeVar("FunctionT", bound=Callable[..., Any])


def relay_options(function: FunctionT) -> FunctionT:
    """
    Give a command the options of a relay.
    """
    decorators = [
        option("--host", metavar="ADDRESS", help="The address to listen on.  [default: 0.0.0.0]"),
        option("--port", type=int, metavar="PORT", help="The TCP port.  [default: 8080]"),
        option(
            "--stun-port",
            type=int,
            metavar="PORT",
            help="The UDP port for STUN; 0 is off.  [default: 3478]",
        ),
        option(
            "--second-stun-port",
            type=int,
            metavar="PORT",
            help="The UDP port to dial nodes back from; 0 is off.  [default: the next one]",
        ),
        option(
            "--stun-address",
            "stun_addresses",
            multiple=True,
            metavar="ADDRESS",
            help="An address to answer STUN on, if not --host; given twice, with two public"
            " addresses of this machine, nodes learn all about their NATs.",
        ),
        option(
            "--mesh",
            "meshes",
            multiple=True,
            metavar="ID",
            help="Serve the members of this mesh; repeatable.",
        ),
        option("--open", "is_open", is_flag=True, help="Serve anyone, at a limited rate."),
        option("--cert", metavar="FILE", help="A certificate and its chain, for wss://."),
        option("--key", metavar="FILE", help="The certificate's private key."),
        option(
            "--name",
            "names",
            multiple=True,
            metavar="HOST[:PORT]",
            envvar="ATMOSPHERE_RELAY_NAME",
            help="A name by which nodes dial this relay; repeatable.",
        ),
        option(
            "--trusted-proxy",
            "trusted_proxies",
            multiple=True,
            metavar="ADDRESS",
            help="A proxy, or network of proxies, whose X-Forwarded-For is believed; repeatable.",
        ),
        option(
            "--rate",
            type=float,
            metavar="BYTES",
            help="Bytes a second for each client, members too.  [default: no limit for members]",
        ),
        option(
            "--limit",
            "limits",
            multiple=True,
            metavar="NAME=NUMBER",
            help="Another limit, such as connections=1000; repeatable. A wrong name lists them.",
        ),
    ]
    for each in reversed(decorators):
        function = each(function)
    return function


def facts(service: RelayService) -> dict[str, Any]:
    """
    Say what a relay has bound.
    """
    from atmosphere.node.relaying import url_of

    return {
        "host": service.config.host,
        "port": service.port,
        "stun_port": service.stun_port or None,
        "second_stun_port": service.second_stun_port or None,
        "stun_addresses": list(service.stun_addresses),
        "url": url_of(service),
        "warnings": service.warnings(),
    }


@command("relay", examples=EXAMPLES, short_help="Run a relay.")
@relay_options
@pass_settings
def relay(settings: Settings, /, **options: Any) -> int:
    """
    Run a relay in the foreground, until Ctrl-C or SIGTERM.

    A relay sees who talks to whom and how much, and never what. Without
    --mesh or --open it serves anyone at a limited rate, and warns. `twistd
    atmosphere --relay` does the same as a daemon.
    """
    from atmosphere.node.relay_options import relay_config

    config = relay_config(**options)

    from atmosphere.node.relaying import describe, make_relay

    from .output import print_json
    from .run import run, run_service, stay
    from .sources import entropy, wall

    async def work(reactor: Any) -> int | None:
        service = make_relay(reactor, config, entropy=entropy, wall=wall)

        def bound() -> None:
            if settings.is_json:
                print_json(facts(service), flush=True)
            else:
                print(describe(service), flush=True)

        return await run_service(service, stay, bound)

    return run(work, settings)
