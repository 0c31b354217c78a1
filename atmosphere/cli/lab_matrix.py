# -*- test-case-name: tests.lab.test_command -*-
"""
C{atmosphere lab matrix}: all pairs of homes, and how they compare with what they have to
reach.
"""

from __future__ import annotations

import contextlib
import os
import platform
import shlex
from collections.abc import Callable, Generator, Iterator, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from .lab_workshop import (
    EndedError,
    conditions_of,
    lab_options,
    status_of,
    summary,
    try_pair,
    workshop,
)
from .options import Settings, command, option, pass_settings

if TYPE_CHECKING:
    from atmosphere.lab import Conditions, Kind, Outcome
    from atmosphere.lab.tables import RowResult

__all__ = ["machine", "markdown", "matrix", "time_left"]

JSON = dict[str, Any]


@command(
    "matrix",
    examples="""
    sudo atmosphere lab matrix "none x cgnat" "symmetric x symmetric"
    sudo atmosphere lab matrix --runs 5
    sudo atmosphere lab matrix --runs 5 --json >matrix.json
    sudo atmosphere lab matrix --runs 5 --markdown >results.md
    """,
    short_help="Try all pairs, or some, and compare them with their targets.",
)
@click.argument("pairs", nargs=-1)
@lab_options
@option("--markdown", "is_markdown", is_flag=True, help="Print a report as docs/RESULTS.md has it.")
@pass_settings
def matrix(
    settings: Settings,
    /,
    pairs: Sequence[str],
    runs: int,
    timeout: float,
    is_markdown: bool,
    **options: Any,
) -> int:
    """
    Try each of all pairs, or only the PAIRS named, one after the other. All of
    them take about ten minutes, and with `--runs 5` about half an hour: where it is
    chance when a pair becomes direct, it is then tried five times as often.

    At the end stands what each kind of pair has to reach, and whether it did: with
    20 ms on each uplink, no loss and no jitter. Times are true on an idle machine
    alone.

    One that fails is told, and the others go on. Ctrl-C leaves nothing behind, and what
    was found until then is shown. Exit code: 0 if each is connected, and directly if
    its NATs let it, however long it took; 1 if not; 130 after Ctrl-C.
    """
    from atmosphere.lab import all_pairs, parse_pair
    from atmosphere.lab.tables import has_targets, sum_up

    from .output import note, print_json
    from .sources import elapsed, wall

    wanted = [parse_pair(each) for each in pairs] or list(all_pairs())
    conditions = conditions_of(**options)
    outcomes: list[Outcome] = []
    before, begun = machine(wall()), elapsed()
    ended: BaseException | None = None
    try:
        with contextlib.closing(_try_each(wanted, conditions, runs, timeout)) as trying:
            for outcome in trying:
                outcomes.append(outcome)
                number = len(outcomes)
                line = f"{number:>2}/{len(wanted)}  {outcome.pair:<39}  {summary(outcome)}"
                if not (settings.is_json or is_markdown):
                    print(line, flush=True)
                elif settings.verbosity >= 0:
                    note(line + time_left(elapsed() - begun, number, len(wanted)))
    except (KeyboardInterrupt, EndedError) as error:
        if not outcomes:
            raise
        ended = error
        note(f"\nended after {len(outcomes)} of {len(wanted)} pairs")
    rows = sum_up(outcomes) if has_targets(conditions) else []
    facts = before | {
        "load_after": machine(wall())["load_before"],
        "seconds": round(elapsed() - begun),
        "command": _command(click.get_current_context()),
    }
    if settings.is_json:
        print_json(_report(outcomes, rows, timeout, facts, options, len(wanted)))
    elif is_markdown:
        print("\n".join(markdown(outcomes, rows, conditions, facts, len(wanted))))
    else:
        _print_rows(rows)
    if ended is not None:
        raise ended
    return 1 if any(map(status_of, outcomes)) else 0


def _try_each(
    wanted: Sequence[tuple[Kind, Kind]], conditions: Conditions, runs: int, timeout: float
) -> Generator[Outcome, None, None]:
    """
    Try one pair after the other; what keeps one from being built is its outcome.
    """
    from atmosphere.lab import LabError, Outcome
    from atmosphere.lab.targets import runs_of

    with workshop() as (folder, times):
        for number, kinds in enumerate(wanted, 1):
            place = folder / str(number)
            place.mkdir()
            try:
                count = runs_of(*kinds, runs)
                yield try_pair(kinds, conditions, count, timeout, place, times, lambda *_: None)
            except LabError as error:
                yield Outcome(kinds, error=str(error))


def _command(context: click.Context) -> str:
    """
    Write the command that was given, without what is as it would be anyway.
    """
    words = ["atmosphere", "lab", "matrix", *context.params["pairs"]]
    for each in context.command.params:
        name = each.name or ""
        is_usual = context.get_parameter_source(name) is click.core.ParameterSource.DEFAULT
        if isinstance(each, click.Option) and name in context.params and not is_usual:
            value = context.params[name]
            words += [each.opts[0]] if each.is_flag else [each.opts[0], f"{value:g}"]
    return shlex.join(words)


def time_left(seconds: float, done: int, wanted: int) -> str:
    """
    Say how long the rest takes, roughly, if that is worth knowing.

    @param seconds: how long it took so far.
    """
    minutes = seconds / done * (wanted - done) / 60
    return f"  (about {minutes:.0f} min left)" if minutes >= 1 else ""


def machine(now: float) -> JSON:
    """
    Describe the machine that times are taken on, and how busy it is.

    @param now: POSIX time.
    """
    moment = datetime.fromtimestamp(now, UTC)
    return {
        "date": moment.strftime("%Y-%m-%d %H:%M UTC"),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "load_before": round(os.getloadavg()[0], 2),
    }


def _processor() -> str:
    """
    Name the processor, as well as the system can.
    """
    with contextlib.suppress(OSError), open("/proc/cpuinfo", encoding="utf-8") as file:
        for line in file:
            name, _, value = line.partition(":")
            if name.strip() == "model name":
                return value.strip()
    return platform.machine()


def _report(
    outcomes: Sequence[Outcome],
    rows: Sequence[RowResult],
    timeout: float,
    facts: JSON,
    options: JSON,
    wanted: int,
) -> JSON:
    """
    Write all of it down.

    @param wanted: how many pairs were to be tried.
    """
    from atmosphere.lab.tables import misses

    return {
        "delay_ms": options["delay"],
        "jitter_ms": options["jitter"],
        "loss_percent": options["loss"],
        "timeout_s": timeout,
        "machine": facts,
        "complete": len(outcomes) == wanted,
        "holds": not any(each.misses for each in rows) if rows else None,
        "rows": [each.as_json() for each in rows],
        "pairs": [
            outcome.as_json() | {"misses": list(misses(outcome)) if rows else None}
            for outcome in outcomes
        ],
    }


def _both(times: JSON | None, write: Callable[[object], str]) -> str:
    """
    Write a median and the worst.
    """
    if times is None:
        return "-"
    return f"{write(times['median'])}, {write(times['max'])}"


def _cells(each: RowResult) -> list[str]:
    """
    Write a row of the table, but for its name.
    """
    from .output import milliseconds

    return [
        str(len(each.outcomes)),
        f"{each.connected}/{each.runs}",
        f"{each.direct}/{each.runs}",
        _both(each.times("first_reply_ms"), milliseconds),
        _both(each.times("direct_ms"), milliseconds),
        "missed" if each.misses else "reached",
    ]


_HEADINGS = ("pairs", "connected", "direct", "first byte", "direct after", "target")


def _print_rows(rows: Sequence[RowResult]) -> None:
    """
    Print what each kind of pair reached, for people.
    """
    from .output import print_table, shown

    if not rows:
        print("\nno targets: there are some for 20 ms on each uplink, without loss and jitter")
        return
    print("\nTimes are the median of the slowest pair, and the slowest run.\n")
    print_table(["", *_HEADINGS], [[shown(each.row.value), *_cells(each)] for each in rows])
    for each in rows:
        if each.misses:
            print(f"\n{each.row.value}\n  wanted: {' or '.join(t.words for t in each.targets)}")
            for miss in each.misses:
                print(f"  {shown(miss, 300)}")


def markdown(
    outcomes: Sequence[Outcome],
    rows: Sequence[RowResult],
    conditions: Conditions,
    facts: JSON,
    wanted: int,
) -> Iterator[str]:
    """
    Write a report: how it was measured, each kind of pair, and each pair.

    @param facts: about the machine and the measurement.
    @param wanted: how many pairs were to be tried.
    """
    from atmosphere.lab.tables import misses

    from .output import milliseconds, shown

    yield f"### {facts['date']}"
    yield ""
    yield f"    sudo {facts['command']}"
    yield ""
    seconds = facts["seconds"]
    lasted = f"{seconds / 60:.0f} minutes" if seconds >= 120 else f"{seconds} seconds"
    yield (
        f"{facts['cores']} cores ({facts['processor']}), {facts['system']}, Python"
        f" {facts['python']}; load {facts['load_before']} at the beginning and"
        f" {facts['load_after']} at the end; all of it took {lasted}."
    )
    distance = f"{conditions.delay * 1000:g} ms one way on each uplink"
    if conditions.jitter:
        distance += f", at most {conditions.jitter * 1000:g} ms more"
    if conditions.loss:
        distance += f", {conditions.loss:.1%} lost"
    yield f"{distance}. In the first table times are the median of the slowest pair, and the"
    yield "slowest run; in the second the median and the slowest run of the pair."
    if len(outcomes) < wanted:
        yield ""
        yield f"It was ended after {len(outcomes)} of {wanted} pairs."
    if rows:
        yield ""
        yield from _table(
            ["kind of pair", *_HEADINGS[:-1], "wanted", "target"],
            (
                [each.row.value, *cells[:-1], " or ".join(t.words for t in each.targets), cells[-1]]
                for each in rows
                for cells in [_cells(each)]
            ),
        )
    yield ""
    yield from _table(
        ["pair", "connected", "direct", "first byte", "direct after", "missed"],
        (
            [
                each.pair,
                f"{sum(run.first_reply_ms is not None for run in each.runs)}/{len(each.runs)}",
                f"{each.direct}/{len(each.runs)}",
                _both(each.times("first_reply_ms"), milliseconds),
                _both(each.times("direct_ms"), milliseconds),
                shown("; ".join(misses(each)), 300) if rows else "",
            ]
            for each in outcomes
        ),
    )


def _table(headings: Sequence[str], rows: Iterator[list[str]]) -> Iterator[str]:
    """
    Write a table as Markdown.
    """
    yield f"| {' | '.join(headings)} |"
    yield f"|{'---|' * len(headings)}"
    for cells in rows:
        yield f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |"
