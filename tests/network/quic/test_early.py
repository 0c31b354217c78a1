"""
Tests for streams that leave with the dialler's proof, before the welcome: L{Dial},
L{LinkEndpoint} and L{Link} together.
"""

from __future__ import annotations

from twisted.internet.error import ConnectionLost

from atmosphere.errors import LinkError, MembershipError, StreamRefusedError
from atmosphere.identity import NodeID
from atmosphere.membership import Membership
from atmosphere.network.path.ways import DirectWay, RelayedWay, Way
from atmosphere.network.quic.connection import Link
from atmosphere.network.quic.dial import PATIENCE
from atmosphere.network.quic.limits import MAX_EARLY, UNPROVEN_STREAMS

from .early_case import Asker, EarlyCase
from .harness import Recorder


class RoundTripTests(EarlyCase):
    """
    The first answer.
    """

    def test_two(self) -> None:
        """
        The first byte is back after two round trips, when the welcome is.
        """
        self.ask()
        self.world.run(1.0, lambda: self.asker.data)
        assert self.asker.answered is not None
        self.assertAlmostEqual(self.asker.answered, 2 * self.trip, places=6)
        (link,) = self.links
        self.assertTrue(link.is_open)
        self.assertIs(self.a.endpoint.link_to(link.peer), link)

    def test_checks(self) -> None:
        """
        Both sides begin to check the direct ways as soon as they can: the listener when
        the proof comes, and the offer with it; the dialler at the welcome.
        """
        self.world.cut = set()
        checks: dict[Way, float] = {}

        def lose(way: Way, data: bytes) -> bool:
            if isinstance(way, DirectWay) and data[0] < 4:
                checks.setdefault(way, self.world.clock.seconds())
            return isinstance(way, DirectWay)

        self.world.lose = lose
        self.ask()
        self.world.run(1.0)
        self.assertAlmostEqual(checks[DirectWay(self.a.address)], 1.5 * self.trip, places=6)
        self.assertAlmostEqual(checks[DirectWay(self.b.address)], 2 * self.trip, places=6)

    def test_retry(self) -> None:
        """
        A Retry costs one more, and no stream.
        """
        for number in range(40):
            stranger = self.world.node(100 + number)
            stranger.endpoint.dial(self.b.key.node_id, stranger.ways_to(self.b)).addErrback(
                lambda _: None
            )
        self.world.run(self.trip / 4)
        began = self.world.clock.seconds()
        self.ask()
        self.world.run(1.0, lambda: self.asker.data)
        assert self.asker.answered is not None
        self.assertAlmostEqual(self.asker.answered - began, 3 * self.trip, places=6)
        self.assertEqual(len([each for each in self.accepted() if each.data]), 1)

    def test_not_connected_before(self) -> None:
        """
        Who waits for the link gets it at the welcome and not before, and so does who
        wants a stream to one whom we do not know.
        """
        times: dict[str, float] = {}

        def note(link: Link, name: str) -> None:
            self.assertTrue(link.is_open)
            times[name] = self.world.clock.seconds()

        ways = self.a.ways_to(self.b)
        self.a.endpoint.dial(self.b.key.node_id, ways).addCallback(note, "member")
        c = self.world.node(3)
        ways = self.a.ways_to(c)
        self.a.endpoint.dial(c.key.node_id, ways, is_early=True).addCallback(note, "unknown")
        self.ask()
        self.world.run(1.0)
        self.assertEqual(sorted(times), ["member", "unknown"])
        for at in times.values():
            self.assertAlmostEqual(at, 2 * self.trip, places=6)

    def test_guest(self) -> None:
        """
        Who has no certificate sends nothing before the welcome.
        """
        self.a.is_guest = True
        dialling = self.dial()
        self.world.run(1.0, lambda: dialling.called)
        self.assertTrue(self.successResultOf(dialling).is_connected)

    def test_late_comer(self) -> None:
        """
        Who comes between the proof and the welcome gets the link at once, too.
        """
        link = self.begin()
        self.assertIs(self.successResultOf(self.dial()), link)

    def test_both_at_once(self) -> None:
        """
        Two nodes that dial each other for a stream each get their answers, once.
        """
        self.b.known = {self.a.key.node_id}
        other = Asker(self.world)

        def begun(link: Link) -> None:
            link.open_stream("echo", other).write(b"y")

        ways = self.b.ways_to(self.a)
        self.ask()
        self.b.endpoint.dial(self.a.key.node_id, ways, is_early=True).addCallback(begun)
        self.world.run(PATIENCE + 1.0)
        self.assertEqual((self.asker.data, other.data), (b"x", b"y"))
        self.assertEqual([each.data for each in self.accepted()], [b"x"])


class RefusedTests(EarlyCase):
    """
    What was sent with the proof, and the proof or the welcome is not good.
    """

    def test_proof_refused(self) -> None:
        """
        The listener's applications see nothing, and ours learns the reason.
        """

        def refuse(peer: NodeID, chain: bytes) -> Membership | None:
            raise MembershipError("it is not wanted here")

        self.b.check_membership = refuse  # type: ignore[method-assign]
        self.ask(b"secret")
        self.world.run(5.0)
        self.assertEqual((self.b.accepted, self.b.connected), ([], []))
        self.assertIsInstance(self.asker.lost, ConnectionLost)
        self.assertIn("it is not wanted here", str(self.asker.lost))
        self.assertEqual(self.a.connected, [])
        self.assertRaises(LinkError, self.links[0].open_stream, "echo", Recorder())

    def test_welcome_disliked(self) -> None:
        """
        What came back with a welcome that is not good reaches no application.
        """
        self.b.own_chain = lambda: b"mesh-b"  # type: ignore[method-assign]
        self.ask()
        self.world.run(5.0)
        self.assertEqual(self.asker.data, b"")
        self.assertIn("another mesh", str(self.asker.lost))
        self.assertEqual(self.a.connected, [])

    def test_welcome_that_shows_nothing(self) -> None:
        """
        A member that shows no certificate any more is none, whatever we hold of it.
        """
        self.b.own_chain = lambda: b""  # type: ignore[method-assign]
        self.ask()
        self.world.run(5.0)
        self.assertEqual((self.asker.data, self.a.connected), (b"", []))
        self.assertIn("shows no certificate", str(self.asker.lost))

    def test_another_listener(self) -> None:
        """
        A listener with another key than the wanted one gets not even a proof.
        """
        c = self.world.node(3)
        self.a.known.add(c.key.node_id)
        dialling = self.a.endpoint.dial(c.key.node_id, [self.a.ways_to(self.b)[0]], is_early=True)
        self.world.run(20.0, lambda: dialling.called)
        self.failureResultOf(dialling, LinkError)
        self.assertEqual((self.a.pinned, self.b.connected, self.b.accepted), ([], [], []))

    def test_stream_refused(self) -> None:
        """
        A service that the peer does not have ends the stream with its reason.
        """
        recorder = Recorder()
        transport = self.begin().open_stream("nothing", recorder)
        transport.write(b"x")
        waiting = transport.when_accepted()
        self.world.run(1.0)
        self.failureResultOf(waiting, StreamRefusedError)


class LimitTests(EarlyCase):
    """
    Not more leaves than the listener holds.
    """

    def held(self) -> int:
        """
        How many bytes of streams the listener holds.
        """
        (link,) = self.b.endpoint._links
        return link.core._held._length

    def hold(self) -> None:
        """
        Keep the proof from the listener for half a second.
        """
        self.world.lose = lambda way, data: self.world.clock.seconds() < 0.5

    def test_much(self) -> None:
        """
        Of much that is written 3 KiB leave; the rest follows the welcome.
        """
        link = self.begin()
        link.pump()
        self.world.sent.clear()
        link.open_stream("echo", self.asker).write(bytes(100_000))
        link.pump()
        sent = sum(size for way, size in self.world.sent if isinstance(way, RelayedWay))
        self.assertTrue(MAX_EARLY - 100 < sent < MAX_EARLY + 200, sent)
        waiting = link.core.streams.waiting(4)
        self.assertGreater(waiting, 100_000 - MAX_EARLY)
        self.world.run(2.0)
        self.assertEqual(len(self.asker.data), 100_000)

    def test_many_pieces(self) -> None:
        """
        Nor is it too much for the listener when it is written byte by byte, while
        the proof is delayed.
        """
        link = self.begin()
        self.hold()
        transport = link.open_stream("echo", self.asker)
        for _ in range(1000):
            transport.write(b"x")
            self.world.run(0.0004)
        self.world.run(5.0)
        self.assertEqual(len(self.asker.data), 1000)
        self.assertTrue(link.is_open)

    def test_before_the_proof(self) -> None:
        """
        All that may leave early is within what the listener holds, when it comes
        before the proof does; nothing reaches an application until then.
        """
        dropped: list[bytes] = []

        def lose(way: Way, data: bytes) -> bool:
            """
            Lose the flight's first datagram, with the proof in it.
            """
            is_first = data[0] & 0x80 == 0 and not dropped and not self.b.connected
            if is_first:
                dropped.append(data)
            return is_first

        recorders = [Asker(self.world) for _ in range(UNPROVEN_STREAMS)]
        self.a.mesh = self.b.mesh

        def begun(link: Link) -> None:
            self.world.lose = lose
            for recorder in recorders:
                transport = link.open_stream("echo", recorder)
                for _ in range(3):
                    transport.write(b"y" * 100)
                transport.loseConnection()

        self.dial().addCallback(begun)
        most = 0
        while not self.b.connected and self.world.clock.seconds() < 1:
            self.world.run(0.001)
            if self.b.endpoint._links and not self.b.connected:
                most = max(most, self.held())
                self.assertEqual(self.b.accepted, [])
        self.world.run(2.0)
        self.assertTrue(dropped)
        self.assertGreater(most, 0)
        self.assertEqual([each.data for each in self.accepted()], [b"y" * 300] * UNPROVEN_STREAMS)

    def test_ninth(self) -> None:
        """
        Eight streams leave early; who wants a ninth waits for the welcome.
        """
        opened: list[bool] = []

        def begun(link: Link) -> None:
            opened.append(link.is_connected)
            link.open_stream("echo", Recorder()).write(b"x")

        for _ in range(UNPROVEN_STREAMS + 1):
            self.dial().addCallback(begun)
        self.world.run(1.0)
        self.assertEqual(opened, UNPROVEN_STREAMS * [False] + [True])
        self.assertEqual([each.data for each in self.accepted()], 9 * [b"x"])

    def test_ninth_at_once(self) -> None:
        """
        Who opens too many on the link itself is told so.
        """
        link = self.begin()
        for _ in range(UNPROVEN_STREAMS):
            link.open_stream("echo", Recorder())
        self.assertFalse(link.may_open)
        self.assertRaises(LinkError, link.open_stream, "echo", Recorder())
        self.world.run(1.0)
        link.open_stream("echo", Recorder())

    def test_datagrams(self) -> None:
        """
        Datagrams do not leave early.
        """
        self.assertFalse(self.begin().send_datagram("news", b"hello"))
