# -*- test-case-name: tests.node.test_state_file -*-
"""
Files that survive power cuts, bit rot and newer versions of this program.

A state file begins with a line that names its kind and format, a line with a
checksum of all the rest, and then the payload::

    atmosphere membership 1
    sha256 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08
    {"chain":"…"}

It is replaced as a whole: written beside, flushed, renamed, the directory
flushed; one previous copy stays, and a new file is written twice, one where going
back would do harm always. A damaged file
is set aside under the name C{*.corrupt-<time>} and the previous copy takes its
place. A file in a newer format is refused by name and never touched.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import re
import shlex
import stat
from collections.abc import Callable
from pathlib import Path

from atmosphere.errors import DecodeError, StateError

__all__ = [
    "StateFile",
    "check_private",
    "decode_state",
    "encode_state",
    "file_time",
    "flush_directory",
    "replace_file",
    "set_aside",
]

#: The largest state file that we read: many times what any of them needs.
MAXIMUM_LENGTH = 4 * 1024 * 1024

_HEADER = re.compile(rb"atmosphere ([a-z][a-z-]{0,30}) ([0-9]{1,9})")
_CHECKSUM = re.compile(rb"sha256 ([0-9a-f]{64})")


class _NewerFormatError(StateError):
    """
    The file was written by a newer version of this program.
    """


def encode_state(kind: str, version: int, payload: bytes) -> bytes:
    """
    Put the header and the checksum before a payload.

    @param kind: what the file holds, such as C{membership}.
    @param version: the format of the payload, from 1.
    """
    header = f"atmosphere {kind} {version}\n".encode("ascii")
    digest = hashlib.sha256(header + payload).hexdigest()
    return header + f"sha256 {digest}\n".encode("ascii") + payload


def decode_state(data: bytes, kind: str, version: int) -> bytes:
    """
    Check a state file's header and checksum, and hand out its payload.

    @param version: the newest format that the caller reads.
    @raise StateError: a format newer than that.
    @raise DecodeError: another kind, or not what was once written.
    """
    header, _, rest = data.partition(b"\n")
    checksum, newline, payload = rest.partition(b"\n")
    found = _HEADER.fullmatch(header)
    if found is None or found[1] != kind.encode("ascii"):
        raise DecodeError("its first line is damaged")
    if int(found[2]) > version:
        raise _NewerFormatError(
            f"was written by a newer atmosphere (format {int(found[2])}, this one reads {version})"
        )
    sum_line = _CHECKSUM.fullmatch(checksum)
    if sum_line is None or not newline:
        raise DecodeError("its checksum is missing")
    if hashlib.sha256(header + b"\n" + payload).hexdigest().encode("ascii") != sum_line[1]:
        raise DecodeError("its checksum does not fit")
    return payload


def check_private(path: Path, status: os.stat_result) -> None:
    """
    Refuse a file or directory that others on this machine can open.

    @raise StateError: with the command that mends it.
    """
    is_directory = stat.S_ISDIR(status.st_mode)
    if status.st_mode & 0o077:
        raise StateError(
            f"{path} is open to other users of this machine:"
            f" chmod {700 if is_directory else 600} {shlex.quote(str(path))}"
        )
    if status.st_uid != os.geteuid() and os.geteuid() != 0:
        raise StateError(f"{path} belongs to another user (number {status.st_uid})")


def flush_directory(path: Path) -> None:
    """
    Make the names in a directory durable.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def file_time(wall: float) -> str:
    """
    Say a time as part of a file's name: digits of POSIX seconds.
    """
    return str(int(wall))


def set_aside(path: Path, label: str, wall: float) -> Path:
    """
    Rename a file out of the way without replacing another.

    @param label: why, such as C{corrupt}; it becomes part of the name.
    @return: the new name.
    """
    base = f"{path.name}.{label}-{file_time(wall)}"
    target = path.with_name(base)
    count = 1
    while os.path.lexists(target):
        count += 1
        target = path.with_name(f"{base}-{count}")
    os.rename(path, target)
    return target


def replace_file(path: Path, data: bytes) -> None:
    """
    Replace a file as a whole: write beside, flush, rename, flush the directory.

    @raise OSError: the disk refused; the old content stands.
    """
    beside = path.with_name(f".{path.name}.new")
    beside.unlink(missing_ok=True)
    descriptor = os.open(
        beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600
    )
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.rename(beside, path)
    except OSError:
        beside.unlink(missing_ok=True)
        raise
    flush_directory(path.parent)


class StateFile:
    """
    One state file, its previous copy, and what was set aside of it.
    """

    def __init__(
        self,
        path: Path,
        kind: str,
        version: int,
        *,
        wall: Callable[[], float],
        notice: Callable[[str], None],
        may_write: bool = True,
        loss: str | None = None,
        outcome: Callable[[str | None], None] = lambda problem: None,
        has_twin: bool = False,
    ) -> None:
        """
        @param wall: POSIX time, for the name of what is set aside.
        @param notice: is told, in one line for people, what was mended.
        @param may_write: a reader beside a running node mends nothing.
        @param loss: what it means to go on without the file when its copy is
            damaged too, for people; C{None} if there is no going on.
        @param outcome: is told of each attempt to write why the disk refused, or
            C{None} if it did not.
        @param has_twin: whether the copy is to be the newest too: where damage must not
            bring back what was.
        """
        self.path = path
        self._previous = path.with_name(path.name + ".previous")
        self._kind = kind
        self._version = version
        self._wall = wall
        self._notice = notice
        self._may_write = may_write
        self._loss = loss
        self._outcome = outcome
        self._has_twin = has_twin

    def read(self) -> bytes | None:
        """
        Read the payload; of the previous copy if the file itself is damaged.

        @return: C{None} if there never was such a file, or it is lost and that
            can be borne.
        @raise StateError: it cannot be opened, is open to others, is in a
            newer format, or is damaged and so is its previous copy.
        """
        payload, damage = self._try(self.path)
        previous, copy_damage = self._try(self._previous)
        if payload is not None:
            if self._may_write and previous is None:
                self._mend_copy(payload, copy_damage)
            return payload
        if previous is not None:
            if self._may_write:
                self._mend(previous, damage)
            return previous
        if damage or copy_damage:
            self._lose(damage, copy_damage)
        return None

    def _lose(self, damage: str, copy_damage: str) -> None:
        """
        Set a file and its copy aside, and say what that means.

        @raise StateError: there is no going on without it; the copy stays where it is,
            so that this is said at each start.
        """
        if damage:
            what = f"{self.path} is damaged ({damage})"
        else:
            what = f"{self.path} is gone and its copy is damaged ({copy_damage})"
        if not self._may_write:
            raise StateError(what)
        if damage:
            what += f" and was set aside as {self._set_aside(self.path)}"
        if self._loss is None:
            raise StateError(what)
        if copy_damage:
            self._set_aside(self._previous)
        self._notice(f"{what}: {self._loss}")

    def _try(self, path: Path) -> tuple[bytes | None, str]:
        """
        Read one file.

        @return: its payload if it is good, and what is damaged about it if not;
            neither if it is not there.
        """
        try:
            return self._read_one(path), ""
        except DecodeError as error:
            return None, str(error)

    def _set_aside(self, path: Path) -> Path:
        """
        Rename a damaged file.

        @raise StateError: the disk refused.
        """
        try:
            return set_aside(path, "corrupt", self._wall())
        except OSError as error:
            raise StateError(
                f"{path} is damaged and cannot be set aside: {error.strerror}"
            ) from None

    def _mend(self, previous: bytes, damage: str) -> None:
        """
        Put the previous copy in the place of a file that is damaged or gone. Where the
        disk is full it is read from where it is.
        """
        if damage:
            aside = self._set_aside(self.path)
            self._notice(
                f"{self.path} was damaged ({damage}) and set aside as {aside};"
                " its previous copy is in use"
            )
        with contextlib.suppress(OSError):
            replace_file(self.path, encode_state(self._kind, self._version, previous))

    def _mend_copy(self, payload: bytes, damage: str) -> None:
        """
        Make a new copy in place of one that is damaged or gone, if the disk has room.
        """
        if damage:
            aside = self._set_aside(self._previous)
            self._notice(
                f"{self._previous} was damaged ({damage}) and set aside as {aside};"
                " the file itself is whole"
            )
        with contextlib.suppress(OSError):
            replace_file(self._previous, encode_state(self._kind, self._version, payload))

    def _read_one(self, path: Path) -> bytes | None:
        """
        Read one file.

        @return: C{None} if it is not there.
        """
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        except FileNotFoundError:
            return None
        except OSError as error:
            if error.errno == errno.ELOOP:
                raise StateError(f"{path} is a symbolic link, which is not followed") from None
            raise StateError(f"{path} cannot be read: {error.strerror}") from None
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            os.close(descriptor)
            raise StateError(f"{path} is not a file")
        with os.fdopen(descriptor, "rb") as file:
            check_private(path, status)
            data = file.read(MAXIMUM_LENGTH + 1)
        if len(data) > MAXIMUM_LENGTH:
            raise DecodeError("it is far too long")
        try:
            return decode_state(data, self._kind, self._version)
        except _NewerFormatError as error:
            raise StateError(f"{path} {error}; use that version, nothing was changed") from None

    def write(self, payload: bytes) -> None:
        """
        Replace the file; when this returns, the new content is durable.

        @raise StateError: the disk refused, for example because it is full;
            the old content stands.
        """
        if not self._may_write:
            raise StateError(f"{self.path} was opened for reading only")
        data = encode_state(self._kind, self._version, payload)
        present, _ = self._try(self.path)  # damage is no copy worth keeping
        try:
            if present is not None:
                self._keep_previous(present)
            replace_file(self.path, data)
        except OSError as error:
            problem = f"{self.path} cannot be written: {error.strerror}"
            self._outcome(problem)
            raise StateError(problem) from error
        self._outcome(None)
        if self._has_twin and present is not None:
            with contextlib.suppress(OSError):  # of two good files the first counts
                replace_file(self._previous, data)
        if present is None:
            previous, damage = self._try(self._previous)
            if previous is None:
                self._mend_copy(payload, damage)

    def remove(self) -> None:
        """
        Remove the file and its previous copy, the copy first: otherwise a
        crash in between would bring the content back.

        @raise StateError: the disk refused.
        """
        try:
            self._previous.unlink(missing_ok=True)
            self.path.unlink(missing_ok=True)
            flush_directory(self.path.parent)
        except OSError as error:
            raise StateError(f"{self.path} cannot be removed: {error.strerror}") from error

    def _keep_previous(self, payload: bytes) -> None:
        """
        Give the present file its second name, or copy it where there are no
        hard links.
        """
        beside = self._previous.with_name(f".{self._previous.name}.new")
        beside.unlink(missing_ok=True)
        try:
            os.link(self.path, beside)
        except OSError:
            replace_file(self._previous, encode_state(self._kind, self._version, payload))
            return
        os.rename(beside, self._previous)
        beside.unlink(missing_ok=True)  # rename does nothing when both names are one file
