"""
Tests for L{atmosphere.node.interface_watch}.
"""

from __future__ import annotations

import errno
import socket
import struct
import sys
from collections.abc import Callable
from typing import Any

from twisted.internet.error import ConnectionLost
from twisted.internet.interfaces import IReactorFDSet
from twisted.internet.task import Clock
from twisted.logger import ILogObserver, LogEvent, globalLogPublisher
from twisted.python.failure import Failure
from twisted.trial.unittest import SkipTest, SynchronousTestCase
from typing_extensions import override
from zope.interface import directlyProvides, implementer

from atmosphere.node.interface_watch import (
    APART,
    MAX_READS,
    SETTLE,
    Heard,
    InterfaceWatch,
    RouteSocket,
    Watch,
    meaning,
    watch_interfaces,
)

NEW_LINK, DELETED_LINK, NEW_ADDRESS, DELETED_ADDRESS = 16, 17, 20, 21
NEW_ROUTE, DELETED_ROUTE, NEW_NEIGHBOUR = 24, 25, 28
CLONED = 0x200


def message(kind: int, body: bytes = bytes(16)) -> bytes:
    """
    Write one of the kernel's messages.
    """
    padded = body + bytes(-len(body) % 4)
    return struct.pack("=IHHII", 16 + len(body), kind, 0, 0, 0) + padded


def route(kind: int, prefix: int, flags: int = 0) -> bytes:
    """
    Write a message about a route.

    @param prefix: the length of its destination; 0 for a default route.
    """
    return message(kind, struct.pack("=8BI", socket.AF_INET, prefix, 0, 0, 254, 3, 0, 1, flags))


class FakeSocket:
    """
    A socket that has what it was given.

    @ivar is_closed: whether it was closed.
    """

    def __init__(self, *found: bytes | OSError, sender: int = 0) -> None:
        self.found = list(found)
        self.is_closed = False
        self._sender = sender

    def fileno(self) -> int:
        """
        Have some number.
        """
        return 77

    def recvfrom(self, length: int, /) -> tuple[bytes, Any]:
        """
        Hand out the next.
        """
        if not self.found:
            raise BlockingIOError
        item = self.found.pop(0)
        if isinstance(item, OSError):
            raise item
        return item[:length], (self._sender, 0)

    def close(self) -> None:
        """
        Close.
        """
        self.is_closed = True


class Readers(Clock):
    """
    A reactor that keeps who wants to read.

    @ivar readers: those.
    """

    def __init__(self) -> None:
        super().__init__()
        self.readers: list[Any] = []
        directlyProvides(self, IReactorFDSet)  # as far as it is needed

    def addReader(self, reader: Any) -> None:  # noqa: N802
        """
        Add one.
        """
        self.readers.append(reader)

    def removeReader(self, reader: Any) -> None:  # noqa: N802
        """
        Remove one.
        """
        if reader in self.readers:
            self.readers.remove(reader)

    def removeWriter(self, writer: Any) -> None:  # noqa: N802
        """
        There are none.
        """


class MeaningTests(SynchronousTestCase):
    """
    What in the kernel's messages is news to us.
    """

    def test_interfaces(self) -> None:
        """
        Whatever befalls an interface or its addresses is.
        """
        for kind in (NEW_LINK, DELETED_LINK, NEW_ADDRESS, DELETED_ADDRESS):
            self.assertIs(meaning(message(kind)), False)

    def test_routes(self) -> None:
        """
        Of routes those are that lead to half of the Internet or to all of it, and
        that somebody has set.
        """
        for kind in (NEW_ROUTE, DELETED_ROUTE):
            self.assertIs(meaning(route(kind, 0)), True)
            self.assertIs(meaning(route(kind, 1)), True)
            self.assertIsNone(meaning(route(kind, 24)))
            self.assertIsNone(meaning(route(kind, 0, CLONED)))
            self.assertIsNone(meaning(message(kind, bytes(4))))

    def test_many(self) -> None:
        """
        Of several in one piece each counts, wherever it stands.
        """
        noise = message(NEW_NEIGHBOUR, bytes(13))
        self.assertIsNone(meaning(noise * 3))
        self.assertIs(meaning(noise + message(NEW_ADDRESS) + noise), False)
        self.assertIs(meaning(route(NEW_ROUTE, 0) + message(NEW_LINK)), True)
        self.assertIs(meaning(message(NEW_LINK) + route(NEW_ROUTE, 0)), True)

    def test_broken(self) -> None:
        """
        What is cut off or says a wrong length is read as far as it goes.
        """
        whole = route(NEW_ROUTE, 0)
        self.assertIs(meaning(message(NEW_LINK) + whole[:20]), False)
        self.assertIsNone(meaning(b""))
        self.assertIsNone(meaning(bytes(64)))
        self.assertIsNone(meaning(struct.pack("=IHHII", 7, NEW_LINK, 0, 0, 0)))
        self.assertIs(meaning(struct.pack("=IHHII", 2**32 - 1, NEW_LINK, 0, 0, 0)), False)


class RouteSocketTests(SynchronousTestCase):
    """
    Messages are taken from a socket.
    """

    def make(self, fake: FakeSocket) -> tuple[RouteSocket, list[bool]]:
        """
        Make one that reads.
        """
        heard: list[bool] = []
        self.reactor = Readers()
        made = RouteSocket(self.reactor, fake, heard.append)
        made.startReading()
        return made, heard

    def test_read(self) -> None:
        """
        All that is there is told at once.
        """
        fake = FakeSocket(message(NEW_LINK), route(NEW_ROUTE, 0), message(NEW_NEIGHBOUR))
        made, heard = self.make(fake)
        self.assertEqual(made.fileno(), 77)
        self.assertIsNone(made.doRead())
        self.assertEqual(heard, [True])
        self.assertIsNone(made.doRead())
        self.assertEqual(heard, [True])

    def test_noise(self) -> None:
        """
        What is no news is not told, nor what another process says.
        """
        made, heard = self.make(FakeSocket(message(NEW_NEIGHBOUR), InterruptedError()))
        self.assertIsNone(made.doRead())
        other, said = self.make(FakeSocket(message(NEW_LINK), sender=4711))
        self.assertIsNone(other.doRead())
        self.assertEqual((heard, said), ([], []))

    def test_bounded(self) -> None:
        """
        In one turn so much is read, and the rest in the next.
        """
        fake = FakeSocket(*[message(NEW_LINK)] * (MAX_READS + 3))
        made, heard = self.make(fake)
        made.doRead()
        self.assertEqual((len(fake.found), heard), (3, [False]))
        made.doRead()
        self.assertEqual((len(fake.found), heard), (0, [False, False]))

    def test_overflow(self) -> None:
        """
        When the kernel had to drop messages, anything may have changed.
        """
        made, heard = self.make(FakeSocket(OSError(errno.ENOBUFS, "no room")))
        self.assertIsNone(made.doRead())
        self.assertEqual(heard, [True])

    def test_lost(self) -> None:
        """
        What else goes wrong ends it; what came before that is told.
        """
        fake = FakeSocket(message(NEW_LINK), OSError(errno.EIO, "broken"))
        made, heard = self.make(fake)
        why = made.doRead()
        self.assertIsInstance(why, OSError)
        made.connectionLost(Failure(ConnectionLost()))
        self.assertEqual((heard, fake.is_closed, self.reactor.readers), ([False], True, []))
        made.stop()

    def test_stop(self) -> None:
        """
        Stopped, it is closed and read no more; that can be said twice.
        """
        fake = FakeSocket()
        made, _ = self.make(fake)
        self.assertEqual(self.reactor.readers, [made])
        made.stop()
        made.stop()
        self.assertEqual((fake.is_closed, self.reactor.readers), (True, []))


class WatchTests(SynchronousTestCase):
    """
    News lead to looks.
    """

    @override
    def setUp(self) -> None:
        """
        Watch on a clock.
        """
        self.clock = Clock()
        self.looks: list[tuple[float, bool]] = []
        self.ended: list[bool] = []
        self.heard: Heard

    def begin(self, watch: Watch | None = None) -> InterfaceWatch:
        """
        Begin to watch.
        """

        def keep(reactor: Any, heard: Heard) -> Callable[[], object]:
            self.heard = heard
            return lambda: self.ended.append(True)

        def look(is_rerouted: bool) -> None:
            self.looks.append((round(self.clock.seconds(), 3), is_rerouted))

        made = InterfaceWatch(self.clock, watch or keep, look)
        made.start()
        return made

    def test_look(self) -> None:
        """
        A tenth of a second after the first news there is a look, one for all that came.
        """
        self.begin()
        self.clock.advance(5)
        for is_rerouted in (False, True, False):
            self.heard(is_rerouted)
            self.clock.advance(SETTLE / 4)
        self.assertEqual(self.looks, [])
        self.clock.advance(SETTLE / 4)
        self.assertEqual(self.looks, [(5.1, True)])
        self.clock.advance(10)
        self.heard(False)
        self.clock.advance(SETTLE)
        self.assertEqual([each for _, each in self.looks], [True, False])

    def test_storm(self) -> None:
        """
        While there is no end of news there are two looks a second, and one after the end.
        """
        self.begin()
        for _ in range(1000):
            self.heard(False)
            self.clock.advance(0.01)
        self.clock.advance(APART)
        self.assertEqual(len(self.looks), 21)
        self.assertGreater(self.looks[-1][0], 10.0 - APART)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_clock_set_back(self) -> None:
        """
        A clock that is set back a year does not put the next look off for that year, and
        one that is set forward changes nothing.
        """
        self.begin()
        for jump in (-365 * 86400.0, 2 * 365 * 86400.0):
            self.heard(False)
            self.clock.advance(SETTLE)
            self.looks.clear()
            self.clock.rightNow += jump
            self.heard(True)
            self.clock.advance(APART)
            self.assertEqual([each for _, each in self.looks], [True], jump)

    def test_stop(self) -> None:
        """
        Stopped, it looks no more, and leaves no timer.
        """
        made = self.begin()
        self.heard(True)
        made.stop()
        made.stop()
        self.clock.advance(10)
        self.assertEqual((self.looks, self.ended), ([], [True]))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_refused(self) -> None:
        """
        Where the system does not tell, that is logged once and no error.
        """

        def refuse(reactor: Any, heard: Heard) -> Callable[[], object]:
            raise OSError(errno.EAFNOSUPPORT, "not here")

        events: list[LogEvent] = []

        @implementer(ILogObserver)
        def observe(event: LogEvent) -> None:
            events.append(event)

        globalLogPublisher.addObserver(observe)
        self.addCleanup(globalLogPublisher.removeObserver, observe)
        self.begin(refuse).stop()
        said = [each for each in events if "does not tell" in each.get("log_format", "")]
        self.assertEqual(
            [str(each["error"]) for each in said], [f"[Errno {errno.EAFNOSUPPORT}] not here"]
        )

    def test_nobody(self) -> None:
        """
        Without anybody who tells nothing happens.
        """
        made = InterfaceWatch(self.clock, None, lambda is_rerouted: None)
        made.start()
        made.stop()


class SystemTests(SynchronousTestCase):
    """
    The system itself.
    """

    def test_no_descriptors(self) -> None:
        """
        A reactor that has no descriptors cannot be told anything.
        """
        self.assertRaises(OSError, watch_interfaces, Clock(), lambda is_rerouted: None)

    def test_linux(self) -> None:
        """
        Linux lets everybody listen; when it ends nothing is left open.
        """
        if not sys.platform.startswith("linux"):
            raise SkipTest("only Linux tells it this way")
        reactor = Readers()
        end = watch_interfaces(reactor, lambda is_rerouted: None)
        (reader,) = reactor.readers
        self.assertGreater(reader.fileno(), 0)
        self.assertIsNone(reader.doRead())
        end()
        self.assertEqual((reactor.readers, reader.fileno()), ([], -1))
