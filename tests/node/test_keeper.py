"""
Tests for L{atmosphere.node.keeper}.
"""

from __future__ import annotations

import itertools
from typing import cast

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from typing_extensions import override

from atmosphere.errors import LinkError
from atmosphere.identity import NodeID, NodeKey
from atmosphere.node.keeper import LinkKeeper
from atmosphere.node.links import NodeLinks
from atmosphere.node.mesh import NodeMesh


class FakeMember:
    """
    A member, as far as the keeper asks.
    """

    def __init__(self, node: NodeID) -> None:
        self.node = node


class FakeLink:
    """
    A link, as far as the keeper asks.
    """

    def __init__(self, peer: NodeID) -> None:
        self.peer = peer


class FakeNode:
    """
    Links that the test makes, and a mesh with the members that it names.

    @ivar dials: each dial's time, and whom it went to.
    """

    def __init__(self, clock: Clock, count: int) -> None:
        self.on_connected: list[object] = []
        self.linked: set[NodeID] = set()
        self.dials: list[tuple[float, NodeID]] = []
        self.dialling: dict[NodeID, Deferred[object]] = {}
        self._clock = clock
        keys = [NodeKey(number.to_bytes(32, "big")) for number in range(1, count + 1)]
        self.members = [FakeMember(key.node_id) for key in keys]

    def others(self) -> list[FakeMember]:
        """
        List the members.
        """
        return self.members

    def link_to(self, node: NodeID) -> object | None:
        """
        Find a link.
        """
        return FakeLink(node) if node in self.linked else None

    def connect(self, node: NodeID) -> Deferred[object]:
        """
        Note a dial.
        """
        self.dials.append((self._clock.seconds(), node))
        self.dialling[node] = Deferred()
        return self.dialling[node]

    def connected(self, node: NodeID) -> None:
        """
        Let a peer be linked.
        """
        self.linked.add(node)
        for listener in self.on_connected:
            assert callable(listener)
            listener(FakeLink(node))


class KeeperTests(SynchronousTestCase):
    """
    When members are dialled.
    """

    @override
    def setUp(self) -> None:
        """
        Start with one other member.
        """
        self.clock = Clock()
        self.start(1)

    def start(self, members: int) -> None:
        """
        Begin with so many other members.
        """
        self.node = FakeNode(self.clock, members)
        self.keeper = LinkKeeper(
            self.clock, cast(NodeLinks, self.node), cast(NodeMesh, self.node), random=lambda: 0.5
        )
        self.keeper.start()

    def fail_all(self) -> None:
        """
        Let every dial fail that is under way.
        """
        dialling, self.node.dialling = self.node.dialling, {}
        for each in dialling.values():
            each.errback(LinkError("nobody there"))

    def test_ever_more_slowly(self) -> None:
        """
        A member that is not reached is dialled for ever, at last once a minute.
        """
        for _ in range(600):
            self.clock.advance(1)
            self.fail_all()
        times = [time for time, _ in self.node.dials]
        pauses = [later - earlier for earlier, later in itertools.pairwise(times)]
        self.assertLessEqual(times[0], 2)
        self.assertEqual(pauses, sorted(pauses))
        self.assertLess(pauses[0], 4)
        self.assertTrue(30 <= pauses[-1] <= 61)
        self.assertGreater(len(times), 12)

    def test_one_dial_at_a_time(self) -> None:
        """
        While a dial is under way there is no second one.
        """
        self.clock.pump([1] * 30)
        self.assertEqual(len(self.node.dials), 1)

    def test_linked(self) -> None:
        """
        A member that is linked is left alone, and dialled soon when it is not.
        """
        (member,) = self.node.members
        self.node.connected(member.node)
        self.clock.pump([1] * 30)
        self.assertEqual(self.node.dials, [])
        self.node.linked.clear()
        self.clock.pump([1] * 3)
        self.assertEqual(len(self.node.dials), 1)

    def test_failures_are_forgotten(self) -> None:
        """
        Once a link was made, the next absence is met with patience anew.
        """
        (member,) = self.node.members
        for _ in range(300):
            self.clock.advance(1)
            self.fail_all()
        self.node.connected(member.node)
        self.node.linked.clear()
        before = len(self.node.dials)
        for _ in range(10):
            self.clock.advance(1)
            self.fail_all()
        self.assertGreaterEqual(len(self.node.dials) - before, 3)

    def test_hurry(self) -> None:
        """
        When a relay has let us in, nobody waits out a minute.
        """
        for _ in range(300):
            self.clock.advance(1)
            self.fail_all()
        before = len(self.node.dials)
        self.keeper.hurry()
        self.clock.pump([1] * 2)
        self.assertEqual(len(self.node.dials), before + 1)

    def test_many(self) -> None:
        """
        In a large mesh a node has a few neighbours, not thousands.
        """
        self.keeper.stop()
        self.start(100)
        self.clock.pump([1] * 5)
        self.assertEqual(len(self.node.dials), 32)

    def test_left(self) -> None:
        """
        One that is no member any more is not dialled, and forgotten.
        """
        self.clock.pump([1] * 2)
        self.node.members.clear()
        self.fail_all()
        self.clock.pump([1] * 100)
        self.assertEqual(len(self.node.dials), 1)
        self.assertEqual(self.keeper._attempts, {})

    def test_stop(self) -> None:
        """
        Afterwards nobody is dialled, and no timer is left.
        """
        self.keeper.stop()
        self.keeper.stop()
        self.assertEqual(self.clock.getDelayedCalls(), [])
