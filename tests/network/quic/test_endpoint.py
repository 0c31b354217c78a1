"""
Tests for L{atmosphere.network.quic.endpoint} and the links that it makes.
"""

from __future__ import annotations

from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IPushProducer
from twisted.trial.unittest import SynchronousTestCase
from typing_extensions import override
from zope.interface import implementer

from atmosphere.errors import LinkError, StreamRefusedError
from atmosphere.network.path.ways import DirectWay, RelayedWay
from atmosphere.network.quic.connection import Link

from .harness import RELAY, Echo, Node, Recorder, World


class DialTests(SynchronousTestCase):
    """
    Two nodes become linked, and only the right two.
    """

    @override
    def setUp(self) -> None:
        """
        Make two nodes of one mesh.
        """
        self.world = World()
        self.a, self.b = self.world.node(1), self.world.node(2)

    def dial(self, a: Node, b: Node) -> Link:
        """
        Link one to the other.
        """
        dialling = a.endpoint.dial(b.key.node_id, a.ways_to(b))
        self.world.run(2.0, lambda: dialling.called)
        return self.successResultOf(dialling)

    def test_connected(self) -> None:
        """
        Both ends know each other, and each other's process.
        """
        link = self.dial(self.a, self.b)
        self.world.run(0.1)
        (other,) = self.b.connected
        self.assertEqual(link.peer, self.b.key.node_id)
        self.assertEqual(other.peer, self.a.key.node_id)
        self.assertEqual((link.instance, other.instance), (b"\x02" * 16, b"\x01" * 16))
        self.assertIs(self.a.endpoint.link_to(self.b.key.node_id), link)
        self.assertIs(self.b.endpoint.link_to(self.a.key.node_id), other)

    def test_first_byte(self) -> None:
        """
        The first byte of an application is back after three round trips at most.
        """
        self.world.cut = {DirectWay}
        dialling = self.a.endpoint.dial(self.b.key.node_id, self.a.ways_to(self.b))
        answers: list[float] = []

        class Asker(Recorder):
            """
            Notes when the answer comes.
            """

            @override
            def dataReceived(self, data: bytes) -> None:
                """
                Note the time.
                """
                answers.append(clock.seconds())

        clock = self.world.clock

        def linked(link: Link) -> None:
            """
            Ask at once.
            """
            link.open_stream("echo", Asker()).write(b"x")

        dialling.addCallback(linked)
        self.world.run(1.0, lambda: answers)
        self.assertLessEqual(answers[0], 3 * 2 * self.world.relay_latency + 0.001)

    def test_wrong_listener(self) -> None:
        """
        A listener that is not the node that was wanted learns nothing and gets nothing.
        """
        c = self.world.node(3)
        dialling = self.a.endpoint.dial(c.key.node_id, [DirectWay(self.b.address)])
        self.world.run(20.0, lambda: dialling.called)
        error = self.failureResultOf(dialling, LinkError).value
        self.assertIn("another node", str(error))
        self.assertEqual(self.b.connected, [])

    def test_other_mesh(self) -> None:
        """
        A node of another mesh is refused, by name of the reason, on both sides.
        """
        stranger = self.world.node(4, "mesh-b")
        dialling = stranger.endpoint.dial(self.b.key.node_id, stranger.ways_to(self.b))
        self.world.run(20.0, lambda: dialling.called)
        self.assertIn("another mesh", str(self.failureResultOf(dialling, LinkError).value))
        self.assertEqual(self.b.connected, [])

    def test_nobody_there(self) -> None:
        """
        A dial that nobody answers ends after 15 s and leaves nothing behind.
        """
        self.world.cut = {DirectWay, RelayedWay}
        dialling = self.a.endpoint.dial(self.b.key.node_id, self.a.ways_to(self.b))
        self.world.run(14.9)
        self.assertNoResult(dialling)
        self.world.run(10.0)
        self.failureResultOf(dialling, LinkError)
        self.assertEqual(self.world.clock.getDelayedCalls(), [])
        self.assertEqual(self.a.endpoint.links, [])

    def test_no_ways(self) -> None:
        """
        Without any way the dial says so at once.
        """
        dialling = self.a.endpoint.dial(self.b.key.node_id, [])
        self.world.run(0.1)
        self.assertIn("no way", str(self.failureResultOf(dialling, LinkError).value))

    def test_cancelled(self) -> None:
        """
        A dial that nobody waits for any more is given up.
        """
        first = self.a.endpoint.dial(self.b.key.node_id, self.a.ways_to(self.b))
        second = self.a.endpoint.dial(self.b.key.node_id, self.a.ways_to(self.b))
        first.cancel()
        self.failureResultOf(first)
        self.assertNoResult(second)
        second.cancel()
        self.failureResultOf(second)
        self.world.run(10.0)
        self.assertEqual(self.b.connected, [])

    def test_one_way_back(self) -> None:
        """
        A listener whose direct answers are lost is reached by the relay alone, on
        the second try.
        """
        self.world.lose = lambda way, data: way == DirectWay(self.a.address)
        dialling = self.a.endpoint.dial(self.b.key.node_id, self.a.ways_to(self.b))
        self.world.run(6.0, lambda: dialling.called)
        self.assertEqual(self.successResultOf(dialling).peer, self.b.key.node_id)

    def test_simultaneous(self) -> None:
        """
        Two nodes that dial each other at once end with one link, the same for both.
        """
        one = self.a.endpoint.dial(self.b.key.node_id, self.a.ways_to(self.b))
        two = self.b.endpoint.dial(self.a.key.node_id, self.b.ways_to(self.a))
        self.world.run(10.0)
        self.successResultOf(one)
        self.successResultOf(two)
        (ours,), (theirs,) = self.a.endpoint.links, self.b.endpoint.links
        self.assertNotEqual(ours.is_dialler, theirs.is_dialler)
        lower = min(self.a, self.b, key=lambda node: node.key.node_id)
        self.assertEqual(ours.is_dialler, lower is self.a)

    def test_both_dial_anew(self) -> None:
        """
        Two nodes that both lose patience and dial anew at once agree on one link, in
        whichever order each sees the two proven.
        """
        for latency in (0.02, 0.0205, 0.3):
            world = World()
            a, b = world.node(1), world.node(2)
            dialling = a.endpoint.dial(b.key.node_id, a.ways_to(b))
            world.run(1.0)
            self.successResultOf(dialling)
            world.relay_latency = latency
            for node, other in ((a, b), (b, a)):
                node.endpoint.dial(other.key.node_id, node.ways_to(other))
            world.run(2.0)
            ours = a.endpoint.link_to(b.key.node_id)
            theirs = b.endpoint.link_to(a.key.node_id)
            assert ours is not None
            assert theirs is not None
            self.assertEqual(ours.core.quic.channel_binding(), theirs.core.quic.channel_binding())
            world.run(20.0)
            self.assertEqual((len(a.endpoint.links), len(b.endpoint.links)), (1, 1))

    def test_restart(self) -> None:
        """
        A peer that was killed and starts again replaces its old link at once.
        """
        first = self.dial(self.a, self.b)
        self.world.run(1.0)
        waiting = first.when_closed()
        for link in list(self.b.endpoint._links):
            link.stop()
        self.b.start(9)
        dialling = self.b.endpoint.dial(self.a.key.node_id, self.b.ways_to(self.a))
        self.world.run(2.0)
        self.successResultOf(dialling)
        self.assertIn("anew", str(self.successResultOf(waiting)))
        self.assertEqual(len(self.a.endpoint.links), 1)

    def test_guest(self) -> None:
        """
        A node without a mesh is let in, and may open nothing but the join service.
        """
        guest = self.world.node(5)
        guest.is_guest = True
        link = self.dial(guest, self.a)
        recorder = Recorder()
        transport = link.open_stream("echo", recorder)
        self.world.run(1.0)
        self.failureResultOf(transport.when_accepted(), StreamRefusedError)
        self.assertIsInstance(recorder.lost, StreamRefusedError)

    def test_stop(self) -> None:
        """
        A node that stops says good-bye, once, and lets go of the clock.
        """
        self.dial(self.a, self.b)
        self.world.run(0.5)
        self.a.endpoint.stop("good-bye")
        self.world.run(5.0)
        self.assertIn("good-bye", self.b.closed[0][1])
        self.b.endpoint.stop()
        self.world.run(5.0)
        self.assertEqual(self.world.clock.getDelayedCalls(), [])

    def test_garbage(self) -> None:
        """
        Whatever bytes strangers send are counted and dropped.
        """
        way = DirectWay(self.b.address)
        for size in (1, 2, 5, 20, 1200):
            for first in (0x00, 0x01, 0x40, 0x80, 0xC0, 0xC3, 0xFF):
                self.a.endpoint.datagrams_received(way, [bytes([first]) * size, b""])
        self.world.run(20.0)
        self.assertEqual(self.a.connected, [])
        self.assertGreater(self.a.endpoint.counters.dropped, 10)
        self.assertEqual(self.world.clock.getDelayedCalls(), [])

    def test_retry_under_load(self) -> None:
        """
        While Initials pour in, a real dial still succeeds, by way of Retry.
        """
        for number in range(40):
            stranger = self.world.node(100 + number)
            stranger.endpoint.dial(self.b.key.node_id, [DirectWay(self.b.address)]).addErrback(
                lambda _: None
            )
        link = self.dial(self.a, self.b)
        self.assertTrue(link.is_open)
        self.assertGreater(self.b.endpoint.counters.retries_sent, 0)

    def test_warm_up(self) -> None:
        """
        Warming up leaves no trace.
        """
        self.a.endpoint.warm_up()
        self.assertEqual(self.a.endpoint.links, [])


class StreamTests(SynchronousTestCase):
    """
    Streams behave as Twisted's transports do.
    """

    @override
    def setUp(self) -> None:
        """
        Make a link.
        """
        self.world = World()
        self.a, self.b = self.world.node(1), self.world.node(2)
        dialling = self.a.endpoint.dial(self.b.key.node_id, self.a.ways_to(self.b))
        self.world.run(1.0)
        self.link = self.successResultOf(dialling)

    def test_echo(self) -> None:
        """
        What is written comes back, and the addresses say who is who.
        """
        recorder = Recorder()
        transport = self.link.open_stream("echo", recorder)
        transport.write(b"hello ")
        transport.writeSequence([b"wor", b"ld"])
        self.world.run(0.5)
        self.assertEqual(recorder.data, b"hello world")
        self.successResultOf(transport.when_accepted())
        self.assertEqual(transport.getPeer().node, self.b.key.node_id)
        self.assertEqual(transport.getPeer().path, "direct")
        self.assertEqual(transport.getHost().node, self.a.key.node_id)

    def test_unknown_service(self) -> None:
        """
        A service that the peer does not have ends the stream with its reason.
        """
        recorder = Recorder()
        transport = self.link.open_stream("nothing", recorder)
        waiting = transport.when_accepted()
        transport.write(b"hello")
        self.world.run(0.5)
        self.assertIn("no service nothing", str(self.failureResultOf(waiting).value))
        self.assertIsInstance(recorder.lost, StreamRefusedError)
        self.assertEqual(self.link.open_streams, 0)

    def test_lose_connection(self) -> None:
        """
        Everything written arrives before the end does, on both sides a clean one.
        """
        recorder = Recorder()
        self.b.services["sink"] = Recorder
        transport = self.link.open_stream("sink", recorder)
        transport.write(b"x" * 200_000)
        transport.loseConnection()
        self.world.run(2.0)
        (sink,) = self.b.accepted
        assert isinstance(sink, Recorder)
        self.assertEqual(len(sink.data), 200_000)
        self.assertIsInstance(sink.lost, ConnectionDone)
        self.assertIsInstance(recorder.lost, ConnectionDone)
        self.assertEqual(len(self.link.core.streams), 0)

    def test_abort(self) -> None:
        """
        An aborted stream ends at once here, and soon there.
        """
        recorder = Recorder()
        transport = self.link.open_stream("echo", recorder)
        transport.write(b"x")
        self.world.run(0.5)
        transport.abortConnection()
        self.world.run(0.5)
        (echo,) = self.b.accepted
        assert isinstance(echo, Echo)
        self.assertIsNotNone(recorder.lost)
        self.assertIsInstance(echo.lost, ConnectionLost)
        self.assertEqual(len(self.link.core.streams), 0)
        self.assertEqual(len(self.b.connected[0].core.streams), 0)

    def test_reader_that_never_reads(self) -> None:
        """
        Five megabytes pushed at a reader that does not read stop at the credit.
        """

        class Deaf(Recorder):
            """
            Never reads.
            """

            @override
            def connectionMade(self) -> None:
                """
                Pause for ever.
                """
                self.transport.pauseProducing()  # type: ignore[union-attr]

        @implementer(IPushProducer)
        class Pusher:
            """
            Pushes until it is paused.
            """

            def __init__(self) -> None:
                self.is_paused = False
                self.pushed = 0

            def pauseProducing(self) -> None:
                """
                Stop.
                """
                self.is_paused = True

            def resumeProducing(self) -> None:
                """
                Go on.
                """
                self.is_paused = False
                self.push()

            def stopProducing(self) -> None:
                """
                End.
                """
                self.is_paused = True

            def push(self) -> None:
                """
                Push while we may.
                """
                while not self.is_paused and self.pushed < 5_000_000:
                    self.pushed += 10_000
                    transport.write(bytes(10_000))

        self.b.services["deaf"] = Deaf
        transport = self.link.open_stream("deaf", Recorder())
        pusher = Pusher()
        transport.registerProducer(pusher, True)
        pusher.push()
        self.world.run(5.0)
        self.assertTrue(pusher.is_paused)
        self.assertLess(pusher.pushed, 512 * 1024)
        deaf = self.b.connected[0]._transports
        waiting = sum(len(data) for stream in deaf.values() for data in stream._inbox)
        self.assertLessEqual(waiting, 262_144)
        for stream in deaf.values():
            stream.resumeProducing()
        self.world.run(5.0)
        self.assertEqual(pusher.pushed, 5_000_000)

    def test_datagrams(self) -> None:
        """
        Datagrams arrive with their service's name; a long one is refused.
        """
        self.assertTrue(self.link.send_datagram("news", b"hello"))
        self.assertFalse(self.link.send_datagram("news", bytes(1100)))
        self.assertFalse(self.link.send_datagram("", b"hello"))
        self.world.run(0.5)
        self.assertEqual(self.b.datagrams, [("news", b"hello")])

    def test_link_lost(self) -> None:
        """
        When the link closes, its streams end with the reason.
        """
        recorder = Recorder()
        self.link.open_stream("echo", recorder).write(b"x")
        self.world.run(0.5)
        self.link.close("enough")
        self.world.run(5.0)
        self.assertIn("enough", str(recorder.lost))
        (echo,) = self.b.accepted
        assert isinstance(echo, Echo)
        self.assertIn("enough", str(echo.lost))
        self.assertRaises(LinkError, self.link.open_stream, "echo", Recorder())


class RelayedThenDirectTests(SynchronousTestCase):
    """
    A transfer goes on while its path changes beneath it.
    """

    def test_transfer(self) -> None:
        """
        Relayed, direct, relayed, direct: not a byte is lost.
        """
        world = World()
        a, b = world.node(1), world.node(2)
        world.cut = {DirectWay}
        b.services["sink"] = Recorder
        dialling = a.endpoint.dial(b.key.node_id, [RelayedWay(RELAY, b.key.node_id)])
        world.run(1.0)
        link = self.successResultOf(dialling)
        self.assertEqual(link.path and link.path.kind, "relayed")
        transport = link.open_stream("sink", Recorder())
        kinds = []
        sent = 0
        no_way: set[type] = set()
        for cut in (no_way, {DirectWay}, no_way):
            world.cut = set(cut)
            for _ in range(200):
                transport.write(bytes(1000))
                sent += 1000
                world.run(0.1)
            kinds.append(link.path.kind if link.path else None)
        world.run(5.0)
        self.assertEqual(kinds, ["direct", "relayed", "direct"])
        (sink,) = b.accepted
        assert isinstance(sink, Recorder)
        self.assertEqual(len(sink.data), sent)


class FailureTests(SynchronousTestCase):
    """
    When the QUIC library fails, one link ends, and that is counted.
    """

    def test_counted(self) -> None:
        """
        The link ends on our side with the failure's name, the endpoint goes on.
        """
        world = World()
        a, b = world.node(1), world.node(2)
        dialling = a.endpoint.dial(b.key.node_id, a.ways_to(b))
        world.run(1.0)
        link = self.successResultOf(dialling)
        waiting = link.when_closed()
        link.core.quic._guard(lambda: dict[str, int]()["missing"])
        link.pump()
        self.assertIn("KeyError", str(self.successResultOf(waiting)))
        self.assertEqual(a.endpoint.counters.failed_inside, 1)
        again = a.endpoint.dial(b.key.node_id, a.ways_to(b))
        world.run(2.0)
        self.assertTrue(self.successResultOf(again).is_open)
