# -*- test-case-name: tests.node.test_forwarding -*-
"""
What this node lets members reach through it, and what it reaches for programs
on its machine.

Nobody reaches anything unless it was exposed to them by name; that is decided
here, on the serving node, for each stream.
"""

from __future__ import annotations

import resource
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred, DeferredList, maybeDeferred, succeed
from twisted.internet.interfaces import IListeningPort, IProtocol, IProtocolFactory
from twisted.logger import Logger
from typing_extensions import override

from atmosphere.engine_driver import EngineClock
from atmosphere.errors import (
    AtmosphereError,
    ConfigurationError,
    JoinError,
    NotRunningError,
    StreamRefusedError,
)
from atmosphere.membership import Membership
from atmosphere.mesh.roster import Member
from atmosphere.network.quic.connection import Link
from atmosphere.rate import TokenBucket
from atmosphere.services.first_words import FirstWords
from atmosphere.services.forward import MOST_IN_ALL, Exposed, ForwardFactory, Room, target_endpoint

from .api import JSON, Emit
from .listening import canonical_listen, listen_on
from .mesh import NodeMesh
from .serving import RESERVED, check_service
from .store import NodeStore
from .streaming import TIMEOUT, Streaming

__all__ = ["Forwarding", "ForwardingNode"]

FACT = "services"

#: Descriptors that are left to all else.
SPARE_DESCRIPTORS = 200
MOST_EXPOSED = 64
MOST_FORWARDS = 64


def make_room() -> Room:
    """
    Make room for as many connections as this process may have descriptors.
    """
    most, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if most == resource.RLIM_INFINITY:
        return Room(MOST_IN_ALL)
    return Room(max(1, min(MOST_IN_ALL, most - SPARE_DESCRIPTORS)))


class _Exposure:
    """
    A server that members may reach.

    @ivar problem: why it is not served; C{None} when it is.
    """

    def __init__(
        self, service: str, target: str, to: Iterable[str], mesh_id: str, *, keep: bool
    ) -> None:
        self.service = service
        self.target = target
        self.to = tuple(to)
        self.mesh_id = mesh_id
        self.keep = keep
        self.exposed: Exposed | None = None
        self.problem: str | None = None

    def to_store(self) -> JSON:
        """
        Write it down.
        """
        return {"target": self.target, "to": list(self.to), "mesh_id": self.mesh_id}

    def describe(self) -> JSON:
        """
        Say what it is, and how it fares.
        """
        return {
            "service": self.service,
            "target": self.target,
            "to": list(self.to),
            "keep": self.keep,
            "open": 0 if self.exposed is None else self.exposed.open,
            "problem": self.problem,
        }


class _Forward:
    """
    A place on this machine that leads to a service of a peer.

    @ivar problem: why the last client was not served, or why nobody listens.
    """

    def __init__(self, listen: str, peer: str, service: str, *, keep: bool) -> None:
        self.listen = listen
        self.peer = peer
        self.service = service
        self.keep = keep
        self.factory: ForwardFactory | None = None
        self.port: IListeningPort | None = None
        self.lasting: Deferred[JSON] | None = None
        self.problem: str | None = None

    def to_store(self) -> JSON:
        """
        Write it down.
        """
        return {"peer": self.peer, "service": self.service}

    def describe(self) -> JSON:
        """
        Say what it is, and how it fares.
        """
        return {
            "listen": self.listen,
            "peer": self.peer,
            "service": self.service,
            "keep": self.keep,
            "open": 0 if self.factory is None else self.factory.open,
            "problem": self.problem,
        }


class Forwarding(Service):
    """
    All that is exposed and forwarded, for as long as the node runs.
    """

    name = "forwarding"
    _log = Logger()

    def __init__(
        self,
        reactor: Any,
        store: NodeStore,
        mesh: NodeMesh,
        streaming: Streaming,
        find: Callable[[str], Member],
    ) -> None:
        """
        @param reactor: has what the targets' endpoints need.
        @param find: finds the member that a text means, and raises L{AtmosphereError}.
        """
        self._reactor = reactor
        self._store = store
        self._mesh = mesh
        self._streaming = streaming
        self._find = find
        self._room = make_room()
        self._exposures: dict[str, _Exposure] = {}
        self._forwards: dict[str, _Forward] = {}

    # Life.

    @override
    def startService(self) -> None:
        """
        Begin what was kept. What cannot be begun is said, and stops nothing else.
        """
        super().startService()
        kept = self._store.fact(FACT)
        if not isinstance(kept, dict):
            return
        for service, each in kept.get("exposed", {}).items():
            exposure = _Exposure(service, each["target"], each["to"], each["mesh_id"], keep=True)
            self._exposures[service] = exposure
            self._try(exposure, partial(self._serve, exposure))
        for listen, each in kept.get("forwards", {}).items():
            forward = _Forward(listen, each["peer"], each["service"], keep=True)
            self._forwards[listen] = forward
            self._try(forward, partial(self._listen, forward))

    def _try(self, what: _Exposure | _Forward, begin: Any) -> None:
        """
        Begin something that was kept.
        """
        try:
            begin()
        except AtmosphereError as error:
            what.problem = str(error)
            self._log.warn("{error}", error=error)

    @override
    def stopService(self) -> Deferred[Any]:
        """
        Listen no more.
        """
        super().stopService()
        for exposure in self._exposures.values():
            self._unserve(exposure)
        ending, self._forwards = list(self._forwards.values()), {}
        self._exposures.clear()
        stopping = [self._unlisten(forward) for forward in ending]
        for forward in ending:
            if forward.lasting is not None:
                forward.lasting.errback(NotRunningError("the node stops"))
        return DeferredList(stopping)

    def _save(self) -> None:
        """
        Keep what is to be kept.
        """
        exposed = {each.service: each.to_store() for each in self._exposures.values() if each.keep}
        forwards = {each.listen: each.to_store() for each in self._forwards.values() if each.keep}
        fact = {"exposed": exposed, "forwards": forwards} if exposed or forwards else None
        if fact != self._store.fact(FACT):
            self._store.save_fact(FACT, fact)

    # Exposing.

    def expose(self, service: str, target: str, to: list[str], *, keep: bool) -> JSON:
        """
        Do what L{ForwardingNode.expose} says.
        """
        check_service(service)
        if service.startswith(RESERVED):
            raise ConfigurationError(f"names that begin with {RESERVED} are reserved")
        stored = self._mesh.stored
        if stored is None:
            raise JoinError("this node is in no mesh: there is nobody to expose anything to")
        if not to:
            raise ConfigurationError("say who may reach it")
        old = self._exposures.get(service)
        if old is None and len(self._exposures) >= MOST_EXPOSED:
            raise ConfigurationError(f"no more than {MOST_EXPOSED} services can be exposed")
        new = _Exposure(service, target, dict.fromkeys(to), stored.mesh_id, keep=keep)
        target_endpoint(self._reactor, target)
        if old is not None:
            self._unserve(old)
        self._serve(new)
        self._exposures[service] = new
        self._save()
        names = {member.name for member in self._mesh.others()}
        nodes = {str(member.node) for member in self._mesh.others()}
        return {**new.describe(), "unknown": [each for each in new.to if each not in names | nodes]}

    def _serve(self, exposure: _Exposure) -> None:
        """
        Serve streams for it.
        """
        target = target_endpoint(self._reactor, exposure.target)
        exposure.exposed = Exposed(self._reactor, exposure.service, target, self._room)
        self._streaming.serve(exposure.service, partial(self._accept, exposure, exposure.exposed))

    def _unserve(self, exposure: _Exposure) -> None:
        """
        Serve no new ones.
        """
        if exposure.exposed is not None:
            exposure.exposed = None
            self._streaming.serve_no_more(exposure.service)

    def _accept(self, exposure: _Exposure, exposed: Exposed, link: Link) -> Deferred[IProtocol]:
        """
        Serve a stream, if the member may.

        @raise StreamRefusedError: it may not.
        """
        member = link.membership
        assert member is not None
        if not self._may(exposure, member):
            raise StreamRefusedError(f"it is not open to {member.name}")
        return exposed.accept(member.node)

    def _may(self, exposure: _Exposure, member: Membership) -> bool:
        """
        Say whether a member may reach something: it is of the mesh that it was
        exposed in, and was named.
        """
        return member.mesh_id == exposure.mesh_id and self._mesh.is_one_of(member, exposure.to)

    def unexpose(self, service: str) -> JSON:
        """
        Do what L{ForwardingNode.unexpose} says.
        """
        exposure = self._exposures.pop(service, None)
        if exposure is None:
            raise ConfigurationError(f"no service {service!a} is exposed")
        self._unserve(exposure)
        self._save()
        return {"service": service}

    # Forwarding.

    def forward(
        self, listen: str, peer: str, service: str, *, keep: bool, emit: Emit
    ) -> Deferred[JSON]:
        """
        Do what L{ForwardingNode.forward} says.
        """
        check_service(service)
        member = self._find(peer)
        place = canonical_listen(listen)
        if place in self._forwards:
            raise ConfigurationError(f"{place} is forwarded already: remove that first")
        if len(self._forwards) >= MOST_FORWARDS:
            raise ConfigurationError(f"no more than {MOST_FORWARDS} forwards can be open")
        forward = _Forward(
            place, member.name if peer == member.name else str(member.node), service, keep=keep
        )
        self._listen(forward, None if keep else emit)
        self._forwards[forward.listen] = forward
        if keep:
            self._save()
            return succeed(forward.describe())
        emit(forward.describe())
        forward.lasting = Deferred(lambda _: self._end(forward))
        return forward.lasting

    def _listen(self, forward: _Forward, emit: Emit | None = None) -> None:
        """
        Listen for clients.
        """

        def open_stream(factory: IProtocolFactory, first: FirstWords) -> Deferred[IProtocol]:
            return self._streaming.open(
                forward.peer, forward.service, factory, "auto", TIMEOUT, first
            )

        told = TokenBucket(1, 10)
        clock = EngineClock(self._reactor)

        def tell(problem: str | None) -> None:
            is_news = problem != forward.problem
            forward.problem = problem
            if problem is not None and is_news:
                self._log.info("{listen}: {problem}", listen=forward.listen, problem=problem)
                if emit is not None and told.take(1, clock.now()):
                    emit({"problem": problem})

        forward.factory = ForwardFactory(open_stream, tell, self._room)
        forward.port, forward.listen = listen_on(self._reactor, forward.listen, forward.factory)

    def _unlisten(self, forward: _Forward) -> Deferred[Any]:
        """
        Take no new clients.
        """
        port, forward.port = forward.port, None
        return succeed(None) if port is None else maybeDeferred(port.stopListening)

    def _end(self, forward: _Forward) -> None:
        """
        End a forward, if it has not ended.
        """
        if self._forwards.get(forward.listen) is forward:
            del self._forwards[forward.listen]
        self._unlisten(forward).addErrback(
            lambda failure: self._log.failure("{listen}", failure, listen=forward.listen)
        )

    def unforward(self, listen: str) -> JSON:
        """
        Do what L{ForwardingNode.unforward} says.
        """
        place = canonical_listen(listen)
        forward = self._forwards.get(place)
        if forward is None or not forward.keep:
            raise ConfigurationError(f"no forward is kept for {place}")
        self._end(forward)
        self._save()
        return {"listen": place}

    # Both.

    def service_list(self) -> JSON:
        """
        Do what L{ForwardingNode.service_list} says.
        """
        return {
            "exposed": [each.describe() for each in self._exposures.values()],
            "forwards": [each.describe() for each in self._forwards.values()],
        }


class ForwardingNode:
    """
    The part of a node's local API about forwarding: see L{atmosphere.node.api.NodeAPI}.

    @ivar forwarding: does the work.
    """

    forwarding: Forwarding

    def expose(self, *, service: str, target: str, to: list[str], keep: bool) -> JSON:
        """
        Let members reach a server.
        """
        return self.forwarding.expose(service, target, to, keep=keep)

    def unexpose(self, service: str) -> JSON:
        """
        Let nobody reach a server any more.
        """
        return self.forwarding.unexpose(service)

    def forward(
        self, *, listen: str, peer: str, service: str, keep: bool, emit: Emit
    ) -> Deferred[JSON]:
        """
        Lead clients of this machine to a peer's service.
        """
        return self.forwarding.forward(listen, peer, service, keep=keep, emit=emit)

    def unforward(self, listen: str) -> JSON:
        """
        Lead nobody there any more.
        """
        return self.forwarding.unforward(listen)

    def service_list(self) -> JSON:
        """
        List what is exposed and forwarded.
        """
        return self.forwarding.service_list()
