"""
A simulated host as a reactor.
"""

from __future__ import annotations

import os
import socket
import struct
from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.endpoints import UNIXClientEndpoint, UNIXServerEndpoint
from twisted.internet.error import CannotListenError, ConnectError, DNSLookupError
from twisted.internet.interfaces import (
    IReactorFDSet,
    IReactorFromThreads,
    IReactorPluggableNameResolver,
    IReactorSSL,
    IReactorTCP,
    IReactorTime,
    IReactorUDP,
    IReactorUNIX,
)
from twisted.internet.protocol import ClientFactory, DatagramProtocol, Factory, Protocol
from twisted.internet.task import Clock, LoopingCall
from twisted.trial.unittest import SynchronousTestCase
from typing_extensions import override
from zope.interface.verify import verifyObject

from atmosphere.testing import SimulatedNetwork
from atmosphere.testing.resolver import NameTable


class Addresses:
    """
    Collects the addresses that a resolver finds.
    """

    def __init__(self) -> None:
        self.found: list[Any] = []
        self.is_complete = False

    def resolutionBegan(self, resolution: Any) -> None:  # noqa: N802
        """
        Try to stop what is over already.
        """
        resolution.cancel()

    def addressResolved(self, address: Any) -> None:  # noqa: N802
        """
        Keep an address.
        """
        self.found.append(address)

    def resolutionComplete(self) -> None:  # noqa: N802
        """
        Note the end.
        """
        self.is_complete = True


class HostCase(SynchronousTestCase):
    """
    Two hosts.
    """

    @override
    def setUp(self) -> None:
        """
        Make the hosts.
        """
        self.clock = Clock()
        self.network = SimulatedNetwork(self.clock, 1)
        self.alice = self.network.host("alice", "192.0.2.1", "2001:db8::1")
        self.bob = self.network.host("bob", "192.0.2.2", "2001:db8::2")


class ReactorTests(HostCase):
    """
    What a reactor promises.
    """

    def test_interfaces(self) -> None:
        """
        A host is what it says it is.
        """
        for interface in (
            IReactorFDSet,
            IReactorFromThreads,
            IReactorPluggableNameResolver,
            IReactorSSL,
            IReactorTCP,
            IReactorTime,
            IReactorUDP,
            IReactorUNIX,
        ):
            self.assertTrue(verifyObject(interface, self.alice))

    def test_time(self) -> None:
        """
        Delayed calls are made on the shared clock; each host knows its own.
        """
        called: list[Any] = []
        call = self.alice.callLater(2, called.append, 1)
        self.alice.callFromThread(called.append, 0)
        self.bob.callLater(1, called.append, key="no such argument")
        self.assertEqual(self.alice.getDelayedCalls()[0], call)
        self.assertEqual((self.alice.seconds(), self.bob.seconds()), (0, 0))
        self.network.advance(2)
        self.assertEqual(called, [0, 1])
        self.assertEqual(len(self.flushLoggedErrors(TypeError)), 1)
        self.assertEqual((self.alice.getDelayedCalls(), self.bob.getDelayedCalls()), ([], []))

    def test_looping_call(self) -> None:
        """
        A looping call runs on a host as on any reactor.
        """
        called: list[float] = []
        loop = LoopingCall(lambda: called.append(self.clock.seconds()))
        loop.clock = self.alice
        loop.start(10)
        self.network.advance(35)
        loop.stop()
        self.assertEqual(called, [0, 10, 20, 30])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_cancel_after_waking(self) -> None:
        """
        Of two calls that became due during sleep, the first may still take back the second.
        """
        called: list[str] = []

        def first() -> None:
            called.append("first")
            second.cancel()

        self.alice.callLater(1, first)
        second = self.alice.callLater(2, called.append, "second")
        self.alice.sleep()
        self.network.advance(10)
        self.assertTrue(second.active())
        self.alice.wake()
        self.network.advance(0)
        self.assertEqual(called, ["first"])

    def test_remove_all(self) -> None:
        """
        All descriptors can be taken off the reactor.
        """
        port: Any = self.alice.listenUDP(0, DatagramProtocol())
        self.assertEqual((self.alice.getReaders(), self.alice.getWriters()), ([port], []))
        self.alice.addWriter(port)
        self.assertEqual(self.alice.removeAll(), [port])
        self.assertEqual((self.alice.getReaders(), self.alice.getWriters()), ([], []))

    def test_protocol_error(self) -> None:
        """
        A protocol that raises is logged and loses its connection; the host goes on.
        """

        class Broken(Protocol):
            @override
            def dataReceived(self, data: bytes) -> None:
                raise ZeroDivisionError

        self.bob.listenTCP(80, Factory.forProtocol(Broken))
        made: list[Any] = []

        class Speaking(Protocol):
            @override
            def connectionMade(self) -> None:
                made.append(self)
                assert self.transport is not None
                self.transport.write(b"x")

        factory: Any = ClientFactory.forProtocol(Speaking)
        self.alice.connectTCP("bob", 80, factory)
        self.network.advance(1)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertFalse(made[0].transport.connected)


class UNIXTests(HostCase):
    """
    UNIX sockets of a host.
    """

    def connect(self, host: Any) -> Any:
        """
        Connect to a path.
        """
        connecting = UNIXClientEndpoint(host, "/run/app").connect(Factory.forProtocol(Protocol))
        self.network.advance(0.1)
        return connecting

    def test_path(self) -> None:
        """
        A path is reached from the same host, until nobody listens there any more.
        """
        accepted: list[Any] = []

        class Server(Protocol):
            @override
            def connectionMade(self) -> None:
                accepted.append(self)

        port: Any = self.successResultOf(
            UNIXServerEndpoint(self.alice, "/run/app").listen(Factory.forProtocol(Server))
        )
        self.assertEqual(port.getHost(), UNIXAddress(b"/run/app"))
        with self.assertRaises(CannotListenError):
            self.alice.listenUNIX("/run/app", Factory())
        client: Any = self.successResultOf(self.connect(self.alice))
        credentials = (
            accepted[0]
            .transport.getHandle()
            .getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
        )
        self.assertEqual(struct.unpack("3i", credentials)[1], os.geteuid())
        self.failureResultOf(self.connect(self.bob), ConnectError)
        stopping = port.stopListening()
        self.network.advance(0)
        self.successResultOf(stopping)
        self.failureResultOf(self.connect(self.alice), ConnectError)
        self.assertTrue(client.transport.connected)

    def test_killed(self) -> None:
        """
        A path is free again when the process is gone.
        """
        self.alice.listenUNIX("/run/app", Factory())
        self.alice.kill()
        self.alice.restart()
        self.alice.listenUNIX("/run/app", Factory())


class ResolverTests(HostCase):
    """
    Looking names up.
    """

    def resolve(self, name: str, *arguments: Any) -> list[Any]:
        """
        Look a name up.
        """
        addresses: Any = Addresses()
        self.alice.nameResolver.resolveHostName(addresses, name, 80, *arguments)
        self.assertTrue(addresses.is_complete)
        found: list[Any] = addresses.found
        return found

    def test_names(self) -> None:
        """
        Hosts have names; others can be added, removed, and asked for by family.
        """
        v4, v6 = IPv4Address("TCP", "192.0.2.2", 80), IPv6Address("TCP", "2001:db8::2", 80)
        self.assertEqual(self.resolve("Bob"), [v4, v6])
        self.assertEqual(self.resolve("bob", [IPv6Address]), [v6])
        self.assertEqual(self.resolve("192.0.2.2"), [v4])
        self.assertEqual(self.resolve("nobody"), [])
        self.network.names.add("relay.example", "192.0.2.2")
        self.assertEqual(self.resolve("relay.example."), [v4])
        self.assertEqual(
            self.resolve("relay.example", None, "UDP"), [IPv4Address("UDP", "192.0.2.2", 80)]
        )
        self.network.names.remove("relay.example")
        self.assertEqual(self.resolve("relay.example"), [])

    def test_failing(self) -> None:
        """
        While DNS fails no name is found, and an address is still an address.
        """
        self.network.names.is_failing = True
        self.assertEqual(self.resolve("bob"), [])
        self.assertEqual(len(self.resolve("192.0.2.2")), 1)
        self.failureResultOf(self.alice.resolve("bob"), DNSLookupError)

    def test_simple(self) -> None:
        """
        The old way of looking a name up finds an IPv4 address.
        """
        self.assertEqual(self.successResultOf(self.alice.resolve("bob")), "192.0.2.2")
        self.assertEqual(self.successResultOf(self.alice.resolve("10.0.0.1")), "10.0.0.1")

    def test_installed(self) -> None:
        """
        A host may use a resolver of its own.
        """
        own = NameTable()
        before = self.alice.installNameResolver(own)
        self.assertIs(before, self.network.names)
        self.assertEqual(self.resolve("bob"), [])


class AddressTests(HostCase):
    """
    Which addresses a port may have, and leaves from.
    """

    def test_interfaces(self) -> None:
        """
        A port is bound to one address or all of a family; the families are apart.
        """
        for interface in ("", "::", "127.0.0.1"):
            if interface != "127.0.0.1":
                self.alice.listenUDP(7777, DatagramProtocol(), interface)
        for taken in ("", "::1", "192.0.2.1"):
            with self.assertRaises(CannotListenError):
                self.alice.listenUDP(7777, DatagramProtocol(), taken)
        with self.assertRaises(CannotListenError):
            self.alice.listenUDP(7778, DatagramProtocol(), "192.0.2.99")
        self.alice.listenUDP(7778, DatagramProtocol(), "192.0.2.1")
        self.alice.listenUDP(7778, DatagramProtocol(), "127.0.0.1")

    def test_own_address(self) -> None:
        """
        A host reaches itself by its own addresses and by loopback, at once.
        """
        received: list[Any] = []

        class Inbox(DatagramProtocol):
            @override
            def datagramReceived(self, datagram: bytes, addr: Any) -> None:
                received.append((datagram, addr[0]))

        self.alice.listenUDP(7777, Inbox())
        port: Any = self.alice.listenUDP(0, DatagramProtocol())
        for address in ("192.0.2.1", "127.0.0.1"):
            port.write(address.encode(), (address, 7777))
        self.network.advance(0)
        self.assertEqual(received, [(b"192.0.2.1", "192.0.2.1"), (b"127.0.0.1", "127.0.0.1")])

    def test_ipv6(self) -> None:
        """
        Datagrams travel over IPv6 as well; a port of one family does not send by the other.
        """
        received: list[Any] = []

        class Inbox(DatagramProtocol):
            @override
            def datagramReceived(self, datagram: bytes, addr: Any) -> None:
                received.append(addr)

        self.bob.listenUDP(7777, Inbox(), "::")
        port: Any = self.alice.listenUDP(5000, DatagramProtocol(), "::")
        port.write(b"x", ("2001:db8::2", 7777))
        self.network.advance(1)
        self.assertEqual(received, [("2001:db8::1", 5000)])
        self.assertRaises(ValueError, port.write, b"x", ("192.0.2.2", 7777))

    def test_no_route(self) -> None:
        """
        A host without IPv6 cannot send there.
        """
        carol = self.network.host("carol", "192.0.2.3")
        port: Any = carol.listenUDP(0, DatagramProtocol(), "::")
        self.assertRaises(OSError, port.write, b"x", ("2001:db8::2", 7777))
