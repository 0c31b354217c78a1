"""
Tests for L{atmosphere.node.streams_port} and its other end,
L{atmosphere.services.local_streams}, on a real socket.
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Collection
from pathlib import Path
from typing import Any

from twisted.internet import reactor as real_reactor  # noqa: TID251, real sockets are the point here
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread
from twisted.python.failure import Failure
from twisted.trial.unittest import TestCase
from typing_extensions import override

from atmosphere.errors import (
    ConfigurationError,
    LinkError,
    ListenError,
    NotRunningError,
    StreamRefusedError,
)
from atmosphere.identity import NodeID
from atmosphere.membership import Membership
from atmosphere.network.quic.streams import LinkAddress
from atmosphere.node.streams_port import StreamsService
from atmosphere.services.framed_stream import FramedStream
from atmosphere.services.local_streams import LocalStreams

from .test_streaming import Recorder, Recorders
from .transfer import Receiver, Sender

reactor: Any = real_reactor

PEER = LinkAddress(
    NodeID(bytes.fromhex("3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c")),
    "echo",
    "portland",
    "direct",
)
OWN = LinkAddress(
    NodeID(bytes.fromhex("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a")),
    "echo",
    "seattle",
)


class End(Protocol):
    """
    One end of a connection that stands for a peer's stream.
    """

    def __init__(self, protocol: Any, address: LinkAddress) -> None:
        self.protocol = protocol
        self.address = address

    @override
    def connectionMade(self) -> None:
        self.stream = FramedStream(
            reactor, self.transport, self.protocol, peer=self.address, host=OWN, gone="peer gone"
        )
        self.stream.begin()

    @override
    def dataReceived(self, data: bytes) -> None:
        self.stream.received(data)

    @override
    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.stream.broken()


class FakePort:
    """
    A service that is offered.
    """

    def __init__(self, node: FakeNode, service: str, factory: Any, access: Any) -> None:
        self.node, self.service = node, service
        self.factory, self.access = factory, access

    def stopListening(self) -> None:
        """
        Note it.
        """
        del self.node.ports[self.service]

    def getHost(self) -> LinkAddress:
        """
        Say who we are.
        """
        return OWN


class FakeNode:
    """
    A node whose peer is in the same process: a stream is a pair of UNIX sockets.
    """

    def __init__(self) -> None:
        self.ports: dict[str, FakePort] = {}
        self.remote: dict[str, Any] = {}
        self.cancelled = 0

    def is_in_mesh(self, text: str) -> bool:
        """
        Say whether it is home.
        """
        return text == "home"

    def is_one_of(self, member: Membership, named: Collection[str]) -> bool:
        """
        Say whether it is among the names.
        """
        return member.name in named or str(member.node) in named

    def join(self, one: Any, two: Any) -> None:
        """
        Connect two protocols.
        """
        a, b = socket.socketpair()
        for each, protocol, address in ((a, one, PEER), (b, two, OWN)):
            each.setblocking(False)
            end = End(protocol, address)
            reactor.adoptStreamConnection(
                each.fileno(),
                socket.AF_UNIX,
                Factory.forProtocol(lambda end=end: end),  # type: ignore[misc]
            )
            each.close()

    def open(
        self, peer: str, service: str, factory: Any, *, path: str, timeout: float, first: Any
    ) -> Deferred[Any]:
        """
        Connect to a service of the peer's, which refuses what it does not have.
        """
        if peer != "portland":
            raise ConfigurationError(f"no member is called {peer}")
        if service == "slow":
            return Deferred(self._cancel)
        if service == "lost":
            raise LinkError("portland is not reached")
        if service not in self.remote:
            raise StreamRefusedError(f"portland refused {service}: there is no such service")
        protocol = factory.buildProtocol(PEER)
        self.join(protocol, self.remote[service].buildProtocol(OWN))

        def accept() -> Any:
            if first:
                first.finish(protocol.transport)
            return protocol

        return deferLater(reactor, 0, accept)

    def _cancel(self, waiting: object) -> None:
        self.cancelled += 1

    def listen(self, service: str, factory: Any, *, access: Any = None) -> Any:
        """
        Offer a service.
        """
        if service in self.ports:
            raise ListenError(f"the service {service} is offered already")
        self.ports[service] = FakePort(self, service, factory, access)
        return self.ports[service]

    async def come(self, service: str, protocol: Any) -> Any:
        """
        Have the peer open a stream.
        """
        half = self.ports[service].factory.buildProtocol(PEER)
        if isinstance(half, Deferred):
            half = await half
        self.join(half, protocol)
        return half


class StreamsCase(TestCase):
    """
    The socket of a node that is none, and its other end.
    """

    timeout = 20

    @override
    def setUp(self) -> None:
        self.state = Path(self.mktemp())
        self.state.mkdir()
        self.path = self.state / "streams.sock"
        self.node = FakeNode()
        self.streams = LocalStreams(reactor, self.state)
        self.service: Any = None
        self.start()
        self.addCleanup(self.stop)

    def start(self) -> None:
        """
        Serve the socket.
        """
        self.service = StreamsService(reactor, self.path, self.node, entropy=os.urandom)
        self.service.startService()

    def stop(self) -> Any:
        """
        Serve it no more.
        """
        if self.service is not None and self.service.running:
            return self.service.stopService()
        return None

    async def until(self, condition: Any) -> None:
        """
        Let the reactor run until something holds.
        """
        while not condition():
            await deferLater(reactor, 0.005)


class ConnectTests(StreamsCase):
    """
    Streams to the peer's services.
    """

    async def test_echo(self) -> None:
        """
        A stream carries bytes both ways, knows its peer, and ends.
        """
        server, client = Recorders(lambda: Recorder(b"hello\n")), Recorders()
        self.node.remote["echo"] = server
        protocol: Any = await self.streams.open("portland", "echo", client)
        protocol.transport.write(b"hi\n")
        await self.until(lambda: protocol.data)
        self.assertEqual(protocol.data, b"hello\n")
        peer = protocol.transport.getPeer()
        self.assertEqual((peer.name, peer.path, peer.node), ("portland", "direct", PEER.node))
        self.assertEqual(protocol.transport.getHost().node, OWN.node)
        self.assertEqual(client.starts, 1)
        protocol.transport.loseConnection()
        await self.until(lambda: server.made[0].reasons and protocol.reasons)
        self.assertIsInstance(server.made[0].reasons[0], ConnectionDone)
        self.assertIsInstance(protocol.reasons[0], ConnectionDone)
        self.assertEqual(client.starts, 0)

    async def test_errors(self) -> None:
        """
        What the node says comes out as the error that it is.
        """
        for peer, service, kind in (
            ("tacoma", "echo", ConfigurationError),
            ("portland", "echo", StreamRefusedError),
            ("portland", "lost", LinkError),
        ):
            client = Recorders()
            error = await self.assertFailure(self.streams.open(peer, service, client), kind)
            self.assertTrue(str(error))
            self.assertEqual((client.starts, client.made), (0, []))
        elsewhere = LocalStreams(reactor, self.state, "work")
        text = await self.assertFailure(
            elsewhere.open("portland", "echo", Recorders()), ConfigurationError
        )
        self.assertIn("work", str(text))

    async def test_cancel(self) -> None:
        """
        Cancelling cancels in the node.
        """
        opening = self.streams.open("portland", "slow", Recorders())
        await deferLater(reactor, 0.05)
        opening.cancel()
        await self.assertFailure(opening, CancelledError)
        await self.until(lambda: self.node.cancelled)

    async def test_large(self) -> None:
        """
        Megabytes arrive whole in both directions, each with its own end.
        """
        up, down = Receiver(), Sender(3_000_000)
        senders = Recorders(lambda: Sender(3_000_000))
        self.node.remote["sink"] = Recorders(lambda: up)
        await self.streams.open("portland", "sink", senders)
        await self.until(lambda: up.reasons)
        self.assertEqual(up.digest.digest(), senders.made[0].digest.digest())
        receivers = Recorders(Receiver)
        self.node.remote["source"] = Recorders(lambda: down)
        await self.streams.open("portland", "source", receivers)
        await self.until(lambda: receivers.made[0].reasons)
        self.assertEqual(receivers.made[0].digest.digest(), down.digest.digest())

    async def test_stalled_reader(self) -> None:
        """
        A reader that stops stops the writer; what is kept between them is bounded.
        """
        sink = Recorder()
        self.node.remote["sink"] = Recorders(lambda: sink)
        senders = Recorders(lambda: Sender(1 << 30))
        await self.streams.open("portland", "sink", senders)
        await self.until(lambda: sink.made)
        sink.transport.pauseProducing()  # type: ignore[union-attr]
        sender = senders.made[0]
        last = -1
        while last != sender.sent:
            last = sender.sent
            await deferLater(reactor, 0.3)
        self.assertLess(sender.sent, 4_000_000)
        sender.transport.abortConnection()
        sink.transport.abortConnection()  # type: ignore[union-attr]
        await self.until(lambda: sender.reasons and sink.reasons)

    async def test_broken_stream(self) -> None:
        """
        When the peer's stream breaks, the program hears why: that is no end.
        """
        server = Recorders()
        self.node.remote["echo"] = server
        protocol: Any = await self.streams.open("portland", "echo", Recorders())
        await self.until(lambda: server.made and server.made[0].made)
        server.made[0].transport.abortConnection()
        await self.until(lambda: protocol.reasons)
        self.assertIsInstance(protocol.reasons[0], ConnectionLost)
        self.assertIn("peer gone", str(protocol.reasons[0]))

    async def test_aborting(self) -> None:
        """
        A program that aborts, or dies, breaks the peer's stream.
        """
        server = Recorders()
        self.node.remote["echo"] = server
        protocol: Any = await self.streams.open("portland", "echo", Recorders())
        await self.until(lambda: server.made and server.made[0].made)
        protocol.transport.abortConnection()
        await self.until(lambda: server.made[0].reasons and protocol.reasons)
        self.assertIsInstance(server.made[0].reasons[0], ConnectionLost)
        self.assertIsInstance(protocol.reasons[0], ConnectionAborted)


class PlainTests(StreamsCase):
    """
    Programs that speak the plain form, with blocking sockets.
    """

    def talk(self, request: bytes, rest: bytes = b"", *, ends: bool = True) -> list[bytes]:
        """
        Send a request and what follows; read to the end.

        @return: the first line, and the rest.
        """
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.connect(str(self.path))
            connection.sendall(request + b"\n" + rest)
            if ends:
                connection.shutdown(socket.SHUT_WR)
            data = b""
            while piece := connection.recv(65_536):
                data += piece
        return data.split(b"\n", 1)

    async def test_half_close(self) -> None:
        """
        All at once, request, bytes and end: the answer to them comes, then its end.
        """
        recorder = Recorder(b"hello\n")
        self.node.remote["echo"] = Recorders(lambda: recorder)
        line, rest = await deferToThread(
            self.talk, b'{"connect": "portland", "service": "echo"}', b"hi\n"
        )
        self.assertTrue(json.loads(line)["ok"])
        self.assertEqual(rest, b"hello\n")
        self.assertEqual(recorder.data, b"hi\n")

    async def test_bad_requests(self) -> None:
        """
        Whatever is no request is answered by an error, and nothing else happens.
        """
        for request in (
            b"",
            b"[]",
            b"{}",
            b"no json",
            b'{"connect": "\xff"}',
            b"[" * 2_000 + b"]" * 2_000,
            b'{"connect": "portland"}',
            b'{"connect": "portland", "service": "echo", "colour": "red"}',
            b'{"connect": "portland", "service": "echo", "service": "www"}',
            b'{"connect": 7, "service": "echo"}',
            b'{"connect": "portland", "service": "echo", "timeout": -1}',
            b'{"listen": "www", "to": "seattle"}',
            b'{"listen": "www", "to": [7]}',
            b'{"accept": "0000"}',
            b'{"refuse": "0000"}',
            b'{"connect": "' + b"x" * 5_000 + b'"}',
        ):
            line, *rest = await deferToThread(self.talk, request)
            answer = json.loads(line)
            self.assertEqual(set(answer), {"error", "exit_code"}, request)
            self.assertEqual(answer["exit_code"], 2, request)
            self.assertEqual(rest, [b""])
        self.assertEqual(self.node.ports, {})


class ListenTests(StreamsCase):
    """
    Services of the program's own.
    """

    async def test_serve(self) -> None:
        """
        The program serves streams of the peer's, until it stops.
        """
        server = Recorders(lambda: Recorder(b"hello\n"))
        port: Any = await self.streams.listen("echo", server, to=["portland"])
        access = self.node.ports["echo"].access
        portland = Membership("mesh-x", PEER.node, "portland", frozenset(), 0.0)
        tacoma = Membership("mesh-x", OWN.node, "tacoma", frozenset(), 0.0)
        self.assertIsNone(access(portland, "echo"))
        self.assertIn("tacoma", access(tacoma, "echo"))
        client = Recorder()
        await self.node.come("echo", client)
        await self.until(lambda: client.made)
        client.transport.write(b"hi\n")  # type: ignore[union-attr]
        await self.until(lambda: client.data)
        self.assertEqual(client.data, b"hello\n")
        self.assertEqual(server.addresses[0].name, "portland")
        self.assertEqual(server.starts, 1)
        await port.stopListening()
        await self.until(lambda: not self.node.ports)
        self.assertEqual(server.starts, 0)
        client.transport.write(b"hi\n")  # type: ignore[union-attr]
        await self.until(lambda: len(client.data) > 6)
        client.transport.loseConnection()  # type: ignore[union-attr]
        await self.until(lambda: server.made[0].reasons and client.reasons)

    async def test_refuse(self) -> None:
        """
        A factory that makes no protocol refuses the peer's stream.
        """
        port: Any = await self.streams.listen("echo", Recorders(lambda: None))
        coming = Deferred.fromCoroutine(self.node.come("echo", Recorder()))
        await self.assertFailure(coming, StreamRefusedError)
        await port.stopListening()

    async def test_taken(self) -> None:
        """
        A name is offered once.
        """
        port: Any = await self.streams.listen("echo", Recorders())
        await self.assertFailure(self.streams.listen("echo", Recorders()), ListenError)
        await port.stopListening()

    async def test_too_many_wait(self) -> None:
        """
        A program that takes no streams has 256 of them wait, and those are refused when it ends.
        """
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as idle:
            idle.connect(str(self.path))
            idle.sendall(b'{"listen": "echo"}\n')
            await self.until(lambda: self.node.ports)
            waiting = [
                Deferred.fromCoroutine(self.node.come("echo", Recorder())) for _ in range(256)
            ]
            error = Deferred.fromCoroutine(self.node.come("echo", Recorder()))
            await self.assertFailure(error, StreamRefusedError)
        for each in waiting:
            await self.assertFailure(each, StreamRefusedError)

    async def test_node_restarts(self) -> None:
        """
        When the node goes, streams break with a reason; when it is back so is the service.
        """
        server = Recorders()
        port: Any = await self.streams.listen("echo", server)
        client = Recorder()
        await self.node.come("echo", client)
        self.node.remote["www"] = Recorders()
        opened: Any = await self.streams.open("portland", "www", Recorders())
        await self.until(lambda: server.made and server.made[0].made)
        for each in reactor.getReaders():  # as when the process is killed
            if getattr(getattr(each, "protocol", None), "_streams", None) is not None:
                each.abortConnection()
        await self.stop()
        await self.until(lambda: opened.reasons and server.made[0].reasons)
        self.assertIn("node on this machine is gone", str(opened.reasons[0]))
        self.assertIsInstance(server.made[0].reasons[0], ConnectionLost)
        await self.assertFailure(self.streams.open("portland", "www", Recorders()), NotRunningError)
        await self.until(lambda: not self.node.ports)
        self.start()
        await self.until(lambda: self.node.ports)
        await port.stopListening()
        await self.until(lambda: client.reasons)
