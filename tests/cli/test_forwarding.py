"""
Tests for the commands C{expose}, C{forward} and C{services}.
"""

from __future__ import annotations

import json

from twisted.internet.defer import fail

from atmosphere.errors import ListenError
from tests.cli.running import CommandTestCase

EXPOSED = {
    "service": "ssh",
    "target": "tcp:127.0.0.1:22",
    "to": ["seattle", "tacoma"],
    "keep": True,
    "open": 3,
    "problem": None,
}
FORWARD = {
    "listen": "127.0.0.1:2222",
    "peer": "port\x1b[31mland",
    "service": "ssh",
    "keep": False,
    "open": 0,
    "problem": "portland refused ssh: \x1b[31mno",
}


class ExposeTests(CommandTestCase):
    """
    C{atmosphere expose}.
    """

    async def test_expose(self) -> None:
        """
        Target, names and whether to keep it reach the node; a name that nobody
        has is warned of.
        """
        arguments = ("expose", "ssh", "22", "--to", "seattle", "tacoma", "--keep")
        ended = await self.command(*arguments)
        self.assertEqual(self.node.calls, [("expose", "ssh", "22", ["seattle", "tacoma"], True)])
        self.assertEqual(ended.status, 0)
        self.assertEqual(
            ended.out, "ssh (22) is open to seattle, tacoma, also after the next start\n"
        )
        self.assertIn("nobody in this mesh is called tacoma", ended.err)
        ended = await self.command("expose", "ssh", "22", "--to", "a", "--to", "b", "--json")
        self.assertEqual(json.loads(ended.out)["to"], ["a", "b"])

    async def test_nobody(self) -> None:
        """
        Whoever does not say who may reach a server is asked to.
        """
        for arguments in (("ssh", "22"), ("ssh",), ("ssh", "22", "--remove")):
            ended = await self.command("expose", *arguments)
            self.assertEqual(ended.status, 2)
            self.assertEqual(len(ended.err.splitlines()), 1)
        self.assertEqual(self.node.calls, [])

    async def test_remove(self) -> None:
        """
        C{--remove} ends it.
        """
        ended = await self.command("expose", "ssh", "--remove")
        self.assertEqual((ended.status, ended.out), (0, "ssh is open to nobody any more\n"))
        self.assertEqual(self.node.calls, [("unexpose", "ssh")])
        ended = await self.command("expose", "ssh", "--remove", "--json")
        self.assertEqual(json.loads(ended.out)["service"], "ssh")


class ForwardTests(CommandTestCase):
    """
    C{atmosphere forward}.
    """

    async def test_stays(self) -> None:
        """
        A forward says where it listens and what went wrong, until the node refuses.
        """
        self.node.forwarding = fail(ListenError("enough"))
        ended = await self.command("forward", "2222", "portland:ssh")
        self.assertEqual(self.node.calls, [("forward", "2222", "portland", "ssh", False)])
        self.assertEqual(ended.out, "127.0.0.1:2222 leads to portland:ssh, until Ctrl-C\n")
        self.assertEqual(
            ended.err.splitlines(),
            [
                "atmosphere: portland refused ssh: its server refuses connections",
                "atmosphere: enough",
            ],
        )
        self.assertEqual(ended.status, 71)

    async def test_keep_and_remove(self) -> None:
        """
        A forward that is kept is left to the node; paths are named in full.
        """
        ended = await self.command("forward", "unix:/tmp/../tmp/x", "portland:ssh", "--keep")
        self.assertIn("also after the next start", ended.out)
        await self.command("forward", "--remove", "2222")
        ended = await self.command("forward", "--remove", "2222", "--json")
        self.assertEqual(json.loads(ended.out)["listen"], "2222")
        self.assertEqual(
            self.node.calls,
            [
                ("forward", "unix:/tmp/x", "portland", "ssh", True),
                ("unforward", "2222"),
                ("unforward", "2222"),
            ],
        )
        ended = await self.command("forward", "1", "portland:ssh", "--keep", "--json")
        self.assertEqual(json.loads(ended.out)["peer"], "portland")

    async def test_wrong(self) -> None:
        """
        What cannot be meant is said in one line.
        """
        for arguments in (
            ("2222",),
            ("2222", "portland"),
            ("2222", ":ssh"),
            ("--stdio", "2222", "portland:ssh"),
            ("--stdio", "--keep", "portland:ssh"),
            ("--remove", "2222", "portland:ssh"),
            (),
        ):
            ended = await self.command("forward", *arguments)
            self.assertEqual((ended.status, ended.out), (2, ""), arguments)
            self.assertEqual(len(ended.err.splitlines()), 1, ended.err)
        ended = await self.command("forward", "2222", "portland:ssh", is_running=False)
        self.assertEqual(ended.status, 3)
        self.assertEqual(self.node.calls, [])


class ServicesTests(CommandTestCase):
    """
    C{atmosphere services}.
    """

    async def test_table(self) -> None:
        """
        A person reads what leads where, for whom and how it fares; what peers
        chose cannot reach the terminal.
        """
        self.node.service_lists = {"exposed": [EXPOSED], "forwards": [FORWARD]}
        ended = await self.command("services")
        self.assertEqual(ended.status, 0)
        _, exposed, forward = ended.out.splitlines()
        self.assertRegex(
            exposed, r"^exposed +ssh = tcp:127\.0\.0\.1:22 +to seattle, tacoma +kept +3"
        )
        self.assertRegex(forward, r"^forward +127\.0\.0\.1:2222 +port.*land:ssh +for the run +0 +p")
        self.assertNotIn("\x1b", ended.out)

    async def test_json(self) -> None:
        """
        Programs read the same.
        """
        self.node.service_lists = {"exposed": [EXPOSED], "forwards": [FORWARD]}
        answer = json.loads((await self.command("services", "--json")).out)
        self.assertEqual(answer["exposed"], [EXPOSED])
        self.assertEqual(answer["forwards"], [FORWARD])

    async def test_nothing(self) -> None:
        """
        Without any there is a word about how to get some.
        """
        ended = await self.command("services")
        self.assertEqual((ended.status, ended.out), (0, ""))
        self.assertIn("atmosphere expose", ended.err)
