"""
Somebody else's ICE agent, aioice, in a process of its own; run by the tests.

It reads and writes lines of JSON: writes its credentials and candidates, reads the
other's, connects, and sends each datagram that comes back with C{"echo "} before it.
"""

from __future__ import annotations

import argparse
import asyncio  # noqa: TID251, it is what the other agent is made of
import json
import sys
from collections.abc import Sequence
from typing import Any

import aioice
import aioice.ice


def tell(**message: Any) -> None:
    """
    Write a line.
    """
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


async def serve(options: argparse.Namespace) -> None:
    """
    Be a peer until stdin ends.
    """
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    server = None
    if options.stun:
        host, _, port = options.stun.rpartition(":")
        server = (host, int(port))
    peer = aioice.Connection(ice_controlling=options.controlling, stun_server=server)
    await peer.gather_candidates()
    tell(
        ufrag=peer.local_username,
        pwd=peer.local_password,
        candidates=[each.to_sdp() for each in peer.local_candidates],
    )
    other = json.loads(await reader.readline())
    peer.remote_username, peer.remote_password = other["ufrag"], other["pwd"]

    async def take(lines: Sequence[str], *, is_complete: bool) -> None:
        for line in lines:
            await peer.add_remote_candidate(aioice.Candidate.from_sdp(line))
        if is_complete:
            await peer.add_remote_candidate(None)

    await take(other["candidates"], is_complete=other["is_complete"])

    async def trickle() -> None:
        while not peer._remote_candidates_end:
            more = json.loads(await reader.readline())
            await take(more["candidates"], is_complete=more["is_complete"])

    trickling = asyncio.ensure_future(trickle())
    await peer.connect()
    tell(connected=True, controlling=peer.ice_controlling)
    await peer.send(b"hello")
    try:
        while True:
            await peer.send(b"echo " + await peer.recv())
    except ConnectionError:
        tell(lost=True)
    trickling.cancel()


def main() -> None:
    """
    Read the options, and be a peer.
    """
    parser = argparse.ArgumentParser()
    parser.add_argument("--controlling", action="store_true")
    parser.add_argument("--host", action="append", default=[])
    parser.add_argument("--stun")
    options = parser.parse_args()
    if options.host:  # on its own it leaves loopback out
        aioice.ice.get_host_addresses = lambda use_ipv4, use_ipv6: options.host
    asyncio.run(serve(options))


if __name__ == "__main__":
    main()
