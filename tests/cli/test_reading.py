"""
Tests for the commands that read: C{status}, C{peers}, C{ping}, C{network}.
"""

from __future__ import annotations

import json
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from atmosphere.cli.network import describe
from atmosphere.cli.ping import describe_summary, summary_until_now
from tests.cli.running import CommandTestCase

RELAYED = {"kind": "relayed", "remote": "ws://relay:8080", "rtt_ms": 23.4}
DIRECT = {"kind": "direct", "remote": "192.168.1.4:7777", "rtt_ms": 3.14}


class StatusTests(CommandTestCase):
    """
    C{atmosphere status}.
    """

    async def test_people(self) -> None:
        """
        A person reads who the node is, its mesh, its relay and its peers.
        """
        ended = await self.command("status")
        self.assertEqual((ended.status, ended.err), (0, ""))
        for words in ("portland", "home", "0.0.0.0:7777", "ws://relay:8080  connected", "1 of 2"):
            self.assertIn(words, ended.out)

    async def test_json(self) -> None:
        """
        C{--json} before or after the command gives the same object.
        """
        before = await self.command("--json", "status")
        after = await self.command("status", "--json")
        by_variable = await self.command("status", env={"ATMOSPHERE_JSON": "1"})
        self.assertEqual(before, after)
        self.assertEqual(before, by_variable)
        answer = json.loads(before.out)
        self.assertEqual(answer["version"], 1)
        for key in ("node_id", "name", "mesh_id", "listening", "relay", "peers"):
            self.assertIn(key, answer)

    async def test_wait(self) -> None:
        """
        C{--wait} returns at once when all is well.
        """
        self.assertEqual((await self.command("status", "--wait", "5")).status, 0)

    async def test_wait_for_relay(self) -> None:
        """
        C{--wait} ends with 3 and names the relay that did not answer.
        """
        self.node.relay_ok = False
        ended = await self.command("status", "--wait", "0.3")
        self.assertEqual((ended.status, ended.out), (3, ""))
        self.assertIn("ws://relay:8080 has not welcomed", ended.err)

    async def test_wait_for_node(self) -> None:
        """
        C{--wait} ends with 3 when no node comes up.
        """
        ended = await self.command("status", "--wait", "0.3", is_running=False)
        self.assertEqual(ended.status, 3)
        self.assertIn("no running node", ended.err)

    async def test_numbers(self) -> None:
        """
        A time that is no number, or no time, is refused.
        """
        for text in ("nan", "inf", "-1", "soon"):
            ended = await self.command("status", "--wait", text)
            self.assertEqual((ended.status, ended.err.count("\n")), (2, 1), text)
            self.assertIn("--wait", ended.err)

    async def test_not_running(self) -> None:
        """
        Without a running node one line says how to start one.
        """
        for command in ("status", "peers", "invite"):
            ended = await self.command(command, is_running=False)
            self.assertEqual((ended.status, ended.out), (3, ""))
            self.assertEqual(ended.err.count("\n"), 1)
            self.assertTrue(ended.err.startswith("atmosphere: no running node: start one with"))
            self.assertIn("serve`", ended.err)


class PeersTests(CommandTestCase):
    """
    C{atmosphere peers}.
    """

    async def test_table(self) -> None:
        """
        Each member is a line; what it chose to be called cannot harm the terminal.
        """
        self.node.peer_list = [
            {"node_id": "s" * 52, "name": "seattle", "state": "connected", "path": DIRECT},
            {"node_id": "e" * 52, "name": "\x1b[31mred", "state": "away", "path": None},
        ]
        ended = await self.command("peers")
        self.assertEqual(ended.status, 0)
        lines = ended.out.splitlines()
        self.assertEqual(lines[0].split(), ["NAME", "NODE", "STATE", "PATH", "LATENCY"])
        self.assertEqual(
            lines[1].split(),
            ["seattle", "s" * 10, "connected", "direct", "192.168.1.4:7777", "3.1", "ms"],
        )
        self.assertIn("\\x1b[31mred", lines[2])
        self.assertNotIn("\x1b", ended.out)

    async def test_json(self) -> None:
        """
        The JSON keys are those that scripts rely on.
        """
        self.node.peer_list = [
            {"node_id": "s" * 52, "name": "seattle", "state": "connected", "path": DIRECT}
        ]
        answer = json.loads((await self.command("peers", "--json")).out)
        self.assertEqual(answer, {"version": 1, "peers": self.node.peer_list})

    async def test_alone(self) -> None:
        """
        In an empty mesh the command says how to let someone in.
        """
        ended = await self.command("peers")
        self.assertEqual((ended.status, ended.out), (0, ""))
        self.assertIn("atmosphere invite", ended.err)

    async def test_fault(self) -> None:
        """
        A fault inside the node is one line and exit code 1.
        """
        self.node.mistake = ZeroDivisionError()
        ended = await self.command("peers")
        self.assertEqual((ended.status, ended.err.count("\n")), (1, 1))
        self.flushLoggedErrors(ZeroDivisionError)


class PingTests(CommandTestCase):
    """
    C{atmosphere ping}.
    """

    replies = (
        {"seq": 1, "rtt_ms": 23.4, "path": RELAYED},
        {"seq": 2, "rtt_ms": 3.14, "path": DIRECT},
    )

    async def test_people(self) -> None:
        """
        Each reply is a line that says which way it came.
        """
        self.node.replies = list(self.replies)
        ended = await self.command("ping", "portland")
        self.assertEqual(ended.status, 0)
        self.assertEqual(
            ended.out.splitlines(),
            [
                "pong from portland via relay ws://relay:8080 in 23 ms",
                "pong from portland direct 192.168.1.4:7777 in 3.1 ms",
                "2 sent, 2 received, min 3.1 ms, median 3.1 ms, max 23 ms; direct after 50 ms",
            ],
        )

    async def test_json(self) -> None:
        """
        C{--json} prints the summary alone.
        """
        self.node.replies = list(self.replies)
        ended = await self.command("ping", "-c", "2", "-i", "0.5", "--json", "portland")
        answer = json.loads(ended.out)
        for key in "sent received rtt_ms path first_reply_ms direct_ms replies".split():
            self.assertIn(key, answer)
        self.assertEqual(answer["replies"], list(self.replies))
        self.assertEqual(self.node.calls, [("ping", "portland", 2, 0.5, 10.0, False, "auto")])

    async def test_path(self) -> None:
        """
        C{--path} is handed on; what it cannot mean is refused.
        """
        self.node.replies = list(self.replies)
        ended = await self.command("ping", "--path", "relayed", "portland")
        self.assertEqual(ended.status, 0)
        self.assertEqual(self.node.calls[-1][-1], "relayed")
        for wrong in (("--path", "fast"), ("--path", "relayed", "--until-direct")):
            ended = await self.command("ping", *wrong, "portland")
            self.assertEqual((ended.status, ended.out, ended.err.count("\n")), (2, "", 1))

    async def test_until_direct(self) -> None:
        """
        C{--until-direct} ends with 0 if a reply was not relayed, else with 1,
        and with 3 if there was none.
        """
        for replies, status in ((self.replies, 0), (self.replies[:1], 1), ((), 3)):
            self.node.replies = list(replies)
            ended = await self.command("ping", "--until-direct", "portland")
            self.assertEqual(ended.status, status, replies)
        self.assertEqual(self.node.calls[0], ("ping", "portland", 0, 1.0, 10.0, True, "auto"))

    async def test_no_reply(self) -> None:
        """
        Without any reply the command ends with 3.
        """
        self.node.replies = []
        ended = await self.command("ping", "portland")
        self.assertEqual((ended.status, ended.out), (3, "2 sent, 0 received\n"))

    def test_until_now(self) -> None:
        """
        A run that was interrupted is summed up by what came until then.
        """
        replies = [{"seq": seq, "rtt_ms": time, "path": DIRECT} for seq, time in ((0, 3.0), (2, 1))]
        self.assertEqual(
            describe_summary(summary_until_now(replies)),
            "3 sent, 2 received, min 1.0 ms, median 2.0 ms, max 3.0 ms",
        )

    async def test_unknown_peer(self) -> None:
        """
        A peer that nobody knows is one line and exit code 3.
        """
        self.node.replies = []
        ended = await self.command("ping", "salem")
        self.assertEqual((ended.status, ended.out), (3, ""))
        self.assertEqual(ended.err, "atmosphere: no member is called salem\n")


REPORT: dict[str, Any] = {
    "local": {"ip": "192.168.1.4", "port": 7777},
    "public": [
        {"ip": "192.0.2.1", "port": 7777, "source": "stun:relay:3478"},
        {"ip": "2001:db8::5", "port": 7777, "source": "stun:relay:3478"},
    ],
    "behind_nat": True,
    "reachable": False,
    "reachable_because": "an answer from a socket never sent to did not come in",
    "mapping": "endpoint-independent",
    "mapping_is_certain": False,
    "filtering": "address- and port-dependent",
    "relays": [
        {"url": "ws://relay:8080", "rtt_ms": 23.0, "ok": True, "error": None},
        {"url": "ws://dead:8080", "rtt_ms": None, "ok": False, "error": "dead\x1b[31m"},
    ],
    "udp": True,
    "ipv6": None,
    "ipv6_because": "nobody was asked by it",
    "clock_offset_s": 1200.0,
    "families": {"ipv4": {"public": "192.0.2.1:7777", "behind_nat": True, "reachable": None}},
    "servers": [
        {
            "server": "relay:3478",
            "address": "203.0.113.1:3478",
            "public": "192.0.2.1:7777",
            "rtt_ms": 20.0,
            "error": None,
            "second_socket": "203.0.113.2:3479",
            "dial_back": "did not arrive",
            "dial_back_from_other_address": "did not arrive",
        },
        {
            "server": "203.0.113.9:3478",
            "address": "203.0.113.9:3478",
            "public": "192.0.2.1:7777",
            "rtt_ms": None,
            "error": None,
            "second_socket": None,
            "dial_back": "not offered",
            "dial_back_from_other_address": "not offered",
        },
        {"server": "gone:1", "error": "no address is known for gone"},
    ],
    "notes": ["a note"],
    "advice": ["do this", "and that\x1b[0m"],
}


class NetworkTextTests(SynchronousTestCase):
    """
    C{atmosphere network}, as people read it.
    """

    def test_text(self) -> None:
        """
        The lines are aligned, the NAT is in words, and each has its remedy.
        """
        self.assertEqual(
            describe(REPORT),
            [
                "local       192.168.1.4:7777",
                "public      192.0.2.1:7777  (stun:relay:3478)",
                "public      [2001:db8::5]:7777  (stun:relay:3478)",
                "behind NAT  yes",
                "NAT         endpoint-independent: your router keeps one public port per local port"
                " (good for hole punching)",
                "filter      address- and port-dependent: only answers are let in",
                "reachable   no: an answer from a socket never sent to did not come in",
                "UDP         yes",
                "IPv6        unknown: nobody was asked by it",
                "relay       ws://relay:8080  23 ms",
                "relay       ws://dead:8080  not connected: dead\\x1b[31m",
                "clock       20 minutes behind the relay's",
                "note        a note",
                "advice      do this",
                "advice      and that\\x1b[0m",
            ],
        )

    def test_verbose(self) -> None:
        """
        If wanted, what each server said stands there too.
        """
        lines = describe(REPORT, is_verbose=True)
        for line in (
            "server      relay:3478 (203.0.113.1:3478)  20 ms  sees 192.0.2.1:7777  dials back from"
            " 203.0.113.2:3479: did not arrive  from its other address: did not arrive",
            "server      203.0.113.9:3478  -  sees 192.0.2.1:7777  cannot dial back",
            "server      gone:1  no address is known for gone",
            "ipv4        public 192.0.2.1:7777, behind nat yes, reachable not measured",
        ):
            self.assertIn(line, lines)

    def test_bare(self) -> None:
        """
        What is not there was not measured.
        """
        text = "\n".join(describe({}))
        for line in ("public      unknown", "clock       not measured", "relay       none"):
            self.assertIn(line, text)
        known = "\n".join(
            describe({"behind_nat": False, "clock_offset_s": -0.2, "reachable": True})
        )
        self.assertNotIn("NAT         ", known)
        self.assertIn("clock       right, by the relay's", known)
        self.assertIn("reachable   yes", known)
        self.assertIn("ahead of the relay's", "\n".join(describe({"clock_offset_s": -7.0})))
        unknown = describe({"reachable": None, "reachable_because": "nobody can"})
        self.assertIn("reachable   unknown: nobody can", unknown)
        self.assertIn("IPv6        not measured", unknown)
        self.assertIn("IPv6        no", describe({"ipv6": False}))


class NetworkCommandTests(CommandTestCase):
    """
    C{atmosphere network} and a running node.
    """

    async def test_servers(self) -> None:
        """
        Servers that are named are asked by the node.
        """
        await self.command("network")
        ended = await self.command("network", "--stun", "a:1", "--stun", "b:2")
        self.assertEqual(ended.status, 0)
        self.assertEqual(self.node.calls, [("network",), ("network", "a:1", "b:2")])
        self.assertEqual(ended.err, "")

    async def test_unused(self) -> None:
        """
        What else was asked for is not passed over in silence.
        """
        ended = await self.command(
            "network", "--relay", "ws://relay:1", "--udp-port", "5", "--json"
        )
        self.assertEqual((ended.status, ended.err.count("\n")), (0, 1))
        self.assertIn("--relay, --udp-port", ended.err)
        self.assertEqual(json.loads(ended.out)["version"], 1)
