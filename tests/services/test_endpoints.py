"""
Tests for L{atmosphere.services.endpoints} and L{atmosphere.services.running}: which
node a string means.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from twisted.internet import reactor  # noqa: TID251, a socket that is not there
from twisted.internet.defer import Deferred, succeed
from twisted.internet.endpoints import clientFromString, serverFromString
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase
from typing_extensions import override

from atmosphere.errors import ConfigurationError, NotRunningError
from atmosphere.services.endpoints import AtmosphereClientEndpoint, AtmosphereServerEndpoint
from atmosphere.services.running import node_began, node_ended, running_node


class FakeNode:
    """
    A node that notes what it is asked.
    """

    def __init__(self, state: str, mesh: str) -> None:
        self.state = Path(state)
        self.asked: list[Any] = []
        self._mesh = mesh

    def is_in_mesh(self, text: str) -> bool:
        """
        Say whether that is its mesh.
        """
        return text == self._mesh

    def open(
        self, peer: str, service: str, factory: Any, *, path: str = "auto", timeout: float = 30.0
    ) -> Deferred[Any]:
        """
        Note it.
        """
        self.asked.append((peer, service, path, timeout))
        return succeed(Protocol())

    def listen(self, service: str, factory: Any) -> Any:
        """
        Note it.
        """
        self.asked.append(service)
        return "a port"


class EndpointTests(SynchronousTestCase):
    """
    Two nodes in one process.
    """

    @override
    def setUp(self) -> None:
        self.home = FakeNode("/state/home", "home")
        self.work = FakeNode("/state/work", "work")
        self.reactor = MemoryReactorClock()
        for node in (self.home, self.work):
            node_began(node)
            node_began(node)
            self.addCleanup(node_ended, node)

    def test_strings(self) -> None:
        """
        The strings reach the node that they name, with all options.
        """
        client = clientFromString(
            self.reactor, "atmosphere:portland:www:mesh=work:path=relayed:timeout=5"
        )
        assert isinstance(client, AtmosphereClientEndpoint)
        self.successResultOf(client.connect(Factory()))
        server = serverFromString(self.reactor, "atmosphere:www:state=/state/home")
        assert isinstance(server, AtmosphereServerEndpoint)
        self.assertEqual(self.successResultOf(server.listen(Factory())), "a port")
        self.assertEqual(self.work.asked, [("portland", "www", "relayed", 5.0)])
        self.assertEqual(self.home.asked, ["www"])

    def test_ambiguous(self) -> None:
        """
        A string that may mean either of two nodes fails and says what to add.
        """
        for endpoint in (
            clientFromString(self.reactor, "atmosphere:portland:www").connect(Factory()),
            serverFromString(self.reactor, "atmosphere:www").listen(Factory()),
        ):
            error = self.failureResultOf(endpoint, ConfigurationError)
            self.assertIn("state=", str(error.value))
        node_ended(self.work)
        self.assertIs(running_node(None, None), self.home)

    def test_wrong_options(self) -> None:
        """
        A path or a timeout that is none is refused when the string is read.
        """
        for text in ("path=fast", "timeout=0", "timeout=soon", "timeout=nan"):
            with self.assertRaises(ValueError):
                clientFromString(self.reactor, f"atmosphere:portland:www:{text}")
        for text in ("", ":portland", ":portland:www:more", ":portland:www:colour=red"):
            with self.assertRaisesRegex(ValueError, "atmosphere:PEER:SERVICE"):
                clientFromString(self.reactor, f"atmosphere{text}")
        for text in ("", ":www:more", ":www:path=direct"):
            with self.assertRaisesRegex(ValueError, "atmosphere:SERVICE"):
                serverFromString(self.reactor, f"atmosphere{text}")

    def test_other_node(self) -> None:
        """
        A state directory that no node of this process has means the machine's node.
        """
        self.assertIsNone(running_node(Path("/state/else"), None))
        self.assertIsNone(running_node(None, "else"))


class NobodyTests(SynchronousTestCase):
    """
    A machine on which no node runs.
    """

    def test_no_node(self) -> None:
        """
        The error says how to start one.
        """
        endpoint = AtmosphereClientEndpoint(reactor, "portland", "www", state=self.mktemp())
        connecting = endpoint.connect(Factory())
        # A UNIX socket that is not there fails in the reactor's next turn.
        reactor.iterate(0)
        error = self.failureResultOf(connecting, NotRunningError)
        self.assertIn("serve`", str(error.value))
