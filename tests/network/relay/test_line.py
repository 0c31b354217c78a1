"""
Tests for L{atmosphere.network.relay.line}: what waits for a receiver is bounded.
"""

from twisted.trial.unittest import SynchronousTestCase

from atmosphere.addresses import TransportAddress
from atmosphere.network.relay.batches import encode_batches
from atmosphere.network.relay.frames import FrameType
from atmosphere.network.relay.limits import RelayLimits
from atmosphere.network.relay.line import NEVER, Line, LineState

STUN = b"\x00\x01\x00\x00\x21\x12\xa4\x42" + bytes(12)


def deliver(datagram: bytes) -> bytes:
    """
    Make a frame for a receiver.
    """
    [frame] = encode_batches(FrameType.DELIVER, bytes(32), [datagram])
    return frame


class LineTests(SynchronousTestCase):
    """
    A queue drops its oldest, and probes go first.
    """

    def make(self, queue: int = 256 * 1024) -> Line:
        """
        Make a line.
        """
        limits = RelayLimits(queue=queue)
        return Line(TransportAddress("192.0.2.1", 1), bytes(32), limits, 0.0)

    def test_oldest_are_dropped(self) -> None:
        """
        Over the limit the oldest messages make room, and are counted.
        """
        line = self.make(queue=128 * 1024)
        frames = [deliver(bytes([number]) * 60_000) for number in range(3)]
        self.assertEqual(line.put(frames[0], 16), (0, 0))
        self.assertEqual(line.put(frames[1], 16), (1, len(frames[0])))
        self.assertEqual(line.queued, len(frames[1]))
        self.assertEqual(line.take(1), [frames[1]])
        self.assertEqual((line.queued, line.take(1)), (0, []))

    def test_one_message_is_never_too_much(self) -> None:
        """
        The newest message stays, whatever its size.
        """
        line = self.make(queue=1)
        frame = deliver(bytes(65_000))
        self.assertEqual(line.put(frame, 16), (0, 0))
        self.assertEqual(line.take(100), [frame])

    def test_small_messages(self) -> None:
        """
        Of tiny messages, which cost more than their bytes, not more than 2,048 wait.
        """
        line = self.make()
        dropped = [line.put(b"\x3112345678", 16) for _ in range(5_000)]
        self.assertEqual(sum(messages for messages, _ in dropped), 5_000 - 2_048)
        self.assertEqual(line.queued, 2_048 * 9)

    def test_clear(self) -> None:
        """
        A line that is gone holds nothing.
        """
        line = self.make()
        line.put(bytes(1_000), 16)
        line.put(deliver(STUN), 16)
        line.clear()
        self.assertEqual((line.queued, line.take(1 << 20)), (0, []))

    def test_probes(self) -> None:
        """
        STUN has a queue of its own, which goes first and drops its oldest.
        """
        line = self.make()
        data = deliver(b"data")
        line.put(data, 2)
        probes = [deliver(STUN + bytes([number])) for number in range(3)]
        dropped = [line.put(probe, 2) for probe in probes]
        self.assertEqual(dropped, [(0, 0), (0, 0), (1, len(probes[0]))])
        self.assertEqual(line.take(1000), [probes[1], probes[2], data])

    def test_take_in_parts(self) -> None:
        """
        What waits is handed out a part at a time.
        """
        line = self.make()
        frames = [deliver(bytes([number]) * 100) for number in range(4)]
        for frame in frames:
            line.put(frame, 16)
        self.assertEqual(line.take(150), frames[:2])
        self.assertEqual(line.take(150), frames[2:])

    def test_deadlines(self) -> None:
        """
        A line that does not log in, is silent, stalls or expires has its time.
        """
        line, limits = self.make(), RelayLimits()
        self.assertEqual(line.due(limits), 5)
        line.state, line.heard = LineState.WELCOMED, 100.0
        self.assertEqual(line.due(limits), 145)
        self.assertFalse(line.is_paused)
        line.paused_since = 120
        self.assertTrue(line.is_paused)
        self.assertEqual(line.due(limits), 130)
        line.throttled_until = 125
        self.assertEqual(line.due(limits), 125)
        line.throttled_until, line.expires = NEVER, 110
        self.assertEqual(line.due(limits), 110)
