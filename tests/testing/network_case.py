"""
Two simulated hosts, for the tests of what lies between them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.error import ConnectionLost
from twisted.internet.protocol import ClientFactory, DatagramProtocol, Factory, Protocol
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from typing_extensions import override

from atmosphere.testing import SimulatedNetwork

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

    def has(self, count: int) -> bool:
        """
        Say whether so many bytes have come.
        """
        return len(self.data) >= count

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
