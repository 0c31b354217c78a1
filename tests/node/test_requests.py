"""
Tests for L{atmosphere.node.requests}.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase
from typing_extensions import override

from atmosphere.errors import ConfigurationError
from atmosphere.identity import NodeID, NodeKey
from atmosphere.mesh.request import RequestAsked
from atmosphere.node.database import MeshDatabase
from atmosphere.node.requests import (
    KEPT_ADMITTED,
    KEPT_APPROVED,
    KEPT_DENIED,
    KEPT_WAITING,
    MAXIMUM,
    MAXIMUM_OF_SOURCE,
    Requests,
    RequestState,
    StoredRequest,
)

MESH = "mesh-" + "a" * 26


def node(number: int) -> NodeID:
    """
    Make a node ID.
    """
    return NodeKey(number.to_bytes(32, "big")).node_id


class RequestsTests(SynchronousTestCase):
    """
    A database, and a clock that the test moves.
    """

    @override
    def setUp(self) -> None:
        self.now = 1000.0
        self.path = Path(self.mktemp())
        self.path.mkdir(mode=0o700)
        self.open()

    def open(self) -> None:
        """
        Open the database, again or for the first time.
        """
        self.database = MeshDatabase(
            self.path / "mesh.db", wall=lambda: self.now, notice=lambda text: None
        )
        self.addCleanup(self.database.close)
        self.requests = Requests(self.database, lambda: self.now)

    def take(
        self, number: int, source: str = "192.0.2.1", name: str = "seattle"
    ) -> StoredRequest | None:
        """
        Have a node ask.
        """
        asked = RequestAsked(node(number), MESH, name, ("gpu", "disk"), b"", b"")
        return self.requests.take(asked, source, f"{source}:7777")

    def test_kept(self) -> None:
        """
        A request is there after a restart, as it was made.
        """
        taken = self.take(1)
        self.database.close()
        self.open()
        self.assertEqual(self.requests.list(), [taken])
        assert taken is not None
        self.assertEqual(taken.capabilities, ("gpu", "disk"))
        self.assertEqual(taken.expires_at, 1000 + KEPT_WAITING)

    def test_again(self) -> None:
        """
        Who asks again has one request, which lasts longer then; its name stays
        what an admin may have looked at.
        """
        first = self.take(1)
        self.now += 5
        self.assertEqual(self.take(1), first)
        self.now += 3600
        self.take(1, "192.0.2.2", "tacoma")
        (found,) = self.requests.list()
        self.assertEqual((found.came, found.name), (1000, "seattle"))
        self.assertEqual(found.address, "192.0.2.2:7777")
        self.assertEqual(found.expires_at, self.now + KEPT_WAITING)

    def test_expiry(self) -> None:
        """
        Each state lasts its time.
        """
        for state, kept in (
            (RequestState.APPROVED, KEPT_APPROVED),
            (RequestState.DENIED, KEPT_DENIED),
        ):
            self.take(1)
            self.assertEqual(self.requests.decide("seattle", state).state, state)
            self.now += kept - 1
            self.assertEqual([each.state for each in self.requests.list()], [state])
            self.now += 1
            self.assertEqual(self.requests.list(), [])
        taken = self.take(1)
        assert taken is not None
        self.requests.note_admitted(taken)
        self.now += KEPT_ADMITTED
        self.assertEqual(self.requests.list(), [])

    def test_decided_is_decided(self) -> None:
        """
        Asking again changes no decision; an admin may.
        """
        self.take(1)
        denied = self.requests.decide("seattle", RequestState.DENIED)
        self.assertEqual(self.take(1), denied)
        self.requests.decide("seattle", RequestState.APPROVED)
        approved = self.take(1)
        assert approved is not None
        self.assertEqual(approved.state, RequestState.APPROVED)
        self.requests.note_admitted(approved)
        self.assertRaises(ConfigurationError, self.requests.decide, "seattle", RequestState.DENIED)

    def test_one_address(self) -> None:
        """
        One address has so many requests and no more, and denying them makes no room.
        """
        for number in range(1, MAXIMUM_OF_SOURCE + 1):
            self.assertIsNotNone(self.take(number, name=f"n{number}"))
        self.assertIsNone(self.take(99))
        self.requests.decide("n1", RequestState.DENIED)
        self.assertIsNone(self.take(99))
        self.requests.decide("n2", RequestState.APPROVED)
        self.assertIsNotNone(self.take(99))
        self.assertIsNotNone(self.take(100, "192.0.2.2"))

    def test_all_addresses(self) -> None:
        """
        All together there are so many and no more, until they expire.
        """
        for number in range(1, MAXIMUM + 1):
            self.assertIsNotNone(self.take(number, f"192.0.2.{number}"))
        self.assertIsNone(self.take(999, "198.51.100.1"))
        self.assertIsNotNone(self.take(1, "192.0.2.1"))
        self.now += KEPT_WAITING
        self.assertIsNotNone(self.take(999, "198.51.100.1"))
        self.assertEqual(len(self.requests.list()), 1)

    def test_find(self) -> None:
        """
        A request is meant by its name, its node ID or the beginning of that.
        """
        taken = self.take(1)
        assert taken is not None
        whole = str(taken.node)
        for text in ("seattle", whole, whole[:4]):
            found = self.requests.decide(text, RequestState.DENIED)
            self.assertEqual(found.node, taken.node)
        for text in ("", whole[:3], "sea", "\x1b[2J"):
            error = self.assertRaises(
                ConfigurationError, self.requests.decide, text, RequestState.DENIED
            )
            self.assertNotIn("\x1b", str(error))
        self.take(2)
        self.assertRaises(ConfigurationError, self.requests.decide, "seattle", RequestState.DENIED)

    def test_name_like_an_id(self) -> None:
        """
        A name that begins like another's node ID does not hide that one, and a
        whole node ID always means its node.
        """
        taken = self.take(1)
        assert taken is not None
        whole = str(taken.node)
        self.take(2, name=whole)
        self.assertEqual(self.requests.decide(whole, RequestState.APPROVED).node, taken.node)
        self.take(3, name=whole[:8])
        self.assertRaises(
            ConfigurationError, self.requests.decide, whole[:8], RequestState.APPROVED
        )

    def test_other_mesh(self) -> None:
        """
        Requests to one mesh are none to another.
        """
        self.database.claim("mesh-a")
        self.take(1)
        self.database.claim("mesh-b")
        self.assertEqual(self.requests.list(), [])

    def test_older_database(self) -> None:
        """
        A database of an earlier version gets its table; nothing else changes.
        """
        with self.database.transaction() as rows:
            rows.execute("DROP TABLE requests")
        self.database.close()
        self.open()
        self.assertEqual(self.requests.list(), [])
        self.assertIsNotNone(self.take(1))

    def test_damaged(self) -> None:
        """
        A row that makes no sense is passed over, and its joiner may ask again.
        """
        taken = self.take(1)
        with self.database.transaction() as rows:
            rows.execute("UPDATE requests SET node = ?", (bytes(32),))
        self.assertEqual(self.requests.list(), [])
        self.assertEqual(self.take(1), taken)
        assert taken is not None
        self.assertEqual(self.requests.list(), [replace(taken)])
