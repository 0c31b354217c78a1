"""
Tests for the client of a session.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import deferLater
from typing_extensions import override

from atmosphere.errors import RelayError
from atmosphere.network.relay.endpoint import parse_relay_url
from atmosphere.network.relay.frames import MAX_MESSAGE
from atmosphere.network.relay.limits import RelayLimits
from atmosphere.network.relay.pair_client import PairClient, connect_session
from atmosphere.testing import seeded_entropy

from .certificates import Authority
from .relay_case import RelayCase
from .test_service import REACTOR, RealCase


class Owner:
    """
    Keeps what happens.
    """

    def __init__(self) -> None:
        self.received: list[bytes] = []
        self.drained = 0
        self.ended: list[str] = []

    def pair_received(self, data: bytes) -> None:
        """
        Keep a message.
        """
        self.received.append(data)

    def pair_drained(self) -> None:
        """
        Count.
        """
        self.drained += 1

    def pair_ended(self, error: str) -> None:
        """
        Keep the end.
        """
        self.ended.append(error)


class Silent(Protocol):
    """
    Answers nothing, or what a test wants.
    """

    answer = b""

    @override
    def dataReceived(self, data: bytes) -> None:
        """
        Answer the first bytes.
        """
        if self.answer and self.transport is not None:
            self.transport.write(self.answer)


class PairCase(RelayCase):
    """
    Clients of sessions at a relay.
    """

    def connect(
        self, owner: Owner, session: str = "tea", host: str = "a", timeout: float = 10.0
    ) -> Deferred[PairClient]:
        """
        Join a session.
        """
        return connect_session(
            self.host(host),
            parse_relay_url("ws://relay:8080"),
            session,
            owner,
            entropy=seeded_entropy(host),
            timeout=timeout,
        )

    def join(self, owner: Owner, session: str = "tea", host: str = "a") -> PairClient:
        """
        Join a session, and wait until we are in.
        """
        connecting = self.connect(owner, session, host)
        self.network.run_until(connecting)
        return self.successResultOf(connecting)

    def refusal(self, connecting: Deferred[Any]) -> str:
        """
        Wait for a failure, and return what it says.
        """
        self.network.run_until(connecting)
        return str(self.failureResultOf(connecting, RelayError).value)


class TalkTests(PairCase):
    """
    Two that talk.
    """

    def test_messages(self) -> None:
        """
        Messages go both ways, whole and in order, also those sent before the other came.
        """
        self.serve()
        a, b = Owner(), Owner()
        first = self.join(a)
        messages = [b"early", b"", bytes(MAX_MESSAGE)]
        for message in messages:
            first.write(message)
        second = self.join(b, host="b")
        second.write(b"back")
        self.network.advance(1)
        self.assertEqual((b.received, a.received), (messages, [b"back"]))
        with self.assertRaises(ValueError):
            first.write(bytes(MAX_MESSAGE + 1))
        first.leave()
        self.network.advance(1)
        self.assertEqual(b.ended, ["relay:8080: the other one has left"])
        self.assertEqual(len(a.ended), 1)
        first.write(b"too late")
        self.stop()

    def test_text(self) -> None:
        """
        Messages in text, as other clients send them, come as bytes.
        """
        self.serve()
        a, b = Owner(), Owner()
        self.join(a)
        second = self.join(b, host="b")
        second.sendMessage("café".encode(), isBinary=False)
        self.network.advance(1)
        self.assertEqual(a.received, ["café".encode()])
        self.stop()

    def test_back_pressure(self) -> None:
        """
        Who does not read makes the other one wait, and nothing is lost.
        """
        self.serve(limits=replace(RelayLimits(), rate=0))
        a, b = Owner(), Owner()
        first, second = self.join(a), self.join(b, host="b")
        second.read_no_more()
        second.read_no_more()
        sent = 0
        while not first.is_full and sent < 1000:
            first.write(bytes(60_000))
            sent += 1
            self.network.advance(0.01)
        self.assertLess(sent, 1000)
        self.assertLess(len(b.received), sent)
        second.read_on()
        self.network.run_until(lambda: len(b.received) == sent)
        self.assertFalse(first.is_full)
        self.assertGreater(a.drained, 0)
        self.stop()

    def test_ping_flood(self) -> None:
        """
        A relay that sends control frames without end is left.
        """
        self.serve()
        a = Owner()
        client = self.join(a)
        for _ in range(200):
            client.receive_control_frame(b"\x8a\x00")
        self.network.advance(1)
        self.assertIn("more than any relay", a.ended[0])
        self.stop()

    def test_silent_relay(self) -> None:
        """
        A relay that has vanished is noticed within a minute.
        """
        self.serve()
        a = Owner()
        self.join(a)
        self.relay.kill(is_silent=True)
        self.network.advance(60)
        self.assertEqual(len(a.ended), 1)
        self.host("a").kill()


class TLSTests(RealCase):
    """
    Sessions over TLS, on loopback.
    """

    async def test_tls(self) -> None:
        """
        Over TLS all is the same: messages, pauses, and the end; an authority that is
        not trusted is not.
        """
        authority = Authority(self.directory)
        certificate, private_key = authority.issue("localhost")
        service = self.serve(certificate=certificate, private_key=private_key)
        url = parse_relay_url(f"wss://localhost:{service.port}")
        entropy = seeded_entropy("tls")
        a, b = Owner(), Owner()
        first, second = [
            await connect_session(
                REACTOR, url, "tea", owner, entropy=entropy, ca_file=authority.file
            )
            for owner in (a, b)
        ]
        second.read_no_more()
        sent = 0
        while not first.is_full:
            first.write(bytes(60_000))
            sent += 1
            await deferLater(REACTOR, 0.005)
        self.assertLess(len(b.received), sent)
        second.read_on()
        await self.until(lambda: len(b.received) == sent)
        connecting = connect_session(REACTOR, url, "tea", Owner(), entropy=entropy)
        with self.assertRaisesRegex(RelayError, "no authority trusted here"):
            await connecting
        first.leave()
        await self.until(lambda: a.ended and b.ended)
        self.assertIn("the other one has left", b.ended[0])


class RefusalTests(PairCase):
    """
    Relays that do not let us in.
    """

    def test_third(self) -> None:
        """
        A session has two clients; a third is refused, and the two do not notice.
        """
        self.serve()
        a, b = Owner(), Owner()
        first = self.join(a)
        self.join(b, host="b")
        text = self.refusal(self.connect(Owner(), host="c"))
        self.assertEqual(text, "relay:8080: the session has two clients already")
        first.write(b"undisturbed")
        self.network.advance(1)
        self.assertEqual((b.received, a.ended, b.ended), ([b"undisturbed"], [], []))
        self.stop()

    def test_members_only(self) -> None:
        """
        A relay for members says so, and the error does not show the session.
        """
        self.serve(is_open=False, meshes=("mesh-" + "a" * 26,))
        text = self.refusal(self.connect(Owner(), "secret-session"))
        self.assertEqual(text, "relay:8080: it serves members only")
        self.stop()

    def test_nobody_there(self) -> None:
        """
        Without a relay it fails, and says what might help.
        """
        self.assertIn("is the relay running there?", self.refusal(self.connect(Owner())))

    def test_no_relay(self) -> None:
        """
        What answers may be anything.
        """
        for answer, words in (
            (b"HTTP/1.1 404 Not Found\r\n\r\n", "it serves no sessions there"),
            (b"HTTP/1.1 200 OK\r\n\r\n", "it is no relay: HTTP 200"),
            (b"SSH-2.0-OpenSSH\r\n\r\n", "does not speak HTTP"),
            (b"x" * 10_000, "does not speak HTTP"),
            (b"", "did not let us in within 10 s"),
        ):
            factory: Any = Factory.forProtocol(type("Answers", (Silent,), {"answer": answer}))
            port = self.relay.listenTCP(8080, factory)
            self.assertIn(words, self.refusal(self.connect(Owner())))
            port.stopListening()
            self.network.advance(1)
        self.host("a").kill()

    def test_cancelled(self) -> None:
        """
        Cancelling hangs up, at any time.
        """
        self.serve()
        for delay in (0.0, 0.01, 0.02, 0.03, 0.05):
            connecting = self.connect(Owner())
            self.network.advance(delay)
            if not connecting.called:
                connecting.cancel()
                self.failureResultOf(connecting, CancelledError)
            else:
                self.successResultOf(connecting).leave()
            self.network.advance(5)
        self.assertEqual(self.service.server.active, 0)
        self.stop()

    def test_nobody_comes(self) -> None:
        """
        Whoever waits for 30 s is told that nobody came.
        """
        self.serve()
        a = Owner()
        self.join(a)
        self.network.advance(35)
        self.assertEqual(a.ended, ["relay:8080: nobody came"])
        self.stop()
