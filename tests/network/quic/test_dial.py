"""
Tests for L{atmosphere.network.quic.dial}: streams on attempts that lose, or that
nobody wants any more.
"""

from __future__ import annotations

from atmosphere.network.path.ways import DirectWay
from atmosphere.network.quic.connection import Link
from atmosphere.network.quic.core_events import Phase
from atmosphere.network.quic.dial import PATIENCE

from .early_case import Asker, EarlyCase
from .harness import Echo, World


class AttemptTests(EarlyCase):
    """
    Streams on an attempt that loses, or that nobody wants any more.
    """

    def test_another_link(self) -> None:
        """
        When another attempt was welcomed first, a stream on the one that waits still
        ends in two seconds, and what it said has been delivered once at most.
        """
        self.world.cut = set()
        ways = self.a.ways_to(self.b)

        def begun(link: Link) -> None:
            self.links.append(link)
            link.open_stream("echo", self.asker).write(b"once")
            self.world.lose = lambda way, data: link in self.losing(data)

        dialling = self.a.endpoint.dial(self.b.key.node_id, ways, is_early=True)
        dialling.addCallback(begun)
        waiting = self.a.endpoint.dial(self.b.key.node_id, ways)
        self.world.run(10.0, lambda: waiting.called)
        second = self.successResultOf(waiting)
        self.assertIsNot(second, self.links[0])
        self.assertIsNone(self.asker.lost)
        self.world.run(PATIENCE + 0.1)
        self.assertIn("another link", str(self.asker.lost))
        self.assertEqual(self.asker.data, b"")
        self.world.lose = lambda way, data: False
        self.world.run(20.0)
        self.assertLessEqual(sum(each.data == b"once" for each in self.accepted()), 1)

    def losing(self, data: bytes) -> list[Link]:
        """
        Say whose answers get lost: those of the first attempt.
        """
        link = self.a.endpoint._link_of(data) if data[0] >= 4 else None
        return [] if link is None else [link]

    def test_welcomed_all_the_same(self) -> None:
        """
        A stream on an attempt that is welcomed after another link was made goes on.
        """
        link = self.begin()
        link.open_stream("echo", self.asker).write(b"x")
        link.pump()
        link.be_quick(PATIENCE)
        self.world.run(PATIENCE + 1.0)
        self.assertEqual((self.asker.data, self.asker.lost), (b"x", None))

    def test_cancelled(self) -> None:
        """
        A dial for a stream that nobody waits for any more is given up.
        """
        dialling = self.dial()
        self.world.run(self.trip / 2)
        dialling.cancel()
        self.failureResultOf(dialling)
        self.world.run(10.0)
        self.assertEqual((self.a.connected, self.b.connected), ([], []))
        self.assertEqual(self.world.clock.getDelayedCalls(), [])

    def test_stream_aborted(self) -> None:
        """
        So is one whose only stream was aborted before the welcome; the listener's
        applications see nothing of it.
        """
        transport = self.begin().open_stream("echo", self.asker)
        transport.write(b"x")
        transport.abortConnection()
        self.world.run(10.0)
        self.assertEqual((self.a.connected, self.asker.data), ([], b""))
        self.assertEqual([each.data for each in self.accepted()], [])
        self.assertEqual(self.world.clock.getDelayedCalls(), [])

    def test_others_wait(self) -> None:
        """
        Who waits for the link is not left alone by a stream that is aborted.
        """
        dialling = self.a.endpoint.dial(self.b.key.node_id, self.a.ways_to(self.b))
        self.begin().open_stream("echo", self.asker).abortConnection()
        self.world.run(1.0)
        self.assertTrue(self.successResultOf(dialling).is_open)

    def test_a_stream_is_enough(self) -> None:
        """
        A dial on whose link somebody has a stream is not given up with the last who waits.
        """
        dialling = self.a.endpoint.dial(self.b.key.node_id, self.a.ways_to(self.b))
        dialling.addErrback(lambda _: None)
        link = self.begin()
        link.open_stream("echo", self.asker).write(b"x")
        dialling.cancel()
        self.world.run(1.0)
        self.assertEqual(self.asker.data, b"x")

    def test_stop(self) -> None:
        """
        A node that stops ends such streams too, and lets go of the clock.
        """
        link = self.begin()
        link.open_stream("echo", self.asker)
        link.be_quick(PATIENCE)
        self.assertIs(link.core.phase, Phase.WELCOME_AWAITED)
        self.a.endpoint.stop("good-bye")
        self.b.endpoint.stop()
        self.assertIn("good-bye", str(self.asker.lost))
        self.world.run(10.0)
        self.assertEqual(self.world.clock.getDelayedCalls(), [])

    def test_loss(self) -> None:
        """
        With a fifth of all datagrams lost every stream is answered, and delivered once.
        """
        for seed in range(20):
            world = self.world = World()
            world.cut = {DirectWay}
            self.a, self.b = world.node(1), world.node(2)
            self.a.known = {self.b.key.node_id}
            self.asker = Asker(world)
            entropy = iter(range(seed, 1_000_000, 7))
            world.lose = lambda way, data, entropy=entropy: (  # type: ignore[misc]
                next(entropy) * 2654435761 % 2**32 < 2**32 // 5
            )
            self.ask(b"once")
            world.run(14.0, lambda: self.asker.data or self.asker.lost)
            if self.asker.lost is None:
                self.assertEqual(self.asker.data, b"once", seed)
            heard = [each for each in self.accepted() if isinstance(each, Echo) and each.data]
            self.assertLessEqual(len(heard), 1, seed)
