"""
Tests for C{atmosphere why}.
"""

from __future__ import annotations

import json
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from atmosphere.cli.why import ago
from tests.cli.running import CommandTestCase

RULE = {"number": "5.3", "text": "a direct way goes before a relayed one"}

ANSWER: dict[str, Any] = {
    "peer": "portland",
    "node_id": "p" * 52,
    "state": "connected",
    "path": {"kind": "punched", "remote": "203.0.113.7:7777", "rtt_ms": 12.0},
    "policy": "auto",
    "summary": "data goes to portland directly, through a hole in the NATs, 12.0 ms",
    "rule": RULE,
    "ways": [
        {
            "way": "203.0.113.7:7777",
            "from_port": 50123,
            "kind": "punched",
            "origin": "its public address, as servers see it",
            "verdict": "in use",
            "fact": "answers in 12.0 ms; 1200 bytes went both ways",
            "rule": RULE,
            "rtt_ms": 12.0,
            "jitter_ms": 0.42,
            "loss": 0.05,
            "datagram_bytes": 1472,
            "age_s": 75.0,
        },
        {
            "way": "203.0.113.7:7777",
            "from_port": None,
            "kind": "punched",
            "origin": "its public address, as servers see it",
            "verdict": "failed",
            "fact": "never answered: 7 checks had no answer",
            "rule": None,
            "rtt_ms": None,
            "jitter_ms": None,
            "loss": None,
            "datagram_bytes": None,
            "age_s": 19.0,
        },
        {
            "way": "wss://relay\x1b[31m",
            "from_port": None,
            "kind": "relayed",
            "origin": None,
            "verdict": "works, not in use",
            "fact": "answers in 41.0 ms",
            "rule": RULE,
            "rtt_ms": 41.0,
            "jitter_ms": None,
            "loss": None,
            "datagram_bytes": None,
            "age_s": None,
        },
    ],
    "decisions": [
        {"age_s": 100.0 - n, "way": None, "text": f"decision {n}", "rule": None, "times": 1}
        for n in range(20)
    ]
    + [
        {
            "age_s": 0.2,
            "way": "203.0.113.7:7777",
            "text": "active: \x07evil",
            "rule": RULE,
            "times": 3,
        }
    ],
    "here": {
        "addresses": ["192.168.1.7:7777", "203.0.113.9:7777"],
        "udp_port": 7777,
        "udp": True,
        "stable_port": False,
        "relays": [],
    },
    "there": {
        "addresses": [],
        "udp_port": None,
        "udp": None,
        "stable_port": True,
        "relays": [],
        "record_age_s": None,
        "seen_s": 10_000.0,
    },
    "help": [],
}


class WhyTests(CommandTestCase):
    """
    The command against a fake node.
    """

    async def test_people(self) -> None:
        """
        A person reads the sentence, the rule, each way with its fact, and the last
        decisions with their ages; nothing that a peer chose harms the terminal.
        """
        self.node.explanation = ANSWER
        ended = await self.command("why", "portland")
        self.assertEqual((ended.status, ended.err), (0, ""))
        self.assertNotIn("\x1b", ended.out)
        self.assertNotIn("\x07", ended.out)
        lines = ended.out.splitlines()
        self.assertEqual(lines[0], ANSWER["summary"])
        self.assertEqual(lines[1], "By rule 5.3: a direct way goes before a relayed one.")
        for words in (
            "5 % of checks lost, its time varies by 0.4 ms, datagrams of up to 1472 bytes pass",
            "Ways to portland:",
            "203.0.113.7:7777 from our port 50123, its public address",
            "never answered: 7 checks had no answer; given up 19 s ago",
            "relay wss://relay\\x1b[31m",
            "rule 5.3: a direct way goes before a relayed one",
            "this node:          UDP works, its NAT takes another public port for each peer\n"
            "                      its addresses: 192.168.1.7:7777, 203.0.113.9:7777\n",
            "portland:           others see it at one port",
            "just now            203.0.113.7:7777: active: \\x07evil (rule 5.3), 3 times",
            "Decided, the last 12:",
            "Nothing needs help.",
        ):
            self.assertIn(words, ended.out)
        self.assertNotIn("decision 8\n", ended.out)
        self.assertIn("decision 9\n", ended.out)

    async def test_json(self) -> None:
        """
        C{--json} is what the node says, with the version first.
        """
        self.node.explanation = ANSWER
        ended = await self.command("why", "portland", "--json")
        self.assertEqual(ended.status, 0)
        self.assertEqual(json.loads(ended.out), {"version": 1, **ANSWER})

    async def test_no_link(self) -> None:
        """
        Without a link the exit code is 3, and what is known is told.
        """
        self.node.explanation = {
            **ANSWER,
            "path": None,
            "rule": None,
            "summary": "there is no link to portland",
            "ways": [],
            "decisions": [],
            "help": ["relay ws://r has not let us in: it refuses connections"],
        }
        ended = await self.command("why", "portland")
        self.assertEqual((ended.status, ended.err), (3, ""))
        for words in (
            "there is no link to portland",
            "No way to it is known.",
            "last heard 3 h ago",
            "What would help:\n  relay ws://r has not let us in",
        ):
            self.assertIn(words, ended.out)
        self.assertEqual((await self.command("why", "portland", "--json")).status, 3)

    async def test_unknown(self) -> None:
        """
        A name that nobody has is refused in one line, as everywhere.
        """
        ended = await self.command("why", "boston")
        self.assertEqual((ended.status, ended.out, ended.err.count("\n")), (2, "", 1))

    async def test_not_running(self) -> None:
        """
        Without a running node one line says how to start one.
        """
        ended = await self.command("why", "portland", is_running=False)
        self.assertEqual((ended.status, ended.out), (3, ""))
        self.assertIn("no running node", ended.err)

    async def test_help(self) -> None:
        """
        The help shows examples and exit codes.
        """
        ended = await self.command("why", "--help", is_running=False)
        self.assertEqual(ended.status, 0)
        self.assertIn("atmosphere why portland", ended.out)
        self.assertIn("Exit code", ended.out)


class AgoTests(SynchronousTestCase):
    """
    How long ago something was.
    """

    def test_words(self) -> None:
        """
        Seconds up to two minutes, then minutes, hours and days.
        """
        for seconds, words in (
            (0.3, "just now"),
            (12.2, "12 s ago"),
            (119.0, "119 s ago"),
            (180.0, "3 min ago"),
            (7300.0, "2 h ago"),
            (864000, "10 d ago"),
            (None, "-"),
            (True, "-"),
        ):
            self.assertEqual(ago(seconds), words)
