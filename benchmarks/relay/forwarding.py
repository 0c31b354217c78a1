"""
What it costs a relay to forward: processor time per frame and per megabyte.

Run from the root of a checkout: C{python -m benchmarks.relay.forwarding}. Two
nodes and the relay run on this machine; only the relay's time is counted. The
relay reports how much it forwarded, so that what the nodes lose does not count.
"""

from __future__ import annotations

import json
import random
import secrets
import time
from collections.abc import Coroutine
from typing import Any
from urllib.request import urlopen

from twisted.internet import task
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread

from atmosphere.identity import NodeKey
from atmosphere.network.relay.client import RelayClient
from atmosphere.network.relay.frames import HelloCredentials
from benchmarks.relay.relay_process import RelayProcess, start_relay

CASES = [  # name, datagrams of 1,200 bytes in a frame, frames, frames a turn
    ("single datagrams", 1, 40_000, 4),
    ("batches of 16 KiB", 13, 10_000, 2),
    ("batches of 64 KiB", 54, 3_000, 1),
]


def forwarded(relay: RelayProcess) -> tuple[int, int]:
    """
    Ask the relay how many frames and bytes it has forwarded.
    """
    with urlopen(f"http://127.0.0.1:{relay.port}/stats") as response:
        facts = json.load(response)
    return facts["messages_relayed"], facts["total_bytes_relayed"]


def make_client(reactor: Any, relay: RelayProcess) -> RelayClient:
    """
    Make a node that ignores what it gets.
    """
    return RelayClient(
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


async def measure(reactor: Any, relay: RelayProcess) -> str:
    """
    Measure all cases.

    @return: one line of figures.
    """
    sender, receiver = make_client(reactor, relay), make_client(reactor, relay)
    for client in (sender, receiver):
        client.startService()
        await client.when_welcomed()
    destination = receiver._key.node_id  # noqa: SLF001
    figures = []
    for name, count, frames, a_turn in CASES:
        batch = [bytes(1200)] * count
        frames_before, bytes_before = await deferToThread(forwarded, relay)
        cpu_before = relay.cpu_seconds()
        for number in range(frames):
            sender.send(destination, batch)
            if number % a_turn == 0:
                await task.deferLater(reactor, 0)
        await task.deferLater(reactor, 0.3)
        cpu = relay.cpu_seconds() - cpu_before
        frames_after, bytes_after = await deferToThread(forwarded, relay)
        done, size = frames_after - frames_before, bytes_after - bytes_before
        figures.append(f"{name} {cpu / done * 1e6:.1f} us, {cpu / size * 1e9:.2f} ms/MB")
    await sender.stopService()
    await receiver.stopService()
    return "relay forwarding, CPU of the relay: " + "; ".join(figures)


async def run(reactor: Any) -> None:
    """
    Start a relay, measure it, print the line.
    """
    relay = start_relay()
    try:
        print(await measure(reactor, relay))  # noqa: T201
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
