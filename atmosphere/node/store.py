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

import base64
import binascii
import json
import os
import shlex
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from atmosphere.errors import ConfigurationError, IdentityError, StateError
from atmosphere.identity import NodeID, NodeKey, Secret

from .config import NodeConfig, check_name, decode_config, encode_config
from .database import MeshDatabase, StoredMember
from .invitations import Invitations
from .program import program_for
from .state_directory import StateDirectory, default_state_directory
from .state_file import StateFile, replace_file, set_aside

__all__ = ["NodeStore", "StoredMember", "StoredMesh", "default_state_directory"]

_KEY = "node.key"
_CONFIG = "config.toml"
MAXIMUM_CONFIG = 256 * 1024


@dataclass(frozen=True, slots=True)
class StoredMesh:
    """
    The mesh that a node is in.

    @ivar mesh_id: C{mesh-…}.
    @ivar name: what people call it.
    @ivar chain: this node's membership chain, as it was signed.
    @ivar relays: the relays that came with the join code.
    """

    mesh_id: str
    name: str
    chain: bytes
    relays: tuple[str, ...] = ()


def _encode(value: Mapping[str, Any]) -> bytes:
    """
    Write a payload as JSON in one spelling.
    """
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode("utf-8")


def _decode(payload: bytes, path: Path) -> dict[str, Any]:
    """
    Read a payload whose checksum was good.

    @raise StateError: it was not written by L{_encode}.
    """
    try:
        value = json.loads(payload)
    except ValueError as error:
        raise StateError(f"{path}: {error}") from None
    if not isinstance(value, dict):
        raise StateError(f"{path} holds no object")
    return value


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
        )

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
            seed = entropy(32) if key is None else key.seed.reveal()
            payload = _encode({"seed": base64.b32encode(seed).decode("ascii")})
            store._key_file.write(payload)
            store._key_file.write(payload)  # so that there is a previous copy from the start
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
        self.settings = self._load_config()
        payload = self._mesh_file.read()
        self._mesh = None if payload is None else self._decode_mesh(payload)
        self._revocations = self._revocations_file.read()
        facts = self._facts_file.read()
        self._facts = {} if facts is None else _decode(facts, self._facts_file.path)
        self._database = MeshDatabase(
            self.path / "mesh.db",
            wall=self._wall,
            notice=self.notices.append,
            may_write=self._may_write,
        )

    # ------------------------------------------------- identity and settings

    def _load_key(self) -> NodeKey:
        """
        Read the identity.
        """
        remedy = (
            "put back a copy of it; only if there is none, begin anew by removing"
            f" {shlex.quote(str(self._key_file.path))}* and running `atmosphere init`"
        )
        try:
            payload = self._key_file.read()
        except StateError as error:
            raise StateError(
                f"{error}; {remedy}" if "damaged" in str(error) else str(error)
            ) from None
        if payload is None:
            raise StateError(f"the identity {self._key_file.path} is damaged or lost; {remedy}")
        value = _decode(payload, self._key_file.path)
        try:
            return NodeKey(base64.b32decode(str(value.get("seed", ""))))
        except (binascii.Error, ValueError, IdentityError):
            raise StateError(f"{self._key_file.path} holds no key; {remedy}") from None

    def _write_config(self, config: NodeConfig) -> None:
        """
        Write C{config.toml}, unless the user wrote one before.
        """
        path = self.path / _CONFIG
        if os.path.lexists(path):
            self.notices.append(f"{path} was there already and is used as it is")
            return
        replace_file(path, encode_config(config).encode("utf-8"))

    def _load_config(self) -> NodeConfig:
        """
        Read C{config.toml}.

        @raise ConfigurationError: it is missing or wrong, said by name.
        """
        path = self.path / _CONFIG
        try:
            with path.open("rb") as file:
                data = file.read(MAXIMUM_CONFIG)
            return decode_config(data.decode("utf-8"))
        except OSError as error:
            raise ConfigurationError(f"{path}: {error.strerror}") from None
        except UnicodeDecodeError:
            raise ConfigurationError(f"{path}: not UTF-8") from None
        except ConfigurationError as error:
            raise ConfigurationError(f"{path}: {error}") from None

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
        self._facts_file.write(_encode(facts))
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

    def _decode_mesh(self, payload: bytes) -> StoredMesh:
        """
        Read the membership file's payload.
        """
        value = _decode(payload, self._mesh_file.path)
        try:
            return StoredMesh(
                mesh_id=str(value["mesh_id"]),
                name=str(value["name"]),
                chain=base64.b64decode(value["chain"], validate=True),
                relays=tuple(str(url) for url in value["relays"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise StateError(f"{self._mesh_file.path}: {error!r}") from None

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
        self._mesh_file.write(
            _encode(
                {
                    "mesh_id": mesh.mesh_id,
                    "name": mesh.name,
                    "chain": base64.b64encode(mesh.chain).decode("ascii"),
                    "relays": list(mesh.relays),
                }
            )
        )
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
        try:
            seed = _decode(payload, self._root_file.path).get("seed", "")
            return NodeKey(base64.b32decode(str(seed)))
        except (binascii.Error, ValueError, IdentityError):
            raise StateError(f"{self._root_file.path} holds no key") from None

    def save_root_key(self, seed: Secret) -> None:
        """
        Keep a mesh's root key; one that is there already is set aside.
        """
        if self._root_file.path.exists():
            self._set_root_aside()
        encoded = base64.b32encode(seed.reveal()).decode("ascii")
        self._root_file.write(_encode({"seed": encoded}))

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
