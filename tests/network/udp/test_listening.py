"""
Tests for L{atmosphere.network.udp.shared_port}: which port is taken, and real ones.
"""

import socket
from typing import Any, cast

from twisted.internet import reactor as global_reactor  # noqa: TID251
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort, IReactorTime, IReactorUDP
from twisted.internet.protocol import DatagramProtocol
from twisted.trial.unittest import SynchronousTestCase, TestCase
from typing_extensions import override

from atmosphere.errors import ListenError
from atmosphere.network.udp.shared_port import Share, SharedPort, listen_udp, listen_udp_dual

reactor = cast(IReactorUDP, global_reactor)

SHORT = b"\x41" + bytes(30)


class Idle(DatagramProtocol):
    """
    Does nothing.
    """

    noisy = False


class TakenReactor:
    """
    A reactor on which some ports are taken.
    """

    def __init__(self, *taken: int) -> None:
        self.taken = taken
        self.asked: list[tuple[int, str]] = []

    def listenUDP(
        self, port: int, protocol: Any, interface: str = "", maxPacketSize: int = 8192
    ) -> IListeningPort:
        """
        Bind a port that is free.
        """
        self.asked.append((port, interface))
        if port in self.taken:
            raise CannotListenError(interface, port, OSError(98, "Address already in use"))

        class Port:
            """
            What was bound.
            """

            def getHost(self) -> IPv4Address:
                """
                Give its address.
                """
                return IPv4Address("UDP", interface, port or 50000)

        return cast(IListeningPort, Port())


class ListenTests(SynchronousTestCase):
    """
    Which port is taken.
    """

    def listen(self, taken: TakenReactor, port: int, first_time: bool) -> int:
        """
        Listen.

        @return: the port.
        """
        bound = listen_udp(cast(IReactorUDP, taken), port, "0.0.0.0", Idle(), first_time)
        return cast(IPv4Address, bound.getHost()).port

    def test_preferred(self) -> None:
        """
        The preferred port is taken when it is free, the first time and later.
        """
        self.assertEqual(self.listen(TakenReactor(), 7777, True), 7777)
        self.assertEqual(self.listen(TakenReactor(), 7777, False), 7777)

    def test_first_time(self) -> None:
        """
        The first time any other port will do.
        """
        self.assertEqual(self.listen(TakenReactor(7777), 7777, True), 50000)

    def test_later(self) -> None:
        """
        A port that peers know and that is taken is an error with its number.
        """
        with self.assertRaises(ListenError) as caught:
            self.listen(TakenReactor(7777), 7777, False)
        self.assertEqual(caught.exception.port, 7777)
        self.assertIn("7777", str(caught.exception))
        self.assertIn("already in use", str(caught.exception))

    def test_nothing_free(self) -> None:
        """
        When nothing at all is free it is an error too.
        """
        self.assertRaises(ListenError, self.listen, TakenReactor(0, 7777), 7777, True)

    def test_dual(self) -> None:
        """
        IPv6 gets the number of IPv4, else another, else none.
        """
        for taken, asked in (
            ((), [(7777, "0.0.0.0"), (7777, "::")]),
            ((7777,), [(7777, "0.0.0.0"), (0, "0.0.0.0"), (50000, "::")]),
            ((7777, 50000), [(7777, "0.0.0.0"), (0, "0.0.0.0"), (50000, "::"), (0, "::")]),
        ):
            ports = TakenReactor(*taken)
            _, second = listen_udp_dual(cast(IReactorUDP, ports), 7777, Idle(), Idle(), True)
            self.assertEqual(ports.asked, asked)
            self.assertIsNotNone(second)

    def test_no_ipv6(self) -> None:
        """
        A machine without IPv6 has its port in IPv4.
        """

        class Reactor(TakenReactor):
            """
            A reactor without IPv6.
            """

            @override
            def listenUDP(
                self, port: int, protocol: Any, interface: str = "", maxPacketSize: int = 8192
            ) -> IListeningPort:
                """
                Bind in IPv4 only.
                """
                if ":" in interface:
                    raise CannotListenError(interface, port, OSError(97, "not supported"))
                return super().listenUDP(port, protocol, interface, maxPacketSize)

        _, second = listen_udp_dual(cast(IReactorUDP, Reactor()), 7777, Idle(), Idle(), True)
        self.assertIsNone(second)


class SocketTests(TestCase):
    """
    Real sockets on loopback.
    """

    timeout = 10

    def keep(self, port: IListeningPort) -> IListeningPort:
        """
        Close a port when the test is over.
        """
        self.addCleanup(lambda: maybeDeferred(port.stopListening))
        return port

    def test_both_families(self) -> None:
        """
        IPv4 and IPv6 have the same number on one machine.
        """
        if not socket.has_ipv6:
            self.skipTest("no IPv6")
        first, second = listen_udp_dual(reactor, 0, Idle(), Idle(), True)
        self.keep(first)
        if second is None:
            self.skipTest("no IPv6")
        self.keep(second)
        numbers = {cast(IPv4Address, each.getHost()).port for each in (first, second)}
        self.assertEqual(len(numbers), 1)

    def test_taken_ipv6(self) -> None:
        """
        When the number is taken in IPv6 alone, IPv6 gets another.
        """
        try:
            taken = self.keep(listen_udp(reactor, 0, "::", Idle(), True))
        except ListenError:
            self.skipTest("no IPv6")
        number = cast(IPv4Address, taken.getHost()).port
        first, second = listen_udp_dual(reactor, number, Idle(), Idle(), False)
        self.keep(first)
        assert second is not None
        self.keep(second)
        self.assertEqual(cast(IPv4Address, first.getHost()).port, number)
        self.assertNotEqual(cast(IPv4Address, second.getHost()).port, number)

    def test_taken(self) -> None:
        """
        A port that somebody has is not taken away.
        """
        port = self.keep(listen_udp(reactor, 0, "127.0.0.1", Idle(), True))
        number = cast(IPv4Address, port.getHost()).port
        with self.assertRaises(ListenError) as caught:
            listen_udp(reactor, number, "127.0.0.1", Idle(), False)
        self.assertEqual(caught.exception.port, number)
        other = self.keep(listen_udp(reactor, number, "127.0.0.1", Idle(), True))
        self.assertNotEqual(cast(IPv4Address, other.getHost()).port, number)

    def test_round_trip(self) -> Deferred[None]:
        """
        Two protocols on shared ports exchange datagrams as if each had its own.
        """
        done: Deferred[bytes] = Deferred()

        class Echo(Idle):
            """
            Sends back what it gets.
            """

            @override
            def datagramReceived(self, datagram: bytes, addr: tuple[str, int]) -> None:
                """
                Send it back.
                """
                assert self.transport is not None
                self.transport.write(datagram, addr)

        class Asker(Idle):
            """
            Reports what it gets.
            """

            @override
            def datagramReceived(self, datagram: bytes, addr: tuple[str, int]) -> None:
                """
                Report it.
                """
                done.callback(datagram)

        one, two, asker = SharedPort(), SharedPort(), Asker()
        one.attach(Share.QUIC, asker)
        two.attach(Share.QUIC, Echo())
        self.keep(listen_udp(reactor, 0, "127.0.0.1", one, True))
        target = self.keep(listen_udp(reactor, 0, "127.0.0.1", two, True))
        assert asker.transport is not None
        asker.transport.write(SHORT, ("127.0.0.1", cast(IPv4Address, target.getHost()).port))
        done.addTimeout(5, cast(IReactorTime, global_reactor))
        return done.addCallback(lambda datagram: self.assertEqual(datagram, SHORT))
