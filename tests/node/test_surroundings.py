"""
Tests for L{atmosphere.node.surroundings}.
"""

from __future__ import annotations

from twisted.internet.defer import Deferred

from atmosphere.addresses import TransportAddress
from atmosphere.errors import ConfigurationError
from atmosphere.network.nat.candidates import CandidateType
from atmosphere.network.stun.discovery import Server
from atmosphere.network.stun.server import BindingServer
from atmosphere.node.config import HostPort
from atmosphere.testing import PORT_RESTRICTED

from .harness import RELAY_ADDRESS, RELAY_URL, SimulatedNode, WorldCase

ONLY_ANSWERS = "address- and port-dependent"


class SurroundingsTests(WorldCase):
    """
    What a node finds out about the place where it is.
    """

    def addresses(self, node: SimulatedNode) -> dict[str, str]:
        """
        List a node's candidates, and of which type each is.
        """
        found = node.service.surroundings.candidates()
        return {str(each.address): each.type.name for each in found}

    def test_public(self) -> None:
        """
        Without a NAT the interface's address is the public one.
        """
        node = self.world.node("portland", "198.51.100.1")
        self.world.network.advance(1)
        self.assertEqual(self.addresses(node), {"198.51.100.1:7777": CandidateType.HOST.name})

    def test_behind_nat(self) -> None:
        """
        The relay's STUN server tells what the NAT makes of us.
        """
        node = self.world.node("portland", "198.51.100.1", behind=PORT_RESTRICTED)
        self.world.network.advance(1)
        self.assertEqual(
            self.addresses(node),
            {
                "192.168.1.2:7777": CandidateType.HOST.name,
                "198.51.100.1:7777": CandidateType.SERVER_REFLEXIVE.name,
            },
        )

    def test_named_server_without_relay(self) -> None:
        """
        A STUN server that the user named is asked without any relay.
        """
        node = self.world.node(
            "portland",
            "198.51.100.1",
            behind=PORT_RESTRICTED,
            relays=(),
            stun_servers=(HostPort(RELAY_ADDRESS, 3478),),
        )
        self.world.network.advance(1)
        self.assertIn("198.51.100.1:7777", self.addresses(node))
        self.assertEqual(node.service.surroundings.trusted_relays, [])

    def test_peers_relays_have_no_voice(self) -> None:
        """
        The STUN servers beside relays that peers named are asked where there are no others
        alone: a member could name so many that they outvote ours.
        """
        node = self.world.node("portland", "198.51.100.1")
        self.world.network.advance(1)
        service, ours = node.service, Server(RELAY_ADDRESS, 3478)
        welcome = service.relays.clients[RELAY_URL].welcome
        for name in ("one", "two"):
            client = service.relays.use_for_peer(f"wss://{name}.example", [])
            assert client is not None
            client.welcome = welcome
        self.assertEqual(service.surroundings.stun_servers, [ours])
        service.relays.clients[RELAY_URL].welcome = None
        theirs = [Server("one.example", 3478), Server("two.example", 3478)]
        self.assertEqual(service.surroundings.stun_servers, theirs)

    def test_advertised(self) -> None:
        """
        What the user says of a forwarded port is told to others.
        """
        told = TransportAddress("203.0.113.77", 4000)
        node = self.world.node("portland", "198.51.100.1", advertise=(told,))
        self.assertEqual(self.addresses(node)[str(told)], CandidateType.ADVERTISED.name)

    def test_advertised_without_port(self) -> None:
        """
        A public address without a port goes with the port that the node took.
        """
        told = TransportAddress("203.0.113.77", 0)
        missing = TransportAddress("2001:db8::7", 0)
        node = self.world.node("portland", "198.51.100.1", advertise=(told, missing), udp_port=7001)
        kinds = self.addresses(node)
        self.assertEqual(kinds["203.0.113.77:7001"], CandidateType.ADVERTISED.name)
        self.assertEqual([each for each in kinds if "7001" not in each], [])

    def test_fallback_relay(self) -> None:
        """
        A relay that serves when nobody names one is used, told to those who are
        invited, left once a code names another, and used again after that.
        """
        node = self.world.node("portland", "198.51.100.1", relays=(), fallback_relays=(RELAY_URL,))
        self.world.network.advance(1)
        service = node.service
        self.assertEqual(service.relays.welcomed, [RELAY_URL])
        self.assertEqual(service.surroundings.trusted_relays, [RELAY_URL])
        service.surroundings.mesh_relays = ("ws://other:8080",)
        service.relays.use_only(service.surroundings.trusted_relays)
        self.assertEqual(list(service.relays.clients), ["ws://other:8080"])
        service.surroundings.mesh_relays = ()
        service.relays.use_only(service.surroundings.trusted_relays)
        self.assertEqual(list(service.relays.clients), [RELAY_URL])

    def test_moved(self) -> None:
        """
        When the machine gets another address, that is noticed, and told once.
        """
        node = self.world.node("portland", "198.51.100.1")
        self.world.network.advance(5)
        changes: list[int] = []
        node.service.surroundings._changed = lambda: changes.append(1)
        self.world.network.advance(20)
        self.assertEqual(changes, [])
        self.world.network.move(node.host, "198.51.100.66")
        self.world.network.advance(20)
        self.assertEqual(len(changes), 1)
        self.assertEqual(list(self.addresses(node)), ["198.51.100.66:7777"])

    def test_unlisted(self) -> None:
        """
        Where the system lists no interfaces, but says that a route has changed, a relay is
        asked whether it is there, and not left for an address that may be ours yet.
        """
        node = self.world.node("portland", "198.51.100.1")
        self.world.network.advance(5)
        surroundings = node.service.surroundings
        surroundings._interfaces = []
        surroundings._list_interfaces = list
        (client,) = node.service.relays.clients.values()
        connection = client._connection
        assert connection is not None
        surroundings._told(True)
        self.assertFalse(connection._is_doubted)
        self.assertIsNotNone(connection._doubt)

    def test_other_public_address(self) -> None:
        """
        When the router gets another address, that is known within two minutes.
        """
        node = self.world.node("portland", "198.51.100.1", behind=PORT_RESTRICTED)
        self.world.network.advance(5)
        assert node.nat is not None
        node.nat.reboot("198.51.100.66")
        self.world.until(lambda: "198.51.100.66:7777" in self.addresses(node), 120)
        self.assertNotIn("198.51.100.1:7777", self.addresses(node))

    def test_server_comes_late(self) -> None:
        """
        A STUN server that did not answer at first is asked again.
        """
        self.world.network.cut(self.world.relay_host, tcp=False)
        node = self.world.node("portland", "198.51.100.1", behind=PORT_RESTRICTED)
        self.world.network.advance(120)
        self.assertEqual(list(self.addresses(node)), ["192.168.1.2:7777"])
        self.world.network.heal()
        self.world.until(lambda: "198.51.100.1:7777" in self.addresses(node), 120)

    def test_rules(self) -> None:
        """
        A peer's private address is tried if it is on our own network, ours is not.
        """
        node = self.world.node("portland", "198.51.100.1", behind=PORT_RESTRICTED)
        self.world.network.advance(1)
        surroundings = node.service.surroundings
        rules = surroundings.rules()
        near, far = (TransportAddress(host, 7777) for host in ("192.168.1.9", "192.168.2.9"))
        self.assertEqual([surroundings.is_near(each) for each in (near, far)], [True, False])
        self.assertIsNone(rules.refusal(near, is_near=True))
        self.assertIsNotNone(rules.refusal(far, is_near=False))
        own = TransportAddress("192.168.1.2", 7777)
        self.assertIsNotNone(rules.refusal(own, is_near=True))
        loopback = TransportAddress("127.0.0.1", 7777)
        self.assertIsNotNone(rules.refusal(loopback, is_near=False))

    def test_families(self) -> None:
        """
        Addresses of a family are tried if one of ours is of it, and from the moment on
        that one is.
        """
        far = TransportAddress("2a10:77:99::2", 7777)
        both = ("0.0.0.0", "::")
        node = self.world.node("portland", "198.51.100.1", interfaces=both)
        surroundings = node.service.surroundings
        self.world.network.advance(1)
        self.assertEqual(surroundings.rules().refusal(far), "no IPv6 here")
        self.assertIsNone(surroundings.rules().refusal(TransportAddress("203.0.113.7", 7777)))
        changes: list[int] = []
        surroundings._changed = lambda: changes.append(1)
        self.world.network.plug(node.host, "2a10:77:1::2")
        self.world.network.advance(15)
        self.assertIsNone(surroundings.rules().refusal(far))
        self.assertTrue(changes)

    def test_families_unknown(self) -> None:
        """
        Where the system does not list our interfaces, what we have a port for is tried.
        """
        node = self.world.node("portland", "198.51.100.1", interfaces=("0.0.0.0", "::"))
        surroundings = node.service.surroundings
        far = TransportAddress("2a10:77:99::2", 7777)
        surroundings._list_interfaces = list
        surroundings.look()
        self.assertIsNone(surroundings.rules().refusal(far))

    def test_no_port_of_family(self) -> None:
        """
        A node that listens on IPv4 alone does not try IPv6, and says which of the two it is.
        """
        node = self.world.node("portland", "198.51.100.1", interfaces=("0.0.0.0",))
        self.world.network.plug(node.host, "2a10:77:1::2")
        self.world.network.advance(15)
        rules = node.service.surroundings.rules()
        far = TransportAddress("2a10:77:99::2", 7777)
        self.assertEqual(rules.refusal(far), "no IPv6 here: this node does not listen on it")

    def test_bound_to_an_address(self) -> None:
        """
        A node that listens on one address alone sends by that one's family.
        """
        node = self.world.node("portland", "198.51.100.1", interfaces=("198.51.100.1",))
        self.world.network.advance(1)
        rules = node.service.surroundings.rules()
        self.assertIsNone(rules.refusal(TransportAddress("203.0.113.7", 7777)))
        self.assertIn("no IPv6", rules.refusal(TransportAddress("2a10:77:99::2", 7777)) or "")

    def test_report(self) -> None:
        """
        The report says what a person asks.
        """
        node = self.world.node("portland", "198.51.100.1", behind=PORT_RESTRICTED)
        self.world.network.advance(1)
        report = self.world.result(Deferred.fromCoroutine(node.service.surroundings.report()))
        self.assertEqual([each["ip"] for each in report["public"]], ["198.51.100.1"])
        self.assertTrue(report["behind_nat"])
        self.assertEqual([each["url"] for each in report["relays"]], [RELAY_URL])
        self.assertEqual(report["local"], {**report["local"], "port": 7777})
        self.assertEqual((report["reachable"], report["filtering"]), (False, ONLY_ANSWERS))
        self.assertEqual(report["mapping"], "endpoint-independent")
        self.assertIsInstance(report["clock_offset_s"], float)

    def test_report_again(self) -> None:
        """
        It is measured at the node's own port, without disturbing it, as often as one likes.
        """
        node = self.world.node("portland", "198.51.100.1", behind=PORT_RESTRICTED)
        self.world.network.advance(1)
        before = self.addresses(node)
        runs = [Deferred.fromCoroutine(node.service.surroundings.report()) for _ in range(2)]
        reports = [self.world.result(each) for each in runs]
        reports.append(
            self.world.result(Deferred.fromCoroutine(node.service.surroundings.report()))
        )
        for report in reports:
            self.assertEqual((report["reachable"], report["filtering"]), (False, ONLY_ANSWERS))
            self.assertEqual([each["port"] for each in report["public"]], [7777])
        self.assertEqual(self.addresses(node), before)

    def test_report_without_nat(self) -> None:
        """
        A node without a NAT and without a firewall is reachable.
        """
        node = self.world.node("portland", "198.51.100.1")
        self.world.network.advance(1)
        report = self.world.result(node.service.network())
        self.assertEqual((report["behind_nat"], report["reachable"]), (False, True))
        self.assertEqual(report["advice"], [])

    def test_report_by_another_server(self) -> None:
        """
        A STUN server that is named for one report is asked as well, and one that
        makes no sense refused.
        """
        node = self.world.node("portland", "198.51.100.1", behind=PORT_RESTRICTED)
        other = self.world.network.host("stun", "203.0.113.77")
        other.listenUDP(3478, BindingServer(other), "0.0.0.0")
        self.world.network.advance(1)
        report = self.world.result(node.service.network(["203.0.113.77:3478"]))
        self.assertEqual(len(report["public"]), 2)
        self.assertTrue(report["mapping_is_certain"])
        self.assertRaises(ConfigurationError, node.service.network, ["a b"])
