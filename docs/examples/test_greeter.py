"""
An application, and its tests on a mesh in memory.

Run them with C{python -m twisted.trial test_greeter}.
"""

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from atmosphere.errors import LinkError
from atmosphere.node.service import NodeService
from atmosphere.testing import MemoryMesh

# The application.


class Greeter(Protocol):
    """
    Greets whoever opened the stream, by the name that the mesh gave it.
    """

    transport: Any

    def connectionMade(self) -> None:
        """
        Greet.
        """
        self.transport.write(f"hello {self.transport.getPeer().name}".encode())
        self.transport.loseConnection()


class Greeted(Protocol):
    """
    Collects a greeting.
    """

    def __init__(self) -> None:
        self.text = b""
        self.done: Deferred[str] = Deferred()

    def dataReceived(self, data: bytes) -> None:
        """
        Take a piece of it.
        """
        self.text += data

    def connectionLost(self, reason: Failure = Failure(EOFError())) -> None:  # noqa: B008
        """
        That was all.
        """
        self.done.callback(self.text.decode())


async def greeting_from(node: NodeService, peer: str) -> str:
    """
    Ask a peer for a greeting.
    """
    greeted: Any = await node.open(peer, "greeting", Factory.forProtocol(Greeted), timeout=10)
    greeting: str = await greeted.done
    return greeting


# Its tests.


class GreeterTests(SynchronousTestCase):
    """
    Two nodes, a relay, and no second of real time.
    """

    def setUp(self) -> None:
        """
        Make the mesh.
        """
        self.mesh = MemoryMesh(Clock(), seed=1)
        self.addCleanup(self.mesh.stop)
        self.portland, self.seattle = self.mesh.node("portland"), self.mesh.node("seattle")
        self.portland.listen("greeting", Factory.forProtocol(Greeter))

    def test_greeting(self) -> None:
        """
        Who asks is greeted by name.
        """
        asking = Deferred.fromCoroutine(greeting_from(self.seattle, "portland"))
        self.assertEqual(self.mesh.result(asking), "hello seattle")

    def test_power_cut(self) -> None:
        """
        A peer that lost its power is given up after ten seconds, and greets again
        when it is back.
        """
        machine = self.mesh.machines["portland"]
        machine.kill(is_silent=True)
        self.mesh.advance(60)
        asking = Deferred.fromCoroutine(greeting_from(self.seattle, "portland"))
        before = self.mesh.clock.seconds()
        self.assertRaises(LinkError, self.mesh.result, asking)
        self.assertAlmostEqual(self.mesh.clock.seconds() - before, 10, delta=0.5)
        machine.restart().listen("greeting", Factory.forProtocol(Greeter))
        asking = Deferred.fromCoroutine(greeting_from(self.seattle, "portland"))
        self.assertEqual(self.mesh.result(asking), "hello seattle")
