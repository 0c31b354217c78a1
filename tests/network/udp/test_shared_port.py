"""
Tests for L{atmosphere.network.udp.shared_port}: who gets what.
"""

from typing import Any, cast

from twisted.internet.address import IPv4Address
from twisted.internet.interfaces import IUDPTransport
from twisted.internet.protocol import DatagramProtocol
from twisted.trial.unittest import SynchronousTestCase
from typing_extensions import override
from zope.interface.verify import verifyObject

from atmosphere.network.udp.shared_port import Share, SharedPort

PEER = ("192.0.2.1", 4000)
STUN = b"\x00\x00\x21\x12\xa4\x42"
USERNAME = b"\x00\x06\x00\x03a:b\0"
MINE = b"A" * 12
CHECK = b"\x00\x01\x00\x08\x21\x12\xa4\x42" + MINE + USERNAME
CHECK_INDICATION = b"\x00\x11" + CHECK[2:]
REQUEST = b"\x00\x01" + STUN + MINE
INDICATION = b"\x00\x11" + STUN + MINE
SUCCESS = b"\x01\x01" + STUN + MINE
ERROR = b"\x01\x11" + STUN + MINE
FOREIGN_RESPONSE = b"\x01\x01" + STUN + b"B" * 12
INITIAL = b"\xc0" + bytes(1199)
SHORT = b"\x41" + bytes(30)


class Recorder(DatagramProtocol):
    """
    Notes what happens to it.
    """

    noisy = False

    def __init__(self) -> None:
        self.events: list[Any] = []

    @override
    def startProtocol(self) -> None:
        """
        Note the start.
        """
        self.events.append("started")

    @override
    def stopProtocol(self) -> None:
        """
        Note the stop.
        """
        self.events.append("stopped")

    @override
    def datagramReceived(self, datagram: bytes, addr: tuple[str, int]) -> None:
        """
        Note a datagram.
        """
        self.events.append((datagram, addr))


class Client(Recorder):
    """
    Waits for one response.
    """

    def owns(self, transaction_id: bytes) -> bool:
        """
        Say whether it is that response.
        """
        return transaction_id == MINE


class Grouping(Recorder):
    """
    Takes what came together.
    """

    def datagrams_received(self, datagrams: list[bytes], addr: tuple[str, int]) -> None:
        """
        Note datagrams.
        """
        self.events.append((datagrams, addr))


class Broken(Recorder):
    """
    Fails on every datagram.
    """

    @override
    def datagramReceived(self, datagram: bytes, addr: tuple[str, int]) -> None:
        """
        Fail.
        """
        raise ZeroDivisionError("a bug")


class Wire:
    """
    A port that notes what is written to it.
    """

    def __init__(self) -> None:
        self.sent: list[tuple[bytes, Any]] = []
        self.may_broadcast = False

    def write(self, packet: bytes, addr: Any = None) -> None:
        """
        Note a datagram.
        """
        self.sent.append((packet, addr))

    def getHost(self) -> IPv4Address:
        """
        Give an address.
        """
        return IPv4Address("UDP", "127.0.0.1", 7777)

    def setBroadcastAllowed(self, enabled: bool) -> None:  # noqa: N802
        """
        Note the permission.
        """
        self.may_broadcast = enabled

    def getBroadcastAllowed(self) -> bool:  # noqa: N802
        """
        Give the permission.
        """
        return self.may_broadcast


class SharedPortTests(SynchronousTestCase):
    """
    Who gets what.
    """

    @override
    def setUp(self) -> None:
        """
        Share a port among one protocol of each kind.
        """
        self.wire = Wire()
        self.shared = SharedPort()
        self.checks, self.binding, self.quic = Recorder(), Recorder(), Recorder()
        self.client = Client()
        self.all = {
            Share.CHECKS: self.checks,
            Share.CLIENT: self.client,
            Share.BINDING: self.binding,
            Share.QUIC: self.quic,
        }
        for share, protocol in self.all.items():
            self.shared.attach(share, protocol)

    def start(self) -> None:
        """
        Give the port a transport.
        """
        self.shared.makeConnection(cast(IUDPTransport, self.wire))

    def received(self, datagram: bytes) -> list[Share]:
        """
        Deliver a datagram.

        @return: who got it.
        """
        for protocol in self.all.values():
            protocol.events.clear()
        self.shared.datagramReceived(datagram, PEER)
        return [share for share, each in self.all.items() if each.events == [(datagram, PEER)]]

    def test_matching(self) -> None:
        """
        Checks, responses, Binding requests and QUIC go where they belong.
        """
        self.start()
        for datagram, share in (
            (CHECK, Share.CHECKS),
            (CHECK_INDICATION, Share.CHECKS),
            (SUCCESS, Share.CLIENT),
            (ERROR, Share.CLIENT),
            (FOREIGN_RESPONSE, Share.CHECKS),
            (REQUEST, Share.BINDING),
            (INDICATION, Share.BINDING),
            (INITIAL, Share.QUIC),
            (SHORT, Share.QUIC),
        ):
            self.assertEqual(self.received(datagram), [share], datagram[:4])
        self.assertEqual(
            self.shared.counters,
            {"checks": 3, "client": 2, "binding": 2, "QUIC": 2, "dropped": 0},
        )

    def test_dropped(self) -> None:
        """
        What belongs to nobody is counted and dropped.
        """
        self.start()
        for datagram in (b"", b"\x05", b"\x16" + bytes(30), b"\x80" * 40, b"\0\1", REQUEST + b"x"):
            self.assertEqual(self.received(datagram), [])
        self.assertEqual(self.shared.counters["dropped"], 6)

    def test_nobody_attached(self) -> None:
        """
        With nobody attached everything is dropped.
        """
        shared = SharedPort()
        shared.makeConnection(cast(IUDPTransport, self.wire))
        for datagram in (CHECK, SUCCESS, REQUEST, INITIAL):
            shared.datagramReceived(datagram, PEER)
        self.assertEqual(shared.counters["dropped"], 4)
        self.assertEqual(self.wire.sent, [])

    def test_life(self) -> None:
        """
        Attached protocols start and stop with the port, and again.
        """
        self.assertEqual(self.checks.events, [])
        self.start()
        self.shared.doStop()
        self.start()
        for protocol in self.all.values():
            self.assertEqual(protocol.events, ["started", "stopped", "started"])
        self.shared.doStop()
        self.assertIsNone(self.checks.transport)
        self.shared.write(b"lost", PEER)
        self.assertRaises(RuntimeError, self.shared.getHost)

    def test_attached_later(self) -> None:
        """
        A protocol that is attached while the port listens starts at once.
        """
        self.start()
        late = Client()
        self.shared.attach(Share.CLIENT, late)
        self.assertEqual(late.events, ["started"])

    def test_given_once(self) -> None:
        """
        Each part goes to one protocol, and clients must say what they own.
        """
        self.assertRaises(ValueError, self.shared.attach, Share.QUIC, Recorder())
        self.assertRaises(ValueError, self.shared.attach, Share.CLIENT, Recorder())

    def test_several_clients(self) -> None:
        """
        A response goes to the client that waits for it, whoever was attached first.
        """

        class Other(Recorder):
            """
            Waits for another response.
            """

            def owns(self, transaction_id: bytes) -> bool:
                """
                Say whether it is that response.
                """
                return transaction_id == b"B" * 12

        other = Other()
        self.shared.attach(Share.CLIENT, other)
        self.start()
        self.shared.datagramReceived(FOREIGN_RESPONSE, PEER)
        self.assertEqual(other.events, ["started", (FOREIGN_RESPONSE, PEER)])

    def test_transport(self) -> None:
        """
        An attached protocol writes, asks where it is, and stops listening alone.
        """
        self.start()
        transport = self.quic.transport
        assert transport is not None
        self.assertTrue(verifyObject(IUDPTransport, transport))
        transport.write(b"x", PEER)
        self.assertEqual(self.wire.sent, [(b"x", PEER)])
        self.assertEqual(cast(IPv4Address, transport.getHost()).port, 7777)
        transport.setBroadcastAllowed(True)
        self.assertTrue(transport.getBroadcastAllowed())
        self.assertRaises(RuntimeError, transport.connect, *PEER)
        transport.stopListening()
        transport.stopListening()
        self.assertEqual(self.quic.events, ["started", "stopped"])
        self.assertIsNone(self.quic.transport)
        self.assertEqual(self.received(INITIAL), [])
        self.assertEqual(self.received(REQUEST), [Share.BINDING])
        self.shared.attach(Share.QUIC, self.quic)
        self.assertEqual(self.received(INITIAL), [Share.QUIC])

    def test_detached_before_start(self) -> None:
        """
        A protocol that was detached before the port listens is never started.
        """
        self.shared.detach(self.client)
        self.start()
        self.assertEqual(self.client.events, [])

    def test_together(self) -> None:
        """
        What came together stays so for a receiver that can take it, if all of
        it is QUIC's; whatever fails, it is logged once.
        """
        shared, quic, checks = SharedPort(), Grouping(), Recorder()
        shared.attach(Share.QUIC, quic)
        shared.attach(Share.CHECKS, checks)
        shared.datagrams_received([SHORT, INITIAL], PEER)
        self.assertEqual(quic.events, [([SHORT, INITIAL], PEER)])
        shared.datagrams_received([SHORT, CHECK], PEER)
        self.assertEqual(quic.events[1:], [(SHORT, PEER)])
        self.assertEqual(checks.events, [(CHECK, PEER)])
        self.assertEqual(shared.counters["QUIC"], 3)
        quic.events = cast(Any, None)
        shared.datagrams_received([SHORT, SHORT], PEER)
        self.assertEqual(len(self.flushLoggedErrors(AttributeError)), 1)

    def test_broken_protocol(self) -> None:
        """
        A protocol that fails on a datagram is logged, and the port goes on; a flood
        of such datagrams does not fill the log.
        """
        shared = SharedPort()
        shared.attach(Share.QUIC, Broken())
        shared.attach(Share.BINDING, self.all[Share.BINDING])
        shared.makeConnection(cast(IUDPTransport, self.wire))
        for _ in range(100):
            shared.datagramReceived(INITIAL, PEER)
        shared.datagramReceived(REQUEST, PEER)
        self.assertEqual(self.binding.events[-1], (REQUEST, PEER))
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 7)
