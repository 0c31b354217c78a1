# -*- test-case-name: tests.network.path.test_selection -*-
"""
Which way carries data: a pure function of what was measured.

The rules are those of C{docs/protocols/paths.md} §5, in that order.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from typing import assert_never

from .ways import DirectWay, Way, way_text

__all__ = ["Choice", "Measurement", "PathPolicy", "Rule", "is_allowed", "select"]

#: IPv6 is counted as so much faster, in seconds: it has fewer NATs to lose.
IPV6_ADVANTAGE = 0.003

#: A way of the same class must be better by the larger of these two.
LEAST_GAIN = 0.005
LEAST_GAIN_SHARE = 0.01


class PathPolicy(Enum):
    """
    What the user wants of the link to a peer.
    """

    AUTO = "auto"
    DIRECT = "direct"
    RELAYED = "relayed"


class Rule(Enum):
    """
    The rules for which way carries data, as C{docs/protocols/paths.md} numbers them.
    """

    HANDSHAKE = "1"
    BEST = "5.1"
    ANSWERS = "5.2"
    DIRECT = "5.3"
    FASTER = "5.4"
    MAKE_DO = "5.5"


@dataclass(frozen=True, slots=True)
class Measurement:
    """
    What is known of one way at this moment.

    @ivar way: which.
    @ivar rtt: its round trip in seconds; C{None} when it was not yet measured.
    @ivar is_usable: full-size data went both ways, and nothing was lost since.
    @ivar is_suspect: its last checks have no answer yet.
    @ivar is_held: it failed too often of late.
    """

    way: Way
    rtt: float | None
    is_usable: bool = True
    is_suspect: bool = False
    is_held: bool = False


@dataclass(frozen=True, slots=True)
class Choice:
    """
    Which way to send by, and why.

    @ivar way: C{None} when no way is usable.
    @ivar reason: the measured fact and the rule, in a few words.
    @ivar rule: which one changed it; C{None} while it stays the same.
    """

    way: Way | None
    reason: str
    rule: Rule | None = None


def _is_direct(way: Way) -> bool:
    """
    Say whether a way is of the better class.
    """
    return isinstance(way, DirectWay)


def is_allowed(way: Way, policy: PathPolicy, has_been_direct: bool = False) -> bool:
    """
    Say whether the policy lets a way carry data.

    @param has_been_direct: a direct way has carried data on this link.
    """
    match policy:
        case PathPolicy.AUTO:
            return True
        case PathPolicy.DIRECT:
            return _is_direct(way) or not has_been_direct
        case PathPolicy.RELAYED:
            return not _is_direct(way)
        case never:
            assert_never(never)


def _cost(measured: Measurement) -> float:
    """
    The round trip by which ways are compared.
    """
    if measured.rtt is None:
        return float("inf")
    is_ipv6 = isinstance(measured.way, DirectWay) and measured.way.address.is_ipv6
    return measured.rtt - (IPV6_ADVANTAGE if is_ipv6 else 0)


def _rank(measured: Measurement) -> tuple[bool, bool, bool, float, str]:
    """
    Order ways, the best first; the last part only makes the order total.
    """
    return (
        measured.is_held,
        measured.is_suspect,
        not _is_direct(measured.way),
        _cost(measured),
        way_text(measured.way),
    )


def _time(rtt: float | None) -> str:
    """
    Write a round trip for people.
    """
    return "an unknown round trip" if rtt is None else f"{rtt * 1000:.1f} ms"


def select(
    active: Way | None,
    measurements: Iterable[Measurement],
    *,
    policy: PathPolicy = PathPolicy.AUTO,
    has_been_direct: bool = False,
) -> Choice:
    """
    Choose the way that carries data.

    @param active: the one that does so now.
    @param measurements: all ways.
    @param has_been_direct: a direct way has carried data on this link.
    """
    usable = sorted(
        (
            each
            for each in measurements
            if each.is_usable and is_allowed(each.way, policy, has_been_direct)
        ),
        key=_rank,
    )
    if not usable:
        return Choice(None, "no way is usable")
    current = next((each for each in usable if each.way == active), None)
    if current is None:
        best = usable[0]
        return Choice(best.way, f"the best that is left, {_time(best.rtt)}", Rule.BEST)
    better = [
        each for each in usable if each is not current and not (each.is_suspect or each.is_held)
    ]
    if not _is_direct(current.way):
        upgrade = next((each for each in better if _is_direct(each.way)), None)
        if upgrade is not None:
            reason = f"direct before relayed, {_time(upgrade.rtt)}"
            return Choice(upgrade.way, reason, Rule.DIRECT)
    rival = next((each for each in better if _is_direct(each.way) == _is_direct(current.way)), None)
    if rival is None:
        return Choice(active, "no other of its class")
    if current.is_suspect:
        reason = "the active way does not answer, this one does"
        return Choice(rival.way, reason, Rule.ANSWERS)
    if current.rtt is None:
        return Choice(active, "its round trip is not yet known")
    gain = _cost(current) - _cost(rival)
    least = max(LEAST_GAIN, LEAST_GAIN_SHARE * current.rtt)
    if gain > least:
        reason = f"{_time(rival.rtt)} instead of {_time(current.rtt)}"
        return Choice(rival.way, reason, Rule.FASTER)
    return Choice(active, f"no other is better by {least * 1000:.1f} ms")
