"""
Tests of L{atmosphere.network.path.ways}.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from atmosphere.addresses import TransportAddress
from atmosphere.network.path.ways import DirectWay, RelayedWay, way_text

from .lane import A_ID, B_ID


class WayTests(SynchronousTestCase):
    """
    Ways are values.
    """

    def test_equal(self) -> None:
        """
        Two ways to the same place are one key of a mapping.
        """
        one = DirectWay(TransportAddress("::ffff:192.0.2.1", 7777))
        two = DirectWay(TransportAddress("192.0.2.1", 7777))
        self.assertEqual({one: 1}[two], 1)
        self.assertNotEqual(RelayedWay("wss://r", A_ID), RelayedWay("wss://r", B_ID))

    def test_text(self) -> None:
        """
        A way is named for people.
        """
        self.assertEqual(way_text(DirectWay(TransportAddress("2001:db8::1", 7))), "[2001:db8::1]:7")
        self.assertEqual(way_text(RelayedWay("wss://r", A_ID)), "relay wss://r")
        self.assertEqual(way_text(None), "no way")
