# -*- test-case-name: tests.node.test_streaming -*-
"""
Streams for the program around a node: to a service of a peer, and of our own
services to those who may have them.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import Path
from weakref import WeakKeyDictionary

from twisted.internet.defer import Deferred, TimeoutError as DeferredTimeoutError, fail
from twisted.internet.error import ConnectionClosed
from twisted.internet.interfaces import IProtocol, IProtocolFactory, IReactorTime
from twisted.internet.protocol import Protocol
from twisted.internet.task import deferLater
from twisted.python.failure import Failure

from atmosphere.engine_driver import EngineClock
from atmosphere.errors import (
    AtmosphereError,
    ConfigurationError,
    LinkError,
    ListenError,
    StreamRefusedError,
)
from atmosphere.identity import NodeID
from atmosphere.membership import Membership
from atmosphere.mesh.roster import Member
from atmosphere.network.path.reports import PathChanged, PathEvent
from atmosphere.network.path.selection import PathPolicy
from atmosphere.network.quic.connection import Link
from atmosphere.network.quic.streams import LinkAddress, StreamTransport
from atmosphere.rate import TokenBucket
from atmosphere.services.first_words import FirstWords
from atmosphere.text import escape_peer_text

from .events import EventListener, Events
from .links import NodeLinks, ServiceFactory
from .mesh import NodeMesh
from .serving import RESERVED, Access, ServicePort, check_service, everyone

__all__ = ["Streaming", "StreamingNode"]

TIMEOUT = 30.0
RETRY_PAUSE = 0.25

#: Streams that one link may open a second, and at once.
OPENS_PER_SECOND = 1_000.0
OPENS_AT_ONCE = 2_000.0


def _is_direct(link: Link) -> bool:
    """
    Say whether what goes to a peer goes there without a relay.
    """
    return link.path is not None and link.path.kind != "relayed"


def _check_unread(link: Link, name: str, service: str, error: Exception, first: FirstWords) -> None:
    """
    See that a stream which ended before it was accepted may be opened once more: nobody can
    have read what was said on it. A listener that refuses a dialler forgets its streams.

    @raise LinkError: it may not.
    """
    if link.is_open:
        raise LinkError(f"{name} gave {service} up: {error}") from None
    if first.were_said and link.core.refusal is None:
        text = f"{link.ending or 'it gave no welcome'}; it may have read what was sent"
        raise LinkError(f"{name} is not reached: {text}") from None
    first.take_back()


class _Opening(Protocol):
    """
    Stands on a stream until the peer has answered.
    """


class Streaming:
    """
    Opens streams to peers and serves theirs.
    """

    def __init__(
        self,
        reactor: IReactorTime,
        links: NodeLinks,
        find: Callable[[str], Member],
    ) -> None:
        """
        @param find: finds the member that a text means, and raises L{AtmosphereError}.
        """
        self.events = Events(links)
        self._reactor = reactor
        self._links = links
        self._find = find
        self._clock = EngineClock(reactor)
        self._opens: WeakKeyDictionary[Link, TokenBucket] = WeakKeyDictionary()

    # Serving.

    def listen(
        self, service: str, factory: IProtocolFactory, access: Access | None = None
    ) -> ServicePort:
        """
        Do what L{StreamingNode.listen} says.
        """
        check_service(service)
        if service.startswith(RESERVED):
            raise ConfigurationError(f"names that begin with {RESERVED} are reserved")
        host = LinkAddress(self._links.endpoint.own_id, service)
        port = ServicePort(self, service, factory, access or everyone, host)
        port.startListening()
        return port

    def serve(self, service: str, accept: ServiceFactory) -> None:
        """
        Serve streams for a name.

        @raise ListenError: it is taken.
        """
        if service in self._links.services:
            raise ListenError(f"the service {service} is offered already")

        def limited(link: Link) -> IProtocol | Deferred[IProtocol]:
            opens = self._opens.get(link)
            if opens is None:
                opens = self._opens[link] = TokenBucket(OPENS_PER_SECOND, OPENS_AT_ONCE)
            if not opens.take(1, self._clock.now()):
                raise StreamRefusedError("too many streams at once")
            return accept(link)

        self._links.services[service] = limited

    def serve_no_more(self, service: str) -> None:
        """
        Forget a name.
        """
        self._links.services.pop(service, None)

    # Opening.

    def connect(self, peer: str | NodeID, path: str, timeout: float) -> Deferred[Link]:
        """
        Do what L{StreamingNode.connect} says.
        """
        try:
            member, policy = self._find(str(peer)), self._policy(path)
        except AtmosphereError as error:
            return fail(error)
        deadline = self._clock.now() + timeout
        return Deferred.fromCoroutine(self._connect(member, policy, deadline))

    def connecting(self, peer: NodeID, path: str) -> Callable[[float], Deferred[Link]] | None:
        """
        Make what finds a link by paths of one kind.

        @return: takes the seconds that it may last; C{None} if any path will do.
        @raise ConfigurationError: there is no such kind.
        """
        if self._policy(path) is PathPolicy.AUTO:
            return None
        return lambda seconds: self.connect(peer, path, seconds)

    def _policy(self, path: str) -> PathPolicy:
        """
        Read the name of a path.
        """
        try:
            return PathPolicy(path)
        except ValueError:
            raise ConfigurationError("a path is relayed, direct or auto") from None

    async def _connect(
        self,
        member: Member,
        policy: PathPolicy,
        deadline: float,
        is_early: bool = False,
        reason: str | None = None,
    ) -> Link:
        """
        Find a link, for as long as the time allows.

        @param is_early: take one too that awaits its welcome, to open a stream at once.
        @param reason: why there was none so far.
        @raise LinkError: there is none in time.
        """
        if reason is None:
            is_direct = policy is PathPolicy.DIRECT
            reason = "by a relay at most" if is_direct else "no answer in time"
        while (left := deadline - self._clock.now()) > 0:
            try:
                return await self._link(member, policy, left, is_early)
            except DeferredTimeoutError:
                break
            except LinkError as error:
                reason = str(error)
                await deferLater(self._reactor, min(left, RETRY_PAUSE))
        raise LinkError(f"{member.name} is not reached: {escape_peer_text(reason, 200)}")

    async def _link(self, member: Member, policy: PathPolicy, left: float, is_early: bool) -> Link:
        """
        Find a link, or make it, by paths of one kind if that is wanted.
        """
        if policy is PathPolicy.AUTO:
            connecting = self._links.connect(member.node, is_early=is_early)
            return await connecting.addTimeout(left, self._reactor)
        deadline = self._clock.now() + left
        is_early = is_early and policy is not PathPolicy.DIRECT  # that may begin relayed
        connecting = self._links.connect_apart(member.node, policy, is_early=is_early)
        link = await connecting.addTimeout(left, self._reactor)
        while policy is PathPolicy.DIRECT and not _is_direct(link):
            left = max(0.0, deadline - self._clock.now())
            await self._path_change(link).addTimeout(left, self._reactor)
        return link

    def _path_change(self, link: Link) -> Deferred[None]:
        """
        Wait until a link takes another path.

        @return: cancelling it ends the waiting.
        """

        def look(other: Link, event: PathEvent) -> None:
            if other is link and isinstance(event, PathChanged) and not changed.called:
                changed.callback(None)

        def end(result: Failure | None) -> Failure | None:
            self._links.on_path.remove(look)
            return result

        changed: Deferred[None] = Deferred()
        self._links.on_path.append(look)
        return changed.addBoth(end)

    def open(
        self,
        peer: str | NodeID,
        service: str,
        factory: IProtocolFactory,
        path: str,
        timeout: float,
        first: FirstWords | None = None,
    ) -> Deferred[IProtocol]:
        """
        Do what L{StreamingNode.open} says.

        @param first: what the client says before the peer has accepted.
        """
        try:
            check_service(service)
            member, policy = self._find(str(peer)), self._policy(path)
        except AtmosphereError as error:
            return fail(error)
        words = FirstWords() if first is None else first
        return Deferred.fromCoroutine(self._open(member, service, factory, policy, timeout, words))

    async def _open(
        self,
        member: Member,
        service: str,
        factory: IProtocolFactory,
        policy: PathPolicy,
        timeout: float,
        first: FirstWords,
    ) -> IProtocol:
        """
        Do what L{open} says.
        """
        deadline = self._clock.now() + timeout
        factory.doStart()
        try:
            return await self._open_started(member, service, factory, policy, deadline, first)
        except BaseException:
            factory.doStop()
            raise

    async def _open_started(
        self,
        member: Member,
        service: str,
        factory: IProtocolFactory,
        policy: PathPolicy,
        deadline: float,
        first: FirstWords,
    ) -> IProtocol:
        """
        Open a stream; the factory's protocol gets it once the peer has accepted.
        """
        transport = await self._accepted(member, service, policy, deadline, first)
        protocol = factory.buildProtocol(transport.getPeer())
        if protocol is None:
            transport.abortConnection()
            raise StreamRefusedError("our own factory made no protocol for the stream")
        transport.protocol = protocol
        first.finish(transport)
        try:
            protocol.makeConnection(transport)
        except BaseException:
            transport.abortConnection()
            raise
        transport.on_lost = factory.doStop
        return protocol

    async def _accepted(
        self,
        member: Member,
        service: str,
        policy: PathPolicy,
        deadline: float,
        first: FirstWords,
    ) -> StreamTransport:
        """
        Open a stream, on another link if one breaks and nobody can have read anything of
        it. It goes with our proof if the link is being made, and so do the first words.

        @return: a stream that the peer has accepted.
        """
        reason: str | None = None
        while True:
            link = await self._connect(member, policy, deadline, True, reason)
            transport = link.open_stream(service, _Opening())
            if link.is_early:
                first.say(transport)
            try:
                left = max(0.0, deadline - self._clock.now())
                await transport.when_accepted().addTimeout(left, self._reactor)
            except StreamRefusedError as error:
                reason = escape_peer_text(str(error), 200)
                raise StreamRefusedError(f"{member.name} refused {service}: {reason}") from None
            except DeferredTimeoutError:
                transport.abortConnection()
                if not link.is_connected:
                    raise LinkError(f"{member.name} is not reached: it gave no welcome") from None
                raise LinkError(f"{member.name} did not answer for {service} in time") from None
            except ConnectionClosed as error:
                _check_unread(link, member.name, service, error, first)
                if not link.is_connected:
                    reason = link.ending
                    left = max(0.0, deadline - self._clock.now())
                    await deferLater(self._reactor, min(left, RETRY_PAUSE))
            except BaseException:
                transport.abortConnection()
                raise
            else:
                return transport


class StreamingNode:
    """
    The part of a node's face that programs use which embed it.

    @ivar state: the node's state directory.
    @ivar streaming: does the work.
    @ivar mesh: who belongs to its mesh.
    """

    state: Path
    streaming: Streaming
    mesh: NodeMesh

    def is_in_mesh(self, text: str) -> bool:
        """
        Say whether the node is in the mesh of that ID or name.
        """
        stored = self.mesh.stored
        return stored is not None and text in (stored.mesh_id, stored.name)

    def is_one_of(self, member: Membership, named: Collection[str]) -> bool:
        """
        Say whether a member was named, by its node ID or by a name that in this
        mesh is nobody else's.
        """
        return self.mesh.is_one_of(member, named)

    def connect(
        self, peer: str | NodeID, *, path: str = "auto", timeout: float = TIMEOUT
    ) -> Deferred[Link]:
        """
        Find the link to a member, or make it.

        @param peer: a name, a node ID, or the beginning of one.
        @param path: C{auto}, or C{relayed} or C{direct} for a link that uses no
            other path.
        @param timeout: in seconds, for as many attempts as fit in.
        @return: fires with the link; fails with L{ConfigurationError} (nobody
            is called so) or L{LinkError} (not reached). Cancelling it gives up.
        """
        return self.streaming.connect(peer, path, timeout)

    def open(
        self,
        peer: str | NodeID,
        service: str,
        factory: IProtocolFactory,
        *,
        path: str = "auto",
        timeout: float = TIMEOUT,
        first: bytes | FirstWords = b"",
    ) -> Deferred[IProtocol]:
        """
        Open a stream to a service of a member.

        @param factory: makes the protocol once the peer has accepted; its
            C{doStart} and C{doStop} are called as for a TCP connection.
        @param first: bytes that the stream begins with, before all that the protocol
            writes. Where the link is still to be made they go with the opening, so that
            a client which speaks first has its answer a round trip sooner; should that
            link then break without a word, the opening fails and is not tried again,
            since the peer may have read them.
        @return: fires with the protocol; fails as L{connect} does, and with
            L{StreamRefusedError}, which names the peer, the service and the
            reason. Cancelling it aborts the stream.
        """
        words = FirstWords(first) if isinstance(first, bytes) else first
        return self.streaming.open(peer, service, factory, path, timeout, words)

    def listen(
        self, service: str, factory: IProtocolFactory, *, access: Access | None = None
    ) -> ServicePort:
        """
        Offer a service to members.

        @param service: 1 to 64 of a-z, 0-9, dot, hyphen and underscore.
        @param access: decides for each stream; by default every member is served.
        @raise ConfigurationError: no such name can be.
        @raise ListenError: it is taken.
        """
        return self.streaming.listen(service, factory, access)

    def subscribe(self, listener: EventListener) -> Callable[[], None]:
        """
        Have a listener told of L{atmosphere.node.events.NodeEvent}s.

        @return: ends that.
        """
        return self.streaming.events.subscribe(listener)
