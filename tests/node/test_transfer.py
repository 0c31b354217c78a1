"""
A long transfer between two whole nodes, while the path changes beneath it.
"""

from __future__ import annotations

from twisted.internet.error import ConnectionDone
from twisted.trial.unittest import SynchronousTestCase
from typing_extensions import override

from atmosphere.network.quic.connection import Link
from atmosphere.testing.link import TraceRecord

from .harness import SimulatedNode, World
from .transfer import Receiver, Sender

MEGABYTE = 1_000_000


class TransferTests(SynchronousTestCase):
    """
    Two public nodes, a relay, and a line of 2 MB a second.
    """

    @override
    def setUp(self) -> None:
        """
        Forget what an earlier test held.
        """
        self.world: World
        self.here: SimulatedNode
        self.there: SimulatedNode
        self.link: Link

    def link_up(self, seed: int, rate: float = 2 * MEGABYTE) -> None:
        """
        Link two nodes, by the relay at first: UDP between them is cut.
        """
        self.world = World(self.mktemp(), seed)
        self.addCleanup(self.world.release)
        self.world.start_relay(rate=1e9)
        self.here = self.world.node("portland", "198.51.100.1")
        self.there = self.world.node("seattle", "198.51.100.2")
        self.world.network.set_link(self.here.host, rate=rate, queue=1.0)
        self.cut()
        self.world.join(self.here, self.there)
        self.world.until(lambda: self.here.is_linked(self.there), 10)
        self.world.until(lambda: self.there.is_linked(self.here), 10)
        link = self.here.link_to(self.there)
        assert link is not None
        self.link = link

    def cut(self) -> None:
        """
        Let no UDP through between the two.
        """
        self.world.network.cut(self.here.host, self.there.host, tcp=False)

    def heal(self) -> None:
        """
        Let UDP through again.
        """
        self.world.network.heal(self.here.host, self.there.host)

    def transfer(self, total: int) -> tuple[Sender, Receiver]:
        """
        Begin to send, over one stream.
        """
        receiver = Receiver()
        self.there.service.links.services["test.sink"] = lambda link: receiver
        sender = Sender(total)
        self.link.open_stream("test.sink", sender)
        return sender, receiver

    def until_path(self, kind: str) -> float:
        """
        Let time pass until both ends send by a kind of path.
        """

        def has_come() -> bool:
            path, back = self.link.path, self.there.path_to(self.here)
            return path is not None and path.kind == kind == back

        return self.world.until(has_come, 20)

    def until_received(self, receiver: Receiver, count: int) -> float:
        """
        Let time pass until more than so many bytes have come.
        """
        return self.world.until(lambda: receiver.received > count)

    def assert_arrived(self, sender: Sender, receiver: Receiver, total: int) -> None:
        """
        Check that every byte came, once and in order, and both ends ended once.
        """
        self.assertEqual((sender.sent, receiver.received), (total, total))
        self.assertEqual(receiver.digest.hexdigest(), sender.digest.hexdigest())
        for reasons in (sender.reasons, receiver.reasons):
            self.assertEqual([type(each) for each in reasons], [ConnectionDone])

    def test_relayed_direct_relayed_direct(self) -> None:
        """
        50 MB over one stream are whole after the path has changed three times.
        """
        total = 50 * MEGABYTE
        self.link_up(seed=1)
        self.until_path("relayed")
        sender, receiver = self.transfer(total)
        for kind in ("direct", "relayed", "direct"):
            self.until_received(receiver, receiver.received + 3 * MEGABYTE)
            if kind == "direct":
                self.heal()
            else:
                self.cut()
            self.until_path(kind)
            before = receiver.received
            self.assertLess(before, total)
            self.assertLess(self.until_received(receiver, before), 0.2)
        self.world.until(lambda: receiver.reasons and sender.reasons, 200)
        self.assert_arrived(sender, receiver, total)
        self.world.stop()
        self.world.network.advance(1)
        self.assertEqual(self.world.clock.getDelayedCalls(), [])

    def trace(self, seed: int) -> list[TraceRecord]:
        """
        Move 2 MB relayed, then direct; list every packet.
        """
        self.link_up(seed)
        trace = self.world.network.record()
        sender, receiver = self.transfer(2 * MEGABYTE)
        self.until_received(receiver, MEGABYTE // 2)
        self.heal()
        self.world.until(lambda: receiver.reasons and sender.reasons)
        self.assert_arrived(sender, receiver, 2 * MEGABYTE)
        self.world.stop()
        return trace

    def test_same_seed(self) -> None:
        """
        The same seed gives the same packets at the same times, ciphertext aside.
        """
        first, second = self.trace(7), self.trace(7)
        self.assertGreater(len(first), 1000)
        self.assertEqual(first, second)
