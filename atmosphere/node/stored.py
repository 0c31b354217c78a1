# -*- test-case-name: tests.node.test_store -*-
"""
What the state files hold, as values and as payloads.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from atmosphere.errors import IdentityError, StateError
from atmosphere.identity import NodeKey, Secret

__all__ = [
    "StoredMesh",
    "decode_key",
    "decode_mesh",
    "decode_payload",
    "encode_key",
    "encode_mesh",
    "encode_payload",
]


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


def encode_payload(value: Mapping[str, Any]) -> bytes:
    """
    Write a payload as JSON in one spelling.
    """
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode("utf-8")


def decode_payload(payload: bytes, path: Path) -> dict[str, Any]:
    """
    Read a payload whose checksum was good.

    @param path: of its file, for the error.
    @raise StateError: it was not written by L{encode_payload}.
    """
    try:
        value = json.loads(payload)
    except ValueError as error:
        raise StateError(f"{path}: {error}") from None
    if not isinstance(value, dict):
        raise StateError(f"{path} holds no object")
    return value


def encode_key(seed: Secret) -> bytes:
    """
    Write the payload of a file that holds a key.
    """
    return encode_payload({"seed": base64.b32encode(seed.reveal()).decode("ascii")})


def decode_key(payload: bytes, path: Path) -> NodeKey:
    """
    Read the payload of a file that holds a key.

    @raise StateError: it holds none.
    """
    seed = decode_payload(payload, path).get("seed", "")
    try:
        return NodeKey(base64.b32decode(str(seed)))
    except (ValueError, IdentityError):
        raise StateError(f"{path} holds no key") from None


def encode_mesh(mesh: StoredMesh) -> bytes:
    """
    Write the membership file's payload.
    """
    return encode_payload(
        {
            "mesh_id": mesh.mesh_id,
            "name": mesh.name,
            "chain": base64.b64encode(mesh.chain).decode("ascii"),
            "relays": list(mesh.relays),
        }
    )


def decode_mesh(payload: bytes, path: Path) -> StoredMesh:
    """
    Read the membership file's payload.

    @raise StateError: it holds no membership.
    """
    value = decode_payload(payload, path)
    try:
        return StoredMesh(
            mesh_id=str(value["mesh_id"]),
            name=str(value["name"]),
            chain=base64.b64decode(value["chain"], validate=True),
            relays=tuple(str(url) for url in value["relays"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise StateError(f"{path}: {error!r}") from None
