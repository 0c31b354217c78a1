"""
Tests of forged Initials: on a simulated clock, where a thousand a second are exact.
"""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from atmosphere.addresses import TransportAddress
from atmosphere.network.path.ways import DirectWay, Way
from atmosphere.network.quic.connection import Link
from tests.network.quic.harness import Node, World

from .initials import forged_initials

PER_SECOND = 1_000


class FloodTests(SynchronousTestCase):
    """
    Initials from addresses that never answer.
    """

    def begin(self) -> Node:
        """
        Make a node, and forty good Initials that are to be varied.
        """
        self.world = World()
        self.node = self.world.node(1)
        self.initials = forged_initials(40)
        self.sent = self.received = self.number = self.most = 0

        def count(way: Way, data: bytes) -> bool:
            is_forged = isinstance(way, DirectWay) and way.address.host.startswith("10.")
            self.received += len(data) * is_forged
            return is_forged

        self.world.lose = count
        return self.node

    def forge(self) -> None:
        """
        Send the Initial that is due, by an address of its own and with an ID of its own.
        """
        number = self.number
        self.number += 1
        data = self.initials[number % len(self.initials)]
        if number >= len(self.initials):
            data = data[:6] + number.to_bytes(8, "big") + data[14:]
        host = f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"
        self.sent += len(data)
        way = DirectWay(TransportAddress(host, 1024 + number % 60_000))
        self.node.endpoint.datagrams_received(way, [data])
        half_open = [each for each in self.node.endpoint._links if not each.is_connected]
        self.most = max(self.most, len(half_open))

    def flood(self, seconds: float, until: Deferred[Link] | None = None) -> float:
        """
        Forge for a while.

        @return: how long it was.
        """
        began = self.world.clock.seconds()
        for _ in range(round(seconds * PER_SECOND)):
            self.forge()
            self.world.run(1 / PER_SECOND)
            if until is not None and until.called:
                break
        return self.world.clock.seconds() - began

    def test_others_get_in(self) -> None:
        """
        Under a thousand a second each real handshake is done within a second, few links
        are half open, and forged addresses get less than was sent in their name.
        """
        node = self.begin()
        self.flood(1.0)
        for number in range(2, 7):
            other = self.world.node(number)
            dialling = other.endpoint.dial(node.key.node_id, [DirectWay(node.address)])
            self.assertLess(self.flood(1.0, dialling), 1.0)
            self.assertTrue(self.successResultOf(dialling).is_open)
        self.assertLessEqual(self.most, 64)
        self.assertGreater(node.endpoint.counters.retries_sent, 900)
        self.assertLess(self.received, self.sent)
        self.world.run(15.0)
        self.assertEqual(len(node.endpoint._links), 5)
        for each in self.world.nodes.values():
            each.endpoint.stop()
