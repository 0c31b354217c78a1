"""
Tests of mutated datagrams: at a node's links in memory, and at a node that runs.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from atmosphere.network.path.ways import DirectWay, RelayedWay, Way
from tests.end_to_end.harness import EndToEndTestCase
from tests.network.quic.harness import RELAY, Node, Recorder, World

from .datagrams import changed, flood


class MemoryTests(SynchronousTestCase):
    """
    The same datagrams in each run.
    """

    def captured(self, world: World, node: Node, guest: Node) -> list[bytes]:
        """
        Let a guest and a member talk with a node; give what all of them sent.
        """
        member = world.node(3)
        captured: list[bytes] = []

        def record(way: Way, data: bytes) -> bool:
            captured.append(data)
            return False

        world.lose = record
        for each in (guest, member):
            each.endpoint.dial(node.key.node_id, each.ways_to(node)).addCallback(
                lambda link: link.open_stream("echo", Recorder()).write(bytes(3_000))
            )
            world.run(2.0)
        world.lose = lambda way, data: False
        self.assertEqual(len(node.connected), 2)
        return captured

    def test_changed(self) -> None:
        """
        3,000 changed datagrams by every way end a link or are dropped; no call fails,
        half-open links stay few, and another node links and talks as before.
        """
        world = World()
        node, guest = world.node(1), world.node(2)
        guest.is_guest = True
        captured = self.captured(world, node, guest)
        self.assertGreater(len(captured), 40)
        ways: list[Way] = [DirectWay(guest.address), RelayedWay(RELAY, guest.key.node_id)]
        for number, data in enumerate(changed(captured, 3_000, "memory")):
            node.endpoint.datagrams_received(ways[number % 2], [data])
            if number % 50 == 0:
                world.run(0.1)
            self.assertLessEqual(len(node.endpoint._links), 256)
        self.assertEqual(node.endpoint.counters.failed_inside, 0)
        world.run(30.0)
        other, recorder = world.node(4), Recorder()
        link = other.endpoint.dial(node.key.node_id, other.ways_to(node))
        world.run(3.0)
        self.successResultOf(link).open_stream("echo", recorder).write(b"still there")
        world.run(1.0)
        self.assertEqual(recorder.data, b"still there")
        for each in world.nodes.values():
            each.endpoint.stop()


class LiveTests(EndToEndTestCase):
    """
    A node in a process of its own.
    """

    def test_flood(self) -> None:
        """
        2,000 changed datagrams leave a node's log without a traceback, its memory as it
        was, and its peer with an answer.
        """
        found = flood(self, 2_000)
        self.assertGreater(found.guests, 0)
        self.assertLess(found.after - found.before, 16 * 2**20)
        self.assertLess(found.cpu / found.sent, 0.002)
