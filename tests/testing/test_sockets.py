"""
Simulated sockets raise and return what real ones do.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable
from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from typing_extensions import override

from atmosphere.testing import SimulatedNetwork

HOST = "127.0.0.1"


class SocketContract:
    """
    What holds for sockets that do not block.
    """

    assertEqual: Callable[..., None]  # noqa: N815
    fail: Callable[..., Any]

    def datagram_socket(self) -> Any:
        """
        Make a UDP socket.
        """
        raise NotImplementedError

    def stream_socket(self) -> Any:
        """
        Make a TCP socket.
        """
        raise NotImplementedError

    def settle(self) -> None:
        """
        Let packets arrive.
        """

    def error(self, function: Callable[..., object], *arguments: object) -> int | None:
        """
        Call something that must fail.

        @return: the error number.
        """
        try:
            function(*arguments)
        except OSError as error:
            return error.errno
        return self.fail(f"{function} did not fail")  # type: ignore[no-any-return]

    def test_datagram_errors(self) -> None:
        """
        A UDP socket says what is wrong.
        """
        one = self.datagram_socket()
        self.assertEqual(one.getsockname(), ("0.0.0.0", 0))
        self.assertEqual(self.error(one.send, b"x"), errno.EDESTADDRREQ)
        self.assertEqual(self.error(one.sendto, b"x" * 65508, (HOST, 9)), errno.EMSGSIZE)
        self.assertEqual(self.error(one.sendto, b"x", (HOST, 0)), errno.EINVAL)
        self.assertEqual(self.error(one.recvfrom, 10), errno.EWOULDBLOCK)
        self.assertEqual(self.error(one.bind, ("192.0.2.99", 0)), errno.EADDRNOTAVAIL)

    def test_datagram_without_bind(self) -> None:
        """
        A UDP socket that sends, or connects, has a port from then on.
        """
        one, two, three = (self.datagram_socket() for _ in range(3))
        one.bind((HOST, 0))
        two.sendto(b"2", one.getsockname())
        three.connect(one.getsockname())
        three.send(b"3")
        self.settle()
        ports = (two.getsockname()[1], three.getsockname()[1])
        self.assertEqual(three.getsockname()[0], HOST)
        self.assertEqual(one.recvfrom(10), (b"2", (HOST, ports[0])))
        self.assertEqual(one.recvfrom(10), (b"3", (HOST, ports[1])))

    def test_datagram_options(self) -> None:
        """
        Options are kept.
        """
        one = self.datagram_socket()
        self.assertEqual(one.getsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST), 0)
        one.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        self.assertEqual(bool(one.getsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST)), True)

    def test_closed(self) -> None:
        """
        A closed socket has no number; closing it again does no harm.
        """
        for each in (self.datagram_socket(), self.stream_socket()):
            self.assertEqual(each.fileno() > 0, True)
            each.close()
            each.close()
            self.assertEqual(each.fileno(), -1)

    def test_stream_errors(self) -> None:
        """
        A TCP socket that is not connected says so.
        """
        one = self.stream_socket()
        self.assertEqual(one.getsockname(), ("0.0.0.0", 0))
        self.assertEqual(self.error(one.getpeername), errno.ENOTCONN)
        self.assertEqual(self.error(one.recv, 10), errno.ENOTCONN)
        self.assertEqual(self.error(one.send, b"x"), errno.EPIPE)
        self.assertEqual(self.error(one.shutdown, socket.SHUT_RDWR), errno.ENOTCONN)

    def test_stream(self) -> None:
        """
        A connection can be made, used and closed one direction after the other.
        """
        listening, one = self.stream_socket(), self.stream_socket()
        listening.bind((HOST, 0))
        listening.listen(5)
        self.assertEqual(self.error(listening.accept), errno.EWOULDBLOCK)
        one.connect_ex(listening.getsockname())
        self.settle()
        self.assertEqual(one.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR), 0)
        two, address = listening.accept()
        two.setblocking(False)
        self.assertEqual(address, one.getsockname())
        self.assertEqual(one.getpeername(), two.getsockname())
        self.assertEqual(self.error(one.recv, 10), errno.EWOULDBLOCK)
        self.assertEqual(one.send(b"hello"), 5)
        one.shutdown(socket.SHUT_WR)
        self.settle()
        self.assertEqual(self.error(one.send, b"late"), errno.EPIPE)
        self.assertEqual((two.recv(3), two.recv(10), two.recv(10)), (b"hel", b"lo", b""))
        two.send(b"bye")
        two.close()
        self.settle()
        self.assertEqual((one.recv(10), one.recv(10)), (b"bye", b""))
        for each in (one, listening):
            each.close()

    def test_full(self) -> None:
        """
        A connection whose other end does not read takes no more at last.
        """
        listening, one = self.stream_socket(), self.stream_socket()
        listening.listen(5)
        one.connect_ex((HOST, listening.getsockname()[1]))
        self.settle()
        two, _ = listening.accept()
        for _ in range(10_000):
            try:
                one.send(b"x" * 10_000)
            except BlockingIOError:
                break
            self.settle()
        else:
            self.fail("it never was full")
        for each in (one, two, listening):
            each.close()

    def test_refused(self) -> None:
        """
        What is refused says so to whoever asks.
        """
        listening, one = self.stream_socket(), self.stream_socket()
        listening.bind((HOST, 0))
        result = one.connect_ex(listening.getsockname())
        self.settle()
        if result == errno.EINPROGRESS:
            result = one.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        self.assertEqual(result, errno.ECONNREFUSED)
        listening.close()

    def test_port_taken(self) -> None:
        """
        A port is had once.
        """
        for make in (self.datagram_socket, self.stream_socket):
            one, two = make(), make()
            one.bind((HOST, 0))
            self.assertEqual(self.error(two.bind, one.getsockname()), errno.EADDRINUSE)
            one.close()
            two.close()


class RealSocketTests(SocketContract, SynchronousTestCase):
    """
    The sockets of this machine, on loopback.
    """

    def make(self, kind: socket.SocketKind) -> socket.socket:
        """
        Make a socket that is closed after the test.
        """
        made = socket.socket(socket.AF_INET, kind)
        made.setblocking(False)
        self.addCleanup(made.close)
        return made

    @override
    def datagram_socket(self) -> socket.socket:
        """
        Make a UDP socket.
        """
        return self.make(socket.SOCK_DGRAM)

    @override
    def stream_socket(self) -> socket.socket:
        """
        Make a TCP socket.
        """
        return self.make(socket.SOCK_STREAM)


class SimulatedSocketTests(SocketContract, SynchronousTestCase):
    """
    The sockets of a simulated host.
    """

    @override
    def setUp(self) -> None:
        """
        Make a host.
        """
        self.network = SimulatedNetwork(Clock(), 1)
        self.host = self.network.host("alice", "192.0.2.1")

    @override
    def settle(self) -> None:
        """
        Let packets arrive.
        """
        self.network.advance(0.1)

    @override
    def datagram_socket(self) -> Any:
        """
        Make a UDP socket.
        """
        return self.host.kernel.datagram_socket(socket.AF_INET)

    @override
    def stream_socket(self) -> Any:
        """
        Make a TCP socket.
        """
        return self.host.kernel.stream_socket(socket.AF_INET)

    def test_connecting(self) -> None:
        """
        While a connection is being made, or could not be, a second attempt says so.
        """
        bob = self.network.host("bob", "192.0.2.2")
        listening = bob.kernel.stream_socket(socket.AF_INET)
        listening.bind(("", 80))
        listening.listen(1)
        one = self.stream_socket()
        target = ("192.0.2.2", 80)
        self.assertEqual(one.connect_ex(target), errno.EINPROGRESS)
        self.assertEqual(one.connect_ex(target), errno.EALREADY)
        self.settle()
        self.assertEqual(one.connect_ex(target), errno.EISCONN)
        unreachable = self.host.kernel.stream_socket(socket.AF_INET6)
        self.assertEqual(unreachable.connect_ex(("2001:db8::1", 80)), errno.ENETUNREACH)

    def test_backlog(self) -> None:
        """
        No more connections wait to be accepted than were allowed; the next comes later.
        """
        listening = self.stream_socket()
        listening.bind(("", 80))
        listening.listen(1)
        clients = [self.stream_socket() for _ in range(2)]
        for each in clients:
            each.connect_ex(("192.0.2.1", 80))
        self.settle()
        self.assertEqual(clients[1].connect_ex(("192.0.2.1", 80)), errno.EALREADY)
        listening.accept()
        self.network.advance(5)
        self.assertEqual(clients[1].connect_ex(("192.0.2.1", 80)), errno.EISCONN)

    def test_low_water(self) -> None:
        """
        A socket that may have little unsent is full sooner.
        """
        listening, one = self.stream_socket(), self.stream_socket()
        listening.bind(("", 80))
        listening.listen(1)
        one.connect_ex(("192.0.2.1", 80))
        self.settle()
        two, _ = listening.accept()
        one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, 10_000)
        self.assertTrue(one.is_writable)
        while one.is_writable:
            one.send(b"x" * 16_384)
            self.settle()
        self.assertTrue(one.send(b"more") == 4)
        two.recv(200_000)
        self.settle()
        self.assertTrue(one.is_writable)

    def test_overflow(self) -> None:
        """
        Datagrams that nobody reads are lost beyond what the buffer holds.
        """
        trace = self.network.record()
        one, two = self.datagram_socket(), self.datagram_socket()
        one.bind(("", 7777))
        for _ in range(50):
            two.sendto(b"x" * 60_000, ("192.0.2.1", 7777))
        self.settle()
        self.assertEqual(sum(each.kind == "udp overflow" for each in trace), 16)
