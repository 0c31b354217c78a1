"""
Routers that translate addresses.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from twisted.internet.endpoints import TCP4ClientEndpoint, TCP4ServerEndpoint
from twisted.internet.protocol import DatagramProtocol, Factory, Protocol
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from typing_extensions import override

from atmosphere.testing import (
    ADDRESS_RESTRICTED,
    CGNAT,
    FULL_CONE,
    PORT_RESTRICTED,
    SYMMETRIC,
    Dependence,
    Host,
    NatBehaviour,
    Ports,
    SimulatedNetwork,
)


class Inbox(DatagramProtocol):
    """
    Keeps the datagrams that came, and from where.
    """

    def __init__(self) -> None:
        self.received: list[tuple[bytes, tuple[str, int]]] = []

    @override
    def datagramReceived(self, datagram: bytes, addr: tuple[str, int]) -> None:
        """
        Keep a datagram.
        """
        self.received.append((datagram, addr))

    @property
    def last(self) -> tuple[str, int]:
        """
        Where the last datagram came from.
        """
        return self.received[-1][1]


class NatCase(SynchronousTestCase):
    """
    Alice at home behind a NAT, two servers outside.
    """

    @override
    def setUp(self) -> None:
        """
        Make the servers.
        """
        self.network = SimulatedNetwork(Clock(), 1)
        self.one = self.network.host("one", "203.0.113.1")
        self.two = self.network.host("two", "203.0.113.2")

    def home(self, behaviour: NatBehaviour) -> None:
        """
        Put Alice at home.
        """
        self.nat = self.network.nat("home", "198.51.100.1", behaviour)
        self.alice = self.network.host("alice", "192.168.1.2", on=self.nat.lan)
        self.inbox, self.port = self.listen(self.alice, 5000)

    def listen(self, host: Host, port: int) -> tuple[Inbox, Any]:
        """
        Listen on a UDP port.
        """
        inbox = Inbox()
        return inbox, host.listenUDP(port, inbox)

    def send(self, port: Any, address: tuple[str, int], data: bytes = b"x") -> None:
        """
        Send a datagram, and let it arrive.
        """
        port.write(data, address)
        self.network.advance(0.1)


class MappingTests(NatCase):
    """
    Which address the others see.
    """

    def seen(self, behaviour: NatBehaviour) -> list[tuple[str, int]]:
        """
        Ask two servers, one of them on two ports, what they see of one port of Alice.
        """
        self.setUp()
        self.home(behaviour)
        seen = []
        for host, port in ((self.one, 1), (self.one, 2), (self.two, 1)):
            inbox, _ = self.listen(host, port)
            self.send(self.port, (host.address, port))
            seen.append(inbox.last)
        return seen

    def test_endpoint_independent(self) -> None:
        """
        All see the same address and port, that of the host where it is preserved.
        """
        for behaviour in (FULL_CONE, ADDRESS_RESTRICTED, PORT_RESTRICTED):
            self.assertEqual(self.seen(behaviour), [("198.51.100.1", 5000)] * 3)
        seen = self.seen(CGNAT)
        self.assertEqual(len(set(seen)), 1)
        self.assertNotEqual(seen[0][1], 5000)

    def test_dependent(self) -> None:
        """
        Each destination sees another port.
        """
        seen = self.seen(SYMMETRIC)
        self.assertEqual({host for host, _ in seen}, {"198.51.100.1"})
        self.assertEqual(len({port for _, port in seen}), 3)

    def test_port_taken(self) -> None:
        """
        Two hosts inside with the same port have different ones outside.
        """
        self.home(FULL_CONE)
        bob = self.network.host("bob", "192.168.1.3", on=self.nat.lan)
        inbox, _ = self.listen(self.one, 1)
        _, bobs = self.listen(bob, 5000)
        for port in (self.port, bobs):
            self.send(port, ("203.0.113.1", 1))
        self.assertEqual(len({each for _, each in inbox.received}), 2)
        self.assertEqual(len(self.nat.mappings()), 2)

    def test_address_dependent(self) -> None:
        """
        Each address sees another port, and all ports of one address the same.
        """
        by_address = replace(SYMMETRIC, mapping=Dependence.ADDRESS_DEPENDENT)
        first, second, third = self.seen(by_address)
        self.assertEqual(first, second)
        self.assertNotEqual(first, third)

    def test_sequential(self) -> None:
        """
        Ports may follow each other, and begin anew; those that are taken are left out.
        """
        self.assertEqual(
            [port for _, port in self.seen(replace(SYMMETRIC, ports=Ports.SEQUENTIAL))],
            [1024, 1025, 1026],
        )
        self.nat._last_port = 65534
        inbox, _ = self.listen(self.one, 9)
        for number in range(3):
            _, port = self.listen(self.alice, 6000 + number)
            self.send(port, ("203.0.113.1", 9))
        self.assertEqual([port for _, (_, port) in inbox.received], [65535, 1027, 1028])

    def test_full(self) -> None:
        """
        When there is no room no new mapping is made until an old one is over; old ones
        work on.
        """
        self.home(replace(PORT_RESTRICTED, most_mappings=2))
        inbox, _ = self.listen(self.one, 1)
        ports = [self.port, *(self.listen(self.alice, number)[1] for number in (5001, 5002))]
        for port in ports:
            self.send(port, ("203.0.113.1", 1))
        self.send(self.port, ("203.0.113.1", 1))
        self.assertEqual([port for _, (_, port) in inbox.received], [5000, 5001, 5000])
        self.network.advance(121)
        self.send(ports[2], ("203.0.113.1", 1))
        self.assertEqual((inbox.last[1], self.nat.mappings_made), (5002, 3))


class FilteringTests(NatCase):
    """
    Whose datagrams come in.
    """

    def come_in(self, behaviour: NatBehaviour) -> list[bytes]:
        """
        Let Alice send to one port of one server, and three others answer.
        """
        self.setUp()
        self.home(behaviour)
        asked, asked_port = self.listen(self.one, 1)
        _, same_host = self.listen(self.one, 2)
        _, other_host = self.listen(self.two, 1)
        self.send(self.port, ("203.0.113.1", 1))
        for port, data in ((asked_port, b"a"), (same_host, b"b"), (other_host, b"c")):
            self.send(port, asked.last, data)
        return [data for data, _ in self.inbox.received]

    def test_filtering(self) -> None:
        """
        Each kind of NAT lets in what RFC 4787 says of it.
        """
        self.assertEqual(self.come_in(FULL_CONE), [b"a", b"b", b"c"])
        self.assertEqual(self.come_in(ADDRESS_RESTRICTED), [b"a", b"b"])
        for behaviour in (PORT_RESTRICTED, SYMMETRIC, CGNAT):
            self.assertEqual(self.come_in(behaviour), [b"a"])

    def test_unasked(self) -> None:
        """
        Nothing comes in where nothing went out.
        """
        self.home(FULL_CONE)
        _, port = self.listen(self.one, 1)
        self.send(port, ("198.51.100.1", 5000))
        self.assertEqual(self.inbox.received, [])

    def test_punch(self) -> None:
        """
        Two port-restricted homes reach each other once both have sent.
        """
        self.home(PORT_RESTRICTED)
        other = self.network.nat("other", "198.51.100.2", PORT_RESTRICTED)
        bob = self.network.host("bob", "192.168.1.2", on=other.lan)
        inbox, port = self.listen(bob, 6000)
        self.send(self.port, ("198.51.100.2", 6000), b"lost")
        self.send(port, ("198.51.100.1", 5000), b"through")
        self.send(self.port, ("198.51.100.2", 6000), b"back")
        self.assertEqual(self.inbox.received, [(b"through", ("198.51.100.2", 6000))])
        self.assertEqual(inbox.received, [(b"back", ("198.51.100.1", 5000))])


class LifetimeTests(NatCase):
    """
    How long mappings live.
    """

    def test_expiry(self) -> None:
        """
        A mapping that is not used is gone after its lifetime; traffic keeps it.
        """
        self.home(SYMMETRIC)
        inbox, port = self.listen(self.one, 1)
        self.send(self.port, ("203.0.113.1", 1))
        first = inbox.last
        for _ in range(4):
            self.network.advance(50)
            self.send(port, first, b"keep")
        self.assertEqual(len(self.inbox.received), 4)
        self.network.advance(61)
        self.send(port, first, b"too late")
        self.assertEqual(len(self.inbox.received), 4)
        self.assertEqual(self.nat.mappings(), [])
        self.send(self.port, ("203.0.113.1", 1))
        self.assertNotEqual(inbox.last, first)

    def test_reboot(self) -> None:
        """
        After a reboot all mappings are gone; the address may be another one.
        """
        self.home(FULL_CONE)
        inbox, port = self.listen(self.one, 1)
        self.send(self.port, ("203.0.113.1", 1))
        self.nat.reboot("198.51.100.77")
        self.send(port, inbox.last, b"to the old one")
        self.assertEqual(self.inbox.received, [])
        self.send(self.port, ("203.0.113.1", 1))
        self.assertEqual(inbox.last, ("198.51.100.77", 5000))
        self.assertEqual(self.nat.address, "198.51.100.77")

    def test_unplugged(self) -> None:
        """
        An unplugged router lets nothing through; it keeps its mappings.
        """
        self.home(FULL_CONE)
        inbox, port = self.listen(self.one, 1)
        self.send(self.port, ("203.0.113.1", 1))
        self.nat.is_unplugged = True
        self.send(self.port, ("203.0.113.1", 1))
        self.send(port, inbox.last)
        self.assertEqual((len(inbox.received), self.inbox.received), (1, []))
        self.nat.is_unplugged = False
        self.send(port, inbox.last)
        self.assertEqual(len(self.inbox.received), 1)


class TopologyTests(NatCase):
    """
    Homes behind homes, and hosts behind one router.
    """

    def test_hairpin(self) -> None:
        """
        Two hosts behind one router reach each other by its outside address if it hairpins.
        """
        for behaviour, is_through in ((CGNAT, True), (PORT_RESTRICTED, False)):
            self.setUp()
            self.home(behaviour)
            bob = self.network.host("bob", "192.168.1.3", on=self.nat.lan)
            inbox, port = self.listen(bob, 6000)
            self.send(self.port, ("203.0.113.1", 1))
            self.send(port, ("203.0.113.1", 1))
            alices, bobs = (outside for _, outside in self.nat.mappings())
            self.send(self.port, bobs, b"first")
            self.send(port, alices, b"second")
            self.send(self.port, bobs, b"third")
            came = [data for data, _ in inbox.received]
            self.assertEqual(came, [b"third"] if is_through else [])

    def test_same_lan(self) -> None:
        """
        Hosts on one LAN reach each other without the router.
        """
        self.home(SYMMETRIC)
        bob = self.network.host("bob", "192.168.1.3", on=self.nat.lan)
        inbox, _ = self.listen(bob, 6000)
        self.send(self.port, ("192.168.1.3", 6000))
        self.assertEqual(inbox.last, ("192.168.1.2", 5000))

    def test_double(self) -> None:
        """
        A home behind a provider's NAT sees the outside, which sees the provider.
        """
        provider = self.network.nat("provider", "198.51.100.9", CGNAT, gateway="100.64.0.1")
        home = self.network.nat("home", "100.64.0.2", PORT_RESTRICTED, on=provider.lan)
        alice = self.network.host("alice", "192.168.1.2", on=home.lan)
        inbox, port = self.listen(alice, 5000)
        server, server_port = self.listen(self.one, 1)
        self.send(port, ("203.0.113.1", 1))
        self.assertEqual(server.last[0], "198.51.100.9")
        self.send(server_port, server.last, b"hi")
        self.assertEqual(inbox.received, [(b"hi", ("203.0.113.1", 1))])

    def test_moving(self) -> None:
        """
        A host that moves to another network goes on sending from there.
        """
        self.home(FULL_CONE)
        cafe = self.network.nat("cafe", "198.51.100.3", FULL_CONE)
        inbox, _ = self.listen(self.one, 1)
        self.send(self.port, ("203.0.113.1", 1))
        self.network.move(self.alice, "192.168.1.50", on=cafe.lan)
        self.send(self.port, ("203.0.113.1", 1))
        self.assertEqual(
            [host for _, (host, _) in inbox.received], ["198.51.100.1", "198.51.100.3"]
        )

    def test_firewall(self) -> None:
        """
        A router may let out only what its rule allows.
        """
        self.home(FULL_CONE)
        self.nat.lets_out = lambda packet: packet.destination[1] == 443
        inbox, _ = self.listen(self.one, 443)
        other, _ = self.listen(self.one, 444)
        self.send(self.port, ("203.0.113.1", 443))
        self.send(self.port, ("203.0.113.1", 444))
        self.assertEqual((len(inbox.received), len(other.received)), (1, 0))

    def test_tcp(self) -> None:
        """
        TCP goes out; after a reboot the connection is refused when it next speaks.
        """
        self.home(SYMMETRIC)
        accepted: list[Any] = []

        class Server(Protocol):
            @override
            def connectionMade(self) -> None:
                accepted.append(self)

        TCP4ServerEndpoint(self.one, 80).listen(Factory.forProtocol(Server))
        connecting = TCP4ClientEndpoint(self.alice, "203.0.113.1", 80).connect(
            Factory.forProtocol(Protocol)
        )
        self.network.advance(1)
        protocol: Any = self.successResultOf(connecting)
        self.assertEqual(accepted[0].transport.getPeer().host, "198.51.100.1")
        self.nat.reboot()
        protocol.transport.write(b"hello?")
        self.network.advance(5)
        self.assertEqual(protocol.connected, 1)
        self.assertFalse(protocol.transport.connected)

    def test_link(self) -> None:
        """
        A router's line can be changed like a host's.
        """
        self.home(FULL_CONE)
        inbox, _ = self.listen(self.one, 1)
        self.network.set_link(self.nat, latency=0.5)
        self.port.write(b"x", ("203.0.113.1", 1))
        took = self.network.run_until(lambda: inbox.received)
        self.assertEqual(round(took, 6), 0.5055)
