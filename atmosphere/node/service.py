# -*- test-case-name: tests.node.test_service -*-
"""
A node: all its parts, composed in one service.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from twisted.application.service import MultiService
from twisted.internet.defer import Deferred
from twisted.logger import Logger
from typing_extensions import override

from atmosphere import __version__
from atmosphere.engine_driver import EngineClock
from atmosphere.errors import ConfigurationError, JoinError
from atmosphere.mesh.join_code import JoinCode
from atmosphere.mesh.roster import Change, Joined, Left, Member
from atmosphere.network.nat.candidates import Interface
from atmosphere.network.nat.interfaces import list_interfaces
from atmosphere.network.path.selection import PathPolicy
from atmosphere.network.quic.connection import Link
from atmosphere.network.relay.client import RelayClient
from atmosphere.network.relay.frames import HelloCredentials
from atmosphere.services.local_socket import SOCKET_NAME, STREAMS_SOCKET_NAME
from atmosphere.services.ping import PING_SERVICE, PingServer
from atmosphere.services.running import node_began, node_ended

from .api import JSON, Emit
from .config import NodeConfig
from .control import ControlService
from .forwarding import Forwarding, ForwardingNode
from .founding import FoundingNode
from .gossiping import Gossiping
from .invitations import Invitations
from .inviting import Redemption, make_invitation, read_code
from .joining import SERVICE as JOIN_SERVICE, Admission, serve_guest
from .keeper import LinkKeeper
from .links import NodeLinks
from .mesh import NodeMesh
from .pinging import PingRun
from .ports import NodePorts
from .relays import RelaySet
from .renewing import Renewals
from .standing import Standing
from .store import NodeStore
from .streaming import Streaming, StreamingNode
from .streams_port import StreamsService
from .surroundings import Surroundings

__all__ = ["NodeService"]


class NodeService(FoundingNode, StreamingNode, ForwardingNode, MultiService):
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
        has_control: bool = True,
    ) -> None:
        """
        @param reactor: has UDP, TCP, UNIX sockets, time and name resolution.
        @param store: open for writing; whoever opened it closes it.
        @param interfaces: lists the machine's interfaces.
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
        instance = entropy(16)
        self.mesh = NodeMesh(store, wall=wall, entropy=entropy)
        self._invitations = Invitations(store.database, wall)
        ports = NodePorts(reactor, self._deliver, entropy=entropy)
        self.surroundings = Surroundings(
            reactor, config, ports, list_interfaces=interfaces, changed=self._addresses_changed
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
            on_absent=lambda node: None,
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
        self.standing = Standing(config, self.mesh, self.links, self.surroundings, wall=wall)
        self.streaming = Streaming(reactor, self.links, self.find)
        self.forwarding = Forwarding(reactor, store, self.mesh, self.streaming, self.find)
        self.forwarding.setServiceParent(self)
        self._keeper = LinkKeeper(reactor, self.links, self.mesh, random=random)
        self._gossip = Gossiping(reactor, self.mesh, self.links, now=self._clock.now, wall=wall)
        self._renewals = Renewals(reactor, store, self.mesh, self.links, wall=wall, entropy=entropy)
        self._admission = Admission(
            reactor, self.mesh, self._invitations, now=self._clock.now, wall=wall
        )
        self.mesh.listeners.append(self._mesh_changed)
        self.links.on_connected.append(self._connected)
        self.links.on_closed.append(self._closed)
        self.links.services[PING_SERVICE] = lambda link: PingServer()
        self.links.guest_services[JOIN_SERVICE] = partial(serve_guest, self._admission)
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
            self._store.save_udp_port(taken)
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
        self._keeper.start()
        self._renewals.start()
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
        self.surroundings.stop()
        self.links.endpoint.stop("the node stops")
        stopped = Deferred.fromCoroutine(self._stop(super().stopService()))
        return stopped

    async def _stop(self, services: Any) -> None:
        """
        Wait for the services, then close the ports.
        """
        if services is not None:
            await services
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
        Hand datagrams to the links.
        """
        self.links.endpoint.datagrams_received(way, datagrams)

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
            self._publish()

    def _closed(self, link: Link, reason: str) -> None:
        """
        Note when a member was last heard.
        """
        if link.membership is not None:
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

    def ping(
        self,
        peer: str,
        *,
        count: int,
        interval: float,
        timeout: float,
        until_direct: bool,
        emit: Emit,
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
        )
        return run.start()

    def invite(self, *, hours: float, uses: int, mesh_name: str | None) -> Deferred[JSON]:
        """
        Make a join code; found a mesh if the node is in none.
        """
        return Deferred.fromCoroutine(self._invite(hours, uses, mesh_name))

    async def _invite(self, hours: float, uses: int, mesh_name: str | None) -> JSON:
        """
        Do what L{invite} says.
        """
        founded = self.mesh.stored is None
        if founded:
            self.found(mesh_name)
        elif mesh_name is not None and self.mesh.stored and mesh_name != self.mesh.stored.name:
            held = self.mesh.stored.name
            raise ConfigurationError(
                f"this node is in the mesh {held}: run `atmosphere leave` to found another"
            )
        await self.surroundings.learn_public_address()
        code, warnings = make_invitation(
            self._store.key,
            self.mesh,
            self._invitations,
            self.surroundings,
            lifetime=hours * 3600,
            uses=uses,
            wall=self._wall(),
            entropy=self._entropy,
        )
        return {
            "code": code.code,
            "expires_at": int(code.expires_at),
            "invite_id": code.invite_id.hex(),
            "uses": uses,
            "mesh_id": code.mesh_id,
            "mesh_name": code.mesh_name,
            "founded": founded,
            "warnings": warnings,
        }

    def invitations(self) -> list[JSON]:
        """
        List the invitations that this node gave.
        """
        return [
            {
                "invite_id": each.invite_id.hex(),
                "expires_at": int(each.expires_at),
                "uses": each.uses,
                "redeemed_by": [str(node) for node in each.redeemed_by],
                "revoked": each.revoked,
            }
            for each in self._invitations.list()
        ]

    def revoke_invitation(self, invite_id: str) -> JSON:
        """
        Make an invitation worthless from now on.
        """
        return {"invite_id": self._invitations.revoke(invite_id).invite_id.hex()}

    def join(self, code: str) -> Deferred[JSON]:
        """
        Become a member by a join code.
        """
        return Deferred.fromCoroutine(self._join(code))

    async def _join(self, text: str) -> JSON:
        """
        Do what L{join} says.
        """
        code = read_code(text, self._wall())
        stored = self.mesh.stored
        if stored is not None:
            if stored.mesh_id == code.mesh_id:
                raise JoinError(f"this node is a member of the mesh {stored.name} already")
            raise JoinError(f"this node is in the mesh {stored.name}: run `atmosphere leave` first")
        self._ticket = code
        urls = code.relay_urls or []
        self.surroundings.mesh_relays = tuple(urls)
        self.relays.reconnect()
        for url in urls:
            self.relays.use(url)
        redemption = Redemption(
            self._reactor,
            code,
            self._store.key,
            self._config.name,
            self.links,
            self.surroundings,
            now=self._clock.now,
            wall=self._wall,
        )
        try:
            admitted = await redemption.run()
            self.mesh.adopt(admitted, urls)
        finally:
            self._ticket = None
            self._note_mesh_relays()
            self.relays.use_only(self.surroundings.trusted_relays)
        self._publish()
        self.relays.reconnect()
        await self._keeper.linked(code.issuer)
        return {
            "mesh_id": code.mesh_id,
            "mesh_name": admitted.mesh_name,
            "node_id": str(self._store.key.node_id),
            "name": admitted.membership.name,
            "admitted_by": str(code.issuer),
        }

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

    def network(self) -> Deferred[JSON]:
        """
        Report on this node's network.
        """
        return Deferred.fromCoroutine(self.surroundings.report())
