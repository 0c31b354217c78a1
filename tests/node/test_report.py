"""
Tests for L{atmosphere.node.report}.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from atmosphere.addresses import TransportAddress
from atmosphere.network.stun.discovery import STUN_SERVERS, Agreement, Discovery, Server
from atmosphere.node.api import JSON
from atmosphere.node.config import HostPort, NodeConfig
from atmosphere.node.report import RelayFacts, make_report, stun_servers

RELAY = RelayFacts("ws://relay:8080", True, 0.0234, None, (3478, 3479))
DEAD = RelayFacts("ws://dead:8080", False, None, "connection refused")
ONE, TWO = Server("one"), Server("two")


def seen(host: str, *, is_confirmed: bool = True, has_stable_port: bool | None = True) -> Agreement:
    """
    Make what STUN servers say.
    """
    return Agreement(TransportAddress(host, 7777), is_confirmed, has_stable_port, (ONE, TWO))


class ServerTests(SynchronousTestCase):
    """
    Whom a node asks.
    """

    def test_own(self) -> None:
        """
        A node asks its relays, at the ports that they name, and the servers
        that it was given, and never the public ones beside them.
        """
        config = NodeConfig("x", relays=("ws://relay:8080",), stun_servers=(HostPort("s", 1),))
        chosen = stun_servers(config, [RELAY, DEAD], may_ask_public=True)
        self.assertEqual(
            chosen,
            [Server("relay", 3478), Server("relay", 3479), Server("dead", 3478), Server("s", 1)],
        )

    def test_public(self) -> None:
        """
        The public servers are asked only by a node that has no others, only for
        a command that needs it, and not if the user forbids it.
        """
        alone = NodeConfig("x")
        self.assertEqual(stun_servers(alone, [], may_ask_public=True), list(STUN_SERVERS))
        self.assertEqual(stun_servers(alone, [], may_ask_public=False), [])
        private = NodeConfig("x", public_stun=False)
        self.assertEqual(stun_servers(private, [], may_ask_public=True), [])
        unready = NodeConfig("x", relays=("ws://relay:8080",))
        self.assertEqual(stun_servers(unready, [], may_ask_public=True), [])


class ReportTests(SynchronousTestCase):
    """
    What is made of the measurements.
    """

    def report(self, discovery: Discovery | None, local: dict[bool, str] | None = None) -> JSON:
        """
        Make a report.
        """
        config = NodeConfig("x", advertise=(TransportAddress("192.0.2.9", 1),))
        own = {False: "192.168.1.4"} if local is None else local
        return make_report(config, local=own, port=7777, discovery=discovery, relays=[RELAY, DEAD])

    def test_nothing_measured(self) -> None:
        """
        What nobody was asked for is null.
        """
        report = self.report(None)
        for key in ("behind_nat", "reachable", "mapping", "filtering", "udp"):
            self.assertIsNone(report[key], key)
        self.assertEqual(report["local"], {"ip": "192.168.1.4", "port": 7777})
        self.assertEqual(report["public"], [{"ip": "192.0.2.9", "port": 1, "source": "manual"}])
        self.assertEqual(report["relays"][0]["rtt_ms"], 23.4)
        self.assertEqual(
            [(each["url"], each["ok"]) for each in report["relays"]],
            [("ws://relay:8080", True), ("ws://dead:8080", False)],
        )

    def test_behind_nat(self) -> None:
        """
        Servers that see another address than ours have found a NAT.
        """
        report = self.report(Discovery(seen("192.0.2.1")))
        self.assertEqual((report["behind_nat"], report["udp"]), (True, True))
        self.assertEqual(report["mapping"], "endpoint-independent")
        self.assertEqual(
            report["public"][0],
            {"ip": "192.0.2.1", "port": 7777, "source": "stun:one:3478,two:3478"},
        )

    def test_no_nat(self) -> None:
        """
        Servers that see our own address have found none.
        """
        report = self.report(Discovery(seen("192.0.2.1")), {False: "192.0.2.1"})
        self.assertEqual((report["behind_nat"], report["reachable"]), (False, None))

    def test_loopback(self) -> None:
        """
        What a server on this machine sees says nothing of a NAT.
        """
        self.assertIsNone(self.report(Discovery(seen("127.0.0.1")))["behind_nat"])

    def test_mapping(self) -> None:
        """
        The mapping is known once two servers were heard.
        """
        moving = Discovery(seen("192.0.2.1", has_stable_port=False))
        alone = Discovery(seen("192.0.2.1", is_confirmed=False, has_stable_port=None))
        self.assertEqual(self.report(moving)["mapping"], "address-dependent")
        self.assertIsNone(self.report(alone)["mapping"])

    def test_no_udp(self) -> None:
        """
        Servers that were asked and did not answer mean that UDP does not pass;
        each is named with its reason.
        """
        report = self.report(Discovery(failures=((ONE, "no response within 3 s"),)))
        self.assertIs(report["udp"], False)
        self.assertEqual(report["notes"], ["STUN server one:3478: no response within 3 s"])

    def test_ipv6(self) -> None:
        """
        IPv6 works if a server was heard by it, and cannot without an address.
        """
        both = {False: "192.168.1.4", True: "2001:db8::1"}
        heard = Discovery(seen("192.0.2.1"), seen("2001:db8::1"))
        self.assertIs(self.report(heard, both)["ipv6"], True)
        self.assertIsNone(self.report(None, both)["ipv6"])
        self.assertIs(self.report(heard.__class__(), {False: "192.168.1.4"})["ipv6"], False)
