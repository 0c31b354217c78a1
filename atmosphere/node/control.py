# -*- test-case-name: tests.node.test_control -*-
"""
The local API: HTTP with JSON on a UNIX socket, for the command line.

C{docs/local_api.md} describes it. There is no TCP: a web page cannot reach
the socket, and who may is decided by the kernel, by the state directory's
mode and by the user on the other end. One request for each connection, a
deadline for its arrival, no request that changes anything by GET. A client
that hangs up cancels what it asked for.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import cast

from twisted.internet.defer import CancelledError, maybeDeferred
from twisted.internet.interfaces import IAddress, IReactorTime, IReactorUNIX
from twisted.internet.protocol import Factory
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.http import HTTPChannel, Request
from typing_extensions import override

from atmosphere.errors import (
    AtmosphereError,
    ConfigurationError,
    DecodeError,
)

from .api import JSON, NodeAPI
from .control_arguments import Arguments
from .control_routes import LASTING, ROUTES, Route
from .strict_json import decode_json, encode_json
from .unix_service import UNIXService, peer_user

__all__ = ["ControlFactory", "ControlService", "peer_user"]

MAXIMUM_CLIENTS = 8
MAXIMUM_MESSAGE = 64 * 1024
MAXIMUM_HEADER = 16 * 1024
REQUEST_TIMEOUT = 10

#: The only name that a client may call us by; there is no other on a UNIX socket.
HOST = b"localhost"

_HTTP_STATUS = {1: 409, 2: 400, 3: 404, 4: 403}


class ControlRequest(Request):
    """
    One request and its answer.
    """

    _log = Logger()

    @property
    def api(self) -> NodeAPI:
        """
        The node that is asked.
        """
        return cast(ControlChannel, self.channel).factory.api

    @override
    def process(self) -> None:
        """
        Check the request, run it, answer it. Called once it has arrived.
        """
        try:
            route = self._route()
            arguments = self._arguments()
        except AtmosphereError as error:
            self._fail(error)
            return
        if self.path in LASTING:
            cast(ControlChannel, self.channel).count_no_more()
        running = maybeDeferred(route, self.api, arguments, self.emit)
        # A client that hung up cancels; one that was answered finds nothing to.
        self.notifyFinish().addErrback(lambda _: running.cancel())
        running.addCallbacks(self._answer, self._explain)
        running.addErrback(self._report)

    def _route(self) -> Route:
        """
        Find what a request asks for.

        @raise ConfigurationError: nothing that we have.
        """
        headers = self.requestHeaders
        if headers.getRawHeaders(b"host") != [HOST] or headers.hasHeader(b"origin"):
            raise ConfigurationError("the Host must be localhost, and there is no Origin here")
        routes = ROUTES.get(self.path)
        if routes is None:
            raise ConfigurationError("there is no such resource")
        route = routes.get(self.method)
        if route is None:
            allowed = b", ".join(routes).decode("ascii")
            raise ConfigurationError(f"this resource takes {allowed} only")
        return route

    def _arguments(self) -> Arguments:
        """
        Read the body: nothing, or one JSON object.
        """
        assert self.content is not None
        body = self.content.read()
        if not body:
            return Arguments({})
        try:
            value = decode_json(body, maximum_length=MAXIMUM_MESSAGE)
        except DecodeError as error:
            raise ConfigurationError(str(error)) from None
        if not isinstance(value, dict):
            raise ConfigurationError("the body must be a JSON object")
        return Arguments(value)

    def _is_gone(self) -> bool:
        """
        Say whether the client hung up.
        """
        channel: object = self.channel
        return channel is None

    def _answer(self, value: JSON) -> None:
        """
        Write the result, or the last line of a stream, and end.
        """
        body = encode_json({"version": 1, **value}) + b"\n"
        if not self.startedWriting:
            self.setHeader(b"content-type", b"application/json")
            self.setHeader(b"content-length", b"%d" % len(body))
        self.write(body)
        self.finish()

    def emit(self, value: JSON) -> None:
        """
        Write one line of a stream.
        """
        if self._is_gone():
            return
        if not self.startedWriting:
            self.setHeader(b"content-type", b"application/x-ndjson")
        self.write(encode_json(value) + b"\n")

    def _explain(self, failure: Failure) -> None:
        """
        Tell the client what failed; log what is a fault of ours.
        """
        if self._is_gone():
            failure.trap(AtmosphereError, CancelledError)
            return
        if failure.check(AtmosphereError):
            self._fail(cast(AtmosphereError, failure.value))
            return
        self._log.failure("a request of the local API failed", failure)
        self._fail(AtmosphereError("an error inside the node: its log says more"))

    def _fail(self, error: AtmosphereError) -> None:
        """
        Write an error and end.
        """
        if not self.startedWriting:
            self.setResponseCode(_HTTP_STATUS.get(error.exit_code, 409))
        self._answer({"error": str(error), "exit_code": error.exit_code})

    def _report(self, failure: Failure) -> None:
        """
        Log what went wrong while answering.
        """
        self._log.failure("an answer of the local API failed", failure)
        self.loseConnection()


class ControlChannel(HTTPChannel):
    """
    One connection, which carries one request.
    """

    factory: ControlFactory
    requestFactory = ControlRequest  # noqa: N815, Twisted's name
    totalHeadersSize = MAXIMUM_HEADER  # noqa: N815, Twisted's name
    timeOut = REQUEST_TIMEOUT  # noqa: N815, Twisted's name
    _received = 0
    _is_counted = False
    _is_refused = False

    @override
    def connectionMade(self) -> None:
        """
        Let in the owner and root, and not too many at once.
        """
        super().connectionMade()
        user = self.factory.peer_user(self.transport)
        if user is not None and user not in (0, self.factory.owner):
            self._refuse(b"")
        elif self.factory.clients >= MAXIMUM_CLIENTS:
            self._refuse(b"503 Service Unavailable", "too many commands at once: try again")
        else:
            self.factory.clients += 1
            self._is_counted = True

    def _refuse(self, status: bytes, text: str = "") -> None:
        """
        End a connection before its request is there.
        """
        self._is_refused = True
        assert self.transport is not None
        if status:
            body = encode_json({"version": 1, "error": text, "exit_code": 1}) + b"\n"
            head = b"HTTP/1.1 %s\r\nContent-Type: application/json\r\n" % status
            length = b"Content-Length: %d\r\nConnection: close\r\n\r\n" % len(body)
            self.transport.write(head + length + body)
        self.loseConnection()

    @override
    def dataReceived(self, data: bytes) -> None:
        """
        Take no more than one request's worth.
        """
        self._received += len(data)
        if self._is_refused:
            return
        if self._received > MAXIMUM_MESSAGE + MAXIMUM_HEADER:
            self._refuse(b"413 Content Too Large", "the request is too long")
            return
        super().dataReceived(data)

    @override
    def resetTimeout(self) -> None:
        """
        Do nothing: the deadline is for the whole request, not for each byte.
        """

    @override
    def checkPersistence(self, request: Request, version: bytes) -> bool:
        """
        Say that the connection ends with its first answer.
        """
        request.responseHeaders.setRawHeaders(b"connection", [b"close"])
        return False

    @override
    def connectionLost(self, reason: Failure) -> None:  # type: ignore[override]  # as Twisted's HTTPChannel has it
        """
        Make room for another client; cancel what this one asked for.
        """
        self.count_no_more()
        super().connectionLost(reason)

    def count_no_more(self) -> None:
        """
        Make room for another client.
        """
        if self._is_counted:
            self._is_counted = False
            self.factory.clients -= 1


class ControlFactory(Factory[ControlChannel]):
    """
    Makes a channel for each connection.

    @ivar clients: how many are connected.
    """

    noisy = False

    def __init__(
        self,
        clock: IReactorTime,
        api: NodeAPI,
        *,
        owner: int,
        peer_user: Callable[[object], int | None] = peer_user,
    ) -> None:
        """
        @param owner: the user, beside root, who may command the node.
        @param peer_user: says who is on the other end of a transport.
        """
        self._clock = clock
        self.api = api
        self.owner = owner
        self.peer_user = peer_user
        self.clients = 0

    @override
    def buildProtocol(self, addr: IAddress | None) -> ControlChannel:
        """
        Make a channel whose deadline runs on our clock.
        """
        channel = ControlChannel()
        channel.factory = self
        channel.callLater = self._clock.callLater  # type: ignore[assignment,method-assign]  # as Twisted's Site does
        return channel

    def log(self, request: Request) -> None:
        """
        Keep no access log: a request for it comes from C{Request}.
        """


class ControlService(UNIXService):
    """
    The local API of a node, for as long as the service runs.
    """

    name = "control"

    def __init__(self, reactor: IReactorUNIX, path: Path, api: NodeAPI) -> None:
        """
        @param reactor: also an C{IReactorTime}.
        @param path: of the socket.
        """
        super().__init__(reactor, path, MAXIMUM_CLIENTS)
        self._api = api

    @override
    def make_factory(self) -> ControlFactory:
        """
        Make what serves the socket.
        """
        clock = cast(IReactorTime, self.reactor)
        return ControlFactory(clock, self._api, owner=os.geteuid())
