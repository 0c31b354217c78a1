# -*- test-case-name: tests.node.test_service -*-
"""
A node: all its parts, composed in one service.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from twisted.application.service import MultiService
from twisted.internet.defer import Deferred
from twisted.logger import Logger
from typing_extensions import override

from atmosphere import __version__
from atmosphere.engine_driver import EngineClock
from atmosphere.errors import StateError
from atmosphere.mesh.join_code import JoinCode
from atmosphere.mesh.roster import Change, Joined, Left, Member
from atmosphere.network.nat.candidates import Interface
from atmosphere.network.nat.interfaces import list_interfaces
from atmosphere.network.path.reports import PathEvent, PathSilent
from atmosphere.network.path.selection import PathPolicy
from atmosphere.network.quic.connection import Link
from atmosphere.network.relay.client import RelayClient
from atmosphere.network.relay.frames import HelloCredentials
from atmosphere.network.stun.discovery import Server
from atmosphere.services.local_socket import SOCKET_NAME, STREAMS_SOCKET_NAME
from atmosphere.services.ping import PING_SERVICE, PingServer
from atmosphere.services.running import node_began, node_ended

from .admitting import AdmittingNode
from .api import JSON, Emit
from .approving import Approvals
from .config import NodeConfig, parse_host_port
from .control import ControlService
from .explaining import explain
from .forwarding import Forwarding, ForwardingNode
from .gossiping import Gossiping
from .interface_watch import Watch, watch_interfaces
from .invitations import Invitations
from .joining import SERVICE as JOIN_SERVICE, Admission, serve_guest
from .keeper import LinkKeeper
from .knocking import Answers
from .links import NodeLinks
from .mappings import MappingKeeper
from .mesh import NodeMesh
from .pinging import PingRun
from .ports import NodePorts
from .relays import RelaySet
from .renewing import Renewals
from .requests import Requests
from .standing import Standing
from .store import NodeStore
from .streaming import Streaming, StreamingNode
from .streams_port import StreamsService
from .surroundings import Surroundings
from .wakefulness import Wakefulness

__all__ = ["NodeService"]


class NodeService(AdmittingNode, StreamingNode, ForwardingNode, MultiService):
    """
    A member of a mesh, or a node that is about to be one.

    It implements L{atmosphere.node.api.NodeAPI}.

    @ivar links: its links, and what it serves on them.
    @ivar mesh: who belongs to its mesh.
    @ivar surroundings: where it is.
    @ivar standing: how it and its peers fare.
    """

    name = "node"
    _log = Logger()

    def __init__(
        self,
        reactor: Any,
        store: NodeStore,
        config: NodeConfig,
        *,
        entropy: Callable[[int], bytes],
        wall: Callable[[], float],
        random: Callable[[], float],
        interfaces: Callable[[], list[Interface]] = list_interfaces,
        watch: Watch | None = watch_interfaces,
        has_control: bool = True,
    ) -> None:
        """
        @param reactor: has UDP, TCP, UNIX sockets, time and name resolution.
        @param store: open for writing; whoever opened it closes it.
        @param interfaces: lists the machine's interfaces.
        @param watch: tells when they may have changed, see L{Surroundings}.
        @param has_control: whether the local API is served.
        """
        super().__init__()
        self._reactor = reactor
        self._store = store
        self.state = store.path
        self._config = config
        self._entropy = entropy
        self._wall = wall
        self._clock = EngineClock(reactor)
        self._ticket: JoinCode | None = None
        self._started: list[Deferred[None]] = []
        self._wakefulness = Wakefulness(reactor, self._woke)
        instance = entropy(16)
        self.mesh = NodeMesh(store, wall=wall, entropy=entropy)
        self._invitations = Invitations(store.database, wall)
        ports = NodePorts(reactor, self._deliver, entropy=entropy)
        self.surroundings = Surroundings(
            reactor,
            config,
            ports,
            list_interfaces=interfaces,
            changed=self._addresses_changed,
            watch=watch,
        )
        self.relays = RelaySet(
            reactor,
            store.key,
            instance,
            entropy=entropy,
            wall=wall,
            random=random,
            hello=self._hello,
            deliver=self._deliver,
            on_change=self._relay_changed,
            on_absent=lambda url, node: self.links.relay_has_not(url, node),
            ca_file=config.relay_ca,
        )
        self.relays.setServiceParent(self)
        self.surroundings.relays = self.relays
        self._note_mesh_relays()
        self.links = NodeLinks(
            reactor,
            store.key,
            instance,
            self.mesh,
            self.surroundings,
            entropy=entropy,
            policy=PathPolicy(config.path_policy),
        )
        self._keeper = LinkKeeper(reactor, self.links, self.mesh, random=random)
        self.standing = Standing(
            config,
            self.mesh,
            self.links,
            self.surroundings,
            wall=wall,
            store=store,
            is_looking_for=self._keeper.is_looking_for,
        )
        self.streaming = Streaming(reactor, self.links, self.find)
        self.forwarding = Forwarding(reactor, store, self.mesh, self.streaming, self.find)
        self.forwarding.setServiceParent(self)
        self._gossip = Gossiping(reactor, self.mesh, self.links, now=self._clock.now, wall=wall)
        self._renewals = Renewals(reactor, store, self.mesh, self.links, wall=wall, entropy=entropy)
        self._admission = Admission(
            reactor, self.mesh, self._invitations, now=self._clock.now, wall=wall
        )
        self._approvals = Approvals(
            self.mesh,
            Requests(store.database, wall),
            self.surroundings,
            self._admission.admit,
            now=self._clock.now,
            wall=wall,
        )
        self._answers = Answers(
            reactor,
            self.mesh,
            self._invitations,
            self.links,
            self.surroundings,
            clock=self._clock,
            wall=wall,
            entropy=entropy,
        )
        self._mappings = MappingKeeper(reactor, self.surroundings, self._needs_mappings)
        self.mesh.listeners.append(self._mesh_changed)
        self.links.on_connected.append(self._connected)
        self.links.on_closed.append(self._closed)
        self.links.on_path.append(self._path_changed)
        self.links.services[PING_SERVICE] = lambda link: PingServer()
        self.links.guest_services[JOIN_SERVICE] = partial(
            serve_guest, self._admission, self._approvals
        )
        for url in self.surroundings.trusted_relays:
            self.relays.use(url)
        if has_control:
            ControlService(reactor, store.path / SOCKET_NAME, self).setServiceParent(self)
            streams = StreamsService(
                reactor, store.path / STREAMS_SOCKET_NAME, self, entropy=entropy
            )
            streams.setServiceParent(self)

    # Life.

    @override
    def privilegedStartService(self) -> None:
        """
        Open the UDP ports.

        @raise ListenError: the port is taken.
        """
        wanted = self._config.udp_port
        kept = self._store.udp_port
        ports = self.surroundings.ports
        taken = ports.listen(
            self._config.interfaces,
            wanted if wanted is not None else kept,
            first_time=wanted is None and kept is None,
        )
        if wanted is None and kept is None:
            try:
                self._store.save_udp_port(taken)
            except StateError as error:
                self._log.error("the next start may take another port: {error}", error=error)
        super().privilegedStartService()
        node_began(self)

    @override
    def startService(self) -> None:
        """
        Begin.
        """
        super().startService()
        node_began(self)
        self.links.endpoint.warm_up()
        self.surroundings.start()
        self._wakefulness.start()
        self._keeper.start()
        self._renewals.start()
        self._mappings.start()
        waiting, self._started = self._started, []
        for each in waiting:
            each.callback(None)

    @override
    def stopService(self) -> Deferred[Any]:
        """
        Say good-bye to all peers, and end.
        """
        node_ended(self)
        self._keeper.stop()
        self._renewals.stop()
        self._mappings.stop()
        self.surroundings.stop()
        self._wakefulness.stop()
        self.links.endpoint.stop("the node stops")
        stopped = Deferred.fromCoroutine(self._stop(super().stopService()))
        return stopped

    async def _stop(self, services: Any) -> None:
        """
        Wait for the services, then close the ports.
        """
        if services is not None:
            await services
        await self.links.guesses.stop()
        await self.surroundings.ports.stop()

    def when_started(self) -> Deferred[None]:
        """
        Wait until the node runs.

        @return: cancelling it stops the waiting and nothing else.
        """
        waiting: Deferred[None] = Deferred()
        if self.running:
            waiting.callback(None)
        else:
            self._started.append(waiting)
        return waiting

    # What happens.

    def _deliver(self, way: Any, datagrams: Any) -> None:
        """
        Hand datagrams to the links, unless they came while we slept.
        """
        if not self._wakefulness.is_stale():
            self.links.endpoint.datagrams_received(way, datagrams)

    def _woke(self) -> None:
        """
        We slept, and may be elsewhere now.
        """
        self._log.info("the process slept")
        self.surroundings.look()
        self.surroundings.ask()
        self.relays.hurry()

    def _hello(self) -> HelloCredentials:
        """
        Say what we show to relays: our membership, or a code's ticket.
        """
        stored = self.mesh.stored
        if stored is not None:
            return HelloCredentials(stored.mesh_id, stored.chain)
        if self._ticket is not None:
            return HelloCredentials(self._ticket.mesh_id, ticket=self._ticket.ticket())
        return HelloCredentials()

    def _relay_changed(self, client: RelayClient) -> None:
        """
        A relay came or went.
        """
        self.links.relay_changed(client)
        if client.is_welcomed:
            self.surroundings.ask()
            self._keeper.hurry()
        self._publish()

    def _addresses_changed(self) -> None:
        """
        Our addresses are others than before.
        """
        self.links.addresses_changed()
        self._publish()

    @override
    def _publish(self) -> None:
        """
        Sign what members should know of us, if it is new.
        """
        if not self.running or self.mesh.roster is None:
            return
        self.mesh.publish(
            [each.address for each in self.surroundings.candidates()],
            self.surroundings.trusted_relays[:8],
            (),
            __version__,
        )

    @override
    def _note_mesh_relays(self) -> None:
        """
        Trust the relays that came with the join code.
        """
        stored = self.mesh.stored
        self.surroundings.mesh_relays = () if stored is None else stored.relays

    def _mesh_changed(self, change: Change) -> None:
        """
        Cut those that left; look for those that came.
        """
        match change:
            case Left():
                self.links.recheck()
            case Joined():
                self._keeper.hurry()
            case _:
                pass

    def _connected(self, link: Link) -> None:
        """
        Note when a member was last heard, and say anew where we are.
        """
        if link.membership is not None:
            self.standing.heard(link.peer)
            self._admission.arrived(link.peer)
            self._approvals.arrived(link.peer)
            self._publish()

    def _closed(self, link: Link, reason: str) -> None:
        """
        Note when a member was last heard.
        """
        if link.membership is not None and not link.is_silent:
            self.standing.heard(link.peer)

    def _path_changed(self, link: Link, event: PathEvent) -> None:
        """
        Note likewise that a member has fallen silent: it was heard until a moment ago.
        """
        if link.membership is not None and isinstance(event, PathSilent):
            self.standing.heard(link.peer)

    # The local API: see L{NodeAPI}.

    def status(self) -> JSON:
        """
        Say who the node is and how it fares.
        """
        return self.standing.status()

    def peers(self) -> list[JSON]:
        """
        List the other members.
        """
        return self.standing.peers()

    def find(self, text: str) -> Member:
        """
        Find the member that a person means.

        @raise ConfigurationError: it means nobody, or more than one, or us.
        @raise JoinError: the node is in no mesh.
        """
        return self.standing.find(text)

    def why(self, peer: str) -> JSON:
        """
        Explain how a peer is reached, or why it is not.
        """
        member = self.find(peer)
        state = self.standing.state_of(member)
        return explain(
            member, state, self.links, self.surroundings, now=self._clock.now(), wall=self._wall()
        )

    def ping(
        self,
        peer: str,
        *,
        count: int,
        interval: float,
        timeout: float,
        until_direct: bool,
        emit: Emit,
        path: str = "auto",
    ) -> Deferred[JSON]:
        """
        Measure the way to a peer.
        """
        member = self.find(peer)
        run = PingRun(
            self._reactor,
            self._clock.now,
            self.links,
            member.node,
            member.name,
            count,
            interval,
            timeout,
            until_direct,
            emit,
            self.streaming.connecting(member.node, path),
        )
        return run.start()

    def leave(self) -> Deferred[JSON]:
        """
        Leave the mesh and forget its members.
        """
        stored = self.mesh.leave()
        self._note_mesh_relays()
        self.relays.use_only(self.surroundings.trusted_relays)
        for link in self.links.endpoint.links:
            link.close("the node left the mesh")
        self.relays.reconnect()
        done: Deferred[JSON] = Deferred()
        done.callback({"mesh_id": stored.mesh_id, "mesh_name": stored.name})
        return done

    def network(self, stun: Sequence[str] = ()) -> Deferred[JSON]:
        """
        Measure this node's network.
        """
        named = [Server(each.host, each.port) for each in map(parse_host_port, stun)]
        return Deferred.fromCoroutine(self.surroundings.report(named))
