# -*- test-case-name: tests.cli.test_reading -*-
"""
C{atmosphere network}: what this machine's network is like.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import click

from .options import Settings, command, option, pass_settings
from .serve import network_options

__all__ = ["describe", "network"]

EXAMPLES = """
atmosphere network
atmosphere network --stun stun.example.org:3478 --json
atmosphere network --lifetime
"""


def _here(
    settings: Settings, options: dict[str, Any]
) -> tuple[Callable[[Any], Awaitable[Any]], tuple[str, ...]]:
    """
    Make what reports in this process, where no node runs.

    @return: what takes the reactor, and gives the report; and the addresses to listen on.
    """
    import os
    from dataclasses import replace

    from atmosphere.identity import NodeKey
    from atmosphere.network.relay.frames import HelloCredentials
    from atmosphere.node.config import DEFAULT_UDP_PORT, NodeConfig, with_fallback, with_options
    from atmosphere.node.report import gather_alone
    from atmosphere.node.store import NodeStore

    from .init import host_name
    from .sources import entropy, random, wall

    config, key = NodeConfig(host_name()), NodeKey(entropy(32))
    credentials = HelloCredentials()
    port = None
    mesh_relays: tuple[str, ...] = ()
    if NodeStore.exists(settings.state):
        with NodeStore.peek(settings.state, wall=wall) as store:
            config, key, port = store.settings, store.key, store.udp_port
            if store.mesh is not None:
                credentials = HelloCredentials(store.mesh.mesh_id, store.mesh.chain)
                mesh_relays = store.mesh.relays
    config = with_fallback(with_options(config, **options), os.environ)
    config = replace(config, relays=tuple(config.relays_beside(mesh_relays)))

    def ask(reactor: Any) -> Awaitable[Any]:
        return gather_alone(
            reactor,
            config,
            key=key,
            credentials=credentials,
            port=config.udp_port or port or DEFAULT_UDP_PORT,
            entropy=entropy,
            wall=wall,
            random=random,
        )

    return ask, config.interfaces


async def _with_lifetime(
    reactor: Any, report: dict[str, Any], interfaces: tuple[str, ...]
) -> dict[str, Any]:
    """
    Measure how long the router remembers a port, and tell how far that is.

    @param interfaces: the addresses to listen on, one for each family.
    """
    from atmosphere.node.lifetime import gather_lifetime

    from .output import note
    from .sources import entropy

    def progress(waited: Any) -> None:
        state = "still remembered" if waited.is_known else "forgotten"
        note(f"after {waited.seconds:g} s of silence a port is {state}")

    note("measuring how long a silent port is remembered: up to 5 minutes, Ctrl-C ends it")
    found = await gather_lifetime(
        reactor, report, entropy=entropy, interfaces=interfaces, on_progress=progress
    )
    return {**report, "binding_lifetime": found}


@command("network", examples=EXAMPLES, short_help="Say what this machine's network is like.")
@network_options
@option(
    "--lifetime",
    "wants_lifetime",
    is_flag=True,
    help="Also measure how long the router remembers a silent port; takes up to 5 minutes.",
)
@pass_settings
def network(settings: Settings, /, *, wants_lifetime: bool, **options: Any) -> int:
    """
    Say what this machine's network is like: its addresses, its NAT, whether
    others reach it, the relays and how far they are, and what would help. No
    running node is needed; a running one reports by itself, about its own port,
    and takes only --stun of the options. --verbose shows what each server said.

    On a node with neither relays nor STUN servers this asks public STUN
    servers, unless --no-public-stun is given.
    """
    from atmosphere.errors import NotRunningError

    from .client import LocalClient

    answer: dict[str, Any] | None = None
    interfaces: tuple[str, ...] = ("0.0.0.0", "::")
    try:
        client = LocalClient(settings.state)
        stun = list(options["stun"])
        answer = client.post("/v1/network", {"stun": stun}) if stun else client.get("/v1/network")
        _say_unused(click.get_current_context())
    except NotRunningError:
        ask, interfaces = _here(settings, options)
    if answer is not None and not wants_lifetime:
        _tell(settings, answer)
        return 0

    from .run import run

    is_done = False

    async def work(reactor: Any) -> None:
        nonlocal is_done
        report = await ask(reactor) if answer is None else answer
        is_done = not wants_lifetime
        if is_done:
            _tell(settings, report)
            return
        if not settings.is_json:
            _tell(settings, report)
        report = await _with_lifetime(reactor, report, interfaces)
        if settings.is_json:
            _tell(settings, report)
        else:
            print(_row("lifetime", describe_lifetime(report["binding_lifetime"])))
        is_done = True

    return run(work, settings, quieter=2) or (0 if is_done else 1)


def _tell(settings: Settings, report: dict[str, Any]) -> None:
    """
    Print a report.
    """
    from .output import print_json

    if settings.is_json:
        print_json(report)
    else:
        print("\n".join(describe(report, is_verbose=settings.verbosity > 0)), flush=True)


def describe_lifetime(found: dict[str, Any]) -> str:
    """
    Tell people how long a silent port is remembered.
    """
    from .output import shown

    words, error = found.get("words"), found.get("error")
    return shown(words, 300) if words else f"not measured: {shown(error, 300)}"


def _say_unused(context: click.Context) -> None:
    """
    Name the options that were given and that a running node does not take.
    """
    from .output import note

    unused = [
        each.opts[0]
        for each in context.command.params
        if each.expose_value
        and each.name not in (None, "stun", "wants_lifetime")
        and context.get_parameter_source(each.name) is click.core.ParameterSource.COMMANDLINE
    ]
    if unused:
        note(
            f"the running node reports by itself and does not take {', '.join(unused)}:"
            " stop it first, or give `atmosphere serve` these options"
        )


def _yes(value: object) -> str:
    """
    Write a truth value for people; C{None} was not measured.
    """
    return "not measured" if value is None else "yes" if value else "no"


def _because(answer: dict[str, Any], name: str) -> str:
    """
    Write a truth value and why it is so.
    """
    from .output import shown

    value, because = answer.get(name), answer.get(f"{name}_because")
    known = "unknown" if value is None and because else _yes(value)
    return f"{known}: {shown(because, 300)}" if because else known


def _socket(address: dict[str, Any]) -> str:
    """
    Write an IP address and a port.
    """
    from .output import shown

    ip, port = shown(address.get("ip")), address.get("port")
    if port is None:
        return ip
    return f"[{ip}]:{port}" if ":" in ip else f"{ip}:{port}"


def _in_words(value: object, words: str | None) -> str:
    """
    Write a technical term and what it means.
    """
    from .output import shown

    return "not measured" if value is None else f"{shown(value)}: {words or '-'}"


def _clock(seconds: object) -> str:
    """
    Say how a clock differs from the relays'.
    """
    from atmosphere.node.advice import seconds_words

    if not isinstance(seconds, (int, float)):
        return "not measured"
    if abs(seconds) < 0.5:
        return "right, by the relay's"
    side = "behind" if seconds > 0 else "ahead of"
    return f"{seconds_words(seconds)} {side} the relay's"


def _server(each: dict[str, Any]) -> str:
    """
    Tell what one STUN server said.
    """
    from .output import milliseconds, shown

    said = each.get("public")
    text = shown(each.get("server"))
    if each.get("address") not in (None, each.get("server")):
        text += f" ({shown(each['address'])})"
    if said is None:
        return f"{text}  {shown(each.get('error'))}"
    rtt = milliseconds(each.get("rtt_ms"))
    parts = [text, rtt, f"sees {shown(said)}"]
    if each.get("second_socket") is not None:
        parts.append(f"dials back from {shown(each['second_socket'])}: {shown(each['dial_back'])}")
        if each.get("dial_back_from_other_address") not in (None, "not offered"):
            parts.append(f"from its other address: {shown(each['dial_back_from_other_address'])}")
    else:
        parts.append("cannot dial back")
    return "  ".join(parts)


def describe(answer: dict[str, Any], *, is_verbose: bool = False) -> list[str]:
    """
    Tell a report to people.

    @param is_verbose: also what each server said.
    """
    from atmosphere.node.advice import filtering_words, mapping_words

    from .output import milliseconds, shown

    rows = [("local", _socket(answer.get("local") or {}))]
    public = answer.get("public") or []
    rows += [("public", f"{_socket(each)}  ({shown(each.get('source'))})") for each in public]
    if not public:
        rows.append(("public", "unknown"))
    rows.append(("behind NAT", _yes(answer.get("behind_nat"))))
    if answer.get("behind_nat") is not False:
        mapping = answer.get("mapping")
        rows.append(("NAT", _in_words(mapping, mapping_words(mapping))))
    filtering = answer.get("filtering")
    rows.append(("filter", _in_words(filtering, filtering_words(filtering))))
    rows.append(("reachable", _because(answer, "reachable")))
    rows.append(("UDP", _yes(answer.get("udp"))))
    rows.append(("IPv6", _because(answer, "ipv6")))
    for relay in answer.get("relays") or []:
        state = milliseconds(relay.get("rtt_ms")) if relay.get("ok") else "not connected"
        reason = "" if relay.get("ok") or not relay.get("error") else f": {shown(relay['error'])}"
        rows.append(("relay", f"{shown(relay.get('url'))}  {state}{reason}"))
    if not answer.get("relays"):
        rows.append(("relay", "none"))
    rows.append(("clock", _clock(answer.get("clock_offset_s"))))
    if is_verbose:
        rows += [("server", _server(each)) for each in answer.get("servers") or []]
        for name, each in (answer.get("families") or {}).items():
            facts = (f"{key.replace('_', ' ')} {_term(value)}" for key, value in each.items())
            rows.append((shown(name), ", ".join(facts)))
    rows += [("note", shown(text, 300)) for text in answer.get("notes") or []]
    rows += [("advice", shown(text, 300)) for text in answer.get("advice") or []]
    return [_row(*each) for each in rows]


def _row(name: str, text: str) -> str:
    """
    Write a line of a report.
    """
    return f"{name:<11} {text}"


def _term(value: object) -> str:
    """
    Write a fact of one address family.
    """
    from .output import shown

    return _yes(value) if value is None or isinstance(value, bool) else shown(value)
