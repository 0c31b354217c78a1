"""
What lies between simulated hosts: cuts, crashes, and the clock.
"""

from __future__ import annotations

from random import Random
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionLost, TimeoutError as ConnectTimeoutError
from twisted.internet.protocol import DatagramProtocol, Factory, Protocol

from atmosphere.testing import FULL_CONE, Host

from .network_case import ADDRESS, Dialling, Ends, Inbox, NetworkCase


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
        self.assertEqual((two.data, two.times), (b"patient", [14.87]))
        one.transport.write(b" and well")
        self.network.advance(0.01)
        self.assertEqual(two.data, b"patient and well")

    def test_tcp_survives(self) -> None:
        """
        Whatever is cut and healed, bytes arrive whole, in order, and to the end.
        """
        for seed in range(20):
            self.build(seed)
            random = Random(seed)
            one, two = self.connect()
            data = [random.randbytes(600_000) for _ in range(2)]
            one.transport.write(data[0])
            two.transport.write(data[1])
            for _ in range(10):
                self.network.cut(self.alice, self.bob, is_one_way=random.random() < 0.5)
                self.network.advance(random.random())
                self.network.heal()
                self.network.advance(random.random() / 50)
            one.transport.loseWriteConnection()
            self.network.advance(300)
            self.assertEqual((two.data == data[0], one.data == data[1]), (True, True))
            self.assertEqual(self.clock.getDelayedCalls(), [])

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


class InterfaceTests(NetworkCase):
    """
    Hosts on several networks.
    """

    def seen(self) -> list[str]:
        """
        Send to a server from a port that is bound to no address; say who the server sees.
        """
        self.inbox.received.clear()
        self.send()
        trace = self.network.record()
        self.send()
        self.network.advance(1)
        return [each.source[0] for each in trace if each.kind == "udp"] * len(self.inbox.received)

    def test_up_and_down(self) -> None:
        """
        A second interface serves as well; when the first goes down, what is bound to no
        address goes on by the other.
        """
        lan = self.network.nat("home", "198.51.100.1", FULL_CONE).lan
        self.network.plug(self.alice, "192.168.1.2", on=lan)
        self.assertEqual(self.network.names.addresses("alice"), ["192.0.2.1", "192.168.1.2"])
        self.assertEqual(self.seen(), ["192.0.2.1"] * 2)
        self.network.unplug(self.alice, "192.0.2.1")
        self.assertEqual(self.seen(), ["192.168.1.2"] * 2)
        self.network.plug(self.alice, "192.0.2.1")
        self.assertEqual(self.seen(), ["192.0.2.1"] * 2)
        self.assertRaises(ValueError, self.network.unplug, self.alice, "192.0.2.99")

    def test_bound(self) -> None:
        """
        What is bound to an address that has gone is stuck, and a connection with it.
        """
        self.network.plug(self.alice, "192.0.2.3")
        bound: Any = self.alice.listenUDP(0, DatagramProtocol(), interface="192.0.2.1")
        one, two = self.connect()
        self.network.unplug(self.alice, "192.0.2.1")
        bound.write(b"x", (ADDRESS["bob"], 7777))
        one.transport.write(b"x")
        self.network.advance(5)
        self.assertEqual((self.inbox.received, two.data), ([], b""))


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

    def test_closed_lid(self) -> None:
        """
        What comes to a machine that is switched off for a while is lost; a connection
        goes on after it.
        """
        one, two = self.connect()
        self.bob.sleep(is_offline=True)
        self.send(b"lost")
        one.transport.write(b"repeated")
        self.network.advance(100)
        self.bob.wake()
        self.network.advance(0.1)
        self.assertEqual((self.inbox.received, two.data), ([], b""))
        self.send(b"taken")
        self.network.advance(120)
        self.assertEqual([data for _, data in self.inbox.received], [b"taken"])
        self.assertEqual(two.data, b"repeated")

    def test_watch(self) -> None:
        """
        What reaches a host is counted, whether anybody listens there or not.
        """
        seen = self.bob.watch()
        for port in (7777, 7778):
            self.port.write(b"xy", (ADDRESS["bob"], port))
        self.network.advance(0.1)
        self.network.cut(self.bob)
        self.send()
        self.network.advance(0.1)
        self.assertEqual(
            [(each.kind, each.destination[1]) for each in seen], [("udp", 7777), ("udp", 7778)]
        )
        self.assertEqual((seen[0].source, seen[0].size), ((ADDRESS["alice"], 5000), 2))


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
        for host in (self.alice, self.bob):
            self.assertEqual((host.kernel._streams, host.kernel._holders), ({}, {}))

    def test_nothing_left_after_reset(self) -> None:
        """
        A connection that was reset leaves nothing behind either.
        """
        one, two = self.connect()
        one.transport.abortConnection()
        self.network.advance(1)
        self.assertIsNot(two.lost, None)
        for host in (self.alice, self.bob):
            self.assertEqual((host.kernel._streams, host.kernel._holders), ({}, {}))

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
