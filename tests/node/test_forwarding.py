"""
Tests for L{atmosphere.node.forwarding}: servers and clients that know nothing
of us, on either side of two nodes.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.endpoints import connectProtocol
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.internet.protocol import Factory, Protocol
from typing_extensions import override
from zope.interface import implementer

from atmosphere.errors import (
    StreamRefusedError,
)
from atmosphere.node.api import JSON
from atmosphere.services.forward import OneProtocol, target_endpoint
from atmosphere.testing import PORT_RESTRICTED

from .harness import SimulatedNode, WorldCase
from .test_streaming import Recorder, Recorders, StreamingCase

SSH = "tcp:127.0.0.1:22"
MIB = 1_048_576


@implementer(IHalfCloseableProtocol)
class Halves(Recorder):
    """
    Notes the end of each direction.

    @ivar ends: C{read} and C{write}, as they ended.
    """

    def __init__(self, answer: bytes = b"") -> None:
        super().__init__(answer)
        self.ends: list[str] = []

    def readConnectionLost(self) -> None:
        """
        Note it.
        """
        self._ended("read")

    def writeConnectionLost(self) -> None:
        """
        Note it.
        """
        self._ended("write")

    def _ended(self, direction: str) -> None:
        """
        Close when both have ended, as TCP does not by itself.
        """
        self.ends.append(direction)
        if len(self.ends) == 2:
            assert self.transport is not None
            self.transport.loseConnection()


class Deaf(Protocol):
    """
    Reads nothing.
    """

    @override
    def connectionMade(self) -> None:
        assert self.transport is not None
        self.transport.pauseProducing()  # type: ignore[attr-defined]


class Pusher:
    """
    Writes as much as its transport takes, up to a limit.

    @ivar pushed: how many bytes so far.
    """

    def __init__(self, transport: Any, limit: int) -> None:
        self.pushed = 0
        self._transport = transport
        self._limit = limit
        self._may = True
        transport.registerProducer(self, True)
        self._push()

    def _push(self) -> None:
        """
        Write until told to wait.
        """
        while self._may and self.pushed < self._limit:
            self.pushed += 65_536
            self._transport.write(bytes(65_536))

    def pauseProducing(self) -> None:
        """
        Wait.
        """
        self._may = False

    def resumeProducing(self) -> None:
        """
        Go on.
        """
        self._may = True
        self._push()

    def stopProducing(self) -> None:
        """
        Write no more.
        """
        self._may = False


class ForwardingCase(StreamingCase):
    """
    A server beside portland, clients beside seattle.

    @ivar servers: the connections that the server has.
    @ivar told: what the last forward that lasts emitted.
    """

    def serve(self, make: Any = Recorder, port: int = 22) -> Any:
        """
        Run a server beside portland.
        """
        servers: Any = Recorders(make)
        self.port = self.portland.host.listenTCP(port, servers, interface="127.0.0.1")
        return servers

    def expose(self, *to: str, node: SimulatedNode | None = None, **more: Any) -> JSON:
        """
        Expose the server.
        """
        arguments = {"service": "ssh", "target": SSH, "keep": False, **more}
        return (node or self.portland).service.expose(to=list(to or ("seattle",)), **arguments)

    def forward(self, listen: str = "2222", **more: Any) -> Deferred[JSON]:
        """
        Forward a port beside seattle to it.
        """
        arguments: Any = {"peer": "portland", "service": "ssh", "keep": False, **more}
        self.told: list[JSON] = []
        return self.seattle.service.forward(listen=listen, emit=self.told.append, **arguments)

    def client(self, protocol: Any = None, target: str = "tcp:127.0.0.1:2222") -> Any:
        """
        Connect a client beside seattle.
        """
        endpoint = target_endpoint(self.seattle.host, target)
        return self.world.result(connectProtocol(endpoint, protocol or Recorder()))


class ForwardedTests(ForwardingCase):
    """
    All is well.
    """

    def test_one_connection(self) -> None:
        """
        A client and a server talk as if there were nothing between them.
        """
        servers = self.serve(lambda: Recorder(b"welcome\n"))
        self.assertEqual(self.expose("seattle", "tacoma")["unknown"], ["tacoma"])
        lasting = self.forward()
        self.assertEqual(self.told[0]["listen"], "127.0.0.1:2222")
        client = self.client()
        client.transport.write(b"hello\n")
        self.world.until(lambda: client.data)
        self.assertEqual((client.data, servers.made[0].data), (b"welcome\n", b"hello\n"))
        (exposed,) = self.portland.service.service_list()["exposed"]
        (forwarded,) = self.seattle.service.service_list()["forwards"]
        self.assertEqual((exposed["open"], forwarded["open"]), (1, 1))
        client.transport.loseConnection()
        self.world.until(lambda: servers.made[0].reasons)
        self.assertIsInstance(servers.made[0].reasons[0], ConnectionDone)
        self.world.network.advance(1)
        self.assertEqual(self.portland.service.service_list()["exposed"][0]["open"], 0)
        lasting.addErrback(lambda failure: failure.trap(CancelledError) and None)
        lasting.cancel()
        self.assertEqual(self.seattle.service.service_list()["forwards"], [])
        self.port.stopListening()

    def test_halves(self) -> None:
        """
        Each direction ends by itself: a request, its end, then the answer.
        """
        servers = self.serve(Halves)
        self.expose()
        self.forward()
        client = self.client(Halves())
        client.transport.write(b"x" * 300_000)
        client.transport.loseWriteConnection()
        self.world.until(lambda: servers.made and "read" in servers.made[0].ends)
        server = servers.made[0]
        self.assertEqual(len(server.data), 300_000)
        self.assertFalse(client.reasons)
        server.transport.write(b"y" * 300_000)
        server.transport.loseWriteConnection()
        self.world.until(lambda: client.reasons and server.reasons)
        self.assertEqual(len(client.data), 300_000)
        self.assertIsInstance(client.reasons[0], ConnectionDone)
        self.assertIsInstance(server.reasons[0], ConnectionDone)

    def test_written_and_closed(self) -> None:
        """
        What a client wrote before it closed arrives, although nobody wants the answer.
        """
        servers = self.serve(lambda: Recorder())
        self.expose()
        self.forward()
        client = self.client()
        self.world.until(lambda: servers.made)
        servers.made[0].transport.pauseProducing()
        client.transport.write(b"x" * MIB)
        client.transport.loseConnection()
        self.world.network.advance(2)
        servers.made[0].transport.write(b"too late" * 10_000)
        servers.made[0].transport.resumeProducing()
        self.world.until(lambda: servers.made[0].reasons)
        self.assertEqual(len(servers.made[0].data), MIB)

    def test_aborted(self) -> None:
        """
        A connection that breaks on one side breaks on the other.
        """
        servers = self.serve()
        self.expose()
        self.forward()
        one, two = self.client(), self.client()
        self.world.until(lambda: len(servers.made) == 2)
        one.transport.write(b"x")
        self.world.until(lambda: any(each.data for each in servers.made))
        of_one = next(each for each in servers.made if each.data)
        of_two = next(each for each in servers.made if not each.data)
        one.transport.abortConnection()
        self.world.until(lambda: of_one.reasons)
        self.assertIsInstance(of_one.reasons[0], ConnectionLost)
        of_two.transport.abortConnection()
        self.world.until(lambda: two.reasons)
        self.assertIsInstance(two.reasons[0], ConnectionLost)

    def test_stopped_reader(self) -> None:
        """
        Nobody takes more than a little of what is pushed at one who does not read.
        """
        self.serve(Deaf)
        self.expose()
        self.forward()
        client = self.client()
        pusher = Pusher(client.transport, 1024 * MIB)
        self.world.network.advance(30)
        self.assertLess(pusher.pushed, 4 * MIB)
        client.transport.abortConnection()
        self.world.network.advance(1)

    def test_other_places(self) -> None:
        """
        A forward may be a UNIX socket, or any address that is asked for.
        """
        servers = self.serve()
        self.expose()
        self.forward("unix:/run/ssh.sock")
        self.assertEqual(self.told[0]["listen"], "unix:/run/ssh.sock")
        self.client(target="unix:/run/ssh.sock").transport.write(b"x")
        self.world.until(lambda: servers.made and servers.made[0].data)
        self.forward("127.0.0.1:0")
        self.assertRegex(self.told[0]["listen"], r"127\.0\.0\.1:[1-9]\d*")

    def test_many(self) -> None:
        """
        Three hundred connections at once do not meet each other.
        """
        servers = self.serve(lambda: Recorder(b"yes\n"))
        self.expose()
        self.forward()
        clients = [self.client() for _ in range(300)]
        for number, client in enumerate(clients):
            client.transport.write(b"%d\n" % number)
        self.world.until(lambda: all(client.data for client in clients))
        sent = {b"%d\n" % number for number in range(300)}
        self.assertEqual({server.data for server in servers.made}, sent)
        self.assertEqual({client.data for client in clients}, {b"yes\n"})


class FaultTests(ForwardingCase):
    """
    The server fails, or the node lets nobody in.
    """

    def open(self) -> str:
        """
        Open a stream to the service, which is refused.

        @return: why.
        """
        return self.failure(
            self.seattle.service.open("portland", "ssh", Factory()), StreamRefusedError
        )

    def test_down(self) -> None:
        """
        A server that is down refuses the stream, within its round trip; the
        client's connection is broken, and the forward says why.
        """
        self.expose()
        self.world.until(lambda: self.seattle.path_to(self.portland) == "direct")
        started = self.world.clock.seconds()
        self.assertEqual(self.open(), "portland refused ssh: its server refuses connections")
        self.assertLess(self.world.clock.seconds() - started, 1.5 * 4 * 0.005)  # a line each
        self.forward()
        client = self.client()
        self.world.until(lambda: client.reasons)
        self.assertIsInstance(client.reasons[0], ConnectionLost)
        self.assertEqual(
            self.told[1:], [{"problem": "portland refused ssh: its server refuses connections"}]
        )
        (forwarded,) = self.seattle.service.service_list()["forwards"]
        self.assertIn("refuses", forwarded["problem"])
        self.serve()
        self.client()
        self.world.until(
            lambda: self.seattle.service.service_list()["forwards"][0]["problem"] is None
        )

    def test_slow(self) -> None:
        """
        A server that does not answer is given up after a while; a client that
        goes away before gives it up at once.
        """
        self.expose(target="tcp:203.0.113.99:22")
        started = self.world.clock.seconds()
        self.assertEqual(self.open(), "portland refused ssh: its server does not answer")
        self.assertLess(self.world.clock.seconds() - started, 10.5)
        opening = self.seattle.service.open("portland", "ssh", Factory())
        self.world.network.advance(1)
        self.assertEqual(self.portland.service.service_list()["exposed"][0]["open"], 1)
        opening.addErrback(lambda failure: failure.trap(CancelledError) and None)
        opening.cancel()
        self.world.network.advance(1)
        self.assertEqual(self.portland.service.service_list()["exposed"][0]["open"], 0)

    def test_closes_at_once(self) -> None:
        """
        A server that closes at once is seen to do so.
        """

        class Rude(Recorder):
            @override
            def connectionMade(self) -> None:
                assert self.transport is not None
                self.transport.write(b"go away\n")
                self.transport.loseConnection()

        self.serve(Rude)
        self.expose()
        self.forward()
        client = self.client()
        self.world.until(lambda: client.reasons)
        self.assertEqual(client.data, b"go away\n")
        self.assertIsInstance(client.reasons[0], ConnectionDone)

    def test_broken_target(self) -> None:
        """
        A target that cannot work at all is told to the log, not to the peer.
        """
        self.expose(target="tcp:nowhere.example:22")
        self.assertEqual(self.open(), "portland refused ssh: its server is not reached")

    def test_default_deny(self) -> None:
        """
        Nobody but those that were named is let in, by name or by node ID.
        """
        self.serve()
        self.assertEqual(self.open(), "portland refused ssh: there is no such service here")
        self.expose("tacoma", str(self.portland.key.node_id))
        self.assertEqual(self.open(), "portland refused ssh: it is not open to seattle")
        self.expose(str(self.seattle.key.node_id)[:20])
        self.assertEqual(self.open(), "portland refused ssh: it is not open to seattle")
        for name in (str(self.seattle.key.node_id), "seattle"):
            self.expose("tacoma", name)
            self.world.result(self.seattle.service.open("portland", "ssh", OneProtocol(Protocol())))
        self.portland.service.unexpose("ssh")
        self.assertEqual(self.open(), "portland refused ssh: there is no such service here")

    def test_many_opens(self) -> None:
        """
        A member that opens thousands of streams a second is limited; another
        one is served meanwhile.
        """
        tacoma = self.world.node("tacoma", "198.51.100.3")
        self.world.join(self.portland, tacoma, wait=2)
        servers = self.serve()
        self.expose("seattle", "tacoma")
        outcomes: list[Any] = []
        for _ in range(3_000):
            opening = self.seattle.service.open("portland", "ssh", OneProtocol(Protocol()))
            opening.addErrback(lambda failure: str(failure.value))
            opening.addCallback(outcomes.append)
        served = self.world.result(tacoma.service.open("portland", "ssh", OneProtocol(Recorder())))
        self.assertEqual(served.made, 1)
        self.world.until(lambda: len(outcomes) == 3_000)
        refused = [text for text in outcomes if isinstance(text, str)]
        self.assertGreater(len(refused), 1_900)
        self.assertTrue(all("too many" in text for text in refused), refused[0])
        self.assertLess(len(servers.made), 1_100)


class RelayTests(WorldCase):
    """
    Two homes, a relay between them.
    """

    def test_relay_restart(self) -> None:
        """
        A relay that is started again under an open forward loses nothing, in
        either direction.
        """
        portland = self.world.node(
            "portland", "198.51.100.1", behind=PORT_RESTRICTED, path_policy="relayed"
        )
        seattle = self.world.node(
            "seattle", "198.51.100.2", behind=PORT_RESTRICTED, path_policy="relayed"
        )
        self.world.join(portland, seattle)
        servers: Any = Recorders()
        portland.host.listenTCP(22, servers, interface="127.0.0.1")
        portland.service.expose(service="ssh", target=SSH, to=["seattle"], keep=False)
        seattle.service.forward(
            listen="2222", peer="portland", service="ssh", keep=False, emit=lambda line: None
        )
        client = Recorder()
        endpoint = target_endpoint(seattle.host, "2222")
        self.world.result(connectProtocol(endpoint, client))
        self.world.until(lambda: servers.made)
        assert client.transport is not None
        sent = bytes(range(256)) * 16_384
        client.transport.write(sent)
        servers.made[0].transport.write(sent)
        self.world.until(lambda: len(client.data) > 500_000)
        self.world.relay_host.kill()
        self.world.network.advance(2)
        self.world.relay_host.restart()
        self.world.start_relay()
        self.world.until(lambda: len(client.data) == len(sent) == len(servers.made[0].data), 120)
        self.assertTrue(client.data == sent == servers.made[0].data)
        self.assertEqual(client.reasons, [])
