# -*- test-case-name: tests.services.test_local_socket -*-
"""
Where a node's sockets are, and names for them that fit.

The kernel takes 107 bytes for the name of a UNIX socket (104 on some
systems), a state directory may be deeper. On Linux the socket can then be
named through an open descriptor of its directory.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from atmosphere.errors import StateError

__all__ = ["SOCKET_NAME", "STREAMS_SOCKET_NAME", "SocketAddress", "default_state_directory"]

SOCKET_NAME = "control.sock"
STREAMS_SOCKET_NAME = "streams.sock"
MAXIMUM_LENGTH = 103


def default_state_directory(environ: Mapping[str, str]) -> Path:
    """
    Say where the state is kept: C{ATMOSPHERE_HOME}, else
    C{ATMOSPHERE_DATA_DIR}, else C{~/.atmosphere}.
    """
    given = environ.get("ATMOSPHERE_HOME") or environ.get("ATMOSPHERE_DATA_DIR")
    return Path(given or "~/.atmosphere").expanduser()


class SocketAddress:
    """
    A name for a socket that the kernel takes; good until L{close}.

    @ivar text: the name.
    """

    def __init__(self, path: Path, maximum_length: int = MAXIMUM_LENGTH) -> None:
        """
        @raise StateError: it is too long and this system has no way around.
        """
        self._descriptor: int | None = None
        self.text = str(path)
        if len(os.fsencode(path)) <= maximum_length:
            return
        if not os.path.isdir("/proc/self/fd"):
            raise StateError(
                f"{path} is too long a name for a socket: choose a state directory with a"
                f" shorter one (--state DIR, at most {maximum_length - len(path.name) - 1} bytes)"
            )
        try:
            self._descriptor = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise StateError(f"{path.parent}: {error.strerror}") from None
        self.text = f"/proc/self/fd/{self._descriptor}/{path.name}"

    def close(self) -> None:
        """
        Let go of the directory.
        """
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
