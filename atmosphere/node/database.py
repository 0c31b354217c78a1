# -*- test-case-name: tests.node.test_database -*-
"""
What changes often or must change all at once: members, invitations and requests
to join, in SQLite.

The database is in write-ahead mode and flushes every commit to the disk, so
that whatever was acknowledged survives C{kill -9} and a power cut. Its format
stands in C{user_version}. Members can be learnt again from the mesh and
invitations can be made again, so a damaged database is set aside and begun
anew; that is said, and never done to a database in a newer format.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from atmosphere.errors import StateError

from .database_file import SIDES, check_files, explain, read_version, set_all_aside, side
from .state_file import flush_directory

__all__ = ["MeshDatabase", "StoredMember"]

FORMAT = 1
APPLICATION_ID = 0x61746D6F  # "atmo"

#: Added to databases that were made without it; older programs pass it over.
_REQUESTS = """
CREATE TABLE IF NOT EXISTS requests (
    node BLOB PRIMARY KEY CHECK (length(node) = 32),
    name TEXT NOT NULL,
    capabilities TEXT NOT NULL,
    source TEXT NOT NULL,
    address TEXT NOT NULL,
    came REAL NOT NULL,
    expires_at REAL NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('waiting', 'approved', 'admitted', 'denied'))
) STRICT, WITHOUT ROWID;
"""

_SCHEMA = (
    """
CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE members (
    node BLOB PRIMARY KEY CHECK (length(node) = 32),
    chain BLOB NOT NULL,
    record BLOB,
    seen REAL NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE invitations (
    invite_id BLOB PRIMARY KEY,
    key BLOB NOT NULL,
    expires_at REAL NOT NULL,
    uses INTEGER NOT NULL CHECK (uses > 0),
    revoked INTEGER NOT NULL DEFAULT 0
) STRICT, WITHOUT ROWID;
CREATE TABLE redemptions (
    invite_id BLOB NOT NULL REFERENCES invitations ON DELETE CASCADE,
    joiner BLOB NOT NULL CHECK (length(joiner) = 32),
    place INTEGER NOT NULL,
    PRIMARY KEY (invite_id, joiner)
) STRICT, WITHOUT ROWID;
"""
    + _REQUESTS
)


@dataclass(frozen=True, slots=True)
class StoredMember:
    """
    What is kept of a member.

    @ivar node: the 32 bytes of its key.
    @ivar chain: its membership chain, as it came.
    @ivar record: its newest signed record, as it came; C{None} if there is none.
    @ivar seen: POSIX time at which it was last heard of.
    """

    node: bytes
    chain: bytes
    record: bytes | None
    seen: float


def _text(data: bytes) -> str:
    """
    Read a text, damaged or not.
    """
    return data.decode("utf-8", "replace")


class MeshDatabase:
    """
    The open database. Only the directory's owner has one that writes.
    """

    def __init__(
        self,
        path: Path,
        *,
        wall: Callable[[], float],
        notice: Callable[[str], None],
        may_write: bool = True,
        outcome: Callable[[str | None], None] = lambda problem: None,
    ) -> None:
        """
        @param notice: is told, in one line for people, what was mended.
        @param outcome: is told of each transaction why the disk refused it, or
            C{None} if it did not.
        @raise StateError: open to others, in a newer format, or not to be
            opened.
        """
        self.path = path
        self._may_write = may_write
        self._outcome = outcome
        self._connection: sqlite3.Connection | None
        try:
            self._connection = self._connect()
            return
        except (sqlite3.OperationalError, OSError) as error:
            raise StateError(f"{path} cannot be opened: {explain(path, error)}") from None
        except sqlite3.DatabaseError as error:
            if not may_write:
                raise StateError(f"{path} is damaged: {error}") from None
            damage = str(error)
        aside = set_all_aside(path, wall())
        notice(
            f"{path} was damaged ({damage}) and set aside as {aside}: members will be learnt"
            " again, but invitations that were open are lost; make new ones"
        )
        with self._errors():
            self._connection = self._connect()

    def _connect(self) -> sqlite3.Connection:
        """
        Open the file, check it, and make its tables if it is new.

        @raise sqlite3.DatabaseError: it is damaged.
        """
        check_files(self.path)
        if not self.path.exists():
            if not self._may_write:
                connection = sqlite3.connect(":memory:", isolation_level=None)
                connection.executescript(_SCHEMA)
                return connection
            self._create()
        if side(self.path, "-wal").exists():
            with contextlib.suppress(sqlite3.OperationalError):  # a full disk
                self._refuse_newer(*read_version(self.path))
        try:
            return self._open()
        except sqlite3.OperationalError:
            if not self._may_write:
                raise
            return self._open(has_index=False)  # which a full disk has no room for

    def _open(self, *, has_index: bool = True) -> sqlite3.Connection:
        """
        Open the file and check it.

        @param has_index: whether the index of the log is a file, as usual. Without it
            nobody else can read the database meanwhile.
        @raise sqlite3.DatabaseError: it is damaged.
        """
        connection = sqlite3.connect(self.path, isolation_level=None, timeout=5)
        connection.text_factory = _text
        try:
            if not has_index:
                connection.execute("PRAGMA locking_mode = EXCLUSIVE")
            self._prepare(connection)
            if not has_index:
                side(self.path, "-shm").unlink(missing_ok=True)  # what there was room for
        except BaseException:
            connection.close()
            raise
        return connection

    def _create(self) -> None:
        """
        Make an empty database under another name and rename it: so one that
        has no tables is always a damaged one.
        """
        beside = self.path.with_name(f".{self.path.name}.new")
        for each in (beside, *(side(self.path, ending) for ending in SIDES)):
            each.unlink(missing_ok=True)
        os.close(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        connection = sqlite3.connect(beside, isolation_level=None)
        try:
            connection.executescript(
                f"BEGIN IMMEDIATE; {_SCHEMA} PRAGMA application_id = {APPLICATION_ID};"
                f" PRAGMA user_version = {FORMAT}; COMMIT;"
            )
        finally:
            connection.close()
        os.rename(beside, self.path)
        flush_directory(self.path.parent)

    def _refuse_newer(self, application: int, found: int) -> None:
        """
        Refuse a database of a later version of ours.

        @raise StateError: it is one.
        """
        if found > FORMAT and application == APPLICATION_ID:
            raise StateError(
                f"{self.path} was written by a newer atmosphere (format {found}, this one reads"
                f" {FORMAT}); use that version, nothing was changed"
            )

    def _prepare(self, connection: sqlite3.Connection) -> None:
        """
        Check a connection's format and content, and set how it works.
        """
        found = connection.execute("PRAGMA user_version").fetchone()[0]
        application = connection.execute("PRAGMA application_id").fetchone()[0]
        self._refuse_newer(application, found)
        if found != FORMAT or application != APPLICATION_ID:
            raise sqlite3.DatabaseError("it is no database of ours")
        verdict = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
        if verdict != "ok":
            raise sqlite3.DatabaseError(str(verdict).splitlines()[0])
        connection.execute("PRAGMA foreign_keys = ON")
        if not self._may_write:
            connection.execute("PRAGMA query_only = ON")
            return
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute(_REQUESTS)

    def close(self) -> None:
        """
        Close the database; the write-ahead log is folded in.
        """
        if self._connection is not None:
            self._connection.close()

    def rest(self) -> None:
        """
        Let go of the file until it is needed again. SQLite forbids a process to
        use what it opened before it was forked, and C{twistd} forks between
        making its services and starting them.
        """
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _awake(self) -> sqlite3.Connection:
        """
        Hand out the connection, made anew after a L{rest}.
        """
        if self._connection is None:
            self._connection = self._connect()
        return self._connection

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """
        Turn SQLite's errors into ours.
        """
        try:
            yield
        except sqlite3.Error as error:
            problem = f"{self.path}: {explain(self.path, error)}"
            if isinstance(error, sqlite3.OperationalError):
                self._outcome(problem)
            raise StateError(problem) from error

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """
        Hold the one writer's lock; commit and flush at the end, or undo
        everything if the body raises.
        """
        with self._errors():
            connection = self._awake()
            connection.execute("BEGIN IMMEDIATE")
            before = connection.total_changes
            try:
                yield connection
            except BaseException:
                if connection.in_transaction:  # a full disk may have undone it already
                    connection.execute("ROLLBACK")
                raise
            try:
                connection.execute("COMMIT")
            except sqlite3.Error:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise
            if connection.total_changes != before:
                self._outcome(None)

    def fold(self) -> None:
        """
        Fold the write-ahead log into the database, where damage can be seen: in a log
        SQLite takes it for the end. A reader, or a full disk, may put it off; what was
        committed stands in the log as well.
        """
        with contextlib.suppress(sqlite3.OperationalError):
            self._awake().execute("PRAGMA wal_checkpoint(TRUNCATE)")

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """
        Hand out the connection for queries.
        """
        with self._errors():
            yield self._awake()

    def touch(self) -> None:
        """
        Write something, to see whether the disk takes it.

        @raise StateError: it does not.
        """
        with self.transaction() as rows:
            rows.execute("INSERT OR REPLACE INTO facts VALUES ('touched', random())")

    # ---------------------------------------------------------- the mesh

    def claim(self, mesh_id: str) -> None:
        """
        Make the database that of one mesh: the rows of any other one go.
        """
        with self.transaction() as rows:
            found = rows.execute("SELECT value FROM facts WHERE name = 'mesh'").fetchone()
            if found is not None and found[0] == mesh_id:
                return
            rows.execute("DELETE FROM members")
            rows.execute("DELETE FROM invitations")
            rows.execute("DELETE FROM requests")
            rows.execute("DELETE FROM facts WHERE name LIKE 'seal:%'")
            rows.execute("INSERT OR REPLACE INTO facts VALUES ('mesh', ?)", (mesh_id,))

    def members(self) -> list[StoredMember]:
        """
        List the members.
        """
        with self.reading() as rows:
            found = rows.execute("SELECT node, chain, record, seen FROM members ORDER BY node")
            return [StoredMember(*row) for row in found]

    def upsert_members(self, members: Iterable[StoredMember]) -> None:
        """
        Keep members, in place of what was known of them, all in one commit.
        """
        with self.transaction() as rows:
            rows.executemany(
                "INSERT OR REPLACE INTO members (node, chain, record, seen) VALUES (?, ?, ?, ?)",
                [(each.node, each.chain, each.record, each.seen) for each in members],
            )

    def remove_members(self, nodes: Iterable[bytes]) -> None:
        """
        Forget members.
        """
        with self.transaction() as rows:
            rows.executemany("DELETE FROM members WHERE node = ?", [(node,) for node in nodes])
