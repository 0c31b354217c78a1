"""
Tests for L{atmosphere.node.streaming}, and for forwards: how soon there is an answer for
clients that speak first, when the link has to be made; and that what they said arrives
once or not at all.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.endpoints import connectProtocol
from typing_extensions import override

from atmosphere.errors import LinkError, MembershipError, StreamRefusedError
from atmosphere.node.api import JSON
from atmosphere.services.forward import target_endpoint

from .test_first_byte import TRIP, FirstByteCase
from .test_forwarding import Halves
from .test_streaming import Recorder, Recorders

QUESTION, ANSWER = b"how are you?\n", b"well\n"


class _Asking(Halves):
    """
    Speaks first.
    """

    question = QUESTION
    is_all = False

    @override
    def connectionMade(self) -> None:
        super().connectionMade()
        transport: Any = self.transport
        transport.write(self.question)
        if self.is_all:
            transport.loseWriteConnection()


class _AskingOnce(_Asking):
    """
    Says at once that this was all.
    """

    is_all = True


class FirstWordsCase(FirstByteCase):
    """
    A server that answers, at portland.
    """

    @override
    def setUp(self) -> None:
        super().setUp()
        self.told: list[JSON] = []
        self.servers: Any = Recorders(lambda: Recorder(ANSWER))

    def refuse(self, times: int) -> None:
        """
        Have the listener refuse so many proofs.
        """
        links = self.portland.service.links
        check, left = links.check_membership, [None] * times

        def refused(peer: Any, chain: bytes) -> Any:
            if left:
                left.pop()
                raise MembershipError("not today")
            return check(peer, chain)

        links.check_membership = refused  # type: ignore[method-assign]

    def lose_welcome(self) -> None:
        """
        Let nothing out of portland any more when it takes in what came early.
        """
        made = self.portland.service.links.link_connected

        def cut(link: Any) -> None:
            made(link)
            self.world.network.cut(self.portland.host, is_one_way=True)

        self.portland.service.links.link_connected = cut  # type: ignore[method-assign]

    def said(self) -> list[bytes]:
        """
        List what each of the server's connections has heard.
        """
        return [server.data for server in self.servers.made]


class OpenTests(FirstWordsCase):
    """
    Programs that know what they will say.
    """

    def open(self, first: bytes = QUESTION, **more: Any) -> Any:
        """
        Open a stream.
        """
        return self.seattle.service.open("portland", "echo", Recorders(), first=first, **more)

    def test_round_trips(self) -> None:
        """
        The answer to what a stream began with is there after two round trips, and the
        protocol has it as soon as it is made.
        """
        self.portland.service.listen("echo", self.servers)
        stream = self.world.result(self.open())
        self.world.until(lambda: stream.data)
        self.assertAlmostEqual(self.trips(), 2, places=2)
        self.assertEqual((stream.data, self.said()), (ANSWER, [QUESTION]))
        stream.transport.write(b"more\n")
        self.world.network.advance(1)
        self.assertEqual(self.said(), [QUESTION + b"more\n"])

    def test_after_accept(self) -> None:
        """
        A protocol that speaks when it is made, as Twisted's do, has its answer after three.
        """
        self.portland.service.listen("echo", self.servers)
        opening = self.seattle.service.open("portland", "echo", Recorders(_Asking))
        stream = self.world.result(opening)
        self.world.until(lambda: stream.data)
        self.assertAlmostEqual(self.trips(), 3, places=2)

    def test_standing_link(self) -> None:
        """
        On a link that stands they leave when the peer has accepted: should it be gone,
        without anybody knowing yet, they are not lost.
        """
        self.portland.service.listen("echo", self.servers)
        self.world.result(self.seattle.service.connect("portland"))
        self.portland.kill()
        self.world.network.advance(0.5)
        opening = self.open()
        self.portland.restart()
        self.portland.service.listen("echo", self.servers)
        stream = self.world.result(opening)
        self.world.until(lambda: stream.data)
        self.assertEqual(self.said(), [QUESTION])

    def test_much(self) -> None:
        """
        Of much no more than a listener holds leaves early; all arrives, once.
        """
        self.portland.service.listen("echo", self.servers)
        much = bytes(range(256)) * 1_000
        stream = self.world.result(self.open(much))
        self.world.until(lambda: self.said() == [much])
        self.assertTrue(stream.transport.link.is_open)

    def test_refused_service(self) -> None:
        """
        A service that is refused hears nothing, and the error is the same as without them.
        """
        errors = []
        for first in (b"", QUESTION):
            self.part()
            with self.assertRaises(StreamRefusedError) as caught:
                self.world.result(self.open(first))
            errors.append(str(caught.exception))
        self.assertEqual(errors[0], errors[1])
        self.assertEqual(self.said(), [])

    def test_refused_link(self) -> None:
        """
        A listener that refuses the dialler forgets them: they are said again on the next
        link, and read once.
        """
        self.portland.service.listen("echo", self.servers)
        self.refuse(2)
        stream = self.world.result(self.open())
        self.world.until(lambda: stream.data)
        self.world.network.advance(5)
        self.assertEqual((stream.data, self.said()), (ANSWER, [QUESTION]))

    def test_refused_for_good(self) -> None:
        """
        One that goes on refusing is named with its reason when the time is up.
        """
        self.portland.service.listen("echo", self.servers)
        self.refuse(1_000)
        with self.assertRaises(LinkError) as caught:
            self.world.result(self.open(timeout=2))
        self.assertEqual(str(caught.exception), "portland is not reached: it refused: not today")
        self.assertEqual(self.said(), [])

    def test_no_word(self) -> None:
        """
        If it cannot be known whether they were read they are not said again: the opening
        fails, even when there is a new link at once.
        """
        self.portland.service.listen("echo", self.servers)
        self.lose_welcome()
        opening = self.open()
        self.world.until(lambda: self.said() == [QUESTION])
        self.portland.kill(is_silent=True)
        self.world.network.advance(1)
        self.world.network.heal(self.portland.host)
        self.portland.restart()
        again = Recorders()
        self.portland.service.listen("echo", again)
        with self.assertRaises(LinkError) as caught:
            self.world.result(opening)
        self.assertIn("it may have read what was sent", str(caught.exception))
        self.world.network.advance(5)
        self.assertEqual(len(self.said()), 1)
        self.assertEqual([server.data for server in again.made], [])

    def test_another_link(self) -> None:
        """
        So it does where only another link is welcomed, and says why.
        """
        self.portland.service.listen("echo", self.servers)
        self.lose_welcome()
        opening = self.open()
        self.world.until(lambda: self.said() == [QUESTION])
        (early,) = self.seattle.service.links.endpoint.early_links
        early.be_quick(2.0)
        with self.assertRaises(LinkError) as caught:
            self.world.result(opening)
        text = "portland is not reached: it gave no welcome; it may have read what was sent"
        self.assertEqual(str(caught.exception), text)

    def test_cancelled(self) -> None:
        """
        Giving the opening up closes all.
        """
        self.portland.service.listen("echo", self.servers)
        opening = self.open()
        self.world.network.advance(TRIP * 1.1)
        opening.addErrback(lambda _: None)
        opening.cancel()
        self.world.network.advance(1)
        self.assertTrue(all(server.reasons for server in self.servers.made))


class ForwardTests(FirstWordsCase):
    """
    Clients that know nothing of us.
    """

    @override
    def setUp(self) -> None:
        super().setUp()
        self.portland.host.listenTCP(80, self.servers, interface="127.0.0.1")
        lasting = self.seattle.service.forward(
            listen="8080", peer="portland", service="web", keep=False, emit=self.told.append
        )
        lasting.addErrback(lambda _: None)
        self.addCleanup(lasting.cancel)

    def expose(self, *to: str) -> None:
        """
        Let members reach the server.
        """
        self.portland.service.expose(service="web", target="80", to=list(to), keep=False)

    def client(self, protocol: Any) -> Any:
        """
        Connect a client beside seattle.
        """
        self.began = self.world.clock.seconds()
        endpoint = target_endpoint(self.seattle.host, "8080")
        return self.world.result(connectProtocol(endpoint, protocol))

    def test_round_trips(self) -> None:
        """
        A client that speaks first has its answer after two round trips.
        """
        self.expose("seattle")
        client = self.client(_Asking())
        self.world.until(lambda: client.data)
        self.assertAlmostEqual(self.trips(), 2, places=1)
        self.assertEqual((client.data, self.said()), (ANSWER, [QUESTION]))
        client.transport.write(b"more\n")
        self.world.network.advance(1)
        self.assertEqual(self.said(), [QUESTION + b"more\n"])
        self.assertEqual(client.data, ANSWER * 2)

    def test_all_said(self) -> None:
        """
        One that says at once that this was all has its answer, and the server the end.
        """
        self.expose("seattle")
        client = self.client(_AskingOnce())
        self.world.until(lambda: self.servers.made and self.servers.made[0].reasons)
        self.assertEqual((client.data, self.said()), (ANSWER, [QUESTION]))
        self.world.until(lambda: client.reasons)

    def test_much(self) -> None:
        """
        One that says much is read no faster than it can be told on; all arrives, once.
        """
        self.expose("seattle")
        client = _Asking()
        client.question = bytes(range(256)) * 4_000
        self.client(client)
        self.world.until(lambda: self.said() == [client.question])

    def test_refused(self) -> None:
        """
        One that is refused is cut off, the reason is told, and the server hears nothing.
        """
        self.expose("tacoma")
        client = self.client(_Asking())
        self.world.until(lambda: client.reasons)
        self.assertEqual(
            self.told[-1]["problem"], "portland refused web: it is not open to seattle"
        )
        self.assertEqual(self.said(), [])

    def test_refused_link(self) -> None:
        """
        A listener that refuses the dialler has read nothing: the client need not know.
        """
        self.expose("seattle")
        self.refuse(2)
        client = self.client(_Asking())
        self.world.until(lambda: client.data)
        self.assertEqual((client.data, self.said()), (ANSWER, [QUESTION]))

    def test_no_word(self) -> None:
        """
        If it cannot be known whether its words were read the client is cut off.
        """
        self.expose("seattle")
        self.lose_welcome()
        client = self.client(_Asking())
        self.world.until(lambda: client.reasons)
        self.assertIn("it may have read what was sent", self.told[-1]["problem"])
