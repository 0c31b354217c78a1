"""
Tests for sockets that punch holes: hosts behind simulated NATs.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import CancelledError
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from typing_extensions import override

from atmosphere.addresses import TransportAddress
from atmosphere.errors import NoPathError
from atmosphere.network.nat.hole_punch import HolePunch
from atmosphere.network.nat.punching import PunchLimits
from atmosphere.network.stun.server import BindingServer
from atmosphere.testing import (
    ADDRESS_RESTRICTED,
    FULL_CONE,
    PORT_RESTRICTED,
    SYMMETRIC,
    Host,
    NatBehaviour,
    SimulatedNetwork,
    seeded_entropy,
)


class Side:
    """
    A host behind a NAT, with a socket that punches.

    @ivar got: the datagrams that came; C{None} for the end.
    """

    def __init__(self, host: Host, name: str, port: int) -> None:
        self.host = host
        self.got: list[bytes | None] = []
        self.protocol = HolePunch(host, seeded_entropy(name))
        self.port: Any = host.listenUDP(port, self.protocol, "", 65536)

    def punch(self, remote: TransportAddress, timeout: float = 10.0) -> Any:
        """
        Punch towards the other side.
        """
        return self.protocol.punch(remote, self.got.append, timeout)


class HolePunchCase(SynchronousTestCase):
    """
    Two sides, and a STUN server between them.
    """

    @override
    def setUp(self) -> None:
        self.clock = Clock()
        self.network = SimulatedNetwork(self.clock, seed=5)
        self.server = self.network.host("stun", "203.0.113.99")
        self.server.listenUDP(3478, BindingServer(self.server))
        self.hosts: list[Host] = [self.server]

    def side(self, name: str, behaviour: NatBehaviour, number: int) -> Side:
        """
        Make a side behind a NAT of its own.
        """
        nat = self.network.nat(f"{name} nat", f"203.0.113.{number}", behaviour)
        host = self.network.host(name, f"192.168.1.{number + 1}", on=nat.lan)
        self.hosts.append(host)
        return Side(host, name, 7000 + number)

    def public(self, side: Side) -> TransportAddress:
        """
        Ask how a side is seen, from its own socket.
        """
        asking = side.protocol.stun.request(TransportAddress("203.0.113.99", 3478))
        self.network.run_until(asking)
        mapped = self.successResultOf(asking).mapped
        assert mapped is not None
        return mapped

    def stop(self, *sides: Side) -> None:
        """
        Close the sockets; nothing is left then.
        """
        for side in sides:
            side.port.stopListening()
        self.network.advance(0.1)
        for side in sides:
            self.assertEqual(side.host.getDelayedCalls(), [])


class NatTests(HolePunchCase):
    """
    Which NATs can be punched.
    """

    def try_pair(self, first: NatBehaviour, second: NatBehaviour) -> bool:
        """
        Punch from two sides, send both ways, and say whether it went.
        """
        self.setUp()
        a, b = self.side("a", first, 1), self.side("b", second, 2)
        to_b, to_a = self.public(b), self.public(a)
        trying = [a.punch(to_b, 5), b.punch(to_a, 5)]
        for each in trying:
            self.network.run_until(each)
        is_good = a.protocol.is_established(to_b) and b.protocol.is_established(to_a)
        if is_good:
            a.protocol.send(to_b, b"from a")
            b.protocol.send(to_a, b"from b")
            self.network.advance(1)
            self.assertEqual((a.got, b.got), ([b"from b"], [b"from a"]))
        else:
            for each in trying:
                self.failureResultOf(each, NoPathError)
        self.stop(a, b)
        return is_good

    def test_pairs(self) -> None:
        """
        Any two NATs with endpoint-independent mapping are punched. One whose mapping
        depends on the destination is not: its port towards the peer is another one
        than the peer was told.
        """
        easy = (FULL_CONE, ADDRESS_RESTRICTED, PORT_RESTRICTED)
        for first in easy:
            for second in easy:
                self.assertTrue(self.try_pair(first, second), (first, second))
        self.assertFalse(self.try_pair(SYMMETRIC, PORT_RESTRICTED))
        self.assertFalse(self.try_pair(SYMMETRIC, SYMMETRIC))

    def test_one_begins_late(self) -> None:
        """
        The sides need not begin together.
        """
        a, b = self.side("a", PORT_RESTRICTED, 1), self.side("b", PORT_RESTRICTED, 2)
        to_b, to_a = self.public(b), self.public(a)
        first = a.punch(to_b)
        self.network.advance(8)
        self.assertNoResult(first)
        second = b.punch(to_a)
        took = self.network.run_until(second)
        self.network.run_until(first)
        self.assertLess(took, 1)
        self.assertEqual(self.successResultOf(second).mapped, to_b)
        self.assertEqual(self.successResultOf(first).mapped, to_a)
        self.stop(a, b)

    def test_mapping_is_kept(self) -> None:
        """
        A hole through NATs that forget after 30 s is still there after ten idle minutes.
        """
        forgetful = NatBehaviour(PORT_RESTRICTED.mapping, PORT_RESTRICTED.filtering, lifetime=30.0)
        a, b = self.side("a", forgetful, 1), self.side("b", forgetful, 2)
        to_b, to_a = self.public(b), self.public(a)
        a.punch(to_b)
        self.network.run_until(b.punch(to_a))
        self.network.advance(600)
        a.protocol.send(to_b, b"still here")
        self.network.advance(1)
        self.assertEqual(b.got, [b"still here"])
        self.stop(a, b)


class LifeTests(HolePunchCase):
    """
    How tries and holes end.
    """

    def test_nobody(self) -> None:
        """
        Where nobody answers, it fails in time and says what was done.
        """
        a = self.side("a", PORT_RESTRICTED, 1)
        trying = a.punch(TransportAddress("203.0.113.77", 9), 3)
        self.assertAlmostEqual(self.network.run_until(trying), 3, 2)
        self.assertIn("checks were sent", str(self.failureResultOf(trying, NoPathError).value))
        self.stop(a)

    def test_no_host(self) -> None:
        """
        An address that names no host is not sent to, nor is one beyond the limit of peers.
        """
        a = self.side("a", PORT_RESTRICTED, 1)
        few = HolePunch(a.host, seeded_entropy("few"), PunchLimits(peers=0))
        port: Any = a.host.listenUDP(0, few)
        for host, number in (("224.0.0.1", 5000), ("203.0.113.77", 0), ("0.0.0.0", 1)):
            self.failureResultOf(a.punch(TransportAddress(host, number)), NoPathError)
        full = few.punch(TransportAddress("203.0.113.77", 9), a.got.append)
        self.failureResultOf(full, NoPathError)
        port.stopListening()
        self.stop(a)

    def test_other_family(self) -> None:
        """
        An address of another family than the socket's is refused at once, either way.
        """
        a = self.side("a", PORT_RESTRICTED, 1)
        six = HolePunch(a.host, seeded_entropy("six"))
        port: Any = a.host.listenUDP(7002, six, "::")
        trying = a.punch(TransportAddress("2a10::7", 7777))
        self.assertIn("family", str(self.failureResultOf(trying, NoPathError).value))
        trying = six.punch(TransportAddress("203.0.113.77", 9), a.got.append)
        self.assertIn("family", str(self.failureResultOf(trying, NoPathError).value))
        port.stopListening()
        self.stop(a)

    def test_cancelled(self) -> None:
        """
        Cancelling ends the try, unless somebody else waits for the same hole.
        """
        a = self.side("a", PORT_RESTRICTED, 1)
        remote = TransportAddress("203.0.113.77", 9)
        first, second = a.punch(remote), a.punch(remote)
        first.cancel()
        self.failureResultOf(first, CancelledError)
        self.assertNoResult(second)
        second.cancel()
        self.failureResultOf(second, CancelledError)
        self.assertEqual(a.host.getDelayedCalls(), [])
        self.stop(a)

    def test_closed(self) -> None:
        """
        When the socket is closed, tries fail and the takers of datagrams hear of the end.
        """
        a = self.side("a", PORT_RESTRICTED, 1)
        trying = a.punch(TransportAddress("203.0.113.77", 9))
        held = TransportAddress("203.0.113.78", 9)
        done = a.punch(held)
        a.protocol.establish(held)
        self.successResultOf(done)
        self.stop(a)
        self.failureResultOf(trying, NoPathError)
        self.assertEqual(a.got, [None, None])
        self.assertFalse(a.protocol.send(held, b"hello"))
        self.failureResultOf(a.punch(held), NoPathError)

    def test_forgotten(self) -> None:
        """
        When a hole is given up, whoever takes its datagrams hears of the end.
        """
        a = self.side("a", PORT_RESTRICTED, 1)
        held = TransportAddress("203.0.113.78", 9)
        done = a.punch(held)
        a.protocol.establish(held)
        self.successResultOf(done)
        a.protocol.forget(held)
        self.assertEqual(a.got, [None])
        self.stop(a)
        self.assertEqual(a.got, [None])

    def test_lost(self) -> None:
        """
        Whoever takes the datagrams hears when the peer has gone.
        """
        a, b = self.side("a", FULL_CONE, 1), self.side("b", FULL_CONE, 2)
        to_b, to_a = self.public(b), self.public(a)
        a.punch(to_b)
        self.network.run_until(b.punch(to_a))
        b.host.kill(is_silent=True)
        self.network.advance(70)
        self.assertEqual(a.got, [None])
        self.assertFalse(a.protocol.is_established(to_b))
        self.stop(a)

    def test_dropped(self) -> None:
        """
        What strangers send is counted and dropped, and so is what cannot be sent.
        """
        a = self.side("a", FULL_CONE, 1)
        a.protocol.datagramReceived(b"hello", ("203.0.113.5", 5))
        a.protocol.datagramReceived(b"hello", ("no address", 5))
        self.assertEqual((a.protocol.dropped, a.protocol.unsent), (1, 0))

        class Broken:
            def write(self, data: bytes, addr: object) -> None:
                raise OSError("no way out")

        a.protocol.transport, real = Broken(), a.protocol.transport  # type: ignore[assignment]
        trying = a.punch(TransportAddress("203.0.113.77", 9), 1)
        self.network.run_until(trying)
        self.failureResultOf(trying, NoPathError)
        self.assertGreater(a.protocol.unsent, 3)
        a.protocol.transport = real
        self.stop(a)
        a.protocol.datagramReceived(b"hello", ("203.0.113.5", 5))
        a.protocol.establish(TransportAddress("203.0.113.77", 9))
        self.assertEqual(a.protocol.dropped, 1)

    def test_lossy(self) -> None:
        """
        On lines that lose a third of all datagrams both sides still agree.
        """
        a, b = self.side("a", PORT_RESTRICTED, 1), self.side("b", PORT_RESTRICTED, 2)
        to_b, to_a = self.public(b), self.public(a)
        for side in (a, b):
            self.network.set_link(side.host, loss=0.33)
        first, second = a.punch(to_b), b.punch(to_a)
        for each in (first, second):
            self.network.run_until(each)
            self.successResultOf(each)
        self.stop(a, b)

    def test_taker_fails(self) -> None:
        """
        A taker that fails is logged, and the socket goes on.
        """
        a, b = self.side("a", FULL_CONE, 1), self.side("b", FULL_CONE, 2)
        to_b, to_a = self.public(b), self.public(a)

        def fail(data: bytes | None) -> None:
            if data is not None:
                raise RuntimeError("not today")

        a.protocol.punch(to_b, fail)
        self.network.run_until(b.punch(to_a))
        b.protocol.send(to_a, b"hello")
        self.network.advance(1)
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)
        self.assertTrue(a.protocol.is_established(to_b))
        self.stop(a, b)
