# -*- test-case-name: tests.node.test_store -*-
"""
The state directory: all that a node keeps between two runs.

====================  =====================================================
C{node.key}           the identity; never made anew behind anyone's back
C{config.toml}        the user's settings, written once by C{init}
C{membership.state}   the mesh that the node is in, and its chain
C{revocations.state}  the newest revocation list
C{root.key}           the mesh's root key, on the machine that founded it
C{node.state}         facts such as the UDP port that was taken first
C{mesh.db}            members and invitations
C{lock}               held by the one process that may write
C{control.sock}       the running node's local API
====================  =====================================================
"""

from __future__ import annotations

import contextlib
import shlex
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from atmosphere.errors import StateError
from atmosphere.identity import NodeID, NodeKey, Secret

from .config import NodeConfig, check_name
from .config_file import CONFIG_NAME, read_config, write_config
from .database import MeshDatabase, StoredMember
from .invitations import Invitations
from .program import program_for
from .state_directory import StateDirectory, default_state_directory
from .state_file import StateFile, set_aside
from .stored import (
    StoredMesh,
    decode_key,
    decode_mesh,
    decode_payload,
    encode_key,
    encode_mesh,
    encode_payload,
)

__all__ = ["NodeStore", "StoredMember", "StoredMesh", "default_state_directory"]

_KEY = "node.key"

#: What it means when a file and its copy are both damaged; there is no going on
#: without those that are not named.
_LOSSES = {
    "membership": (
        "this node is in no mesh until it joins one again, with a new code or by"
        " `atmosphere mesh restore FILE`"
    ),
    "revocations": "who was shut out is learnt again from the other members",
    "node": "the services and forwards that were kept are forgotten: give them again",
}


class NodeStore:
    """
    An open state directory. Make one with L{create}, L{open} or L{peek}.

    @ivar path: the directory.
    @ivar key: the node's identity.
    @ivar settings: what C{config.toml} says.
    @ivar notices: what was found damaged and mended, one line each.
    """

    key: NodeKey
    settings: NodeConfig

    def __init__(self, path: Path, *, wall: Callable[[], float], may_write: bool) -> None:
        """
        Use L{create}, L{open} or L{peek}.
        """
        self.path = path
        self.notices: list[str] = []
        self._wall = wall
        self._may_write = may_write
        self._directory = StateDirectory(path)
        self._key_file = self._file(_KEY, "node-key")
        self._mesh_file = self._file("membership.state", "membership")
        self._revocations_file = self._file("revocations.state", "revocations")
        self._root_file = self._file("root.key", "root-key")
        self._facts_file = self._file("node.state", "node")
        self._mesh: StoredMesh | None = None
        self._revocations: bytes | None = None
        self._facts: dict[str, Any] = {}
        self._database: MeshDatabase | None = None
        self._problem: str | None = None

    @property
    def database(self) -> MeshDatabase:
        """
        Members and invitations.
        """
        if self._database is None:
            raise StateError(f"{self.path} was closed")
        return self._database

    def _file(self, name: str, kind: str) -> StateFile:
        """
        Name one of our state files.
        """
        return StateFile(
            self.path / name,
            kind,
            1,
            wall=self._wall,
            notice=self.notices.append,
            may_write=self._may_write,
            loss=_LOSSES.get(kind),
            outcome=self._wrote,
            has_twin=kind == "revocations",  # who was shut out stays so
        )

    def _wrote(self, problem: str | None) -> None:
        """
        Note how the last attempt to write went.
        """
        self._problem = problem

    def problem(self) -> str | None:
        """
        Say why the disk keeps nothing new. If it refused the last time, it is asked
        again.

        @return: C{None} while it does what it should.
        """
        if self._problem is not None:
            with contextlib.suppress(StateError):
                self._facts_file.write(encode_payload(self._facts))
                self.database.touch()
        return self._problem

    # ----------------------------------------------------- making and opening

    @classmethod
    def exists(cls, path: Path) -> bool:
        """
        Say whether a node was made in a directory, even if it is damaged.
        """
        names = StateDirectory(path).names()
        return any(name == _KEY or name.startswith(f"{_KEY}.") for name in names)

    @classmethod
    def create(
        cls,
        path: Path,
        config: NodeConfig,
        *,
        wall: Callable[[], float],
        entropy: Callable[[int], bytes],
        key: NodeKey | None = None,
    ) -> NodeStore:
        """
        Make a node: its directory, its identity, its settings.

        @param config: what C{config.toml} will say.
        @param key: an identity that was kept elsewhere.
        @return: the store, open for writing.
        @raise StateError: there is a node in that directory already, or the
            directory cannot be used.
        @raise ConfigurationError: the name, or a C{config.toml} that was
            there already.
        """
        check_name(config.name)
        store = cls(path, wall=wall, may_write=True)
        store._directory.make()
        store._directory.lock()
        try:
            if cls.exists(path):
                raise StateError(
                    f"there is a node in {path} already; to make another one name a"
                    " directory of its own: atmosphere --state DIR init"
                )
            store._write_config(config)
            seed = Secret(entropy(32)) if key is None else key.seed
            store._key_file.write(encode_key(seed))
            store._load()
        except BaseException:
            store.close()
            raise
        return store

    @classmethod
    def open(
        cls,
        path: Path,
        *,
        wall: Callable[[], float],
        entropy: Callable[[int], bytes] | None = None,
    ) -> NodeStore:
        """
        Open a directory for the one process that runs its node.

        @param entropy: not used at present.
        @raise StateError: no node was made there, it is in use by another
            process, open to other users, damaged beyond mending, or in a
            newer format.
        """
        store = cls(path, wall=wall, may_write=True)
        return store._opened()

    @classmethod
    def peek(cls, path: Path, *, wall: Callable[[], float]) -> NodeStore:
        """
        Open a directory for reading, whether or not a node runs on it;
        nothing is changed or mended.

        @raise StateError: as for L{open}, but for its being in use.
        """
        store = cls(path, wall=wall, may_write=False)
        return store._opened()

    def _opened(self) -> NodeStore:
        """
        Open the files; lock the directory first if we may write.
        """
        if not self.exists(self.path):
            program = program_for(self.path)
            raise StateError(f"there is no node in {self.path}: make one with `{program} init`")
        try:
            if self._may_write:
                self._directory.lock()
            else:
                self._directory.check()
            self._load()
        except BaseException:
            self.close()
            raise
        return self

    def close(self) -> None:
        """
        Close everything; another process may open the directory from now on.
        """
        if self._database is not None:
            self._database.close()
            self._database = None
        self._directory.unlock()

    def __enter__(self) -> NodeStore:
        return self

    def __exit__(self, *details: object) -> None:
        self.close()

    def _load(self) -> None:
        """
        Read everything but the root key, so that what is damaged or newer is
        found before anything is written.
        """
        self.key = self._load_key()
        self.settings = read_config(self.path / CONFIG_NAME)
        payload = self._mesh_file.read()
        self._mesh = None if payload is None else decode_mesh(payload, self._mesh_file.path)
        self._revocations = self._revocations_file.read()
        facts = self._facts_file.read()
        self._facts = {} if facts is None else decode_payload(facts, self._facts_file.path)
        self._database = MeshDatabase(
            self.path / "mesh.db",
            wall=self._wall,
            notice=self.notices.append,
            may_write=self._may_write,
            outcome=self._wrote,
        )
        if self._may_write:
            self.notices += self.invitations.revoke_damaged()

    # ------------------------------------------------- identity and settings

    def _load_key(self) -> NodeKey:
        """
        Read the identity.
        """
        remedy = (
            "put back a copy of it; only if there is none, begin anew by removing"
            f" {shlex.quote(str(self._key_file.path))}* and running `atmosphere init`, then"
            " `atmosphere mesh restore FILE` if there is a backup of the mesh"
        )
        try:
            payload = self._key_file.read()
        except StateError as error:
            raise StateError(
                f"{error}; {remedy}" if "damaged" in str(error) else str(error)
            ) from None
        if payload is None:
            raise StateError(f"the identity {self._key_file.path} is damaged or lost; {remedy}")
        try:
            return decode_key(payload, self._key_file.path)
        except StateError as error:
            raise StateError(f"{error}; {remedy}") from None

    def _write_config(self, config: NodeConfig) -> None:
        """
        Write C{config.toml}, unless the user wrote one before.

        @raise StateError: the disk refused.
        """
        path = self.path / CONFIG_NAME
        try:
            if not write_config(path, config):
                self.notices.append(f"{path} was there already and is used as it is")
        except OSError as error:
            raise StateError(f"{path} cannot be written: {error.strerror}") from None

    def fact(self, name: str) -> Any:
        """
        Read a small fact, such as the UDP port that was taken first.

        @return: what L{save_fact} was given; C{None} if nothing was.
        """
        return self._facts.get(name)

    def save_fact(self, name: str, value: Any) -> None:
        """
        Keep a small fact for later runs.

        @param value: anything that JSON can hold; C{None} forgets it.
        """
        facts = {key: kept for key, kept in self._facts.items() if key != name}
        if value is not None:
            facts[name] = value
        self._facts_file.write(encode_payload(facts))
        self._facts = facts

    @property
    def udp_port(self) -> int | None:
        """
        The UDP port that the first start took; C{None} before it.
        """
        port = self.fact("udp_port")
        return port if isinstance(port, int) and 0 < port < 65536 else None

    def save_udp_port(self, port: int) -> None:
        """
        Keep the UDP port for later runs.
        """
        self.save_fact("udp_port", port)

    # ---------------------------------------------------------- membership

    @property
    def mesh(self) -> StoredMesh | None:
        """
        The mesh that this node is in; C{None} if in none.
        """
        return self._mesh

    def save_mesh(self, mesh: StoredMesh) -> None:
        """
        Keep a membership, new or renewed. Members, invitations and
        revocations of another mesh are forgotten.
        """
        if self._mesh is None or self._mesh.mesh_id != mesh.mesh_id:
            self._revocations_file.remove()
            self._revocations = None
        self.database.claim(mesh.mesh_id)
        self._mesh_file.write(encode_mesh(mesh))
        self._mesh = mesh

    def forget_mesh(self) -> None:
        """
        Leave no trace of the mesh but its root key, which is set aside under
        the name C{root.key.left-<time>} if this machine holds it.
        """
        self._mesh_file.remove()
        self._mesh = None
        if self._root_file.path.exists():
            self._set_root_aside()
        self._revocations_file.remove()
        self._revocations = None
        with contextlib.suppress(StateError):  # on a full disk these go with the next mesh
            self.database.claim("")

    def _set_root_aside(self) -> Path:
        """
        Keep a root key that is no longer in use under another name.
        """
        aside = set_aside(self._root_file.path, "left", self._wall())
        self._root_file.remove()
        return aside

    @property
    def revocations(self) -> bytes | None:
        """
        The newest revocation list, as it was signed.
        """
        return self._revocations

    def save_revocations(self, signed: bytes) -> None:
        """
        Keep a revocation list in place of an older one.
        """
        self._revocations_file.write(signed)
        self._revocations = signed

    def root_key(self) -> NodeKey | None:
        """
        Read the mesh's root key from the disk.

        @return: C{None} on a machine that does not hold it.
        """
        payload = self._root_file.read()
        if payload is None:
            return None
        return decode_key(payload, self._root_file.path)

    def save_root_key(self, seed: Secret) -> None:
        """
        Keep a mesh's root key; one that is there already is set aside.
        """
        if self._root_file.path.exists():
            self._set_root_aside()
        self._root_file.write(encode_key(seed))

    # --------------------------------------------- members and invitations

    @property
    def invitations(self) -> Invitations:
        """
        The invitations that this node gave.
        """
        return Invitations(self.database, self._wall)

    def members(self) -> list[StoredMember]:
        """
        List the members that were kept.
        """
        return self.database.members()

    def upsert_members(self, members: Iterable[StoredMember]) -> None:
        """
        Keep members, in place of what was known of them, all in one commit.
        """
        self.database.upsert_members(members)

    def remove_members(self, nodes: Iterable[NodeID]) -> None:
        """
        Forget members.
        """
        self.database.remove_members(node.raw for node in nodes)
