"""
What holds for TCP ports and transports, whoever made the reactor.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.error import (
    CannotListenError,
    ConnectionDone,
    ConnectionLost,
    ConnectionRefusedError,
    UserError,
)
from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.internet.protocol import ClientFactory, Factory, Protocol
from twisted.python.failure import Failure
from typing_extensions import override
from zope.interface import implementer

from .contract import HOST, Contract


class Received(Protocol):
    """
    Keeps what came over a connection.

    @ivar peer: the other end's address.
    """

    def __init__(self) -> None:
        self.data = bytearray()
        self.reason: Failure | None = None
        self.events: list[str] = []

    @property
    def wire(self) -> Any:
        """
        The transport, untyped.
        """
        return self.transport

    @override
    def connectionMade(self) -> None:
        """
        Note the beginning.
        """
        self.events.append("made")

    @override
    def dataReceived(self, data: bytes) -> None:
        """
        Keep the bytes.
        """
        self.data += data

    @override
    def connectionLost(self, reason: Failure = Failure(ConnectionDone())) -> None:  # noqa: B008
        """
        Note the end.
        """
        self.reason = reason
        self.events.append("lost")


@implementer(IHalfCloseableProtocol)
class HalfClosing(Received):
    """
    Is told of the end of each direction.
    """

    def readConnectionLost(self) -> None:
        """
        Note that nothing more will come.
        """
        self.events.append("read lost")

    def writeConnectionLost(self) -> None:
        """
        Note that nothing more will go.
        """
        self.events.append("write lost")


class Client(ClientFactory):
    """
    Connects once.
    """

    def __init__(self, protocol: Received) -> None:
        self.made = protocol
        self.failure: Failure | None = None
        self.lost: Failure | None = None

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
        self.failure = reason

    @override
    def clientConnectionLost(self, connector: Any, reason: Failure) -> None:
        """
        Keep why there is no connection any more.
        """
        self.lost = reason


class PushProducer:
    """
    Writes whenever it may, until a number of bytes.
    """

    def __init__(self, wire: Any, total: int) -> None:
        self.wire = wire
        self.left = total
        self.pauses = 0
        self.is_paused = False
        self.is_stopped = False

    def run(self) -> None:
        """
        Write until told to stop.
        """
        while self.left and not self.is_paused:
            size = min(self.left, 10_000)
            self.left -= size
            self.wire.write(b"p" * size)
        if not self.left:
            self.wire.unregisterProducer()

    def pauseProducing(self) -> None:
        """
        Stop for a while.
        """
        self.pauses += 1
        self.is_paused = True

    def resumeProducing(self) -> None:
        """
        Go on.
        """
        self.is_paused = False
        self.run()

    def stopProducing(self) -> None:
        """
        Stop for good.
        """
        self.is_stopped = True


class PullProducer(PushProducer):
    """
    Writes one piece each time it is asked.
    """

    @override
    def resumeProducing(self) -> None:
        """
        Write one piece.
        """
        size = min(self.left, 30_000)
        self.left -= size
        self.wire.write(b"q" * size)
        if not self.left:
            self.wire.unregisterProducer()


class TCPContract(Contract):
    """
    What holds for TCP ports and transports.
    """

    def serve(self, make: Callable[[], Protocol] = Received) -> tuple[list[Any], Any]:
        """
        Listen on loopback until the test ends.

        @return: the protocols of connections that were accepted, and the port.
        """
        accepted: list[Any] = []

        class Server(Factory):
            @override
            def buildProtocol(self, addr: Any) -> Protocol:
                protocol = make()
                accepted.append(protocol)
                return protocol

        port: Any = self.reactor.listenTCP(0, Server(), interface=HOST)
        self.addCleanup(port.stopListening)
        return accepted, port

    async def pair(
        self, make: Callable[[], Any] = Received, other: Callable[[], Any] = Received
    ) -> tuple[Any, Any]:
        """
        Make a connection.

        @return: the protocols of the client and of the server.
        """
        accepted, port = self.serve(other)
        host = port.getHost()
        client = Client(make())
        self.reactor.connectTCP(HOST, host.port, client)
        await self.until(lambda: accepted and accepted[0].events and client.made.events)
        self.addCleanup(self.close, [client.made, accepted[0]])
        return client.made, accepted[0]

    def close(self, ends: list[Any]) -> Any:
        """
        Close what a test left open.
        """
        for each in ends:
            each.wire.abortConnection()
        return self.complete(self._closed(ends))

    async def _closed(self, ends: list[Any]) -> None:
        """
        Wait until connections are closed.
        """
        await self.until(lambda: all(each.reason is not None for each in ends))

    def test_exchange(self) -> Any:
        """
        Bytes arrive both ways in order, and each end knows the other's address.
        """

        async def run() -> None:
            one, two = await self.pair()
            one.wire.write(b"ab")
            one.wire.writeSequence([b"c", b"d"])
            two.wire.write(b"12")
            await self.until(lambda: len(two.data) == 4 and len(one.data) == 2)
            self.assertEqual((bytes(one.data), bytes(two.data)), (b"12", b"abcd"))
            self.assertEqual(one.wire.getPeer(), two.wire.getHost())
            self.assertEqual(one.wire.getHost(), two.wire.getPeer())

        return self.complete(run())

    def test_lose_connection(self) -> Any:
        """
        What was written before closing still arrives, and both ends end cleanly.
        """

        async def run() -> None:
            one, two = await self.pair()
            one.wire.write(b"z" * 2_000_000)
            one.wire.loseConnection()
            one.wire.write(b"late")
            await self.until(lambda: one.reason and two.reason)
            self.assertTrue(bytes(two.data).startswith(b"z" * 2_000_000))
            self.assertIsInstance(one.reason.value, ConnectionDone)
            self.assertIsInstance(two.reason.value, ConnectionDone)

        return self.complete(run())

    def test_abort_connection(self) -> Any:
        """
        An aborted connection is lost at the other end, not closed.
        """

        async def run() -> None:
            one, two = await self.pair()
            one.wire.abortConnection()
            await self.until(lambda: one.reason and two.reason)
            self.assertIsInstance(two.reason.value, ConnectionLost)

        return self.complete(run())

    def test_half_close(self) -> Any:
        """
        One direction may end while the other goes on.
        """

        async def run() -> None:
            one, two = await self.pair(HalfClosing, HalfClosing)
            one.wire.write(b"question")
            one.wire.loseWriteConnection()
            await self.until(lambda: "read lost" in two.events)
            self.assertEqual(bytes(two.data), b"question")
            self.assertEqual(one.events, ["made", "write lost"])
            two.wire.write(b"answer")
            two.wire.loseConnection()
            await self.until(lambda: one.reason is not None or "read lost" in one.events)
            self.assertEqual(bytes(one.data), b"answer")

        return self.complete(run())

    def test_half_close_much(self) -> Any:
        """
        Who has ended its direction still gets all of a long answer, and its end.
        """

        async def run() -> None:
            one, two = await self.pair(HalfClosing, HalfClosing)
            one.wire.loseWriteConnection()
            await self.until(lambda: "read lost" in two.events)
            two.wire.write(bytes(300_000))
            two.wire.loseConnection()
            await self.until(lambda: one.reason is not None or "read lost" in one.events)
            self.assertEqual((len(one.data), one.reason), (300_000, None))

        return self.complete(run())

    def test_half_close_unaware(self) -> Any:
        """
        A protocol that knows nothing of half-closing loses the whole connection.
        """

        async def run() -> None:
            one, two = await self.pair(HalfClosing, Received)
            one.wire.loseWriteConnection()
            await self.until(lambda: two.reason)
            self.assertIsInstance(two.reason.value, ConnectionDone)

        return self.complete(run())

    def test_refused(self) -> Any:
        """
        Connecting to a port on which nobody listens fails at once.
        """

        async def run() -> None:
            _, port = self.serve()
            host = port.getHost()
            await port.stopListening()
            client = Client(Received())
            self.reactor.connectTCP(HOST, host.port, client)
            await self.until(lambda: client.failure)
            assert client.failure is not None
            self.assertIsInstance(client.failure.value, ConnectionRefusedError)

        return self.complete(run())

    def test_stop_connecting(self) -> Any:
        """
        An attempt may be given up.
        """

        async def run() -> None:
            _, port = self.serve()
            host = port.getHost()
            client = Client(Received())
            connector = self.reactor.connectTCP(HOST, host.port, client)
            connector.stopConnecting()
            await self.until(lambda: client.failure)
            assert client.failure is not None
            self.assertIsInstance(client.failure.value, UserError)

        return self.complete(run())

    def test_port_taken(self) -> Any:
        """
        A port can be had once.
        """

        async def run() -> None:
            _, port = self.serve()
            host = port.getHost()
            error = self.assertRaises(
                CannotListenError,
                self.reactor.listenTCP,
                host.port,
                Factory.forProtocol(Received),
                interface=HOST,
            )
            self.assertEqual(error.port, host.port)

        return self.complete(run())

    def test_push_producer(self) -> Any:
        """
        A producer is paused while the other end does not read, and goes on when it does.
        """

        async def run() -> None:
            one, two = await self.pair()
            two.wire.pauseProducing()
            total = 20_000_000
            producer = PushProducer(one.wire, total)
            one.wire.registerProducer(producer, True)
            producer.run()
            await self.until(lambda: producer.is_paused)
            await self.pause(0.1)
            self.assertTrue(producer.is_paused)
            self.assertTrue(producer.left > 0)
            self.assertEqual(len(two.data), 0)
            two.wire.resumeProducing()
            await self.until(lambda: len(two.data) == total)
            self.assertTrue(producer.pauses > 1)

        return self.complete(run())

    def test_pull_producer(self) -> Any:
        """
        A pull producer is asked whenever the buffer is empty.
        """

        async def run() -> None:
            one, two = await self.pair()
            producer = PullProducer(one.wire, 300_000)
            one.wire.registerProducer(producer, False)
            await self.until(lambda: len(two.data) == 300_000)
            self.assertEqual(bytes(two.data), b"q" * 300_000)

        return self.complete(run())

    def test_producer_stopped(self) -> Any:
        """
        A producer is stopped when its consumer is gone.
        """

        async def run() -> None:
            one, two = await self.pair()
            producer = PushProducer(one.wire, 100)
            one.wire.registerProducer(producer, True)
            two.wire.abortConnection()
            await self.until(lambda: one.reason)
            self.assertTrue(producer.is_stopped)

        return self.complete(run())

    def test_options(self) -> Any:
        """
        The options of a TCP transport keep what they were set to.
        """

        async def run() -> None:
            one, _ = await self.pair()
            for is_on in (True, False):
                one.wire.setTcpNoDelay(is_on)
                one.wire.setTcpKeepAlive(is_on)
                self.assertEqual(bool(one.wire.getTcpNoDelay()), is_on)
                self.assertEqual(bool(one.wire.getTcpKeepAlive()), is_on)

        return self.complete(run())
