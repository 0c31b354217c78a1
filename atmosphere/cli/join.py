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

from .init import absolute_file, host_name, make_node
from .invite import make_invitation
from .options import Number, Settings, command, option, pass_settings

if TYPE_CHECKING:
    from atmosphere.node.config import NodeConfig
    from atmosphere.node.store import NodeStore

    from .client import LocalClient

__all__ = ["join", "leave", "read_code"]

JOIN_EXAMPLES = """
atmosphere join -
atmosphere join code.txt
atmosphere join
atmosphere join code.txt --timeout 600
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


class _Progress:
    """
    Tells the user that an admin is to decide, and what becomes of the request
    when the user does not wait.
    """

    def __init__(self) -> None:
        self._has_waited = False

    def show(self, line: dict[str, Any]) -> None:
        """
        Show what the node says while it joins.
        """
        from .output import note, shown

        if line.get("waiting"):
            self._has_waited = True
            mesh = shown(line.get("mesh_name"), 63)
            note(f"this node is {shown(line.get('node_id'))}")
            note(f"waiting until an admin of {mesh} approves it; Ctrl-C ends only the waiting")

    def interrupted(self) -> None:
        """
        Say what the user may do after Ctrl-C.
        """
        from .output import note

        if self._has_waited:
            note("the request is kept: run the same command again later")


def _join_here(
    settings: Settings, store: NodeStore, config: NodeConfig, code: str, timeout: float | None
) -> Any:
    """
    Join in this process, since no node runs.

    @param timeout: seconds to wait for approval, if the code needs that.
    @return: what the node answered; an C{int} is the status of a failure.
    """
    from twisted.internet.defer import CancelledError, TimeoutError

    from atmosphere.errors import LinkError
    from atmosphere.node.service import NodeService

    from .run import run, run_service
    from .sources import entropy, random, wall

    answers: list[dict[str, Any]] = []
    progress = _Progress()

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
            joining = node.join(code, timeout=timeout, emit=progress.show)
            if _is_signed(code):
                joining.addTimeout(JOIN_TIMEOUT, reactor)
            try:
                answers.append(await joining)
            except CancelledError:
                progress.interrupted()
                raise
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
@option(
    "--timeout",
    type=Number(0, 30 * 86400, min_open=True),
    metavar="SECONDS",
    help="How long to wait for approval.  [default: until it is decided]",
)
@option("--relay-ca", metavar="FILE", help="Certificates to verify wss:// relays with.")
@pass_settings
def join(
    settings: Settings,
    code: str | None,
    name: str | None,
    timeout: float | None,
    relay_ca: str | None,
) -> int:
    """
    Join a mesh by a join code; `-` reads it from standard input, where no
    other user of this machine can see it.

    On a machine without a node one is made first. Without a running node the
    code is redeemed by this command itself. Without a code this command is
    `atmosphere invite`.

    A code from `invite --approve` works on the local network. This command waits
    then until an admin has approved; run again later it finds the answer.
    """
    if code is None:
        make_invitation(settings, 24.0, 1, None)
        return 0
    from atmosphere.errors import NotRunningError
    from atmosphere.node.program import program_for

    from .client import LocalClient
    from .output import note, print_json, shown

    text = read_code(code)
    if text == "".join(code.split()) and _has_secret(text):
        note(
            "warning: on the command line every user of this machine can see the code, and the"
            " shell's history may keep it; `atmosphere join -` reads it from standard input"
        )
    was_running = True
    try:
        answer: Any = _join_by_node(LocalClient(settings.state), text, timeout)
        if relay_ca is not None:
            note("--relay-ca was not needed: the node runs already, give it to `atmosphere serve`")
    except NotRunningError:
        was_running = False
        answer = _join_without_node(settings, text, name, timeout, relay_ca)
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


def _has_secret(code: str) -> bool:
    """
    Say whether who sees a code can use it.
    """
    import base64
    import binascii

    if _is_signed(code):
        return True
    try:
        return b'"secret"' in base64.urlsafe_b64decode(code + "==")
    except (binascii.Error, ValueError):
        return False


def _is_signed(code: str) -> bool:
    """
    Say whether a code tells by its prefix that nobody needs to approve it.
    """
    return code.startswith("atm1-")


def _join_by_node(client: LocalClient, code: str, timeout: float | None) -> dict[str, Any]:
    """
    Have the node that runs join, and show what it says meanwhile.
    """
    progress = _Progress()
    arguments: dict[str, Any] = {"code": code}
    if timeout is not None:
        arguments["timeout"] = timeout
    silence = JOIN_TIMEOUT + 10 if _is_signed(code) else None
    answer: dict[str, Any] = {}
    try:
        for answer in client.stream("POST", "/v1/join", arguments, timeout=silence):
            progress.show(answer)
    except KeyboardInterrupt:
        progress.interrupted()
        raise
    return answer


def _join_without_node(
    settings: Settings, code: str, name: str | None, timeout: float | None, relay_ca: str | None
) -> Any:
    """
    Open or make the node's state, and join in this process.

    @param relay_ca: a node that is made now keeps it.
    """
    from atmosphere.node.config import NodeConfig, check_name, with_environment, with_options
    from atmosphere.node.inviting import read_code as check_code
    from atmosphere.node.store import NodeStore

    from .output import note
    from .serve import open_store
    from .sources import wall

    check_code(code, wall())
    relay_ca = None if relay_ca is None else absolute_file(relay_ca)
    if NodeStore.exists(settings.state):
        store = open_store(settings)
    else:
        made = NodeConfig(check_name(name or host_name()), relay_ca=relay_ca)
        store = make_node(settings, made)
        note(f"made the node {store.settings.name} in {settings.state}")
    with store:
        config = with_options(with_environment(store.settings, os.environ), relay_ca=relay_ca)
        return _join_here(settings, store, config, code, timeout)


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
