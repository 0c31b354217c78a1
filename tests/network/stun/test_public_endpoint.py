"""
Tests for our address as others see it.
"""

import json

from twisted.trial.unittest import SynchronousTestCase

from atmosphere.errors import DecodeError
from atmosphere.network.stun.public_endpoint import NetworkInfo, PublicEndpoint


class PublicEndpointTests(SynchronousTestCase):
    """
    An address, a port, and how we know.
    """

    def test_text(self) -> None:
        """
        It is written as C{IP:PORT}, IPv6 in brackets.
        """
        self.assertEqual(str(PublicEndpoint("8.8.4.4", 7777, "manual")), "8.8.4.4:7777")
        self.assertEqual(str(PublicEndpoint("2600::1", 7777, "manual")), "[2600::1]:7777")

    def test_is_public(self) -> None:
        """
        An address is public if it means the same everywhere.
        """
        for ip, is_public in [
            ("8.8.4.4", True),
            ("2600::1", True),
            ("192.168.1.5", False),
            ("100.64.0.1", False),
            ("127.0.0.1", False),
            ("fe80::1", False),
            ("nonsense", False),
        ]:
            self.assertIs(PublicEndpoint(ip, 1, "manual").is_public, is_public, ip)

    def test_dictionary(self) -> None:
        """
        It travels as JSON and comes back the same.
        """
        endpoint = PublicEndpoint("8.8.4.4", 7777, "stun:stun.example:3478", "none")
        text = json.dumps(endpoint.to_dict())
        self.assertEqual(PublicEndpoint.from_dict(json.loads(text)), endpoint)
        least = PublicEndpoint.from_dict({"ip": "8.8.4.4", "port": 1, "more": []})
        self.assertEqual(least, PublicEndpoint("8.8.4.4", 1, "manual"))

    def test_nonsense(self) -> None:
        """
        What is no endpoint is refused.
        """
        good = {"ip": "8.8.4.4", "port": 7777}
        for change in (
            {"ip": "host.example"},
            {"ip": 7},
            {"port": "7777"},
            {"port": True},
            {"port": 65536},
            {"source": None},
            {"nat_type": 5},
            {"nat_type": "x" * 1000},
        ):
            with self.assertRaises(DecodeError):
                PublicEndpoint.from_dict({**good, **change})


class NetworkInfoTests(SynchronousTestCase):
    """
    What follows from what was measured.
    """

    def info(self, ip: str, *, is_behind_nat: bool) -> NetworkInfo:
        """
        Make what is known of a machine that others see at an address.
        """
        seen = PublicEndpoint(ip, 4711, "stun:a")
        return NetworkInfo("192.168.1.5", 7777, seen, is_behind_nat, "words")

    def test_reachable(self) -> None:
        """
        Only a public address that is our own can be sent to first.
        """
        self.assertTrue(self.info("8.8.4.4", is_behind_nat=False).is_publicly_reachable)
        self.assertFalse(self.info("8.8.4.4", is_behind_nat=True).is_publicly_reachable)
        self.assertFalse(self.info("127.0.0.1", is_behind_nat=False).is_publicly_reachable)

    def test_best(self) -> None:
        """
        The public endpoint is told to others; without one, the local.
        """
        self.assertEqual(self.info("8.8.4.4", is_behind_nat=True).best_endpoint, "8.8.4.4:4711")
        unknown = NetworkInfo("192.168.1.5", 7777, None, True, None)
        self.assertEqual(unknown.best_endpoint, "192.168.1.5:7777")
        self.assertFalse(unknown.is_publicly_reachable)
