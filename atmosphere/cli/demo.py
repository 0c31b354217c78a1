# -*- test-case-name: tests.cli.test_demo -*-
"""
C{atmosphere demo}: see it work, on this machine alone.

It runs the very services that C{atmosphere relay} and C{atmosphere serve} run,
on loopback and in one process, with their state in a folder that goes with it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .options import Settings, command, pass_settings

if TYPE_CHECKING:
    from atmosphere.node.service import NodeService

__all__ = ["demo"]

EXAMPLES = """
atmosphere demo
atmosphere demo --json
"""


class _Story:
    """
    Tells what happens, a line at a time, and keeps the facts for C{--json}.

    @ivar is_told: whether all of it has happened.
    """

    def __init__(self, settings: Settings, elapsed: Any) -> None:
        self.facts: dict[str, Any] = {}
        self.is_told = False
        self._is_json = settings.is_json
        self._elapsed = elapsed
        self._begun = elapsed()

    def tell(self, subject: str, text: str) -> None:
        """
        Tell one line.
        """
        if not self._is_json:
            seconds = self._elapsed() - self._begun
            print(f"{seconds:5.2f} s  {subject:<9} {text}", flush=True)


@command("demo", examples=EXAMPLES, short_help="See it work, on this machine alone.")
@pass_settings
def demo(settings: Settings, /) -> int:
    """
    Start a relay and two nodes on loopback, join them, and move data between
    them: first through the relay, then directly, on one stream that stays
    open. Nothing leaves this machine, and nothing is left behind on it.
    """
    import tempfile
    from pathlib import Path

    from .output import print_json
    from .run import run
    from .sources import elapsed

    story = _Story(settings, elapsed)
    with tempfile.TemporaryDirectory(prefix="atmosphere-demo-") as folder:

        async def work(reactor: Any) -> int | None:
            return await _play(reactor, Path(folder), story)

        status = run(work, settings, quieter=1)
    if story.is_told:
        story.tell("done", "everything is stopped, nothing is left behind")
        if settings.is_json:
            print_json(story.facts)
        return status
    return status or 1  # it was ended before its end


async def _play(reactor: Any, folder: Any, story: _Story) -> int | None:
    """
    Start all, tell the story, stop all.
    """
    from atmosphere.network.relay.limits import RelayConfig
    from atmosphere.node.relaying import make_relay

    from .run import run_service
    from .sources import entropy, wall

    relay = make_relay(
        reactor,
        RelayConfig(host="127.0.0.1", port=0, stun_port=None, is_open=True),
        entropy=entropy,
        wall=wall,
    )

    async def with_relay() -> int | None:
        url = f"ws://127.0.0.1:{relay.port}"
        story.facts["relay"] = url
        story.tell("relay", f"{url}, and STUN on UDP {relay.stun_port}")
        with _open(folder / "portland", "portland", url) as one:
            with _open(folder / "seattle", "seattle", url) as two:
                return await _with_nodes(reactor, one, two, story)

    return await run_service(relay, with_relay)


def _open(path: Any, name: str, url: str) -> Any:
    """
    Make a node's state directory.
    """
    from atmosphere.node.config import NodeConfig
    from atmosphere.node.store import NodeStore

    from .sources import entropy, wall

    config = NodeConfig(
        name,
        relays=(url,),
        interfaces=("127.0.0.1",),
        public_stun=False,
        allow_loopback=True,
        path_policy="relayed",
    )
    return NodeStore.create(path, config, wall=wall, entropy=entropy)


async def _with_nodes(reactor: Any, one: Any, two: Any, story: _Story) -> int | None:
    """
    Run both nodes.
    """
    from dataclasses import replace

    from atmosphere.node.service import NodeService

    from .run import run_service
    from .sources import entropy, random, wall

    portland, seattle = (
        NodeService(
            reactor,
            store,
            replace(store.settings, udp_port=0),
            entropy=entropy,
            wall=wall,
            random=random,
            has_control=False,
        )
        for store in (one, two)
    )

    async def with_portland() -> int | None:
        return await run_service(seattle, with_both)

    async def with_both() -> int | None:
        for node in (portland, seattle):
            status = node.status()
            listening = ", ".join(status["listening"])
            story.tell(status["name"], f"{status['node_id'][:10]}… on UDP {listening}")
        return await _tell(reactor, portland, seattle, story)

    return await run_service(portland, with_portland)


async def _tell(
    reactor: Any, portland: NodeService, seattle: NodeService, story: _Story
) -> int | None:
    """
    Join the nodes, then move data, relayed and direct.
    """
    from atmosphere.network.path.selection import PathPolicy

    from .demo_transfer import DemoTransfer, direct_path, when

    invitation = await portland.invite(hours=1, uses=1, mesh_name="demo")
    joined = await seattle.join(invitation["code"])
    story.tell("join", f"seattle redeemed portland's code: both are in {joined['mesh_id']}")
    transfer = await DemoTransfer.open(reactor, portland, seattle)
    story.facts["steps"] = []
    for step in range(2):
        if step:
            story.tell("paths", "direct paths are allowed now; the stream stays open")
            for node in (portland, seattle):
                node.links.set_policy(PathPolicy.AUTO)
            await when(reactor, lambda: direct_path(portland) and direct_path(seattle))
        facts = await transfer.both_ways()
        story.facts["steps"].append(facts)
        story.tell(
            facts["path"]["kind"],
            f"{facts['bytes'] / 1e6:g} MB each way on stream {facts['stream']}"
            f" by {facts['path']['remote']}, {facts['path']['rtt_ms']} ms,"
            " SHA-256 good on both sides",
        )
    story.is_told = True
    return 0
