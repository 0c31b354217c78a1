"""
How many round trips pass until the first answer of an application on a new link.

Run from the root of a checkout: C{python -m benchmarks.first_byte [--json]}. Both
nodes have their relay connection; one dials a link, beside the one that stands,
opens a stream, which leaves with its proof, and sends a byte, which the other sends
back. It is counted on a
simulated clock, where nothing but the lines takes time, and measured on real
sockets, where a proxy before the relay delays every byte; there the round trip is
that of a byte on a stream that stands.
"""

from __future__ import annotations

import selectors
import socket
import tempfile
import threading
import time
from collections import deque
from contextlib import suppress

from benchmarks.figures import median, show
from benchmarks.traffic import Asker, Echo
from benchmarks.worker import joined_pair
from tests.node.harness import World

RUNS = 9
LATENCY = 0.05
DELAY = 0.02


def simulate() -> tuple[float, float]:
    """
    Count on a simulated clock.

    @return: round trips through the relay until the link is made, and until
        the answer is there.
    """
    with tempfile.TemporaryDirectory(prefix="atmosphere-") as folder:
        world = World(f"{folder}/world", latency=LATENCY)
        world.start_relay()
        here = world.node("portland", "198.51.100.1")
        there = world.node("seattle", "198.51.100.2")
        world.network.cut(here.host, there.host, tcp=False)
        world.join(here, there)
        world.until(lambda: here.is_linked(there) and there.is_linked(here))
        world.network.advance(10)
        there.service.links.services["bench.echo"] = lambda link: Echo()
        standing = here.link_to(there)
        assert standing is not None
        asker = Asker(1, 1, world.clock.seconds)
        standing.open_stream("bench.echo", asker)
        (trip,) = world.result(asker.done)
        links, peer = here.service.links, there.key.node_id
        began = world.clock.seconds()
        ways, times = links.ways_to(peer), []
        dialling = links.endpoint.dial(peer, ways)
        dialling.addCallback(lambda _: times.append(world.clock.seconds() - began))
        link = world.result(links.endpoint.dial(peer, ways, is_early=True))
        asker = Asker(1, 1, world.clock.seconds)
        link.open_stream("bench.echo", asker)
        world.result(asker.done)
        answered = world.clock.seconds() - began
        world.result(dialling)
        linked = times[0]
        world.stop()
        world.release()
    return linked / trip, answered / trip


class DelayingProxy:
    """
    A TCP proxy on loopback that hands on all bytes some time later.

    @ivar port: where it listens.
    """

    def __init__(self, delay: float) -> None:
        """
        @param delay: in seconds, each way.
        """
        self._target = 0
        self._delay = delay
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listening.getsockname()[1]

    def start(self, target: int) -> int:
        """
        Accept from now on, in a thread.

        @param target: the port on loopback to connect to.
        @return: L{port}.
        """
        self._target = target
        threading.Thread(target=self._begin, daemon=True).start()
        return self.port

    def _begin(self) -> None:
        """
        Move bytes until the benchmark is over, which nodes and relay leave anyhow.
        """
        with suppress(ConnectionError):
            self._run()

    def _run(self) -> None:
        """
        Move bytes until one side closes a connection.
        """
        selector = selectors.DefaultSelector()
        selector.register(self._listening, selectors.EVENT_READ)
        due: deque[tuple[float, socket.socket, bytes]] = deque()
        while True:
            wait = max(0.0, due[0][0] - time.perf_counter()) if due else None
            for key, _ in selector.select(wait):
                if key.fileobj is self._listening:
                    near, _address = self._listening.accept()
                    far = socket.create_connection(("127.0.0.1", self._target))
                    for end, other in ((near, far), (far, near)):
                        end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                        selector.register(end, selectors.EVENT_READ, other)
                    continue
                source = key.fileobj
                assert isinstance(source, socket.socket)
                data = source.recv(262_144)
                due.append((time.perf_counter() + self._delay, key.data, data))
            while due and due[0][0] <= time.perf_counter():
                _, target, data = due.popleft()
                if not data:
                    return  # somebody has left: the benchmark is over
                target.sendall(data)


def measure() -> tuple[float, float]:
    """
    Measure on real sockets.

    @return: the round trip through the relay, and the time to the first answer
        in such round trips.
    """
    with joined_pair("relayed", proxy=DelayingProxy(DELAY).start) as (one, _, _):
        trips = one.call("ask", size=1, rounds=RUNS)["seconds"]
        firsts = [one.call("first_byte")["seconds"] for _ in range(RUNS)]
    trip = median(trips, 4)
    return trip, median(firsts, 4) / trip


def main() -> None:
    """
    Count and measure, print the line.
    """
    linked, counted = simulate()
    trip, measured = measure()
    show(
        "first answer over a standing relay connection",
        {
            "linked_round_trips": round(linked, 2),
            "counted_round_trips": round(counted, 2),
            "measured_round_trips": round(measured, 2),
            "measured_round_trip_ms": round(trip * 1e3, 1),
        },
        f"{counted:.2f} round trips on a simulated clock (the link after {linked:.2f}),"
        f" {measured:.2f} on sockets with a round trip of {trip * 1e3:.0f} ms",
    )


if __name__ == "__main__":
    main()
