"""
How many bytes travel for each byte of an application, directly and relayed.

Run from the root of a checkout: C{python -m benchmarks.overhead [--json]}. Two whole
nodes and a relay on a simulated network, where each datagram and each segment is
seen; headers of IPv4, UDP and TCP are added to what is seen. Relayed, the sender's
line and the receiver's are counted apart. The small request is 100 bytes there and
back, its acknowledgements included.
"""

from __future__ import annotations

import tempfile

from twisted.internet.protocol import Factory

from atmosphere.testing.link import TraceRecord
from atmosphere.testing.machine import RELAY_ADDRESS
from benchmarks.figures import show
from benchmarks.traffic import Asker, Echo, Sink, Source
from tests.node.harness import World

BULK = 4_000_000
SIZE = 100
REQUESTS = 100
#: Bytes of IPv4 with UDP, and of IPv4 with TCP and its time stamps.
UDP_HEADERS = 28
TCP_HEADERS = 52
#: What one TCP segment carries on Ethernet.
SEGMENT = 1448

SENDER, RECEIVER = "198.51.100.1", "198.51.100.2"


def _wire_bytes(record: TraceRecord) -> int:
    """
    Count what a packet is on the wire.
    """
    if record.kind == "udp":
        return record.size + UDP_HEADERS
    segments = max(1, -(-record.size // SEGMENT))
    return record.size + segments * TCP_HEADERS


def _on_line(trace: list[TraceRecord], address: str) -> int:
    """
    Count the bytes that passed the line of a host, both ways.
    """
    return sum(
        _wire_bytes(each)
        for each in trace
        if each.kind in ("udp", "tcp") and address in (each.source[0], each.destination[0])
    )


def measure(policy: str) -> tuple[float, float, float]:
    """
    Send in a simulated world.

    @return: bytes on the sender's line, and on the receiver's, for each byte of
        bulk data; bytes on the sender's line for one request and its answer.
    """
    with tempfile.TemporaryDirectory(prefix="atmosphere-") as folder:
        world = World(f"{folder}/world")
        world.start_relay()
        here = world.node("portland", SENDER, path_policy=policy)
        there = world.node("seattle", RECEIVER, path_policy=policy)
        world.join(here, there)
        kind = "relayed" if policy == "relayed" else "direct"
        world.until(lambda: here.path_to(there) == kind)
        world.advance(30)
        there.service.listen("bench.sink", Factory.forProtocol(Sink))
        there.service.listen("bench.echo", Factory.forProtocol(Echo))
        link = here.link_to(there)
        assert link is not None

        trace = world.network.record()
        source = Source(BULK)
        link.open_stream("bench.sink", source)
        world.result(source.done)
        sent, received = (_on_line(trace, each) / BULK for each in (SENDER, RECEIVER))
        relayed = sum(RELAY_ADDRESS in (each.source[0], each.destination[0]) for each in trace)
        if (policy == "relayed") != (relayed > BULK / 65_536):
            raise RuntimeError(f"the data did not go {kind}")

        asker = Asker(SIZE, REQUESTS, world.clock.seconds)
        trace = world.network.record()
        link.open_stream("bench.echo", asker)
        world.result(asker.done)
        asked = _on_line(trace, SENDER) / REQUESTS
        world.stop()
        world.release()
    return sent, received, asked


def main() -> None:
    """
    Count directly and relayed, print the line.
    """
    direct, _, direct_request = measure("auto")
    up, down, relayed_request = measure("relayed")
    figures = {
        "direct_percent": round(100 * (direct - 1), 1),
        "relayed_sender_percent": round(100 * (up - 1), 1),
        "relayed_receiver_percent": round(100 * (down - 1), 1),
        "direct_request_bytes": round(direct_request),
        "relayed_request_bytes": round(relayed_request),
    }
    show(
        "overhead on the wire",
        figures,
        "bulk direct {direct_percent} %, relayed {relayed_sender_percent} % on the sender's line"
        " and {relayed_receiver_percent} % on the receiver's; {size} B there and back:"
        " direct {direct_request_bytes} B, relayed {relayed_request_bytes} B".format(
            size=SIZE, **figures
        ),
    )


if __name__ == "__main__":
    main()
