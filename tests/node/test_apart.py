"""
Tests for L{atmosphere.node.apart}: streams that choose their path.
"""

from __future__ import annotations

from atmosphere.errors import ConfigurationError, LinkError
from atmosphere.network.path.selection import PathPolicy
from atmosphere.testing.nat import SYMMETRIC

from .test_streaming import Recorder, Recorders, StreamingCase


class PathTests(StreamingCase):
    """
    C{path=}, between two nodes that reach each other directly.
    """

    def test_relayed(self) -> None:
        """
        A stream by a relayed path stays on it, beside others that go directly; when it
        has ended, so does its link.
        """
        server = Recorders(lambda: Recorder(b"hello\n"))
        self.portland.service.listen("echo", server)
        self.world.until(lambda: self.seattle.path_to(self.portland) == "direct")
        node = self.seattle.service
        direct = self.world.result(node.open("portland", "echo", Recorders()))
        relayed = self.world.result(node.open("portland", "echo", Recorders(), path="relayed"))
        again = self.world.result(node.open("portland", "echo", Recorders(), path="relayed"))
        self.assertIs(relayed.transport.link, again.transport.link)
        self.assertIsNot(relayed.transport.link, direct.transport.link)
        self.world.network.advance(30)
        relayed.transport.write(b"hi\n")
        self.world.until(lambda: relayed.data)
        for stream, path in ((direct, "direct"), (relayed, "relayed")):
            self.assertEqual(stream.transport.getPeer().path, path)
        link = self.portland.link_to(self.seattle)
        assert link is not None
        self.assertFalse(link.is_apart)
        self.assertEqual(self.portland.path_to(self.seattle), "direct")
        closed = relayed.transport.link.when_closed()
        relayed.transport.loseConnection()
        again.transport.loseConnection()
        self.world.result(closed, 15)
        self.assertFalse(direct.reasons)
        self.assertTrue(self.seattle.is_linked(self.portland))

    def test_direct(self) -> None:
        """
        A stream by a direct path opens when there is one.
        """
        self.portland.service.listen("echo", Recorders())
        node = self.seattle.service
        direct = self.world.result(node.open("portland", "echo", Recorders(), path="direct"))
        self.assertEqual(direct.transport.getPeer().path, "direct")

    def test_restart(self) -> None:
        """
        A peer that starts anew ends streams of each path, and new ones open.
        """
        self.portland.service.listen("echo", Recorders())
        node = self.seattle.service
        old = self.world.result(node.open("portland", "echo", Recorders(), path="relayed"))
        self.portland.kill(is_silent=True)
        self.portland.restart()
        self.portland.service.listen("echo", Recorders())
        self.world.until(lambda: old.reasons)
        self.world.result(node.open("portland", "echo", Recorders(), path="relayed"))

    def test_no_such_path(self) -> None:
        """
        A direct path that there cannot be is waited for no longer than was asked.
        """
        hard = SYMMETRIC
        tacoma = self.world.node("tacoma", "198.51.100.3", behind=hard)
        olympia = self.world.node("olympia", "198.51.100.4", behind=hard)
        self.world.join(self.portland, tacoma, olympia)
        tacoma.service.listen("echo", Recorders())
        self.world.until(lambda: olympia.is_linked(tacoma))
        opening = olympia.service.open("tacoma", "echo", Recorders(), path="direct", timeout=3)
        self.assertIn("tacoma is not reached", self.failure(opening, LinkError, 5))
        self.world.result(olympia.service.open("tacoma", "echo", Recorders()))

    def test_forbidden(self) -> None:
        """
        A node that is set to relayed paths opens no direct ones.
        """
        self.portland.service.listen("echo", Recorders())
        node = self.seattle.service
        node.links.set_policy(PathPolicy.RELAYED)
        opening = node.open("portland", "echo", Recorders(), path="direct")
        self.assertIn("relayed", self.failure(opening, ConfigurationError))
        self.world.result(node.open("portland", "echo", Recorders(), path="relayed"))
