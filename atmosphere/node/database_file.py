# -*- test-case-name: tests.node.test_database -*-
"""
The files of an SQLite database in a directory of ours, before SQLite opens them.

SQLite follows links, makes what is not there, and folds its log into the database
when the last connection closes: none of that may happen to files that are not ours
to change.
"""

from __future__ import annotations

import os
import sqlite3
import stat
from pathlib import Path
from urllib.parse import quote

from atmosphere.errors import StateError

from .state_file import check_private, set_aside

__all__ = ["SIDES", "check_files", "explain", "read_version", "set_all_aside", "side"]

#: What SQLite keeps beside a database in write-ahead mode.
SIDES = ("-wal", "-shm")


#: With less room SQLite fails, and does not always say why.
LITTLE = 64 * 1024


def explain(path: Path, error: Exception) -> str:
    """
    Say what SQLite complains of, and that the disk is full if it is.
    """
    text = str(error)
    if "full" in text or isinstance(error, sqlite3.IntegrityError):
        return text
    try:
        found = os.statvfs(path.parent)
    except OSError:
        return text
    return f"{text}: the disk is full" if found.f_bavail * found.f_frsize < LITTLE else text


def side(path: Path, ending: str) -> Path:
    """
    Name a file that belongs to a database.
    """
    return path.with_name(path.name + ending)


def check_files(path: Path) -> None:
    """
    Refuse a database of which a part is a link, no file, or open to others.

    @raise StateError: said by name.
    """
    for each in (path, *(side(path, ending) for ending in SIDES)):
        try:
            status = os.lstat(each)
        except FileNotFoundError:
            continue
        except OSError as error:
            raise StateError(f"{each} cannot be read: {error.strerror}") from None
        if stat.S_ISLNK(status.st_mode):
            raise StateError(f"{each} is a symbolic link, which is not followed")
        if not stat.S_ISREG(status.st_mode):
            raise StateError(f"{each} is not a file")
        check_private(each, status)


def read_version(path: Path) -> tuple[int, int]:
    """
    Read the application's ID and the format of a database without folding its log.

    @raise sqlite3.Error: it cannot be read.
    """
    connection = sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True, timeout=5)
    try:
        (application,) = connection.execute("PRAGMA application_id").fetchone()
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        return application, version
    finally:
        connection.close()


def set_all_aside(path: Path, wall: float) -> Path:
    """
    Rename a damaged database and all that belongs to it.

    @return: the database's new name.
    @raise StateError: the disk refused.
    """
    try:
        aside = set_aside(path, "corrupt", wall)
        for ending in SIDES:
            if side(path, ending).exists():
                os.rename(side(path, ending), side(aside, ending))
    except OSError as error:
        raise StateError(f"{path} is damaged and cannot be set aside: {error.strerror}") from None
    return aside
