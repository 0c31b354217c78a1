"""
Tests for L{atmosphere.node.service}: whole nodes, from joining to leaving.
"""

from __future__ import annotations

from atmosphere.errors import ConfigurationError, JoinError
from atmosphere.membership import issue_revocations

from .harness import RELAY_URL, SimulatedNode, WorldCase


class MeshTests(WorldCase):
    """
    Three public nodes and a relay.
    """

    def mesh(self) -> tuple[SimulatedNode, SimulatedNode, SimulatedNode]:
        """
        Make three nodes, members of one mesh.
        """
        names = ("portland", "seattle", "tacoma")
        made = [self.world.node(name, f"198.51.100.{n}") for n, name in enumerate(names, start=1)]
        self.world.join(made[0], *made[1:])
        return made[0], made[1], made[2]

    def linked(self, *nodes: SimulatedNode) -> bool:
        """
        Say whether each of the nodes has a link to each other one.
        """
        return all(a.is_linked(b) for a in nodes for b in nodes if a is not b)

    def test_all_know_each_other(self) -> None:
        """
        Those that joined by the same node find each other, and say so.
        """
        nodes = self.mesh()
        took = self.world.until(lambda: self.linked(*nodes), 10)
        self.assertLess(took, 5)
        for node in nodes:
            others = {each.host.name for each in nodes if each is not node}
            self.assertEqual(node.states(), dict.fromkeys(others, "connected"))
        status = nodes[0].service.status()
        self.assertEqual(status["peers"], {"known": 2, "connected": 2})
        self.assertEqual(status["relay"], {"url": RELAY_URL, "ok": True, "error": None})
        self.assertEqual(status["listening"], ["0.0.0.0:7777"])
        self.assertEqual(status["mesh_name"], "home")

    def test_one_link_each(self) -> None:
        """
        Of two links that were dialled at once one stays, and gossip is on it alone.
        """
        nodes = self.mesh()
        self.world.until(lambda: self.linked(*nodes), 10)
        self.world.network.advance(20)
        for node in nodes:
            links = node.service.links.endpoint.links
            self.assertEqual(len(links), 2)
            self.assertEqual([link.open_streams for link in links], [1, 1])

    def test_news_spread(self) -> None:
        """
        What a node says of itself reaches those that are linked to it.
        """
        nodes = self.mesh()
        self.world.until(lambda: self.linked(*nodes), 10)
        self.world.network.move(nodes[0].host, "198.51.100.77")

        def has_heard(node: SimulatedNode) -> bool:
            roster = node.service.mesh.roster
            member = None if roster is None else roster.get(nodes[0].key.node_id)
            record = None if member is None else member.record
            return record is not None and any(
                each.host == "198.51.100.77" for each in record.endpoints
            )

        self.world.until(lambda: all(map(has_heard, nodes[1:])), 30)

    def test_gossip_through_another(self) -> None:
        """
        Two members that cannot reach each other still learn of each other.
        """
        first, second = (
            self.world.node("portland", "198.51.100.1"),
            self.world.node("seattle", "198.51.100.2"),
        )
        self.world.join(first, second)
        self.world.until(lambda: self.linked(first, second), 10)
        third = self.world.node("tacoma", "198.51.100.3")
        self.world.network.cut(second.host, third.host)
        self.world.join(first, third)
        self.world.until(lambda: set(second.states()) == {"portland", "tacoma"}, 10)
        self.world.until(lambda: set(third.states()) == {"portland", "seattle"}, 10)

    def test_revoked(self) -> None:
        """
        One that was revoked loses its links, at every member, within seconds.
        """
        first, second, third = self.mesh()
        self.world.until(lambda: self.linked(first, second, third), 10)
        roster = first.service.mesh.roster
        assert roster is not None
        signed = issue_revocations(
            first.key,
            first.service.mesh.chain,
            wall=self.world.wall(),
            current=roster.revocations,
            keys=[third.key.node_id],
        ).encoded
        first.service.mesh.merge(lambda held: held.merge_revocations(signed, self.world.wall()))
        self.world.until(lambda: not (first.is_linked(third) or second.is_linked(third)), 5)
        self.assertEqual(set(first.states()), {"seattle"})
        self.assertEqual(set(second.states()), {"portland"})
        self.world.network.advance(60)
        self.assertFalse(first.is_linked(third) or second.is_linked(third))
        self.assertTrue(self.linked(first, second))

    def test_leave(self) -> None:
        """
        One that leaves forgets the mesh and its members, and may join another.
        """
        first, second, third = self.mesh()
        self.world.until(lambda: self.linked(first, second, third), 10)
        left = self.world.result(third.service.leave())
        self.assertEqual(left["mesh_name"], "home")
        self.assertEqual(third.service.peers(), [])
        self.assertIsNone(third.service.status()["mesh_id"])
        self.world.until(lambda: not first.is_linked(third), 5)
        self.world.network.advance(5)
        self.assertRaises(JoinError, third.service.leave)
        made = self.world.result(third.service.invite(hours=1, uses=1, mesh_name="other"))
        self.assertEqual((made["founded"], made["mesh_name"]), (True, "other"))

    def test_restart(self) -> None:
        """
        A node that was killed and started again has its links back at once.
        """
        first, second, third = self.mesh()
        self.world.until(lambda: self.linked(first, second, third), 10)
        for node in (first, second, third):
            others = [each for each in (first, second, third) if each is not node]
            node.kill()
            self.world.network.advance(2)
            node.restart()
            took = self.world.until(lambda: self.linked(first, second, third), 10)
            self.assertLess(took, 4)
            self.assertEqual(set(node.states()), {each.host.name for each in others})

    def test_restart_after_long(self) -> None:
        """
        Links are back soon after an hour's absence, too.
        """
        first, second, _ = self.mesh()
        second.kill(is_silent=True)
        self.world.network.advance(3600)
        self.assertEqual(first.states()["seattle"], "away")
        second.restart()
        self.assertLess(self.world.until(lambda: self.linked(first, second), 20), 5)

    def test_relay_restart(self) -> None:
        """
        Direct links live on without the relay, which is found again when it is back.
        """
        first, second, third = self.mesh()
        self.world.network.advance(20)
        links = [first.link_to(second), second.link_to(third), third.link_to(first)]
        self.assertEqual([link and link.path and link.path.kind for link in links], ["direct"] * 3)
        self.world.relay_host.kill()
        self.world.network.advance(60)
        self.assertTrue(self.linked(first, second, third))
        self.assertFalse(first.service.status()["relay"]["ok"])
        self.world.relay_host.restart()
        self.world.start_relay()
        nodes = (first, second, third)
        self.world.until(lambda: all(node.service.status()["relay"]["ok"] for node in nodes), 10)
        self.assertEqual(
            links, [first.link_to(second), second.link_to(third), third.link_to(first)]
        )

    def test_relayed_links_survive_relay(self) -> None:
        """
        Links that only a relay can carry go on when it is back.
        """
        first, second, _ = self.mesh()
        self.world.network.cut(first.host, second.host, tcp=False)
        self.world.until(lambda: first.path_to(second) == second.path_to(first) == "relayed", 15)
        link = first.link_to(second)
        self.world.relay_host.kill()
        self.world.network.advance(30)
        self.world.relay_host.restart()
        self.world.start_relay()
        self.world.until(lambda: self.linked(first, second), 15)
        assert link is not None
        self.assertEqual(self.world.ping(first, "seattle", count=1)["received"], 1)

    def test_partition(self) -> None:
        """
        After ten minutes without any network the links are back within seconds.
        """
        first, second, third = self.mesh()
        self.world.until(lambda: self.linked(first, second, third), 10)
        self.world.network.cut(first.host)
        self.world.network.advance(600)
        self.assertEqual(set(first.states().values()), {"away"})
        self.world.network.heal()
        self.assertLess(self.world.until(lambda: self.linked(first, second, third), 60), 10)

    def test_sleep(self) -> None:
        """
        A machine that slept for ten minutes is back within seconds.
        """
        first, second, third = self.mesh()
        self.world.until(lambda: self.linked(first, second, third), 10)
        first.host.sleep()
        self.world.network.advance(600)
        first.host.wake()
        self.world.network.advance(0.1)

        def is_back() -> bool:
            return self.linked(first, second, third)

        self.assertLess(self.world.until(is_back, 60), 10)
        link = first.link_to(second)
        assert link is not None
        self.assertEqual(self.world.ping(first, "seattle", count=1)["received"], 1)

    def test_find(self) -> None:
        """
        A peer is named by its name or its node ID; ourselves and strangers are none.
        """
        first, second, _ = self.mesh()
        self.assertEqual(first.service.find("seattle").node, second.key.node_id)
        self.assertEqual(first.service.find(str(second.key.node_id)).name, "seattle")
        self.assertRaises(ConfigurationError, first.service.find, "portland")
        self.assertRaises(ConfigurationError, first.service.find, "boston")
        alone = self.world.node("boston", "198.51.100.9")
        self.assertRaises(JoinError, alone.service.find, "seattle")

    def test_stopped(self) -> None:
        """
        When all have stopped in good order no timer is left, and all were told.
        """
        first, second, third = self.mesh()
        self.world.until(lambda: self.linked(first, second, third), 10)
        self.world.result(third.service.stopService())
        self.world.network.advance(1)
        self.assertFalse(first.is_linked(third) or second.is_linked(third))
        self.assertEqual(third.host.getDelayedCalls(), [])
        self.world.stop()
        self.world.network.advance(1)
        self.assertEqual(self.world.clock.getDelayedCalls(), [])
