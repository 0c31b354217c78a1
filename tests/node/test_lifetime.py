"""
Tests for L{atmosphere.node.lifetime}: what a report says of how long a port is remembered.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from atmosphere.network.stun.binding import PRIMARY, SECOND_PORT
from atmosphere.network.stun.discovery import Server
from atmosphere.network.stun.server import BindingServer, BindingSockets
from atmosphere.node.advice import lifetime_words
from atmosphere.node.lifetime import gather_lifetime, servers_of
from atmosphere.testing import PORT_RESTRICTED, Link, SimulatedNetwork, seeded_entropy


def answered(server: str, second: str | None = None) -> dict[str, Any]:
    """
    Make what a report has of a server that answered.
    """
    return {"server": server, "public": "198.51.100.1:7777", "second_socket": second}


def report(*servers: dict[str, Any], **facts: Any) -> dict[str, Any]:
    """
    Make the part of a report that counts.
    """
    return {"behind_nat": True, "reachable": False, **facts, "servers": list(servers)}


class LifetimeTests(SynchronousTestCase):
    """
    Behind a NAT that forgets a port after 30 s, with two servers.
    """

    def gather(self, given: dict[str, Any]) -> dict[str, Any]:
        """
        Measure.
        """
        network = SimulatedNetwork(Clock(), 1, Link(latency=0.02))
        relay = network.host("relay", "203.0.113.1")
        sockets = BindingSockets(relay)
        for port, corner in ((3478, PRIMARY), (3479, SECOND_PORT)):
            relay.listenUDP(port, sockets.protocol(corner), "0.0.0.0")
        plain = network.host("plain", "203.0.113.2")
        plain.listenUDP(3478, BindingServer(plain), "0.0.0.0")
        nat = network.nat("router", "198.51.100.1", replace(PORT_RESTRICTED, lifetime=30.0))
        machine = network.host("salem", "192.168.1.2", on=nat.lan)
        self.tried: list[float] = []
        done = Deferred.fromCoroutine(
            gather_lifetime(
                machine,
                given,
                entropy=seeded_entropy(1),
                on_progress=lambda waited: self.tried.append(waited.seconds),
            )
        )
        network.advance(60)
        found: dict[str, Any] = self.successResultOf(done)
        return found

    def test_measured(self) -> None:
        """
        The server that can help is found among those that answered.
        """
        servers = (answered("203.0.113.2:3478"), answered("203.0.113.1:3478"))
        found = self.gather(report(*servers))
        self.assertEqual(found["server"], "203.0.113.1:3478")
        self.assertEqual((found["at_least_s"], found["less_than_s"]), (29, 39))
        self.assertIn("29 to 39 s", found["words"])
        self.assertIsNone(found["error"])
        self.assertEqual(self.tried, [9, 14, 19, 24, 29, 39])

    def test_no_help(self) -> None:
        """
        Where no server can help the reason is said, and no figure.
        """
        for servers, words in (
            ((answered("203.0.113.2:3478"),), "203.0.113.2:3478: it does not answer to another"),
            ((), "no STUN server answered"),
        ):
            found = self.gather(report(*servers))
            self.assertIn(words, found["error"])
            self.assertEqual([found["at_least_s"], found["less_than_s"]], [None, None])
            self.assertIsNone(found["words"])

    def test_nothing_to_forget(self) -> None:
        """
        Where anybody gets in nothing is measured.
        """
        given = report(answered("203.0.113.1:3478"), behind_nat=False, reachable=True)
        self.assertIn("nothing before this machine", self.gather(given)["error"])
        self.assertEqual(self.tried, [])

    def test_order(self) -> None:
        """
        Servers with a second socket are asked first; those that were silent are not.
        """
        silent = {"server": "c:1", "error": "no response"}
        given = report(silent, answered("a:1"), answered("b:1", "b:2"))
        self.assertEqual(servers_of(given), [Server("b", 1), Server("a", 1)])

    def test_words(self) -> None:
        """
        What is not known is not claimed.
        """
        for at_least, less_than, behind, words in (
            (299, None, True, "your router keeps a port for 299 s of silence at least"),
            (None, 9, True, "your router keeps a port for less than 9 s"),
            (119, 149, False, "your firewall lets answers in for 119 to 149 s"),
        ):
            found = lifetime_words(at_least, less_than, is_behind_nat=behind)
            self.assertTrue(found.startswith(words), found)
