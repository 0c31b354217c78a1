"""
Twelve pairs of homes in the kernel's own NATs, and one with a remedy, at the distance of
real ones: 20 ms on each uplink. They take a minute, and so stand apart from the other tests::

    sudo python -m twisted.trial -j 2 tests.lab.pairs

All pairs there are: C{sudo atmosphere lab matrix}. Here it counts whether a pair connects,
and whether it does so directly; how soon is measured there.
"""

from __future__ import annotations

import re

from atmosphere.cli.client import LocalClient
from atmosphere.lab import Internet, Kind, Outcome, Prospect, Trial

from .lab_case import LabTestCase

#: Seconds in which a path has to be direct, far more than it takes; and seconds after which
#: one that is still relayed stays so.
PATIENCE = 10.0
RELAYED_PATIENCE = 3.0


class PairTests(LabTestCase):
    """
    Each pair is measured, joins, and does what its NATs allow.
    """

    def prepare(self, one: Kind, two: Kind) -> tuple[Internet, Trial]:
        """
        Bring both homes of a pair into one mesh.
        """
        internet = self.internet(one, two, delay=0.02)
        trial = Trial(internet, LocalClient, lambda *_: None)
        trial.prepare()
        return internet, trial

    def meet(self, one: Kind, two: Kind) -> Outcome:
        """
        Let a pair find each other once, as soon as their relay has welcomed both: what they
        learn of their addresses only then, they have to tell each other.
        """
        _, trial = self.prepare(one, two)
        outcome = trial.outcome
        is_direct = outcome.prospect is not Prospect.RELAYED
        trial.run(PATIENCE if is_direct else RELAYED_PATIENCE, is_early=True)
        self.assertTrue(outcome.is_connected, outcome)
        self.assertEqual(outcome.direct, int(is_direct), outcome)
        return outcome

    def remote(self, one: Kind, two: Kind) -> tuple[str, str]:
        """
        Let a pair find each other once, and say of which kind its path is and where it leads.
        """
        (run,) = self.meet(one, two).runs
        assert run.path is not None
        return run.path["kind"], run.path["remote"]

    def test_full_cone_address_restricted(self) -> None:
        """
        Two that do not look at ports.
        """
        self.meet(Kind.FULL_CONE, Kind.ADDRESS_RESTRICTED)

    def test_symmetric_address_restricted(self) -> None:
        """
        The port that nobody was told is learnt from the first check that gets through.
        """
        kind, _ = self.remote(Kind.SYMMETRIC, Kind.ADDRESS_RESTRICTED)
        self.assertEqual(kind, "punched")

    def test_port_restricted(self) -> None:
        """
        Two home routers as most are: both sides punch.
        """
        found = self.remote(Kind.PORT_RESTRICTED, Kind.PORT_RESTRICTED)
        self.assertEqual(found, ("punched", "45.77.1.2:7777"))

    def test_cgnat_cgnat(self) -> None:
        """
        Two NATs before each of the two.
        """
        self.meet(Kind.CGNAT, Kind.CGNAT)

    def test_same_cgnat(self) -> None:
        """
        Behind one carrier that leads nothing back in, two stay on the relay, and talk.
        """
        self.meet(Kind.SAME_CGNAT, Kind.SAME_CGNAT)

    def test_same_cgnat_hairpin(self) -> None:
        """
        Behind one that does, the path turns round at the carrier.
        """
        kind, remote = self.remote(Kind.SAME_CGNAT_HAIRPIN, Kind.SAME_CGNAT_HAIRPIN)
        self.assertEqual((kind, remote.partition(":")[0]), ("punched", "45.77.1.2"))

    def test_same_lan(self) -> None:
        """
        On one LAN the path never leaves it.
        """
        _, remote = self.remote(Kind.SAME_LAN, Kind.SAME_LAN)
        self.assertEqual(remote, "192.168.1.10:7777")

    def test_ipv6(self) -> None:
        """
        Through two stateful firewalls, by IPv6.
        """
        _, remote = self.remote(Kind.IPV6, Kind.IPV6)
        self.assertEqual(remote, "[2a10:77:1::10]:7777")

    def test_ipv6_port_restricted(self) -> None:
        """
        Where one of the two has no IPv6, by IPv4.
        """
        _, remote = self.remote(Kind.IPV6, Kind.PORT_RESTRICTED)
        self.assertEqual(remote, "45.77.1.2:7777")

    def test_symmetric_symmetric(self) -> None:
        """
        Two that nobody can punch through stay on the relay, and talk.
        """
        self.meet(Kind.SYMMETRIC, Kind.SYMMETRIC)

    def test_forwarded_port(self) -> None:
        """
        What C{atmosphere why} advises to these two is true: with the port that it names
        forwarded to the machine that it names, and the node there started with the address
        that it names, they are direct.
        """
        internet, trial = self.prepare(Kind.SYMMETRIC, Kind.SYMMETRIC)
        why = trial.run(RELAYED_PATIENCE).why
        assert why is not None
        advice = " ".join(why["help"])
        port = re.search(r"forward UDP port (\d+) on either router", advice)
        place = re.search(r"at portland: to ([\d.]+), .* --advertise ([\d.]+)`", advice)
        assert port is not None and place is not None, advice
        machine, public = place.groups()
        router, rules = internet.homes[0].routers[0]
        hook = "type nat hook prerouting priority -100;"
        forward = f'iifname "outside" udp dport {port[1]} dnat to {machine}'
        internet.homes[0].routers[0] = router, rules.replace(hook, f"{hook}\n    {forward}")
        settings = internet.programs.folder / "portland" / "config.toml"
        text = settings.read_text()
        settings.write_text(text.replace("advertise = []", f'advertise = ["{public}"]'))
        run = trial.run(PATIENCE, is_early=True)
        assert run.path is not None
        self.assertEqual((run.path["kind"], run.path["remote"]), ("direct", "45.77.1.2:7777"))

    def test_symmetric_cgnat(self) -> None:
        """
        One of these before one that lets in answers alone: its port is guessed.
        """
        kind, _ = self.remote(Kind.SYMMETRIC, Kind.CGNAT)
        self.assertEqual(kind, "punched")

    def test_udp_blocked_tcp_443_only(self) -> None:
        """
        Without UDP the relay is all there is, and it is enough.
        """
        self.meet(Kind.UDP_BLOCKED, Kind.TCP_443_ONLY)
