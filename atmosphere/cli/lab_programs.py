# -*- test-case-name: tests.lab.test_internet -*-
"""
C{atmosphere lab internal}: the programs that a laboratory starts for itself.
"""

from __future__ import annotations

import json
from typing import Any

import click

from .options import Settings, pass_settings

__all__ = ["internal"]


@click.group("internal", hidden=True)
def internal() -> None:
    """
    The programs that a laboratory is made of; it starts them itself.
    """


def _ready() -> None:
    """
    Tell whoever started us that all is there.
    """
    print("ready", flush=True)


@internal.command("wire")
@click.argument("plan")
def wire(plan: str) -> None:
    """
    Carry packets between homes and the middle.
    """
    from atmosphere.lab.wire import Cable, Conditions, carry

    from .sources import elapsed, random

    wanted = json.loads(plan)
    cables = [Cable(tuple(near), tuple(far)) for near, far in wanted["cables"]]
    conditions = Conditions(*wanted["conditions"])
    carry(cables, conditions, now=elapsed, random=random, ready=_ready)


@internal.command("servers")
@pass_settings
def servers(settings: Settings) -> int:
    """
    Be the server in the middle.
    """
    from atmosphere.lab.servers import serve

    from .run import run

    async def work(reactor: Any) -> None:
        await serve(reactor, _ready)

    return run(work, settings)


@internal.command("probe")
@click.argument("kind")
@pass_settings
def probe(settings: Settings, kind: str) -> int:
    """
    Measure what is before this machine.
    """
    from atmosphere.lab.behavior import measure
    from atmosphere.lab.kinds import Kind

    from .run import run
    from .sources import entropy

    async def work(reactor: Any) -> None:
        print(json.dumps(await measure(reactor, Kind(kind), entropy=entropy)), flush=True)

    return run(work, settings, quieter=1)
