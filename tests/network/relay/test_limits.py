"""
Tests for L{atmosphere.network.relay.limits}: configuration and names.
"""

from twisted.trial.unittest import SynchronousTestCase

from atmosphere.errors import ConfigurationError
from atmosphere.network.relay.limits import (
    Counters,
    RelayConfig,
    RelayLimits,
    authority_of,
    matches_name,
    split_authority,
)


class ConfigTests(SynchronousTestCase):
    """
    A configuration that cannot be meant is refused in words.
    """

    def test_what_cannot_be_meant(self) -> None:
        """
        Ports out of range, half of a certificate, odd names and proxies are refused.
        """
        for case in (
            {"port": 65536},
            {"stun_port": -1},
            {"certificate": "cert.pem"},
            {"private_key": "key.pem"},
            {"names": ("relay:port",)},
            {"names": ("",)},
            {"proxies": ("nowhere",)},
        ):
            with self.assertRaises(ConfigurationError, msg=str(case)):
                RelayConfig(**case)

    def test_who_is_served(self) -> None:
        """
        Anyone, if the relay is open or serves no mesh.
        """
        self.assertTrue(RelayConfig().serves_anyone)
        self.assertFalse(RelayConfig(meshes=("mesh-a",)).serves_anyone)
        self.assertTrue(RelayConfig(meshes=("mesh-a",), is_open=True).serves_anyone)

    def test_loopback(self) -> None:
        """
        A relay that only its own machine can reach is known as such.
        """
        for host, expected in [
            ("127.0.0.1", True),
            ("::1", True),
            ("localhost", True),
            ("0.0.0.0", False),
            ("", False),
            ("192.0.2.1", False),
            ("relay.example", False),
        ]:
            self.assertEqual(RelayConfig(host=host).is_loopback_only, expected, host)

    def test_defaults_are_those_of_the_protocol(self) -> None:
        """
        The limits that the protocol's description names are the defaults.
        """
        limits = RelayLimits()
        self.assertEqual(
            (
                limits.connections,
                limits.connections_per_address,
                limits.unproven,
                limits.hello_timeout,
                limits.queue,
                limits.probe_queue,
                limits.silence,
                limits.write_timeout,
            ),
            (16_000, 64, 512, 5, 262_144, 16, 45, 10),
        )

    def test_counters(self) -> None:
        """
        Counters begin at zero and are given by name.
        """
        self.assertEqual(set(Counters(accepted=0).as_dict().values()), {0})
        self.assertEqual(Counters(parked=2).as_dict()["parked"], 2)


class NameTests(SynchronousTestCase):
    """
    A relay knows its names.
    """

    def test_split(self) -> None:
        """
        A host and a port come apart, IPv6 with and without brackets.
        """
        for text, expected in [
            ("Relay.Example.", ("relay.example", None)),
            ("relay:8080", ("relay", 8080)),
            ("[2001:DB8::1]:443", ("2001:db8::1", 443)),
            ("[::1]", ("::1", None)),
            ("::1", ("::1", None)),
            ("relay:99999", ("", None)),
            ("relay:x", ("", None)),
            ("[::1", ("", None)),
            ("[::1]x", ("", None)),
            ("", ("", None)),
        ]:
            self.assertEqual(split_authority(text), expected, text)

    def test_write(self) -> None:
        """
        An authority is written in one way.
        """
        self.assertEqual(authority_of("Relay.Example.", 80), "relay.example:80")
        self.assertEqual(authority_of("::1", 8080), "[::1]:8080")

    def test_match(self) -> None:
        """
        A name without a port stands for all, a wildcard for one label.
        """
        names = ("relay.example", "other.example:8443", "*.wild.example", "[::1]:9000")
        for authority, expected in [
            ("relay.example:443", True),
            ("RELAY.example:1", True),
            ("relay.example", True),
            ("other.example:8443", True),
            ("other.example:443", False),
            ("other.example", True),
            ("a.wild.example:443", True),
            ("a.b.wild.example:443", False),
            ("wild.example:443", False),
            ("[::1]:9000", True),
            ("[::1]:9001", False),
            ("evil.example:443", False),
            (":443", False),
        ]:
            self.assertEqual(matches_name(authority, names), expected, authority)
