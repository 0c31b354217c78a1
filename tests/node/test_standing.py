"""
Tests for L{atmosphere.node.standing}.
"""

from __future__ import annotations

from collections.abc import Callable

from typing_extensions import override

from atmosphere.errors import ConfigurationError, JoinError, StateError
from atmosphere.node.keeper import LOOK_FOR
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

    def test_connecting(self) -> None:
        """
        Started again after long, a node is connecting with its peers until it is connected:
        none of them is away.
        """
        self.world.join(self.first, self.second)
        self.world.until(lambda: self.first.states() == {"seattle": "connected"}, 10)
        self.first.kill()
        self.world.advance(2 * REACHABLE_FOR)
        self.first.restart()
        found = [self.first.states()["seattle"]]
        while found[-1] != "connected" and len(found) < 100:
            self.world.advance(0.1)
            found.append(self.first.states()["seattle"])
        self.assertEqual(list(dict.fromkeys(found)), ["connecting", "connected"])

    def test_connecting_in_vain(self) -> None:
        """
        A peer that does not answer is away as soon as that is known, and so are all where
        there is no network.
        """
        self.world.join(self.first, self.second)
        self.world.until(lambda: self.first.states() == {"seattle": "connected"}, 10)
        for is_offline in (False, True):
            self.second.host.kill(is_silent=True)
            self.first.kill()
            if is_offline:
                self.world.network.cut(self.first.host)
            self.world.advance(2 * REACHABLE_FOR)
            self.first.restart()
            self.assertEqual(self.first.states(), {"seattle": "connecting"})
            self.world.until(lambda: self.first.states() == {"seattle": "away"}, LOOK_FOR + 2)
            for _ in range(100):
                self.world.advance(1)
                self.assertEqual(self.first.states(), {"seattle": "away"})

    def test_silence_after_long(self) -> None:
        """
        A peer that falls silent after hours was heard of a moment ago; five minutes later
        it is away, and stays so when its link is given up.
        """
        self.world.join(self.first, self.second)
        self.world.advance(7200)
        self.assertEqual(self.first.states(), {"seattle": "connected"})
        self.second.kill(is_silent=True)
        self.world.until(lambda: self.first.states() != {"seattle": "connected"}, 10)
        self.assertEqual(self.first.states(), {"seattle": "reachable"})
        self.world.advance(REACHABLE_FOR)
        for _ in range(60):
            self.assertEqual(self.first.states(), {"seattle": "away"})
            self.world.advance(30)

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
