# -*- test-case-name: tests.node.test_requests -*-
"""
Requests to join, on the disk until an admin has decided.

Strangers cause what is kept here, so all of it has bounds, and an end.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from enum import Enum

from atmosphere.errors import ConfigurationError, IdentityError
from atmosphere.identity import NodeID
from atmosphere.mesh.request import RequestAsked
from atmosphere.text import escape_peer_text

from .database import MeshDatabase

__all__ = ["RequestState", "Requests", "StoredRequest"]

#: Requests in all, and those from one address that wait or were denied.
MAXIMUM = 128
MAXIMUM_OF_SOURCE = 8

#: Seconds for which a request is kept after the joiner was last heard.
KEPT_WAITING = 86400.0
#: An approval waits for the joiner, a denial keeps it from asking again.
KEPT_APPROVED = 7 * 86400.0
KEPT_DENIED = 86400.0
#: An answer that was lost may be asked for again.
KEPT_ADMITTED = 600.0
#: The disk is not written for less.
WORTH_WRITING = 600.0

MINIMUM_PREFIX = 4


class RequestState(Enum):
    """
    What became of a request.
    """

    WAITING = "waiting"
    APPROVED = "approved"
    ADMITTED = "admitted"
    DENIED = "denied"


_KEPT = {
    RequestState.WAITING: KEPT_WAITING,
    RequestState.APPROVED: KEPT_APPROVED,
    RequestState.ADMITTED: KEPT_ADMITTED,
    RequestState.DENIED: KEPT_DENIED,
}


@dataclass(frozen=True, slots=True)
class StoredRequest:
    """
    A request as it is kept.

    @ivar name: what the joiner wants to be called: a stranger's text.
    @ivar capabilities: what it says of itself: likewise.
    @ivar source: what counts as one address, see
        L{way_source<atmosphere.network.path.ways.way_source>}.
    @ivar address: where it came from.
    @ivar came: when it came first, POSIX time.
    @ivar expires_at: until when it is kept.
    @ivar state: what became of it.
    """

    node: NodeID
    name: str
    capabilities: tuple[str, ...]
    source: str
    address: str
    came: float
    expires_at: float
    state: RequestState = RequestState.WAITING


class Requests:
    """
    The requests that this node keeps.
    """

    def __init__(self, database: MeshDatabase, wall: Callable[[], float]) -> None:
        self._database = database
        self._wall = wall

    def take(self, asked: RequestAsked, source: str, address: str) -> StoredRequest | None:
        """
        Keep a request, or find the one that the joiner made before.

        @param source: what counts as one address.
        @return: what is kept when this returns; C{None} if there is no room.
        @raise StateError: the disk refused.
        """
        wall = self._wall()
        wanted = StoredRequest(
            asked.joiner,
            asked.wanted_name,
            asked.capabilities,
            source,
            address,
            wall,
            wall + KEPT_WAITING,
        )
        with self._database.transaction() as rows:
            _forget_old(rows, wall)
            held = _read(rows, asked.joiner)
            if held is None:
                if not _has_room(rows, source) and not _make_room(rows, source):
                    return None
                _write(rows, wanted)
                return wanted
            if held.state is not RequestState.WAITING:
                return held
            # It keeps its name: an admin may just have looked at it.
            renewed = replace(held, expires_at=wanted.expires_at, source=source, address=address)
            is_elsewhere = renewed.source != held.source
            if is_elsewhere or renewed.expires_at >= held.expires_at + WORTH_WRITING:
                _write(rows, renewed)
                return renewed
            return held

    def decide(
        self, text: str, state: RequestState, *, members: Iterable[NodeID] = ()
    ) -> StoredRequest:
        """
        Approve or deny a request; it is durable when this returns. Who was
        denied may be approved after all, and the other way round.

        @param text: the name that the joiner wants, its node ID, or the
            beginning of that, of 4 characters or more.
        @param members: who is in already: a name that begins like one's node ID is not
            taken for a request's.
        @raise ConfigurationError: that means no request, or more than one.
        """
        wall = self._wall()
        with self._database.transaction() as rows:
            _forget_old(rows, wall)
            kept = _read_all(rows)
            open_ = [each for each in kept if each.state is not RequestState.ADMITTED]
            found = _find(open_, text, {*members, *(each.node for each in kept)})
            decided = replace(found, state=state, expires_at=wall + _KEPT[state])
            _write(rows, decided)
            return decided

    def note_admitted(self, request: StoredRequest) -> None:
        """
        Keep that a joiner has got its certificate.
        """
        wall = self._wall()
        state = RequestState.ADMITTED
        if request.state is not state:
            with self._database.transaction() as rows:
                _write(rows, replace(request, state=state, expires_at=wall + KEPT_ADMITTED))

    def forget_admitted(self, node: NodeID) -> None:
        """
        Forget the request of one that is a member.
        """
        with self._database.transaction() as rows:
            rows.execute("DELETE FROM requests WHERE node = ? AND state = 'admitted'", (node.raw,))

    def list(self) -> list[StoredRequest]:
        """
        List what is kept, those that came first first.
        """
        wall = self._wall()
        with self._database.reading() as rows:
            return [each for each in _read_all(rows) if each.expires_at > wall]


def _forget_old(rows: sqlite3.Connection, wall: float) -> None:
    """
    Forget what has had its time.
    """
    rows.execute("DELETE FROM requests WHERE expires_at <= ?", (wall,))


def _has_room(rows: sqlite3.Connection, source: str) -> bool:
    """
    Say whether one more may come from there.
    """
    total = rows.execute("SELECT count(*) FROM requests").fetchone()[0]
    same = rows.execute(
        "SELECT count(*) FROM requests WHERE source = ? AND state IN ('waiting', 'denied')",
        (source,),
    ).fetchone()[0]
    return bool(total < MAXIMUM and same < MAXIMUM_OF_SOURCE)


def _make_room(rows: sqlite3.Connection, source: str) -> bool:
    """
    Forget a request for one from another address, when it is all together that are too
    many: the oldest denied one, else the newest of an address that has more than its
    share. One that alone came from its address stays.

    @return: whether there is room now.
    """
    rows.execute("SAVEPOINT room")
    deleted = rows.execute(
        "DELETE FROM requests WHERE node IN (SELECT node FROM requests WHERE state = 'denied'"
        " AND source != ? ORDER BY came LIMIT 1)",
        (source,),
    )
    if deleted.rowcount < 1:
        rows.execute(
            "DELETE FROM requests WHERE node IN (SELECT node FROM requests"
            " WHERE state = 'waiting' AND source = (SELECT source FROM requests"
            " WHERE state = 'waiting' GROUP BY source HAVING count(*) > 1 + (SELECT count(*)"
            " FROM requests WHERE state = 'waiting' AND source = ?)"
            " ORDER BY count(*) DESC LIMIT 1) ORDER BY came DESC, node LIMIT 1)",
            (source,),
        )
    has_room = _has_room(rows, source)
    if not has_room:
        rows.execute("ROLLBACK TO room")
    rows.execute("RELEASE room")
    return has_room


def _find(requests: list[StoredRequest], text: str, known: Iterable[NodeID]) -> StoredRequest:
    """
    Find the request that a person means.

    @param known: whose node ID may be meant; nobody hides behind it by a name that
        is written like it.
    @raise ConfigurationError: none, or more than one.
    """
    found = [each for each in requests if str(each.node) == text]
    if not found:
        found = [
            each
            for each in requests
            if each.name == text
            or (len(text) >= MINIMUM_PREFIX and str(each.node).startswith(text))
        ]
    shown = escape_peer_text(text)
    if len(found) == 1:
        node = found[0].node
        if str(node).startswith(text) or not _is_id(text, known):
            return found[0]
        raise ConfigurationError(
            f"{shown} is the name that {node.short} wants and another's node ID: name it by its own"
        )
    if not found:
        raise ConfigurationError(f"nobody called {shown} asks to join: see `atmosphere requests`")
    several = ", ".join(each.node.short for each in found[:4])
    raise ConfigurationError(
        f"{shown} may be any of {several}: name one by more of its node ID, see"
        " `atmosphere requests --json`"
    )


def _is_id(text: str, known: Iterable[NodeID]) -> bool:
    """
    Say whether a text is a node ID, or the beginning of one that is known.
    """
    try:
        NodeID.from_text(text)
    except IdentityError:
        return len(text) >= MINIMUM_PREFIX and any(str(each).startswith(text) for each in known)
    return True


_COLUMNS = "node, name, capabilities, source, address, came, expires_at, state"


def _write(rows: sqlite3.Connection, request: StoredRequest) -> None:
    """
    Write a request in place of an older one of the same node.
    """
    rows.execute(
        f"INSERT OR REPLACE INTO requests ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (
            request.node.raw,
            request.name,
            "\n".join(request.capabilities),
            request.source,
            request.address,
            request.came,
            request.expires_at,
            request.state.value,
        ),
    )


def _read(rows: sqlite3.Connection, node: NodeID) -> StoredRequest | None:
    """
    Read one node's request.
    """
    row = rows.execute(f"SELECT {_COLUMNS} FROM requests WHERE node = ?", (node.raw,)).fetchone()
    return None if row is None else _from_row(row)


def _read_all(rows: sqlite3.Connection) -> list[StoredRequest]:
    """
    Read all requests.
    """
    found = rows.execute(f"SELECT {_COLUMNS} FROM requests ORDER BY came, node")
    read = [_from_row(row) for row in found.fetchall()]
    return [each for each in read if each is not None]


def _from_row(row: tuple[bytes, str, str, str, str, float, float, str]) -> StoredRequest | None:
    """
    Make a request of a row.

    @return: C{None} for one that is damaged; its joiner will ask again.
    """
    node, name, capabilities, source, address, came, expires_at, state = row
    try:
        return StoredRequest(
            NodeID(node),
            name,
            tuple(capabilities.split("\n")) if capabilities else (),
            source,
            address,
            came,
            expires_at,
            RequestState(state),
        )
    except (IdentityError, ValueError):
        return None
