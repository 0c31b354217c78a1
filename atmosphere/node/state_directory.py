# -*- test-case-name: tests.node.test_store -*-
"""
The directory that a node's state is in: where it is, that nobody else can
open it, and that only one process writes there.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
from pathlib import Path

from atmosphere.errors import StateError
from atmosphere.services.local_socket import default_state_directory

from .state_file import check_private, flush_directory

__all__ = ["StateDirectory", "default_state_directory"]

_LOCK = "lock"


class StateDirectory:
    """
    A directory, and the lock on it while we hold it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock: int | None = None

    def make(self) -> None:
        """
        Make the directory, for its owner alone, unless it is there.

        @raise StateError: it cannot be made.
        """
        try:
            if not self.path.is_dir():
                self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
                with contextlib.suppress(PermissionError):  # of a parent that may not be read
                    flush_directory(self.path.parent)
        except OSError as error:
            raise StateError(f"{self.path} cannot be made: {error.strerror}") from None

    def names(self) -> list[str]:
        """
        List what is in the directory; nothing if it is not there.

        @raise StateError: it cannot be read.
        """
        try:
            return os.listdir(self.path)
        except FileNotFoundError:
            return []
        except OSError as error:
            raise StateError(f"{self.path} cannot be read: {error.strerror}") from None

    def check(self) -> None:
        """
        Refuse a directory that others can open.

        @raise StateError: with the command that mends it.
        """
        try:
            status = self.path.stat()
        except OSError as error:
            raise StateError(f"{self.path} cannot be used: {error.strerror}") from None
        if not stat.S_ISDIR(status.st_mode):
            raise StateError(f"{self.path} is not a directory")
        check_private(self.path, status)

    def lock(self) -> None:
        """
        Become the one process that writes here. The lock goes with the
        process, however that ends.

        @raise StateError: another process holds it, or others can open the
            directory.
        """
        self.check()
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            descriptor = os.open(self.path / _LOCK, flags, 0o600)
        except OSError as error:
            what = "it is a symbolic link" if error.errno == errno.ELOOP else error.strerror
            raise StateError(f"{self.path / _LOCK} cannot be opened: {what}") from None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            raise StateError(
                f"{self.path} is in use by another process: stop that node first,"
                " or name another directory with --state DIR"
            ) from None
        self._lock = descriptor

    def unlock(self) -> None:
        """
        Let another process have the directory.
        """
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None
