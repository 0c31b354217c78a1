"""
Tests for L{atmosphere.node.relay_options}.
"""

from __future__ import annotations

import dataclasses

from hypothesis import given, settings, strategies
from twisted.trial.unittest import SynchronousTestCase

from atmosphere.errors import ConfigurationError
from atmosphere.network.relay.limits import RelayConfig, RelayLimits
from atmosphere.node.relay_options import relay_config

MESH = "mesh-" + "a" * 26


class RelayOptionsTests(SynchronousTestCase):
    """
    From options to a configuration.
    """

    def test_defaults(self) -> None:
        """
        Without options a relay is set up as its room says.
        """
        self.assertEqual(relay_config(), RelayConfig())

    def test_all(self) -> None:
        """
        Every option has its place; lists lose what is there twice.
        """
        config = relay_config(
            host="127.0.0.1",
            port=0,
            stun_port=8,
            second_stun_port=9,
            stun_addresses=["192.0.2.1", "192.0.2.2"],
            meshes=[MESH, MESH],
            is_open=True,
            cert="c",
            key="k",
            names=["relay.example"],
            trusted_proxies=["10.0.0.1"],
            rate=5.0,
            limits=["connections=7", "hello-timeout=2.5"],
        )
        limits = dataclasses.replace(RelayLimits(), connections=7, hello_timeout=2.5)
        self.assertEqual(
            config,
            RelayConfig(
                "127.0.0.1",
                0,
                8,
                (MESH,),
                True,
                ("relay.example",),
                "c",
                "k",
                ("10.0.0.1",),
                5.0,
                limits,
                9,
                ("192.0.2.1", "192.0.2.2"),
            ),
        )

    def test_every_limit(self) -> None:
        """
        Every limit of a relay can be changed, and keeps its type.
        """
        for each in dataclasses.fields(RelayLimits):
            changed = relay_config(limits=[f"{each.name}=3"]).limits
            kind = type(getattr(RelayLimits(), each.name))
            self.assertEqual(getattr(changed, each.name), 3)
            self.assertIs(type(getattr(changed, each.name)), kind)

    def test_refused(self) -> None:
        """
        A mistake is named, with the option that it is in.
        """
        for options, words in (
            ({"trusted_proxies": ["proxy"]}, "--trusted-proxy 'proxy'"),
            ({"names": ["a b"]}, "'a b' is not HOST:PORT"),
            ({"rate": float("nan")}, "--rate"),
        ):
            with self.assertRaises(ConfigurationError) as caught:
                relay_config(**options)
            self.assertIn(words, str(caught.exception))

    @given(strategies.text(max_size=30))
    @settings(derandomize=True, max_examples=200, deadline=None)
    def test_any_text(self, text: str) -> None:
        """
        Whatever stands in a limit is taken or refused in our own words.
        """
        for each in (text, f"connections={text}", f"{text}=1"):
            try:
                relay_config(limits=[each])
            except ConfigurationError:
                continue
