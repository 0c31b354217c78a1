"""
Tests for atmosphere.lab.internet, with the kernel's own NATs.
"""

from __future__ import annotations

import re
from pathlib import Path

from atmosphere.lab import Internet, Kind, LabError
from atmosphere.lab.kinds import router_rules
from atmosphere.lab.programs import Programs
from tests.end_to_end.namespaces import TIMES

from .lab_case import LabTestCase


class KindTests(LabTestCase):
    """
    Homes are what they are called.
    """

    def test_easy(self) -> None:
        """
        Homes that let others in measure as what they are, all at once.
        """
        self.internet(Kind.NONE, Kind.FULL_CONE, Kind.ADDRESS_RESTRICTED, Kind.IPV6).verify()

    def test_hard(self) -> None:
        """
        Homes that let in answers alone, or nothing by UDP, do too.
        """
        self.internet(
            Kind.SYMMETRIC, Kind.CGNAT, Kind.UDP_BLOCKED, Kind.TCP_443_ONLY, Kind.PORT_RESTRICTED
        ).verify()

    def test_one_lan(self) -> None:
        """
        Two that are on the same LAN are one home with two machines, which the servers see
        at one address.
        """
        internet = self.internet(Kind.SAME_LAN, Kind.SAME_LAN)
        internet.verify()
        one, two = internet.homes
        self.assertIs(one.edge, two.edge)
        self.assertEqual([one.public, two.public], ["45.77.1.2"] * 2)

    def test_one_carrier(self) -> None:
        """
        Two that are behind the same carrier have routers of their own and one public
        address, and what the carrier leads back in was looked at.
        """
        for kind, hairpins in ((Kind.SAME_CGNAT, False), (Kind.SAME_CGNAT_HAIRPIN, True)):
            internet = self.internet(kind, kind)
            internet.verify()
            one, two = internet.homes
            self.assertIs(one.edge, two.edge)
            self.assertIsNot(one.routers[0][0], two.routers[0][0])
            self.assertEqual(one.routers[1], two.routers[1])
            self.assertEqual([one.public, two.public], ["45.77.1.2"] * 2)
            for home in internet.homes:
                assert home.behavior is not None
                self.assertIs(home.behavior["hairpin"], hairpins)

    def test_lie(self) -> None:
        """
        A home that is not what it is called is not trusted, and the error says why.
        """
        internet = self.internet(Kind.SYMMETRIC)
        (home,) = internet.homes
        home.edge.load_rules(router_rules(Kind.PORT_RESTRICTED, "192.168.1.10"))
        error = self.assertRaises(LabError, internet.verify)
        self.assertIn("symmetric home does not measure as one", str(error))
        self.assertIn("mapping is 'endpoint-independent'", str(error))


class CableTests(LabTestCase):
    """
    What connects homes, and what does not.
    """

    def test_closed(self) -> None:
        """
        A machine in a home has routes to its router alone, and there is no way from the
        laboratory to this machine's own network.
        """
        internet = self.internet(Kind.PORT_RESTRICTED)
        for namespace in (internet.middle, internet.homes[0].host, internet.homes[0].edge):
            names = set(
                re.findall(r"^\d+: ([^:@]+)", namespace.run("ip", "-o", "link"), re.MULTILINE)
            )
            self.assertLessEqual(names, {"lo", "eth0", "inside", "outside", "port10", "home1"})

    def test_nothing_left(self) -> None:
        """
        After the end no program of a laboratory runs, and its namespaces are gone; before
        that, programs are ended also if the building fails.
        """
        with Internet([Kind.CGNAT], self.folder, TIMES) as internet:
            pids = [each._process.pid for each in internet.programs._all]
            paths = [each.path for each in internet._namespaces]
            self.assertEqual((len(pids), len(paths)), (2, 4))
        for pid in pids:
            self.assertFalse(Path(f"/proc/{pid}").exists())
        self.assertEqual(internet._namespaces, [])
        for path in paths:
            self.assertFalse(Path(path).exists() and "net:" in str(Path(path).readlink()))

    def test_failed_start(self) -> None:
        """
        A program that ends too soon is an error that says what it said.
        """
        programs = Programs(self.folder, TIMES)
        self.addCleanup(programs.stop)
        running = programs.start(None, "lost", "nonsense")
        error = self.assertRaises(LabError, running.wait_for, "ready")
        self.assertIn("lost-0 ended with 2", str(error))
        self.assertIn("No such command", str(error))

    def test_forget(self) -> None:
        """
        A router that was switched off and on has its rules, and no mappings.
        """
        internet = self.internet(Kind.ADDRESS_RESTRICTED)
        internet.verify()
        internet.forget_connections()
        internet.verify()
