"""
Tests of L{atmosphere.network.udp.port}, on loopback.
"""

from __future__ import annotations

import resource
from typing import Any, cast

from twisted.internet import reactor  # noqa: TID251, real sockets are the point here
from twisted.internet.defer import Deferred
from twisted.internet.protocol import DatagramProtocol
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase, TestCase
from typing_extensions import override

from atmosphere.errors import ListenError
from atmosphere.network.udp.port import PinnedPort
from atmosphere.testing import SimulatedNetwork


class _Peer(DatagramProtocol):
    """
    Keeps what it gets, and fires with the first.
    """

    def __init__(self) -> None:
        self.first: Deferred[tuple[bytes, tuple[str, int]]] = Deferred()

    @override
    def datagramReceived(self, datagram: bytes, addr: tuple[str, int]) -> None:
        """
        Keep it.
        """
        if not self.first.called:
            self.first.callback((datagram, addr))


class RealPortTests(TestCase):
    """
    A pinned port with real sockets.
    """

    timeout = 10

    def test_no_descriptors(self) -> None:
        """
        Where the process has too many files open it cannot be opened, and the error says so.
        """
        pinned = PinnedPort(("127.0.0.1", 7777), lambda port, data: None)
        limits = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (0, limits[1]))
        try:
            error = self.assertRaises(ListenError, pinned.open, reactor, "127.0.0.1")
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        self.assertEqual(str(error), "no UDP port can be opened: Too many open files")

    async def test_both_ways(self) -> None:
        """
        It sends to its one address from its own port, hears that one alone, and is
        closed when that was asked for.
        """
        real = cast(Any, reactor)
        peer = _Peer()
        listening = real.listenUDP(0, peer, "127.0.0.1")
        stranger = real.listenUDP(0, DatagramProtocol(), "127.0.0.1")
        heard: Deferred[list[bytes]] = Deferred()
        pinned = PinnedPort(
            ("127.0.0.1", listening.getHost().port), lambda port, data: heard.callback(list(data))
        )
        number = pinned.open(real, "127.0.0.1")
        try:
            pinned.send([b"one"])
            self.assertEqual(await peer.first, (b"one", ("127.0.0.1", number)))
            stranger.write(b"no", ("127.0.0.1", number))
            listening.write(b"two", ("127.0.0.1", number))
            self.assertEqual(await heard, [b"two"])
            self.assertEqual((pinned.dropped, pinned.number), (1, number))
            await pinned.close()
            pinned.send([b"lost"])
            again = real.listenUDP(number, DatagramProtocol(), "127.0.0.1")  # it is free
            await again.stopListening()
            await pinned.close()
        finally:
            await listening.stopListening()
            await stranger.stopListening()

    async def test_unsent(self) -> None:
        """
        What the system does not take is lost, and counted.
        """
        pinned = PinnedPort(("127.0.0.1", 9), lambda port, data: None)
        pinned.open(cast(Any, reactor), "127.0.0.1")
        pinned.send([bytes(70_000)])
        self.assertEqual(pinned.unsent, 1)
        await pinned.close()


class SimulatedPortTests(SynchronousTestCase):
    """
    A pinned port on a host of the simulated network.
    """

    def test_both_ways(self) -> None:
        """
        It works on reactors that are not made of sockets.
        """
        clock = Clock()
        network = SimulatedNetwork(clock, seed=1)
        one, two = (network.host(f"host{n}", f"198.51.100.{n}") for n in (1, 2))
        peer = _Peer()
        two.listenUDP(7777, peer, "0.0.0.0", 8192)
        heard: list[bytes] = []
        pinned = PinnedPort(("198.51.100.2", 7777), lambda port, data: heard.extend(data))
        pinned.send([b"too early"])
        number = pinned.open(one, "0.0.0.0")
        pinned.send([b"one", b"two"])
        network.advance(1)
        data, addr = self.successResultOf(peer.first)
        self.assertEqual((data, addr), (b"one", ("198.51.100.1", number)))
        closed = pinned.close()
        network.advance(1)
        self.successResultOf(closed)
