"""
Tests of L{atmosphere.network.path.burst}.
"""

from __future__ import annotations

from random import Random

from twisted.trial.unittest import SynchronousTestCase

from atmosphere.addresses import TransportAddress
from atmosphere.network.path.burst import Burst
from atmosphere.network.path.hard_pair import Pair

TARGET = TransportAddress("45.77.2.2", 7777)
HOST = "45.77.1.2"


def burst(*, is_hard: bool, max_sockets: int = 256) -> Burst:
    """
    Begin one at 100 s.
    """
    return Burst(Pair(is_hard, TARGET, HOST), max_sockets, Random(1).randbytes, 100.0)


class BurstTests(SynchronousTestCase):
    """
    What leaves when.
    """

    def test_sockets(self) -> None:
        """
        The hard side opens 64 sockets every 10 ms, and waits until 4 s have passed.
        """
        hard = burst(is_hard=True, max_sockets=150)
        self.assertEqual(hard.plan, f"opening 150 sockets towards {TARGET}")
        counts: list[int] = []
        while hard.due < hard.end_at:
            self.assertAlmostEqual(hard.due, 100.0 + 0.01 * len(counts))
            counts.append(hard.sockets_due(hard.due))
        self.assertEqual(counts, [64, 64, 22])
        self.assertEqual(hard.end_at, 104.0)
        self.assertEqual(hard.sockets_due(104.0), 0)

    def test_early(self) -> None:
        """
        Who asks before the time gets nothing, and changes nothing.
        """
        hard, easy = burst(is_hard=True), burst(is_hard=False)
        self.assertEqual((hard.sockets_due(100.0), hard.due), (64, 100.01))
        self.assertEqual((hard.sockets_due(100.005), hard.due), (0, 100.01))
        self.assertEqual((len(list(easy.probes_due(100.0))), easy.due), (10, 100.01))
        self.assertEqual((list(easy.probes_due(100.005)), easy.due), ([], 100.01))

    def test_probes(self) -> None:
        """
        The easy side sends 10 probes every 10 ms, 1,500 in all, each to another port, and
        waits 2 s for answers.
        """
        easy = burst(is_hard=False)
        ports: set[int] = set()
        for step in range(150):
            self.assertAlmostEqual(easy.due, 100.0 + 0.01 * step)
            found = list(easy.probes_due(easy.due))
            self.assertEqual(({each.host for each in found}, len(found)), ({HOST}, 10))
            ports.update(each.port for each in found)
        self.assertEqual((len(ports), easy.sent), (1500, 1500))
        self.assertAlmostEqual(easy.end_at, 103.5)
        self.assertEqual(easy.due, easy.end_at)

    def test_late(self) -> None:
        """
        When the timer came late 50 ms are made up for, and no more.
        """
        easy = burst(is_hard=False)
        self.assertEqual(len(list(easy.probes_due(100.025))), 30)
        self.assertIn(len(list(easy.probes_due(102.0))), (50, 60))

    def test_heard(self) -> None:
        """
        Half a second after the peer was heard directly no probe leaves; what was heard
        before the burst does not count.
        """
        easy = burst(is_hard=False)
        self.assertEqual(len(list(easy.probes_due(100.0, heard=99.9))), 10)
        self.assertEqual(list(easy.probes_due(100.01, heard=100.0)), [])
        self.assertAlmostEqual(easy.due, 100.5)
        self.assertEqual(len(list(easy.probes_due(100.5, heard=100.0))), 10)

    def test_cut_short(self) -> None:
        """
        Where the system gives no more sockets the rest is left out.
        """
        hard = burst(is_hard=True)
        hard.sockets_due(100.0)
        hard.cut_short()
        self.assertEqual(hard.sockets_due(100.01), 0)
        self.assertEqual(hard.due, hard.end_at)
