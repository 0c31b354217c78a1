# -*- test-case-name: tests.cli.test_purge -*-
"""
Deleting a node's state, and nothing else.

Whoever deletes may be root, and the directory another user's: so no link is followed
that this other one could have made, and what is no file of a node's stays.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from atmosphere.errors import StateError

__all__ = ["purge"]

_NAMES = (
    "config.toml",
    "control.sock",
    "lock",
    "membership.state",
    "mesh.db",
    "node.key",
    "node.state",
    "revocations.state",
    "root.key",
    "streams.sock",
)

#: With copies, what was set aside, what was about to be written, and SQLite's beside it.
_OURS = re.compile(rf"\.?({'|'.join(map(re.escape, _NAMES))})([.-].*)?", re.DOTALL)


def _real(path: Path) -> Path:
    """
    Follow a path's links, if they are root's or ours.

    @raise StateError: one is somebody else's.
    """
    for each in (*reversed(path.parents), path):
        status = os.lstat(each)
        if each.is_symlink() and status.st_uid not in (0, os.geteuid()):
            raise StateError(f"{each} is a link that another user made: nothing was deleted")
    return path.resolve()


@contextmanager
def _opened(path: Path) -> Iterator[int]:
    """
    Open a directory without following any link, and close it in the end.
    """
    flags = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open("/", flags)
    try:
        for name in path.parts[1:]:
            inner = os.open(name, flags, dir_fd=descriptor)
            os.close(descriptor)
            descriptor = inner
        yield descriptor
    finally:
        os.close(descriptor)


def purge(state: Path) -> list[str]:
    """
    Delete a state directory that no node runs on.

    @return: what is in it and no node's; then the directory stays.
    @raise StateError: a node runs on it, somebody else chose it by a link, or it cannot
        be deleted.
    """
    from atmosphere.node.state_directory import StateDirectory

    try:
        real = _real(state.absolute())
        directory = StateDirectory(real)
        directory.lock()
        try:
            left = _delete(real)
        finally:
            directory.unlock()
        if not left and state.is_symlink():  # to where systemd keeps it for a user of its own
            state.unlink()
    except OSError as error:
        raise StateError(f"{state} cannot be deleted: {error.strerror}") from None
    return left


def _delete(real: Path) -> list[str]:
    """
    Delete a node's files, and then the directory if nothing is left.
    """
    with _opened(real.parent) as parent:
        flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(real.name, flags, dir_fd=parent)
        try:
            with os.scandir(descriptor) as entries:
                ours = [
                    each.name
                    for each in entries
                    if _OURS.fullmatch(each.name) and not each.is_dir(follow_symlinks=False)
                ]
            for name in ours:
                os.unlink(name, dir_fd=descriptor)
            left = sorted(os.listdir(descriptor))
        finally:
            os.close(descriptor)
        if not left:
            os.rmdir(real.name, dir_fd=parent)
    return left
