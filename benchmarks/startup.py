"""
How long it takes until a program has imported atmosphere, and a command has answered.

Run from the root of a checkout: C{python -m benchmarks.startup [--json]}. All
programs are run in turn; what C{python -c pass} takes is part of each figure but
the first, which is the difference to it.
"""

from __future__ import annotations

import subprocess
import sys
import time

from benchmarks.command_line import PROGRAM, Node, environment, serving
from benchmarks.figures import median, show
from benchmarks.relay.relay_process import start_relay

RUNS = 15


def run_all(node: Node) -> dict[str, list[float]]:
    """
    Run all programs several times.

    @return: by figure, how many milliseconds each run took.
    """
    programs = {
        "python": [sys.executable, "-c", "pass"],
        "import": [sys.executable, "-c", "import atmosphere"],
        "help": [*PROGRAM, "--help"],
        "status": node.arguments("status"),
    }
    times: dict[str, list[float]] = {name: [] for name in programs}
    for _ in range(RUNS):
        for name, arguments in programs.items():
            began = time.perf_counter()
            subprocess.run(arguments, env=environment(), capture_output=True, check=True)
            times[name].append((time.perf_counter() - began) * 1e3)
    return times


def main() -> None:
    """
    Run all programs, print the line.
    """
    relay = start_relay()
    try:
        with serving(f"ws://127.0.0.1:{relay.port}", "portland") as (node,):
            times = run_all(node)
    finally:
        relay.stop()
    imports = [late - early for late, early in zip(times["import"], times["python"], strict=True)]
    figures = {
        "python_ms": median(times["python"]),
        "import_ms": median(imports),
        "help_ms": median(times["help"]),
        "status_ms": median(times["status"]),
    }
    show(
        "start",
        figures,
        "import atmosphere {import_ms}, --help {help_ms}, status {status_ms} ms;"
        " python -c pass {python_ms} ms".format(**figures),
    )


if __name__ == "__main__":
    main()
