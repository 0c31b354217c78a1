"""
Tests for L{atmosphere.node.config}.
"""

from __future__ import annotations

from hypothesis import given, settings, strategies
from twisted.trial.unittest import SynchronousTestCase

from atmosphere.addresses import TransportAddress
from atmosphere.errors import ConfigurationError
from atmosphere.network.relay.selection import DEFAULT_RELAYS, RelayInfo
from atmosphere.node.config import (
    HostPort,
    NodeConfig,
    check_name,
    decode_config,
    encode_config,
    parse_host_port,
    parse_relay_url,
    with_environment,
    with_fallback,
    with_options,
)

FULL = NodeConfig(
    "portland",
    relays=("ws://relay:8080", "wss://relay.example.org"),
    relay_ca='/etc/a "quoted" \\ path.pem',
    stun_servers=(HostPort("stun.example.org", 3478), HostPort("2001:db8::1", 1)),
    udp_port=4000,
    interfaces=("127.0.0.1",),
    advertise=(TransportAddress("192.0.2.1", 7777),),
    public_stun=False,
    allow_loopback=True,
    path_policy="direct",
)


class FileTests(SynchronousTestCase):
    """
    C{config.toml}.
    """

    def test_round_trip(self) -> None:
        """
        What C{init} writes is read as it was meant.
        """
        for config in (NodeConfig("portland"), FULL):
            self.assertEqual(decode_config(encode_config(config)), config)

    def test_every_setting_is_explained(self) -> None:
        """
        Also the settings that have their default are in the file, as comments.
        """
        text = encode_config(NodeConfig("x"))
        for name in ("relay-ca", "udp-port", "interfaces", "public-stun", "paths"):
            self.assertIn(f"\n# {name} = ", text)
        for line in text.splitlines():
            self.assertLessEqual(len(line), 100)

    def test_refused(self) -> None:
        """
        A mistake in the file is named.
        """
        cases = {
            "name = ": "not TOML",
            "": "name is missing",
            'name = "a b"': "not a name",
            "name = 7": "name must be",
            'name = "x"\nrelay = []': "unknown setting 'relay'",
            'name = "x"\nrelays = "ws://a"': "relays must be",
            'name = "x"\nrelays = [7]': "relays must be",
            'name = "x"\nrelays = ["https://relay"]': "write wss://",
            'name = "x"\nudp-port = true': "udp-port must be",
            'name = "x"\nudp-port = 70000': "not a port",
            'name = "x"\ninterfaces = ["eth0"]': "to listen on",
            'name = "x"\npaths = "best"': "not one of auto, relayed, direct",
            'name = "x"\nadvertise = ["192.0.2.1:"]': "advertise",
            'name = "x"\nadvertise = ["192.0.2.1:0"]': "advertise",
            'name = "x"\npublic-stun = "no"': "public-stun must be",
        }
        for text, words in cases.items():
            with self.assertRaises(ConfigurationError, msg=text) as caught:
                decode_config(text)
            self.assertIn(words, str(caught.exception))

    @given(strategies.text(max_size=100))
    @settings(derandomize=True, max_examples=200, deadline=None)
    def test_any_text(self, text: str) -> None:
        """
        Any text is a configuration or is refused in our own words.
        """
        try:
            decode_config('name = "x"\n' + text)
        except ConfigurationError:
            return


class OptionTests(SynchronousTestCase):
    """
    Options and variables over the file.
    """

    def test_added(self) -> None:
        """
        Relays and STUN servers of one run join those of the file; the rest
        stands in their place.
        """
        config = with_options(
            FULL,
            relays=["ws://other:80/", "WS://RELAY:8080"],
            stun=["[2001:db8::2]:5", "stun"],
            udp_port=5000,
        )
        self.assertEqual(config.relays, (*FULL.relays, "ws://other"))
        self.assertEqual(
            config.stun_servers[2:], (HostPort("2001:db8::2", 5), HostPort("stun", 3478))
        )
        self.assertEqual((config.udp_port, config.relay_ca), (5000, FULL.relay_ca))

    def test_environment(self) -> None:
        """
        Every setting of a run can be a variable; unset ones change nothing.
        """
        self.assertEqual(with_environment(FULL, {}), FULL)
        config = with_environment(
            NodeConfig("x"),
            {
                "ATMOSPHERE_RELAY": "ws://a:1 ws://b:2",
                "ATMOSPHERE_RELAY_URL": "ws://c:3",
                "ATMOSPHERE_STUN": "c:3",
                "ATMOSPHERE_UDP_PORT": "4",
                "ATMOSPHERE_ADVERTISE": "192.0.2.1:5",
                "ATMOSPHERE_NO_PUBLIC_STUN": "1",
                "ATMOSPHERE_ALLOW_LOOPBACK": "no",
                "ATMOSPHERE_PATHS": "relayed",
                "ATMOSPHERE_RELAY_CA": "ca.pem",
            },
        )
        self.assertEqual(
            config,
            NodeConfig(
                "x",
                relays=("ws://a:1", "ws://b:2"),
                stun_servers=(HostPort("c", 3),),
                udp_port=4,
                advertise=(TransportAddress("192.0.2.1", 5),),
                public_stun=False,
                path_policy="relayed",
                relay_ca="ca.pem",
                fallback_relays=("ws://c:3",),
            ),
        )
        for value in ("x", "-1", "٣", "99999"):
            for name in ("ATMOSPHERE_UDP_PORT", "ATMOSPHERE_PORT"):
                self.assertRaises(ConfigurationError, with_environment, config, {name: value})

    def test_original_variables(self) -> None:
        """
        The original's variables say where a node listens, unless ours do.
        """
        original = {"ATMOSPHERE_HOST": "localhost", "ATMOSPHERE_PORT": "5"}
        config = with_environment(NodeConfig("x"), original)
        self.assertEqual((config.interfaces, config.udp_port), (("127.0.0.1",), 5))
        ours = {"ATMOSPHERE_INTERFACE": "::1", "ATMOSPHERE_UDP_PORT": "6"}
        config = with_environment(NodeConfig("x"), {**original, **ours})
        self.assertEqual((config.interfaces, config.udp_port), (("::1",), 6))

    def test_fallback(self) -> None:
        """
        C{ATMOSPHERE_RELAY_URL}, and without it what stands in C{DEFAULT_RELAYS},
        serves when neither the user nor a join code names a relay.
        """
        self.assertEqual(DEFAULT_RELAYS, [])
        self.assertEqual(with_fallback(NodeConfig("x"), {}).relays_beside(), [])
        DEFAULT_RELAYS.append(RelayInfo("ws://Default:8080", "here"))
        self.addCleanup(DEFAULT_RELAYS.clear)
        plain = with_fallback(NodeConfig("x"), {})
        self.assertEqual(plain.relays_beside(), ["ws://default:8080"])
        named = with_fallback(NodeConfig("x"), {"ATMOSPHERE_RELAY_URL": "ws://a ws://b"})
        self.assertEqual(named.relays_beside(), ["ws://a", "ws://b"])
        self.assertEqual(named.relays_beside(["ws://code"]), ["ws://code"])
        own = with_options(named, relays=["ws://own"])
        self.assertEqual(own.relays_beside(["ws://code"]), ["ws://own", "ws://code"])
        self.assertNotIn("ws://a", encode_config(named))
        with self.assertRaises(ConfigurationError):
            with_fallback(NodeConfig("x"), {"ATMOSPHERE_RELAY_URL": "https://relay"})

    def test_public_address(self) -> None:
        """
        An address to advertise may come without a port, which is the node's then;
        so it is written and read.
        """
        config = with_options(NodeConfig("x"), advertise=["203.0.113.9", "2001:db8::1"])
        self.assertEqual(
            config.advertise,
            (TransportAddress("203.0.113.9", 0), TransportAddress("2001:db8::1", 0)),
        )
        text = encode_config(config)
        self.assertIn('advertise = ["203.0.113.9", "2001:db8::1"]', text)
        self.assertEqual(decode_config(text), config)

    def test_relay_urls(self) -> None:
        """
        A relay has one spelling, and whatever is not one is refused with the remedy.
        """
        good = {
            "ws://Relay:8080/": "ws://relay:8080",
            "wss://relay.example.org:443": "wss://relay.example.org",
            "ws://[2001:DB8::1]:80/relay": "ws://[2001:db8::1]",
            "wss://r:80": "wss://r:80",
        }
        for text, url in good.items():
            self.assertEqual(parse_relay_url(text), url)
        for text in (
            *("", "relay:8080", "ws://", "http://relay", "ws://a b", "ws://user@relay"),
            *("ws://relay/x", "ws://relay?q", "ws://relay#f", "ws://relay:0"),
            *("ws://relay:99999", "ws://[::1", "ws://\x1b[31m"),
        ):
            with self.assertRaises(ConfigurationError, msg=text) as caught:
                parse_relay_url(text)
            self.assertNotIn("\x1b", str(caught.exception))

    def test_host_and_port(self) -> None:
        """
        A server is a host and a port, the port of STUN if none is said.
        """
        self.assertEqual(parse_host_port("2001:db8::1"), HostPort("2001:db8::1", 3478))
        self.assertEqual(str(parse_host_port("[2001:db8::1]:7")), "[2001:db8::1]:7")
        for text in ("", ":7", "a:", "a:b", "a:0", "a:65536", "[::1]7", "[a]:7", "a b:7", "[::1"):
            self.assertRaises(ConfigurationError, parse_host_port, text)

    def test_names(self) -> None:
        """
        A node's name can stand in a table, a path and a URL.
        """
        self.assertEqual(check_name("Portland-2"), "portland-2")
        for name in ("", "-a", "a b", "ä", "a" * 64, "\x1b[31m", "a\n"):
            self.assertRaises(ConfigurationError, check_name, name)

    @given(strategies.text(max_size=40))
    @settings(derandomize=True, max_examples=200, deadline=None)
    def test_any_option(self, text: str) -> None:
        """
        Whatever stands in an option is taken or refused in our own words.
        """
        for parse in (parse_relay_url, parse_host_port, check_name):
            for prefix in ("", "ws://", "["):
                try:
                    parse(prefix + text)
                except ConfigurationError:
                    continue
