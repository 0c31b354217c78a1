"""
Tests for L{atmosphere.node.report}.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from atmosphere.addresses import TransportAddress
from atmosphere.network.stun.behavior import Behavior, DialBack, Finding
from atmosphere.network.stun.discovery import STUN_SERVERS, Server
from atmosphere.node.api import JSON
from atmosphere.node.config import HostPort, NodeConfig
from atmosphere.node.measuring import Measurement
from atmosphere.node.relay_facts import RelayFacts
from atmosphere.node.report import local_addresses, make_report, stun_servers

RELAY = RelayFacts("ws://relay:8080", True, 0.0234, None, (3478, 3479))
DEAD = RelayFacts("ws://dead:8080", False, None, "connection refused")


def answer(
    mapped: str | None,
    *,
    server: str = "203.0.113.1",
    dial_back: DialBack = DialBack.NOT_OFFERED,
    seen: int | None = None,
) -> Finding:
    """
    Make what a STUN server says.

    @param mapped: where it sees us.
    @param seen: the port that its second socket sees.
    """
    asked = TransportAddress(server, 3478)
    ours = None if mapped is None else TransportAddress.from_text(mapped)
    other = TransportAddress(server, 3479)
    assert ours is not None or seen is None
    return Finding(
        asked,
        ours,
        0.0234,
        None if ours else "no response",
        None if dial_back is DialBack.NOT_OFFERED else other,
        dial_back,
        seen=((other, TransportAddress(ours.host, seen)),) if ours and seen else (),
    )


def measured(*findings: Finding, local: str = "192.168.1.4:7777") -> Measurement:
    """
    Make a measurement of what servers say.
    """
    behaviors = {}
    for is_ipv6 in (False, True):
        mine = tuple(each for each in findings if each.server.is_ipv6 is is_ipv6)
        if mine:
            own = TransportAddress.from_text("[2001:db8::1]:7777" if is_ipv6 else local)
            behaviors[is_ipv6] = Behavior(own, mine, mine)
    names = {each.server: Server(f"stun{n}") for n, each in enumerate(findings, 1)}
    return Measurement(behaviors, names)


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

    def report(self, measurement: Measurement | None, local: dict[bool, str] | None = None) -> JSON:
        """
        Make a report.
        """
        config = NodeConfig("x", advertise=(TransportAddress("192.0.2.9", 1),))
        own = {False: "192.168.1.4"} if local is None else local
        return make_report(
            config, local=own, port=7777, measurement=measurement, relays=[RELAY, DEAD]
        )

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
        Servers that see another address than ours have found a NAT; each is named
        with what it sees.
        """
        report = self.report(
            measured(
                answer("192.0.2.1:7777", dial_back=DialBack.SILENT, seen=7777),
                answer("192.0.2.1:7777", server="203.0.113.2"),
            )
        )
        self.assertEqual((report["behind_nat"], report["udp"]), (True, True))
        self.assertIs(report["reachable"], False)
        self.assertEqual(
            (report["mapping"], report["mapping_is_certain"]), ("endpoint-independent", True)
        )
        self.assertEqual(report["filtering"], "address- and port-dependent")
        self.assertEqual(
            report["public"][:2],
            [
                {"ip": "192.0.2.1", "port": 7777, "source": "stun:stun1:3478"},
                {"ip": "192.0.2.1", "port": 7777, "source": "stun:stun2:3478"},
            ],
        )
        self.assertEqual(
            report["servers"][0],
            {
                "server": "stun1:3478",
                "address": "203.0.113.1:3478",
                "public": "192.0.2.1:7777",
                "rtt_ms": 23.4,
                "error": None,
                "second_socket": "203.0.113.1:3479",
                "dial_back": "did not arrive",
                "dial_back_from_other_address": "not offered",
            },
        )

    def test_let_in(self) -> None:
        """
        Behind a NAT an answer from another port of a known address proves nothing
        about strangers.
        """
        report = self.report(measured(answer("192.0.2.1:7777", dial_back=DialBack.ARRIVED)))
        self.assertEqual((report["behind_nat"], report["reachable"]), (True, None))
        self.assertEqual(report["filtering"], "at most address-dependent")
        self.assertIn("two addresses", report["reachable_because"])

    def test_no_nat(self) -> None:
        """
        Servers that see our own address have found none; whether we are reachable
        is what a dial-back shows, and nothing else.
        """
        for dial_back, reachable in (
            (DialBack.NOT_OFFERED, None),
            (DialBack.UNKNOWN, None),
            (DialBack.ARRIVED, True),
            (DialBack.SILENT, False),
        ):
            finding = answer("192.0.2.1:7777", dial_back=dial_back)
            report = self.report(measured(finding, local="192.0.2.1:7777"))
            self.assertEqual((report["behind_nat"], report["reachable"]), (False, reachable))
            self.assertEqual(report["local"], {"ip": "192.0.2.1", "port": 7777})

    def test_loopback(self) -> None:
        """
        What a server on this machine sees says nothing of a NAT, nor of who reaches us.
        """
        finding = answer("127.0.0.1:7777", server="127.0.0.1", dial_back=DialBack.ARRIVED)
        report = self.report(measured(finding, local="127.0.0.1:7777"))
        self.assertIsNone(report["behind_nat"])
        self.assertIsNone(report["reachable"])
        self.assertEqual(report["local"]["ip"], "192.168.1.4")
        self.assertIs(report["udp"], True)

    def test_mapping(self) -> None:
        """
        The mapping is known once two sockets were heard.
        """
        moving = measured(answer("192.0.2.1:7777"), answer("192.0.2.1:7778", server="203.0.113.2"))
        alone = measured(answer("192.0.2.1:7777"))
        self.assertEqual(self.report(moving)["mapping"], "address-dependent")
        self.assertEqual([each["port"] for each in self.report(moving)["public"]], [7777, 7778, 1])
        self.assertIsNone(self.report(alone)["mapping"])

    def test_no_udp(self) -> None:
        """
        Servers that were asked and did not answer mean that UDP does not pass;
        each is named with its reason.
        """
        report = self.report(measured(answer(None)))
        self.assertIs(report["udp"], False)
        self.assertEqual(report["notes"], ["STUN server stun1:3478: no response"])

    def test_dead_relay(self) -> None:
        """
        The silence of a relay that is not there says nothing of UDP.
        """
        finding = answer(None)
        silent = Measurement({False: Behavior(None, (finding,))}, {finding.server: Server("dead")})
        self.assertIsNone(self.report(silent)["udp"])

    def test_ipv6(self) -> None:
        """
        IPv6 works if a server was heard by it, and cannot without an address.
        """
        both = {False: "192.168.1.4", True: "2001:db8::1"}
        heard = measured(
            answer("192.0.2.1:7777"), answer("[2001:db8::1]:7777", server="2001:db8::9")
        )
        report = self.report(heard, both)
        self.assertIs(report["ipv6"], True)
        self.assertEqual(report["families"]["ipv6"]["behind_nat"], False)
        self.assertEqual(report["ipv6_because"], "a STUN server answered by it")
        self.assertIs(self.report(Measurement(), {False: "192.168.1.4"})["ipv6"], False)

    def test_ipv6_in_words(self) -> None:
        """
        Where IPv6 was not heard of, the report says what there is, why it is not known
        whether it works, and what would show it.
        """

        def told(host: str | None, *findings: Finding) -> tuple[bool | None, str]:
            local = {False: "192.168.1.4"} | ({} if host is None else {True: host})
            report = self.report(measured(*findings) if findings else None, local)
            return report["ipv6"], report["ipv6_because"]

        ipv4 = answer("192.0.2.1:7777")
        silent = answer(None, server="2001:db8::9")
        for findings in ((), (ipv4,)):
            value, words = told("2001:db8::1", *findings)
            self.assertIsNone(value)
            self.assertEqual(
                words,
                "this machine has the address 2001:db8::1, but no relay or STUN server in use has"
                " an IPv6 address to ask; `--stun HOST:PORT` names one that has",
            )
        value, words = told("2001:db8::1", ipv4, silent)
        self.assertIsNone(value)
        self.assertIn("2001:db8::1, but no STUN server answered by IPv6; `--stun", words)
        self.assertEqual(told(None, ipv4), (False, "this machine has no IPv6 address"))
        value, words = told("fd00::1", ipv4)
        self.assertIs(value, False)
        self.assertIn("has only fd00::1, which means nothing outside", words)
        config = NodeConfig("x", interfaces=("192.168.1.4",))
        report = make_report(
            config, local={False: "192.168.1.4"}, port=7777, measurement=None, relays=[]
        )
        self.assertIs(report["ipv6"], False)
        self.assertEqual(report["ipv6_because"], "only 192.168.1.4 is listened on")

    def test_local_addresses(self) -> None:
        """
        Where one is told what to listen on, that is what is sent from, in no other family.
        """
        self.assertEqual(local_addresses(["127.0.0.1"]), {False: "127.0.0.1"})
        self.assertEqual(local_addresses(["::1"]), {True: "::1"})
        self.assertNotIn(True, local_addresses(["0.0.0.0"]))

    def test_ipv6_only(self) -> None:
        """
        Where nobody answers by IPv4 the report is about IPv6.
        """
        report = self.report(
            measured(answer(None), answer("[2001:db8::1]:7777", server="2001:db8::9"))
        )
        self.assertIs(report["behind_nat"], False)
        self.assertEqual(report["local"]["ip"], "2001:db8::1")

    def test_liar(self) -> None:
        """
        A server that says otherwise than most is named, and nothing of it believed.
        """
        report = self.report(
            measured(
                answer("127.0.0.1:7777", server="203.0.113.4", dial_back=DialBack.ARRIVED),
                answer("192.0.2.66:7777", server="203.0.113.3", dial_back=DialBack.ARRIVED),
                answer("192.0.2.1:7777", dial_back=DialBack.SILENT, seen=7777),
                answer("192.0.2.1:7777", server="203.0.113.2"),
            )
        )
        self.assertEqual((report["behind_nat"], report["reachable"]), (True, False))
        self.assertEqual(len(report["public"]), 3)
        self.assertEqual(
            report["notes"],
            [
                "STUN server stun1:3478: says 127.0.0.1:7777, a loopback address",
                "STUN server stun2:3478 says otherwise than most",
            ],
        )

    def test_clock(self) -> None:
        """
        The clock is compared with the relays', the middle one of them.
        """
        relays = [
            RelayFacts(f"ws://r{n}:8080", True, clock_offset=offset)
            for n, offset in enumerate((700.1234, -5.0, 800.0))
        ]
        report = make_report(NodeConfig("x"), local={}, port=1, measurement=None, relays=relays)
        self.assertEqual(report["clock_offset_s"], 700.123)
        self.assertIn("12 minutes behind", report["advice"][0])
        self.assertIsNone(self.report(None)["clock_offset_s"])
