"""
What lies between simulated hosts: lines, cuts, crashes, and the clock.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionLost, TimeoutError as ConnectTimeoutError
from twisted.internet.protocol import ClientFactory, DatagramProtocol, Factory, Protocol
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from typing_extensions import override

from atmosphere.testing import Host, SimulatedNetwork, TraceRecord

ADDRESS = {"alice": "192.0.2.1", "bob": "192.0.2.2"}


class Inbox(DatagramProtocol):
    """
    Keeps the datagrams that came, and when.
    """

    def __init__(self, seconds: Callable[[], float]) -> None:
        self.seconds = seconds
        self.received: list[tuple[float, bytes]] = []

    @override
    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        """
        Keep a datagram.
        """
        self.received.append((round(self.seconds(), 6), datagram))


class Ends(Protocol):
    """
    Keeps what came over a connection, when, and how it ended.
    """

    def __init__(self, seconds: Callable[[], float]) -> None:
        self.seconds = seconds
        self.data = b""
        self.times: list[float] = []
        self.lost: tuple[float, type[Any]] | None = None

    @override
    def dataReceived(self, data: bytes) -> None:
        """
        Keep bytes.
        """
        self.data += data
        self.times.append(round(self.seconds(), 6))

    @override
    def connectionLost(self, reason: Failure = Failure(ConnectionLost())) -> None:  # noqa: B008
        """
        Keep the end.
        """
        self.lost = (round(self.seconds(), 6), type(reason.value))


class Dialling(ClientFactory):
    """
    Connects once.
    """

    def __init__(self, made: Ends) -> None:
        self.made = made
        self.failed: tuple[float, type[Any]] | None = None

    @override
    def buildProtocol(self, addr: Any) -> Protocol:
        """
        Hand out the one protocol.
        """
        return self.made

    @override
    def clientConnectionFailed(self, connector: Any, reason: Failure) -> None:
        """
        Keep why there is no connection.
        """
        self.failed = (self.made.seconds(), type(reason.value))


class NetworkCase(SynchronousTestCase):
    """
    Two hosts, 10 ms from each other.
    """

    @override
    def setUp(self) -> None:
        """
        Make the hosts.
        """
        self.build(1)

    def build(self, seed: int) -> None:
        """
        Make the hosts from a seed.
        """
        self.clock = Clock()
        self.network = SimulatedNetwork(self.clock, seed)
        self.alice = self.network.host("alice", ADDRESS["alice"])
        self.bob = self.network.host("bob", ADDRESS["bob"])
        self.inbox = Inbox(self.clock.seconds)
        self.bob.listenUDP(7777, self.inbox)
        self.port: Any = self.alice.listenUDP(5000, DatagramProtocol())

    def send(self, data: bytes = b"x") -> None:
        """
        Send a datagram from Alice to Bob.
        """
        self.port.write(data, (ADDRESS["bob"], 7777))

    def connect(self, port: int = 80) -> tuple[Any, Any]:
        """
        Connect Alice to Bob, and let a second pass.
        """
        accepted: list[Ends] = []

        class Server(Factory):
            @override
            def buildProtocol(self, addr: Any) -> Protocol:
                accepted.append(Ends(dialling.made.seconds))
                return accepted[-1]

        dialling = Dialling(Ends(self.clock.seconds))
        self.bob.listenTCP(port, Server())
        self.alice.connectTCP(ADDRESS["bob"], port, dialling)
        self.network.advance(1)
        return dialling.made, accepted[0]


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


class CutTests(NetworkCase):
    """
    Cutting and healing.
    """

    def test_udp(self) -> None:
        """
        While the hosts are cut off from each other datagrams are lost, those on their way too.
        """
        self.send(b"on its way")
        self.network.advance(0.005)
        self.network.cut(self.alice, self.bob)
        self.send(b"cut")
        self.network.advance(1)
        self.network.heal(self.alice, self.bob)
        self.send(b"healed")
        self.network.advance(1)
        self.assertEqual([data for _, data in self.inbox.received], [b"healed"])

    def test_one_protocol(self) -> None:
        """
        UDP may be blocked while TCP goes on, and the other way round.
        """
        one, two = self.connect()
        self.network.cut(self.bob, tcp=False)
        self.send()
        one.transport.write(b"through")
        self.network.advance(1)
        self.assertEqual((self.inbox.received, two.data), ([], b"through"))
        self.network.heal(self.bob)
        self.network.cut(self.alice, self.bob, udp=False)
        self.send()
        one.transport.write(b" more")
        self.network.advance(1)
        self.assertEqual((len(self.inbox.received), two.data), (1, b"through"))

    def test_one_way(self) -> None:
        """
        A cut may be in one direction only.
        """
        self.network.cut(self.bob, self.alice, is_one_way=True)
        self.send()
        self.network.advance(1)
        self.assertEqual(len(self.inbox.received), 1)
        self.network.cut(self.alice, self.bob, is_one_way=True)
        self.send()
        self.network.advance(1)
        self.assertEqual(len(self.inbox.received), 1)

    def test_tcp_repeats(self) -> None:
        """
        A connection survives a short cut, and goes on when it next repeats itself.
        """
        one, two = self.connect()
        self.network.cut(self.alice, self.bob)
        one.transport.write(b"patient")
        self.network.advance(10)
        self.network.heal()
        self.network.advance(20)
        self.assertEqual((two.data, two.times), (b"patient", [13.61]))
        one.transport.write(b" and well")
        self.network.advance(0.01)
        self.assertEqual(two.data, b"patient and well")

    def test_tcp_gives_up(self) -> None:
        """
        A connection that hears nothing for a quarter of an hour is lost.
        """
        one, two = self.connect()
        self.network.cut(self.alice, self.bob)
        one.transport.write(b"anyone?")
        self.network.advance(900)
        self.assertIs(one.lost, None)
        self.network.advance(200)
        self.assertIs(one.lost[1], ConnectionLost)
        self.assertIs(two.lost, None)

    def test_connect_times_out(self) -> None:
        """
        Connecting to a host that is not there fails after the time that was given.
        """
        self.network.cut(self.bob)
        for host in (ADDRESS["bob"], "192.0.2.99"):
            start = self.clock.seconds()
            dialling = Dialling(Ends(self.clock.seconds))
            self.alice.connectTCP(host, 80, dialling, timeout=7)
            self.network.advance(60)
            self.assertEqual(dialling.failed, (start + 7, ConnectTimeoutError))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_connect_while_cut(self) -> None:
        """
        A connection attempt repeats itself until the cut is healed.
        """
        self.network.cut(self.bob)
        dialling = Dialling(Ends(self.clock.seconds))
        self.bob.listenTCP(80, Factory.forProtocol(Protocol))
        self.alice.connectTCP(ADDRESS["bob"], 80, dialling)
        self.network.advance(2)
        self.network.heal()
        self.network.advance(5)
        self.assertIs(dialling.failed, None)
        self.assertTrue(dialling.made.connected)


class LifetimeTests(NetworkCase):
    """
    Killing, restarting, sleeping.
    """

    def test_kill(self) -> None:
        """
        A killed process does nothing more; its kernel closes its connections.
        """
        one, two = self.connect()
        called: list[str] = []
        self.bob.callLater(1, called.append, "never")
        self.bob.kill()
        self.send()
        self.network.advance(5)
        self.assertEqual((called, self.inbox.received, two.lost), ([], [], None))
        self.assertEqual(one.lost[0], 1.01)
        self.assertEqual(self.bob.getDelayedCalls(), [])

    def test_power_cut(self) -> None:
        """
        When the power goes the others hear nothing, until they ask after the restart.
        """
        one, _ = self.connect()
        self.bob.kill(is_silent=True)
        self.network.advance(5)
        self.assertIs(one.lost, None)
        self.bob.restart()
        self.network.advance(5)
        self.assertIs(one.lost, None)
        one.transport.write(b"still there?")
        self.network.advance(1)
        self.assertEqual(one.lost, (11.02, ConnectionLost))

    def test_restart(self) -> None:
        """
        A restarted host has its addresses, and its ports to give away again.
        """
        self.bob.kill(is_silent=True)
        self.bob.callLater(0, self.fail, "the dead process called")
        self.network.advance(1)
        self.bob.restart()
        again = Inbox(self.clock.seconds)
        self.bob.listenUDP(7777, again)
        self.send()
        self.network.advance(1)
        self.assertEqual(len(again.received), 1)
        called: list[str] = []
        self.bob.callLater(1, called.append, "new")
        self.network.advance(1)
        self.assertEqual(called, ["new"])

    def test_sleep(self) -> None:
        """
        A sleeping process does nothing; when it wakes it does what was due, at once.
        """
        one, two = self.connect()
        called: list[float] = []
        self.bob.callLater(1, lambda: called.append(self.clock.seconds()))
        self.bob.sleep()
        self.send(b"for later")
        one.transport.write(b"later too")
        self.network.advance(100)
        self.assertEqual((called, self.inbox.received, two.data), ([], [], b""))
        self.bob.wake()
        self.network.advance(0)
        self.assertEqual(called, [101])
        self.assertEqual(self.inbox.received, [(101, b"for later")])
        self.assertEqual(two.data, b"later too")


class ClockTests(NetworkCase):
    """
    Letting time pass.
    """

    def test_run_until(self) -> None:
        """
        It stops at the very event, and says how long that took.
        """
        self.send()
        took = self.network.run_until(lambda: self.inbox.received)
        self.assertEqual((took, self.clock.seconds()), (0.01, 0.01))

    def test_run_until_deferred(self) -> None:
        """
        A Deferred that waits for another one has not fired yet.
        """
        outer: Deferred[None] = Deferred()
        inner: Deferred[None] = Deferred()
        outer.addCallback(lambda _: inner)
        outer.callback(None)
        self.alice.callLater(3, inner.callback, None)
        self.assertEqual(self.network.run_until(outer), 3)

    def test_run_until_limit(self) -> None:
        """
        What does not happen in time is an error, at the time of the limit.
        """
        with self.assertRaises(TimeoutError):
            self.network.run_until(lambda: False, 5)
        self.assertEqual(self.clock.seconds(), 5)

    def test_nothing_left(self) -> None:
        """
        When all is done nothing is left on the clock.
        """
        one, two = self.connect()
        one.transport.write(b"x" * 100_000)
        self.send()
        self.network.advance(1)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        one.transport.loseConnection()
        self.network.advance(0.1)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertIsNot(two.lost, None)

    def test_coarse_clock(self) -> None:
        """
        The clock's own advance works as well, in larger steps.
        """
        self.send()
        self.clock.advance(1)
        self.assertEqual(len(self.inbox.received), 1)


class BuildingTests(NetworkCase):
    """
    Hosts and their addresses.
    """

    def test_taken(self) -> None:
        """
        Names and addresses can be given once; a host needs an address.
        """
        for name, addresses in (
            ("alice", ["192.0.2.9"]),
            ("carol", [ADDRESS["bob"]]),
            ("dave", []),
        ):
            self.assertRaises(ValueError, self.network.host, name, *addresses)

    def test_subnets(self) -> None:
        """
        Hosts on different networks do not reach each other without a router.
        """
        lan = self.network.subnet("lan")
        trace = self.network.record()
        carol = self.network.host("carol", "10.0.0.2", on=lan)
        dave = self.network.host("dave", "10.0.0.3", on=lan)
        port: Any = carol.listenUDP(1, DatagramProtocol())
        inbox = Inbox(self.clock.seconds)
        dave.listenUDP(7777, inbox)
        port.write(b"near", ("10.0.0.3", 7777))
        port.write(b"far", (ADDRESS["bob"], 7777))
        self.network.advance(1)
        self.assertEqual((len(inbox.received), self.inbox.received), (1, []))
        self.assertEqual([each.kind for each in trace], ["udp", "udp", "udp no route"])

    def test_repr(self) -> None:
        """
        A host says who it is.
        """
        self.assertEqual(repr(self.alice), "<Host alice 192.0.2.1>")
        self.assertIsInstance(self.alice, Host)
