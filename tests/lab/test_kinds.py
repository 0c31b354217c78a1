"""
Tests for atmosphere.lab.kinds.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from atmosphere.errors import ConfigurationError
from atmosphere.lab.carriers import MAX_HOMES, carrier_rules
from atmosphere.lab.kinds import Kind, Prospect, all_pairs, parse_pair, prospect, router_rules


class PairTests(SynchronousTestCase):
    """
    Pairs, as people write them.
    """

    def test_read(self) -> None:
        """
        A pair is two kinds with an x between them, however it is written.
        """
        wanted = (Kind.SYMMETRIC, Kind.CGNAT)
        for text in (
            "symmetric x cgnat",
            "Symmetric  X  CGNAT",
            "symmetric\N{MULTIPLICATION SIGN}cgnat",
        ):
            self.assertEqual(parse_pair(text), wanted)

    def test_refused(self) -> None:
        """
        What is none is refused, and the kinds are named.
        """
        for text in ("", "symmetric", "symmetric x", "a x b", "none x none x none"):
            with self.assertRaises(ConfigurationError):
                parse_pair(text)
        error = self.assertRaises(ConfigurationError, parse_pair, "cone x none")
        self.assertIn("full-cone, address-restricted", str(error))
        self.assertNotIn(
            "did you mean", str(self.assertRaises(ConfigurationError, parse_pair, "foo x none"))
        )

    def test_meant(self) -> None:
        """
        A slip names the kind that was probably meant, and one without an x how to write it.
        """
        error = self.assertRaises(ConfigurationError, parse_pair, "symetric x cgnat")
        self.assertIn("did you mean symmetric?", str(error))
        error = self.assertRaises(ConfigurationError, parse_pair, "symmetric cgnat")
        self.assertIn("an x between them, such as 'symmetric x cgnat'", str(error))

    def test_all(self) -> None:
        """
        There are 55 pairs of ten kinds, and each is there once; homes behind one carrier
        are there with each other alone.
        """
        pairs = [frozenset(pair) for pair in all_pairs()]
        self.assertEqual((len(pairs), len(set(pairs))), (57, 57))
        for kind in (Kind.SAME_CGNAT, Kind.SAME_CGNAT_HAIRPIN):
            self.assertEqual([pair for pair in pairs if kind in pair], [frozenset({kind})])


class ProspectTests(SynchronousTestCase):
    """
    What two NATs allow.
    """

    def test_easy(self) -> None:
        """
        NATs that keep their ports are no obstacle to each other.
        """
        easy = {Kind.NONE, Kind.FULL_CONE, Kind.ADDRESS_RESTRICTED, Kind.PORT_RESTRICTED}
        easy |= {Kind.CGNAT, Kind.SAME_LAN, Kind.IPV6, Kind.SAME_CGNAT_HAIRPIN}
        for one in easy:
            for two in easy:
                self.assertIs(prospect(one, two), Prospect.DIRECT)

    def test_symmetric(self) -> None:
        """
        One that takes a port for each destination meets those that do not look at ports,
        has a hard time with those that do, and no chance with its like.
        """
        for easy in (Kind.NONE, Kind.FULL_CONE, Kind.ADDRESS_RESTRICTED):
            self.assertIs(prospect(Kind.SYMMETRIC, easy), Prospect.DIRECT)
            self.assertIs(prospect(easy, Kind.SYMMETRIC), Prospect.DIRECT)
        for hard in (Kind.PORT_RESTRICTED, Kind.CGNAT, Kind.SAME_LAN, Kind.IPV6):
            self.assertIs(prospect(hard, Kind.SYMMETRIC), Prospect.HARD)
        self.assertIs(prospect(Kind.SYMMETRIC, Kind.SYMMETRIC), Prospect.RELAYED)

    def test_one_carrier(self) -> None:
        """
        Behind one carrier that does not lead back in, two stay on the relay; with all others
        each of them is as behind any carrier.
        """
        same = Kind.SAME_CGNAT
        self.assertIs(prospect(same, same), Prospect.RELAYED)
        for other in (Kind.NONE, Kind.SYMMETRIC, Kind.CGNAT, Kind.UDP_BLOCKED):
            self.assertIs(prospect(same, other), prospect(Kind.CGNAT, other))

    def test_without_udp(self) -> None:
        """
        Without UDP there is the relay alone.
        """
        for kind in Kind:
            self.assertIs(prospect(Kind.UDP_BLOCKED, kind), Prospect.RELAYED)
            self.assertIs(prospect(kind, Kind.TCP_443_ONLY), Prospect.RELAYED)


class RulesTests(SynchronousTestCase):
    """
    The rules of routers.
    """

    def test_each(self) -> None:
        """
        Every kind has words and rules, in which each brace is closed and nothing is let in
        unasked to the router itself.
        """
        for kind in Kind:
            rules = router_rules(kind, "192.168.1.10")
            self.assertEqual(rules.count("{"), rules.count("}"))
            self.assertIn('iifname "outside" drop', rules)
            self.assertTrue(kind.words)

    def test_carrier(self) -> None:
        """
        A carrier has a block of ports for each of its homes, and leads back in only if it
        should.
        """
        homes = {number: f"100.64.{number}.2" for number in range(1, MAX_HOMES + 1)}
        closed, open_ = (
            carrier_rules("45.77.1.2", homes, hairpins=is_so) for is_so in (False, True)
        )
        for rules in (closed, open_):
            self.assertEqual(rules.count("{"), rules.count("}"))
            self.assertIn('iifname "outside" drop', rules)
            for number, block in ((1, "0x4000"), (2, "0x8000"), (3, "0xc000")):
                self.assertRegex(rules, rf"ip saddr 100\.64\.{number}\.2 .*{block}")
        self.assertNotIn("dnat to", closed)
        self.assertIn("dnat to", open_)

    def test_dual(self) -> None:
        """
        IPv6 is expected of one kind alone.
        """
        self.assertEqual([kind for kind in Kind if kind.expected_by_ipv6], [Kind.IPV6])
