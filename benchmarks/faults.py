"""
What becomes of a transfer while the network beneath it fails, on a simulated network.

Run from the root of a checkout: C{python -m benchmarks.faults [--seeds 100] [--size 50]
[--jobs 2] [--json]}. Two whole nodes, portland and seattle, behind NATs that let in answers
alone, or that take another port for each destination, so that the relay carries all; 20 ms
one way on each home's uplink, 1 MB a second. The seconds are simulated.

First each fault once, during a transfer of C{--size} megabytes: whether it completes and is
equal by SHA-256, and for how long nothing comes beyond the fault itself. Then 400 kB with a
round trip of 50 ms for each seed on an uplink that loses, reorders or duplicates datagrams
in both directions, and what C{loss} then says of a way that loses 5 % of all checks. The
status is 1 if anything was missed.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from statistics import median
from typing import Any

from atmosphere.testing import PORT_RESTRICTED, SYMMETRIC
from tests.node.healing import Healing, Homes

PUNCHED = PORT_RESTRICTED, PORT_RESTRICTED
RELAYED = SYMMETRIC, SYMMETRIC
OTHER_ADDRESS = "198.51.100.77"

#: Bytes of a transfer over a line that loses, and seconds that it may take at 10 %.
SMALL = 400_000
SMALL_TARGET = 8.0

#: Seconds one way on each uplink then: with both LANs a round trip takes 50 ms.
SMALL_UPLINK = 0.012


@dataclass(frozen=True)
class Fault:
    """
    What happens.

    @ivar words: what, for people.
    @ivar target: seconds for which nothing may come; C{None} if there is no target.
    @ivar happen: makes it happen, and says for how long nothing came.
    """

    words: str
    target: float | None
    happen: Callable[[Healing], float]


FAULTS = (
    Fault("sender's NAT rebooted", 1.0, lambda it: it.reboot(it.here)),
    Fault("receiver's NAT rebooted", 1.0, lambda it: it.reboot(it.there)),
    Fault("sender's NAT has another address", 3.0, lambda it: it.reboot(it.here, OTHER_ADDRESS)),
    Fault("receiver's NAT has another", 3.0, lambda it: it.reboot(it.there, OTHER_ADDRESS)),
    Fault("sender in another network", 3.0, lambda it: it.roam(it.here, OTHER_ADDRESS)),
    Fault("receiver in another network", 3.0, lambda it: it.roam(it.there, OTHER_ADDRESS)),
    Fault("sender's uplink cut for 10 s", 0.5, lambda it: it.cut(it.here, 10)),
    Fault("receiver's uplink cut for 10 s", 0.5, lambda it: it.cut(it.there, 10)),
    Fault("sender's uplink cut for 60 s", 0.5, lambda it: it.cut(it.here, 60)),
    Fault("receiver's uplink cut for 60 s", 0.5, lambda it: it.cut(it.there, 60)),
    Fault("UDP between the two blocked", 6.5, Healing.block),
    Fault("relay killed, back after 3 s", 5.0, lambda it: it.kill_relay(3)),
    Fault("relay killed, back after 20 s", 5.0, lambda it: it.kill_relay(20)),
    Fault("sender asleep for 10 min", None, lambda it: it.sleep(it.here, 600)),
    Fault("receiver asleep for 10 min", None, lambda it: it.sleep(it.there, 600)),
)

#: Lines that are bad, and the fields of L{atmosphere.testing.link.Link} that make them so.
LINES: tuple[tuple[str, dict[str, float]], ...] = (
    ("1 % lost", {"loss": 0.01}),
    ("5 % lost", {"loss": 0.05}),
    ("10 % lost", {"loss": 0.1}),
    ("30 % lost", {"loss": 0.3}),
    ("20 % reordered", {"reordering": 0.2}),
    ("20 % duplicated", {"duplication": 0.2}),
)

#: Of the round trip, so that both directions together lose 5 %; and for how long.
CHECK_LOSS = 1 - 0.95**0.5
LOSS_SECONDS = 900.0


def suffer(number: int, homes: Homes, size: int) -> dict[str, Any]:
    """
    Let one fault happen to one transfer.

    @param size: megabytes.
    """
    fault = FAULTS[number]
    with tempfile.TemporaryDirectory(prefix="atmosphere-") as folder:
        healing = Healing(f"{folder}/world", homes=homes, total=size * 1_000_000)
        healing.send()
        kind = healing.paths[0]
        try:
            gap = fault.happen(healing)
        except TimeoutError:
            gap = float("inf")
        is_whole = healing.is_whole
        healing.close()
    return {
        "fault": fault.words,
        "path": kind,
        "equal": is_whole,
        "interruption_s": round(gap, 3),
        "target_s": fault.target,
        "held": is_whole and (fault.target is None or gap <= fault.target),
    }


def small(line: int, seed: int) -> float | None:
    """
    Transfer 400 kB over a bad line.

    @return: in how many seconds; C{None} if it did not arrive.
    """
    with tempfile.TemporaryDirectory(prefix="atmosphere-") as folder:
        healing = Healing(
            f"{folder}/world",
            homes=PUNCHED,
            total=SMALL,
            seed=seed,
            rate=None,
            uplink=SMALL_UPLINK,
        )
        assert healing.here.nat is not None
        healing.world.network.set_link(healing.here.nat, **LINES[line][1])
        healing.world.advance(10)
        healing.send(lead=0)
        try:
            healing.finish(300)
        except TimeoutError:
            return None
        finally:
            is_whole = healing.is_whole
            seconds = max(healing.receiver.times, default=0.0) - healing.sent_at
            healing.close()
    return seconds if is_whole else None


def loss(seed: int) -> float | None:
    """
    Read what C{why} says of the loss of a way that loses 5 % of all checks.
    """
    with tempfile.TemporaryDirectory(prefix="atmosphere-") as folder:
        healing = Healing(f"{folder}/world", homes=PUNCHED, seed=seed)
        assert healing.here.nat is not None
        healing.world.network.set_link(healing.here.nat, loss=CHECK_LOSS)
        healing.world.advance(LOSS_SECONDS)
        ways = healing.here.service.why("seattle")["ways"]
        found = [each["loss"] for each in ways if each["verdict"] == "in use"]
        healing.world.stop()
        healing.world.release()
    return found[0] if found else None


def say(text: str) -> None:
    """
    Print a line at once.
    """
    print(text, flush=True)  # noqa: T201


def _table(rows: Sequence[dict[str, Any]]) -> None:
    """
    Print what became of the transfers.
    """
    say(f"{'fault':<34}{'path':<10}{'equal':<7}{'interruption':<14}target")
    for row in rows:
        target = "-" if row["target_s"] is None else f"{row['target_s']:g} s"
        verdict = "" if row["held"] else "  MISSED"
        equal = "yes" if row["equal"] else "NO"
        gap = f"{row['interruption_s']:.3f} s"
        say(f"{row['fault']:<34}{row['path']:<10}{equal:<7}{gap:<14}{target}{verdict}")


def main() -> int:
    """
    Do all, print it, compare it.
    """
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.faults",
        description="A transfer while a simulated network fails.",
    )
    parser.add_argument("--seeds", type=int, default=100, help="how many seeds of each bad line")
    parser.add_argument("--size", type=int, default=50, help="megabytes to transfer at each fault")
    parser.add_argument("--jobs", type=int, default=2, help="how many processes")
    parser.add_argument("--json", action="store_true", help="one JSON object")
    arguments = parser.parse_args()
    seeds = range(1, arguments.seeds + 1)
    with ProcessPoolExecutor(arguments.jobs) as pool:
        work = [
            pool.submit(suffer, number, homes, arguments.size)
            for homes in (PUNCHED, RELAYED)
            for number, fault in enumerate(FAULTS)
            if homes == PUNCHED or fault.happen is not Healing.block
        ]
        rows = [each.result() for each in work]
        if not arguments.json:
            _table(rows)
            say(f"\n{'400 kB at 50 ms':<34}{'arrived':<11}{'median':<10}worst")
        lines = []
        for number, (words, _) in enumerate(LINES):
            times = list(pool.map(small, [number] * len(seeds), seeds))
            found = [each for each in times if each is not None]
            lines.append(
                {
                    "line": words,
                    "arrived": len(found),
                    "of": len(times),
                    "median_s": round(median(found), 2) if found else None,
                    "worst_s": round(max(found), 2) if found else None,
                }
            )
            if not arguments.json:
                arrived = f"{len(found)} of {len(times)}"
                middle, worst = f"{median(found):.2f} s", f"{max(found):.2f} s"
                say(f"{words:<34}{arrived:<11}{middle:<10}{worst}")
        told = [each for each in pool.map(loss, seeds[:20]) if each is not None]
    figures = {"median": median(told), "least": min(told), "most": max(told), "of": len(told)}
    if arguments.json:
        say(json.dumps({"faults": rows, "lines": lines, "loss": figures}))
    else:
        say(
            "\nloss of a way that loses 5 % of all checks, after 15 minutes:"
            " {median:.1%}, from {least:.1%} to {most:.1%} in {of} runs".format(**figures)
        )
    is_whole = all(each["arrived"] == each["of"] for each in lines)
    ten = next(each for each in lines if each["line"] == "10 % lost")["worst_s"]
    is_good = all(row["held"] for row in rows) and is_whole
    return 0 if is_good and ten is not None and ten <= SMALL_TARGET else 1


if __name__ == "__main__":
    sys.exit(main())
