# -*- test-case-name: tests.classic.test_join -*-
"""
Nodes and meshes, by the original's names: thin faces over our own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, maybeDeferred

from atmosphere.certificates import decode_chain
from atmosphere.errors import JoinError
from atmosphere.identity import NodeKey
from atmosphere.membership import membership_of
from atmosphere.node.config import NodeConfig
from atmosphere.node.embed import make_node
from atmosphere.node.service import NodeService
from atmosphere.node.store import NodeStore, default_state_directory
from atmosphere.text import tidy_name

from .world import World, the_world

__all__ = ["MeshCertificate", "MeshIdentity", "Node", "NodeIdentity"]


@dataclass(frozen=True)
class MeshIdentity:
    """
    A mesh, as its members know it.

    @ivar mesh_id: C{mesh-…}.
    @ivar name: what people call it.
    @ivar public_key: its first root key, the text of a node ID.
    """

    mesh_id: str
    name: str
    public_key: str

    @classmethod
    def of_chain(cls, chain: bytes, name: str) -> MeshIdentity:
        """
        Say which mesh a membership chain belongs to.

        @raise DecodeError: it is no chain.
        """
        genesis = decode_chain(chain).genesis
        return cls(genesis.mesh_id, name, str(genesis.roots[0]))

    def to_dict(self) -> dict[str, Any]:
        """
        Give what JSON can carry.
        """
        return {"mesh_id": self.mesh_id, "name": self.name, "public_key": self.public_key}


@dataclass(frozen=True)
class MeshCertificate:
    """
    What makes a node a member.

    @ivar mesh: the mesh.
    @ivar node_id: whom it is about.
    @ivar name: what the node is called there, which need not be what it wanted.
    @ivar roles: what it may do.
    @ivar issuer: the node ID of who signed it.
    @ivar expires_at: POSIX seconds; a node that runs renews it in time.
    @ivar chain: the certificate, and what shows that its issuer may sign it.
    """

    mesh: MeshIdentity
    node_id: str
    name: str
    roles: tuple[str, ...]
    issuer: str
    expires_at: float
    chain: bytes = field(repr=False)

    @classmethod
    def of_chain(cls, chain: bytes, mesh_name: str) -> MeshCertificate:
        """
        Read a membership chain that was verified.

        @raise DecodeError: it is none.
        """
        decoded = decode_chain(chain)
        found = membership_of(decoded)
        return cls(
            MeshIdentity.of_chain(chain, mesh_name),
            str(found.node),
            found.name,
            tuple(sorted(found.roles)),
            str(decoded.leaf.issuer),
            float(found.not_after),
            chain,
        )

    def to_dict(self) -> dict[str, Any]:
        """
        Give what JSON can carry.
        """
        return {
            "mesh": self.mesh.to_dict(),
            "node_id": self.node_id,
            "name": self.name,
            "roles": list(self.roles),
            "issuer": self.issuer,
            "expires_at": self.expires_at,
        }


class NodeIdentity:
    """
    Who a node is: its key, and what it calls itself.

    @ivar key: the Ed25519 key.
    @ivar name: what it calls itself.
    @ivar data_dir: where its state is; C{None} for one that is kept nowhere.
    """

    def __init__(self, key: NodeKey, name: str, data_dir: Path | None = None) -> None:
        self.key = key
        self.name = tidy_name(name)
        self.data_dir = data_dir

    @classmethod
    def generate(cls, name: str, *, world: World | None = None) -> NodeIdentity:
        """
        Make a new identity; L{save} keeps it.
        """
        return cls(NodeKey(the_world(world).entropy(32)), name)

    @classmethod
    def load(
        cls, data_dir: str | Path | None = None, *, world: World | None = None
    ) -> NodeIdentity:
        """
        Read the identity of the node in a state directory, whether it runs or not.

        @param data_dir: by default that of the command line.
        @raise StateError: there is no node in it.
        """
        where = the_world(world)
        path = _directory(data_dir, where)
        with NodeStore.peek(path, wall=where.wall) as store:
            return cls(store.key, store.settings.name, path)

    def save(
        self, data_dir: str | Path | None = None, *, world: World | None = None
    ) -> NodeIdentity:
        """
        Make a node of this identity.

        @param data_dir: the state directory, which holds none yet; by default
            that of the command line.
        @return: the identity that is kept there.
        @raise StateError: there is a node in it.
        """
        where = the_world(world)
        path = _directory(data_dir, where)
        config = NodeConfig(self.name)
        NodeStore.create(path, config, wall=where.wall, entropy=where.entropy, key=self.key).close()
        return NodeIdentity(self.key, self.name, path)

    @property
    def node_id(self) -> str:
        """
        The node ID, which is the public key.
        """
        return str(self.key.node_id)

    @property
    def public_key(self) -> str:
        """
        The same as L{node_id}.
        """
        return self.node_id

    def sign(self, data: bytes) -> bytes:
        """
        Sign something, 64 bytes; L{verify} is the other half.
        """
        return self.key.sign(_SIGNED + data)

    def verify(self, signature: bytes, data: bytes) -> bool:
        """
        Say whether this identity has signed something by L{sign}.
        """
        return self.key.node_id.verifies(signature, _SIGNED + data)

    def to_dict(self) -> dict[str, Any]:
        """
        Give what may be shown to anybody; the key is not in it.
        """
        return {"node_id": self.node_id, "name": self.name, "public_key": self.public_key}


#: So that what a program has signed is never taken for a statement of the mesh.
_SIGNED = b"atmosphere application signature v1\0"


def _directory(data_dir: str | Path | None, world: World) -> Path:
    """
    Find the state directory that is meant.
    """
    given = default_state_directory(world.environment) if data_dir is None else Path(data_dir)
    return given.expanduser().absolute()


class Node:
    """
    A node in this process.

    @ivar service: the node itself; C{None} while it does not run.
    """

    def __init__(
        self,
        name: str | None = None,
        data_dir: str | Path | None = None,
        relays: Sequence[str] = (),
        *,
        world: World | None = None,
        **options: Any,
    ) -> None:
        """
        @param name: what it is called; by default as the machine is, or as it was before.
        @param data_dir: its state directory; by default that of the command line.
        @param relays: URLs of relays to use.
        @param options: as for L{make_node<atmosphere.node.embed.make_node>}.
        """
        self.service: NodeService | None = None
        self._name = name
        self._data_dir = data_dir
        self._relays = tuple(relays)
        self._world = world
        self._options = options

    def start(self) -> Deferred[Node]:
        """
        Start the node, and make it first if there is none in its directory.

        @return: fires with this node when it runs; fails with an
            L{AtmosphereError} that says why it cannot. Cancelling it leaves the node as it is.
        """
        return Deferred.fromCoroutine(self._start())

    async def _start(self) -> Node:
        """
        Do what L{start} says.
        """
        if self.service is None:
            world = the_world(self._world)
            service = make_node(
                world.reactor,
                _directory(self._data_dir, world),
                name=self._name,
                relays=self._relays,
                entropy=world.entropy,
                wall=world.wall,
                random=world.random,
                **self._options,
            )
            try:
                service.privilegedStartService()
                service.startService()
            except BaseException:
                await maybeDeferred(service.stopService)
                raise
            self.service = service
        return self

    def stop(self) -> Deferred[None]:
        """
        Stop the node.

        @return: fires when it has stopped; cancelling it changes nothing.
        """
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        """
        Do what L{stop} says.
        """
        service, self.service = self.service, None
        if service is not None:
            await maybeDeferred(service.stopService)

    def running(self) -> NodeService:
        """
        Give the node itself.

        @raise JoinError: it does not run.
        """
        if self.service is None:
            raise JoinError("the node does not run: start it first")
        return self.service

    @property
    def identity(self) -> NodeIdentity:
        """
        Who it is.

        @raise JoinError: it does not run.
        """
        service = self.running()
        return NodeIdentity.load(service.state, world=self._world)

    @property
    def mesh(self) -> MeshIdentity | None:
        """
        The mesh that it is in, if it is in one.

        @raise JoinError: it does not run.
        """
        stored = self.running().mesh.stored
        return None if stored is None else MeshIdentity.of_chain(stored.chain, stored.name)

    @property
    def certificate(self) -> MeshCertificate | None:
        """
        What makes it a member, if it is one.

        @raise JoinError: it does not run.
        """
        stored = self.running().mesh.stored
        return None if stored is None else MeshCertificate.of_chain(stored.chain, stored.name)

    def create_mesh(self, name: str = "home") -> MeshIdentity:
        """
        Found a mesh of which this node is the first member.

        @raise JoinError: it is in one, or does not run.
        """
        self.running().found(name)
        mesh = self.mesh
        assert mesh is not None
        return mesh

    def peers(self) -> list[dict[str, Any]]:
        """
        List the other members, see L{atmosphere.node.api.NodeAPI.peers}.

        @raise JoinError: the node does not run.
        """
        return self.running().peers()

    async def __aenter__(self) -> Node:
        return await self.start()

    async def __aexit__(self, *details: object) -> None:
        await self.stop()
