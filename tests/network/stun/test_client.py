"""
Tests for L{atmosphere.network.stun.client}.
"""

import random

from twisted.internet.defer import CancelledError
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from typing_extensions import override

from atmosphere.addresses import TransportAddress
from atmosphere.errors import DecodeError, TransactionRefusedError, TransactionTimeoutError
from atmosphere.network.stun.attributes import (
    ERROR_CODE,
    MAPPED_ADDRESS,
    SOFTWARE,
    XOR_MAPPED_ADDRESS,
)
from atmosphere.network.stun.client import Response, StunClient
from atmosphere.network.stun.message import Class, Message, decode_message, encode_message
from atmosphere.network.stun.values import ErrorCode
from atmosphere.network.udp.shared_port import Share, SharedPort, TransactionOwner

from .wire import Wire

SERVER = TransportAddress("192.0.2.1", 3478)
PEER = ("192.0.2.1", 3478)
OURS = TransportAddress("198.51.100.7", 40000)


class StunClientTests(SynchronousTestCase):
    """
    Requests and their ends.
    """

    @override
    def setUp(self) -> None:
        """
        Give a client a port.
        """
        self.clock = Clock()
        self.wire = Wire()
        self.client = StunClient(self.clock, random.Random(1).randbytes)
        self.client.makeConnection(self.wire)

    def last_id(self) -> bytes:
        """
        Give the transaction ID of the last request.
        """
        return self.wire.sent[-1][0][8:20]

    def respond(self, message: Message) -> None:
        """
        Let the server answer.
        """
        self.client.datagramReceived(encode_message(message), PEER)
        self.clock.advance(0)

    def success(self) -> Message:
        """
        Make the usual response.
        """
        return Message(Class.SUCCESS_RESPONSE, self.last_id(), ((XOR_MAPPED_ADDRESS, OURS),))

    def test_answered(self) -> None:
        """
        The Deferred fires with the response and who sent it; no timer is left.
        """
        deferred = self.client.request(SERVER)
        self.assertEqual([address for _, address in self.wire.sent], [PEER])
        self.assertTrue(self.client.owns(self.last_id()))
        self.assertNoResult(deferred)
        self.respond(self.success())
        response = self.successResultOf(deferred)
        self.assertEqual((response.mapped, response.source), (OURS, SERVER))
        self.assertFalse(self.client.owns(self.last_id()))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_link_local(self) -> None:
        """
        A server on the same link is known again, though the socket names its zone.
        """
        server = TransportAddress("fe80::1", 3478)
        deferred = self.client.request(server)
        data = encode_message(self.success())
        self.client.datagramReceived(data, ("fe80::1%eth0", 3478))
        self.clock.advance(0)
        self.assertEqual(self.successResultOf(deferred).source, server)

    def test_timed_out(self) -> None:
        """
        Without a response it fails after 39.5 s and 7 requests.
        """
        deferred = self.client.request(SERVER)
        self.clock.pump([0.5] * 78)
        self.assertNoResult(deferred)
        self.clock.advance(0.5)
        error = self.failureResultOf(deferred, TransactionTimeoutError).value
        self.assertEqual(error.attempts, 7)
        self.assertIn("192.0.2.1:3478", str(error))
        self.assertEqual(len(self.wire.sent), 7)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_chosen_figures(self) -> None:
        """
        A caller in a hurry chooses its own schedule.
        """
        deferred = self.client.request(SERVER, rto=0.1, attempts=2, patience=1)
        self.clock.pump([0.1] * 2)
        self.failureResultOf(deferred, TransactionTimeoutError)
        self.assertEqual(len(self.wire.sent), 2)

    def test_refused(self) -> None:
        """
        An error response fails it with the code.
        """
        deferred = self.client.request(SERVER)
        error = ((ERROR_CODE, ErrorCode(300, "Try Alternate\n")),)
        self.respond(Message(Class.ERROR_RESPONSE, self.last_id(), error))
        refused = self.failureResultOf(deferred, TransactionRefusedError).value
        self.assertEqual(refused.code, 300)
        self.assertNotIn("\n", str(refused))

    def test_unusable(self) -> None:
        """
        A response that demands what we do not know fails it.
        """
        deferred = self.client.request(SERVER)
        data = encode_message(self.success()) + b"\x7f\x01\x00\x00"
        self.client.datagramReceived(data[:3] + bytes((len(data) - 20,)) + data[4:], PEER)
        self.clock.advance(0)
        self.failureResultOf(deferred, DecodeError)

    def test_cancelled(self) -> None:
        """
        Cancelling ends the transaction: nothing more is sent, a late response is dropped.
        """
        deferred = self.client.request(SERVER)
        response = self.success()
        deferred.cancel()
        self.failureResultOf(deferred, CancelledError)
        self.respond(response)
        self.assertEqual(self.client.dropped, 1)
        self.assertEqual(len(self.wire.sent), 1)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_strangers(self) -> None:
        """
        Responses from elsewhere, and any rubbish, change nothing.
        """
        deferred = self.client.request(SERVER)
        data = encode_message(self.success())
        for datagram, address in (
            (data, ("192.0.2.1", 3479)),
            (data, ("192.0.2.2", 3478)),
            (data, ("fe80::1%eth0", 3478)),
            (data[:-1], PEER),
            (b"", PEER),
        ):
            self.client.datagramReceived(datagram, address)
        self.clock.advance(0)
        self.assertNoResult(deferred)
        deferred.cancel()
        self.failureResultOf(deferred, CancelledError)

    def test_unreachable(self) -> None:
        """
        A request that cannot leave the machine fails at once and says why.
        """
        self.wire.error = OSError(101, "Network is unreachable")
        deferred = self.client.request(SERVER)
        error = self.failureResultOf(deferred, TransactionTimeoutError).value
        self.assertIn("Network is unreachable", str(error))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_no_port(self) -> None:
        """
        A client on no port fails at once.
        """
        client = StunClient(self.clock, random.Random(1).randbytes)
        self.failureResultOf(client.request(SERVER), TransactionTimeoutError)
        client.datagramReceived(b"", PEER)

    def test_port_closed(self) -> None:
        """
        When the port goes all requests fail; on a new port the client works again.
        """
        deferred = self.client.request(SERVER)
        self.client.doStop()
        self.failureResultOf(deferred, TransactionTimeoutError)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.client.makeConnection(self.wire)
        deferred = self.client.request(SERVER)
        self.respond(self.success())
        self.successResultOf(deferred)

    def test_attributes_and_key(self) -> None:
        """
        A request may carry attributes and be protected.
        """
        deferred = self.client.request(SERVER, attributes=((SOFTWARE, "x"),), key=b"key")
        self.assertEqual(decode_message(self.wire.sent[-1][0]).get(SOFTWARE), "x")
        self.respond(self.success())
        self.assertNoResult(deferred)
        self.client.datagramReceived(encode_message(self.success(), key=b"key"), PEER)
        self.clock.advance(0)
        self.successResultOf(deferred)

    def test_mapped(self) -> None:
        """
        An old server's MAPPED-ADDRESS will do; XOR-MAPPED-ADDRESS goes first.
        """
        other = TransportAddress("198.51.100.8", 1)
        for attributes, mapped in (
            (((MAPPED_ADDRESS, other), (XOR_MAPPED_ADDRESS, OURS)), OURS),
            (((MAPPED_ADDRESS, other),), other),
            ((), None),
        ):
            response = Response(Message(Class.SUCCESS_RESPONSE, bytes(12), attributes), SERVER)
            self.assertEqual(response.mapped, mapped)

    def test_on_a_shared_port(self) -> None:
        """
        On a shared port the client gets its responses and nobody else's.
        """
        client = StunClient(self.clock, random.Random(2).randbytes)
        self.assertIsInstance(client, TransactionOwner)
        shared = SharedPort()
        shared.attach(Share.CLIENT, client)
        shared.makeConnection(self.wire)
        deferred = client.request(SERVER)
        response = encode_message(self.success())
        shared.datagramReceived(response, PEER)
        self.clock.advance(0)
        self.assertEqual(self.successResultOf(deferred).mapped, OURS)
        shared.datagramReceived(response, PEER)
        self.assertEqual(shared.counters["dropped"], 1)
