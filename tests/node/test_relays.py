"""
Tests for L{atmosphere.node.relays}.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from typing_extensions import override

from atmosphere.addresses import TransportAddress
from atmosphere.errors import ConfigurationError
from atmosphere.identity import NodeID, NodeKey
from atmosphere.network.path.ways import RelayedWay, Way
from atmosphere.network.relay.client import RelayClient
from atmosphere.network.relay.frames import HelloCredentials
from atmosphere.network.relay.limits import RelayConfig
from atmosphere.network.relay.line import Admission
from atmosphere.network.relay.service import RelayService
from atmosphere.network.stun.discovery import Server
from atmosphere.node.relays import RelaySet
from atmosphere.testing import SimulatedNetwork, seeded_entropy, seeded_random, wall_clock

from .harness import RELAY_ADDRESS, RELAY_URL

KEYS = [NodeKey(bytes([number]) * 32) for number in (1, 2)]


class RelaySetTests(SynchronousTestCase):
    """
    Two nodes' clients of one relay.
    """

    @override
    def setUp(self) -> None:
        """
        Start the relay and both sets.
        """
        self.network = SimulatedNetwork(Clock(), seed=1)
        host = self.network.host("relay", RELAY_ADDRESS)
        # Not open to all, or it would not be greeted anew.
        self.relay = RelayService(
            host,
            RelayConfig(meshes=(f"mesh-{'a' * 26}",)),
            entropy=seeded_entropy(1),
            wall=wall_clock(self.network.clock),
            admit=lambda hello: Admission(is_proven=True),
        )
        self.relay.privilegedStartService()
        self.relay.startService()
        self.received: list[tuple[Way, bytes]] = []
        self.changes: list[tuple[str, bool]] = []
        self.absent: list[NodeID] = []
        self.ours, self.theirs = self.make(0), self.make(1)

    def make(self, number: int, ca_file: str | None = None) -> RelaySet:
        """
        Make the set of a node on a host of its own.
        """

        def deliver(way: Way, datagrams: Sequence[bytes]) -> None:
            self.received += [(way, data) for data in datagrams]

        def changed(client: RelayClient) -> None:
            self.changes.append((client.url, client.is_welcomed))

        made = RelaySet(
            self.network.host(f"node {number}", f"198.51.100.{number + 1}"),
            KEYS[number % 2],
            bytes([number]) * 16,
            entropy=seeded_entropy(number),
            wall=wall_clock(self.network.clock),
            random=seeded_random(number),
            hello=HelloCredentials,
            deliver=deliver,
            on_change=changed,
            on_absent=lambda url, node: self.absent.append(node),
            ca_file=ca_file,
        )
        made.startService()
        return made

    def welcome(self, *sets: RelaySet) -> None:
        """
        Connect to the relay, and wait to be let in.
        """
        for each in sets:
            each.use(RELAY_URL)
        self.network.run_until(lambda: all(each.welcomed for each in sets))

    def test_datagrams(self) -> None:
        """
        Datagrams come with the way back, one object for each peer.
        """
        self.welcome(self.ours, self.theirs)
        self.ours.send(self.ours.way(RELAY_URL, KEYS[1].node_id), [b"one", b"two"])
        self.network.advance(1)
        back = self.theirs.way(RELAY_URL, KEYS[0].node_id)
        self.assertEqual(self.received, [(back, b"one"), (back, b"two")])
        self.assertIs(self.received[0][0], back)
        self.assertIs(self.theirs.way(RELAY_URL, KEYS[0].node_id), back)

    def test_absent(self) -> None:
        """
        The relay says whom it does not have.
        """
        self.welcome(self.ours)
        self.ours.send(RelayedWay(RELAY_URL, KEYS[1].node_id), [b"one"])
        self.network.advance(1)
        self.assertEqual(self.absent, [KEYS[1].node_id])

    def test_unknown_relay(self) -> None:
        """
        Datagrams for a relay that we do not use are lost.
        """
        self.ours.send(RelayedWay("ws://elsewhere:1", KEYS[1].node_id), [b"one"])
        self.assertEqual(self.ours.welcomed, [])

    def test_facts(self) -> None:
        """
        A relay's welcome tells where STUN is and where we come from.
        """
        self.welcome(self.ours)
        self.assertEqual(self.ours.stun_servers([RELAY_URL]), [Server(RELAY_ADDRESS, 3478)])
        self.assertEqual(self.ours.stun_servers([]), [])
        self.assertEqual([each.host for each in self.ours.observed], ["198.51.100.1"])
        self.assertFalse(self.ours.is_on_this_machine)
        self.assertEqual(self.changes, [(RELAY_URL, True)])

    def test_lie_about_loopback(self) -> None:
        """
        A relay elsewhere that says it saw us on loopback does not have peers checked
        there: any member may name one.
        """
        self.welcome(self.ours)
        client = self.ours.clients[RELAY_URL]
        assert client.welcome is not None
        for host in ("127.0.0.1", "::1"):
            observed = TransportAddress(host, 5000)
            client.connection_welcomed(replace(client.welcome, observed=observed))
            self.assertEqual(self.ours.observed, [observed])
            self.assertFalse(self.ours.is_on_this_machine)

    def test_used_once(self) -> None:
        """
        The same URL is one client, and there are not many.
        """
        first = self.ours.use(RELAY_URL)
        self.assertIs(self.ours.use(RELAY_URL), first)
        for number in range(20):
            self.ours.use(f"ws://relay{number}.example:8080")
        self.assertEqual(len(self.ours.clients), 16)
        self.assertIsNone(self.ours.use("ws://one-more.example:8080"))
        self.assertRaises(ConfigurationError, self.theirs.use, "ftp://relay.example")

    def test_peers_relays(self) -> None:
        """
        A relay that a peer names must be wss://, or known to the user.
        """
        plain, secure = "ws://peer.example:8080", "wss://peer.example"
        self.assertIsNone(self.ours.use_for_peer(plain, []))
        self.assertIsNotNone(self.ours.use_for_peer(plain, [plain]))
        self.assertIsNotNone(self.ours.use_for_peer(secure, []))
        self.assertIsNone(self.ours.use_for_peer("wss://", []))
        for inner in ("127.0.0.1", "10.0.0.1", "169.254.169.254", "[::1]", "localhost"):
            self.assertIsNone(self.ours.use_for_peer(f"wss://{inner}", []), inner)

    def test_peers_relays_are_few(self) -> None:
        """
        Peers cannot fill the places of the user's own relays.
        """
        for number in range(20):
            self.ours.use_for_peer(f"wss://relay{number}.example", [RELAY_URL])
        self.assertEqual(len(self.ours.clients), 8)
        self.assertIsNotNone(self.ours.use(RELAY_URL))
        self.ours.use_only([RELAY_URL])
        self.assertEqual(list(self.ours.clients), [RELAY_URL])

    def test_certificates(self) -> None:
        """
        Certificates that cannot be read are refused at once, whether or not a
        relay is known that needs them.
        """
        with self.assertRaises(ConfigurationError) as caught:
            self.make(2, ca_file="/nonexistent")
        self.assertIn("/nonexistent cannot be read", str(caught.exception))

    def test_reconnect(self) -> None:
        """
        What we show may change: then every relay is greeted anew.
        """
        self.welcome(self.ours)
        self.ours.reconnect()
        self.network.run_until(lambda: not self.ours.welcomed)
        self.network.run_until(lambda: self.ours.welcomed, 5)

    def test_reconnect_twice(self) -> None:
        """
        Greeting anew while that is under way does no harm.
        """
        self.welcome(self.ours)
        self.ours.reconnect()
        self.ours.reconnect()
        self.network.advance(10)
        self.assertEqual(self.ours.welcomed, [RELAY_URL])
        self.assertEqual(self.relay.server.counters.replaced, 0)

    def test_stop(self) -> None:
        """
        Afterwards nothing is left, and nothing comes back, not even what was
        about to be greeted anew.
        """
        self.welcome(self.ours, self.theirs)
        self.ours.reconnect()
        for each in (self.ours, self.theirs, self.relay):
            stopping = each.stopService()
            if stopping is not None:
                self.network.run_until(stopping)
        self.network.advance(1)
        self.assertEqual(self.network.clock.getDelayedCalls(), [])
