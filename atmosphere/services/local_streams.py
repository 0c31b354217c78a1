# -*- test-case-name: tests.node.test_streams_port -*-
"""
Streams of the node that runs on this machine, for a program that is none.

The socket is described in C{docs/local_streams.md}.
"""

from __future__ import annotations

import errno
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, TimeoutError as DeferredTimeoutError
from twisted.internet.endpoints import UNIXClientEndpoint
from twisted.internet.error import ConnectError
from twisted.internet.interfaces import (
    IDelayedCall,
    IListeningPort,
    IProtocol,
    IProtocolFactory,
)
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure
from typing_extensions import override
from zope.interface import implementer

from atmosphere.errors import (
    AtmosphereError,
    ConfigurationError,
    LinkError,
    ListenError,
    NotRunningError,
    StreamRefusedError,
)
from atmosphere.identity import NodeID
from atmosphere.network.quic.streams import LinkAddress

from .framed_stream import FramedStream
from .local_socket import STREAMS_SOCKET_NAME, SocketAddress

__all__ = ["LocalServicePort", "LocalStreams"]

MAXIMUM_LINE = 65_536
ANSWER_TIMEOUT = 15.0
GONE = "the node on this machine is gone"
RUSH_PAUSE = 0.02
FIRST_PAUSE = 0.5
LONGEST_PAUSE = 10.0

_ERRORS: dict[object, type[AtmosphereError]] = {
    2: ConfigurationError,
    3: LinkError,
    4: StreamRefusedError,
    71: ListenError,
}


class _Conversation(Protocol):
    """
    One connection to the node: lines, then perhaps a stream's bytes.
    """

    transport: Any

    def __init__(self, take_line: Callable[[dict[str, Any]], None]) -> None:
        """
        @param take_line: called with each line that comes.
        """
        self.stream: FramedStream | None = None
        self.is_over: Callable[[], None] = lambda: None
        self._take_line = take_line
        self._buffer = b""

    @override
    def dataReceived(self, data: bytes) -> None:
        """
        Take lines, or hand on what is the stream's.
        """
        if self.stream is not None:
            self.stream.received(data)
            return
        self._buffer += data
        while b"\n" in self._buffer and not self._is_stream():
            line, _, self._buffer = self._buffer.partition(b"\n")
            self._take_line(json.loads(line))
        if len(self._buffer) > MAXIMUM_LINE and not self._is_stream():
            self.transport.abortConnection()

    def _is_stream(self) -> bool:
        """
        Say whether lines are over.
        """
        return self.stream is not None

    def begin(self, stream: FramedStream) -> None:
        """
        From now on there are no lines, but a stream.
        """
        early, self._buffer = self._buffer, b""
        self.stream = stream
        stream.begin()
        if early:
            stream.received(early)

    @override
    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """
        The node is gone, or has closed.
        """
        if self.stream is not None:
            self.stream.broken()
        self.is_over()


class _Quiet(Factory[Protocol]):
    """
    Keeps the log free of our own connections.
    """

    noisy = False


class LocalStreams:
    """
    Opens and offers streams through the node that runs on a state directory.
    """

    def __init__(self, reactor: Any, state: Path, mesh: str | None = None) -> None:
        """
        @param reactor: has UNIX sockets and time.
        @param mesh: the mesh that the node must be in; C{None} for any.
        """
        self._reactor = reactor
        self._state = state
        self._mesh = mesh

    async def ask(
        self, request: dict[str, Any], timeout: float, on_line: Any = None
    ) -> tuple[_Conversation, dict[str, Any]]:
        """
        Ask the node for something.

        @param on_line: called with each line after the first.
        @return: the connection, and the answer.
        @raise NotRunningError: there is no node.
        @raise AtmosphereError: it refused.
        """
        answered: Deferred[dict[str, Any]] = Deferred()

        def take(line: dict[str, Any]) -> None:
            if not answered.called:
                answered.callback(line)
            elif on_line is not None:
                on_line(line)

        def over() -> None:
            if not answered.called:
                answered.errback(NotRunningError(f"{GONE}: {self._remedy()}"))

        conversation = _Conversation(take)
        conversation.is_over = over
        await self._reach(conversation)
        try:
            if self._mesh is not None and ("connect" in request or "listen" in request):
                request["mesh"] = self._mesh
            conversation.transport.write(json.dumps(request).encode("utf-8") + b"\n")
            answer = await answered.addTimeout(timeout, self._reactor)
            if "error" in answer:
                kind = _ERRORS.get(answer.get("exit_code"), AtmosphereError)
                raise kind(str(answer["error"]))
        except DeferredTimeoutError:
            conversation.transport.abortConnection()
            raise LinkError("the node on this machine did not answer in time") from None
        except BaseException:
            conversation.transport.abortConnection()
            raise
        return conversation, answer

    @staticmethod
    async def _try(endpoint: UNIXClientEndpoint, conversation: _Conversation) -> bool:
        """
        Connect to a socket.

        @return: C{False} if as many wait there already as the kernel lets. Twisted
            reports that without a number of the system's.
        """
        try:
            await endpoint.connect(_Quiet.forProtocol(lambda: conversation))
        except ConnectError as error:
            if error.osError is not None:
                raise
            return False
        return True

    async def _reach(self, conversation: _Conversation) -> None:
        """
        Connect to the node.

        @raise NotRunningError: there is none.
        @raise LinkError: it is too busy.
        """
        address = SocketAddress(self._state / STREAMS_SOCKET_NAME)
        endpoint = UNIXClientEndpoint(self._reactor, address.text)
        deadline = self._reactor.seconds() + ANSWER_TIMEOUT
        try:
            while not await self._try(endpoint, conversation):
                if self._reactor.seconds() > deadline:
                    raise LinkError("the node on this machine takes no more connections")
                await deferLater(self._reactor, RUSH_PAUSE)
        except ConnectError as error:
            if error.osError in (errno.EACCES, errno.EPERM):
                raise NotRunningError(
                    f"the node in {self._state} belongs to another user"
                ) from None
            raise NotRunningError(f"no running node: {self._remedy()}") from None
        finally:
            address.close()

    def _remedy(self) -> str:
        """
        Say how to get a node.
        """
        is_default = self._state == Path("~/.atmosphere").expanduser()
        program = "atmosphere" if is_default else f"atmosphere --state {self._state}"
        return f"start one with `{program} serve`"

    def stream(
        self, conversation: _Conversation, protocol: IProtocol, peer: LinkAddress, host: LinkAddress
    ) -> FramedStream:
        """
        Make the transport of a stream on a connection.
        """
        return FramedStream(
            self._reactor, conversation.transport, protocol, peer=peer, host=host, gone=GONE
        )

    def open(
        self,
        peer: str,
        service: str,
        factory: IProtocolFactory,
        *,
        path: str = "auto",
        timeout: float = 30.0,
    ) -> Deferred[IProtocol]:
        """
        Open a stream to a service of a member.

        @return: as L{atmosphere.node.streaming.StreamingNode.open}; fails with
            L{NotRunningError} if no node runs.
        """
        request = {
            "connect": peer,
            "service": service,
            "path": path,
            "timeout": timeout,
            "framed": True,
        }
        return Deferred.fromCoroutine(self._open(request, factory))

    async def _open(self, request: dict[str, Any], factory: IProtocolFactory) -> IProtocol:
        """
        Do what L{open} says.
        """
        factory.doStart()
        try:
            timeout = request["timeout"] + ANSWER_TIMEOUT
            conversation, answer = await self.ask(request, timeout)
            service = request["service"]
            host = LinkAddress(NodeID.from_text(answer["host"]), service)
            address = self.address_of(answer, service)
            protocol = factory.buildProtocol(address)
            if protocol is None:
                conversation.transport.abortConnection()
                raise StreamRefusedError("our own factory made no protocol for the stream")
        except BaseException:
            factory.doStop()
            raise
        stream = self.stream(conversation, protocol, address, host)
        stream.on_lost = factory.doStop
        conversation.begin(stream)
        return protocol

    @staticmethod
    def address_of(line: dict[str, Any], service: str) -> LinkAddress:
        """
        Read who is at the other end of a stream.
        """
        return LinkAddress(NodeID.from_text(line["node_id"]), service, line["name"], line["path"])

    def listen(
        self, service: str, factory: IProtocolFactory, *, to: list[str] | None = None
    ) -> Deferred[IListeningPort]:
        """
        Offer a service to members.

        When the node is stopped and comes back, so does the service.

        @param to: the names or node IDs of those that are served; C{None} for all.
        @return: fires once the node offers it; fails with L{ListenError} and
            L{NotRunningError}. Cancelling it gives up.
        """
        port = LocalServicePort(self._reactor, self, service, factory, to)
        return Deferred.fromCoroutine(port.start())


@implementer(IListeningPort)
class LocalServicePort:
    """
    A service that this program offers through the node, until L{stopListening}.
    """

    _log = Logger()

    def __init__(
        self,
        reactor: Any,
        streams: LocalStreams,
        service: str,
        factory: IProtocolFactory,
        to: list[str] | None,
    ) -> None:
        self._reactor = reactor
        self._streams = streams
        self._request = {"listen": service, "to": to}
        self._service = service
        self._factory = factory
        self._host: LinkAddress | None = None
        self._connection: _Conversation | None = None
        self._trying: Deferred[Any] | None = None
        self._retry: IDelayedCall | None = None
        self._pause = FIRST_PAUSE
        self._is_stopped = False

    @override
    def __repr__(self) -> str:
        return f"<the service {self._service} of the node on this machine>"

    async def start(self) -> LocalServicePort:
        """
        Offer the service for the first time.
        """
        await self._offer()
        self._factory.doStart()
        return self

    def startListening(self) -> None:
        """
        Nothing: it was done by L{start}.
        """

    async def _offer(self) -> None:
        """
        Offer the service to the node.
        """
        conversation, answer = await self._streams.ask(
            self._request, ANSWER_TIMEOUT, self._stream_came
        )
        self._host = LinkAddress(NodeID.from_text(answer["node_id"]), self._service, answer["name"])
        self._connection = conversation
        self._pause = FIRST_PAUSE
        conversation.is_over = self._node_gone

    def _node_gone(self) -> None:
        """
        The node is gone: wait for it to come back.
        """
        self._connection = None
        if not self._is_stopped:
            self._log.warn("{gone}: the service {name} waits for it", gone=GONE, name=self._service)
            self._try_later()

    def _try_later(self) -> None:
        """
        Offer the service again after a pause, longer each time.
        """
        self._retry = self._reactor.callLater(self._pause, self._try)
        self._pause = min(LONGEST_PAUSE, 2 * self._pause)

    def _try(self) -> None:
        """
        Offer the service again.
        """
        self._retry = None
        self._trying = Deferred.fromCoroutine(self._offer())
        self._trying.addCallbacks(self._back, self._failed)

    def _back(self, result: object) -> None:
        """
        The node is back.
        """
        self._trying = None
        self._log.info("the service {name} is offered again", name=self._service)

    def _failed(self, failure: Failure) -> None:
        """
        Not yet.
        """
        self._trying = None
        if not self._is_stopped:
            self._log.debug("{reason}", reason=failure.getErrorMessage())
            self._try_later()

    def _stream_came(self, line: dict[str, Any]) -> None:
        """
        A peer has opened a stream: take it, or decline it.
        """
        address = self._streams.address_of(line, self._service)
        try:
            protocol = self._factory.buildProtocol(address)
        except Exception:
            self._log.failure("the factory of {name} failed", name=self._service)
            protocol = None
        taking = Deferred.fromCoroutine(self._take(line["stream"], protocol, address))
        taking.addErrback(self._not_taken)

    def _not_taken(self, failure: Failure) -> None:
        """
        A stream is lost: the peer has left, or the protocol failed.
        """
        if failure.check(AtmosphereError):
            reason = failure.getErrorMessage()
            self._log.warn(
                "a stream for {name} is lost: {reason}", name=self._service, reason=reason
            )
        else:
            self._log.failure("the protocol of {name} failed", failure, name=self._service)

    async def _take(self, token: str, protocol: IProtocol | None, peer: LinkAddress) -> None:
        """
        Take a stream with a connection of its own.
        """
        if protocol is None:
            await self._streams.ask({"refuse": token}, ANSWER_TIMEOUT)
            return
        request = {"accept": token, "framed": True}
        conversation, _ = await self._streams.ask(request, ANSWER_TIMEOUT)
        conversation.begin(self._streams.stream(conversation, protocol, peer, self.getHost()))

    def stopListening(self) -> Deferred[None]:
        """
        Offer the service no more; streams that are open stay.

        @return: fires when the node was told. It cannot be cancelled.
        """
        stopped: Deferred[None] = Deferred()
        was_stopped, self._is_stopped = self._is_stopped, True
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None
        if self._trying is not None:
            self._trying.cancel()
        if self._connection is None:
            stopped.callback(None)
        else:
            self._connection.is_over = lambda: stopped.callback(None)
            self._connection.transport.loseConnection()
            self._connection = None
        if not was_stopped:
            self._factory.doStop()
        return stopped

    def getHost(self) -> LinkAddress:
        """
        Say who serves, and what.
        """
        assert self._host is not None
        return self._host
