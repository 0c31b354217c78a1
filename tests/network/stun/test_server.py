"""
Tests for L{atmosphere.network.stun.server}.
"""

import random
from typing import cast

from twisted.internet import reactor as global_reactor  # noqa: TID251, real sockets
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.interfaces import IReactorTime, IReactorUDP
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase, TestCase
from typing_extensions import override

from atmosphere.addresses import TransportAddress
from atmosphere.network.stun.attributes import (
    CHANGE_REQUEST,
    OTHER_ADDRESS,
    PADDING,
    XOR_MAPPED_ADDRESS,
)
from atmosphere.network.stun.binding import PRIMARY, SECOND_PORT, BindingLimits
from atmosphere.network.stun.client import StunClient
from atmosphere.network.stun.message import Class, Message, decode_message, encode_message
from atmosphere.network.stun.server import BindingServer, BindingSockets
from atmosphere.network.stun.values import ChangeRequest

from .wire import Wire

REQUEST = encode_message(Message(Class.REQUEST, bytes(12)))


class BindingServerTests(SynchronousTestCase):
    """
    The server on a port without a network.
    """

    @override
    def setUp(self) -> None:
        """
        Give a server a port.
        """
        self.clock = Clock()
        self.wire = Wire()
        self.server = BindingServer(self.clock, BindingLimits(rate=1, burst=2))
        self.server.makeConnection(self.wire)

    def test_answer(self) -> None:
        """
        The answer goes back to the source and names it.
        """
        self.server.datagramReceived(REQUEST, ("192.0.2.7", 40000))
        ((answer, address),) = self.wire.sent
        self.assertEqual(address, ("192.0.2.7", 40000))
        source = TransportAddress("192.0.2.7", 40000)
        self.assertEqual(decode_message(answer).get(XOR_MAPPED_ADDRESS), source)

    def test_link_local(self) -> None:
        """
        A source with a zone is answered there, and named without the zone.
        """
        self.server.datagramReceived(REQUEST, ("fe80::1%eth0", 40000))
        ((answer, address),) = self.wire.sent
        self.assertEqual(address, ("fe80::1%eth0", 40000))
        source = TransportAddress("fe80::1", 40000)
        self.assertEqual(decode_message(answer).get(XOR_MAPPED_ADDRESS), source)

    def test_silence(self) -> None:
        """
        Rubbish and odd sources get nothing, and nothing is raised or scheduled.
        """
        for data in (b"", b"\xff" * 100, REQUEST[:-1]):
            self.server.datagramReceived(data, ("192.0.2.7", 40000))
        self.server.datagramReceived(REQUEST, ("<broadcast>", 40000))
        self.assertEqual(self.wire.sent, [])
        self.assertEqual(self.server.counters["ignored"], 3)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_limits(self) -> None:
        """
        The limits run on the clock.
        """
        for _ in range(5):
            self.server.datagramReceived(REQUEST, ("192.0.2.7", 40000))
        self.assertEqual(len(self.wire.sent), 2)
        self.clock.advance(1)
        self.server.datagramReceived(REQUEST, ("192.0.2.7", 40000))
        self.assertEqual(len(self.wire.sent), 3)
        self.assertEqual(self.server.counters["limited"], 3)

    def test_unsent(self) -> None:
        """
        An answer that the system will not send is counted.
        """
        self.wire.error = OSError(1, "Operation not permitted")
        self.server.datagramReceived(REQUEST, ("192.0.2.7", 40000))
        self.assertEqual(self.server.counters["unsent"], 1)
        self.server.doStop()
        self.server.datagramReceived(REQUEST, ("192.0.2.8", 40000))


class BindingSocketsTests(SynchronousTestCase):
    """
    Sockets that answer for each other.
    """

    def request(self) -> bytes:
        """
        Make a request to be answered from the other port.
        """
        attributes = ((CHANGE_REQUEST, ChangeRequest(False, True)), (PADDING, bytes(96)))
        return encode_message(Message(Class.REQUEST, bytes(12), attributes))

    def test_other_socket(self) -> None:
        """
        The answer leaves by the other socket, until that is closed.
        """
        clock = Clock()
        sockets = BindingSockets(clock)
        first, second = sockets.protocol(PRIMARY), sockets.protocol(SECOND_PORT)
        wires = Wire(), Wire()
        peer = ("192.0.2.7", 40000)
        first.makeConnection(wires[0])
        first.datagramReceived(self.request(), peer)
        self.assertEqual(first.counters["refused"], 1)
        second.makeConnection(wires[1])
        first.datagramReceived(self.request(), peer)
        self.assertEqual([len(each.sent) for each in wires], [1, 1])
        ((answer, address),) = wires[1].sent
        self.assertEqual(address, peer)
        self.assertEqual(decode_message(answer).get(OTHER_ADDRESS).__class__, TransportAddress)
        second.doStop()
        first.datagramReceived(self.request(), peer)
        self.assertEqual([len(each.sent) for each in wires], [2, 1])
        self.assertEqual(first.counters["dialled_back"], 1)


class SocketTests(TestCase):
    """
    Client and server on real sockets.
    """

    timeout = 10

    def test_loopback(self) -> Deferred[None]:
        """
        A client on loopback learns its own port.
        """
        reactor = cast(IReactorUDP, global_reactor)
        clock = cast(IReactorTime, global_reactor)
        client = StunClient(clock, random.Random(1).randbytes)
        ports = [
            reactor.listenUDP(0, protocol, "127.0.0.1", 8192)
            for protocol in (BindingServer(clock), client)
        ]
        for port in ports:
            self.addCleanup(maybeDeferred, port.stopListening)
        theirs, ours = (cast(IPv4Address, port.getHost()).port for port in ports)
        deferred = client.request(TransportAddress("127.0.0.1", theirs))
        return deferred.addCallback(
            lambda response: self.assertEqual(response.mapped, TransportAddress("127.0.0.1", ours))
        )
