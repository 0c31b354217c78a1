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

    def test_shares(self) -> None:
        """
        When there is no room at all, an address that has more than its share makes some
        for one that has less; who alone came from its address stays.
        """
        self.take(1, "192.0.2.200", "boston")
        numbers = iter(range(2, MAXIMUM + 1))
        for source in range(MAXIMUM // MAXIMUM_OF_SOURCE):
            for _, number in zip(range(MAXIMUM_OF_SOURCE), numbers, strict=False):
                self.now += 1
                self.assertIsNotNone(self.take(number, f"192.0.2.{source}"))
        self.assertEqual(len(self.requests.list()), MAXIMUM)
        self.assertIsNotNone(self.take(500, "198.51.100.1", "newcomer"))
        self.assertEqual(len(self.requests.list()), MAXIMUM)
        self.assertIsNone(self.take(501, "192.0.2.0"))
        for number in range(600, 700):
            self.take(number, f"198.51.100.{number - 500}")
        names = {each.name for each in self.requests.list()}
        self.assertLessEqual({"boston", "newcomer"}, names)
        self.assertEqual(len(self.requests.list()), MAXIMUM)

    def test_denials_make_room(self) -> None:
        """
        When there is no room at all, who was denied makes some, but not for its own address.
        """
        for number in range(1, MAXIMUM + 1):
            self.take(number, f"192.0.2.{number}", f"n{number}")
        self.assertIsNone(self.take(999, "198.51.100.1"))
        self.requests.decide("n7", RequestState.DENIED)
        self.assertIsNone(self.take(998, "192.0.2.7"))
        self.assertIsNotNone(self.take(999, "198.51.100.1"))
        self.assertIsNone(self.take(998, "198.51.100.2"))
        self.assertNotIn("n7", {each.name for each in self.requests.list()})

    def test_name_of_one_that_is_in(self) -> None:
        """
        Who calls itself like the node ID of one that is in already, or has gone, is not
        taken for it.
        """
        first = self.take(1)
        assert first is not None
        whole = str(first.node)
        self.take(2, "192.0.2.2", whole[:10])
        self.take(3, "192.0.2.3", whole)
        self.requests.note_admitted(first)
        for forget in (False, True):
            if forget:
                self.requests.forget_admitted(first.node)
            for text in (whole[:10], whole):
                error = self.assertRaises(
                    ConfigurationError,
                    self.requests.decide,
                    text,
                    RequestState.APPROVED,
                    members=[first.node] if forget else (),
                )
                self.assertIn("another's node ID", str(error))
        self.assertRaises(ConfigurationError, self.requests.decide, whole, RequestState.APPROVED)
        for number in (2, 3):
            held = self.requests.decide(str(node(number)), RequestState.DENIED)
            self.assertEqual(held.node, node(number))

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
