# -*- test-case-name: tests.cli.test_why -*-
"""
C{atmosphere why}: how a peer is reached and why so, or why it is not.
"""

from __future__ import annotations

from collections.abc import Iterator
from textwrap import wrap
from typing import Any

import click

from .options import Settings, command, pass_settings

__all__ = ["why"]

EXAMPLES = """
atmosphere why portland
atmosphere why 7bezgty3fu --json
"""

#: Decisions that people are shown, the last ones; C{--json} has all that are kept.
MAX_SHOWN = 12

#: Characters of a text that people are shown.
MAX_TEXT = 1000

#: What each path carries that works at all; only what is beyond it is worth a word.
FULL_SIZE = 1200

#: Columns that advice takes; the lines of ways and decisions are as long as they are.
WIDTH = 88

INDENT = "  "
COLUMN = 20


@command("why", examples=EXAMPLES, short_help="Explain how a peer is reached, and what would help.")
@click.argument("peer")
@pass_settings
def why(settings: Settings, peer: str) -> int:
    """
    Explain how PEER is reached, or why it is not: a name, a node ID or the
    beginning of one.

    It tells each way that was tried, the fact that ruled it in or out, the rule
    that chose the one in use (as numbered in docs/protocols/paths.md), what was
    decided of late, and what would help.

    Exit code: 0 there is a link that answers; 3 there is none.
    """
    from .client import LocalClient
    from .output import print_json

    answer = LocalClient(settings.state).post("/v1/why", {"peer": peer})
    if settings.is_json:
        answer.pop("version", None)
        print_json(answer)
    else:
        print("\n".join(describe(answer)))
    return 3 if answer.get("path") is None else 0


def describe(answer: dict[str, Any]) -> Iterator[str]:
    """
    Tell an answer to people, line by line.
    """
    yield _text(answer.get("summary"))
    rule = answer.get("rule")
    if rule:
        yield _rule(rule)
    yield from _ways(answer)
    yield from _facts(answer)
    yield from _decisions(answer.get("decisions") or [])
    advice = answer.get("help") or []
    yield ""
    yield "What would help:" if advice else "Nothing needs help."
    for each in advice:
        yield from wrap(_text(each), WIDTH, initial_indent=INDENT, subsequent_indent=2 * INDENT)


def _text(value: object) -> str:
    """
    Make a text safe to show.
    """
    from .output import shown

    return shown(value, MAX_TEXT)


def _rule(rule: dict[str, Any]) -> str:
    """
    Name a rule.
    """
    return f"By rule {_text(rule.get('number'))}: {_text(rule.get('text'))}."


def ago(seconds: object) -> str:
    """
    Write how long ago something was.
    """
    if not isinstance(seconds, (int, float)) or isinstance(seconds, bool):
        return "-"
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit} ago"
    return f"{seconds:.0f} s ago" if seconds >= 1 else "just now"


def _ways(answer: dict[str, Any]) -> Iterator[str]:
    """
    Tell each way.
    """
    ways = answer.get("ways") or []
    is_linked = answer.get("path") is not None
    yield ""
    yield f"Ways to {_text(answer.get('peer'))}:" if ways else "No way to it is known."
    for each in ways:
        is_relayed = each.get("kind") == "relayed"
        name = f"relay {_text(each.get('way'))}" if is_relayed else _text(each.get("way"))
        if each.get("from_port") is not None:
            name += f" from our port {_text(each['from_port'])}"
        origin = each.get("origin")
        verdict = _text(each.get("verdict"))
        yield f"{INDENT}{verdict:{COLUMN}}{name}{f', {_text(origin)}' if origin else ''}"
        fact = _text(each.get("fact"))
        if verdict == "failed" and each.get("age_s") is not None:
            fact += f"; given up {ago(each['age_s'])}"
        yield f"{INDENT}{'':{COLUMN}}{fact}"
        if measured := _measured(each):
            yield f"{INDENT}{'':{COLUMN}}{measured}"
        rule = each.get("rule")
        if rule and is_linked and verdict != "in use":
            yield f"{INDENT}{'':{COLUMN}}rule {_text(rule.get('number'))}: {_text(rule['text'])}"


def _measured(way: dict[str, Any]) -> str:
    """
    Tell how well a way carries what is sent, as far as that is known.
    """
    from .output import milliseconds

    facts = []
    if way.get("loss") is not None:
        facts.append(f"{way['loss'] * 100:.0f} % of checks lost")
    if way.get("loss") is not None and way.get("jitter_ms") is not None:
        facts.append(f"its time varies by {milliseconds(way['jitter_ms'])}")
    if (way.get("datagram_bytes") or 0) > FULL_SIZE:
        facts.append(f"datagrams of up to {int(way['datagram_bytes'])} bytes pass")
    return ", ".join(facts)


def _facts(answer: dict[str, Any]) -> Iterator[str]:
    """
    Tell what is known of both ends, as far as it matters.
    """
    lines = []
    here, there = answer.get("here") or {}, answer.get("there") or {}
    for side, name in ((here, "this node"), (there, _text(answer.get("peer")))):
        facts = list(_side(side))
        if answer.get("path") is None and side.get("seen_s") is not None:
            facts.append(f"last heard {ago(side['seen_s'])}")
        addresses = [_text(each) for each in side.get("addresses") or []]
        told = [", ".join(facts), f"its addresses: {', '.join(addresses)}" if addresses else ""]
        head = f"{name}:"
        for line in filter(None, told):
            lines.append(f"{INDENT}{head:{COLUMN}}{line}")
            head = ""
    if lines:
        yield ""
        yield "Known of the two:"
        yield from lines


def _side(side: dict[str, Any]) -> Iterator[str]:
    """
    Tell what is known of one end.
    """
    if side.get("udp") is not None:
        yield "UDP works" if side["udp"] else "no UDP: no STUN server answers"
    if side.get("stable_port") is not None:
        yield (
            "others see it at one port"
            if side["stable_port"]
            else "its NAT takes another public port for each peer"
        )
    if side.get("udp_port") is not None and not side.get("addresses"):
        yield f"its UDP port is {_text(side['udp_port'])}"


def _decisions(decisions: list[dict[str, Any]]) -> Iterator[str]:
    """
    Tell what was decided, the last ones.
    """
    if not decisions:
        return
    yield ""
    yield "Decided:" if len(decisions) <= MAX_SHOWN else f"Decided, the last {MAX_SHOWN}:"
    for each in decisions[-MAX_SHOWN:]:
        way, rule, times = each.get("way"), each.get("rule"), each.get("times")
        text = _text(each.get("text"))
        if way is not None:
            text = f"{_text(way)}: {text}"
        if rule:
            text += f" (rule {_text(rule.get('number'))})"
        if isinstance(times, int) and times > 1:
            text += f", {times} times"
        yield f"{INDENT}{ago(each.get('age_s')):{COLUMN}}{text}"
