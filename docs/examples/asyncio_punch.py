"""
Two programs that find each other with nothing but each other's address, in
asyncio: a hole through both NATs, or the relay that both name.

C{python asyncio_punch.py 7777} tells how others see UDP port 7777. When each
side knows the other's, both run within ten seconds of each other, for example

    python asyncio_punch.py 7777 203.0.113.7:7777 "good morning" wss://relay.example

C{STUN=HOST:PORT} in the environment asks that server instead of public ones, and
C{SECONDS=N} is how long to punch before the relay is tried.
"""

import asyncio
import os
import sys

from twisted.internet import asyncioreactor

loop = asyncio.new_event_loop()
asyncioreactor.install(loop)

# From here on the reactor is asyncio's loop, and a Deferred is awaited by asFuture.
from twisted.internet import reactor  # noqa: E402

from atmosphere.network import (  # noqa: E402
    STUN_SERVERS,
    establish_p2p_connection,
    gather_network_info,
)


async def tell(port: int) -> int:
    """
    Tell how others see a port.
    """
    info = await gather_network_info(port).asFuture(loop)
    if info.public_endpoint is None:
        print("no STUN server answers", file=sys.stderr)
        return 1
    reachable = "reachable" if info.is_publicly_reachable else "not reachable unless punched"
    print(f"{info.best_endpoint}  NAT: {info.nat_type}, {reachable}")
    return 0


async def talk(port: int, peer: str, text: str, relay: str | None = None) -> int:
    """
    Connect, say something, and print what the other side says.
    """
    seconds = float(os.environ.get("SECONDS", "10"))
    result = await establish_p2p_connection(port, peer, relay, seconds).asFuture(loop)
    if result.connection is None:
        print(f"no way to {peer}", file=sys.stderr)
        return 1
    await result.connection.send(text.encode()).asFuture(loop)
    answer = await result.connection.receive(timeout=10).asFuture(loop)
    print(f"{result[1]}: {'nothing came' if answer is None else answer.decode()}", flush=True)
    await asyncio.sleep(1)  # what we have sent may still be on its way
    await result.connection.close().asFuture(loop)
    return 0


async def main(port: str, *words: str) -> None:
    """
    Do what the arguments say, and stop the reactor.
    """
    if "STUN" in os.environ:
        STUN_SERVERS[:] = [os.environ["STUN"]]
    try:
        status.append(await (talk(int(port), *words) if words else tell(int(port))))
    finally:
        reactor.stop()


if __name__ == "__main__":
    status: list[int] = []
    reactor.callWhenRunning(lambda: loop.create_task(main(*sys.argv[1:])))
    reactor.run()
    sys.exit(status[0] if status else 1)
