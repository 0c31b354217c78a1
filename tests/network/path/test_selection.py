"""
Tests of L{atmosphere.network.path.selection}: the table of rules.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from atmosphere.addresses import TransportAddress
from atmosphere.network.path.selection import Measurement, PathPolicy, Rule, is_allowed, select
from atmosphere.network.path.ways import DirectWay, RelayedWay, Way

from .lane import A_ID

V4 = DirectWay(TransportAddress("192.0.2.1", 1))
V4B = DirectWay(TransportAddress("192.0.2.2", 1))
V6 = DirectWay(TransportAddress("2001:db8::1", 1))
R1 = RelayedWay("wss://one", A_ID)
R2 = RelayedWay("wss://two", A_ID)


def good(way: Way, ms: float | None) -> Measurement:
    """
    A way that works.
    """
    return Measurement(way, None if ms is None else ms / 1000)


def bad(way: Way, ms: float) -> Measurement:
    """
    A way that does not work.
    """
    return Measurement(way, ms / 1000, is_usable=False)


def suspect(way: Way, ms: float) -> Measurement:
    """
    A way that does not answer just now.
    """
    return Measurement(way, ms / 1000, is_suspect=True)


def held(way: Way, ms: float) -> Measurement:
    """
    A way that failed too often.
    """
    return Measurement(way, ms / 1000, is_held=True)


TABLE: list[tuple[str, Way | None, list[Measurement], Way | None, str]] = [
    ("nothing known", None, [], None, "no way is usable"),
    ("nothing usable", R1, [bad(R1, 20), bad(V4, 2)], None, "no way is usable"),
    ("first way", None, [good(R1, 20)], R1, "the best that is left, 20.0 ms"),
    ("direct before relayed at first", None, [good(R1, 20), good(V4, 50)], V4, "best"),
    ("the lowest at first", None, [good(V4, 50), good(V4B, 40)], V4B, "best"),
    ("healthy before suspect", None, [suspect(V4, 5), good(R1, 20)], R1, "best"),
    ("suspect before held", None, [held(V4, 5), suspect(R1, 20)], R1, "best"),
    ("held when alone", None, [held(V4, 5)], V4, "best"),
    ("unmeasured when alone", None, [good(V4, None)], V4, "unknown round trip"),
    ("measured before unmeasured", None, [good(V4, None), good(V4B, 90)], V4B, "best"),
    ("dead active", V4, [bad(V4, 2), good(R1, 20)], R1, "best that is left"),
    ("upgrade", R1, [good(R1, 20), good(V4, 2)], V4, "direct before relayed, 2.0 ms"),
    ("upgrade though slower", R1, [good(R1, 20), good(V4, 80)], V4, "direct before relayed"),
    ("no upgrade to suspect", R1, [good(R1, 20), suspect(V4, 2)], R1, "no other of its class"),
    ("no upgrade to held", R1, [good(R1, 20), held(V4, 2)], R1, "no other of its class"),
    ("no upgrade to unproven", R1, [good(R1, 20), bad(V4, 2)], R1, "no other of its class"),
    ("no downgrade", V4, [good(V4, 80), good(R1, 2)], V4, "no other of its class"),
    ("no downgrade when suspect", V4, [suspect(V4, 80), good(R1, 2)], V4, "no other of its class"),
    ("suspect to its like", V4, [suspect(V4, 10), good(V4B, 90)], V4B, "does not answer"),
    ("relay to relay", R1, [good(R1, 50), good(R2, 20)], R2, "20.0 ms instead of 50.0 ms"),
    ("gain just enough", V4, [good(V4, 10), good(V4B, 4.9)], V4B, "instead of"),
    ("gain not enough", V4, [good(V4, 10), good(V4B, 5.1)], V4, "by 5.0 ms"),
    ("gain of a long one", V4, [good(V4, 1000), good(V4B, 991)], V4, "by 10.0 ms"),
    ("gain of a long one, enough", V4, [good(V4, 1000), good(V4B, 989)], V4B, "instead of"),
    ("IPv6 counts as faster", V4, [good(V4, 10), good(V6, 7)], V6, "instead of"),
    ("IPv6 not fast enough", V4, [good(V4, 10), good(V6, 9)], V4, "no other"),
    ("IPv6 is kept", V6, [good(V6, 10), good(V4, 3)], V6, "no other"),
    ("IPv6 is left", V6, [good(V6, 10), good(V4, 1)], V4, "instead of"),
    ("equal: IPv6 first", None, [good(V4, 10), good(V6, 12)], V6, "best"),
    ("unmeasured is kept", V4, [good(V4, None), good(V4B, 2)], V4, "not yet known"),
    ("unmeasured is not taken", V4, [good(V4, 50), good(V4B, None)], V4, "no other"),
    ("relayed unmeasured is left", R1, [good(R1, None), good(V4, 2)], V4, "direct before"),
]


class SelectionTests(SynchronousTestCase):
    """
    Which way carries data.
    """

    def test_table(self) -> None:
        """
        Each rule in turn.
        """
        for name, active, measured, expected, reason in TABLE:
            for order in (measured, measured[::-1]):
                choice = select(active, order)
                self.assertEqual(choice.way, expected, name)
                self.assertIn(reason, choice.reason, name)

    def test_rules(self) -> None:
        """
        A change names the rule that made it, by its number in the protocol's page.
        """
        slow, fast = good(V4, 40), good(V4B, 10)
        cases: tuple[tuple[Way | None, list[Measurement], Rule | None], ...] = (
            (None, [slow], Rule.BEST),
            (V4, [suspect(V4, 10), fast], Rule.ANSWERS),
            (R1, [good(R1, 5), slow], Rule.DIRECT),
            (V4, [slow, fast], Rule.FASTER),
            (V4B, [slow, fast], None),
            (V4, [], None),
        )
        for active, measured, rule in cases:
            self.assertIs(select(active, measured).rule, rule)

    def test_stable(self) -> None:
        """
        What was chosen is chosen again: no two ways take turns.
        """
        for name, active, measured, expected, _ in TABLE:
            del active
            if expected is not None:
                self.assertEqual(select(expected, measured).way, expected, name)

    def test_policy(self) -> None:
        """
        A policy takes ways out of the choice.
        """
        both = [good(R1, 20), good(V4, 2)]
        self.assertEqual(select(R1, both, policy=PathPolicy.RELAYED).way, R1)
        self.assertEqual(select(V4, both, policy=PathPolicy.RELAYED).way, R1)
        self.assertEqual(select(R1, both, policy=PathPolicy.DIRECT).way, V4)
        only = [good(R1, 20), bad(V4, 2)]
        self.assertEqual(select(None, only, policy=PathPolicy.DIRECT).way, R1)
        self.assertIsNone(select(V4, only, policy=PathPolicy.DIRECT, has_been_direct=True).way)

    def test_is_allowed(self) -> None:
        """
        The policies by way.
        """
        table: list[tuple[Way, PathPolicy, bool, bool]] = [
            (V4, PathPolicy.AUTO, False, True),
            (R1, PathPolicy.AUTO, True, True),
            (V4, PathPolicy.DIRECT, True, True),
            (R1, PathPolicy.DIRECT, False, True),
            (R1, PathPolicy.DIRECT, True, False),
            (V4, PathPolicy.RELAYED, False, False),
            (R1, PathPolicy.RELAYED, True, True),
        ]
        for way, policy, has_been_direct, expected in table:
            self.assertEqual(is_allowed(way, policy, has_been_direct), expected)
