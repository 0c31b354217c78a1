# -*- test-case-name: tests.cli.test_original_forms -*-
"""
C{atmosphere mesh create | join | leave | invite | status}: the original program's
forms of our commands, which no help shows.
"""

from __future__ import annotations

import copy

import click

from .invite import invite
from .join import join, leave
from .options import Settings, command, pass_settings
from .status import status

__all__ = ["add_original_forms", "create"]


@command(
    "create",
    examples="atmosphere mesh create home",
    short_help="Found a mesh.",
    hidden=True,
)
@click.argument("name", required=False, metavar="[NAME]")
@pass_settings
def create(settings: Settings, name: str | None) -> None:
    """
    Found a mesh of which this node is the first member, called home if no
    NAME is given. The first `atmosphere invite` does that by itself.

    This machine alone can admit others then.
    """
    from atmosphere.errors import NotRunningError
    from atmosphere.node.program import program_for

    from .client import LocalClient
    from .output import note, print_json, shown

    try:
        answer = LocalClient(settings.state).post("/v1/mesh", {"mesh_name": name})
    except NotRunningError:
        answer = _found_here(settings, name)
    if settings.is_json:
        print_json(answer)
        return
    print(f"founded the mesh {shown(answer.get('mesh_name'))} ({shown(answer.get('mesh_id'))})")
    program = program_for(settings.state)
    note(
        "only this machine can admit others: keep a copy of that right, with"
        f" `{program} mesh backup FILE`, and let them in with `{program} invite`"
    )


def _found_here(settings: Settings, name: str | None) -> dict[str, str]:
    """
    Found a mesh in this process, since no node runs.

    @raise JoinError: the node is in a mesh.
    """
    from atmosphere.errors import JoinError
    from atmosphere.node.config import check_name
    from atmosphere.node.founding import DEFAULT_MESH_NAME
    from atmosphere.node.mesh import NodeMesh

    from .serve import open_store
    from .sources import entropy, wall

    mesh_name = check_name(name or DEFAULT_MESH_NAME)
    with open_store(settings) as store:
        if store.mesh is not None:
            raise JoinError(
                f"this node is in the mesh {store.mesh.name}: run `atmosphere leave` first"
            )
        founder = NodeMesh(store, wall=wall, entropy=entropy)
        founder.found(mesh_name, ())
        stored = founder.stored
        assert stored is not None
        return {"mesh_id": stored.mesh_id, "mesh_name": stored.name}


def add_original_forms(group: click.Group) -> None:
    """
    Add to the group C{mesh} what the original had there.
    """
    group.add_command(create)
    for each in (join, leave, invite, status):
        hidden = copy.copy(each)
        hidden.hidden = True
        group.add_command(hidden)
