"""
Tests for L{atmosphere.node.pinging}, between whole nodes behind NATs.
"""

from __future__ import annotations

from itertools import combinations_with_replacement
from typing import Any

from twisted.internet.defer import CancelledError

from atmosphere.errors import ConfigurationError, LinkError
from atmosphere.network.path.reports import PathChanged, PathEvent
from atmosphere.network.path.ways import DirectWay, RelayedWay
from atmosphere.network.quic.connection import Link
from atmosphere.testing import CGNAT, FULL_CONE, PORT_RESTRICTED, SYMMETRIC, NatBehaviour

from .harness import SimulatedNode, WorldCase


class PingTests(WorldCase):
    """
    Two members of one mesh.
    """

    def pair(
        self, one: NatBehaviour | None = None, other: NatBehaviour | None = None
    ) -> tuple[SimulatedNode, SimulatedNode]:
        """
        Make two nodes, each behind its own NAT or none, and let one join the other.
        """
        first = self.world.node("portland", "198.51.100.1", behind=one)
        second = self.world.node("seattle", "198.51.100.2", behind=other)
        self.world.join(first, second)
        return first, second

    def test_through_two_nats(self) -> None:
        """
        Between two ordinary NATs a ping is relayed first, then the hole is punched.
        """
        first, second = self.pair(PORT_RESTRICTED, PORT_RESTRICTED)
        for node in (first, second):
            node.kill()
            assert node.nat is not None
            node.nat.reboot()  # or the hole that joining made is there already
        for node in (first, second):
            node.restart()
        emitted: list[Any] = []
        ways: list[type] = []

        def note(link: Link, event: PathEvent) -> None:
            if isinstance(event, PathChanged):
                ways.append(type(event.new))

        first.service.links.on_path.append(note)
        run = first.service.ping(
            "seattle", count=100, interval=0.5, timeout=10, until_direct=True, emit=emitted.append
        )
        summary = self.world.result(run)
        self.assertEqual(emitted, summary["replies"])
        self.assertEqual(ways, [RelayedWay, DirectWay])
        self.assertEqual(emitted[-1]["path"]["kind"], "punched")
        self.assertEqual(emitted[-1]["path"]["remote"], "198.51.100.2:7777")
        self.assertLess(summary["direct_ms"], 5000)
        self.assertLessEqual(summary["first_reply_ms"], summary["direct_ms"])
        self.assertEqual(summary["path"], emitted[-1]["path"])
        self.assertEqual(summary["sent"], summary["received"])
        self.assertEqual(self.world.ping(second, "portland")["path"]["kind"], "punched")

    def test_through_two_hard_nats(self) -> None:
        """
        Between two symmetric NATs the relay carries everything, and does so well.
        """
        first, second = self.pair(SYMMETRIC, SYMMETRIC)
        self.world.network.advance(30)
        for one, name in ((first, "seattle"), (second, "portland")):
            summary = self.world.ping(one, name)
            self.assertEqual((summary["sent"], summary["received"]), (3, 3))
            self.assertEqual(summary["path"]["kind"], "relayed")
            self.assertIsNone(summary["direct_ms"])
            self.assertLess(summary["rtt_ms"]["max"], 100)

    def test_every_pair(self) -> None:
        """
        All but two hard NATs let a direct path through, within five seconds.
        """
        easy = (None, FULL_CONE, PORT_RESTRICTED, CGNAT)
        pairs = list(combinations_with_replacement(easy, 2))
        pairs += [(None, SYMMETRIC), (FULL_CONE, SYMMETRIC)]
        for number, (one, other) in enumerate(pairs):
            self.world = self.make_world(seed=number)
            self.world.start_relay()
            first, second = self.pair(one, other)
            summary = self.world.ping(first, "seattle", count=0, until_direct=True)
            self.assertLess(summary["direct_ms"], 5000, (one, other))
            self.assertNotEqual(second.path_to(first), "relayed", (one, other))

    def test_same_nat(self) -> None:
        """
        Two nodes behind one NAT find each other on its LAN.
        """
        first = self.world.node("portland", "198.51.100.1", behind=PORT_RESTRICTED)
        nat = first.nat
        assert nat is not None
        second = self.world.node("seattle", "192.168.1.77", on=nat)
        self.world.join(first, second)
        summary = self.world.ping(first, "seattle", until_direct=True, count=0)
        self.assertEqual(summary["path"]["remote"], "192.168.1.77:7777")
        self.assertLess(summary["path"]["rtt_ms"], 5)

    def test_path(self) -> None:
        """
        Pings that are to be relayed are, beside a link that is direct; those that are to
        be direct wait for that. An unknown kind is refused.
        """
        first, second = self.pair(PORT_RESTRICTED, PORT_RESTRICTED)
        self.world.until(lambda: first.path_to(second) == "punched")
        for path, kind in (("relayed", "relayed"), ("direct", "punched"), ("auto", "punched")):
            run = first.service.ping(
                "seattle",
                count=2,
                interval=0.5,
                timeout=10,
                until_direct=False,
                emit=lambda reply: None,
                path=path,
            )
            summary = self.world.result(run)
            self.assertEqual([each["path"]["kind"] for each in summary["replies"]], [kind] * 2)
        self.assertEqual(first.path_to(second), "punched")
        with self.assertRaises(ConfigurationError):
            first.service.ping(
                "seattle",
                count=1,
                interval=1,
                timeout=1,
                until_direct=False,
                emit=self.fail,
                path="fast",
            )

    def test_nobody_there(self) -> None:
        """
        A peer that does not answer in time is an error that names it.
        """
        first, second = self.pair()
        self.world.until(lambda: first.is_linked(second))
        second.kill(is_silent=True)
        self.world.network.advance(20)
        run = first.service.ping(
            "seattle", count=3, interval=1, timeout=2, until_direct=False, emit=self.fail
        )
        error = self.assertRaises(LinkError, self.world.result, run)
        self.assertIn("seattle", str(error))

    def test_time_is_over(self) -> None:
        """
        A wait for a direct path ends when its time is over, however sums of seconds
        are rounded.
        """
        first, second = self.pair(SYMMETRIC, SYMMETRIC)
        self.world.until(lambda: first.is_linked(second))
        agenda = self.world.network.agenda
        agenda.most_at_once = 1_000
        for _ in range(20):
            self.world.network.advance(0.1)
            summary = self.world.ping(
                first, "seattle", count=0, interval=0.25, timeout=2, until_direct=True
            )
            self.assertEqual(summary["direct_ms"], None)
            self.assertLessEqual(summary["sent"], 10)

    def test_lost_underway(self) -> None:
        """
        Pings that are not answered count as sent, not as received.
        """
        first, second = self.pair()
        self.world.until(lambda: first.is_linked(second))
        emitted: list[Any] = []
        run = first.service.ping(
            "seattle", count=4, interval=1, timeout=1.5, until_direct=False, emit=emitted.append
        )
        self.world.until(lambda: len(emitted) == 2)
        self.world.network.cut(second.host)
        summary = self.world.result(run)
        self.assertEqual((summary["sent"], summary["received"]), (4, 2))

    def test_lost_for_long(self) -> None:
        """
        A peer that is gone for good does not take away what was measured before; the
        pings for which there was no link count as sent.
        """
        first, second = self.pair()
        self.world.until(lambda: first.is_linked(second))
        emitted: list[Any] = []
        run = first.service.ping(
            "seattle", count=8, interval=1, timeout=3, until_direct=False, emit=emitted.append
        )
        self.world.until(lambda: len(emitted) == 2)
        self.world.network.cut(second.host)
        summary = self.world.result(run)
        self.assertEqual((summary["sent"], summary["received"]), (8, 2))
        self.assertEqual(summary["replies"], emitted)

    def test_until_direct_in_time(self) -> None:
        """
        A wait for a direct path where there is none ends in time, with what came.
        """
        first = self.world.node("portland", "198.51.100.1", path_policy="relayed")
        second = self.world.node("seattle", "198.51.100.2", path_policy="relayed")
        self.world.join(first, second)
        summary = self.world.ping(
            first, "seattle", count=0, interval=0.5, timeout=3, until_direct=True
        )
        self.assertEqual(summary["sent"], summary["received"])
        self.assertGreaterEqual(summary["received"], 5)
        self.assertIsNone(summary["direct_ms"])

    def test_relayed_on_one_side(self) -> None:
        """
        A node that wants relayed paths alone gets them, whatever the other one wants
        and whoever dials.
        """
        first = self.world.node("portland", "198.51.100.1", path_policy="relayed")
        second = self.world.node("seattle", "198.51.100.2")
        self.world.join(first, second)
        for node, peer in ((first, "seattle"), (second, "portland")):
            summary = self.world.ping(node, peer)
            self.assertEqual(summary["received"], 3)
            self.assertEqual({reply["path"]["kind"] for reply in summary["replies"]}, {"relayed"})

    def test_interrupted(self) -> None:
        """
        Whoever gives up waiting leaves no timer and no stream.
        """
        first, second = self.pair()
        self.world.until(lambda: first.is_linked(second))
        self.world.network.advance(20)
        link = first.link_to(second)
        assert link is not None
        before, listeners = link.open_streams, list(first.service.links.on_path)
        run = first.service.ping(
            "seattle", count=0, interval=1, timeout=5, until_direct=False, emit=lambda reply: None
        )
        self.world.network.advance(3.5)
        run.cancel()
        self.failureResultOf(run, CancelledError)
        self.world.network.advance(1)
        self.assertEqual(link.open_streams, before)
        self.assertEqual(first.service.links.on_path, listeners)
