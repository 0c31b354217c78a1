# -*- test-case-name: tests.lab.test_command -*-
"""
C{atmosphere lab}: real NATs and real nodes on this machine, without a network.
"""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
from typing_extensions import override

from atmosphere.errors import AtmosphereError

from .lab_programs import internal
from .options import (
    CommandGroup,
    Count,
    Number,
    Settings,
    command,
    common_options,
    option,
    pass_settings,
)

if TYPE_CHECKING:
    from atmosphere.lab import Conditions, Kind, Outcome, Run, Times

__all__ = ["lab"]

EXAMPLES = """
atmosphere lab list
sudo atmosphere lab "symmetric x cgnat"
sudo atmosphere lab matrix --json
"""

FunctionT = TypeVar("FunctionT", bound=Callable[..., Any])
Tell = Callable[[str, str], None]


class _EndedError(AtmosphereError):
    """
    A signal has ended us.
    """


class _Lab(CommandGroup):
    """
    A group in which whatever is no command is a pair of homes.
    """

    @override
    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """
        Find the command, which may go without saying.
        """
        name = click.utils.make_str(args[0])
        found = self.get_command(ctx, name)
        if found is not None:
            return name, found, args[1:]
        return "pair", pair, args


def _options(function: FunctionT) -> FunctionT:
    """
    Give a command the options of what it builds.
    """
    decorators = [
        option(
            "--delay",
            type=Number(0, 2000),
            default=20.0,
            show_default=True,
            metavar="MS",
            help="Milliseconds one way on each home's uplink.",
        ),
        option(
            "--jitter",
            type=Number(0, 2000),
            default=0.0,
            metavar="MS",
            help="The most milliseconds beyond that; packets overtake each other.",
        ),
        option(
            "--loss",
            type=Number(0, 100),
            default=0.0,
            metavar="PERCENT",
            help="How many of the packets are lost on each uplink.",
        ),
        option(
            "--runs",
            type=Count(1, 1000),
            default=1,
            show_default=True,
            metavar="N",
            help="How often each pair looks for each other.",
        ),
        option(
            "--timeout",
            type=Number(0.1, 600),
            default=4.0,
            show_default=True,
            metavar="SECONDS",
            help="Time to wait for a direct path.",
        ),
    ]
    for each in reversed(decorators):
        function = each(function)
    return function


@click.group(
    "lab",
    cls=_Lab,
    examples=EXAMPLES,
    short_help="Try real NATs on this machine.",
    subcommand_metavar="PAIR | COMMAND [OPTIONS]",
)
@common_options()
def lab() -> None:
    """
    Try how two homes behind real NATs find each other. A PAIR such as `symmetric x
    cgnat` builds both homes, and servers between them, of network namespaces on
    this machine, which nothing connects to the outside; measures that the homes
    are what they are called; and runs a relay and two nodes in it. It tells what
    happened when, and leaves nothing behind.

    Needs root, Linux with nftables, iproute2 and TUN. The delay of the uplinks is
    made by a program of ours.
    """


@command("list", examples="atmosphere lab list", short_help="List the kinds of homes.")
@pass_settings
def list_kinds(settings: Settings) -> int:
    """
    List the kinds of homes, and say whether they can be built here.
    """
    from atmosphere.lab import Kind, missing

    from .output import print_json, print_table

    lacking = missing()
    if settings.is_json:
        kinds = [{"name": kind.value, "words": kind.words} for kind in Kind]
        print_json({"kinds": kinds, "missing": lacking})
        return 0
    print_table(["kind", "what it is"], [[kind.value, kind.words] for kind in Kind])
    if lacking is not None:
        print(f"\nnot on this machine now: {lacking}")
    return 0


lab.add_command(list_kinds)


@command(
    "pair",
    examples="""
    sudo atmosphere lab "symmetric x cgnat"
    sudo atmosphere lab "same-lan x same-lan" --json
    """,
    short_help="Try one pair; the word itself may be left out.",
)
@click.argument("pair", nargs=-1, required=True)
@_options
@option("--why", "has_why", is_flag=True, help="Also what `atmosphere why portland` then says.")
@pass_settings
def pair(
    settings: Settings,
    /,
    pair: Sequence[str],
    runs: int,
    timeout: float,
    has_why: bool,
    **options: Any,
) -> int:
    """
    Try one PAIR: portland is in the first home, seattle in the second, and seattle
    looks for portland.

    Exit code: 0 connected, and directly if these NATs let it; 1 relayed where they
    would let it be direct; 3 not connected.
    """
    from atmosphere.lab import parse_pair

    from .output import print_json

    kinds = parse_pair(" ".join(pair))
    conditions = _conditions(**options)
    tell = _teller(settings)
    with _workshop() as (folder, times):
        outcome = _try(kinds, conditions, runs, timeout, folder, times, tell)
    if settings.is_json:
        print_json(outcome.as_json() | {"delay_ms": options["delay"]})
    else:
        tell("done", f"{_summary(outcome)}; everything is stopped, nothing is left behind")
        if has_why and outcome.runs[-1].why is not None:
            from .why import describe

            print("\n".join(["", *describe(outcome.runs[-1].why)]))
    return _status(outcome)


@command(
    "matrix",
    examples="""
    sudo atmosphere lab matrix --json
    sudo atmosphere lab matrix "none x cgnat" "symmetric x symmetric"
    """,
    short_help="Try all pairs, or some.",
)
@click.argument("pairs", nargs=-1)
@_options
@pass_settings
def matrix(
    settings: Settings, /, pairs: Sequence[str], runs: int, timeout: float, **options: Any
) -> int:
    """
    Try each of all pairs once, or only the PAIRS named, one after the other. All
    of them take about ten minutes.

    One that fails is told, and the others go on. Exit code: 0 if each is connected,
    and directly if its NATs let it; 1 if not.
    """
    from atmosphere.lab import LabError, Outcome, all_pairs, parse_pair

    from .output import note, print_json

    wanted = [parse_pair(each) for each in pairs] or list(all_pairs())
    conditions = _conditions(**options)
    outcomes = []
    with _workshop() as (folder, times):
        for number, kinds in enumerate(wanted, 1):
            place = folder / str(number)
            place.mkdir()
            try:
                outcome = _try(kinds, conditions, runs, timeout, place, times, lambda *_: None)
            except LabError as error:
                outcome = Outcome(kinds, error=str(error))
            outcomes.append(outcome)
            line = f"{outcome.pair:<39}  {_summary(outcome)}"
            if not settings.is_json:
                print(line, flush=True)
            elif settings.verbosity >= 0:
                note(f"{number}/{len(wanted)}  {line}")
    if settings.is_json:
        print_json(
            {
                "delay_ms": options["delay"],
                "jitter_ms": options["jitter"],
                "loss_percent": options["loss"],
                "timeout_s": timeout,
                "pairs": [outcome.as_json() for outcome in outcomes],
            }
        )
    return 1 if any(map(_status, outcomes)) else 0


for each in (pair, matrix, internal):
    lab.add_command(each)


def _conditions(*, delay: float, jitter: float, loss: float) -> Conditions:
    """
    Read what uplinks are to be like.
    """
    from atmosphere.lab import Conditions

    return Conditions(delay / 1000, jitter / 1000, loss / 100)


def _teller(settings: Settings) -> Tell:
    """
    Make what tells a line, with the seconds since now.
    """
    from .sources import elapsed

    begun = elapsed()

    def tell(subject: str, text: str) -> None:
        if not settings.is_json:
            when = f"{elapsed() - begun:6.2f} s" if subject else ""
            print(f"{when:8}  {subject:<9} {text}", flush=True)

    return tell


@contextlib.contextmanager
def _workshop() -> Iterator[tuple[Path, Times]]:
    """
    Have a folder that goes away again, and the time; be ended by signals in order.

    @raise LabError: this machine lacks something.
    """
    import os
    import tempfile

    from atmosphere.lab import LabError, Times, missing
    from atmosphere.lab.programs import FOLDER_PREFIX, remove_leftovers

    from .sources import elapsed, pause, wall

    lacking = missing()
    if lacking is not None:
        raise LabError(lacking)

    caught: list[BaseException] = []

    def end(number: int, frame: object) -> None:
        if caught:  # we are taking it down already, which takes seconds at the most
            return
        is_interrupt = number == signal.SIGINT
        name = signal.Signals(number).name
        caught.append(KeyboardInterrupt() if is_interrupt else _EndedError(f"ended by {name}"))
        raise caught[0]

    def pause_here(seconds: float) -> None:
        if caught:  # it came where Python ignores errors, such as in a destructor
            raise caught[0]
        pause(seconds)

    remove_leftovers(Path(tempfile.gettempdir()))
    signals = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    heeded = [each for each in signals if signal.getsignal(each) is not signal.SIG_IGN]
    before = {each: signal.signal(each, end) for each in heeded}
    try:
        prefix = f"{FOLDER_PREFIX}{os.getpid()}-"
        with tempfile.TemporaryDirectory(prefix=prefix) as folder:
            yield Path(folder), Times(elapsed, wall, pause_here)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _try(
    kinds: tuple[Kind, Kind],
    conditions: Conditions,
    runs: int,
    timeout: float,
    folder: Path,
    times: Times,
    tell: Tell,
) -> Outcome:
    """
    Build one pair, let it look for each other, and take it down.
    """
    from atmosphere.lab import Internet, Trial

    from .client import LocalClient

    with Internet(kinds, folder, times, conditions) as internet:
        trial = Trial(internet, LocalClient, tell)
        trial.prepare()
        for number in range(runs):
            run = trial.run(timeout)
            tell("seattle", f"asked for portland{f', run {number + 1}' if runs > 1 else ''}:")
            for line in _story(run):
                tell("", line)
    return trial.outcome


def _story(run: Run) -> list[str]:
    """
    Tell what happened when, in milliseconds after seattle asked.
    """
    from .output import describe_path, shown

    why = run.why or {}
    offers = [
        (
            0.0,
            node,
            f"candidates {', '.join(map(shown, (why.get(side) or {}).get('addresses', [])))}",
        )
        for side, node in (("there", "portland"), ("here", "seattle"))
        if why.get(side)
    ]
    found = [(each.at * 1000, each.node, shown(each.text, 300)) for each in run.events]
    if run.first_reply_ms is not None:
        found.append((run.first_reply_ms, "seattle", "the first byte is back"))
    if run.direct_ms is not None:
        found.append((run.direct_ms, "seattle", f"a byte is back, {describe_path(run.path)}"))
    if run.error is not None:
        found.append((0.0, "seattle", shown(run.error, 300)))
    return [f"{at:7.1f} ms  {node:<9} {text}" for at, node, text in [*offers, *sorted(found)]]


def _summary(outcome: Outcome) -> str:
    """
    Sum up a pair in a line.
    """
    from .output import milliseconds, shown

    def times(name: str) -> str:
        found = outcome.times(name) or {}
        text = milliseconds(found.get("median"))
        return text if len(outcome.runs) < 2 else f"{text} (worst {milliseconds(found.get('max'))})"

    if not outcome.is_connected:
        reasons = [outcome.error, *(run.error for run in outcome.runs)]
        return shown(f"NOT CONNECTED: {next(filter(None, reasons), 'no answer')}", 300)
    text = f"first byte after {times('first_reply_ms')}, "
    if not outcome.direct:
        return text + f"relayed{'' if _status(outcome) == 0 else ' THOUGH IT COULD BE DIRECT'}"
    text += f"direct after {times('direct_ms')}"
    return text if len(outcome.runs) < 2 else f"{text} in {outcome.direct} of {len(outcome.runs)}"


def _status(outcome: Outcome) -> int:
    """
    Choose the status to end with.
    """
    from atmosphere.lab import Prospect

    if not outcome.is_connected:
        return 3
    return int(outcome.prospect is Prospect.DIRECT and outcome.direct < len(outcome.runs))
