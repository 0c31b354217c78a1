# -*- test-case-name: tests.cli.test_mesh -*-
"""
C{atmosphere mesh}: keep the right to admit others, and bring it to another machine.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from .mesh_forms import add_original_forms
from .options import CommandGroup, Settings, command, common_options, option, pass_settings

if TYPE_CHECKING:
    from atmosphere.identity import Secret
    from atmosphere.mesh.backup import MeshBackup
    from atmosphere.node.store import NodeStore

__all__ = ["mesh"]

EXAMPLES = """
atmosphere mesh backup home.backup
atmosphere mesh restore home.backup
"""

MAXIMUM_FILE = 1024 * 1024


@click.group("mesh", cls=CommandGroup, examples=EXAMPLES, short_help="Back up or restore a mesh.")
@common_options()
def mesh() -> None:
    """
    Keep the right to admit others to a mesh, and bring it to another machine.
    """


def _passphrase(file: str | None, *, is_new: bool) -> Secret | None:
    """
    Find the passphrase: in a file, or from the terminal, where nothing is
    shown of it.

    @param is_new: ask twice; an empty one means none.
    @return: C{None} without a file and without a terminal.
    """
    from atmosphere.errors import ConfigurationError
    from atmosphere.identity import Secret

    if file is not None:
        try:
            text = Path(file).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
            raise ConfigurationError(f"the passphrase in {file} cannot be read: {reason}") from None
        text = text.splitlines()[0] if text else ""
        if not text:
            raise ConfigurationError(f"the first line of {file} is empty: it is the passphrase")
    elif sys.stdin.isatty():
        question = "passphrase (empty for none)" if is_new else "passphrase"
        text = click.prompt(
            question,
            default="",
            hide_input=True,
            show_default=False,
            confirmation_prompt=is_new,
            err=True,
        )
    else:
        return None
    return Secret(text.encode("utf-8")) if text else None


@command(
    "backup",
    examples="atmosphere mesh backup home.backup",
    short_help="Write the mesh's root key to a file.",
)
@click.argument("file", type=click.Path(path_type=Path))
@option(
    "--passphrase-file",
    metavar="FILE",
    help="Seal the backup with the first line of this file.  [default: ask on a terminal]",
)
@pass_settings
def backup(settings: Settings, file: Path, passphrase_file: str | None) -> None:
    """
    Write what another machine needs to admit others into FILE. Only the
    machine that founded the mesh can; a running node is not disturbed.

    The file is worth as much as the mesh. With a passphrase it is sealed.
    """
    from atmosphere.errors import ConfigurationError
    from atmosphere.mesh.backup import MeshBackup, encode_backup
    from atmosphere.node.store import NodeStore

    from .output import note, print_json
    from .sources import entropy, wall

    with NodeStore.peek(settings.state, wall=wall) as store:
        stored, root = store.mesh, store.root_key()
        revocations = store.revocations
        relays = store.settings.relays
    if stored is None:
        raise ConfigurationError("this node is in no mesh: there is nothing to back up")
    if root is None:
        raise ConfigurationError(
            f"this machine does not hold the root key of {stored.name}:"
            " make the backup where it was founded"
        )
    passphrase = _passphrase(passphrase_file, is_new=True)
    relays = tuple(dict.fromkeys((*relays, *stored.relays)))
    data = encode_backup(
        MeshBackup(root, stored.name, stored.chain, revocations, relays),
        passphrase,
        entropy=entropy,
    )
    _write_new(file, data)
    if settings.is_json:
        print_json(
            {
                "mesh_id": stored.mesh_id,
                "mesh_name": stored.name,
                "file": str(file),
                "sealed": passphrase is not None,
            }
        )
        return
    print(f"wrote the backup of {stored.name} to {file}")
    if passphrase is None:
        note("it is not sealed: whoever has this file can admit anyone")
    note(f"on another machine: atmosphere mesh restore {file.name}")


def _write_new(file: Path, data: bytes) -> None:
    """
    Write a file that only its owner can read, in place of none.
    """
    from atmosphere.errors import StateError

    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        raise StateError(f"{file} is there already: name a new file") from None
    except OSError as error:
        raise StateError(f"{file} cannot be written: {error.strerror}") from None
    with os.fdopen(descriptor, "wb") as opened:
        opened.write(data)
        opened.flush()
        os.fsync(descriptor)


@command(
    "restore",
    examples="atmosphere mesh restore home.backup",
    short_help="Let this machine admit others, from a backup.",
)
@click.argument("file", type=click.Path(path_type=Path))
@option("--passphrase-file", metavar="FILE", help="The passphrase is this file's first line.")
@pass_settings
def restore(settings: Settings, file: Path, passphrase_file: str | None) -> None:
    """
    Make this machine one that can admit others, from the backup in FILE.

    The node must not run meanwhile. On a machine without a node one is made.
    """
    from atmosphere.errors import ConfigurationError, DecodeError, StateError
    from atmosphere.mesh.backup import decode_backup, is_sealed
    from atmosphere.node.program import program_for

    from .output import note, print_json

    try:
        with file.open("rb") as opened:
            data = opened.read(MAXIMUM_FILE)
    except OSError as error:
        raise StateError(f"{file} cannot be read: {error.strerror}") from None
    try:
        passphrase = _passphrase(passphrase_file, is_new=False) if is_sealed(data) else None
        if passphrase is None and is_sealed(data):
            raise ConfigurationError(
                f"{file} is sealed: give its passphrase, with --passphrase-file or on a terminal"
            )
        found = decode_backup(data, passphrase)
    except DecodeError as error:
        raise StateError(f"{file}: {error}") from None
    with _open_or_make(settings) as store:
        _adopt(store, found)
        name = store.settings.name
        relays = (*store.settings.relays, *(store.mesh.relays if store.mesh else ()))
    if settings.is_json:
        print_json({"mesh_id": found.mesh_id, "mesh_name": found.mesh_name, "name": name})
        return
    print(f"{name} can now admit others to {found.mesh_name} ({found.mesh_id})")
    if not relays:
        note(
            "the backup names no relay: unless members are within reach, add `--relay URL`,"
            " or write one into config.toml"
        )
    note(f"start the node with: {program_for(settings.state)} serve")


def _open_or_make(settings: Settings) -> NodeStore:
    """
    Open the node's state, or make a node named after the host.
    """
    from atmosphere.node.config import NodeConfig
    from atmosphere.node.store import NodeStore

    from .init import host_name, make_node
    from .output import note
    from .serve import open_store

    if NodeStore.exists(settings.state):
        return open_store(settings)
    store = make_node(settings, NodeConfig(host_name()))
    note(f"made the node {store.settings.name} in {settings.state}")
    return store


def _adopt(store: NodeStore, found: MeshBackup) -> None:
    """
    Make a node an admin of the mesh whose root key was found.

    @raise JoinError: it is in another mesh.
    """
    from atmosphere.errors import JoinError, StateError
    from atmosphere.membership import (
        ADMIN,
        MEMBER,
        decode_revocations,
        issue_certificate,
        verify_revocations,
    )
    from atmosphere.node.store import StoredMesh

    from .sources import entropy, wall

    present = store.mesh
    if present is not None and present.mesh_id != found.mesh_id:
        raise JoinError(
            f"this node is in the mesh {present.name}: leave it first, with `atmosphere leave`"
        )
    newest = None
    if found.revocations is not None:
        newest = verify_revocations(
            found.revocations, mesh_id=found.mesh_id, wall=wall(), current=None
        )
    if store.revocations is not None:
        known = decode_revocations(store.revocations)
        if newest is None or known.epoch > newest.epoch:
            newest = known
    chain = issue_certificate(
        found.root,
        found.chain,
        store.key.node_id,
        store.settings.name,
        wall=wall(),
        entropy=entropy,
        roles=frozenset({MEMBER, ADMIN}),
        revocations=newest,
    )
    try:
        has_root = store.root_key() is not None
    except StateError:  # damaged, which is what backups are for
        has_root = False
    if not has_root:
        store.save_root_key(found.root.seed)
    relays = _usable(found.relays) if present is None else present.relays
    store.save_mesh(StoredMesh(found.mesh_id, found.mesh_name, chain, relays))
    if newest is not None:
        store.save_revocations(newest.encoded)


def _usable(urls: Iterable[str]) -> tuple[str, ...]:
    """
    Keep the relays' URLs that are any.
    """
    from atmosphere.errors import ConfigurationError
    from atmosphere.node.config import parse_relay_url

    found = []
    for url in urls:
        with contextlib.suppress(ConfigurationError):
            found.append(parse_relay_url(url))
    return tuple(found)


mesh.add_command(backup)
mesh.add_command(restore)
add_original_forms(mesh)
