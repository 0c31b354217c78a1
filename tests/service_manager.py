"""
What stands in for a service manager that waits to be told of readiness.
"""

from __future__ import annotations

import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["listening", "service_manager"]


@contextmanager
def listening(name: str) -> Iterator[socket.socket]:
    """
    Listen as a service manager does.

    @param name: a path, or NUL and an abstract name.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(name)
        manager.settimeout(20)
        yield manager


@contextmanager
def service_manager() -> Iterator[tuple[socket.socket, str]]:
    """
    Listen at a path of the file system, which is short enough wherever tests run.

    @return: the socket and its path.
    """
    with tempfile.TemporaryDirectory(prefix="atmosphere-") as folder:
        name = str(Path(folder) / "notify")
        with listening(name) as manager:
            yield manager, name
