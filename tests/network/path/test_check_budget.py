"""
Tests of L{atmosphere.network.path.check_budget}.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase
from typing_extensions import override

from atmosphere.addresses import TransportAddress
from atmosphere.network.path.check_budget import MAX_HOSTS, CheckBudget
from atmosphere.network.path.ways import DirectWay

from .lane import A_ID, B_ID


def at(host: str, port: int = 5000) -> DirectWay:
    """
    Make a way.
    """
    return DirectWay(TransportAddress(host, port))


class BudgetTests(SynchronousTestCase):
    """
    How many checks go to a host that answers none.
    """

    @override
    def setUp(self) -> None:
        """
        Make a budget.
        """
        self.budget = CheckBudget(100, 100)

    def ask(self, until: float, *ways: DirectWay) -> int:
        """
        Ask whenever it is allowed, in steps of half a second.

        @return: how often.
        """
        count = 0
        for step in range(int(2 * until)):
            for way in ways * 40:
                if self.budget.free_at(A_ID, way) <= step / 2:
                    self.budget.asked(A_ID, way, step / 2, 1)
                    count += 1
        return count

    def test_one_host(self) -> None:
        """
        160 at once and then one in 2 s, to whichever ports, and to all of an IPv6 /64.
        """
        self.assertEqual(self.ask(200, at("11.2.3.4", 1), at("11.2.3.4", 2)), 160 + 99)
        self.assertEqual(self.ask(200, at("2001:db8::1"), at("2001:db8::2:1")), 160 + 99)

    def test_answered(self) -> None:
        """
        Who answers is no stranger: all begins anew.
        """
        self.ask(10, at("11.2.3.4"))
        self.assertGreater(self.budget.free_at(A_ID, at("11.2.3.4")), 9.5)
        self.assertEqual(self.budget.free_at(A_ID, at("11.2.3.5")), float("-inf"))
        self.budget.answered(A_ID, at("11.2.3.4", 9))
        self.assertEqual(self.budget.free_at(A_ID, at("11.2.3.4")), float("-inf"))

    def test_each_peer(self) -> None:
        """
        What one peer has had us send keeps nothing from another that is at the same host.
        """
        self.ask(10, at("11.2.3.4"))
        self.assertEqual(self.budget.free_at(B_ID, at("11.2.3.4")), float("-inf"))

    def test_bounded(self) -> None:
        """
        The hosts that are remembered are bounded, and whoever would be forgiven soonest
        is forgotten first.
        """
        self.ask(10, at("11.2.3.4"))
        for number in range(MAX_HOSTS + 100):
            self.budget.asked(A_ID, at(f"12.0.{number >> 8}.{number & 255}"), 20.0, 1)
        self.assertLessEqual(len(self.budget._full_at), MAX_HOSTS)
        self.assertGreater(self.budget.free_at(A_ID, at("11.2.3.4")), 9.5)

    def test_many_names(self) -> None:
        """
        A peer that names thousands of hosts, as fast as checks leave, does not have one
        forgotten that it has had us ask too much.
        """
        victim = at("11.2.3.4")
        self.assertEqual(self.ask(0.5, victim), 40)
        for _ in range(120):
            self.budget.asked(A_ID, victim, 0.0, 1)
        free_at = self.budget.free_at(A_ID, victim)
        for number in range(2 * MAX_HOSTS):
            other = at(f"12.0.{number >> 8}.{number & 255}")
            self.budget.asked(A_ID, other, number / 100, 1)
        self.assertEqual(self.budget.free_at(A_ID, victim), free_at)
        self.assertLessEqual(len(self.budget._full_at), MAX_HOSTS)
