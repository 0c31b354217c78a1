"""
What the original promised and did not do, one test at least for each: each is
named after the promise.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from twisted.internet.endpoints import HostnameEndpoint
from twisted.internet.protocol import Factory, Protocol
from typing_extensions import override

from atmosphere.classic.nat import (
    ConnectionState,
    NATTraversal,
    punch_hole,
    punched_connection,
)
from atmosphere.classic.p2p import establish_p2p_connection
from atmosphere.classic.relay import RelayClient, RelayServer
from atmosphere.classic.stun import discover_public_ip, gather_network_info
from atmosphere.identity import NodeKey
from atmosphere.network.relay.client import RelayClient as NodeRelayClient
from atmosphere.network.relay.frames import HelloCredentials
from atmosphere.network.relay.limits import RelayConfig, RelayLimits
from atmosphere.network.relay.service import RelayService
from atmosphere.testing import (
    ADDRESS_RESTRICTED,
    CGNAT,
    FULL_CONE,
    PORT_RESTRICTED,
    SYMMETRIC,
    seeded_entropy,
    seeded_random,
    wall_clock,
)

from .world_case import RELAY, WorldCase


class Page(Protocol):
    """
    Reads what comes to its end.
    """

    def __init__(self) -> None:
        self.text = b""

    @override
    def dataReceived(self, data: bytes) -> None:
        """
        Keep it.
        """
        self.text += data


class HolePunchingTests(WorldCase):
    """
    Hole punching. «Nothing ever marked an attempt established: it always ran into its timeout.»
    """

    def test_hole_punching(self) -> None:
        """
        Two that punch towards each other are marked established within a second,
        of themselves, and can send both ways.
        """
        got: list[tuple[str, bytes]] = []
        ends = [
            NATTraversal(7777, lambda *message: got.append(message), world=self.home(number))
            for number in (1, 2)
        ]
        for end in ends:
            self.assertTrue(self.result(end.start()))
            self.closers.append(end.stop)
        begin = self.clock.seconds()
        attempts = self.results(
            ends[0].punch_hole("two", "8.8.2.1", 7777, timeout=10),
            ends[1].punch_hole("one", "8.8.1.1", 7777, timeout=10),
        )
        self.assertLess(self.clock.seconds() - begin, 1)
        self.assertEqual({each.state for each in attempts}, {ConnectionState.ESTABLISHED})
        ends[0].send_to_peer("two", b"from one")
        ends[1].send_to_peer("one", b"from two")
        self.network.advance(1)
        self.assertEqual(sorted(got), [("one", b"from one"), ("two", b"from two")])

    def test_hole_punching_of_every_easy_pair(self) -> None:
        """
        It works through every pair of NATs that map alike for all.
        """
        number = 0
        kinds = (FULL_CONE, ADDRESS_RESTRICTED, PORT_RESTRICTED, CGNAT)
        for first in kinds:
            for second in kinds:
                number += 2
                one, two = self.home(number, first), self.home(number + 1, second)
                seen = [self.result(discover_public_ip(7777, world=each)) for each in (one, two)]
                assert seen[0] is not None and seen[1] is not None
                both = self.results(
                    punch_hole(7777, seen[1].ip, seen[1].port, world=one),
                    punch_hole(7777, seen[0].ip, seen[0].port, world=two),
                )
                self.assertEqual(both, [True, True], (first, second))
                for world, other in ((one, seen[1]), (two, seen[0])):
                    connection = punched_connection(7777, other.ip, other.port, world=world)
                    assert connection is not None
                    self.result(connection.close())


class EstablishTests(WorldCase):
    """
    C{establish_p2p_connection} and the relay fallback.
    """

    def test_establish_p2p_connection_keeps_its_socket(self) -> None:
        """
        «Closed the socket it had punched.» It stays open: ten minutes later it still carries data.
        """
        one, two = self.home(1), self.home(2)
        first, second = self.results(
            establish_p2p_connection(7777, "8.8.2.1:7777", world=one),
            establish_p2p_connection(7777, "8.8.1.1:7777", world=two),
        )
        self.assertEqual((tuple(first), tuple(second)), ((True, "direct"), (True, "direct")))
        assert first.connection is not None and second.connection is not None
        self.closers += [first.connection.close, second.connection.close]
        self.network.advance(600)
        for sender, receiver in (
            (first.connection, second.connection),
            (second.connection, first.connection),
        ):
            self.result(sender.send(b"still here"))
            self.assertEqual(self.result(receiver.receive(timeout=5)), b"still here")

    def test_relay_fallback_meets(self) -> None:
        """
        «Each side chose a random session, so the two never met.» Both compute the
        same one, each from what the other has told.
        """
        self.serve()
        one, two = self.home(1, SYMMETRIC), self.home(2, SYMMETRIC)
        seen = [self.result(discover_public_ip(7777, world=each)) for each in (one, two)]
        assert seen[0] is not None and seen[1] is not None
        first, second = self.results(
            establish_p2p_connection(7777, seen[1], RELAY, 3, world=one),
            establish_p2p_connection(7777, seen[0], RELAY, 3, world=two),
        )
        self.assertEqual((tuple(first), tuple(second)), ((True, "relay"), (True, "relay")))
        assert first.connection is not None and second.connection is not None
        self.closers += [first.connection.close, second.connection.close]
        self.result(first.connection.send(b"hello"))
        self.assertEqual(self.result(second.connection.receive(timeout=5)), b"hello")


class ReportTests(WorldCase):
    """
    What C{gather_network_info} claims.
    """

    def test_reachability_behind_every_nat(self) -> None:
        """
        «"Reachable" was true behind every NAT.» Behind a NAT we are not reachable,
        whichever it is.
        """
        kinds = (FULL_CONE, ADDRESS_RESTRICTED, PORT_RESTRICTED, SYMMETRIC, CGNAT)
        for number, behaviour in enumerate(kinds, 1):
            info = self.result(gather_network_info(7777, world=self.home(number, behaviour)))
            self.assertTrue(info.is_behind_nat)
            self.assertFalse(info.is_publicly_reachable, behaviour)

    def test_nat_type_is_set(self) -> None:
        """
        «nat_type was never set.» It is, in words, whenever anything was measured.
        """
        words = []
        for number, behaviour in enumerate((FULL_CONE, SYMMETRIC), 1):
            info = self.result(gather_network_info(7777, world=self.home(number, behaviour)))
            words.append(info.nat_type)
        public = self.world(self.network.host("public", "8.8.50.1"))
        words.append(self.result(gather_network_info(7777, world=public)).nat_type)
        self.assertEqual(
            words, ["endpoint-independent mapping", "address-dependent mapping", "none"]
        )


class RelayTests(WorldCase):
    """
    The relay: «no authentication, limits or back-pressure; messages sent before the
    partner came were lost; a third client could end a live session».
    """

    def pair(self) -> tuple[RelayClient, RelayClient]:
        """
        Connect two clients.
        """
        made = [RelayClient(RELAY, "tea-time", world=self.home(number)) for number in (1, 2)]
        for client in made:
            self.closers.append(client.disconnect)
            self.assertTrue(self.result(client.connect()))
        return made[0], made[1]

    def start(self, config: RelayConfig) -> RelayService:
        """
        Start a relay that is set up otherwise than C{RelayServer} does.
        """
        service = RelayService(
            self.relay_host, config, entropy=seeded_entropy("relay"), wall=wall_clock(self.clock)
        )
        service.privilegedStartService()
        service.startService()
        self.closers.append(service.stopService)
        return service

    def test_relay_authentication(self) -> None:
        """
        A relay that serves a mesh lets in its members only: neither who has no
        certificate, nor anonymous clients of sessions.
        """
        service = self.start(RelayConfig(meshes=("mesh-" + "a" * 26,)))
        home = self.home(1)
        node = NodeRelayClient(
            home.reactor,
            RELAY,
            NodeKey(b"k" * 32),
            entropy=seeded_entropy("node"),
            wall=home.wall,
            random=seeded_random("node"),
            hello=HelloCredentials,
            on_datagrams=lambda client, source, datagrams: None,
            on_change=lambda client: None,
        )
        node.startService()
        self.closers.append(node.stopService)
        self.network.run_until(lambda: node.error is not None)
        self.assertFalse(node.is_welcomed)
        self.assertIn("refused us", node.error or "")
        client = RelayClient(RELAY, "tea-time", world=self.home(2))
        self.assertFalse(self.result(client.connect()))
        self.assertIn("members only", client.error or "")
        self.assertEqual(service.server.counters.refused_logins, 1)

    def test_relay_limits(self) -> None:
        """
        One address may hold so many sessions open, and send so fast, and no more.
        """
        self.start(
            RelayConfig(
                is_open=True,
                limits=replace(RelayLimits(), rate=100_000, burst=100_000),
            )
        )
        home = self.home(9)
        clients = [RelayClient(RELAY, world=home) for _ in range(10)]
        welcome = [self.result(each.connect()) for each in clients]
        self.closers += [each.disconnect for each in clients]
        self.assertEqual(welcome, [True] * 8 + [False] * 2)
        self.assertIn("too many sessions", clients[-1].error or "")
        self.network.advance(31)
        first, second = self.pair()
        begin = self.clock.seconds()
        sending = [first.send(bytes(50_000)) for _ in range(20)]
        for _ in sending:
            self.assertIsNotNone(self.result(second.receive(timeout=60)))
        self.assertGreater(self.clock.seconds() - begin, 7)

    def test_relay_back_pressure(self) -> None:
        """
        Who does not receive makes the sender wait, and nothing is lost by it.
        """
        self.serve()
        first, second = self.pair()
        sending = [first.send(number.to_bytes(2, "big") + bytes(60_000)) for number in range(60)]
        self.network.advance(5)
        self.assertFalse(sending[-1].called)
        got = []
        for _ in sending:
            message = self.result(second.receive(timeout=30))
            assert message is not None
            got.append(int.from_bytes(message[:2], "big"))
        self.assertEqual(got, list(range(60)))

    def test_relay_keeps_messages_until_the_partner_comes(self) -> None:
        """
        What is sent before the partner comes is there when it does.
        """
        self.serve()
        first, second = (RelayClient(RELAY, "tea", world=self.home(number)) for number in (1, 2))
        self.closers += [first.disconnect, second.disconnect]
        self.result(first.connect())
        self.results(first.send(b"early"), first.send(b"bird"))
        self.network.advance(20)
        self.result(second.connect())
        got = [self.result(second.receive(timeout=5)) for _ in range(2)]
        self.assertEqual(got, [b"early", b"bird"])

    def test_relay_refuses_a_third_client(self) -> None:
        """
        A third client is refused, and the two go on undisturbed.
        """
        self.serve()
        first, second = self.pair()
        for number in range(3, 8):
            third = RelayClient(RELAY, "tea-time", world=self.home(number))
            self.assertFalse(self.result(third.connect()))
            self.assertIn("two clients already", third.error or "")
            self.assertIsNone(self.result(third.receive()))
        self.result(first.send(b"undisturbed"))
        self.assertEqual(self.result(second.receive(timeout=5)), b"undisturbed")
        self.assertTrue(first.is_connected and second.is_connected)

    def test_relay_totals_outlive_sessions(self) -> None:
        """
        C{/health} and C{/stats} answer as documented, and totals count sessions that are over.
        """
        self.serve()
        first, second = self.pair()
        self.result(first.send(b"hello"))
        self.result(second.receive())
        health, stats = self.page("/health"), self.page("/stats")
        self.assertEqual((health["status"], health["sessions"]), ("ok", 1))
        self.assertLess(abs(health["timestamp"] - self.worlds[0].wall()), 5)
        self.assertEqual((stats["total_sessions"], stats["active_sessions"]), (1, 1))
        self.result(first.disconnect())
        self.network.advance(6)
        stats = self.page("/stats")
        self.assertEqual((stats["total_sessions"], stats["active_sessions"]), (1, 0))
        self.assertEqual(stats["total_bytes_relayed"], 5)

    def page(self, path: str) -> dict[str, Any]:
        """
        Get a page of the relay.
        """
        page = Page()
        endpoint = HostnameEndpoint(self.home(50 + len(self.worlds)).reactor, "relay", 8080)
        self.result(endpoint.connect(Factory.forProtocol(lambda: page)))
        assert page.transport is not None
        page.transport.write(f"GET {path} HTTP/1.1\r\nHost: relay\r\n\r\n".encode())
        self.network.advance(1)
        facts: dict[str, Any] = json.loads(page.text.partition(b"\r\n\r\n")[2])
        return facts

    def test_relay_server_is_the_limited_one(self) -> None:
        """
        C{RelayServer} is that relay: with its limits, and no other way in.
        """
        server: RelayServer = self.serve()
        assert server.service is not None
        self.assertEqual(server.service.config.limits.unpaired_per_address, 8)
        self.assertGreater(server.service.config.limits.rate, 0)
