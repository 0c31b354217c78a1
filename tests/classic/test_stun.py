"""
Tests for how others see us, under the original's names.
"""

from __future__ import annotations

from twisted.internet.defer import CancelledError
from twisted.internet.protocol import DatagramProtocol

from atmosphere.classic.nat import NATTraversal
from atmosphere.classic.stun import (
    STUN_SERVERS,
    discover_public_ip,
    forget_public_ip,
    gather_network_info,
    get_local_ip,
)
from atmosphere.classic.world import the_world
from atmosphere.errors import DecodeError
from atmosphere.testing import PORT_RESTRICTED, SYMMETRIC

from .world_case import WorldCase


class DiscoverTests(WorldCase):
    """
    C{discover_public_ip}.
    """

    def test_public(self) -> None:
        """
        Servers say how our port is seen from outside.
        """
        endpoint = self.result(discover_public_ip(7777, world=self.home(1)))
        assert endpoint is not None
        self.assertEqual((str(endpoint), endpoint.source), ("8.8.1.1:7777", "stun:stun1:3478"))
        self.assertTrue(endpoint.is_public)

    def test_kept(self) -> None:
        """
        The result is kept for the session, for each port its own, until it is forgotten.
        """
        home = self.home(1)
        first = self.result(discover_public_ip(7777, world=home))
        trace = self.network.record()
        self.assertIs(self.successResultOf(discover_public_ip(7777, world=home)), first)
        self.assertEqual(trace, [])
        other = self.result(discover_public_ip(7778, world=home))
        self.assertEqual(str(other), "8.8.1.1:7778")
        forget_public_ip(world=home)
        self.assertEqual(self.result(discover_public_ip(7777, world=home)), first)
        self.assertNotEqual(trace, [])

    def test_nobody_answers(self) -> None:
        """
        Without an answer there is no endpoint, after the time that was given, and
        it is asked again the next time.
        """
        home = self.home(1)
        STUN_SERVERS[:] = ["8.8.100.99:3478", "nowhere:3478"]
        asking = discover_public_ip(0, 1.5, world=home)
        self.assertAlmostEqual(self.network.run_until(asking), 1.5, 2)
        self.assertIsNone(self.successResultOf(asking))
        STUN_SERVERS[:] = ["stun1:3478"]
        self.assertIsNotNone(self.result(discover_public_ip(world=home)))

    def test_taken_port(self) -> None:
        """
        When another program has the port, another port is asked from.
        """
        home = self.home(1)
        other = home.reactor.listenUDP(7777, DatagramProtocol())
        endpoint = self.result(discover_public_ip(7777, world=home))
        assert endpoint is not None
        self.assertEqual(endpoint.ip, "8.8.1.1")
        self.assertNotEqual(endpoint.port, 7777)
        other.stopListening()

    def test_own_socket(self) -> None:
        """
        When we have the port open ourselves, it is asked from there: so what is
        learned is true for the holes that are punched from it.
        """
        home = self.home(1, SYMMETRIC)
        traversal = NATTraversal(7777, world=home)
        self.result(traversal.start())
        self.assertIsNotNone(self.result(discover_public_ip(7777, world=home)))
        self.assertEqual(list(home.session["ports"]), [(7777, False)])
        self.result(traversal.stop())

    def test_cancelled(self) -> None:
        """
        Cancelling ends the search.
        """
        asking = discover_public_ip(7777, world=self.home(1))
        asking.cancel()
        self.network.run_until(asking)
        self.failureResultOf(asking, CancelledError)

    def test_nonsense(self) -> None:
        """
        What is no server in the list is named.
        """
        STUN_SERVERS[:] = ["no server"]
        self.failureResultOf(discover_public_ip(world=self.home(1)), DecodeError)


class GatherTests(WorldCase):
    """
    C{gather_network_info} and C{get_local_ip}.
    """

    def test_behind_nat(self) -> None:
        """
        Behind a NAT we are not reachable, and its mapping is told in words.
        """
        for number, behaviour, words in (
            (1, PORT_RESTRICTED, "endpoint-independent mapping"),
            (2, SYMMETRIC, "address-dependent mapping"),
        ):
            info = self.result(gather_network_info(7777, world=self.home(number, behaviour)))
            self.assertTrue(info.is_behind_nat)
            self.assertFalse(info.is_publicly_reachable)
            self.assertEqual(info.nat_type, words)
            self.assertEqual((info.local_ip, info.local_port), (f"192.168.1.{number + 1}", 7777))
            assert info.public_endpoint is not None
            self.assertEqual(info.public_endpoint.nat_type, words)
            self.assertEqual(info.best_endpoint, str(info.public_endpoint))

    def test_public(self) -> None:
        """
        With a public address of its own a machine is reachable.
        """
        world = self.world(self.network.host("server", "8.8.50.50"))
        info = self.result(gather_network_info(7777, world=world))
        self.assertEqual((info.is_behind_nat, info.nat_type), (False, "none"))
        self.assertTrue(info.is_publicly_reachable)
        self.assertEqual(info.best_endpoint, "8.8.50.50:7777")

    def test_one_server(self) -> None:
        """
        One server alone shows that there is a NAT, and that is what is said.
        """
        STUN_SERVERS[:] = [("stun2", 3478)]
        info = self.result(gather_network_info(7777, world=self.home(1)))
        self.assertTrue(info.is_behind_nat)
        self.assertEqual(info.nat_type, "NAT, mapping not compared: one server alone answered")

    def test_nobody_answers(self) -> None:
        """
        Without an answer nothing is claimed but what the local address tells.
        """
        STUN_SERVERS[:] = []
        info = self.result(gather_network_info(7777, world=self.home(1)))
        self.assertIsNone(info.public_endpoint)
        self.assertIsNone(info.nat_type)
        self.assertTrue(info.is_behind_nat)
        self.assertFalse(info.is_publicly_reachable)
        self.assertEqual(info.best_endpoint, "192.168.1.2:7777")

    def test_local(self) -> None:
        """
        The local address is that of the route outside; without a network, loopback.
        """
        home = self.home(1)
        self.assertEqual(get_local_ip(world=home), "192.168.1.2")
        home.routes = dict
        self.assertEqual(get_local_ip(world=home), "127.0.0.1")
        self.assertIn(get_local_ip(), [*the_world().addresses(), "127.0.0.1"])
