"""
Tests for L{atmosphere.node.ports}.
"""

from __future__ import annotations

import errno
from collections.abc import Sequence
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IAddress, IListeningPort
from twisted.internet.protocol import DatagramProtocol
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from typing_extensions import override

from atmosphere.addresses import TransportAddress
from atmosphere.errors import ListenError
from atmosphere.network.path.ways import DirectWay, Way
from atmosphere.network.stun.server import BindingServer
from atmosphere.node.ports import NodePorts
from atmosphere.testing import Host, SimulatedNetwork, seeded_entropy

QUIC_PACKET = b"\x40" + bytes(30)
PEER = TransportAddress("198.51.100.2", 9999)


class WithoutIPv6:
    """
    A host whose system has no IPv6.
    """

    def __init__(self, host: Host) -> None:
        self._host = host

    def __getattr__(self, name: str) -> Any:
        return getattr(self._host, name)

    def listenUDP(
        self, port: int, protocol: DatagramProtocol, interface: str, size: int
    ) -> IListeningPort:
        """
        Listen, on IPv4.
        """
        if ":" in interface:
            raise CannotListenError(interface, port, OSError(errno.EAFNOSUPPORT, "no IPv6"))
        return self._host.listenUDP(port, protocol, interface, size)


class OncePort:
    """
    A port that a reactor which ends has closed: Twisted's no longer know where they were.
    """

    def __init__(self, port: IListeningPort) -> None:
        self._port = port
        self.is_closed = False

    def getHost(self) -> IAddress:
        """
        Say where it listens, as long as it does.
        """
        if self.is_closed:
            raise AttributeError("socket")
        return self._port.getHost()


class EndingHost:
    """
    A host whose ports can be closed behind the back of those who use them.
    """

    def __init__(self, host: Host) -> None:
        self._host = host
        self.opened: list[OncePort] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._host, name)

    def listenUDP(
        self, port: int, protocol: DatagramProtocol, interface: str, size: int
    ) -> OncePort:
        """
        Listen.
        """
        self.opened.append(OncePort(self._host.listenUDP(port, protocol, interface, size)))
        return self.opened[-1]


class PortsTests(SynchronousTestCase):
    """
    A host with both families, and one that talks to it.
    """

    @override
    def setUp(self) -> None:
        """
        Make the hosts.
        """
        self.network = SimulatedNetwork(Clock(), seed=1)
        self.host = self.network.host("here", "198.51.100.1", "2001:db8::1")
        self.other = self.network.host("there", PEER.host, "2001:db8::2")
        self.received: list[tuple[Way, bytes]] = []
        self.ports = self.make(self.host)

    def make(self, host: Host | WithoutIPv6 | EndingHost) -> NodePorts:
        """
        Make the ports of a host.
        """
        return NodePorts(host, self.deliver, entropy=seeded_entropy(1))

    def deliver(self, way: Way, datagrams: Sequence[bytes]) -> None:
        """
        Keep what came.
        """
        self.received += [(way, data) for data in datagrams]

    def test_first_time(self) -> None:
        """
        At first 7777 is taken, or any other if it is not free; both families agree.
        """
        self.assertEqual(self.ports.listen(("::", "0.0.0.0"), None, first_time=True), 7777)
        self.assertEqual(self.ports.bound, ["0.0.0.0:7777", "[::]:7777"])
        another = self.make(self.host)
        number = another.listen(("0.0.0.0", "::"), None, first_time=True)
        self.assertNotEqual(number, 7777)
        self.assertEqual({another.port_of(is_ipv6=each) for each in (False, True)}, {number})

    def test_kept(self) -> None:
        """
        A port that was had before is had again or not at all.
        """
        self.host.listenUDP(7000, DatagramProtocol())
        error = self.assertRaises(
            ListenError, self.ports.listen, ("0.0.0.0",), 7000, first_time=False
        )
        self.assertIn("7000", str(error))

    def test_foreign_interface(self) -> None:
        """
        An address that is not this machine's is called that, the first time and
        later: no other port would help.
        """
        for first_time in (True, False):
            with self.assertRaises(ListenError) as caught:
                self.ports.listen(["192.0.2.99"], 7777, first_time=first_time)
            self.assertIn("192.0.2.99 is no address of this machine", str(caught.exception))
            self.assertIn("--interface", str(caught.exception))
            self.assertNotIn("--udp-port", str(caught.exception))

    def test_no_ipv6(self) -> None:
        """
        A machine without IPv6 listens on IPv4 alone.
        """

        ports = self.make(WithoutIPv6(self.host))
        ports.listen(("0.0.0.0", "::"), None, first_time=True)
        self.assertEqual(ports.bound, ["0.0.0.0:7777"])
        self.assertIsNone(ports.port_of(is_ipv6=True))
        ports.send(TransportAddress("2001:db8::2", 9999), [b"lost"])

    def test_received(self) -> None:
        """
        QUIC's datagrams and connectivity checks come with their way, one object for
        each; anything else is dropped.
        """
        self.ports.listen(("0.0.0.0",), None, first_time=True)
        sender = DatagramProtocol()
        self.other.listenUDP(PEER.port, sender)
        assert sender.transport is not None
        for data in (QUIC_PACKET, QUIC_PACKET, b"\xff" * 30, b"\x14" * 30):
            sender.transport.write(data, ("198.51.100.1", 7777))
        self.network.advance(1)
        ways = [way for way, data in self.received if data == QUIC_PACKET]
        self.assertEqual(ways, [DirectWay(PEER)] * 2)
        self.assertIs(ways[0], ways[1])

    def test_sent(self) -> None:
        """
        What is sent leaves by the port of its family.
        """
        self.ports.listen(("0.0.0.0", "::"), None, first_time=True)
        got: list[tuple[bytes, str]] = []

        class Receiver(DatagramProtocol):
            """
            Keeps what comes.
            """

            @override
            def datagramReceived(self, datagram: bytes, addr: tuple[str, int]) -> None:
                """
                Keep it.
                """
                got.append((datagram, addr[0]))

        self.other.listenUDP(PEER.port, Receiver(), interface="::")
        self.other.listenUDP(PEER.port, Receiver(), interface="0.0.0.0")
        self.ports.send(PEER, [b"one", b"two"])
        self.ports.send(TransportAddress("2001:db8::2", PEER.port), [b"three"])
        self.network.advance(1)
        self.assertEqual(
            sorted(got),
            [(b"one", "198.51.100.1"), (b"three", "2001:db8::1"), (b"two", "198.51.100.1")],
        )

    def test_stun(self) -> None:
        """
        Each family has a STUN client on the very port that the links use.
        """
        self.ports.listen(("0.0.0.0",), None, first_time=True)
        self.other.listenUDP(3478, BindingServer(self.other))
        asking = self.ports.stun[False].request(TransportAddress(PEER.host, 3478))
        self.network.run_until(asking)
        self.assertEqual(str(self.successResultOf(asking).mapped), "198.51.100.1:7777")

    def test_stop(self) -> None:
        """
        Afterwards the ports are free, and nothing is sent.
        """
        self.ports.listen(("0.0.0.0", "::"), None, first_time=True)
        stopping = Deferred.fromCoroutine(self.ports.stop())
        self.network.run_until(stopping)
        self.successResultOf(stopping)
        self.assertEqual(self.ports.bound, [])
        self.ports.send(PEER, [b"late"])
        self.assertEqual(self.make(self.host).listen(("0.0.0.0",), 7777, first_time=False), 7777)

    def test_reactor_ends(self) -> None:
        """
        What is asked while the program ends is answered, though the reactor has closed the ports.
        """
        host = EndingHost(self.host)
        ports = self.make(host)
        ports.listen(("0.0.0.0",), 7001, first_time=False)
        for port in host.opened:
            port.is_closed = True
        self.assertEqual(ports.port_of(is_ipv6=False), 7001)
        self.assertEqual(ports.interface_of(is_ipv6=False), "0.0.0.0")
        self.assertEqual(ports.bound, ["0.0.0.0:7001"])
