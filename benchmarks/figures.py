"""
How all benchmarks here show what they found: one line, or JSON, or several runs.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path

__all__ = ["ROOT", "TICK", "median", "resident_bytes", "show"]

#: The root of the checkout: where programs are started from.
ROOT = Path(__file__).resolve().parents[1]

TICK = 1 / os.sysconf("SC_CLK_TCK")


def median(values: Sequence[float], digits: int = 1) -> float:
    """
    Take the median, rounded.
    """
    return round(statistics.median(values), digits)


def resident_bytes(pid: int) -> int:
    """
    Say how much memory a process holds.
    """
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def show(name: str, figures: dict[str, float], line: str) -> None:
    """
    Print the figures: the line, or with C{--json} one object.
    """
    is_json = "--json" in sys.argv[1:]
    print(json.dumps({"benchmark": name, **figures}) if is_json else f"{name}: {line}")  # noqa: T201
