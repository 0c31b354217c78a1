"""
Tests of L{atmosphere.network.nat.candidates}.
"""

from __future__ import annotations

import ipaddress

from twisted.trial.unittest import SynchronousTestCase

from atmosphere.addresses import TransportAddress
from atmosphere.network.nat.candidates import (
    AddressRules,
    Candidate,
    CandidateType,
    Interface,
    candidate_foundation,
    candidate_priority,
    has_way_out,
    host_candidates,
    interface_refusal,
    make_candidate,
    networks_of,
    prune,
    share_public_address,
)

INTERFACES = [
    Interface("lo", "127.0.0.1", 8),
    Interface("eth0", "192.168.1.5", 24),
    Interface("eth0", "2001:db9::5", 64),
    Interface("wlan0", "10.0.0.5", 8),
    Interface("docker0", "172.17.0.1", 16),
    Interface("br-0123456789ab", "172.18.0.1", 16),
    Interface("virbr0", "192.168.122.1", 24),
    Interface("atmosphere0", "100.64.0.1", 10),
    Interface("eth1", "169.254.7.7", 16),
    Interface("eth1", "fec0::1", 64),
]


class FormulaTests(SynchronousTestCase):
    """
    Priority and foundation by RFC 8445.
    """

    def test_priority(self) -> None:
        """
        The well-known values: a host, a peer-reflexive, a server-reflexive and
        a relayed candidate with the highest local preference.
        """
        self.assertEqual(candidate_priority(CandidateType.HOST), 2130706431)
        self.assertEqual(candidate_priority(CandidateType.PEER_REFLEXIVE), 1862270975)
        self.assertEqual(candidate_priority(CandidateType.SERVER_REFLEXIVE), 1694498815)
        self.assertEqual(candidate_priority(CandidateType.RELAYED), 16777215)
        self.assertEqual(candidate_priority(CandidateType.HOST, 0, 256), 126 << 24)

    def test_priority_range(self) -> None:
        """
        Local preferences have 16 bits, components go from 1 to 256.
        """
        for local, component in ((-1, 1), (65536, 1), (0, 0), (0, 257)):
            self.assertRaises(ValueError, candidate_priority, CandidateType.HOST, local, component)

    def test_order_of_types(self) -> None:
        """
        Types rank by how likely and how cheap the way is.
        """
        ranked = sorted(CandidateType, key=lambda each: -each.preference)
        self.assertEqual(
            [each.name for each in ranked],
            ["HOST", "ADVERTISED", "PEER_REFLEXIVE", "MAPPED", "SERVER_REFLEXIVE", "RELAYED"],
        )
        self.assertEqual(
            [each.name for each in CandidateType if each.is_reached_as_told],
            ["HOST", "MAPPED", "ADVERTISED"],
        )

    def test_foundation(self) -> None:
        """
        Same type, base and server: same foundation; else another.
        """
        told = [
            candidate_foundation(CandidateType.HOST, "192.0.2.1"),
            candidate_foundation(CandidateType.HOST, "192.0.2.2"),
            candidate_foundation(CandidateType.SERVER_REFLEXIVE, "192.0.2.1", "s1"),
            candidate_foundation(CandidateType.SERVER_REFLEXIVE, "192.0.2.1", "s2"),
        ]
        self.assertEqual(len(set(told)), 4)
        self.assertEqual(told[0], candidate_foundation(CandidateType.HOST, "192.0.2.1"))
        seen = make_candidate(
            CandidateType.SERVER_REFLEXIVE,
            TransportAddress("11.1.1.1", 9),
            base="192.0.2.1",
            server="s1",
        )
        self.assertEqual(seen.foundation, told[2])


class HostTests(SynchronousTestCase):
    """
    Which of our own addresses we tell.
    """

    def test_refusals(self) -> None:
        """
        Loopback, link-local, bridges and tunnels are no candidates.
        """
        good = [each.address for each in INTERFACES if interface_refusal(each) is None]
        self.assertEqual(good, ["192.168.1.5", "2001:db9::5", "10.0.0.5"])
        self.assertIsNone(interface_refusal(INTERFACES[0], allow_loopback=True))
        self.assertIn("docker0", interface_refusal(INTERFACES[4]) or "")

    def test_candidates(self) -> None:
        """
        The families take turns, IPv6 first.
        """
        found = host_candidates(INTERFACES, ipv4_port=4000, ipv6_port=6000)
        self.assertEqual(
            [str(each.address) for each in found],
            ["[2001:db9::5]:6000", "192.168.1.5:4000", "10.0.0.5:4000"],
        )
        self.assertEqual(len({each.priority for each in found}), 3)

    def test_one_family(self) -> None:
        """
        Without a socket of a family there are no candidates of it.
        """
        found = host_candidates(INTERFACES, ipv4_port=4000, ipv6_port=None, allow_loopback=True)
        self.assertEqual(
            [each.address.host for each in found], ["127.0.0.1", "192.168.1.5", "10.0.0.5"]
        )

    def test_way_out(self) -> None:
        """
        A family leads out if an address of it does: that of 464XLAT does, though it is
        no candidate; loopback, containers and link-local IPv6 do not.
        """

        def leads_out(*interfaces: Interface) -> list[bool]:
            return [has_way_out(interfaces, is_ipv6=is_ipv6) for is_ipv6 in (False, True)]

        self.assertEqual(leads_out(*INTERFACES), [True, True])
        self.assertEqual(leads_out(), [False, False])
        inward = Interface("docker0", "172.17.0.1", 16), Interface("docker0", "fd00::1", 64)
        loopback = Interface("lo", "127.0.0.1", 8), Interface("lo", "::1", 128)
        self.assertEqual(leads_out(*inward, *loopback), [False, False])
        self.assertEqual(leads_out(Interface("clat4", "192.0.0.4", 32)), [True, False])
        self.assertEqual(leads_out(Interface("eth0", "169.254.8.1", 30)), [True, False])
        self.assertEqual(leads_out(Interface("eth0", "fe80::5", 64)), [False, False])
        self.assertEqual(leads_out(Interface("eth0", "2001:db9::5", 64)), [False, True])

    def test_networks(self) -> None:
        """
        The networks of good interfaces, each once.
        """
        twice = [*INTERFACES, Interface("eth0", "192.168.1.6", 24)]
        self.assertEqual(
            [str(each) for each in networks_of(twice)],
            ["192.168.1.0/24", "2001:db9::/64", "10.0.0.0/8"],
        )

    def test_prune(self) -> None:
        """
        One address is told once, by its best candidate, and only so many.
        """
        address = TransportAddress("11.1.1.1", 1)
        host = make_candidate(CandidateType.HOST, address)
        seen = make_candidate(CandidateType.SERVER_REFLEXIVE, address)
        self.assertEqual(prune([seen, host, seen]), (host,))
        many = [
            Candidate(CandidateType.HOST, TransportAddress("11.1.1.1", port), port, "f")
            for port in range(1, 40)
        ]
        self.assertEqual([each.priority for each in prune(many)], list(range(39, 23, -1)))


class PeerTests(SynchronousTestCase):
    """
    Which of a peer's addresses we try.
    """

    def test_share_public_address(self) -> None:
        """
        Only what others saw counts as a public address.
        """
        seen = make_candidate(CandidateType.SERVER_REFLEXIVE, TransportAddress("11.1.1.1", 1))
        also = make_candidate(CandidateType.SERVER_REFLEXIVE, TransportAddress("11.1.1.1", 2))
        host = make_candidate(CandidateType.HOST, TransportAddress("11.1.1.1", 2))
        self.assertTrue(share_public_address([seen], [host, also]))
        self.assertFalse(share_public_address([seen], [host]))
        self.assertFalse(share_public_address([], []))

    def test_rules(self) -> None:
        """
        The rules know our own addresses and networks.
        """
        own = TransportAddress("192.168.1.5", 7777)
        rules = AddressRules(frozenset([own]), (ipaddress.ip_network("192.168.1.0/24"),))
        self.assertIsNone(rules.refusal(TransportAddress("192.168.1.6", 7777)))
        self.assertIn("own", rules.refusal(own) or "")
        self.assertIn("broadcast", rules.refusal(TransportAddress("192.168.1.255", 7777)) or "")
        other = TransportAddress("10.1.1.1", 7777)
        self.assertIn("private", rules.refusal(other) or "")
        self.assertIsNone(rules.refusal(other, is_near=True))
        self.assertIsNone(AddressRules(allow_private=True).refusal(other))
        loopback = TransportAddress("127.0.0.1", 7777)
        self.assertIn("loopback", rules.refusal(loopback, is_near=True) or "")
        self.assertIsNone(AddressRules(allow_loopback=True).refusal(loopback))

    def test_barred(self) -> None:
        """
        An address of a family that we cannot send by is refused with the reason, unless a
        datagram came from just there.
        """
        rules = AddressRules(allow_loopback=True, barred={True: "no IPv6 here"})
        far = TransportAddress("2a10:77:1::2", 7777)
        self.assertEqual(rules.refusal(far), "no IPv6 here")
        self.assertEqual(rules.refusal(far, is_near=True), "no IPv6 here")
        self.assertIsNone(rules.refusal(far, was_heard=True))
        self.assertIsNone(rules.refusal(TransportAddress("::1", 7777)))
        self.assertIsNone(rules.refusal(TransportAddress("11.1.1.1", 7777)))
        self.assertIsNone(AddressRules().refusal(far))
