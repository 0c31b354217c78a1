# -*- test-case-name: tests.node.test_relay_options -*-
"""
From a relay's options, of the command line or of C{twistd}, to its configuration.
"""

from __future__ import annotations

import dataclasses
import ipaddress
import math
import re
from collections.abc import Sequence

from atmosphere.errors import ConfigurationError
from atmosphere.network.relay.limits import RelayConfig, RelayLimits

from .config import check_port, parse_host_port

__all__ = ["DEFAULT_HOST", "DEFAULT_PORT", "relay_config"]

DEFAULT_HOST = "0.0.0.0"
DEFAULT_PORT = 8080

_MESH_ID = re.compile(r"mesh-[a-z2-7]{26}")


def _limits(texts: Sequence[str]) -> RelayLimits:
    """
    Read C{NAME=NUMBER} texts.

    @raise ConfigurationError: no such limit, or not a positive number.
    """
    kinds = {
        each.name: type(getattr(RelayLimits(), each.name))
        for each in dataclasses.fields(RelayLimits)
    }
    changes: dict[str, int | float] = {}
    for text in texts:
        name, _, number = text.partition("=")
        name = name.strip().lower().replace("-", "_")
        if name not in kinds:
            raise ConfigurationError(
                f"{text[:80]!a} is not NAME=NUMBER with one of the names {', '.join(sorted(kinds))}"
            )
        if re.fullmatch(r"[0-9]{1,15}(\.[0-9]{1,9})?", number.strip(), re.ASCII) is None:
            raise ConfigurationError(f"{text[:80]!a}: a limit is a number, such as {name}=100")
        changes[name] = kinds[name](float(number))
    return dataclasses.replace(RelayLimits(), **changes)  # type: ignore[arg-type]  # of each field's type


def relay_config(
    *,
    host: str | None = None,
    port: int | None = None,
    stun_port: int | None = None,
    second_stun_port: int | None = None,
    stun_addresses: Sequence[str] = (),
    meshes: Sequence[str] = (),
    is_open: bool = False,
    cert: str | None = None,
    key: str | None = None,
    names: Sequence[str] = (),
    trusted_proxies: Sequence[str] = (),
    rate: float | None = None,
    limits: Sequence[str] = (),
) -> RelayConfig:
    """
    Make a relay's configuration of options as a user gives them.

    @param stun_port: 0 for no STUN; C{None} for its usual port.
    @param second_stun_port: 0 for none; C{None} for the one after C{stun_port}.
    @param stun_addresses: where to answer STUN, if not on C{host}: one or two.
    @param rate: bytes a second for everyone.
    @param limits: texts such as C{connections=1000}, by the names of
        L{RelayLimits}.
    @raise ConfigurationError: an option does not fit; it is named.
    """
    for mesh in meshes:
        if _MESH_ID.fullmatch(mesh) is None:
            raise ConfigurationError(
                f"--mesh {mesh[:80]!a} is not a mesh ID: `atmosphere status` shows it on a member"
            )
    if (cert is None) != (key is None):
        raise ConfigurationError(
            "--cert and --key go together: the relay's certificate and its key"
        )
    if rate is not None and not 0 <= rate < math.inf:
        raise ConfigurationError("--rate is a number of bytes a second, 0 for the default")
    for name in names:
        parse_host_port(name, DEFAULT_PORT)
    for proxy in trusted_proxies:
        try:
            ipaddress.ip_network(proxy, strict=False)
        except ValueError:
            raise ConfigurationError(
                f"--trusted-proxy {proxy[:80]!a} is neither an IP address nor a network"
                " such as 10.0.0.0/8"
            ) from None
    return RelayConfig(
        host=DEFAULT_HOST if host is None else host,
        port=DEFAULT_PORT if port is None else check_port(port, may_be_zero=True),
        second_stun_port=None
        if second_stun_port is None
        else check_port(second_stun_port, may_be_zero=True),
        stun_addresses=tuple(stun_addresses),
        meshes=tuple(dict.fromkeys(meshes)),
        is_open=is_open,
        names=tuple(dict.fromkeys(names)),
        certificate=cert,
        private_key=key,
        proxies=tuple(dict.fromkeys(trusted_proxies)),
        rate=0.0 if rate is None else float(rate),
        limits=_limits(limits),
        **({} if stun_port is None else {"stun_port": check_port(stun_port, may_be_zero=True)}),
    )
