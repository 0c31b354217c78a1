"""
Two nodes, and a stream that leaves with the dialler's proof.
"""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase
from typing_extensions import override

from atmosphere.network.path.ways import DirectWay
from atmosphere.network.quic.connection import Link

from .harness import Recorder, World

__all__ = ["Asker", "EarlyCase"]


class Asker(Recorder):
    """
    Notes when the first answer comes.

    @ivar answered: then; C{None} before.
    """

    def __init__(self, world: World) -> None:
        super().__init__()
        self.world = world
        self.answered: float | None = None

    @override
    def dataReceived(self, data: bytes) -> None:
        """
        Note the time.
        """
        super().dataReceived(data)
        if self.answered is None:
            self.answered = self.world.clock.seconds()


class EarlyCase(SynchronousTestCase):
    """
    Two nodes of one mesh that reach each other by the relay alone; the dialler
    knows the listener to be a member.
    """

    @override
    def setUp(self) -> None:
        """
        Make them.
        """
        self.world = World()
        self.world.cut = {DirectWay}
        self.a, self.b = self.world.node(1), self.world.node(2)
        self.a.known = {self.b.key.node_id}
        self.links: list[Link] = []
        self.asker = Asker(self.world)

    @property
    def trip(self) -> float:
        """
        A round trip through the relay.
        """
        return 2 * self.world.relay_latency

    def dial(self) -> Deferred[Link]:
        """
        Dial for a stream.
        """
        return self.a.endpoint.dial(self.b.key.node_id, self.a.ways_to(self.b), is_early=True)

    def ask(self, data: bytes = b"x") -> Deferred[Link]:
        """
        Dial, and ask as soon as there is a link.
        """

        def begun(link: Link) -> Link:
            self.links.append(link)
            link.open_stream("echo", self.asker).write(data)
            return link

        return self.dial().addCallback(begun)

    def begin(self) -> Link:
        """
        Dial until a stream can be opened.
        """
        dialling = self.dial()
        self.world.run(1.0, lambda: dialling.called)
        link = self.successResultOf(dialling)
        self.assertFalse(link.is_connected)
        self.assertTrue(link.is_early)
        return link

    def accepted(self) -> list[Recorder]:
        """
        The protocols that the listener made.
        """
        return [each for each in self.b.accepted if isinstance(each, Recorder)]
