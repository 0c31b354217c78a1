"""
Tests of nodes whose relays are hostile: programs that run.
"""

from __future__ import annotations

from tests.end_to_end.harness import EndToEndTestCase

from .relays import WORST, attack


class HostileRelayTests(EndToEndTestCase):
    """
    A node with one good relay and seven bad ones.
    """

    def test_worst(self) -> None:
        """
        The node admits another by the good relay and answers its pings; it dials the bad
        ones ever more rarely, and neither its memory nor its log grows by them.
        """
        found = attack(self, WORST, 1.0)
        self.assertEqual(found.failed, 0)
        self.assertGreaterEqual(len(found.connections), len(WORST) - 1)
        self.assertLess(max(found.connections.values()), 24)
        self.assertLess(found.grown, 24 * 2**20)
