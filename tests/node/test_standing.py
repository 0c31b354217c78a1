"""
Tests for L{atmosphere.node.standing}.
"""

from __future__ import annotations

from collections.abc import Callable

from typing_extensions import override

from atmosphere.errors import ConfigurationError, JoinError, StateError
from atmosphere.node.standing import REACHABLE_FOR
from atmosphere.node.state_file import StateFile

from .harness import WorldCase


class FullFile(StateFile):
    """
    A file on a disk that is full.
    """

    def __init__(self, outcome: Callable[[str | None], None]) -> None:
        self._outcome = outcome

    @override
    def write(self, payload: bytes) -> None:
        """
        Fail.
        """
        self._outcome("no room still")
        raise StateError("no room still")


class StandingTests(WorldCase):
    """
    A node says truly how it and its peers fare.
    """

    @override
    def setUp(self) -> None:
        """
        Make two nodes.
        """
        super().setUp()
        self.first = self.world.node("portland", "198.51.100.1")
        self.second = self.world.node("seattle", "198.51.100.2")

    def test_alone(self) -> None:
        """
        A node in no mesh says so, and knows nobody.
        """
        status = self.first.service.status()
        self.assertEqual((status["name"], status["mesh_id"]), ("portland", None))
        self.assertEqual(status["peers"], {"known": 0, "connected": 0})
        self.assertEqual(self.first.service.peers(), [])
        self.assertRaises(JoinError, self.first.service.find, "seattle")

    def test_states(self) -> None:
        """
        A peer is connected, then reachable for five minutes, then away.
        """
        self.world.join(self.first, self.second)
        self.world.until(lambda: self.first.states() == {"seattle": "connected"}, 10)
        self.second.kill()
        self.world.network.advance(60)
        self.assertEqual(self.first.states(), {"seattle": "reachable"})
        self.world.network.advance(REACHABLE_FOR)
        self.assertEqual(self.first.states(), {"seattle": "away"})
        self.assertIsNone(self.first.service.peers()[0]["path"])

    def test_disk(self) -> None:
        """
        What was damaged is told, and that the disk refuses, for as long as it does.
        """
        store = self.first.service._store
        store.notices.append("a file was damaged")
        store._wrote("no room")
        self.assertEqual(self.first.service.status()["warnings"], ["a file was damaged"])
        file, store._facts_file = store._facts_file, FullFile(store._wrote)
        for _ in range(2):
            store._wrote("no room")
            self.assertEqual(
                self.first.service.status()["warnings"],
                [
                    "a file was damaged",
                    "the disk refuses; the node runs on and keeps nothing new: no room still",
                ],
            )
        store._facts_file = file
        self.assertEqual(self.first.service.status()["warnings"], ["a file was damaged"])

    def test_find(self) -> None:
        """
        Nobody, and oneself, are errors that say so.
        """
        self.world.join(self.first, self.second)
        self.assertRaises(ConfigurationError, self.first.service.find, "nobody")
        error = self.assertRaises(ConfigurationError, self.first.service.find, "portland")
        self.assertIn("itself", str(error))
