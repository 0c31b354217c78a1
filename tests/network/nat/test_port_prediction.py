"""
Tests of L{atmosphere.network.nat.port_prediction}.
"""

from __future__ import annotations

from itertools import islice
from random import Random

from twisted.trial.unittest import SynchronousTestCase
from typing_extensions import override

from atmosphere.network.nat.port_prediction import (
    MAX_PROBES,
    MAX_REMEMBERED,
    MAX_SOCKETS,
    PROBE_PAUSE,
    PROBES_AT_ONCE,
    PredictionBudget,
    draw_ports,
)

HOST = "45.77.1.2"
HOUR = 3600.0


class PortTests(SynchronousTestCase):
    """
    Which ports are tried.
    """

    def test_distinct(self) -> None:
        """
        No port is tried twice, and none below 1,024; all others are.
        """
        ports = list(draw_ports(Random(1).randbytes))
        self.assertEqual(sorted(ports), list(range(1024, 65536)))

    def test_spread(self) -> None:
        """
        The first ones are spread evenly, and differ from burst to burst.
        """
        first, second = (
            list(islice(draw_ports(Random(seed).randbytes), MAX_PROBES)) for seed in (1, 2)
        )
        self.assertNotEqual(first, second)
        low = sum(port < 1024 + 64512 // 2 for port in first)
        self.assertTrue(650 < low < 850, low)

    def test_pace(self) -> None:
        """
        The pace is 1,000 a second.
        """
        self.assertEqual(PROBES_AT_ONCE / PROBE_PAUSE, 1000)


class BudgetTests(SynchronousTestCase):
    """
    How much a node may guess.
    """

    @override
    def setUp(self) -> None:
        """
        Make a budget.
        """
        self.budget = PredictionBudget()

    def test_one_place(self) -> None:
        """
        While one burst is agreed on or runs, no other begins, with whomever.
        """
        self.budget.hold("one", 0, 8)
        self.assertEqual(self.budget.wait("b", HOST, 1), (7, "another one is being made"))
        self.budget.release("other")
        self.assertTrue(self.budget.is_held(1))
        self.budget.release("one")
        self.assertIsNone(self.budget.wait("b", HOST, 1))

    def test_forgotten_place(self) -> None:
        """
        A place that nobody gives back is free after its time.
        """
        self.budget.hold("one", 0, 8)
        self.assertIsNone(self.budget.wait("b", HOST, 8))

    def test_mappings(self) -> None:
        """
        There are at most 256 new mappings in any 60 s.
        """
        self.budget.opened(200, 0)
        self.budget.opened(56, 1)
        self.assertEqual(self.budget.mappings(59), 256)
        self.assertEqual(self.budget.wait("b", None, 59), (1, "too many mappings are new"))
        self.assertIsNotNone(self.budget.wait("b", None, 60.5), "a whole burst has no room yet")
        self.assertIsNone(self.budget.wait("b", None, 61))
        self.assertEqual(self.budget.mappings(61), 0)

    def test_few_descriptors(self) -> None:
        """
        A process that may have few descriptors opens fewer sockets, none more than 256.
        """
        self.assertEqual(PredictionBudget(100).max_sockets, 100)
        self.assertEqual(PredictionBudget(10_000).max_sockets, MAX_SOCKETS)

    def test_peer_in_vain(self) -> None:
        """
        With one peer that is not reached the pauses are 10, 20, 40, 60 and 60 minutes.
        """
        waits = []
        now = 0.0
        for _ in range(6):
            self.budget.began("b", None, now)
            found = self.budget.wait("b", None, now)
            assert found is not None
            waits.append(found[0])
            now += found[0]
            self.assertIsNone(self.budget.wait("b", None, now))
        self.assertEqual(waits, [600, 1200, 2400, 3600, 3600, 3600])

    def test_peer_reached(self) -> None:
        """
        After a success it is 5 minutes, and failures do not count any more.
        """
        for _ in range(4):
            self.budget.began("b", HOST, 0)
        self.budget.succeeded("b", HOST, 0)
        self.assertEqual(self.budget.wait("b", HOST, 10), (290, "one was tried of late"))
        self.budget.began("b", HOST, 300)
        self.assertEqual(self.budget.wait("b", HOST, 400), (500, "one was tried of late"))

    def test_agreements(self) -> None:
        """
        With one peer four bursts may be agreed on at once that do not begin, then one a minute.
        """
        for _ in range(4):
            self.assertIsNone(self.budget.wait("b", HOST, 0))
            self.budget.agreeing("b", 0)
        self.assertEqual(self.budget.wait("b", HOST, 10), (50, "several were agreed on of late"))
        self.assertIsNone(self.budget.wait("c", HOST, 10))
        self.assertIsNone(self.budget.wait("b", HOST, 60))

    def test_host(self) -> None:
        """
        Whoever names a host at which nobody was met gets no burst towards it from us,
        whichever members ask; the other side of it, sockets, is not concerned.
        """
        self.budget.began("b", HOST, 0)
        self.assertEqual(
            self.budget.wait("c", HOST, 10), (590, f"one towards {HOST} came to nothing")
        )
        self.assertIsNone(self.budget.wait("c", "45.77.1.3", 10))
        self.assertIsNone(self.budget.wait("c", None, 10))
        self.budget.succeeded("b", HOST, 0)
        self.assertIsNone(self.budget.wait("c", HOST, 10))

    def test_all_together(self) -> None:
        """
        However many members ask for however many hosts, there are 4 bursts a minute:
        100 probes a second in the mean, as checks have.
        """
        begun = []
        for second in range(int(HOUR)):
            peer, host = f"peer {second}", f"45.77.{second // 256}.{second % 256}"
            if self.budget.wait(peer, host, second) is None:
                self.budget.began(peer, host, second)
                begun.append(second)
        self.assertEqual(len(begun), 4 * 60)
        self.assertLessEqual(len(begun) * MAX_PROBES / HOUR, 100)

    def test_bounded(self) -> None:
        """
        What is remembered is bounded.
        """
        for number in range(2 * MAX_REMEMBERED):
            self.budget.began(number, str(number), number)
            self.budget.agreeing(number, number)
        self.assertEqual(len(self.budget._agreements), MAX_REMEMBERED)
        self.assertEqual(len(self.budget._peers._last), MAX_REMEMBERED)
        self.assertEqual(len(self.budget._hosts._last), MAX_REMEMBERED)
        self.budget.wait(1, "1", 1e6)
        self.assertEqual(len(self.budget._probings), 0)
