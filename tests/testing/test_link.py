"""
The properties of lines, and that a run can be repeated.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from twisted.internet.protocol import DatagramProtocol

from atmosphere.testing import TraceRecord

from .network_case import ADDRESS, Inbox, NetworkCase


class LineTests(NetworkCase):
    """
    The properties of lines.
    """

    def test_latency(self) -> None:
        """
        A datagram takes the latencies of both lines, and of one that was put between.
        """
        self.send()
        self.network.advance(1)
        self.network.set_link(self.alice, latency=0.1)
        self.send()
        self.network.advance(1)
        self.network.set_link(self.alice, self.bob, latency=0.5)
        self.send()
        self.network.advance(1)
        self.assertEqual([at for at, _ in self.inbox.received], [0.01, 1.105, 2.605])

    def test_loss(self) -> None:
        """
        About so many datagrams are lost as the line says; TCP loses nothing.
        """
        self.network.set_link(self.alice, loss=0.3)
        for _ in range(1000):
            self.send()
        self.network.advance(1)
        self.assertTrue(650 < len(self.inbox.received) < 750)
        one, two = self.connect()
        one.transport.write(b"t" * 100_000)
        self.network.advance(1)
        self.assertEqual(len(two.data), 100_000)

    def test_one_direction(self) -> None:
        """
        A line may be another one in each direction: that of a host, and one between two.
        """
        back: Any = self.bob.listenUDP(8888, DatagramProtocol())
        answers = Inbox(self.clock.seconds)
        self.alice.listenUDP(5001, answers)

        def both() -> list[list[float]]:
            start = self.clock.seconds()
            for inbox in (self.inbox, answers):
                inbox.received.clear()
            self.send()
            back.write(b"x", (ADDRESS["alice"], 5001))
            self.network.advance(2)
            return [
                [round(at - start, 6) for at, _ in inbox.received]
                for inbox in (self.inbox, answers)
            ]

        self.network.set_link(self.alice, only="out", latency=0.1)
        self.assertEqual(both(), [[0.105], [0.01]])
        self.network.set_link(self.alice, only="in", loss=1.0)
        self.assertEqual(both(), [[0.105], []])
        self.network.set_link(self.alice, latency=0.005, loss=0.0)
        self.network.set_link(self.alice, self.bob, only="in", latency=1.0)
        self.assertEqual(both(), [[0.01], [1.01]])
        self.network.set_link(self.alice, self.bob, only="out", latency=0.5)
        self.assertEqual(both(), [[0.51], [1.01]])

    def test_loss_delays_tcp(self) -> None:
        """
        What TCP loses arrives late, and with it all that follows, in order.
        """
        one, two = self.connect()
        self.network.set_link(self.alice, loss=0.3)
        delays = []
        for number in range(50):
            start = self.clock.seconds()
            one.transport.write(bytes([number]))
            self.network.run_until(partial(two.has, number + 1))
            delays.append(self.clock.seconds() - start)
            self.network.advance(5)
        self.assertEqual(two.data, bytes(range(50)))
        late = [round(each, 6) for each in delays if each > 0.1]
        self.assertTrue(8 < len(late) < 24, late)
        self.assertEqual(min(late), 0.23)

    def test_jitter_keeps_order(self) -> None:
        """
        With jitter, datagrams take differently long but stay in order.
        """
        self.network.set_link(self.alice, jitter=0.02)
        for number in range(100):
            self.send(b"%d" % number)
            self.network.advance(0.001)
        self.network.advance(1)
        self.assertEqual([int(data) for _, data in self.inbox.received], list(range(100)))
        self.assertTrue(len({at for at, _ in self.inbox.received}) > 10)

    def test_reordering_and_duplication(self) -> None:
        """
        Datagrams may overtake each other, or come twice.
        """
        self.network.set_link(self.bob, reordering=0.1, duplication=0.1)
        for number in range(200):
            self.send(b"%d" % number)
            self.network.advance(0.001)
        self.network.advance(1)
        numbers = [int(data) for _, data in self.inbox.received]
        self.assertNotEqual(numbers, sorted(numbers))
        self.assertEqual(set(numbers), set(range(200)))
        self.assertTrue(205 < len(numbers) < 240)

    def test_mtu(self) -> None:
        """
        A datagram that is too large for a line vanishes.
        """
        trace = self.network.record()
        self.send(b"x" * 1472)
        self.send(b"x" * 1473)
        self.network.advance(1)
        self.assertEqual([len(data) for _, data in self.inbox.received], [1472])
        self.assertEqual([each.kind for each in trace], ["udp", "udp", "udp too large"])

    def test_rate(self) -> None:
        """
        A slow line takes its time, and loses what its queue does not hold.
        """
        self.network.set_link(self.alice, rate=100_000, queue=0.1)
        for _ in range(100):
            self.send(b"x" * 972)
        self.network.advance(2)
        arrived = [at for at, _ in self.inbox.received]
        self.assertEqual(arrived[:3], [0.02, 0.03, 0.04])
        self.assertEqual(len(arrived), 11)
        one, two = self.connect()
        one.transport.write(b"t" * 200_000)
        self.network.advance(1.5)
        self.assertTrue(100_000 < len(two.data) < 160_000)
        self.network.advance(2)
        self.assertEqual(len(two.data), 200_000)


class DeterminismTests(NetworkCase):
    """
    The same seed, the same run.
    """

    def run_once(self, seed: int, with_third: bool = False) -> list[TraceRecord]:
        """
        Run something with much chance in it.
        """
        self.build(seed)
        trace = self.network.record()
        for host in (self.alice, self.bob):
            self.network.set_link(host, jitter=0.01, loss=0.1, reordering=0.1, duplication=0.1)
        if with_third:
            other: Any = self.network.host("carol", "192.0.2.3").listenUDP(1, DatagramProtocol())
            other.write(b"noise", (ADDRESS["bob"], 7777))
            self.network.advance(0.1)
        one, _ = self.connect()
        for number in range(300):
            self.send(b"x" * number)
            one.transport.write(b"y" * number)
            self.network.advance(0.003)
        self.network.advance(1)
        return trace

    def test_same_seed(self) -> None:
        """
        The same seed gives the same times, sizes and events; another gives others.
        """
        first = self.run_once(1)
        received = self.inbox.received
        self.assertEqual(self.run_once(1), first)
        self.assertEqual(self.inbox.received, received)
        self.assertNotEqual(self.run_once(2), first)

    def test_third_host(self) -> None:
        """
        A third host's traffic does not change which datagrams of the others are lost.
        """

        def lost(trace: list[TraceRecord]) -> list[int]:
            return [
                each.size
                for each in trace
                if each.kind == "udp lost" and each.source[0] == ADDRESS["alice"]
            ]

        self.assertEqual(lost(self.run_once(1)), lost(self.run_once(1, with_third=True)))
