# -*- test-case-name: tests.cli.test_joining -*-
"""
C{atmosphere join} and C{atmosphere leave}: become a member, and cease to be one.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from .init import absolute_file, host_name, make_node
from .invite import make_invitation
from .join_answer import follow_answer, read_pasted, show_answer
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
atmosphere join --answer -
"""

LEAVE_EXAMPLES = """
atmosphere leave
"""

#: Seconds after which a code that nobody needs to approve, or to carry an answer for, has failed.
JOIN_TIMEOUT = 90.0

#: Seconds in which a node that was restarted has to be back.
RESTART_TIMEOUT = 60


def read_code(given: str) -> str:
    """
    Find the join code that was meant, as L{read_pasted} does.

    @raise ConfigurationError: there is no such file, or nothing in it.
    @raise JoinError: that is too long for a code.
    """
    return read_pasted(given, "join code", "paste the one that `atmosphere invite` printed")


class _Progress:
    """
    Tells the user what others have to do, and what becomes of that when the user does
    not wait.

    @ivar is_lasting: people have to do something, which may take long.
    """

    def __init__(self, settings: Settings) -> None:
        self.is_lasting = False
        self._settings = settings
        self._remedy = ""
        self._addresses: object = None

    def show(self, line: dict[str, Any]) -> None:
        """
        Show what the node says while it joins.
        """
        from .output import note, shown

        if line.get("waiting"):
            self.is_lasting = True
            self._remedy = "the request is kept: run the same command again later"
            mesh = shown(line.get("mesh_name"), 63)
            note(f"this node is {shown(line.get('node_id'))}")
            note(f"waiting until an admin of {mesh} approves it; Ctrl-C ends only the waiting")
        elif "answer" in line:
            self.is_lasting = True
            self._remedy = "run the same command again for another answer; the code is still good"
            if line.get("addresses") == self._addresses:
                note("the answer above is still good")
                return
            self._addresses = line.get("addresses")
            show_answer(self._settings, line)

    def interrupted(self) -> None:
        """
        Say what the user may do after Ctrl-C.
        """
        from .output import note

        if self._remedy:
            note(self._remedy)


def _join_here(
    settings: Settings, store: NodeStore, config: NodeConfig, code: str, timeout: float | None
) -> Any:
    """
    Join in this process, since no node runs.

    @param timeout: seconds to wait for people, if they have to do something.
    @return: what the node answered; an C{int} is the status of a failure.
    """
    from twisted.internet.defer import CancelledError

    from atmosphere.errors import LinkError
    from atmosphere.node.service import NodeService

    from .run import run, run_service
    from .sources import entropy, random, wall

    answers: list[dict[str, Any]] = []
    progress = _Progress(settings)

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
            joining = node.join(code, timeout=timeout, answers=True, emit=progress.show)
            is_late = False

            def too_late() -> None:
                nonlocal is_late
                if not progress.is_lasting:
                    is_late = True
                    joining.cancel()

            limit = reactor.callLater(JOIN_TIMEOUT, too_late) if _is_signed(code) else None
            try:
                answers.append(await joining)
            except CancelledError:
                if is_late:
                    raise LinkError(
                        f"no answer within {JOIN_TIMEOUT:g} s: does the node run that made the"
                        " code?"
                    ) from None
                progress.interrupted()
                raise
            finally:
                if limit is not None and limit.active():
                    limit.cancel()

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
    help="How long to wait for approval, or for the joiner.  [default: until it is decided]",
)
@option(
    "--answer",
    metavar="TEXT|FILE|-",
    envvar=None,
    help="Where the code was made: the answer that `join` printed on the other machine.",
)
@option(
    "--stun",
    multiple=True,
    envvar=None,  # ATMOSPHERE_STUN is read with all that sets up a node
    metavar="HOST:PORT",
    help="A STUN server to learn the public address from, for a node that is not running.",
)
@option("--relay-ca", metavar="FILE", help="Certificates to verify wss:// relays with.")
@pass_settings
def join(
    settings: Settings,
    code: str | None,
    name: str | None,
    timeout: float | None,
    answer: str | None,
    stun: tuple[str, ...],
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

    When no relay leads to the machine that made the code, this command prints an
    answer: one line to be carried back there, as the code was, and pasted into
    `atmosphere join --answer -`. It goes on trying meanwhile, for up to an hour.
    """
    if answer is not None:
        if code is not None:
            raise click.UsageError(
                "Only one of CODE and --answer: the code goes to the machine that joins, its answer"
                " back to the one that made the code."
            )
        return follow_answer(settings, answer, timeout)
    if code is None:
        make_invitation(settings, 24.0, 1, None)
        return 0
    from atmosphere.errors import NotRunningError
    from atmosphere.node.program import program_for

    from .output import note, print_json, shown

    text = read_code(code)
    if text == "".join(code.split()) and _has_secret(text):
        note(
            "warning: on the command line every user of this machine can see the code, and the"
            " shell's history may keep it; `atmosphere join -` reads it from standard input"
        )
    was_running = True
    try:
        joined: Any = _join_by_node(settings, text, timeout)
        for unused in ["--relay-ca"] * (relay_ca is not None) + ["--stun"] * bool(stun):
            note(f"{unused} was not needed: the node runs already, give it to `atmosphere serve`")
    except NotRunningError:
        was_running = False
        joined = _join_without_node(settings, text, name, timeout, relay_ca, stun)
    if isinstance(joined, int):
        return joined
    if settings.is_json:
        print_json(joined)
    else:
        mesh, node = shown(joined.get("mesh_name")), shown(joined.get("name"))
        print(f"joined the mesh {mesh} ({shown(joined.get('mesh_id'))}) as {node}")
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


def _join_by_node(settings: Settings, code: str, timeout: float | None) -> dict[str, Any]:
    """
    Have the node that runs join, and show what it says meanwhile.

    Once people are to do something, a node that is restarted meanwhile is asked again.
    """
    from atmosphere.errors import NotRunningError

    from .client import LocalClient
    from .output import note

    client = LocalClient(settings.state)
    progress = _Progress(settings)
    arguments: dict[str, Any] = {"code": code, "answers": True}
    if timeout is not None:
        arguments["timeout"] = timeout
    silence = JOIN_TIMEOUT + 10 if _is_signed(code) else None
    answer: dict[str, Any] = {}
    try:
        while True:
            try:
                for answer in client.stream("POST", "/v1/join", arguments, timeout=silence):
                    progress.show(answer)
                if "mesh_id" in answer:
                    return answer
                raise NotRunningError("the node stopped before it had joined")
            except NotRunningError:
                if not progress.is_lasting:
                    raise
                note("the node has stopped: waiting until it runs again; Ctrl-C gives up")
                _wait_for(client)
    except KeyboardInterrupt:
        progress.interrupted()
        raise


def _wait_for(client: LocalClient) -> None:
    """
    Wait until the node runs again.

    @raise NodeError: it does not.
    """
    from .client import NodeError
    from .sources import pause

    for _ in range(RESTART_TIMEOUT):
        if client.is_running():
            return
        pause(1.0)
    raise NodeError(
        f"the node has not come back within {RESTART_TIMEOUT} s: start it with `atmosphere serve`"
        " and run the same command again",
        3,
    )


def _join_without_node(
    settings: Settings,
    code: str,
    name: str | None,
    timeout: float | None,
    relay_ca: str | None,
    stun: Sequence[str],
) -> Any:
    """
    Open or make the node's state, and join in this process.

    @param relay_ca: a node that is made now keeps it,
    @param stun: and these.
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
        made = with_options(
            NodeConfig(check_name(name or host_name()), relay_ca=relay_ca), stun=stun
        )
        store = make_node(settings, made)
        note(f"made the node {store.settings.name} in {settings.state}")
    with store:
        config = with_options(
            with_environment(store.settings, os.environ), relay_ca=relay_ca, stun=stun
        )
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
