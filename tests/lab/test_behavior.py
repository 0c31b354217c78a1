"""
Tests for atmosphere.lab.behavior.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from atmosphere.lab.behavior import complaints, describe
from atmosphere.lab.kinds import Expected, Kind

PUBLIC = "45.77.1.2"


def measured(expected: Expected | None, **changes: Any) -> dict[str, Any] | None:
    """
    Make the facts of a family that is as it should be, but for some changes.
    """
    if expected is None:
        return None
    if not expected.udp:
        nothing = dict.fromkeys(("local", "public", "behind_nat", "mapping", "filtering"))
        return {"udp": False, **nothing, "is_certain": False, **changes}
    assert expected.mapping is not None
    assert expected.filtering is not None
    return {
        "udp": True,
        "local": "192.168.1.10",
        "public": PUBLIC,
        "behind_nat": expected.is_behind_nat,
        "mapping": expected.mapping.value,
        "filtering": expected.filtering.value,
        "is_certain": True,
        **changes,
    }


def facts(kind: Kind, like: Kind | None = None, **changes: Any) -> dict[str, Any]:
    """
    Make the facts of a home.

    @param like: of which kind its IPv4 really is.
    """
    return {
        "ipv4": measured((like or kind).expected, **changes),
        "ipv6": measured(kind.expected_by_ipv6),
        "tcp": list((like or kind).expected.tcp),
        "hairpin": (like or kind).expected.hairpin,
    }


class ComplaintTests(SynchronousTestCase):
    """
    Homes that are not what they should be.
    """

    def test_good(self) -> None:
        """
        Of a home that measures as its kind there is nothing to complain, and it is described.
        """
        for kind in Kind:
            found = facts(kind)
            self.assertEqual(complaints(kind, found, PUBLIC), [])
            self.assertEqual("IPv6" in describe(found), kind is Kind.IPV6)

    def test_another_kind(self) -> None:
        """
        Each kind is told from each other that behaves otherwise.
        """
        for kind in Kind:
            for like in Kind:
                found = complaints(kind, facts(kind, like), PUBLIC)
                self.assertEqual(found == [], kind.expected == like.expected, (kind, like))

    def test_words(self) -> None:
        """
        A complaint says what was measured, and what should have been.
        """
        (found,) = complaints(Kind.NONE, facts(Kind.NONE, filtering="address-dependent"), PUBLIC)
        self.assertEqual(found, "filtering is 'address-dependent', not 'endpoint-independent'")
        (found,) = complaints(Kind.CGNAT, facts(Kind.CGNAT, public="100.64.1.2"), PUBLIC)
        self.assertEqual(found, "seen at 100.64.1.2, not 45.77.1.2")
        (found,) = complaints(Kind.SAME_LAN, facts(Kind.SAME_LAN, is_certain=False), PUBLIC)
        self.assertIn("is_certain", found)
        (found,) = complaints(Kind.SAME_CGNAT, facts(Kind.SAME_CGNAT) | {"hairpin": True}, PUBLIC)
        self.assertEqual(found, "hairpin is True, not False")

    def test_ipv6(self) -> None:
        """
        A firewall that is missing in IPv6 alone is noticed.
        """
        found = facts(Kind.IPV6)
        assert Kind.IPV6.expected_by_ipv6 is not None
        free = replace(Kind.IPV6.expected_by_ipv6, filtering=Kind.NONE.expected.filtering)
        found["ipv6"] = measured(free)
        (complaint,) = complaints(Kind.IPV6, found, PUBLIC)
        self.assertTrue(complaint.startswith("IPv6 filtering is"), complaint)
