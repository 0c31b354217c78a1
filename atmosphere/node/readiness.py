# -*- test-case-name: tests.node.test_readiness -*-
"""
Telling the service manager that we are ready, or about to stop: what systemd
asks of a service of C{Type=notify}, see C{sd_notify(3)}.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping

from twisted.logger import Logger

__all__ = ["tell_ready", "tell_stopping"]

_log = Logger()


def _tell(text: str, environ: Mapping[str, str] | None) -> None:
    """
    Send a text to the socket that C{NOTIFY_SOCKET} names, if it names one.
    """
    name = (os.environ if environ is None else environ).get("NOTIFY_SOCKET", "")
    if name[:1] not in ("/", "@"):
        return
    address = "\0" + name[1:] if name.startswith("@") else name
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as manager:
            manager.setblocking(False)
            manager.sendto(text.encode("utf-8"), address)
    except OSError as error:
        _log.warn("the service manager was not told {text!r}: {error}", text=text, error=error)


def tell_ready(environ: Mapping[str, str] | None = None) -> None:
    """
    Say that all ports are bound and what was asked for is served.

    @param environ: the environment; C{None} means that of the process.
    """
    _tell(f"READY=1\nMAINPID={os.getpid()}", environ)


def tell_stopping(environ: Mapping[str, str] | None = None) -> None:
    """
    Say that we are about to stop.
    """
    _tell("STOPPING=1", environ)
