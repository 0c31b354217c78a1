"""
Tests for L{atmosphere.lab.roaming}.
"""

from __future__ import annotations

from atmosphere.lab import Internet, Kind
from atmosphere.lab.internet import Home
from atmosphere.lab.places import RELAY
from atmosphere.lab.roaming import add_other_network, go_elsewhere, go_home

from .lab_case import LabTestCase


class RoamingTests(LabTestCase):
    """
    A machine goes into another network and comes back.
    """

    def source(self, home: Home, destination: str = RELAY) -> str:
        """
        Say from which address a home's machine sends to others.
        """
        return home.host.run("ip", "-o", "route", "get", destination).split(" src ")[1].split()[0]

    def seen(self, internet: Internet, home: Home) -> str:
        """
        Say from which address what it sends arrives: none does that is not translated.
        """
        done = internet.programs.start(home.host, "probe", "lab", "internal", "probe", "none")
        return done.finish()

    def test_there_and_back(self) -> None:
        """
        Elsewhere its packets leave by another router, and arrive from another address;
        at home all is as it was, IPv6 as well.
        """
        internet = self.internet(Kind.PORT_RESTRICTED, Kind.NONE, Kind.IPV6)
        for home in internet.homes:
            before = self.source(home)
            for _ in range(2):
                add_other_network(internet, home)
            routers = len(home.routers)
            go_elsewhere(home)
            self.assertEqual(self.source(home), "192.168.2.10")
            self.assertIn(f"45.77.{home.number}.4", self.seen(internet, home))
            go_home(home)
            self.assertEqual(self.source(home), before)
            self.assertEqual(len(home.routers), routers)
        *_, last = internet.homes
        own = f"2a10:77:{last.number}::10"
        self.assertEqual(self.source(last, "2a10:77:ffff::2"), own)
