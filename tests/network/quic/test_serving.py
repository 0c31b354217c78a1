"""
Tests for streams whose service has to look first whether it can serve.
"""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IProtocol
from twisted.trial.unittest import SynchronousTestCase
from typing_extensions import override

from atmosphere.errors import LinkError, StreamRefusedError

from .harness import Echo, Recorder, World


class UndecidedTests(SynchronousTestCase):
    """
    A service answers with a Deferred.
    """

    @override
    def setUp(self) -> None:
        """
        Open a stream about which the peer has yet to decide.
        """
        self.world = World()
        self.a, self.b = self.world.node(1), self.world.node(2)
        dialling = self.a.endpoint.dial(self.b.key.node_id, self.a.ways_to(self.b))
        self.world.run(1.0)
        self.link = self.successResultOf(dialling)
        self.cancelled: list[object] = []
        self.deciding: Deferred[IProtocol] = Deferred(self.cancelled.append)
        self.b.undecided["slow"] = self.deciding
        self.recorder = Recorder()
        self.transport = self.link.open_stream("slow", self.recorder)
        self.accepted = self.transport.when_accepted()
        self.addCleanup(self.accepted.addErrback, lambda failure: None)
        self.transport.write(b"hello")
        self.world.run(0.5)

    def streams(self) -> list[int]:
        """
        Count what either side still knows of streams.
        """
        links = (self.link, self.b.connected[0])
        return [len(link.core.streams) + link.open_streams for link in links]

    def test_accepted_later(self) -> None:
        """
        What came before the decision waits for it, the end included.
        """
        self.transport.loseWriteConnection()
        self.world.run(0.5)
        self.assertNoResult(self.accepted)
        served = Recorder()
        self.deciding.callback(served)
        self.world.run(0.5)
        self.successResultOf(self.accepted)
        self.assertEqual(served.data, b"hello")
        self.assertIsInstance(served.lost, ConnectionDone)
        self.assertEqual(self.streams(), [0, 0])

    def test_refused_later(self) -> None:
        """
        The reason reaches the one who opened, and nothing is left.
        """
        self.deciding.errback(StreamRefusedError("the server is down"))
        self.world.run(0.5)
        failure = self.failureResultOf(self.accepted, StreamRefusedError)
        self.assertEqual(str(failure.value), "the server is down")
        self.assertEqual(self.streams(), [0, 0])

    def test_other_failures(self) -> None:
        """
        Other errors are ours: the peer is told no more than that.
        """
        self.deciding.errback(ZeroDivisionError())
        self.world.run(0.5)
        failure = self.failureResultOf(self.accepted, StreamRefusedError)
        self.assertEqual(str(failure.value), "the service failed")
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        deciding: Deferred[IProtocol] = Deferred()
        self.b.undecided["slow"] = deciding
        waiting = self.link.open_stream("slow", Recorder()).when_accepted()
        self.world.run(0.5)
        deciding.errback(LinkError("somewhere else"))
        self.world.run(0.5)
        self.failureResultOf(waiting, StreamRefusedError)

    def test_given_up(self) -> None:
        """
        A peer that gives up, or whose link ends, cancels the decision.
        """
        self.transport.abortConnection()
        self.world.run(0.5)
        self.assertEqual(self.cancelled, [self.deciding])
        self.assertEqual(self.streams(), [0, 0])

    def test_link_lost(self) -> None:
        """
        The end of the link ends the decision too.
        """
        self.b.connected[0].close("enough")
        self.world.run(0.5)
        self.assertEqual(self.cancelled, [self.deciding])

    def test_not_cancellable(self) -> None:
        """
        A protocol that comes all the same is told that it is too late.
        """
        served = Echo()
        stubborn: Deferred[IProtocol] = Deferred(lambda each: each.callback(served))
        self.b.undecided["slow"] = stubborn
        transport = self.link.open_stream("slow", Recorder())
        self.world.run(0.5)
        transport.abortConnection()
        self.world.run(0.5)
        self.assertIsInstance(served.lost, ConnectionLost)
        self.assertEqual(self.streams()[1], 2)  # the first one, which waits
