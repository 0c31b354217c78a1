"""
How soon two homes behind NATs reach each other directly.

Run from the root of a checkout: C{python -m benchmarks.punch [--json]}. Two whole
nodes behind port-restricted NATs and a relay, on a simulated network where nothing
but the lines takes time. Both NATs have forgotten everything when one node pings the
other until a reply comes directly, as C{atmosphere ping PEER --until-direct} does. Each
run has another seed, and so other timers.
"""

from __future__ import annotations

import tempfile

from atmosphere.testing import PORT_RESTRICTED
from benchmarks.figures import median, show
from tests.node.harness import World

RUNS = 11


def measure(seed: int) -> tuple[float, float, float]:
    """
    Punch once.

    @return: milliseconds until the first reply, until the first direct one, and
        of a round trip by the punched path.
    """
    with tempfile.TemporaryDirectory(prefix="atmosphere-") as folder:
        world = World(f"{folder}/world", seed=seed)
        world.start_relay()
        here = world.node("portland", "198.51.100.1", behind=PORT_RESTRICTED)
        there = world.node("seattle", "198.51.100.2", behind=PORT_RESTRICTED)
        world.join(here, there)
        for each in (here, there):
            each.kill()
            assert each.nat is not None
            each.nat.reboot()
        for each in (here, there):
            each.restart()
        found = world.ping(here, "seattle", count=1000, interval=0.02, until_direct=True)
        trip = world.ping(here, "seattle")["rtt_ms"]["median"]
        world.stop()
        world.release()
    if found["path"]["kind"] != "punched":
        raise RuntimeError("no hole was punched")
    return found["first_reply_ms"], found["direct_ms"], trip


def main() -> None:
    """
    Measure, print the line.
    """
    first, direct, trips = zip(*map(measure, range(1, RUNS + 1)), strict=True)
    figures = {
        "first_reply_ms": median(first),
        "direct_ms": median(direct),
        "slowest_direct_ms": round(max(direct), 1),
        "round_trip_ms": median(trips),
    }
    show(
        "two homes behind port-restricted NATs",
        figures,
        "round trip {round_trip_ms} ms; first reply after {first_reply_ms} ms, directly after"
        " {direct_ms} ms, {slowest_direct_ms} ms in the slowest of {runs} runs".format(
            **figures, runs=RUNS
        ),
    )


if __name__ == "__main__":
    main()
