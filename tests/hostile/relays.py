"""
Nodes that run, with relays that are hostile in every way we know.

Run from the root of a checkout: C{python -m tests.hostile.relays [--seconds 30]
[--json]}. A good relay and five nodes are started as a user would, and up to seven bad
relays are given to each, see L{tests.hostile.bad_relay}. The nodes have to find each
other by the good one, and answer pings all the while.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from tests.end_to_end.harness import ROOT, EndToEndTestCase, Machine, Relay, elapsed

from .bad_relay import MANNERS
from .live import command_case, cpu_seconds, resident, show, victim_of, wanted_seconds

__all__ = ["WORST", "Borne", "attack", "bad_relays"]

#: A node takes eight relays, and one has to be good.
PER_NODE = 7

#: Those that gave most trouble.
WORST = (
    "parks and unparks",
    "unknown nodes",
    "fragments without end",
    "empty fragments",
    "changed frames",
    "drains",
    "pings",
)


@dataclass(frozen=True)
class Borne:
    """
    What the nodes bore.

    @ivar pings: seconds that each took, the command and all.
    @ivar failed: pings without an answer.
    @ivar connections: how often each manner was dialled.
    @ivar cpu: share of a core that the busiest node used.
    @ivar grown: bytes by which that grew that grew most.
    """

    pings: list[float]
    failed: int
    connections: dict[str, int]
    seconds: float
    cpu: float
    grown: int


class _Dialled:
    """
    Counts who was dialled, as the bad relays' process prints it.
    """

    def __init__(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        self.ports: dict[str, int] = json.loads(process.stdout.readline())
        self.counts: Counter[str] = Counter()
        self._lines = process.stdout
        self.thread = threading.Thread(target=self._count, daemon=True)
        self.thread.start()

    def _count(self) -> None:
        """
        Read to the end.
        """
        for line in self._lines:
            self.counts[line.strip()] += 1


@contextmanager
def bad_relays(seed: int = 1) -> Iterator[_Dialled]:
    """
    Run a bad relay of every manner, in one process.
    """
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.hostile.bad_relay", str(seed)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    dialled = _Dialled(process)
    try:
        yield dialled
    finally:
        assert process.stdin is not None
        process.stdin.close()
        process.wait()
        dialled.thread.join()


def attack(case: EndToEndTestCase, manners: Sequence[str], seconds: float) -> Borne:
    """
    Start as many nodes as it takes, and see how they are.
    """
    good = Relay(case)
    machines = [
        Machine(case, f"node{number}") for number in range(-(-len(manners) // PER_NODE) + 1)
    ]
    with bad_relays() as dialled:
        for number, machine in enumerate(machines):
            theirs = [dialled.ports[each] for each in manners[number * PER_NODE :][:PER_NODE]]
            urls = [good.url, *(f"ws://127.0.0.1:{port}" for port in theirs)]
            machine.variables["ATMOSPHERE_ALLOW_LOOPBACK"] = "1"
            machine.init(*(word for url in urls for word in ("--relay", url)))
            machine.start_unwelcome()
        first, *others = machines
        for machine in others:
            machine.run("join", "-", stdin=first.run("invite").out)
        first.wait_until_connected(*(machine.name for machine in others))
        pids = [victim_of(machine)[2] for machine in machines]
        held = [resident(pid) for pid in pids]
        spent = [cpu_seconds(pid) for pid in pids]
        pings: list[float] = []
        failed, began = 0, elapsed()
        while elapsed() - began < seconds:
            for machine in others:
                at = elapsed()
                done = first.run("ping", "-c", "1", "--timeout", "10", machine.name, status=None)
                failed += done.status != 0
                pings.append(elapsed() - at)
        took = elapsed() - began
        cpu = max((cpu_seconds(pid) - was) / took for pid, was in zip(pids, spent, strict=True))
        grown = max(resident(pid) - was for pid, was in zip(pids, held, strict=True))
        case.assert_no_traceback()
    return Borne(pings, failed, dict(dialled.counts), took, cpu, grown)


def main() -> None:
    """
    Attack, print the line.
    """
    seconds = wanted_seconds(30.0)
    with command_case() as case:
        found = attack(case, MANNERS, seconds)
    figures = {
        "manners": len(found.connections),
        "pings": len(found.pings),
        "failed": found.failed,
        "longest_ping_s": round(max(found.pings), 2),
        "most_connections": max(found.connections.values()),
        "seconds": round(found.seconds, 1),
        "cpu_percent": round(found.cpu * 100),
        "grown_mib": round(found.grown / 2**20, 1),
    }
    show(
        "hostile relays",
        figures,
        "{manners} manners, {seconds} s: {pings} pings between the nodes, {failed} failed,"
        " the longest {longest_ping_s} s with its command; no relay was dialled more than"
        " {most_connections} times; the busiest node used {cpu_percent} % of a core and"
        " grew by {grown_mib} MiB; 0 tracebacks",
    )
    if "--json" not in sys.argv:
        print(found.connections)  # noqa: T201


if __name__ == "__main__":
    main()
