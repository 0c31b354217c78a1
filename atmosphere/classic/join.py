# -*- test-case-name: tests.classic.test_join -*-
"""
Join codes and joining, by the original's names.

What a node of ours makes is signed, works as often as it says, and is redeemed
at the node that made it. What is made without a node says where to ask, and an
admin decides: see C{docs/protocols/join.md}.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from tempfile import mkdtemp
from typing import Any, TypeAlias

from twisted.internet.defer import Deferred, maybeDeferred, succeed
from typing_extensions import override

from atmosphere.certificates import is_mesh_id
from atmosphere.errors import AtmosphereError, JoinError
from atmosphere.mesh.invitation import invitation_of
from atmosphere.mesh.join_code import JoinCode as SignedJoinCode, issue_join_code
from atmosphere.network.stun.public_endpoint import PublicEndpoint
from atmosphere.node.embed import make_node
from atmosphere.node.requesting import Target, address_of
from atmosphere.node.service import NodeService

from .mesh import MeshCertificate, MeshIdentity, Node, NodeIdentity
from .stun import discover_public_ip, get_local_ip
from .world import World, the_world

__all__ = [
    "JoinCode",
    "MeshJoin",
    "generate_join_code",
    "generate_join_code_with_discovery",
]

Joined: TypeAlias = tuple[bool, str, MeshCertificate | None]
"""Whether it worked, a line for people, and what makes the node a member."""

_MAXIMUM_RELAYS = 8


class JoinCode(SignedJoinCode):
    """
    An invitation. See L{atmosphere.mesh.join_code.JoinCode} for what it holds;
    the first eight arguments are the original's.
    """

    __slots__ = ()

    @property
    def is_expired(self) -> bool:
        """
        Whether the code has run out, by the clock of this machine. Whoever made
        it sees to that as well.
        """
        return self.is_expired_at(World.wall())

    @classmethod
    def of(cls, code: SignedJoinCode) -> JoinCode:
        """
        Give a code this face.
        """
        values = {each.name: getattr(code, each.name) for each in fields(code)}
        return cls(**values)

    @classmethod
    @override
    def from_dict(cls, data: Mapping[str, Any]) -> JoinCode:
        """
        Read what C{to_dict} made.

        @raise DecodeError: anything else, and a signature that does not hold.
        """
        return cls.of(SignedJoinCode.from_dict(data))

    @classmethod
    @override
    def from_compact(cls, text: str) -> JoinCode:
        """
        Read a code, with its prefix or without, white space no matter.

        @raise DecodeError: it is damaged, or none at all.
        """
        return cls.of(SignedJoinCode.from_compact(text))


def generate_join_code(
    mesh: Node | MeshIdentity,
    endpoint: str,
    validity_hours: float = 24,
    *,
    world: World | None = None,
) -> JoinCode:
    """
    Make a join code.

    @param mesh: a node that runs and may admit: the code is signed, carries a
        secret, lets one machine in, and is redeemed at that node. Of a mesh
        alone there can only be a code that says where to ask: it works on the
        local network, and an admin has to approve.
    @param endpoint: C{ADDRESS:PORT} of a node that may admit: its UDP port.
    @param validity_hours: more than none, and at most 168.
    @raise JoinError: the node may not admit, or is in no mesh.
    @raise DecodeError: a value cannot be.
    """
    return _generate(mesh, endpoint, None, None, validity_hours, the_world(world))


def _generate(
    mesh: Node | MeshIdentity,
    endpoint: str,
    public_endpoint: str | None,
    relay_urls: Sequence[str] | None,
    validity_hours: float,
    world: World,
) -> JoinCode:
    """
    Make a join code of either kind.
    """
    if not 0 < validity_hours <= 168:
        raise JoinError(f"a code is good for up to 168 hours, not for {validity_hours:g}")
    lifetime = validity_hours * 3600
    address_of(endpoint)
    if public_endpoint is not None:
        address_of(public_endpoint)
    if isinstance(mesh, MeshIdentity):
        wall = int(world.wall())
        plain = JoinCode(
            mesh.mesh_id,
            mesh.name,
            mesh.public_key,
            endpoint,
            wall,
            int(wall + lifetime),
            public_endpoint,
            list(relay_urls or ()) or None,
        )
        return JoinCode.from_compact(plain.to_compact())
    service = mesh.running()
    stored = service.mesh.stored
    if stored is None:
        raise JoinError("this node is in no mesh: found one with create_mesh")
    if relay_urls is None:
        relay_urls = service.surroundings.trusted_relays
    code = issue_join_code(
        mesh.identity.key,
        stored.chain,
        mesh_name=stored.name,
        endpoint=endpoint,
        wall=world.wall(),
        entropy=world.entropy,
        public_endpoint=public_endpoint,
        relay_urls=list(relay_urls)[:_MAXIMUM_RELAYS],
        lifetime=lifetime,
    )
    service.keep_invitation(invitation_of(code))
    return JoinCode.of(code)


def generate_join_code_with_discovery(
    mesh: Node | MeshIdentity,
    local_port: int,
    public_endpoint: PublicEndpoint | str | None = None,
    relay_urls: Sequence[str] | None = None,
    validity_hours: float = 24,
    *,
    world: World | None = None,
) -> Deferred[JoinCode]:
    """
    Make a join code with this machine's addresses in it.

    @param mesh: as for L{generate_join_code}.
    @param local_port: the UDP port of the node that admits.
    @param public_endpoint: how others reach that port; unless it is given,
        STUN servers are asked: the node's own by a node, else the public ones.
    @param relay_urls: where the node can be reached through a relay; by default
        where it is.
    @return: fires with the code; fails as L{generate_join_code} does.
        Cancelling it gives up.
    """
    return Deferred.fromCoroutine(
        _generate_with_discovery(
            mesh, local_port, public_endpoint, relay_urls, validity_hours, the_world(world)
        )
    )


async def _generate_with_discovery(
    mesh: Node | MeshIdentity,
    local_port: int,
    public_endpoint: PublicEndpoint | str | None,
    relay_urls: Sequence[str] | None,
    validity_hours: float,
    world: World,
) -> JoinCode:
    """
    Do what L{generate_join_code_with_discovery} says.
    """
    host = get_local_ip(world=world)
    endpoint = f"[{host}]:{local_port}" if ":" in host else f"{host}:{local_port}"
    public = None if public_endpoint is None else str(public_endpoint)
    if public is None and isinstance(mesh, Node):
        surroundings = mesh.running().surroundings
        await surroundings.learn_public_address()
        agreements = () if surroundings.public is None else surroundings.public.agreements
        public = next((str(each.address) for each in agreements), None)
    elif public is None:
        found = await discover_public_ip(local_port, world=world)
        public = None if found is None else str(found)
    return _generate(mesh, endpoint, public, relay_urls, validity_hours, world)


class MeshJoin:
    """
    A node's way into a mesh.

    @ivar identity: who joins.
    @ivar on_waiting: called with a dictionary when an admin is to approve; see
        L{request_to_join<atmosphere.node.admitting.AdmittingNode.request_to_join>}.
    """

    def __init__(
        self,
        identity: NodeIdentity | Node,
        *,
        on_waiting: Callable[[dict[str, Any]], None] = lambda line: None,
        world: World | None = None,
        **options: Any,
    ) -> None:
        """
        @param identity: a node that runs, which will be a member; or an
            identity. Of one that was loaded or saved, the node in its state
            directory becomes a member, and is started later by whatever means.
            One that is kept nowhere is a member until L{close}.
        @param options: as for L{make_node<atmosphere.node.embed.make_node>}.
        """
        self.on_waiting = on_waiting
        self._node = identity if isinstance(identity, Node) else None
        self.identity = identity.identity if isinstance(identity, Node) else identity
        self._world = the_world(world)
        self._options = options
        self._service: NodeService | None = None
        self._folder: Path | None = None
        self._capabilities: tuple[str, ...] = ()

    def build_join_request(self, capabilities: Sequence[str] | None = None) -> dict[str, Any]:
        """
        Say what an admin will be shown of this node.

        @param capabilities: words about it, at most 16 of 32 characters; they
            go with the requests that are made from now on.
        @return: C{node_id}, C{public_key}, C{name}, C{capabilities}. What
            travels is signed besides, for one admin and one link.
        """
        self._capabilities = tuple(capabilities or ())
        return {**self.identity.to_dict(), "capabilities": list(self._capabilities)}

    def join_by_code(
        self, code: SignedJoinCode | str, *, timeout: float | None = None
    ) -> Deferred[Joined]:
        """
        Become a member by a join code, by every way that it names.

        @param timeout: seconds to wait for approval, if the code needs that;
            C{None} waits for ever.
        @return: whether it worked, a line for people, and the certificate.
            Cancelling it gives up.
        """

        async def join(service: NodeService) -> dict[str, Any]:
            text = code if isinstance(code, str) else code.to_compact()
            return await service.join(
                text, capabilities=self._capabilities, timeout=timeout, emit=self.on_waiting
            )

        return Deferred.fromCoroutine(self._join(join))

    def join_by_endpoint(
        self, endpoint: str, mesh_id: str | None = None, *, timeout: float | None = None
    ) -> Deferred[Joined]:
        """
        Ask the node at an address of the local network to be let in; one of its
        mesh's admins has to approve.

        @param endpoint: C{ADDRESS:PORT}, UDP.
        @param mesh_id: the mesh that it must be of; C{None} takes any: look at
            the certificate.
        @return: as L{join_by_code}.
        """

        async def join(service: NodeService) -> dict[str, Any]:
            if mesh_id is not None and not is_mesh_id(mesh_id):
                raise JoinError(f"{mesh_id[:80]!a} is no mesh id")
            return await service.request_to_join(
                Target(address_of(endpoint), mesh_id),
                capabilities=self._capabilities,
                timeout=timeout,
                emit=self.on_waiting,
            )

        return Deferred.fromCoroutine(self._join(join))

    def join_by_discovery(self, mesh_id: str) -> Deferred[Joined]:
        """
        Find a node of a mesh on the local network, and ask it.

        @return: as L{join_by_code}; at present it never works.
        """
        reason = (
            "nodes are not found on the local network by themselves yet: use a join code,"
            " or join_by_endpoint"
        )
        return succeed((False, reason, None))

    async def _join(self, join: Callable[[NodeService], Any]) -> Joined:
        """
        Join by some means.
        """
        try:
            service = self._running()
            joined = await join(service)
        except AtmosphereError as error:
            return False, str(error), None
        stored = service.mesh.stored
        assert stored is not None
        certificate = MeshCertificate.of_chain(stored.chain, stored.name)
        return True, f"joined the mesh {stored.name} as {joined['name']}", certificate

    def _running(self) -> NodeService:
        """
        Find the node that joins; start one if there is none.

        @raise AtmosphereError: it cannot be started.
        """
        if self._node is not None:
            return self._node.running()
        if self._service is None:
            directory = self.identity.data_dir
            if directory is None:
                self._folder = Path(mkdtemp(prefix="atmosphere-"))
                directory = self._folder / "node"
                self.identity.save(directory, world=self._world)
            service = make_node(
                self._world.reactor,
                directory,
                has_control=False,
                entropy=self._world.entropy,
                wall=self._world.wall,
                random=self._world.random,
                **self._options,
            )
            self._service = service
            service.privilegedStartService()
            service.startService()
        return self._service

    def close(self) -> Deferred[None]:
        """
        Stop what was started for joining.

        @return: fires when that is done; cancelling it changes nothing.
        """
        return Deferred.fromCoroutine(self._close())

    async def _close(self) -> None:
        """
        Do what L{close} says.
        """
        service, self._service = self._service, None
        if service is not None:
            await maybeDeferred(service.stopService)
        folder, self._folder = self._folder, None
        if folder is not None:
            shutil.rmtree(folder)
