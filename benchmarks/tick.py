"""
What it costs a node to notice that its machine slept: the tick of
L{atmosphere.node.wakefulness}.

Run from the root of a checkout: C{python -m benchmarks.tick [--json]}. A reactor with
nothing else to do ticks for five seconds as often as it ticks in some minutes otherwise.
"""

from __future__ import annotations

import time
from typing import Any, cast

from twisted.internet import reactor  # noqa: TID251, what it costs a real one is the point

from atmosphere.node import wakefulness
from benchmarks.figures import show

TICKS = 1_000
SECONDS = 5.0


def measure(*, is_ticking: bool) -> float:
    """
    Say how much processor time so many seconds take.
    """
    running = cast(Any, reactor)
    watching = wakefulness.Wakefulness(running, lambda: None, tick=SECONDS / TICKS)
    if is_ticking:
        watching.start()
    before = time.process_time()
    running.callLater(SECONDS, running.crash)
    running.run()
    watching.stop()
    return time.process_time() - before


def main() -> None:
    """
    Tick, do not tick, print the line.
    """
    spent = measure(is_ticking=True) - measure(is_ticking=False)
    cost = spent / TICKS
    percent = cost / wakefulness.TICK * 100
    figures = {"microseconds": round(cost * 1e6, 1), "cpu_percent": round(percent, 4)}
    line = "{microseconds} us each, {cpu_percent} % of a core".format(**figures)
    show("tick", figures, line)


if __name__ == "__main__":
    main()
