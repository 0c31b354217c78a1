# -*- test-case-name: tests.mesh.test_backup -*-
"""
The backup of a mesh: what another machine needs to admit again.

It holds the root key, so it is worth as much as the mesh. With a passphrase it
is sealed: scrypt (RFC 7914) makes a key of it, ChaCha20-Poly1305 (RFC 8439)
closes the content, and the header is authenticated with it.

Layout, sizes in bytes::

    0 16 "atmosphere-mesh\\0"    16 1 version, 1    17 1 sealed: 0 or 1
    sealed:      18 16 salt    34 12 nonce    46 n content and tag
    not sealed:  18 32 SHA-256 of the content    50 n content
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable
from dataclasses import dataclass

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from atmosphere import wire
from atmosphere.certificates import MAXIMUM_CHAIN, MAXIMUM_LIST, decode_chain, decode_revocations
from atmosphere.errors import ConfigurationError, DecodeError
from atmosphere.identity import KEY_LENGTH, NodeKey, Secret
from atmosphere.statements import FIRST_OPTIONAL_KEY, Fields

from .join_code import MAXIMUM_MESH_NAME

__all__ = ["MeshBackup", "decode_backup", "encode_backup", "is_sealed"]

MAXIMUM_BACKUP = 64 * 1024
MAXIMUM_RELAYS = 16
MAXIMUM_URL = 512

_RELAYS = FIRST_OPTIONAL_KEY  # which readers of the first backups pass over

_MAGIC = b"atmosphere-mesh\0"
_VERSION = 1
_HEADER_LENGTH = len(_MAGIC) + 2
_SALT_LENGTH = 16
_NONCE_LENGTH = 12
_DIGEST_LENGTH = 32
_SCRYPT_N, _SCRYPT_R, _SCRYPT_P = 2**15, 8, 1


@dataclass(frozen=True, slots=True)
class MeshBackup:
    """
    What a backup holds.

    @ivar root: the key that makes admins.
    @ivar mesh_name: what people call the mesh.
    @ivar chain: the chain of the admin that wrote the backup; its genesis is the mesh's.
    @ivar revocations: the revocation list, if there is one: without it a new
        machine would admit those that were shut out.
    @ivar relays: the URLs of the relays that the machine used, without which a new one
        may find nobody.
    """

    root: NodeKey
    mesh_name: str
    chain: bytes
    revocations: bytes | None = None
    relays: tuple[str, ...] = ()

    @property
    def mesh_id(self) -> str:
        """
        The mesh.
        """
        return decode_chain(self.chain).mesh_id


def encode_backup(
    backup: MeshBackup, passphrase: Secret | None, *, entropy: Callable[[int], bytes]
) -> bytes:
    """
    Write a backup.

    @param passphrase: seals it; C{None} leaves it open.
    """
    fields: dict[int, object] = {
        0: 1,
        1: backup.root.seed.reveal(),
        2: backup.mesh_name,
        3: backup.chain,
        4: backup.revocations or b"",
    }
    if backup.relays:
        fields[_RELAYS] = list(backup.relays[:MAXIMUM_RELAYS])
    content = wire.encode(fields)
    if passphrase is None:
        header = _MAGIC + bytes([_VERSION, 0])
        return header + hashlib.sha256(header + content).digest() + content
    header = _MAGIC + bytes([_VERSION, 1]) + entropy(_SALT_LENGTH) + entropy(_NONCE_LENGTH)
    salt, nonce = header[_HEADER_LENGTH:-_NONCE_LENGTH], header[-_NONCE_LENGTH:]
    return header + _cipher(passphrase, salt).encrypt(nonce, content, header)


def is_sealed(data: bytes) -> bool:
    """
    Say whether a backup needs a passphrase.

    @raise DecodeError: it is no backup, or of a later version.
    """
    if not data.startswith(_MAGIC) or len(data) < _HEADER_LENGTH or len(data) > MAXIMUM_BACKUP:
        raise DecodeError("this is no backup of a mesh")
    version, sealed = data[len(_MAGIC) : _HEADER_LENGTH]
    if version != _VERSION:
        raise DecodeError(f"the backup has format {version}; update this program to read it")
    if sealed > 1:
        raise DecodeError("the backup is damaged")
    return sealed == 1


def decode_backup(data: bytes, passphrase: Secret | None) -> MeshBackup:
    """
    Read a backup.

    @raise ConfigurationError: a passphrase is needed, or is the wrong one (or
        the file is damaged: that cannot be told apart).
    @raise DecodeError: it is none, is damaged, or contradicts itself.
    """
    if not is_sealed(data):
        digest = data[_HEADER_LENGTH : _HEADER_LENGTH + _DIGEST_LENGTH]
        content = data[_HEADER_LENGTH + _DIGEST_LENGTH :]
        expected = hashlib.sha256(data[:_HEADER_LENGTH] + content).digest()
        if not hmac.compare_digest(digest, expected):
            raise DecodeError("the backup is damaged")
        return _decode_content(content)
    if passphrase is None:
        raise ConfigurationError("the backup is sealed: its passphrase is needed")
    end = _HEADER_LENGTH + _SALT_LENGTH + _NONCE_LENGTH
    header, sealed = data[:end], data[end:]
    if len(sealed) < 16:
        raise DecodeError("the backup is damaged: its end is missing")
    salt, nonce = header[_HEADER_LENGTH:-_NONCE_LENGTH], header[-_NONCE_LENGTH:]
    try:
        content = _cipher(passphrase, salt).decrypt(nonce, sealed, header)
    except InvalidTag:
        raise ConfigurationError("the passphrase is wrong, or the backup is damaged") from None
    return _decode_content(content)


def _cipher(passphrase: Secret, salt: bytes) -> ChaCha20Poly1305:
    """
    Make a cipher of a passphrase; this takes about a tenth of a second and 32 MiB, on purpose.
    """
    derived = Scrypt(salt=salt, length=32, n=_SCRYPT_N, r=_SCRYPT_R, p=_SCRYPT_P)
    return ChaCha20Poly1305(derived.derive(passphrase.reveal()))


def _decode_content(content: bytes) -> MeshBackup:
    """
    Read what a backup holds.

    @raise DecodeError: it contradicts itself.
    """
    fields = Fields.decode(content, limit=MAXIMUM_BACKUP, what="backup")
    fields.version()
    root = NodeKey(fields.octets(1, KEY_LENGTH))
    found = MeshBackup(
        root,
        fields.text(2, MAXIMUM_MESH_NAME),
        fields.octets(3, MAXIMUM_CHAIN, 1),
        fields.octets(4, MAXIMUM_LIST, 0) or None,
        fields.texts(_RELAYS, MAXIMUM_RELAYS, MAXIMUM_URL) if fields.has(_RELAYS) else (),
    )
    fields.finish()
    chain = decode_chain(found.chain)
    if root.node_id not in chain.genesis.roots:
        raise DecodeError("backup: the key is no root of the mesh")
    revocations = found.revocations
    if revocations is not None and decode_revocations(revocations).mesh_id != chain.mesh_id:
        raise DecodeError("backup: the revocation list is another mesh's")
    return found
