# -*- test-case-name: tests.node.test_control -*-
"""
A UNIX socket in the state directory: who may connect, and what was left by a dead node.
"""

from __future__ import annotations

import errno
import os
import socket
import stat
import struct
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, cast

from twisted.application.service import Service
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort, IReactorUNIX
from twisted.python.failure import Failure
from typing_extensions import override

from atmosphere.errors import ListenError, StateError
from atmosphere.services.local_socket import SocketAddress

__all__ = ["UNIXService", "peer_user"]


def peer_user(transport: object) -> int | None:
    """
    Ask the kernel which user is on the other end of a UNIX socket.

    @return: C{None} where the kernel cannot say; the socket's directory is
        then what keeps others out.
    """
    if not hasattr(socket, "SO_PEERCRED"):
        return None
    handle = cast(Any, transport).getHandle()
    size = struct.calcsize("3i")
    credentials = handle.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size)
    return int(struct.unpack("3i", credentials)[1])


def _remove_stale(path: Path, address: str) -> None:
    """
    Remove the socket of a node that is dead.

    @raise ListenError: a node answers on it, or it is no socket.
    """
    try:
        mode = os.lstat(path).st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise ListenError(f"{path} is in the way and is no socket: move it elsewhere")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1)
        try:
            probe.connect(address)
        except OSError as error:
            if error.errno not in (errno.ECONNREFUSED, errno.ENOENT):
                raise ListenError(f"{path}: {error.strerror}") from None
        else:
            raise ListenError(f"another node listens on {path}: stop it first")
    path.unlink(missing_ok=True)


class UNIXService(ABC, Service):
    """
    Listens on a UNIX socket for as long as the service runs.

    @ivar reactor: what it listens by.
    """

    def __init__(self, reactor: IReactorUNIX, path: Path, backlog: int) -> None:
        """
        @param path: of the socket.
        @param backlog: how many may wait to be let in.
        """
        self.reactor = reactor
        self._path = path
        self._backlog = backlog
        self._address: SocketAddress | None = None
        self._listening: IListeningPort | None = None

    @abstractmethod
    def make_factory(self) -> Any:
        """
        Make what serves the socket.
        """

    @override
    def startService(self) -> None:
        """
        Listen.

        @raise ListenError: the socket cannot be bound.
        """
        super().startService()
        try:
            self._address = SocketAddress(self._path)
            _remove_stale(self._path, self._address.text)
            self._listening = self.reactor.listenUNIX(
                self._address.text,
                self.make_factory(),
                backlog=self._backlog,
                mode=0o600,
                wantPID=False,
            )
        except CannotListenError as error:
            raise ListenError(f"{self._path} cannot be bound: {error.socketError}") from None
        except StateError as error:
            raise ListenError(str(error)) from None

    @override
    def stopService(self) -> Deferred[None]:
        """
        Listen no more, and remove the socket.
        """
        super().stopService()
        listening, self._listening = self._listening, None
        if listening is None:
            stopped: Deferred[Any] = maybeDeferred(lambda: None)
        else:
            stopped = maybeDeferred(listening.stopListening)

        def forget(result: object) -> None:
            if self._address is not None:
                self._address.close()
                self._address = None
            if isinstance(result, Failure):
                result.trap(FileNotFoundError)  # the directory was removed, and the socket with it

        return stopped.addBoth(forget)
