"""
Tests for L{atmosphere.network.quic.streams}: producers, consumers, and their pace.
"""

from __future__ import annotations

from twisted.internet.error import ConnectionDone

from .stream_case import HalfCloseable, Noting, Puller, Pusher, StreamCase


class ProducerTests(StreamCase):
    """
    Producers are held to the pace of the reader.
    """

    def test_push(self) -> None:
        """
        A push producer pauses while the reader does, and goes on after.
        """
        self.open()
        self.far.stream.pauseProducing()
        pusher = Pusher(self.near.stream, 200)
        self.near.stream.registerProducer(pusher, True)
        pusher.resumeProducing()
        self.world.run(2.0)
        self.assertTrue(pusher.is_paused)
        written = 10_000 * (200 - pusher.left)
        self.assertLess(written, 512 * 1024)
        self.far.stream.resumeProducing()
        self.world.run(3.0)
        self.assertEqual((pusher.left, len(self.far.data)), (0, 2_000_000))
        self.assertGreater(pusher.pauses, 1)

    def test_pull(self) -> None:
        """
        A pull producer is asked when little waits, and never when much does.
        """
        self.open()
        self.far.stream.pauseProducing()
        puller = Puller(self.near.stream, 100)
        self.near.stream.registerProducer(puller, False)
        self.assertEqual(puller.asked, 1)
        self.world.run(2.0)
        self.assertLess(10_000 * puller.asked, 512 * 1024)
        self.far.stream.resumeProducing()
        self.world.run(3.0)
        self.assertEqual((puller.asked, len(self.far.data)), (100, 1_000_000))

    def test_registered_twice(self) -> None:
        """
        There is one producer at a time.
        """
        self.open()
        first, second = Pusher(self.near.stream, 1), Pusher(self.near.stream, 1)
        self.near.stream.registerProducer(first, True)
        self.assertRaises(RuntimeError, self.near.stream.registerProducer, second, True)
        self.near.stream.unregisterProducer()
        self.near.stream.registerProducer(second, True)

    def test_registered_too_late(self) -> None:
        """
        A producer that comes when nothing can be written any more is stopped.
        """
        self.open(HalfCloseable(), HalfCloseable())
        self.near.stream.loseWriteConnection()
        late = Pusher(self.near.stream, 1)
        self.near.stream.registerProducer(late, True)
        self.assertTrue(late.is_stopped)
        self.near.stream.abortConnection()
        self.world.run(0.5)
        later = Puller(self.near.stream, 1)
        self.near.stream.registerProducer(later, False)
        self.assertEqual((later.is_stopped, later.asked), (True, 0))

    def test_registered_when_much_waits(self) -> None:
        """
        A producer that comes when much is waiting already is paused at once.
        """
        self.open()
        self.far.stream.pauseProducing()
        self.near.stream.write(bytes(1_000_000))
        pusher = Pusher(self.near.stream, 1)
        self.near.stream.registerProducer(pusher, True)
        self.assertTrue(pusher.is_paused)
        self.far.stream.resumeProducing()
        self.world.run(3.0)
        self.assertFalse(pusher.is_paused)

    def test_stopped_by_the_end(self) -> None:
        """
        A producer is stopped when its stream ends beneath it.
        """
        self.open()
        pusher = Pusher(self.near.stream, 10_000)
        self.near.stream.registerProducer(pusher, True)
        pusher.resumeProducing()
        self.far.stream.loseConnection()
        self.world.run(2.0)
        self.assertTrue(pusher.is_stopped)
        self.assertEqual(self.near.told, ["made", ConnectionDone])
        self.assert_nothing_left()

    def test_piped(self) -> None:
        """
        A stream that is another's producer keeps its pace.
        """
        self.open()
        third = Noting()
        self.b.services["other"] = lambda: third
        onward = Noting()
        self.back.open_stream("nothing", Noting())
        self.a.services["onward"] = lambda: onward
        pipe = Noting()
        self.back.open_stream("onward", pipe)
        pipe.stream.registerProducer(self.far.stream, True)
        self.far.answer = pipe.stream.write
        self.world.run(0.5)
        onward.stream.pauseProducing()
        self.near.stream.write(bytes(2_000_000))
        self.world.run(3.0)
        self.assertLess(len(self.far.data), 600_000)
        onward.stream.resumeProducing()
        self.world.run(3.0)
        self.assertEqual(len(onward.data), 2_000_000)

    def test_pause_within_delivery(self) -> None:
        """
        A reader that pauses while it is given something is given no more then.
        """
        self.open()
        self.far.answer = lambda data: self.far.stream.pauseProducing()
        self.near.stream.write(bytes(10_000))
        self.world.run(0.5)
        first = len(self.far.data)
        self.near.stream.write(bytes(10_000))
        self.world.run(0.5)
        self.assertEqual(len(self.far.data), first)
        for _ in range(20):
            self.far.stream.resumeProducing()
            self.world.run(0.1)
        self.assertEqual(len(self.far.data), 20_000)

    def test_stop_producing(self) -> None:
        """
        A consumer that is gone ends the stream that fed it.
        """
        self.open()
        self.far.stream.stopProducing()
        self.world.run(0.5)
        self.assertEqual((self.near.told[1:], self.far.told[1:]), ([ConnectionDone],) * 2)
        self.assert_nothing_left()
