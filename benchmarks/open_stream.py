"""
What it costs to open a stream on a link that stands: round trips and processor time.

Run from the root of a checkout: C{python -m benchmarks.open_stream [--json]}. The
round trips are counted on a simulated clock, where nothing but the lines takes
time; a byte there and back on another stream is one. The processor time is that of
two processes in which one opens streams by C{node.open} to what the other one
offers by C{node.listen}, one after the other, and closes each: opening, acceptance
and close are in it.
"""

from __future__ import annotations

from twisted.internet.protocol import Factory
from twisted.internet.task import Clock

from atmosphere.testing import MemoryMesh
from benchmarks.figures import median, show
from benchmarks.traffic import Asker, Echo, Idle
from benchmarks.worker import joined_pair

LATENCY = 0.05
ROUNDS = 5
STREAMS = 400


def simulate() -> float:
    """
    Count on a simulated clock.

    @return: round trips from C{node.open} to its result.
    """
    with MemoryMesh(Clock(), latency=LATENCY) as mesh:
        here, there = mesh.node("portland"), mesh.node("seattle")
        there.listen("echo", Factory.forProtocol(Echo))
        link = mesh.result(here.connect("seattle"))
        mesh.advance(10)
        asker = Asker(1, 2, mesh.clock.seconds)
        link.open_stream("echo", asker)
        _, trip = mesh.result(asker.done)
        began = mesh.clock.seconds()
        mesh.result(here.open("seattle", "echo", Factory.forProtocol(Idle)))
        return (mesh.clock.seconds() - began) / float(trip)


def measure() -> tuple[list[float], list[float], list[float]]:
    """
    Measure on real sockets.

    @return: processor time of him who opens and of him who accepts, and the time
        that passes, each in milliseconds a stream.
    """
    opener, acceptor, passed = [], [], []
    with joined_pair() as (one, two, _):
        one.call("open_streams", count=STREAMS // 4)
        for _ in range(ROUNDS):
            before = one.cpu(), two.cpu()
            seconds = one.call("open_streams", count=STREAMS)["seconds"]
            after = one.cpu(), two.cpu()
            opener.append((after[0] - before[0]) * 1e3 / STREAMS)
            acceptor.append((after[1] - before[1]) * 1e3 / STREAMS)
            passed.append(seconds * 1e3 / STREAMS)
    return opener, acceptor, passed


def main() -> None:
    """
    Count and measure, print the line.
    """
    trips = simulate()
    opener, acceptor, passed = measure()
    figures = {
        "round_trips": round(trips, 2),
        "opener_ms": median(opener, 2),
        "acceptor_ms": median(acceptor, 2),
        "passed_ms": median(passed, 2),
    }
    show(
        "opening a stream on a standing link",
        figures,
        "{round_trips:.2f} round trips; opener {opener_ms}, acceptor {acceptor_ms} ms CPU;"
        " {passed_ms} ms on loopback".format(**figures),
    )


if __name__ == "__main__":
    main()
