# -*- test-case-name: tests.cli.test_answers -*-
"""
Answers on the command line: what C{join} prints when no relay helps, and C{join
--answer} where the code was made.
"""

from __future__ import annotations

import os
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .options import Settings

__all__ = ["follow_answer", "read_pasted", "show_answer"]

#: Characters that are read.
MAXIMUM_TEXT = 8192

#: Seconds for which an answer is followed, unless the user says otherwise; and those that
#: the node may be silent beyond it.
PATIENCE = 60.0
LONGEST_PATIENCE = 3600.0
GRACE = 10.0


def read_pasted(given: str, what: str, remedy: str) -> str:
    """
    Find the text that was meant: C{-} is standard input, the name of a file is its
    content, all else is the text itself.

    @param what: what it is, in words.
    @param remedy: where it is to be had.
    @raise ConfigurationError: there is no such file, or nothing in it.
    @raise JoinError: that is too long.
    """
    from atmosphere.errors import ConfigurationError, JoinError

    if given == "-":
        if sys.stdin.isatty():
            print(f"paste the {what}, then press Enter:", file=sys.stderr)
            text = sys.stdin.readline(MAXIMUM_TEXT + 1)
        else:
            text = sys.stdin.read(MAXIMUM_TEXT + 1)
    elif len(given) < 256 and os.path.isfile(given):
        with Path(given).open(encoding="utf-8", errors="replace") as file:
            text = file.read(MAXIMUM_TEXT + 1)
    elif len(given) < 256 and set(given) & {os.sep, "."}:  # which neither code nor answer has
        raise ConfigurationError(
            f"there is no file {given}: name one that holds the {what}, or use `-` and paste it"
        )
    else:
        text = given
    found = "".join(text.split())
    if not found:
        raise ConfigurationError(f"no {what} was given: {remedy}")
    if len(found) > MAXIMUM_TEXT:
        raise JoinError(f"that is no {what}: {remedy}")
    return found


def show_answer(settings: Settings, line: dict[str, Any]) -> None:
    """
    Show an answer, and what to do with it. It goes to standard output, all else to
    standard error.
    """
    from .output import note, print_json, shown

    issuer = shown(line.get("issuer"))[:10]
    if line.get("has_changed"):
        note("this machine is seen at another address now: take this answer instead of the last")
    else:
        note(
            f"the machine that made the code ({issuer}) is not reached from here, and no relay"
            " helps. Carry the line below back to it, as the code came here; there, run this and"
            " paste the line:"
        )
        note("\n    atmosphere join --answer -\n")
    if settings.is_json:
        print_json(line, flush=True)
    else:
        print(shown(line.get("answer"), 2048), flush=True)
    if line.get("stable_port") is False:
        note(
            "warning: the NAT here takes another port for each peer: it works only if the one there"
            " lets in all ports of an address; `atmosphere network` there says that in its row"
            " `filter`"
        )
    note(f"trying on until {_clock_time(line.get('expires_at'))}; Ctrl-C gives up")


def _clock_time(moment: object) -> str:
    """
    Write a time of today for people, in their own zone.
    """
    if not isinstance(moment, (int, float)):
        return "-"
    return datetime.fromtimestamp(moment, UTC).astimezone().strftime("%H:%M %Z")


def follow_answer(settings: Settings, given: str, timeout: float | None) -> int:
    """
    Have the running node let in whose answer this is, and show what it says meanwhile.

    @param given: C{-}, the name of a file, or the answer.
    @param timeout: seconds to wait for the joiner.
    @return: the status to end with.
    """
    from atmosphere.errors import NotRunningError

    from .client import LocalClient
    from .output import describe_path, milliseconds, note, print_json, shown

    text = read_pasted(given, "answer", "paste the one that `atmosphere join` printed there")
    wanted = min(max(PATIENCE if timeout is None else timeout, 1.0), LONGEST_PATIENCE)
    arguments = {"answer": text, "timeout": wanted}
    client = LocalClient(settings.state)
    last: dict[str, Any] = {}
    for last in client.stream("POST", "/v1/join/answer", arguments, timeout=wanted + GRACE):
        if last.get("knocking"):
            _show_knocking(last)
        elif "warning" in last:
            note(f"warning: {shown(last['warning'], 1000)}")
        elif last.get("reached"):
            note("it was reached, and is being let in")
    if "node_id" not in last:
        raise NotRunningError("the node stopped before the other machine came: run this again")
    if settings.is_json:
        print_json(last)
        return 0
    path = last.get("path")
    rtt = path.get("rtt_ms") if isinstance(path, dict) else None
    print(
        f"{shown(last.get('name'))} has joined the mesh {shown(last.get('mesh_name'))}:"
        f" {describe_path(path)}{'' if rtt is None else f', {milliseconds(rtt)}'}"
    )
    return 0


def _show_knocking(line: dict[str, Any]) -> None:
    """
    Show whom the node looks for, and where.
    """
    from .output import note, shown

    addresses = ", ".join(shown(each) for each in line.get("addresses") or [])
    joiner, seconds = shown(line.get("joiner"))[:10], shown(line.get("seconds"))
    note(f"knocking for {joiner} at {addresses}, for up to {seconds} s")
    for each in line.get("refused") or []:
        note(f"not at {shown(each.get('address'))}: {shown(each.get('reason'))}")
