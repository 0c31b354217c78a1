# -*- test-case-name: tests.node.test_streams_port -*-
"""
The socket by which other programs on the machine use this node's streams.

C{docs/local_streams.md} describes it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any, Protocol as Seam, cast

from twisted.internet.defer import CancelledError, Deferred, maybeDeferred
from twisted.internet.interfaces import (
    IAddress,
    IDelayedCall,
    IHalfCloseableProtocol,
    IListeningPort,
    IProtocol,
    IProtocolFactory,
    IReactorTime,
    IReactorUNIX,
)
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from typing_extensions import override
from zope.interface import implementer

from atmosphere.errors import AtmosphereError, ConfigurationError, DecodeError
from atmosphere.membership import Membership
from atmosphere.network.quic.streams import LinkAddress
from atmosphere.services.first_words import FirstWords
from atmosphere.services.forward import OneProtocol
from atmosphere.services.framed_stream import FramedStream
from atmosphere.services.pairing import Half, make_pair

from .api import JSON
from .control_arguments import Arguments
from .offers import Offer, describe
from .serving import Access
from .strict_json import decode_json, encode_json
from .unix_service import UNIXService, peer_user

__all__ = ["StreamsFactory", "StreamsNode", "StreamsService"]

MAXIMUM_CONNECTIONS = 4_096
BACKLOG = 1_024
MAXIMUM_REQUEST = 4_096
MAXIMUM_EARLY = 65_536
REQUEST_TIMEOUT = 10.0


class StreamsNode(Seam):
    """
    What the socket asks of the node.
    """

    def is_one_of(self, member: Membership, named: Collection[str]) -> bool:
        """
        Say whether a member was named, by its node ID or a name that is its alone.
        """
        ...

    def is_in_mesh(self, text: str) -> bool:
        """
        Say whether the node is in the mesh of that ID or name.
        """
        ...

    def open(
        self,
        peer: str,
        service: str,
        factory: IProtocolFactory,
        *,
        path: str,
        timeout: float,
        first: bytes | FirstWords,
    ) -> Deferred[IProtocol]:
        """
        Open a stream to a service of a member; it begins with the first words.
        """
        ...

    def listen(
        self, service: str, factory: IProtocolFactory, *, access: Access | None = None
    ) -> IListeningPort:
        """
        Offer a service to members.
        """
        ...


@implementer(IHalfCloseableProtocol)
class LocalConnection(Protocol):
    """
    One connection of a program: a request, an answer, then a stream's bytes.
    """

    transport: Any
    _log = Logger()

    def __init__(self, streams: StreamsFactory) -> None:
        self._streams = streams
        self._buffer = b""
        self._is_counted = False
        self._has_asked = False
        self._is_framed = False
        self._has_said_all = False
        self._deadline: IDelayedCall | None = None
        self._opening: Deferred[Any] | None = None
        self._first: FirstWords | None = None
        self._stream: FramedStream | None = None
        self._port: IListeningPort | None = None
        self._offer: Offer | None = None

    @override
    def connectionMade(self) -> None:
        """
        Let in the owner and root, and not too many at once.
        """
        user = self._streams.peer_user(self.transport)
        if user is not None and user not in (0, self._streams.owner):
            self.transport.abortConnection()
        elif self._streams.connections >= MAXIMUM_CONNECTIONS:
            self._fail(AtmosphereError("too many streams at once on this machine"))
        else:
            self._streams.connections += 1
            self._is_counted = True
            self._deadline = self._streams.clock.callLater(
                REQUEST_TIMEOUT, self._fail, ConfigurationError("no request in time")
            )

    @override
    def dataReceived(self, data: bytes) -> None:
        """
        Collect the request; then keep what comes early, or pass it on.
        """
        if self._stream is not None:
            self._stream.received(data)
            return
        if not self._is_counted or self._port is not None:
            return
        if self._first is not None:
            self._first.add(data)
            if self._first.are_enough:
                self.transport.pauseProducing()
            return
        self._buffer += data
        if self._has_asked:
            if len(self._buffer) > MAXIMUM_EARLY:
                self.transport.pauseProducing()
            return
        line, found, rest = self._buffer.partition(b"\n")
        if len(line) > MAXIMUM_REQUEST:
            self._fail(ConfigurationError("the request is too long"))
        elif found:
            self._buffer = rest
            self._has_asked = True
            self._end_deadline()
            self._ask(line)

    def _end_deadline(self) -> None:
        """
        The request is here, or nobody waits for it.
        """
        if self._deadline is not None and self._deadline.active():
            self._deadline.cancel()
        self._deadline = None

    def _ask(self, line: bytes) -> None:
        """
        Do what is asked for.
        """
        try:
            try:
                value = decode_json(line, maximum_length=MAXIMUM_REQUEST)
            except DecodeError as error:
                raise ConfigurationError(str(error)) from None
            if not isinstance(value, dict):
                raise ConfigurationError("the request must be a JSON object")
            verbs = {
                "connect": self._connect,
                "listen": self._listen,
                "accept": self._accept,
                "refuse": self._refuse,
            }
            verb = next((verbs[each] for each in verbs if each in value), None)
            if verb is None:
                raise ConfigurationError("the request asks for nothing")
            verb(Arguments(value))
        except AtmosphereError as error:
            self._fail(error)

    def _check_mesh(self, arguments: Arguments) -> None:
        """
        See whether the mesh that is meant is ours.
        """
        mesh = arguments.optional_text("mesh", maximum=64)
        if mesh is not None and not self._streams.node.is_in_mesh(mesh):
            raise ConfigurationError(f"the node on this machine is not in the mesh {mesh!a}")

    def _connect(self, arguments: Arguments) -> None:
        """
        Open a stream to a peer's service.
        """
        peer = arguments.text("connect", maximum=256)
        service = arguments.text("service", maximum=64)
        path = arguments.optional_text("path", maximum=16) or "auto"
        timeout = arguments.number("timeout", 30.0, 0.01, 3600)
        self._is_framed = arguments.boolean("framed")
        self._check_mesh(arguments)
        arguments.finish()
        near, far = make_pair()
        if not self._is_framed:
            self._first, self._buffer = FirstWords(self._buffer), b""
        opening = maybeDeferred(
            self._streams.node.open,
            peer,
            service,
            OneProtocol(far),
            path=path,
            timeout=timeout,
            first=self._first or b"",
        )
        self._opening = opening
        opening.addCallbacks(self._opened, self._not_opened, callbackArgs=(near,))
        opening.addErrback(self._broken_inside)

    def _opened(self, far: Any, near: Half) -> None:
        """
        The peer has accepted.
        """
        self._opening = None
        if not self._is_counted:
            far.transport.abortConnection()
            return
        address, host = far.transport.getPeer(), far.transport.getHost()
        self._answer({"ok": True, **describe(address), "host": str(host.node)})
        self._join(near, address, host)

    def _not_opened(self, failure: Failure) -> None:
        """
        Say what failed.
        """
        self._opening = None
        failure.trap(AtmosphereError, CancelledError)
        if isinstance(failure.value, AtmosphereError):
            self._fail(failure.value)

    def _broken_inside(self, failure: Failure) -> None:
        """
        Log a fault of ours.
        """
        self._log.failure("a local stream failed", failure)
        self._fail(AtmosphereError("an error inside the node: its log says more"))

    def _join(self, near: Half, address: IAddress, host: IAddress) -> None:
        """
        From now on the connection is the stream.
        """
        early, self._buffer = self._buffer, b""
        if self._is_framed:
            self._stream = FramedStream(
                self._streams.clock,
                self.transport,
                near,
                peer=address,
                host=host,
                gone="the program on the other end is gone",
            )
            self.transport.resumeProducing()
            self._stream.begin()
            if early:
                self._stream.received(early)
        else:
            self.transport.protocol = _Plain(near, self)
            near.makeConnection(self.transport)
            if early:
                near.dataReceived(early)
            if self._has_said_all:
                near.readConnectionLost()

    def _listen(self, arguments: Arguments) -> None:
        """
        Offer a service for as long as the connection lasts.
        """
        service = arguments.text("listen", maximum=64)
        served = arguments.optional_list("to", most=256, maximum=64)
        self._check_mesh(arguments)
        arguments.finish()

        def access(member: Membership, service: str) -> str | None:
            is_served = served is None or self._streams.node.is_one_of(member, served)
            return None if is_served else f"{member.name} is not among those that are served"

        self._offer = Offer(
            self._streams.clock, self._streams.offers, self._streams.entropy, self._answer
        )
        self._port = self._streams.node.listen(service, self._offer, access=access)
        self.transport.registerProducer(self._offer, True)
        host = cast(LinkAddress, self._port.getHost())
        self._answer({"ok": True, "node_id": str(host.node), "name": host.name})

    def _take(self, arguments: Arguments, key: str) -> tuple[Offer, str]:
        """
        Find the stream that a token is for.
        """
        token = arguments.text(key, maximum=64)
        offer = self._streams.offers.get(token)
        if offer is None:
            raise ConfigurationError("no stream waits for that token: it was taken, or is gone")
        return offer, token

    def _accept(self, arguments: Arguments) -> None:
        """
        Take a peer's stream.
        """
        offer, token = self._take(arguments, "accept")
        self._is_framed = arguments.boolean("framed")
        arguments.finish()
        far, near, address = offer.take(token)
        self._answer({"ok": True})
        self._join(near, address, far.transport.getHost())

    def _refuse(self, arguments: Arguments) -> None:
        """
        Decline a peer's stream.
        """
        offer, token = self._take(arguments, "refuse")
        reason = arguments.optional_text("reason", maximum=200)
        arguments.finish()
        offer.refuse(token, reason or "the service takes nobody at present")
        self._answer({"ok": True})
        self.transport.loseConnection()

    def _answer(self, value: JSON) -> None:
        """
        Write a line.
        """
        self.transport.write(encode_json(value) + b"\n")

    def _fail(self, error: AtmosphereError) -> None:
        """
        Say what is wrong, and end.
        """
        self._end_deadline()
        self._answer({"error": str(error), "exit_code": error.exit_code})
        self.transport.loseConnection()

    def readConnectionLost(self) -> None:
        """
        The program has said all: of a plain stream that is no more than the end
        of one direction, of anything else the end.
        """
        if self._opening is not None and not self._is_framed:
            self._has_said_all = True
        elif self._stream is not None or self._port is not None:
            self.transport.abortConnection()
        else:
            self.transport.loseConnection()

    def writeConnectionLost(self) -> None:
        """
        Nothing: we never end our direction alone.
        """

    def over(self) -> None:
        """
        Make room for another connection.
        """
        self._end_deadline()
        if self._is_counted:
            self._is_counted = False
            self._streams.connections -= 1

    @override
    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """
        End all that hangs on the connection.
        """
        self.over()
        if self._opening is not None:
            self._opening.cancel()
        if self._stream is not None:
            self._stream.broken()
        if self._port is not None:
            self._port.stopListening()
        if self._offer is not None:
            self._offer.close()


@implementer(IHalfCloseableProtocol)
class _Plain(Protocol):
    """
    Stands between a socket and its half of a pair, to count the connection.
    """

    def __init__(self, half: Half, connection: LocalConnection) -> None:
        self.dataReceived = half.dataReceived  # type: ignore[method-assign]  # one call less
        self.readConnectionLost = half.readConnectionLost
        self.writeConnectionLost = half.writeConnectionLost
        self._half = half
        self._connection = connection

    @override
    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """
        Both are over.
        """
        self._connection.over()
        self._half.connectionLost(reason)


class StreamsFactory(Factory[LocalConnection]):
    """
    Makes a protocol for each connection of a program.

    @ivar connections: how many there are.
    @ivar offers: who has the stream of a token.
    """

    noisy = False

    def __init__(
        self,
        clock: IReactorTime,
        node: StreamsNode,
        *,
        entropy: Callable[[int], bytes],
        owner: int,
        peer_user: Callable[[object], int | None] = peer_user,
    ) -> None:
        """
        @param owner: the user, beside root, who may use the node.
        @param peer_user: says who is on the other end of a transport.
        """
        self.clock = clock
        self.node = node
        self.entropy = entropy
        self.owner = owner
        self.peer_user = peer_user
        self.connections = 0
        self.offers: dict[str, Offer] = {}

    @override
    def buildProtocol(self, addr: IAddress | None) -> LocalConnection:
        """
        Make one.
        """
        return LocalConnection(self)


class StreamsService(UNIXService):
    """
    The socket, for as long as the service runs.
    """

    name = "streams"

    def __init__(
        self,
        reactor: IReactorUNIX,
        path: Path,
        node: StreamsNode,
        *,
        entropy: Callable[[int], bytes],
    ) -> None:
        """
        @param reactor: also an C{IReactorTime}.
        @param path: of the socket.
        """
        super().__init__(reactor, path, BACKLOG)
        self._node = node
        self._entropy = entropy

    @override
    def make_factory(self) -> StreamsFactory:
        """
        Make what serves the socket.
        """
        clock = cast(IReactorTime, self.reactor)
        return StreamsFactory(clock, self._node, entropy=self._entropy, owner=os.geteuid())
