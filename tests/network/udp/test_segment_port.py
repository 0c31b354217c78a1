"""
Tests for L{atmosphere.network.udp.segment_port}: many datagrams with one call.
"""

import errno
import os
import socket
import sys
from collections.abc import Callable, Sequence
from typing import Any

from hypothesis import given, settings, strategies
from twisted.internet import reactor as installed  # noqa: TID251
from twisted.internet.defer import Deferred
from twisted.internet.protocol import DatagramProtocol
from twisted.internet.task import deferLater
from twisted.trial.unittest import SynchronousTestCase, TestCase
from typing_extensions import override

from atmosphere.network.udp.segment_port import SegmentPort, runs_of

REACTOR: Any = installed
LIMIT = 2_000


class RunTests(SynchronousTestCase):
    """
    Which datagrams go together.
    """

    @settings(derandomize=True, max_examples=200, deadline=None)
    @given(strategies.lists(strategies.sampled_from((0, 1, 30, 1200, 1200, 1200, 40_000))))
    def test_any(self, lengths: list[int]) -> None:
        """
        None is lost or moved; a run is of one size but for a shorter last one,
        and no longer than a write may be.
        """
        datagrams = [bytes(length) for length in lengths]
        runs = list(runs_of(datagrams))
        self.assertEqual([data for run in runs for data in run], datagrams)
        for run in runs:
            self.assertEqual({len(data) for data in run[:-1]} - {len(run[0])}, set())
            self.assertLessEqual(len(run[-1]), len(run[0]))
            self.assertLessEqual(len(run), 64)
            self.assertLessEqual(sum(map(len, run)), 65_000)

    def test_full(self) -> None:
        """
        A burst of full datagrams and a shorter one take as few writes as can be.
        """
        runs = list(runs_of([bytes(1200)] * 60 + [bytes(10)] + [bytes(1200)]))
        self.assertEqual([len(run) for run in runs], [54, 7, 1])


class FragmentTests(SynchronousTestCase):
    """
    No datagram is cut.
    """

    def test_forbidden(self) -> None:
        """
        The socket of either family says so to the kernel, where that is Linux.
        """
        for interface, level, option in (
            ("127.0.0.1", socket.IPPROTO_IP, 10),
            ("::1", socket.IPPROTO_IPV6, 23),
        ):
            port = SegmentPort(0, DatagramProtocol(), interface, LIMIT, REACTOR)
            made = port.createInternetSocket()
            self.addCleanup(made.close)
            if sys.platform.startswith("linux"):
                self.assertEqual(made.getsockopt(level, option), 3)


class Single(DatagramProtocol):
    """
    Takes datagrams one by one.
    """

    noisy = False

    def __init__(self) -> None:
        self.received: list[bytes] = []
        self.sources: set[tuple[str, int]] = set()

    @override
    def datagramReceived(self, datagram: bytes, addr: tuple[str, int]) -> None:
        """
        Note a datagram.
        """
        self.received.append(datagram)
        self.sources.add(addr)
        if datagram == b"fail":
            raise ValueError("this one fails")


class Together(Single):
    """
    Takes what came together.
    """

    def datagrams_received(self, datagrams: Sequence[bytes], addr: tuple[str, int]) -> None:
        """
        Note datagrams.
        """
        for data in datagrams:
            self.datagramReceived(data, addr)


class SocketTests(TestCase):
    """
    Ports on loopback.
    """

    timeout = 10

    def listen(self, protocol: DatagramProtocol, interface: str = "127.0.0.1") -> SegmentPort:
        """
        Open a port that is closed when the test ends.
        """
        port = SegmentPort(0, protocol, interface, LIMIT, REACTOR)
        port.startListening()
        self.addCleanup(port.stopListening)
        return port

    async def until(self, condition: Callable[[], object]) -> None:
        """
        Wait for something.
        """
        while not condition():
            await deferLater(REACTOR, 0.001)

    async def exchange(self, receiver: Single, sending: Single, interface: str) -> None:
        """
        Send all sorts of datagrams and compare what comes.
        """
        here = self.listen(sending, interface)
        there = self.listen(receiver, interface)
        sent = [os.urandom(n) for n in [1200] * 70 + [900, 1200, 1, 1200, 1200, 1199, 1300]]
        host = there.getHost()
        here.write_together(sent, (host.host, host.port))
        await self.until(lambda: len(receiver.received) == len(sent))
        self.assertEqual(receiver.received, sent)
        self.assertEqual(receiver.sources, {(interface, here.getHost().port)})

    def test_together(self) -> Deferred[None]:
        """
        Each datagram comes as it was sent, in order.
        """
        return Deferred.fromCoroutine(self.exchange(Together(), Single(), "127.0.0.1"))

    def test_one_by_one(self) -> Deferred[None]:
        """
        A protocol that knows nothing of this gets the same.
        """
        return Deferred.fromCoroutine(self.exchange(Single(), Single(), "127.0.0.1"))

    def test_ipv6(self) -> Deferred[None]:
        """
        It is so with IPv6 too.
        """
        return Deferred.fromCoroutine(self.exchange(Together(), Single(), "::1"))

    async def test_system_without(self) -> None:
        """
        Where the system can neither merge nor cut, all goes one by one.
        """
        receiver, sender = Single(), Single()
        here, there = self.listen(sender), self.listen(receiver)
        here._splits = there._merges = False
        host = there.getHost()
        here.write_together([b"one", b"two", b"six"], (host.host, host.port))
        await self.until(lambda: len(receiver.received) == 3)
        self.assertEqual(receiver.received, [b"one", b"two", b"six"])

    async def test_too_long_and_empty(self) -> None:
        """
        What is longer than the port reads, and what is empty, is dropped.
        """
        receiver = Together()
        here, there = self.listen(Single()), self.listen(receiver)
        host = there.getHost()
        for data in (bytes(LIMIT + 1), b"", bytes(LIMIT)):
            here.write_together([data], (host.host, host.port))
        await self.until(lambda: receiver.received)
        self.assertEqual(receiver.received, [bytes(LIMIT)])

    async def test_failing_protocol(self) -> None:
        """
        A protocol that fails is logged, and gets the next datagram.
        """
        receiver = Together()
        here, there = self.listen(Single()), self.listen(receiver)
        host = there.getHost()
        here.write_together([b"fail"], (host.host, host.port))
        here.write_together([b"next"], (host.host, host.port))
        await self.until(lambda: len(receiver.received) == 2)
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)


class Refusing:
    """
    A socket whose system refuses to cut writes.
    """

    def __init__(self, error: int) -> None:
        self.error = error
        self.sent: list[bytes] = []

    def sendmsg(self, *args: object) -> int:
        """
        Refuse.
        """
        raise OSError(self.error, os.strerror(self.error))

    def sendto(self, data: bytes, addr: tuple[str, int]) -> int:
        """
        Send one.
        """
        self.sent.append(data)
        return len(data)


class RefusalTests(SynchronousTestCase):
    """
    What a port does when one write for many does not work.
    """

    def port(self, error: int) -> tuple[SegmentPort, Refusing]:
        """
        Make a port on such a socket.
        """
        port, refusing = SegmentPort(0, Single(), "127.0.0.1", LIMIT, REACTOR), Refusing(error)
        handle: Any = refusing
        port.socket = handle
        return port, refusing

    def test_interface_that_cannot(self) -> None:
        """
        They are sent one by one, and it is not tried again.
        """
        port, refusing = self.port(errno.EIO)
        for _ in range(2):
            port.write_together([b"a", b"b"], ("127.0.0.1", 9))
        self.assertEqual(refusing.sent, [b"a", b"b"] * 2)
        self.assertFalse(port._splits)

    def test_path_that_is_too_narrow(self) -> None:
        """
        They are sent one by one; for other paths it is tried again.
        """
        port, refusing = self.port(errno.EINVAL)
        port.write_together([b"a", b"b"], ("127.0.0.1", 9))
        self.assertEqual(refusing.sent, [b"a", b"b"])
        self.assertTrue(port._splits)

    def test_buffer_full(self) -> None:
        """
        The caller is told when the system takes nothing.
        """
        port, refusing = self.port(errno.EAGAIN)
        with self.assertRaises(BlockingIOError):
            port.write_together([b"a", b"b"], ("127.0.0.1", 9))
        self.assertEqual(refusing.sent, [])

    def test_socket_families(self) -> None:
        """
        A socket for IPv6 leaves IPv4 to another.
        """
        port = SegmentPort(0, Single(), "::", LIMIT, REACTOR)
        with port.createInternetSocket() as made:
            self.assertEqual(made.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY), 1)
