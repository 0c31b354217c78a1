# -*- test-case-name: tests.node.test_streaming -*-
"""
Streams for the program around a node: to a service of a peer, and of our own
services to those who may have them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from pathlib import Path
from typing import TypeAlias
from weakref import WeakKeyDictionary

from twisted.internet.defer import Deferred, TimeoutError as DeferredTimeoutError, fail, succeed
from twisted.internet.error import ConnectionClosed
from twisted.internet.interfaces import IListeningPort, IProtocol, IProtocolFactory, IReactorTime
from twisted.internet.protocol import Protocol
from twisted.internet.task import deferLater
from twisted.python.failure import Failure
from typing_extensions import override
from zope.interface import implementer

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
from atmosphere.text import escape_peer_text

from .events import EventListener, Events
from .links import NodeLinks, ServiceFactory
from .mesh import NodeMesh

__all__ = ["Access", "ServicePort", "Streaming", "StreamingNode", "check_service"]

#: Sees who asks for which service; returns C{None} to serve it, or the reason not to.
Access: TypeAlias = Callable[[Membership, str], str | None]

TIMEOUT = 30.0
RETRY_PAUSE = 0.25
RESERVED = "atmosphere."
_SERVICE = re.compile(r"[a-z0-9._-]{1,64}")

#: Streams that one link may open a second, and at once.
OPENS_PER_SECOND = 1_000.0
OPENS_AT_ONCE = 2_000.0


def check_service(service: str) -> str:
    """
    Check the name of a service.

    @raise ConfigurationError: it is none.
    """
    if not _SERVICE.fullmatch(service):
        raise ConfigurationError(
            f"a service's name has 1 to 64 of a-z, 0-9, dot, hyphen and underscore,"
            f" not {escape_peer_text(service)!r}"
        )
    return service


def _everyone(member: Membership, service: str) -> str | None:
    """
    Let every member in: whoever is on a link with us is one.
    """
    return None


def _is_direct(link: Link) -> bool:
    """
    Say whether what goes to a peer goes there without a relay.
    """
    return link.path is not None and link.path.kind != "relayed"


class _Opening(Protocol):
    """
    Stands on a stream until the peer has answered.
    """


@implementer(IListeningPort)
class ServicePort:
    """
    A service that the program offers, until L{stopListening}.
    """

    def __init__(
        self,
        streaming: Streaming,
        service: str,
        factory: IProtocolFactory,
        access: Access,
        host: LinkAddress,
    ) -> None:
        self._streaming = streaming
        self._service = service
        self._factory = factory
        self._access = access
        self._host = host
        self._is_listening = False

    @override
    def __repr__(self) -> str:
        return f"<the service {self._service} of {self._host}>"

    def startListening(self) -> None:
        """
        Serve.

        @raise ListenError: the name is taken.
        """
        self._streaming.serve(self._service, self._accept)
        self._is_listening = True
        self._factory.doStart()

    def stopListening(self) -> Deferred[None]:
        """
        Serve nobody any more; streams that are open stay.
        """
        if self._is_listening:
            self._is_listening = False
            self._streaming.serve_no_more(self._service)
            self._factory.doStop()
        return succeed(None)

    def getHost(self) -> LinkAddress:
        """
        Say who serves, and what.
        """
        return self._host

    def _accept(self, link: Link) -> IProtocol:
        """
        Make the protocol for a stream.

        @raise StreamRefusedError: the peer may not have it.
        """
        assert link.membership is not None
        reason = self._access(link.membership, self._service)
        if isinstance(reason, str):
            raise StreamRefusedError(reason)
        if reason is not None:
            raise TypeError(f"access answered {reason!r}: None serves, a text refuses")
        protocol = self._factory.buildProtocol(link.address_of_peer(self._service))
        if protocol is None:
            raise StreamRefusedError("the service takes nobody at present")
        return protocol


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
        port = ServicePort(self, service, factory, access or _everyone, host)
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
    ) -> Deferred[IProtocol]:
        """
        Do what L{StreamingNode.open} says.
        """
        try:
            check_service(service)
            member, policy = self._find(str(peer)), self._policy(path)
        except AtmosphereError as error:
            return fail(error)
        return Deferred.fromCoroutine(self._open(member, service, factory, policy, timeout))

    async def _open(
        self,
        member: Member,
        service: str,
        factory: IProtocolFactory,
        policy: PathPolicy,
        timeout: float,
    ) -> IProtocol:
        """
        Do what L{open} says.
        """
        deadline = self._clock.now() + timeout
        factory.doStart()
        try:
            return await self._open_started(member, service, factory, policy, deadline)
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
    ) -> IProtocol:
        """
        Open a stream; the factory's protocol gets it once the peer has accepted.
        """
        transport = await self._accepted(member, service, policy, deadline)
        protocol = factory.buildProtocol(transport.getPeer())
        if protocol is None:
            transport.abortConnection()
            raise StreamRefusedError("our own factory made no protocol for the stream")
        transport.protocol = protocol
        try:
            protocol.makeConnection(transport)
        except BaseException:
            transport.abortConnection()
            raise
        transport.on_lost = factory.doStop
        return protocol

    async def _accepted(
        self, member: Member, service: str, policy: PathPolicy, deadline: float
    ) -> StreamTransport:
        """
        Open a stream, on another link if one breaks: nothing was said on it yet. It
        goes with our proof if the link is being made.

        @return: a stream that the peer has accepted.
        """
        reason: str | None = None
        while True:
            link = await self._connect(member, policy, deadline, True, reason)
            transport = link.open_stream(service, _Opening())
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
                if link.is_open:
                    raise LinkError(f"{member.name} gave {service} up: {error}") from None
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
    ) -> Deferred[IProtocol]:
        """
        Open a stream to a service of a member.

        @param factory: makes the protocol once the peer has accepted; its
            C{doStart} and C{doStop} are called as for a TCP connection.
        @return: fires with the protocol; fails as L{connect} does, and with
            L{StreamRefusedError}, which names the peer, the service and the
            reason. Cancelling it aborts the stream.
        """
        return self.streaming.open(peer, service, factory, path, timeout)

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
