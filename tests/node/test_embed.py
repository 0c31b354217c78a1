"""
Tests for L{atmosphere.node.embed}: nodes and relays of other programs.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from twisted.application.service import MultiService
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from typing_extensions import override

from atmosphere.errors import ConfigurationError, StateError
from atmosphere.network.nat.candidates import Interface
from atmosphere.network.relay.limits import RelayConfig
from atmosphere.node.embed import make_node, make_relay
from atmosphere.node.service import NodeService
from atmosphere.node.store import NodeStore
from atmosphere.testing import (
    Host,
    SimulatedNetwork,
    seeded_entropy,
    seeded_random,
    wall_clock,
)

RELAY = "ws://203.0.113.1:8080"


class EmbedCase(SynchronousTestCase):
    """
    A simulated network, and a program that makes nodes on it.
    """

    @override
    def setUp(self) -> None:
        self.network = SimulatedNetwork(Clock(), seed=1)
        self.wall = wall_clock(self.network.clock)
        self.folder = Path(self.mktemp())
        self.folder.mkdir()
        self.state = self.folder / "portland"
        self.host = self.network.host("portland", "198.51.100.1")

    def make(
        self, state: Path | None = None, *, host: Host | None = None, **arguments: Any
    ) -> NodeService:
        """
        Make a node on a host.
        """
        here = host or self.host
        return make_node(
            here,
            state or self.state,
            entropy=seeded_entropy(here.name),
            wall=self.wall,
            random=seeded_random(here.name),
            list_interfaces=lambda: [Interface("eth0", here.address, 24)],
            **arguments,
        )

    def stop(self, node: NodeService) -> None:
        """
        Stop a node.
        """
        self.network.run_until(stopping := node.stopService())
        self.successResultOf(stopping)


class NodeTests(EmbedCase):
    """
    C{make_node}.
    """

    def test_first_time(self) -> None:
        """
        A node is made where there is none, with the arguments as its settings;
        nobody else can have the directory until the service has stopped.
        """
        node = self.make(name="Portland", relays=[RELAY], interfaces=["0.0.0.0"], udp_port=7000)
        self.assertRaises(StateError, self.make)
        node.privilegedStartService()
        node.startService()
        status = node.status()
        self.assertEqual((status["name"], status["listening"]), ("portland", ["0.0.0.0:7000"]))
        self.stop(node)
        with NodeStore.open(self.state, wall=self.wall) as store:
            self.assertEqual(str(store.key.node_id), status["node_id"])
            self.assertEqual((store.settings.relays, store.settings.udp_port), ((RELAY,), 7000))

    def test_again(self) -> None:
        """
        A node that is there keeps its identity and its settings; arguments are
        laid over them for one run.
        """
        first = self.make(name="portland", relays=[RELAY], interfaces=["0.0.0.0"])
        identity = first.links.endpoint.own_id
        self.stop(first)
        second = self.make(udp_port=7001, relays=["ws://203.0.113.2"])
        second.privilegedStartService()
        self.assertEqual(second.links.endpoint.own_id, identity)
        self.assertEqual(second.status()["listening"], ["0.0.0.0:7001"])
        self.assertEqual(
            second.surroundings.trusted_relays, [RELAY, "ws://203.0.113.2"], "both are used"
        )
        self.stop(second)
        with NodeStore.open(self.state, wall=self.wall) as store:
            self.assertEqual((store.settings.relays, store.settings.udp_port), ((RELAY,), None))

    def test_named_after_the_machine(self) -> None:
        """
        Without a name the node is called as the machine is.
        """
        node = self.make()
        self.assertNotEqual(node.status()["name"], "")
        self.stop(node)

    def test_refused(self) -> None:
        """
        Arguments that do not fit are refused, and the directory is let go.
        """
        self.assertRaises(ConfigurationError, self.make, name="no name")
        self.assertRaises(ConfigurationError, self.make, relays=["http://relay"])
        self.assertFalse(self.state.exists())
        self.stop(self.make(name="portland"))
        error = self.assertRaises(ConfigurationError, self.make, name="seattle")
        self.assertIn("called portland, not seattle", str(error))
        self.assertRaises(ConfigurationError, self.make, path_policy="sideways")
        self.stop(self.make(name="portland"))

    def test_nothing_open_before_the_start(self) -> None:
        """
        Until it starts, the node holds no database that a fork would carry along.
        """
        self.make()
        names = {each.name for each in self.state.iterdir()}
        self.assertIn("mesh.db", names)
        self.assertNotIn("mesh.db-wal", names)

    def test_two_in_a_tree_of_services(self) -> None:
        """
        Two nodes and a relay are children of a program's own service, join, and
        are stopped with it.
        """
        program = MultiService()
        relay_host = self.network.host("relay", "203.0.113.1")
        relay = make_relay(
            relay_host, RelayConfig(is_open=True), entropy=seeded_entropy("relay"), wall=self.wall
        )
        relay.setServiceParent(program)
        names = ("portland", "seattle")
        hosts = (self.host, self.network.host("seattle", "198.51.100.2"))
        portland, seattle = (
            self.make(self.folder / name, host=host, name=name, relays=[RELAY], has_control=False)
            for name, host in zip(names, hosts, strict=True)
        )
        portland.setServiceParent(program)
        seattle.setServiceParent(program)
        program.privilegedStartService()
        program.startService()
        self.network.run_until(started := seattle.when_started())
        self.successResultOf(started)
        self.network.advance(1)
        self.network.run_until(made := portland.invite(hours=1, uses=1, mesh_name=None))
        self.network.run_until(joining := seattle.join(self.successResultOf(made)["code"]))
        self.assertEqual(self.successResultOf(joining)["name"], "seattle")
        self.network.run_until(linked := seattle.connect("portland"))
        self.assertEqual(self.successResultOf(linked).peer, portland.links.endpoint.own_id)
        self.network.run_until(stopping := program.stopService())
        self.successResultOf(stopping)
        self.stop_is_clean()

    def stop_is_clean(self) -> None:
        """
        Check that no directory is held and no timer is left.
        """
        self.network.advance(5)
        self.assertEqual(self.network.clock.getDelayedCalls(), [])
        for name in ("portland", "seattle"):
            NodeStore.open(self.folder / name, wall=self.wall).close()
