"""
Whenever a process is killed, nothing that it had acknowledged is lost. The long run
is C{python -m tests.end_to_end.kills}.
"""

from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from atmosphere.node.store import NodeStore
from tests.node.kills import DEEDS, Kills, wall


class KillTests(SynchronousTestCase):
    """
    A few of many rounds.
    """

    def test_killed(self) -> None:
        """
        All deeds, each killed at some places and at some moments: the state is
        readable, unmended, and holds all that was acknowledged.
        """
        kills = Kills(self.folder(), seed=4)
        for number in range(30):
            place = None if number % 2 else kills.random.randrange(1500)
            kills.round(list(DEEDS)[number % len(DEEDS)], place)
        self.assertEqual(kills.problems, [])
        self.assertEqual(kills.rounds, dict.fromkeys(DEEDS, 6))
        self.assertGreater(kills.acknowledged, 10)

    def test_not_blind(self) -> None:
        """
        What is lost is found: a code, an identity, a redemption, a membership.
        """
        kills = Kills(self.folder(), seed=1)
        for deed in ("invite", "join"):
            kills.round(deed)
        while not kills.known.redeemed or not kills.known.is_member:
            kills.round("join")
        self.assertEqual(kills.problems, [])
        with NodeStore.open(kills.folder / "issuer", wall=wall) as store:
            store.database.claim("another mesh")
        kills.known.is_member = False
        kills.known.nodes["joiner"] = "somebody else"
        kills.look("now")
        found = "\n".join(kills.problems)
        for words in ("is lost", "another identity", "is a member: True"):
            self.assertIn(words, found)

    def folder(self) -> Path:
        """
        Make an empty folder.
        """
        path = Path(self.mktemp())
        path.mkdir()
        return path
