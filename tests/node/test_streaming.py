"""
Tests for L{atmosphere.node.streaming} and L{atmosphere.node.events}: what a
program can do that embeds a node.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.protocol import Factory, Protocol
from twisted.python.failure import Failure
from typing_extensions import override

from atmosphere.errors import ConfigurationError, LinkError, ListenError, StreamRefusedError
from atmosphere.membership import Membership
from atmosphere.network.quic.streams import LinkAddress
from atmosphere.node.events import NodeEvent, PathMoved, PeerCame, PeerWent

from .harness import SimulatedNode, WorldCase
from .transfer import Receiver, Sender


class Recorder(Protocol):
    """
    Notes what happens to it; answers each line if it was told to.
    """

    def __init__(self, answer: bytes = b"") -> None:
        self.answer = answer
        self.data = b""
        self.made = 0
        self.reasons: list[Any] = []

    @override
    def connectionMade(self) -> None:
        self.made += 1

    @override
    def dataReceived(self, data: bytes) -> None:
        assert self.transport is not None
        self.data += data
        if self.answer and self.data.endswith(b"\n"):
            self.transport.write(self.answer)

    @override
    def connectionLost(self, reason: Failure = Failure(ConnectionDone())) -> None:  # noqa: B008
        self.reasons.append(reason.value)


class Recorders(Factory[Protocol]):
    """
    Makes protocols by a function, and keeps them.

    @ivar made: all of them.
    @ivar starts: how often it was started, less how often it was stopped.
    """

    noisy = False

    def __init__(self, make: Any = Recorder) -> None:
        self.made: list[Any] = []
        self.starts = 0
        self.addresses: list[Any] = []
        self._make = make

    @override
    def doStart(self) -> None:
        self.starts += 1

    @override
    def doStop(self) -> None:
        self.starts -= 1

    @override
    def buildProtocol(self, addr: Any) -> Protocol | None:
        self.addresses.append(addr)
        made = self._make()
        self.made.append(made)
        return made  # type: ignore[no-any-return]


class Failing(Recorder):
    """
    A protocol with a mistake in it.
    """

    @override
    def connectionMade(self) -> None:
        raise ZeroDivisionError


class StreamingCase(WorldCase):
    """
    Two members of one mesh.
    """

    portland: SimulatedNode
    seattle: SimulatedNode

    @override
    def setUp(self) -> None:
        super().setUp()
        self.portland = self.world.node("portland", "198.51.100.1")
        self.seattle = self.world.node("seattle", "198.51.100.2")
        self.world.join(self.portland, self.seattle)
        self.world.until(lambda: self.seattle.is_linked(self.portland))

    def failure(self, deferred: Deferred[Any], kind: type[Exception], limit: float = 60) -> str:
        """
        Wait for something to fail.

        @return: the error's text.
        """
        with self.assertRaises(kind) as caught:
            self.world.result(deferred, limit)
        return str(caught.exception)


class OpenTests(StreamingCase):
    """
    C{node.listen} and C{node.open}.
    """

    def test_one_string(self) -> None:
        """
        A stream opens by name, within one round trip, and says who is at its ends.
        """
        server, client = Recorders(lambda: Recorder(b"hello\n")), Recorders()
        port = self.portland.service.listen("echo", server)
        started = self.world.clock.seconds()
        protocol = self.world.result(self.seattle.service.open("portland", "echo", client))
        rtt = 4 * 0.005  # a line each
        self.assertLess(self.world.clock.seconds() - started, 1.5 * rtt)
        self.assertIs(protocol, client.made[0])
        protocol.transport.write(b"hi\n")
        self.world.until(lambda: protocol.data)
        self.assertEqual(protocol.data, b"hello\n")
        peer = protocol.transport.getPeer()
        self.assertEqual((peer.name, peer.service), ("portland", "echo"))
        self.assertEqual(peer.node, self.portland.key.node_id)
        self.assertIn(peer.path, ("direct", "punched", "relayed"))
        self.assertEqual(server.addresses[0].name, "seattle")
        self.assertIsInstance(port.getHost(), LinkAddress)
        self.assertEqual((server.starts, client.starts), (1, 1))
        protocol.transport.loseConnection()
        self.world.until(lambda: server.made[0].reasons and protocol.reasons)
        self.assertIsInstance(protocol.reasons[0], ConnectionDone)
        self.assertEqual(client.starts, 0)
        port.stopListening()
        self.assertEqual(server.starts, 0)

    def test_errors_say_which(self) -> None:
        """
        An unknown peer, an unknown service and a refusal are told apart.
        """
        node = self.seattle.service
        client = Recorders()
        unknown = self.failure(node.open("tacoma", "www", client), ConfigurationError)
        self.assertIn("tacoma", unknown)
        absent = self.failure(node.open("portland", "www", client), StreamRefusedError)
        self.assertEqual(absent, "portland refused www: there is no such service here")
        self.portland.service.listen("www", Recorders(), access=lambda member, service: "not you")
        refused = self.failure(node.open("portland", "www", client), StreamRefusedError)
        self.assertEqual(refused, "portland refused www: not you")
        self.failure(node.open("portland", "no such name", client), ConfigurationError)
        self.failure(node.open("portland", "www", client, path="best"), ConfigurationError)
        self.failure(node.connect("nobody"), ConfigurationError)
        self.assertEqual((client.made, client.starts), ([], 0))

    def test_unreachable(self) -> None:
        """
        A peer that is off is said not to be reached, within the time that was given.
        """
        self.portland.kill(is_silent=True)
        self.world.network.advance(10)
        client = Recorders()
        opening = self.seattle.service.open("portland", "www", client, timeout=3)
        text = self.failure(opening, LinkError, 4)
        self.assertIn("portland", text)
        self.assertEqual(client.starts, 0)

    def test_names(self) -> None:
        """
        A service's name is checked, can be taken once, and is free again afterwards.
        """
        node = self.portland.service
        for name in ("", "a b", "A", "x" * 65, "atmosphere.ping"):
            self.assertRaises(ConfigurationError, node.listen, name, Recorders())
        port = node.listen("www", Recorders())
        self.assertRaises(ListenError, node.listen, "www", Recorders())
        port.stopListening()
        port.stopListening()
        node.listen("www", Recorders())

    def test_cancel(self) -> None:
        """
        Cancelling an open gives the stream up, and the factory is told.
        """
        server, client = Recorders(), Recorders()
        self.portland.service.listen("www", server)
        opening = self.seattle.service.open("portland", "www", client)
        opening.cancel()
        self.failure(opening, CancelledError)
        self.assertEqual((client.made, client.starts), ([], 0))
        self.world.network.advance(1)
        self.assertTrue(all(each.reasons for each in server.made))
        link = self.seattle.link_to(self.portland)
        assert link is not None
        self.assertEqual(link.open_streams, 1)  # gossip's

    def test_access(self) -> None:
        """
        A hook sees the certificate and decides for each peer.
        """
        seen: list[tuple[Membership, str]] = []

        def access(member: Membership, service: str) -> str | None:
            seen.append((member, service))
            return None if member.name == "seattle" else f"{member.name} may not use {service}"

        tacoma = self.world.node("tacoma", "198.51.100.3")
        self.world.join(self.portland, tacoma)
        self.portland.service.listen("www", Recorders(), access=access)
        self.world.result(self.seattle.service.open("portland", "www", Recorders()))
        refused = tacoma.service.open("portland", "www", Recorders())
        self.assertIn("tacoma may not use www", self.failure(refused, StreamRefusedError))
        self.assertEqual([each.name for each, _ in seen], ["seattle", "tacoma"])
        self.assertTrue(all(each.not_after > self.world.wall() for each, _ in seen))

    def test_failing_hook(self) -> None:
        """
        A hook that fails lets nobody in.
        """

        def access(member: Membership, service: str) -> str | None:
            raise ZeroDivisionError

        self.portland.service.listen("www", Recorders(), access=access)
        opening = self.seattle.service.open("portland", "www", Recorders())
        self.assertIn("the service failed", self.failure(opening, StreamRefusedError))
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_hook_of_another_kind(self) -> None:
        """
        A hook that answers anything but C{None} and a text lets nobody in, and
        the peer is not shown what it was.
        """
        answers: list[Any] = [True, False, Deferred()]
        for answer in answers:

            def access(member: Membership, service: str, answer: Any = answer) -> str | None:
                return answer  # type: ignore[no-any-return]

            port = self.portland.service.listen("www", Recorders(), access=access)
            opening = self.seattle.service.open("portland", "www", Recorders())
            self.assertIn("the service failed", self.failure(opening, StreamRefusedError))
            (logged,) = self.flushLoggedErrors(TypeError)
            self.assertIn("None serves", logged.getErrorMessage())
            port.stopListening()

    def test_failing_protocol(self) -> None:
        """
        A protocol that fails from the start fails the opening; its stream is given up.
        """
        server, client = Recorders(), Recorders(Failing)
        self.portland.service.listen("www", server)
        opening = self.seattle.service.open("portland", "www", client)
        self.failure(opening, ZeroDivisionError)
        self.world.network.advance(1)
        self.assertEqual(client.starts, 0)
        self.assertIsInstance(server.made[0].reasons[0], ConnectionLost)

    def test_no_protocol(self) -> None:
        """
        A factory that makes no protocol refuses, on either side.
        """
        self.portland.service.listen("none", Recorders(lambda: None))
        self.portland.service.listen("www", Recorders())
        node = self.seattle.service
        self.failure(node.open("portland", "none", Recorders()), StreamRefusedError)
        self.failure(node.open("portland", "www", Recorders(lambda: None)), StreamRefusedError)

    def test_transfer(self) -> None:
        """
        A megabyte arrives whole, and the end of it ends the other side.
        """
        senders = Recorders(lambda: Sender(1_000_000))
        receivers = Recorders(Receiver)
        self.portland.service.listen("sink", receivers)
        self.world.result(self.seattle.service.open("portland", "sink", senders))
        self.world.until(lambda: receivers.made and receivers.made[0].reasons)
        self.assertEqual(receivers.made[0].digest.digest(), senders.made[0].digest.digest())

    def test_flood(self) -> None:
        """
        One member that opens streams without end is refused, others are served.
        """
        server = Recorders()
        self.portland.service.listen("www", server)
        tacoma = self.world.node("tacoma", "198.51.100.3")
        self.world.join(self.portland, tacoma)
        link = self.world.result(self.seattle.service.connect("portland"))
        flood = [Recorder() for _ in range(4_000)]
        for each in flood:
            link.open_stream("www", each)
        self.world.result(tacoma.service.open("portland", "www", Recorders()), 5)
        self.world.until(
            lambda: len(server.made) - 1 + sum(len(each.reasons) for each in flood) == 4_000
        )
        refused = [each for each in flood if each.reasons]
        self.assertGreater(len(refused), 1_000)
        self.assertIsInstance(refused[0].reasons[0], StreamRefusedError)


class EventTests(StreamingCase):
    """
    C{node.subscribe}.
    """

    def test_events(self) -> None:
        """
        A program hears when a peer comes, moves to another path and goes.
        """
        seen: list[NodeEvent] = []
        tacoma = self.world.node("tacoma", "198.51.100.3")
        end = tacoma.service.subscribe(seen.append)
        self.world.join(self.portland, tacoma)
        self.world.until(lambda: tacoma.path_to(self.portland) == "direct")
        peer = self.portland.key.node_id
        self.assertEqual(
            [each for each in seen if isinstance(each, PeerCame) and each.peer == peer],
            [PeerCame(peer, "portland")],
        )
        moved = [each for each in seen if isinstance(each, PathMoved) and each.peer == peer]
        if moved:
            self.assertEqual(moved[-1].kind, "direct")
            self.assertTrue(moved[-1].why)
        stopping = self.portland.service.stopService()
        assert stopping is not None
        self.world.result(stopping)
        self.world.until(lambda: any(isinstance(each, PeerWent) for each in seen))
        went = [each for each in seen if isinstance(each, PeerWent)]
        self.assertEqual((went[0].peer, went[0].name), (peer, "portland"))
        end()
        end()
        count = len(seen)
        self.portland.release()
        self.portland.start()
        self.world.until(lambda: tacoma.is_linked(self.portland))
        self.assertEqual(len(seen), count)

    def test_failing_listener(self) -> None:
        """
        A listener that fails keeps nothing from the next one.
        """
        seen: list[NodeEvent] = []

        def fail(event: NodeEvent) -> None:
            raise ZeroDivisionError

        self.seattle.service.subscribe(fail)
        self.seattle.service.subscribe(seen.append)
        self.portland.kill(is_silent=True)
        self.portland.restart()
        self.world.until(lambda: seen)
        self.assertTrue(self.flushLoggedErrors(ZeroDivisionError))

    def test_lost_link(self) -> None:
        """
        A peer that starts anew ends the streams to it, with a reason.
        """
        self.portland.service.listen("www", Recorders())
        protocol = self.world.result(self.seattle.service.open("portland", "www", Recorders()))
        self.portland.kill(is_silent=True)
        self.portland.restart()
        self.world.until(lambda: protocol.reasons)
        self.assertIsInstance(protocol.reasons[0], ConnectionLost)
        self.assertTrue(str(protocol.reasons[0]))
