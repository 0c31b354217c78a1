# -*- test-case-name: tests.node.test_forwarding_settings -*-
"""
Where a forward listens on this machine: a port of loopback unless told otherwise, or a path.
"""

from __future__ import annotations

import ipaddress
import os
from typing import Any

from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort
from twisted.internet.protocol import Factory

from atmosphere.errors import ConfigurationError, ListenError

__all__ = ["canonical_listen", "listen_on"]

_UNIX = "unix:"


def _split(text: str) -> tuple[str, int]:
    """
    Read a host and a port.

    @raise ConfigurationError: they are none.
    """
    host, _, digits = text.rpartition(":")
    host = "127.0.0.1" if host in ("", "localhost") else host.strip("[]")
    try:
        address = ipaddress.ip_address(host)
        port = int(digits) if digits.isascii() and digits.isdigit() else -1
        if not 0 <= port <= 65535:
            raise ValueError
    except ValueError:
        raise ConfigurationError(
            f"{text!a} is no place to listen: write 2222, 127.0.0.1:2222 or unix:/path"
        ) from None
    return str(address), port


def _join(host: str, port: int) -> str:
    """
    Write a host and a port.
    """
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def canonical_listen(text: str) -> str:
    """
    Write a place to listen in the one way in which it is kept.

    @param text: a port, an address and a port, or C{unix:} and an absolute path.
    @raise ConfigurationError: it is none of these.
    """
    if text.startswith(_UNIX):
        path = text.removeprefix(_UNIX)
        if not os.path.isabs(path) or "\0" in path:
            raise ConfigurationError("after unix: comes an absolute path")
        return _UNIX + os.path.normpath(path)
    return _join(*_split(text))


def listen_on(reactor: Any, place: str, factory: Factory[Any]) -> tuple[IListeningPort, str]:
    """
    Listen.

    @param place: from L{canonical_listen}.
    @return: the port, and where it listens: for port 0 the one that was found.
    @raise ListenError: it is taken, or may not be.
    """
    try:
        if place.startswith(_UNIX):
            path = place.removeprefix(_UNIX)
            port = reactor.listenUNIX(path, factory, mode=0o600, wantPID=True)
            return port, place
        host, number = _split(place)
        port = reactor.listenTCP(number, factory, interface=host)
        return port, _join(host, port.getHost().port)
    except (CannotListenError, OSError) as error:
        reason = error.socketError if isinstance(error, CannotListenError) else error
        text = getattr(reason, "strerror", None) or str(reason)
        raise ListenError(f"cannot listen on {place}: {text}") from None
