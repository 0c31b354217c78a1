"""
Tests for the words of C{atmosphere why}, in homes as users have them: what a person reads on
either side of representative pairs.
"""

from __future__ import annotations

import json
from functools import partial
from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from atmosphere.cli.why import describe
from atmosphere.testing import MemoryMesh

#: Seconds after which a way that did not answer is doubted, or ports were guessed.
SETTLED = 16.0

#: Characters of the longest line: on no terminal of 120 columns is it broken.
WIDEST = 120


class HomesTests(SynchronousTestCase):
    """
    Portland is in the first home, and seattle in the second.
    """

    def why(self, one: str, two: str) -> tuple[dict[str, Any], dict[str, Any]]:
        """
        Ask both sides, and read what people are told: no line breaks on a wide terminal, each
        way has a name of its own, and nothing is both said to work and to need help.
        """
        mesh = MemoryMesh(Clock(), seed=1, latency=0.02)
        self.addCleanup(mesh.stop)
        portland, seattle = mesh.node("portland", behind=one), mesh.node("seattle", behind=two)
        mesh.until(partial(mesh.machines["seattle"].is_linked, mesh.machines["portland"]))
        mesh.advance(SETTLED)
        answers = []
        for node, peer in ((portland, "seattle"), (seattle, "portland")):
            answer: dict[str, Any] = json.loads(json.dumps(node.why(peer)))
            ways = [(each["way"], each["from_port"]) for each in answer["ways"]]
            self.assertEqual(len(set(ways)), len(ways))
            self.assertEqual(answer["help"] == [], "relay" not in answer["summary"])
            for line in describe(answer):
                self.assertTrue(len(line) <= WIDEST or "way has answered" in line, line)
            answers.append(answer)
        return answers[0], answers[1]

    def check(self, answer: dict[str, Any], summary: str, *advice: str) -> None:
        """
        Compare the sentence, without its time, and how each piece of advice begins.
        """
        self.assertRegex(answer["summary"], summary)
        self.assertEqual(len(answer["help"]), len(advice), answer["help"])
        for told, words in zip(answer["help"], advice, strict=True):
            self.assertTrue(told.startswith(words), told)

    def test_none_port_restricted(self) -> None:
        """
        Who has no NAT is not told of one.
        """
        portland, seattle = self.why("none", "port-restricted")
        self.check(
            portland, r"^data goes to seattle directly, through a hole in its NAT, [\d.]+ ms$"
        )
        self.check(seattle, r"^data goes straight to portland, [\d.]+ ms$")

    def test_symmetric(self) -> None:
        """
        Two hard NATs: which port, to which machine, and which address, for either side.
        """
        portland, _ = self.why("symmetric", "symmetric")
        (public,) = {each.split(":")[0] for each in portland["here"]["addresses"]} - {
            "192.168.1.10"
        }
        self.check(
            portland,
            r": no direct way has answered, for both NATs take another port for each peer$",
            "both NATs are address-dependent: each takes another public port for each peer, and"
            " neither side can know which; forward UDP port 7777 on either router",
            f"here: to 192.168.1.10, and start it with `atmosphere serve --advertise {public}`",
            "or at seattle: to 192.168.1.10, and start it with `atmosphere serve --advertise ",
            "or turn on IPv6 on both sides",
        )

    def test_guessed(self) -> None:
        """
        One hard NAT: the sockets that lead to one address are told apart.
        """
        _, seattle = self.why("port-restricted", "symmetric")
        self.check(seattle, "^data goes to portland directly, through a hole in the NATs")
        first, *others = [each for each in seattle["ways"] if each["kind"] == "punched"]
        self.assertEqual((first["verdict"], type(first["from_port"])), ("in use", int))
        self.assertIn(
            f"{first['way']} from our port {first['from_port']}, ", "\n".join(describe(seattle))
        )
        self.assertIn("never answered: 7 checks had no answer", [each["fact"] for each in others])

    def test_blocked(self) -> None:
        """
        UDP is blocked on one side, or on both: each side is told what to do where.
        """
        portland, seattle = self.why("none", "udp-blocked")
        there = "names no address but private ones of its own network: UDP is probably blocked"
        here = "UDP is blocked here"
        self.check(
            portland,
            ": seattle names no public address, probably because UDP is blocked there$",
            f"seattle {there}",
        )
        self.check(seattle, ": no UDP gets out here$", here)
        portland, seattle = self.why("udp-blocked", "tcp-443-only")
        both = ": no UDP gets out here, nor probably there$"
        self.check(portland, both, here, f"seattle {there}")
        self.check(seattle, both, here, f"portland {there}")

    def test_carrier(self) -> None:
        """
        Two homes of one carrier that leads nothing back in.
        """
        for answer in self.why("same-cgnat", "same-cgnat"):
            self.check(
                answer,
                ": no direct way has answered, for both machines are behind the same public",
                "both machines are behind the same public address, and its router does not lead",
            )
