# -*- test-case-name: tests.network.relay.test_port -*-
"""
The front of a relay's port: reads the head of a request, and hands the connection on.

WebSocket goes to Autobahn, everything else to a C{twisted.web} site. Neither
limits what comes before it knows whom it talks to; the front does.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.protocol import Protocol, ServerFactory, connectionDone
from twisted.python.failure import Failure
from twisted.web.resource import Resource
from twisted.web.server import Request, Site
from typing_extensions import override

from atmosphere.addresses import TransportAddress
from atmosphere.errors import DecodeError

from .gate import GateRefusal, Pass
from .limits import RelayConfig, matches_name, split_authority
from .request import RequestHead, decode_head, plain_response, websocket_head
from .server import RelayServer
from .session import is_session_id

__all__ = ["FrontFactory", "FrontProtocol", "is_foreign_page", "make_site"]

_END = b"\r\n\r\n"


def is_foreign_page(host: str, config: RelayConfig) -> bool:
    """
    Say whether a C{Host} may be that of a web page whose owner made its name mean this
    relay (DNS rebinding): a name that is none of ours, where we know which are.

    @param host: as in the request; no browser leaves it out.
    """
    name, _ = split_authority(host)
    if not name or matches_name(host, config.names):
        return False
    try:
        TransportAddress(name, 0)
    except DecodeError:
        return bool(config.names) or (config.is_loopback_only and name != "localhost")
    return False  # a page cannot take an address away from its owner


class FrontProtocol(Protocol):
    """
    One connection until its request is understood; then a go-between.
    """

    transport: Any

    def __init__(
        self, factory: FrontFactory, server: RelayServer, site: Site, reactor: IReactorTime
    ) -> None:
        self._factory = factory
        self._server = server
        self._site = site
        self._reactor = reactor
        self._buffer = b""
        self._inner: Protocol | None = None
        self._place: Pass | None = None
        self._timeout: IDelayedCall | None = None
        self._is_over = False

    @override
    def connectionMade(self) -> None:
        """
        See whether there is room, and wait for the request.
        """
        server = self._server
        self._factory.fronts.add(self)
        host = getattr(self.transport.getPeer(), "host", "127.0.0.1").partition("%")[0]
        place = server.gate.enter(host, server.clock.now())
        if isinstance(place, GateRefusal):
            server.counters.refused_connections += 1
            self._is_over = True
            self.transport.abortConnection()
            return
        server.counters.accepted += 1
        self._place = place
        server.tune(self.transport)
        self._timeout = self._reactor.callLater(server.config.limits.hello_timeout, self._late)

    def _late(self) -> None:
        """
        Give up on a client that does not say what it wants, or does not take its answer.
        """
        self._timeout = None
        if not self._is_over:
            self._server.counters.timed_out += 1
        self._is_over = True
        self.transport.abortConnection()

    def _refuse(self, status: int) -> None:
        """
        Answer with a status, and hang up.
        """
        self._server.counters.refused_requests += 1
        self._is_over = True
        self.transport.write(plain_response(status))
        self.transport.loseConnection()

    def _stop_waiting(self) -> None:
        """
        Let go of the timer.
        """
        if self._timeout is not None and self._timeout.active():
            self._timeout.cancel()
        self._timeout = None

    @override
    def dataReceived(self, data: bytes) -> None:
        """
        Read the head of the request, or hand on what comes after it.
        """
        if self._is_over:
            return
        if self._inner is not None:
            self._inner.dataReceived(data)
            return
        self._buffer += data
        end = self._buffer.find(_END)
        limit = self._server.config.limits.header
        if not self._buffer[:1].isalpha():  # TLS, perhaps; no method begins like that
            self._refuse(400)
            return
        if end < 0 and len(self._buffer) <= limit:
            return
        if not 0 <= end <= limit - len(_END):
            self._refuse(431)
            return
        head, rest = self._buffer[: end + len(_END)], self._buffer[end + len(_END) :]
        self._buffer = b""
        try:
            self._route(decode_head(head), rest)
        except DecodeError:
            self._refuse(400)

    def _route(self, request: RequestHead, rest: bytes) -> None:
        """
        Decide who answers a request.
        """
        assert self._place is not None
        server, peer = self._server, self.transport.getPeer()
        host = getattr(peer, "host", "127.0.0.1").partition("%")[0]
        observed = TransportAddress(host, getattr(peer, "port", 0))
        client = server.gate.client_behind(host, request.headers.get("x-forwarded-for", ""))
        if client is not None:
            observed = TransportAddress(client, 0)
            if not server.gate.rename(self._place, client, server.clock.now()):
                self._refuse(429)
                return
        if request.has_body:
            self._refuse(413)
        elif "origin" in request.headers:
            self._refuse(403)
        elif request.path == "/relay" or request.path.startswith("/relay/"):
            self._route_websocket(request, observed, websocket_head(request) + rest)
        elif is_foreign_page(request.headers.get("host", ""), server.config):
            self._refuse(421)
        else:
            self._hand_on_to_site(request)

    def _route_websocket(
        self, request: RequestHead, observed: TransportAddress, data: bytes
    ) -> None:
        """
        Hand the connection to Autobahn, if it is for us.
        """
        assert self._place is not None
        names = self._server.config.names
        session_id = request.path.removeprefix("/relay").removeprefix("/") or None
        if session_id is not None and not is_session_id(session_id):
            self._refuse(404)
        elif names and not matches_name(request.headers.get("host", ""), names):
            self._refuse(421)
        elif not request.wants_websocket:
            self._refuse(426)
        else:
            self._stop_waiting()
            self._hand_on(self._server.build_protocol(session_id, observed, self._place), data)

    def _hand_on_to_site(self, request: RequestHead) -> None:
        """
        Hand the connection to the site, with a head that was written anew.
        """
        if request.method not in ("GET", "HEAD"):
            self._refuse(405)
            return
        protocol = self._site.buildProtocol(None)
        if protocol is None:
            self._refuse(503)
            return
        self._is_over = True
        head = f"{request.method} {request.path} HTTP/1.1\r\nHost: relay\r\nConnection: close\r\n"
        self._hand_on(protocol, head.encode("ascii") + b"\r\n")

    def _hand_on(self, protocol: Protocol, data: bytes) -> None:
        """
        Let another protocol have the connection.
        """
        self._inner = protocol
        protocol.makeConnection(self.transport)
        protocol.dataReceived(data)

    @override
    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """
        Tell whoever has the connection.
        """
        self._stop_waiting()
        self._is_over = True
        self._factory.forget(self)
        if self._inner is not None:
            self._inner.connectionLost(reason)
        if self._place is not None:
            self._server.gate.leave(self._place)


class FrontFactory(ServerFactory):
    """
    Makes the front of each connection to a relay's port.

    @ivar fronts: those of the connections that are open.
    """

    noisy = False

    def __init__(self, reactor: IReactorTime, server: RelayServer, site: Site) -> None:
        self.fronts: set[FrontProtocol] = set()
        self._reactor = reactor
        self._server = server
        self._site = site
        self._empty: Deferred[None] | None = None

    @override
    def buildProtocol(self, addr: object) -> FrontProtocol:
        """
        Make the front of one connection.
        """
        return FrontProtocol(self, self._server, self._site, self._reactor)

    def forget(self, front: FrontProtocol) -> None:
        """
        Note that a connection has ended.
        """
        self.fronts.discard(front)
        if not self.fronts and self._empty is not None:
            empty, self._empty = self._empty, None
            empty.callback(None)

    def when_empty(self, patience: float) -> Deferred[None]:
        """
        Wait until every connection has ended.

        @param patience: how long to wait before those that are left are cut.
        @return: cannot be cancelled.
        """
        if not self.fronts:
            return succeed(None)
        empty: Deferred[None] = Deferred()
        self._empty = empty
        call = self._reactor.callLater(patience, self._cut)

        def done(result: None) -> None:
            if call.active():
                call.cancel()

        return empty.addCallback(done)

    def _cut(self) -> None:
        """
        End the connections that are left.
        """
        for front in list(self.fronts):
            front.transport.abortConnection()


class _Nothing(Resource):
    """
    What is at every other path.
    """

    isLeaf = True  # noqa: N815  # twisted.web reads it

    def render_GET(self, request: Request) -> bytes:  # noqa: N802  # twisted.web calls it
        """
        Say that there is nothing.
        """
        request.setResponseCode(404)
        request.setHeader(b"content-type", b"text/plain")
        request.responseHeaders.removeHeader(b"server")
        return b"not found\n"


class _Branch(Resource):
    """
    A place in the site below which is nothing but what was put there.
    """

    @override
    def getChild(self, path: bytes, request: Request) -> Resource:
        """
        Answer every path that is not served.
        """
        return _Nothing()

    def render_GET(self, request: Request) -> bytes:  # noqa: N802  # twisted.web calls it
        """
        Say that there is nothing.
        """
        return _Nothing().render_GET(request)


class _Page(_Branch):
    """
    A page of JSON, made anew for each request.
    """

    def __init__(self, facts: Callable[[], dict[str, object]]) -> None:
        super().__init__()
        self._facts = facts

    @override
    def render_GET(self, request: Request) -> bytes:  # twisted.web calls it
        """
        Show the facts.
        """
        facts = self._facts()
        if facts.get("status", "ok") != "ok":
            request.setResponseCode(503)
        request.setHeader(b"content-type", b"application/json")
        request.setHeader(b"cache-control", b"no-store")
        request.responseHeaders.removeHeader(b"server")
        return json.dumps(facts).encode("utf-8") + b"\n"


def make_site(reactor: IReactorTime, server: RelayServer) -> Site:
    """
    Make the site of a relay: C{/health} and C{/stats}.
    """
    root = _Branch()
    root.putChild(b"health", _Page(server.health))
    root.putChild(b"stats", _Page(server.statistics))
    return Site(root, timeout=server.config.limits.hello_timeout, reactor=reactor)
