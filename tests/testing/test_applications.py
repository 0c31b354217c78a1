"""
Programs that know nothing of the simulation run in it as they are.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from autobahn.twisted.websocket import (
    WebSocketClientFactory,
    WebSocketClientProtocol,
    WebSocketServerFactory,
    WebSocketServerProtocol,
)
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import (
    HostnameEndpoint,
    TCP4ServerEndpoint,
    TCP6ServerEndpoint,
    wrapClientTLS,
    wrapServerTLS,
)
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.protocol import ClientFactory, Factory, Protocol
from twisted.internet.ssl import (
    Certificate,
    CertificateOptions,
    PrivateCertificate,
    optionsForClientTLS,
)
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.client import Agent, readBody
from twisted.web.resource import Resource
from twisted.web.server import Site
from typing_extensions import override

from atmosphere.testing import Host, SimulatedNetwork


class Greeting(Resource):
    """
    Answers each GET with its path.
    """

    isLeaf = True  # noqa: N815

    def render_GET(self, request: Any) -> bytes:  # noqa: N802
        """
        Answer.
        """
        path: bytes = request.path
        return b"hello " + path * 100


class Echo(WebSocketServerProtocol):
    """
    Sends each message back.
    """

    @override
    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        """
        Send a message back.
        """
        self.sendMessage(payload, isBinary)


class TalkerFactory(WebSocketClientFactory):
    """
    Keeps what happened to its protocol.
    """

    def __init__(self, url: str, reactor: Any) -> None:
        super().__init__(url, reactor=reactor)
        self.protocol = Talker
        self.events: list[Any] = []


class Talker(WebSocketClientProtocol):
    """
    Sends messages and keeps the answers.
    """

    factory: TalkerFactory

    @override
    def onOpen(self) -> None:
        """
        Send some.
        """
        self.factory.events.append("open")
        for size in (1, 200, 200_000):
            self.sendMessage(b"m" * size, True)

    @override
    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        """
        Keep an answer.
        """
        self.factory.events.append(len(payload))
        if len(payload) == 200_000:
            self.sendClose(1000)

    @override
    def onClose(self, wasClean: bool, code: int, reason: str) -> None:
        """
        Keep the end.
        """
        self.factory.events.append((wasClean, code))


def certificate(name: str) -> PrivateCertificate:
    """
    Make a key and a certificate that it signed itself.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    start = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(start)
        .not_valid_after(start + datetime.timedelta(days=36500))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = made.public_bytes(serialization.Encoding.PEM) + key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    loaded: PrivateCertificate = PrivateCertificate.loadPEM(pem)
    return loaded


class ApplicationTests(SynchronousTestCase):
    """
    Twisted's and Autobahn's clients and servers, on simulated hosts.
    """

    @override
    def setUp(self) -> None:
        """
        Make two hosts.
        """
        self.clock = Clock()
        self.network = SimulatedNetwork(self.clock, 7)
        self.server = self.network.host("server.example", "192.0.2.1", "2001:db8::1")
        self.client = self.network.host("client.example", "192.0.2.2", "2001:db8::2")

    def result(self, deferred: Deferred[Any]) -> Any:
        """
        Let time pass until there is a result.
        """
        self.network.run_until(deferred, 30)
        return self.successResultOf(deferred)

    def talk(
        self, wrap_server: Callable[[Any], Any], wrap_client: Callable[[Any], Any], name: str
    ) -> None:
        """
        Run a WebSocket conversation.
        """
        served = WebSocketServerFactory(reactor=self.server)
        served.protocol = Echo
        served._batched_timer = SimpleNamespace(call_later=self.server.callLater)
        self.result(wrap_server(TCP4ServerEndpoint(self.server, 8443)).listen(served))
        asking = TalkerFactory(f"ws://{name}:8443/", self.client)
        asking._batched_timer = SimpleNamespace(call_later=self.client.callLater)
        endpoint = wrap_client(HostnameEndpoint(self.client, name, 8443))
        self.result(endpoint.connect(asking))
        self.network.run_until(lambda: len(asking.events) == 5, 10)
        self.assertEqual(asking.events, ["open", 1, 200, 200_000, (True, 1000)])
        self.network.advance(10)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_websocket(self) -> None:
        """
        Autobahn's client and server talk, close cleanly, and leave nothing behind.
        """
        self.talk(lambda each: each, lambda each: each, "server.example")

    def test_websocket_over_tls(self) -> None:
        """
        So they do over TLS.
        """
        own = certificate("server.example")
        trust = optionsForClientTLS("server.example", trustRoot=Certificate.loadPEM(own.dumpPEM()))

        def wrap_client(endpoint: IStreamClientEndpoint) -> IStreamClientEndpoint:
            return wrapClientTLS(trust, endpoint, clock=self.client)

        self.talk(
            lambda each: wrapServerTLS(own.options(), each, clock=self.server),
            wrap_client,
            "server.example",
        )

    def fetch(self, host: Host, url: bytes) -> bytes:
        """
        Fetch a page.
        """
        response = self.result(Agent(host).request(b"GET", url))
        self.assertEqual(response.code, 200)
        body: bytes = self.result(readBody(response))
        return body

    def test_web(self) -> None:
        """
        An Agent fetches pages from a Site, by name and by address.
        """
        site = Site(Greeting(), reactor=self.server)
        self.result(TCP4ServerEndpoint(self.server, 80).listen(site))
        for name in (b"server.example", b"192.0.2.1"):
            body = self.fetch(self.client, b"http://" + name + b"/page")
            self.assertEqual(body, b"hello " + b"/page" * 100)
        site.doStop()

    def test_web_over_ipv6(self) -> None:
        """
        A host that listens on IPv6 alone is found by its name.
        """
        site = Site(Greeting(), reactor=self.server)
        self.result(TCP6ServerEndpoint(self.server, 80).listen(site))
        self.assertTrue(self.fetch(self.client, b"http://server.example/").startswith(b"hello"))

    def test_ssl(self) -> None:
        """
        C{listenSSL} and C{connectSSL} work, and a certificate can be refused.
        """
        own = certificate("server.example")
        greeted: list[bytes] = []

        class Greeter(Protocol):
            @override
            def connectionMade(self) -> None:
                assert self.transport is not None
                self.transport.write(b"hi")

        class Greeted(Protocol):
            @override
            def dataReceived(self, data: bytes) -> None:
                greeted.append(data)

            @override
            def connectionLost(self, reason: Any = None) -> None:
                greeted.append(b"lost")

        self.server.listenSSL(443, Factory.forProtocol(Greeter), own.options())

        def connect(trust: Any) -> None:
            factory: Any = ClientFactory.forProtocol(Greeted)
            self.client.connectSSL("192.0.2.1", 443, factory, trust)
            self.network.advance(1)

        connect(optionsForClientTLS("server.example", Certificate.loadPEM(own.dumpPEM())))
        self.assertEqual(greeted, [b"hi"])
        connect(optionsForClientTLS("server.example", certificate("other.example")))
        self.assertEqual(greeted, [b"hi", b"lost"])
        connect(CertificateOptions())
        self.assertEqual(greeted, [b"hi", b"lost", b"hi"])
