# -*- test-case-name: tests.cli.test_output -*-
"""
How answers look: one JSON object, or lines and tables for people.

Results go to standard output, everything else to standard error. Text that a
peer chose is escaped before a person sees it; JSON is pure ASCII.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from atmosphere.text import escape_peer_text

__all__ = ["describe_path", "milliseconds", "note", "print_json", "print_table", "shown"]


def print_json(answer: Mapping[str, Any], *, flush: bool = False) -> None:
    """
    Print an answer as one JSON object whose first key is C{version}.
    """
    print(json.dumps({"version": 1, **answer}, indent=2, allow_nan=False), flush=flush)


def note(text: str) -> None:
    """
    Say something beside the result.
    """
    print(text, file=sys.stderr)


def shown(value: object, limit: int = 256) -> str:
    """
    Make whatever came from outside safe to show; nothing becomes a dash.
    """
    return "-" if value is None else escape_peer_text(str(value), limit)


def milliseconds(value: object) -> str:
    """
    Write a time for people: C{0.4 ms}, C{23 ms}, or a dash.
    """
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        return "-"
    return f"{value:.1f} ms" if value < 10 else f"{value:.0f} ms"


def describe_path(path: object) -> str:
    """
    Say in words by which way a peer is reached.

    @param path: C{kind} and C{remote}, or C{None}.
    """
    if not isinstance(path, dict):
        return "-"
    kind, remote = path.get("kind"), shown(path.get("remote"))
    match kind:
        case "relayed":
            return f"via relay {remote}"
        case "direct" | "punched":
            return f"{kind} {remote}"
        case _:
            return f"{shown(kind)} {remote}"


def print_table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """
    Draw a table: with rules and colour on a terminal, as plain columns elsewhere.

    @param rows: cells that are safe to show.
    """
    if sys.stdout.isatty() and os.environ.get("TERM") != "dumb":
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text

        table = Table(
            *(each.upper() for each in headings), box=None, header_style="bold", pad_edge=False
        )
        for row in rows:
            table.add_row(*(Text(cell, overflow="fold") for cell in row))
        Console(highlight=False).print(table)  # which heeds NO_COLOR itself
        return
    lines = [[heading.upper() for heading in headings], *rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(headings))]
    for line in lines:
        print(
            "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        )
