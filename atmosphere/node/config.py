# -*- test-case-name: tests.node.test_config -*-
"""
What a user decides about a node: C{config.toml}, environment and options.

C{atmosphere init} writes the file once, with a comment for each setting;
afterwards it is the user's, and the program only reads it. Options on the
command line and C{ATMOSPHERE_…} variables add to it or stand in its place
for one run.
"""

from __future__ import annotations

import dataclasses
import json
import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from typing_extensions import override

from atmosphere.addresses import AddressKind, TransportAddress, address_kind
from atmosphere.errors import ConfigurationError, DecodeError
from atmosphere.network.relay.selection import DEFAULT_RELAYS
from atmosphere.text import is_valid_name

__all__ = [
    "PATH_POLICIES",
    "HostPort",
    "NodeConfig",
    "check_name",
    "check_port",
    "decode_config",
    "encode_config",
    "parse_address",
    "parse_host_port",
    "parse_relay_url",
    "with_environment",
    "with_fallback",
    "with_options",
]

DEFAULT_UDP_PORT = 7777
DEFAULT_STUN_PORT = 3478

#: C{auto} takes the best path, C{relayed} and C{direct} only that kind.
PATH_POLICIES = ("auto", "relayed", "direct")

_HOST = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?")


@dataclass(frozen=True, slots=True)
class HostPort:
    """
    A host, by name or address, and a port.
    """

    host: str
    port: int

    @override
    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class NodeConfig:
    """
    All that a node is told by its user.

    @ivar name: what the node calls itself in its mesh.
    @ivar relays: C{ws://} or C{wss://} URLs of the relays to use.
    @ivar relay_ca: a file of certificates that relays are verified with,
        in place of the platform's.
    @ivar stun_servers: servers to ask beside those of the relays.
    @ivar udp_port: the port to listen on; C{None} means 7777 at the first
        start, any free port if that is taken, and the same ever after.
    @ivar interfaces: the addresses to bind, one for each family.
    @ivar advertise: addresses at which others reach this node, such as those
        of a port that a router forwards; port 0 stands for the node's own.
    @ivar public_stun: whether the public STUN servers may be asked by those
        commands that need one, when there is neither relay nor STUN server.
    @ivar allow_loopback: whether peers on this machine may be reached by its
        loopback addresses.
    @ivar path_policy: one of L{PATH_POLICIES}.
    @ivar fallback_relays: the relays to use when neither the user nor a join
        code named any; no file has them.
    """

    name: str
    relays: tuple[str, ...] = ()
    relay_ca: str | None = None
    stun_servers: tuple[HostPort, ...] = ()
    udp_port: int | None = None
    interfaces: tuple[str, ...] = ("0.0.0.0", "::")
    advertise: tuple[TransportAddress, ...] = ()
    public_stun: bool = True
    allow_loopback: bool = False
    path_policy: str = "auto"
    fallback_relays: tuple[str, ...] = ()

    def relays_beside(self, others: Sequence[str] = ()) -> list[str]:
        """
        List the relays to use: those that the user named, then others, and
        the fallback only if there is neither.

        @param others: those that came with the join code.
        """
        return list(dict.fromkeys([*self.relays, *others])) or list(self.fallback_relays)


def check_name(name: str) -> str:
    """
    Check a node's or a mesh's name.

    @return: the name in lower case.
    @raise ConfigurationError: no certificate can give it to a node.
    """
    lowered = name.lower()
    if not is_valid_name(lowered):
        raise ConfigurationError(
            f"{name[:80]!a} is not a name: use 1 to 63 of the letters a-z, digits, dots, dashes"
            " and underscores, a letter or digit first"
        )
    return lowered


def check_port(port: int, *, may_be_zero: bool = False) -> int:
    """
    Check the number of a port.

    @raise ConfigurationError: it is out of range.
    """
    if isinstance(port, bool) or not (0 if may_be_zero else 1) <= port <= 65535:
        raise ConfigurationError(f"{port} is not a port: use 1 to 65535")
    return port


def _is_host(text: str) -> bool:
    """
    Say whether a text is the name of a host or an IP address.
    """
    if ":" not in text:
        return _HOST.fullmatch(text) is not None
    try:
        return TransportAddress(text, 0).host != ""
    except DecodeError:
        return False


def parse_host_port(text: str, default_port: int = DEFAULT_STUN_PORT) -> HostPort:
    """
    Read C{HOST}, C{HOST:PORT} or C{[2001:db8::1]:PORT}.

    @raise ConfigurationError: anything else.
    """
    host, colon, port_text = text, "", ""
    if text.startswith("["):
        host, _, port_text = text[1:].partition("]")
        colon, port_text = port_text[:1], port_text[1:]
        is_wrong = colon not in ("", ":") or ":" not in host or "]" not in text
    elif text.count(":") <= 1:
        host, colon, port_text = text.partition(":")
        is_wrong = False
    else:
        is_wrong = False
    is_number = port_text.isascii() and port_text.isdigit() and len(port_text) <= 5
    is_wrong = is_wrong or len(host) > 253 or not _is_host(host)
    if is_wrong or (colon and not is_number):
        raise ConfigurationError(f"{text[:80]!a} is not HOST:PORT, such as stun.example.org:3478")
    return HostPort(host, check_port(int(port_text)) if colon else default_port)


def check_interface(text: str) -> str:
    """
    Check an address to listen on.

    @return: its canonical text.
    @raise ConfigurationError: it is neither an IP address nor C{localhost}.
    """
    try:
        return TransportAddress("127.0.0.1" if text == "localhost" else text, 0).host
    except DecodeError as error:
        raise ConfigurationError(f"an address to listen on: {error}") from None


def parse_address(text: str) -> TransportAddress:
    """
    Read C{192.0.2.1:7777} or C{[2001:db8::1]:7777}, or the address alone.

    @return: with port 0 if the text has none.
    @raise ConfigurationError: anything else.
    """
    has_port = True
    try:
        try:
            address = TransportAddress(text, 0)
            has_port = False
        except DecodeError:
            address = TransportAddress.from_text(text)
    except DecodeError as error:
        raise ConfigurationError(f"an address to advertise: {error}") from None
    if (has_port and address.port == 0) or address_kind(address.packed) is AddressKind.NEVER:
        raise ConfigurationError(
            f"an address to advertise: nobody can reach {address}; write what others see"
        )
    return address


def parse_relay_url(text: str) -> str:
    """
    Check a relay's URL and bring it to one spelling.

    @return: scheme and host in lower case, no path, no default port.
    @raise ConfigurationError: not C{ws://HOST[:PORT]} or C{wss://HOST[:PORT]}.
    """
    shown = f"{text[:80]!a}"
    remedy = "write ws://HOST:PORT or wss://HOST"
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise ConfigurationError(f"{shown} is not a relay's URL: {remedy}") from None
    if parts.scheme not in ("ws", "wss"):
        remedy = {"http": "write ws://HOST:PORT", "https": "write wss://HOST"}.get(
            parts.scheme, remedy
        )
        raise ConfigurationError(f"{shown} is not a relay's URL: {remedy}")
    host = parts.hostname or ""
    is_plain = parts.username is None and not parts.query and not parts.fragment
    if not _is_host(host) or not is_plain or parts.path.rstrip("/") not in ("", "/relay"):
        raise ConfigurationError(f"{shown} is not a relay's URL: {remedy}")
    if port is not None:
        check_port(port)
    default = 80 if parts.scheme == "ws" else 443
    authority = f"[{host}]" if ":" in host else host
    return f"{parts.scheme}://{authority}" + ("" if port in (None, default) else f":{port}")


def _unique(items: Iterable[Any]) -> tuple[Any, ...]:
    """
    Drop what is there twice, keeping the order.
    """
    return tuple(dict.fromkeys(items))


def with_options(
    config: NodeConfig,
    *,
    relays: Sequence[str] = (),
    relay_ca: str | None = None,
    stun: Sequence[str] = (),
    udp_port: int | None = None,
    interfaces: Sequence[str] = (),
    advertise: Sequence[str] = (),
    no_public_stun: bool = False,
    allow_loopback: bool = False,
    path_policy: str | None = None,
) -> NodeConfig:
    """
    Lay the options of one run over a configuration: lists are added to it,
    the rest stands in its place. The command line, C{twistd} and the
    environment all come through here.

    @raise ConfigurationError: an option does not fit.
    """
    policy = config.path_policy if path_policy is None else path_policy
    if policy not in PATH_POLICIES:
        raise ConfigurationError(f"{policy[:80]!a} is not one of {', '.join(PATH_POLICIES)}")
    return dataclasses.replace(
        config,
        relays=_unique([*config.relays, *map(parse_relay_url, relays)]),
        relay_ca=config.relay_ca if relay_ca is None else relay_ca,
        stun_servers=_unique([*config.stun_servers, *map(parse_host_port, stun)]),
        udp_port=config.udp_port if udp_port is None else check_port(udp_port),
        interfaces=_unique(map(check_interface, interfaces)) or config.interfaces,
        advertise=_unique([*config.advertise, *map(parse_address, advertise)]),
        public_stun=config.public_stun and not no_public_stun,
        allow_loopback=config.allow_loopback or allow_loopback,
        path_policy=policy,
    )


def is_set(text: str | None) -> bool:
    """
    Say whether a variable of the environment switches something on.
    """
    return (text or "").strip().lower() not in ("", "0", "no", "false", "off")


def with_environment(config: NodeConfig, environ: Mapping[str, str]) -> NodeConfig:
    """
    Lay the C{ATMOSPHERE_…} variables over a configuration.

    C{_RELAY}, C{_STUN}, C{_INTERFACE} (or C{_HOST}) and C{_ADVERTISE} are
    lists with blanks between; C{_RELAY_CA}, C{_UDP_PORT} (or C{_PORT}),
    C{_NO_PUBLIC_STUN}, C{_ALLOW_LOOPBACK} and C{_PATHS} are what the options of
    those names are. For C{_RELAY_URL} see L{with_fallback}.

    @raise ConfigurationError: a variable does not fit.
    """
    name = "ATMOSPHERE_UDP_PORT" if environ.get("ATMOSPHERE_UDP_PORT") else "ATMOSPHERE_PORT"
    port = environ.get(name) or None
    if port is not None and not (port.isascii() and port.isdigit() and len(port) <= 5):
        raise ConfigurationError(f"{name}={port[:80]!a} is not a port")
    interfaces = environ.get("ATMOSPHERE_INTERFACE") or environ.get("ATMOSPHERE_HOST") or ""
    changed = with_options(
        config,
        relays=environ.get("ATMOSPHERE_RELAY", "").split(),
        relay_ca=environ.get("ATMOSPHERE_RELAY_CA") or None,
        stun=environ.get("ATMOSPHERE_STUN", "").split(),
        udp_port=None if port is None else int(port),
        interfaces=interfaces.split(),
        advertise=environ.get("ATMOSPHERE_ADVERTISE", "").split(),
        no_public_stun=is_set(environ.get("ATMOSPHERE_NO_PUBLIC_STUN")),
        allow_loopback=is_set(environ.get("ATMOSPHERE_ALLOW_LOOPBACK")),
        path_policy=environ.get("ATMOSPHERE_PATHS") or None,
    )
    return with_fallback(changed, environ)


def with_fallback(config: NodeConfig, environ: Mapping[str, str]) -> NodeConfig:
    """
    Note the relays that serve when nothing else names one: those of
    C{ATMOSPHERE_RELAY_URL}, else L{DEFAULT_RELAYS
    <atmosphere.network.relay.selection.DEFAULT_RELAYS>}.

    @raise ConfigurationError: one of them is not a relay's URL.
    """
    urls = environ.get("ATMOSPHERE_RELAY_URL", "").split() or [each.url for each in DEFAULT_RELAYS]
    return dataclasses.replace(config, fallback_relays=_unique(map(parse_relay_url, urls)))


def _toml_list(items: Iterable[object]) -> str:
    """
    Write a list of strings; none of ours holds a quote or a backslash.
    """
    return "[" + ", ".join(f'"{item}"' for item in items) + "]"


def encode_config(config: NodeConfig) -> str:
    """
    Write a configuration as the commented file that C{init} leaves.
    """

    def setting(line: str, *, is_default: bool) -> str:
        return f"# {line}" if is_default else line

    ca = "" if config.relay_ca is None else config.relay_ca
    quoted_ca = json.dumps(ca)  # what JSON makes of a path, TOML reads
    port = DEFAULT_UDP_PORT if config.udp_port is None else config.udp_port
    public = "true" if config.public_stun else "false"
    loopback = "true" if config.allow_loopback else "false"
    lines = [
        "# Settings of this atmosphere node, written once by `atmosphere init` and now yours.",
        "# A line that begins with # is a comment and shows the default or an example.",
        "",
        "# The name that this node asks for in a mesh. Where another has it, the mesh gives it",
        "# another one, which `atmosphere status` shows.",
        f'name = "{config.name}"',
        "",
        "# Relays to use when there is no direct path: ws://HOST:PORT or wss://HOST.",
        f"relays = {_toml_list(config.relays)}",
        "",
        "# A file of certificates to verify wss:// relays with, in place of the platform's.",
        setting(f"relay-ca = {quoted_ca}", is_default=config.relay_ca is None),
        "",
        "# STUN servers (HOST:PORT) to ask for our public address, beside those of the relays.",
        f"stun = {_toml_list(config.stun_servers)}",
        "",
        "# The UDP port. Default: 7777, any free port if that is taken, the same ever after.",
        setting(f"udp-port = {port}", is_default=config.udp_port is None),
        "",
        "# The addresses to listen on, one for each family.",
        setting(
            f"interfaces = {_toml_list(config.interfaces)}",
            is_default=config.interfaces == NodeConfig("x").interfaces,
        ),
        "",
        "# Addresses (IP:PORT) at which others reach this node, such as a forwarded port.",
        "# Without a port it is the node's own.",
        f"advertise = {_toml_list(each if each.port else each.host for each in config.advertise)}",
        "",
        "# Whether commands such as `atmosphere network` may ask public STUN servers",
        "# on a node that has neither relays nor STUN servers.",
        setting(f"public-stun = {public}", is_default=config.public_stun),
        "",
        "# Whether peers on this same machine may be reached by loopback addresses.",
        setting(f"allow-loopback = {loopback}", is_default=not config.allow_loopback),
        "",
        "# Which paths may be used: auto, relayed or direct.",
        setting(f'paths = "{config.path_policy}"', is_default=config.path_policy == "auto"),
        "",
    ]
    return "\n".join(lines)


class _Table:
    """
    A parsed file of which each value is taken out once, with its type checked.
    """

    def __init__(self, values: dict[str, Any]) -> None:
        self._values = values

    def take(self, name: str, kind: type, meaning: str) -> Any:
        """
        Take out a value.

        @return: C{None} if it is not there.
        @raise ConfigurationError: it is of another type.
        """
        value = self._values.pop(name, None)
        if value is not None and type(value) is not kind:
            raise ConfigurationError(f"{name} must be {meaning}")
        return value

    def take_texts(self, name: str) -> list[str]:
        """
        Take out a list of strings; empty if it is not there.
        """
        values: list[Any] = self.take(name, list, "a list of strings") or []
        if not all(type(value) is str for value in values):
            raise ConfigurationError(f"{name} must be a list of strings")
        return values

    def finish(self) -> None:
        """
        Refuse what nobody took, so that a misspelt setting is not ignored.
        """
        if self._values:
            raise ConfigurationError(f"unknown setting {min(self._values)[:80]!a}")


def decode_config(text: str) -> NodeConfig:
    """
    Read C{config.toml}.

    @raise ConfigurationError: not TOML, an unknown setting, or a value that
        does not fit.
    """
    try:
        table = _Table(tomllib.loads(text))
    except (tomllib.TOMLDecodeError, RecursionError, ValueError) as error:
        raise ConfigurationError(f"not TOML: {error}") from None
    name = table.take("name", str, "a string")
    if name is None:
        raise ConfigurationError("the setting name is missing")
    public = table.take("public-stun", bool, "true or false")
    loopback = table.take("allow-loopback", bool, "true or false")
    config = with_options(
        NodeConfig(check_name(name)),
        relays=table.take_texts("relays"),
        relay_ca=table.take("relay-ca", str, "a string"),
        stun=table.take_texts("stun"),
        udp_port=table.take("udp-port", int, "a number"),
        interfaces=table.take_texts("interfaces"),
        advertise=table.take_texts("advertise"),
        no_public_stun=public is False,
        allow_loopback=loopback is True,
        path_policy=table.take("paths", str, "a string"),
    )
    table.finish()
    return config
