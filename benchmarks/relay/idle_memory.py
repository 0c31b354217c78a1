"""
What an idle node costs a relay: resident memory per connection, and processor time.

Run from the root of a checkout: C{python -m benchmarks.relay.idle_memory [NODES]}.
"""

from __future__ import annotations

import random
import resource
import secrets
import sys
import time
from collections.abc import Coroutine
from typing import Any

from twisted.internet import task
from twisted.internet.defer import Deferred

from atmosphere.identity import NodeKey
from atmosphere.network.relay.client import RelayClient
from atmosphere.network.relay.frames import HelloCredentials
from benchmarks.relay.relay_process import start_relay

WARM_UP = 50
IDLE_SECONDS = 20


async def run(reactor: Any) -> None:
    """
    Connect many nodes, let them idle, print the line.
    """
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    relay = start_relay()
    clients: list[RelayClient] = []

    async def connect(number: int) -> None:
        """
        Connect so many more, a few at a time.
        """
        for _ in range(number):
            client = RelayClient(
                reactor,
                f"ws://127.0.0.1:{relay.port}",
                NodeKey(secrets.token_bytes(32)),
                entropy=secrets.token_bytes,
                wall=time.time,  # noqa: TID251
                random=random.random,
                hello=HelloCredentials,
                on_datagrams=lambda client, source, datagrams: None,
                on_change=lambda client: None,
            )
            client.startService()
            clients.append(client)
            await client.when_welcomed()

    try:
        await connect(WARM_UP)
        before = relay.resident_bytes()
        began, cpu_before = time.perf_counter(), relay.cpu_seconds()
        await connect(count)
        seconds, cpu = time.perf_counter() - began, relay.cpu_seconds() - cpu_before
        each = (relay.resident_bytes() - before) / count
        idle_before = relay.cpu_seconds()
        await task.deferLater(reactor, IDLE_SECONDS)
        idle = (relay.cpu_seconds() - idle_before) / IDLE_SECONDS
        print(  # noqa: T201
            f"idle relay connection: {each / 1024:.1f} KiB each of {count};"
            f" login {cpu / count * 1e3:.2f} ms of the relay's CPU, {count / seconds:.0f}/s;"
            f" idle {idle * 100:.2f} % of a core"
        )
    finally:
        relay.stop()


def main(reactor: Any) -> Deferred[None]:
    """
    Run under C{task.react}.
    """
    coroutine: Coroutine[Any, Any, None] = run(reactor)
    return Deferred.fromCoroutine(coroutine)


if __name__ == "__main__":
    task.react(main)
