"""
Which pairs of homes reach each other directly, and how soon, on a simulated network.

Run from the root of a checkout: C{python -m benchmarks.paths [--seeds 100] [--pair
"symmetric x port-restricted"]... [--jobs 2] [--json]}. Two whole nodes, portland and
seattle, each in a home, with a relay and its STUN server in the middle; each uplink takes
20 ms one way, and up to 2 ms more. Both have just started behind routers without memory
when seattle asks for portland. The seed decides about chance, timers and delays; the
seconds are simulated, and the same on every machine. What is measured is compared with
C{atmosphere/lab/targets.py}; the status is 1 if anything was missed.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from statistics import median
from typing import Any

from atmosphere.errors import ConfigurationError
from atmosphere.lab.kinds import all_pairs, parse_pair
from tests.testing.pairs import Meeting, Pair, meet

#: Seeds that one process does in a row.
PORTION = 5

HEADER = ("pair", "connected", "direct", "first", "worst", "direct", "worst", "targets")
ROW = "{:<41}{:>10}{:>8}{:>8}{:>7}{:>9}{:>7}  {}"


def several(pair: Pair, seeds: Sequence[int]) -> list[Meeting]:
    """
    Do a portion of one pair's work.
    """
    return [meet(pair, seed) for seed in seeds]


def summary(pair: Pair, meetings: Sequence[Meeting]) -> dict[str, Any]:
    """
    Sum up what became of a pair.
    """
    first = [each.first for each in meetings]
    direct = [each.direct for each in meetings]
    return {
        "pair": str(pair),
        "prospect": pair.prospect,
        "seeds": len(meetings),
        "connected": sum(each is not None for each in first) / len(meetings),
        "direct": sum(each is not None for each in direct) / len(meetings),
        "first_s": spread(first),
        "direct_s": spread(direct),
        "paths": sorted({each.path for each in meetings if each.path is not None}),
        "most_mappings": max(each.mappings for each in meetings),
        "errors": sorted({each.error for each in meetings if each.error is not None}),
        "missed": pair.target.misses(first, direct),
        "cpu_s": round(sum(each.cpu for each in meetings) / len(meetings), 3),
    }


def spread(values: Iterable[float | None]) -> dict[str, float] | None:
    """
    Give the median and the worst of those that are there.
    """
    found = [each for each in values if each is not None]
    return {"median": round(median(found), 3), "worst": round(max(found), 3)} if found else None


def line(row: dict[str, Any]) -> str:
    """
    Write a pair's line.
    """
    times = [
        f"{found[name]:.3f}" if (found := row[what]) else "-"
        for what in ("first_s", "direct_s")
        for name in ("median", "worst")
    ]
    verdict = "; ".join([*row["missed"], *row["errors"]]) or "reached"
    shares = [f"{100 * row[name]:.0f} %" for name in ("connected", "direct")]
    return ROW.format(row["pair"], *shares, *times, verdict)


def say(text: str) -> None:
    """
    Print a line at once.
    """
    print(text, flush=True)  # noqa: T201


def progress(done: int, of: int, *, is_last: bool) -> None:
    """
    Show how far it has come, if somebody looks.
    """
    if sys.stderr.isatty():
        print(f"\r{done} of {of} ", end="\n" if is_last else "", file=sys.stderr, flush=True)  # noqa: T201


def run(pool: Executor, pairs: Sequence[Pair], seeds: range, *, is_json: bool) -> list[Any]:
    """
    Do all the work, and print each pair's line once it and those before are done.
    """
    work: dict[Pair, list[Future[list[Meeting]]]] = {
        pair: [
            pool.submit(several, pair, seeds[start : start + PORTION])
            for start in range(0, len(seeds), PORTION)
        ]
        for pair in pairs
    }
    rows = []
    done, of = 0, len(pairs) * len(seeds)
    for pair, portions in work.items():
        meetings: list[Meeting] = []
        for portion in portions:
            meetings += portion.result()
            done += len(portion.result())
            progress(done, of, is_last=done == of)
        rows.append(summary(pair, meetings))
        if not is_json:
            say(line(rows[-1]))
    return rows


def main() -> int:
    """
    Read the options, run, print.
    """
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.paths",
        description="Which pairs of homes reach each other, and how soon, on a simulated network.",
    )
    parser.add_argument("--seeds", type=int, default=100, help="how many runs of each pair")
    parser.add_argument("--first-seed", type=int, default=1, help="that of the first run")
    parser.add_argument("--pair", action="append", help='such as "symmetric x cgnat"; all if none')
    parser.add_argument("--jobs", type=int, default=2, help="processes")
    parser.add_argument("--json", action="store_true", help="one JSON object")
    options = parser.parse_args()
    try:
        named = [parse_pair(text) for text in options.pair or ()]
    except ConfigurationError as error:
        parser.error(str(error))
    pairs = [Pair(*kinds) for kinds in named or all_pairs()]
    seeds = range(options.first_seed, options.first_seed + options.seeds)
    if not options.json:
        say(ROW.format(*HEADER))
    with ProcessPoolExecutor(options.jobs) as pool:
        rows = run(pool, pairs, seeds, is_json=options.json)
    missed = [row["pair"] for row in rows if row["missed"]]
    cpu = sum(row["cpu_s"] for row in rows) / len(rows)
    if options.json:
        figures = {"seeds": len(seeds), "missed": missed, "cpu_s": round(cpu, 3), "pairs": rows}
        say(json.dumps({"benchmark": "paths", **figures}))
    else:
        reached = len(pairs) - len(missed)
        say(
            f"{reached} of {len(pairs)} pairs reach their targets in {len(seeds)} runs each;"
            f" {cpu:.2f} s of processor time for a run"
        )
    return 1 if missed else 0


if __name__ == "__main__":
    raise SystemExit(main())
