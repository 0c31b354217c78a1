"""
Tests for the commands about those that ask to be let in: C{requests}, C{approve},
C{deny}, and what C{invite} and C{join} have to do with them.
"""

from __future__ import annotations

import json

from tests.cli.running import CommandTestCase

ASKED = {
    "node_id": "s" * 52,
    "name": "sea\x1b[2Jttle",
    "capabilities": [],
    "address": "192.168.1.5:7777",
    "came": 1_790_000_000,
    "expires_at": 1_790_086_400,
    "state": "waiting",
    "is_waiting": True,
}


class RequestsTests(CommandTestCase):
    """
    An admin looks who is there, and decides.
    """

    async def test_list(self) -> None:
        """
        The list has the node ID in short and in full, where it came from and
        when; a name cannot draw on the screen.
        """
        self.node.request_list = [
            ASKED,
            {**ASKED, "is_waiting": False},
            {**ASKED, "state": "denied"},
        ]
        ended = await self.command("requests")
        self.assertEqual(ended.status, 0, ended)
        lines = ended.out.splitlines()
        self.assertEqual(lines[0].split()[:3], ["REQUEST", "NAME", "FROM"])
        for words in ("s" * 10, "s" * 52, "sea\\x1b[2Jttle", "192.168.1.5:7777", "2026-09-21"):
            self.assertIn(words, lines[1])
        self.assertIn("waiting, gone for now", lines[2])
        self.assertIn("denied", lines[3])
        self.assertNotIn("\x1b", ended.out)
        answer = json.loads((await self.command("requests", "--json")).out)
        self.assertEqual((answer["version"], answer["requests"][0]), (1, ASKED))

    async def test_name_with_columns(self) -> None:
        """
        A name with spaces is shown in quotation marks: it draws no columns of its own.
        """
        self.node.request_list = [{**ASKED, "name": "a  10.0.0.1  2026-01-01  admitted"}]
        ended = await self.command("requests")
        self.assertIn('"a  10.0.0.1  2026-01-01  admitted"', ended.out)

    async def test_none(self) -> None:
        """
        Nobody asks.
        """
        ended = await self.command("requests")
        self.assertEqual((ended.status, ended.out, ended.err), (0, "", "no requests\n"))

    async def test_approve(self) -> None:
        """
        One that waits is a member at once, another when it comes back.
        """
        ended = await self.command("approve", "seattle")
        self.assertEqual(ended.out, f"seattle ({'s' * 52}) is a member now\n")
        self.node.is_waiting = False
        ended = await self.command("approve", "seattle")
        self.assertIn("when it runs `atmosphere join` again", ended.out)
        answer = json.loads((await self.command("approve", "seattle", "--json")).out)
        self.assertEqual((answer["version"], answer["admitted"]), (1, False))

    async def test_approve_nobody(self) -> None:
        """
        A name that nobody has is wrong usage.
        """
        ended = await self.command("approve", "boston")
        self.assertEqual((ended.status, ended.out, ended.err.count("\n")), (2, "", 1))

    async def test_deny(self) -> None:
        """
        One is sent away.
        """
        ended = await self.command("deny", "seattle")
        self.assertEqual(ended.out, f"denied seattle ({'s' * 52})\n")
        answer = json.loads((await self.command("deny", "seattle", "--json")).out)
        self.assertEqual((answer["version"], answer["name"]), (1, "seattle"))
        self.assertEqual(self.node.calls, [("deny", "seattle")] * 2)

    async def test_not_running(self) -> None:
        """
        Without a running node each of them ends with 3 and says what to do.
        """
        for arguments in (("requests",), ("approve", "x"), ("deny", "x")):
            ended = await self.command(*arguments, is_running=False)
            self.assertEqual((ended.status, ended.out, ended.err.count("\n")), (3, "", 1))
            self.assertIn("serve", ended.err)

    async def test_invite(self) -> None:
        """
        A code without a secret is asked for, and what is to be done with it is said.
        """
        ended = await self.command("invite", "--approve")
        self.assertEqual((ended.status, ended.out), (0, "plain\n"))
        for words in ("local network", "atmosphere requests", "atmosphere approve"):
            self.assertIn(words, ended.err)
        self.assertEqual(self.node.calls, [("invite", 24.0, 1, None, True)])
        ended = await self.command("invite", "--approve", "--uses", "3")
        self.assertEqual((ended.status, ended.err.count("\n")), (2, 1))

    async def test_join(self) -> None:
        """
        Who joins by such a code is told that it waits, and as whom.
        """
        ended = await self.command("join", "-", "--timeout", "60", stdin="plain")
        self.assertEqual(ended.status, 0, ended)
        self.assertEqual(ended.out, "joined the mesh home (mesh-abc) as seattle\n")
        self.assertIn("s" * 52, ended.err)
        self.assertIn("waiting until an admin of ho\\x1bme approves", ended.err)
        self.assertEqual(self.node.calls, [("join", "plain", 60.0)])
