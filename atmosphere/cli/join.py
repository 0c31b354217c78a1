# -*- test-case-name: tests.cli.test_joining -*-
"""
C{atmosphere join} and C{atmosphere leave}: become a member, and cease to be one.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .init import host_name, make_node
from .invite import make_invitation
from .options import Settings, command, option, pass_settings

if TYPE_CHECKING:
    from atmosphere.node.config import NodeConfig
    from atmosphere.node.store import NodeStore

__all__ = ["join", "leave", "read_code"]

JOIN_EXAMPLES = """
atmosphere join -
atmosphere join code.txt
atmosphere join
"""

LEAVE_EXAMPLES = """
atmosphere leave
"""

JOIN_TIMEOUT = 90.0
MAXIMUM_CODE = 8192


def read_code(given: str) -> str:
    """
    Find the join code that was meant: C{-} is standard input, the name of a
    file is its content, all else is the code itself.

    @raise ConfigurationError: there is no such file, or nothing in it.
    @raise JoinError: that is too long for a code.
    """
    from atmosphere.errors import ConfigurationError, JoinError

    if given == "-":
        if sys.stdin.isatty():
            print("paste the join code, then press Enter:", file=sys.stderr)
            text = sys.stdin.readline(MAXIMUM_CODE + 1)
        else:
            text = sys.stdin.read(MAXIMUM_CODE + 1)
    elif len(given) < 256 and os.path.isfile(given):
        with Path(given).open(encoding="utf-8", errors="replace") as file:
            text = file.read(MAXIMUM_CODE + 1)
    elif len(given) < 256 and set(given) & {os.sep, "."}:  # which no code has
        raise ConfigurationError(
            f"there is no file {given}: name one that holds a join code, or use `-` and paste it"
        )
    else:
        text = given
    code = "".join(text.split())
    remedy = "paste the one that `atmosphere invite` printed"
    if not code:
        raise ConfigurationError(f"no join code was given: {remedy}")
    if len(code) > MAXIMUM_CODE:
        raise JoinError(f"that is no join code: {remedy}")
    return code


def _join_here(settings: Settings, store: NodeStore, config: NodeConfig, code: str) -> Any:
    """
    Join in this process, since no node runs.

    @return: what the node answered; an C{int} is the status of a failure.
    """
    from twisted.internet.defer import TimeoutError

    from atmosphere.errors import LinkError
    from atmosphere.node.service import NodeService

    from .run import run, run_service
    from .sources import entropy, random, wall

    answers: list[dict[str, Any]] = []

    async def work(reactor: Any) -> int | None:
        node = NodeService(
            reactor,
            store,
            config,
            entropy=entropy,
            wall=wall,
            random=random,
        )

        async def redeem() -> None:
            await node.when_started()
            joining = node.join(code)
            joining.addTimeout(JOIN_TIMEOUT, reactor)
            try:
                answers.append(await joining)
            except TimeoutError:
                raise LinkError(
                    f"no answer within {JOIN_TIMEOUT:g} s: does the node run that made the code?"
                ) from None

        return await run_service(node, redeem)

    status = run(work, settings, quieter=1)
    return answers[0] if answers else status or 1


@command("join", examples=JOIN_EXAMPLES, short_help="Join a mesh by a code from `invite`.")
@click.argument("code", required=False, metavar="[CODE|FILE|-]")
@option(
    "--name",
    "-n",
    metavar="NAME",
    envvar=["ATMOSPHERE_NAME", "ATMOSPHERE_NODE_NAME"],
    help="For a node that is made now.  [default: the host's]",
)
@pass_settings
def join(settings: Settings, code: str | None, name: str | None) -> int:
    """
    Join a mesh by a join code; `-` reads it from standard input, where no
    other user of this machine can see it.

    On a machine without a node one is made first. Without a running node the
    code is redeemed by this command itself. Without a code this command is
    `atmosphere invite`.
    """
    if code is None:
        make_invitation(settings, 24.0, 1, None)
        return 0
    from atmosphere.errors import NotRunningError
    from atmosphere.node.program import program_for

    from .client import LocalClient
    from .output import note, print_json, shown

    text = read_code(code)
    was_running = True
    try:
        answer: Any = LocalClient(settings.state).post(
            "/v1/join", {"code": text}, timeout=JOIN_TIMEOUT + 10
        )
    except NotRunningError:
        was_running = False
        answer = _join_without_node(settings, text, name)
    if isinstance(answer, int):
        return answer
    if settings.is_json:
        print_json(answer)
    else:
        mesh, node = shown(answer.get("mesh_name")), shown(answer.get("name"))
        print(f"joined the mesh {mesh} ({shown(answer.get('mesh_id'))}) as {node}")
    if not was_running:
        note(f"now start the node with: {program_for(settings.state)} serve")
    return 0


def _join_without_node(settings: Settings, code: str, name: str | None) -> Any:
    """
    Open or make the node's state, and join in this process.
    """
    from atmosphere.node.config import NodeConfig, check_name, with_environment
    from atmosphere.node.inviting import read_code as check_code
    from atmosphere.node.store import NodeStore

    from .output import note
    from .serve import open_store
    from .sources import wall

    check_code(code, wall())
    if NodeStore.exists(settings.state):
        store = open_store(settings)
    else:
        store = make_node(settings, NodeConfig(check_name(name or host_name())))
        note(f"made the node {store.settings.name} in {settings.state}")
    with store:
        config = with_environment(store.settings, os.environ)
        return _join_here(settings, store, config, code)


@command("leave", examples=LEAVE_EXAMPLES, short_help="Leave the mesh.")
@pass_settings
def leave(settings: Settings) -> None:
    """
    Leave the mesh and forget its members. The node keeps its key.

    The machine that founded the mesh keeps its root key under another name.
    """
    from atmosphere.errors import JoinError, NotRunningError
    from atmosphere.node.store import NodeStore

    from .client import LocalClient
    from .output import print_json, shown
    from .serve import open_store

    try:
        answer = LocalClient(settings.state).post("/v1/leave")
    except NotRunningError:
        if not NodeStore.exists(settings.state):
            raise
        with open_store(settings) as store:
            if store.mesh is None:
                raise JoinError("this node is in no mesh") from None
            answer = {"mesh_id": store.mesh.mesh_id, "mesh_name": store.mesh.name}
            store.forget_mesh()
    if settings.is_json:
        print_json(answer)
        return
    print(f"left the mesh {shown(answer.get('mesh_name'))} ({shown(answer.get('mesh_id'))})")
