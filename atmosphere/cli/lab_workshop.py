# -*- test-case-name: tests.lab.test_command -*-
"""
What the commands of C{atmosphere lab} share: where they build, how they try a pair, and
how they tell what became of it.
"""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from atmosphere.errors import AtmosphereError

from .options import Count, Number, option

if TYPE_CHECKING:
    from atmosphere.lab import Conditions, Kind, Outcome, Run, Times

__all__ = [
    "EndedError",
    "Tell",
    "conditions_of",
    "lab_options",
    "status_of",
    "summary",
    "try_pair",
    "workshop",
]

FunctionT = TypeVar("FunctionT", bound=Callable[..., Any])
Tell = Callable[[str, str], None]

#: The options of what is built: the name, what it takes, the default, what help calls it.
_OPTIONS: tuple[tuple[str, Number | Count, float, str, str], ...] = (
    ("--delay", Number(0, 2000), 20.0, "MS", "Milliseconds one way on each home's uplink."),
    (
        "--jitter",
        Number(0, 2000),
        0.0,
        "MS",
        "The most milliseconds beyond that; packets overtake each other.",
    ),
    (
        "--loss",
        Number(0, 100),
        0.0,
        "PERCENT",
        "How many of the packets are lost on each uplink.",
    ),
    ("--runs", Count(1, 1000), 1, "N", "How often each pair looks for each other."),
    ("--timeout", Number(0.1, 600), 4.0, "SECONDS", "Time to wait for a direct path."),
)


def lab_options(function: FunctionT) -> FunctionT:
    """
    Give a command the options of what it builds.
    """
    for name, takes, default, metavar, words in reversed(_OPTIONS):
        function = option(
            name, type=takes, default=default, show_default=True, metavar=metavar, help=words
        )(function)
    return function


class EndedError(AtmosphereError):
    """
    A signal has ended us.
    """


def conditions_of(*, delay: float, jitter: float, loss: float) -> Conditions:
    """
    Read what uplinks are to be like.
    """
    from atmosphere.lab import Conditions

    return Conditions(delay / 1000, jitter / 1000, loss / 100)


@contextlib.contextmanager
def workshop() -> Iterator[tuple[Path, Times]]:
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
        caught.append(KeyboardInterrupt() if is_interrupt else EndedError(f"ended by {name}"))
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


def try_pair(
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
    told = [*offers, *sorted(found, key=lambda each: each[0])]  # a cause before its effect
    return [f"{at:7.1f} ms  {node:<9} {text}" for at, node, text in told]


def summary(outcome: Outcome) -> str:
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
        return text + f"relayed{'' if status_of(outcome) == 0 else ' THOUGH IT COULD BE DIRECT'}"
    text += f"direct after {times('direct_ms')}"
    return text if len(outcome.runs) < 2 else f"{text} in {outcome.direct} of {len(outcome.runs)}"


def status_of(outcome: Outcome) -> int:
    """
    Choose the status to end with.
    """
    from atmosphere.lab import Prospect

    if not outcome.is_connected:
        return 3
    return int(outcome.prospect is not Prospect.RELAYED and outcome.direct < len(outcome.runs))
