# -*- test-case-name: tests.lab.test_faults -*-
"""
C{atmosphere lab faults}: what becomes of a transfer while the network beneath it fails.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from atmosphere.errors import ConfigurationError

from .lab_workshop import conditions_of, workshop
from .options import Number, Settings, command, option, pass_settings

if TYPE_CHECKING:
    from atmosphere.lab.fault_trial import FaultResult

__all__ = ["faults", "parse_size"]

_UNITS = {"": 1, "k": 1_000, "m": 1_000_000, "g": 1_000_000_000}

#: Bytes a second: less than an open relay lets through.
RATE = 1_500_000.0


def parse_size(text: str) -> int:
    """
    Read a size such as C{50MB}.

    @raise ConfigurationError: it is none.
    """
    found = re.fullmatch(r"([0-9]{1,6})\s*([kmg]?)b?", text.strip().lower())
    if found is None or int(found[1]) == 0:
        raise ConfigurationError(f"{text!r} is no size, such as 50MB")
    return int(found[1]) * _UNITS[found[2]]


@command(
    "faults",
    examples="""
    sudo atmosphere lab faults
    sudo atmosphere lab faults "symmetric x symmetric" --fault relay --fault cut-10
    sudo atmosphere lab faults --size 10MB --json
    """,
    short_help="Break the network while a pair transfers.",
)
@click.argument("pair", nargs=-1)
@option("--fault", "names", multiple=True, metavar="NAME", help="Only this; may be repeated.")
@option("--size", default="50MB", show_default=True, metavar="SIZE", help="How much to transfer.")
@option(
    "--delay",
    type=Number(0, 2000),
    default=20.0,
    show_default=True,
    metavar="MS",
    help="Milliseconds one way on each home's uplink.",
)
@pass_settings
def faults(
    settings: Settings,
    /,
    pair: Sequence[str],
    names: tuple[str, ...],
    size: str,
    delay: float,
) -> int:
    """
    Transfer from seattle to portland, once for each fault, while routers are switched
    off and on, uplinks cut, the relay killed, or nodes stopped: whether all bytes come,
    and for how long nothing comes beyond the fault itself. PAIR is `port-restricted x
    port-restricted` if it is left out. All faults with 50 MB take a quarter of an hour.

    Exit code: 0 if each transfer is complete and equal and within its target; 1 if not.
    """
    from atmosphere.lab import Internet, parse_pair
    from atmosphere.lab.fault_trial import FaultTrial
    from atmosphere.lab.faults import FAULTS, find_faults

    from .client import LocalClient
    from .output import print_json

    kinds = parse_pair(" ".join(pair) or "port-restricted x port-restricted")
    total = parse_size(size)
    try:
        wanted = find_faults(names)
    except KeyError as error:
        known = ", ".join(fault.name for fault in FAULTS)
        raise ConfigurationError(f"{error.args[0]!r} is no fault; there are {known}") from None

    def tell(subject: str, text: str) -> None:
        if not settings.is_json:
            print(f"{subject:<9} {text}", flush=True)

    conditions = conditions_of(delay=delay, jitter=0, loss=0)
    with workshop() as (folder, times), Internet(kinds, folder, times, conditions) as internet:
        trial = FaultTrial(internet, LocalClient, tell)
        trial.prepare()
        results = trial.suffer_all(wanted, total, RATE)
    if settings.is_json:
        print_json(
            {
                "pair": trial.outcome.pair,
                "bytes": total,
                "delay_ms": delay,
                "faults": [each.as_json() for each in results],
            }
        )
    else:
        _print(results)
    is_good = all(each.is_equal and each.is_held is not False for each in results)
    return 0 if is_good else 1


def _print(results: Sequence[FaultResult]) -> None:
    """
    Print the table.
    """
    from .output import print_table

    def verdict(result: FaultResult) -> str:
        if result.fault.target is None:
            return "-"
        held = "held" if result.is_held else "MISSED"
        return f"{held}: {result.fault.target:g} s"

    print()
    print_table(
        ["fault", "completed, equal", "cut", "interruption beyond the cut", "target"],
        [
            [
                each.fault.name,
                "yes" if each.is_equal else "NO",
                f"{each.fault.cut:g} s",
                f"{each.interruption:.2f} s",
                verdict(each),
            ]
            for each in results
        ],
    )
