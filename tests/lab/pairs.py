"""
Pairs of homes in the kernel's own NATs, at the distance of real ones: 20 ms on each
uplink. They take a minute, and so stand apart from the other tests::

    sudo python -m twisted.trial tests.lab.pairs

All pairs there are: C{sudo atmosphere lab matrix}.
"""

from __future__ import annotations

from atmosphere.cli.client import LocalClient
from atmosphere.lab import Kind, Outcome, Prospect, Trial

from .lab_case import LabTestCase

#: Seconds until a path is direct, at the most; it has to be proven first.
PATIENCE = 3.0


class PairTests(LabTestCase):
    """
    Each pair is measured, joins, and does what its NATs allow.
    """

    def meet(self, one: Kind, two: Kind) -> Outcome:
        """
        Let a pair find each other once.
        """
        trial = Trial(self.internet(one, two, delay=0.02), LocalClient, lambda *_: None)
        trial.prepare()
        trial.run(PATIENCE)
        outcome = trial.outcome
        self.assertTrue(outcome.is_connected, outcome)
        if outcome.prospect is not Prospect.HARD:
            is_direct = outcome.prospect is Prospect.DIRECT
            self.assertEqual(outcome.direct, int(is_direct), outcome)
        return outcome

    def test_full_cone_address_restricted(self) -> None:
        """
        Two that do not look at ports.
        """
        self.meet(Kind.FULL_CONE, Kind.ADDRESS_RESTRICTED)

    def test_symmetric_address_restricted(self) -> None:
        """
        The port that nobody was told is learnt from the first check that gets through.
        """
        (run,) = self.meet(Kind.SYMMETRIC, Kind.ADDRESS_RESTRICTED).runs
        assert run.path is not None
        self.assertEqual(run.path["kind"], "punched")

    def test_cgnat_cgnat(self) -> None:
        """
        Two NATs before each of the two.
        """
        self.meet(Kind.CGNAT, Kind.CGNAT)

    def test_same_lan(self) -> None:
        """
        On one LAN the path never leaves it.
        """
        (run,) = self.meet(Kind.SAME_LAN, Kind.SAME_LAN).runs
        assert run.path is not None
        self.assertEqual(run.path["remote"], "192.168.1.10:7777")

    def test_ipv6(self) -> None:
        """
        Through two stateful firewalls, by IPv6.
        """
        (run,) = self.meet(Kind.IPV6, Kind.IPV6).runs
        assert run.path is not None
        self.assertEqual(run.path["remote"], "[2a10:77:1::10]:7777")

    def test_symmetric_symmetric(self) -> None:
        """
        Two that nobody can punch through stay on the relay, and talk.
        """
        self.meet(Kind.SYMMETRIC, Kind.SYMMETRIC)

    def test_udp_blocked_tcp_443_only(self) -> None:
        """
        Without UDP the relay is all there is, and it is enough.
        """
        self.meet(Kind.UDP_BLOCKED, Kind.TCP_443_ONLY)
