"""
Tests for C{atmosphere why}, asked of whole nodes in the situations that users meet.
"""

from __future__ import annotations

import json
from typing import Any

from atmosphere.cli.why import describe
from atmosphere.errors import ConfigurationError
from atmosphere.node.links import ABSENT
from atmosphere.testing.homes import Homes
from atmosphere.testing.link import Kind
from atmosphere.testing.nat import FULL_CONE, PORT_RESTRICTED, SYMMETRIC, NatBehaviour

from .harness import RELAY_URL, SimulatedNode, WorldCase


class WhyTests(WorldCase):
    """
    Two members, and what the first is told of the second.
    """

    def pair(
        self, here: NatBehaviour | None, there: NatBehaviour | None, **config: Any
    ) -> tuple[SimulatedNode, SimulatedNode]:
        """
        Make a mesh of two and let it settle.
        """
        portland = self.world.node("portland", "198.51.100.1", behind=here, **config)
        seattle = self.world.node("seattle", "198.51.100.2", behind=there)
        self.world.join(portland, seattle)
        self.world.advance(25)
        return portland, seattle

    def why(self, node: SimulatedNode, peer: str = "seattle") -> dict[str, Any]:
        """
        Ask, and see that the answer is JSON, that it is told without a hitch, and
        that what it tells is put in the order of time.
        """
        answer: dict[str, Any] = json.loads(json.dumps(node.service.why(peer)))
        ages = [each["age_s"] for each in answer["decisions"]]
        self.assertEqual(ages, sorted(ages, reverse=True))
        self.assertLessEqual(len(ages), 64)
        for line in describe(answer):
            self.assertTrue(line.isprintable())
        return answer

    def ways(self, answer: dict[str, Any]) -> dict[str, dict[str, Any]]:
        """
        Order the ways by their names.
        """
        return {each["way"]: each for each in answer["ways"]}

    def test_full_cone(self) -> None:
        """
        A punched path: it is in use, the relay is ready, and nothing needs help.
        """
        answer = self.why(self.pair(FULL_CONE, FULL_CONE)[0])
        self.assertIn("directly, through a hole in the NATs", answer["summary"])
        self.assertEqual((answer["state"], answer["policy"]), ("connected", "auto"))
        self.assertEqual(answer["path"]["kind"], "punched")
        ways = self.ways(answer)
        self.assertEqual(ways["198.51.100.2:7777"]["verdict"], "in use")
        self.assertEqual(ways[RELAY_URL]["rule"]["number"], "5.3")
        self.assertIn("private", ways["192.168.2.2:7777"]["fact"])
        self.assertEqual(answer["help"], [])
        self.assertEqual(ways["198.51.100.2:7777"]["loss"], 0.0)
        self.assertEqual(ways["198.51.100.2:7777"]["datagram_bytes"], 1472)

    def test_symmetric(self) -> None:
        """
        Two hard NATs: both are named, and the port to forward is.
        """
        answer = self.why(self.pair(SYMMETRIC, SYMMETRIC)[0])
        self.assertEqual(answer["path"]["kind"], "relayed")
        self.assertIn("no direct way has answered", answer["summary"])
        self.assertEqual(
            (answer["here"]["stable_port"], answer["there"]["stable_port"]), (False, False)
        )
        self.assertIn("both NATs are address-dependent", answer["help"][0])
        self.assertIn("forward UDP port 7777 on either router", answer["help"][0])
        for each in (answer["help"][1], answer["help"][2]):
            self.assertRegex(each, r"to 192\.168\.[12]\.2, .*--advertise 198\.51\.100\.[12]`$")
        (failed,) = [each for each in answer["ways"] if each["verdict"] == "failed"]
        self.assertEqual(failed["fact"], "never answered: 7 checks had no answer")

    def test_blocked(self) -> None:
        """
        UDP is blocked here: this side is told so, the other that the first knows no
        public address.
        """
        nat = self.world.network.nat("home", "198.51.100.1", PORT_RESTRICTED, gateway="192.168.1.1")
        nat.lets_out = lambda packet: packet.kind is not Kind.UDP
        here = self.world.node("portland", "192.168.1.2", on=nat)
        there = self.world.node("seattle", "198.51.100.2", behind=PORT_RESTRICTED)
        self.world.join(here, there)
        self.world.advance(40)
        answer = self.why(here)
        self.assertIn("no UDP gets out here", answer["summary"])
        self.assertIn("UDP is blocked here", answer["help"][0])
        self.assertIs(answer["here"]["udp"], False)
        answer = self.why(there, "portland")
        self.assertIn("no address but private ones of its own network", answer["help"][0])

    def test_family(self) -> None:
        """
        One has IPv6 and the other has not: the other does not try it, and says so, also
        once there is no link.
        """
        homes = Homes(self.world.network)
        here = self.world.add_at_home("portland", homes.make("cgnat"))
        there = self.world.add_at_home("seattle", homes.make("ipv6"))
        self.world.join(here, there)
        self.world.advance(25)
        address = there.host.kernel.addresses[1]
        for _ in range(2):
            told = self.ways(self.why(here))[f"[{address}]:7777"]
            self.assertEqual((told["verdict"], told["fact"]), ("not tried", "no IPv6 here"))
            there.kill(is_silent=True)
            link = here.link_to(there)
            if link is not None:
                link.close("test")
            self.world.advance(1)

    def test_policy(self) -> None:
        """
        Relayed because the policy says so.
        """
        answer = self.why(self.pair(FULL_CONE, FULL_CONE, path_policy="relayed")[0])
        self.assertIn("the path policy says so", answer["summary"])
        self.assertIn("path policy says so", answer["help"][0])
        self.assertEqual(self.ways(answer)["198.51.100.2:7777"]["fact"], "path policy says relayed")

    def test_lan(self) -> None:
        """
        Two on one network reach each other straight.
        """
        nat = self.world.network.nat("home", "198.51.100.1", PORT_RESTRICTED, gateway="192.168.1.1")
        here = self.world.node("portland", "192.168.1.2", on=nat)
        there = self.world.node("seattle", "192.168.1.3", on=nat)
        self.world.join(here, there)
        self.world.advance(20)
        answer = self.why(here)
        self.assertIn("data goes straight to seattle", answer["summary"])
        self.assertEqual(self.ways(answer)["192.168.1.3:7777"]["verdict"], "in use")

    def test_gone(self) -> None:
        """
        A peer whose machine is off: it is silent, then the relay says that it is not
        there, and that is the advice.
        """
        here, there = self.pair(FULL_CONE, FULL_CONE)
        there.kill(is_silent=True)
        self.world.advance(60)
        answer = self.why(here)
        self.assertIsNone(answer["path"])
        self.assertIsNone(answer["rule"])
        self.assertIn("silent", answer["summary"])
        self.assertIn(f"seattle is not connected to relay {RELAY_URL}", answer["help"][0])
        texts = [each["text"] for each in answer["decisions"]]
        self.assertIn(ABSENT, texts)
        self.assertTrue(any(each.startswith("not reached: no answer") for each in texts), texts)

    def test_stopped(self) -> None:
        """
        A peer that stopped in good order: the link's end is told with its reason, and
        every way with what became of dialling it.
        """
        here, there = self.pair(FULL_CONE, FULL_CONE)
        stopping = there.service.stopService()
        self.world.result(stopping)
        self.world.advance(60)
        answer = self.why(here)
        self.assertEqual(answer["summary"], "there is no link to seattle")
        texts = [each["text"] for each in answer["decisions"]]
        self.assertIn("a link ended: the node stops", texts)
        ways = self.ways(answer)
        self.assertIn(ABSENT, ways[RELAY_URL]["fact"])
        self.assertIn("dialled, not reached: no answer", ways["198.51.100.2:7777"]["fact"])
        self.assertEqual(ways["192.168.2.2:7777"]["verdict"], "not tried")
        self.assertGreater(answer["there"]["seen_s"], 50)

    def test_no_relay(self) -> None:
        """
        Our relay is gone: that is what is told, with the reason.
        """
        here, there = self.pair(SYMMETRIC, SYMMETRIC)
        self.world.result(self.world.relay.stopService())
        self.world.advance(8)
        answer = self.why(here)
        self.assertIsNone(answer["path"])
        self.assertIn(f"relay {RELAY_URL} has not let us in", answer["help"][0])
        there.kill()
        here.kill()
        here.restart()
        self.world.advance(10)
        answer = self.why(here)
        self.assertIn("not connected to it", self.ways(answer)[RELAY_URL]["fact"])

    def test_never_published(self) -> None:
        """
        A member of which nothing is known but its certificate.
        """
        here, there = self.pair(FULL_CONE, FULL_CONE)
        there.kill(is_silent=True)
        roster = here.service.mesh.roster
        assert roster is not None
        member = roster.get(there.key.node_id)
        assert member is not None
        link = here.link_to(there)
        assert link is not None
        link.close("test")
        self.world.advance(1)
        roster._members[member.node] = type(member)(member.membership, member.chain)
        answer = self.why(here)
        self.assertTrue(
            any("it has never published" in each for each in answer["help"]), answer["help"]
        )
        self.assertIsNone(answer["there"]["record_age_s"])

    def test_unknown(self) -> None:
        """
        Nobody is called so.
        """
        here, _ = self.pair(None, None)
        self.assertRaises(ConfigurationError, here.service.why, "boston")

    def test_strangers(self) -> None:
        """
        A relay's word about a node that is no member is not kept.
        """
        here, there = self.pair(None, None)
        stranger = self.world.node("boston", "198.51.100.9")
        here.service.links.relay_has_not(RELAY_URL, stranger.key.node_id)
        self.assertEqual(here.service.links.history.of(stranger.key.node_id), [])
        here.service.links.note(there.key.node_id, "x" * 5000)
        self.assertEqual(len(here.service.links.history.of(there.key.node_id)[-1].text), 400)
