"""
Tests for the commands that let machines in and out: C{invite}, C{join}, C{leave}.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

from atmosphere.node.store import NodeStore, StoredMesh
from tests.cli.running import CommandTestCase


def clock() -> float:
    """
    Say a time that never changes.
    """
    return 0.0


class InviteTests(CommandTestCase):
    """
    C{atmosphere invite}.
    """

    async def test_code_alone(self) -> None:
        """
        The code goes to standard output alone, so that it can be piped; what to
        do with it, and what to beware of, goes to standard error.
        """
        ended = await self.command("invite")
        self.assertEqual((ended.status, ended.out), (0, "atm1-secret\n"))
        for words in ("atmosphere join -", "mesh backup FILE", "LAN only", "once"):
            self.assertIn(words, ended.err)
        self.assertEqual(self.node.calls, [("invite", 24.0, 1, None)])

    async def test_options(self) -> None:
        """
        Expiry, uses and the name of a new mesh reach the node, by options or variables.
        """
        arguments = ("--hours", "1.5", "--uses", "3", "--mesh-name", "work", "--json")
        answer = json.loads((await self.command("invite", *arguments)).out)
        self.assertEqual((answer["code"], answer["expires_at"]), ("atm1-secret", 1790000000.0))
        env = {"ATMOSPHERE_HOURS": "1.5", "ATMOSPHERE_USES": "3", "ATMOSPHERE_MESH_NAME": "work"}
        await self.command("invite", env=env)
        self.assertEqual(self.node.calls, [("invite", 1.5, 3, "work")] * 2)

    async def test_wrong_options(self) -> None:
        """
        An expiry beyond a week or no uses at all is wrong usage.
        """
        for arguments in (
            ("--hours", "169"),
            ("--hours", "0"),
            ("--uses", "0"),
            ("--uses", "1001"),
            ("--uses", "x"),
        ):
            ended = await self.command("invite", *arguments)
            self.assertEqual((ended.status, ended.err.count("\n")), (2, 1), arguments)
            self.assertIn("See: atmosphere invite --help", ended.err)

    async def test_list(self) -> None:
        """
        The list says which invitations are still good, and no secret.
        """
        base = {"uses": 2, "redeemed_by": [], "revoked": False, "expires_at": 4e9}
        self.node.invitation_list = [
            {**base, "invite_id": "aa"},
            {**base, "invite_id": "bb", "redeemed_by": ["x", "y"]},
            {**base, "invite_id": "cc", "revoked": True},
            {**base, "invite_id": "dd", "expires_at": 1.0},
        ]
        ended = await self.command("invite", "list")
        states = [line.split()[1] for line in ended.out.splitlines()[1:]]
        self.assertEqual(states, ["open", "used", "revoked", "expired"])
        answer = json.loads((await self.command("invite", "list", "--json")).out)
        self.assertEqual(answer["invitations"], self.node.invitation_list)

    async def test_revoke(self) -> None:
        """
        An invitation is revoked by its ID.
        """
        ended = await self.command("invite", "revoke", "7f3a")
        self.assertEqual((ended.status, ended.out), (0, "revoked 7f3a\n"))

    async def test_alias(self) -> None:
        """
        C{join} without a code is C{invite}.
        """
        ended = await self.command("join")
        self.assertEqual((ended.status, ended.out), (0, "atm1-secret\n"))


class JoinTests(CommandTestCase):
    """
    C{atmosphere join}.
    """

    async def test_sources(self) -> None:
        """
        The code may come from standard input, a file, or the command line,
        with blanks and line ends that crept in. Only on the command line can others
        see it, and that is said.
        """
        file = self.state.parent / "code.txt"
        file.write_text("atm1-\n  good\n")
        for argument, stdin in (("-", "atm1-good\n"), (str(file), ""), ("atm1-good", "")):
            ended = await self.command("join", argument, stdin=stdin)
            self.assertEqual(ended.status, 0, ended)
            self.assertEqual(ended.out, "joined the mesh home (mesh-abc) as seattle\n")
            self.assertEqual("can see the code" in ended.err, argument == "atm1-good")
            self.assertEqual(ended.err.count("\n"), int(argument == "atm1-good"))
        self.assertEqual(self.node.calls, [("join", "atm1-good")] * 3)

    async def test_refused(self) -> None:
        """
        A bad code ends with 4 and one line.
        """
        ended = await self.command("join", "-", stdin="atm1-used")
        self.assertEqual((ended.status, ended.out), (4, ""))
        self.assertEqual(ended.err, "atmosphere: the code was used\n")

    async def test_no_code(self) -> None:
        """
        Nothing on standard input is wrong usage, far too much is a bad code.
        """
        for stdin, status in (("", 2), (" \n", 2), ("x" * 9000, 4)):
            ended = await self.command("join", "-", stdin=stdin)
            self.assertEqual((ended.status, ended.err.count("\n")), (status, 1))
        self.assertEqual(self.node.calls, [])

    async def test_no_file(self) -> None:
        """
        The name of a file that is not there is not taken for a code.
        """
        for name in ("code.txt", "/nonexistent/code"):
            ended = await self.command("join", name)
            self.assertEqual((ended.status, ended.err.count("\n")), (2, 1))
            self.assertIn(f"there is no file {name}", ended.err)
        self.assertEqual(self.node.calls, [])

    async def test_json(self) -> None:
        """
        C{--json} says which mesh was joined, and as whom.
        """
        answer = json.loads((await self.command("join", "-", "--json", stdin="atm1-good")).out)
        self.assertEqual((answer["mesh_id"], answer["name"]), ("mesh-abc", "seattle"))


class LeaveTests(CommandTestCase):
    """
    C{atmosphere leave}.
    """

    async def test_running(self) -> None:
        """
        A running node is told to leave.
        """
        ended = await self.command("leave")
        self.assertEqual((ended.status, ended.out), (0, "left the mesh home (mesh-abc)\n"))
        self.assertEqual(self.node.calls, [("leave",)])

    async def test_not_running(self) -> None:
        """
        Without a running node the command forgets the mesh by itself, once.
        """
        with NodeStore.open(self.state, wall=clock) as store:
            store.save_mesh(StoredMesh("mesh-abc", "home", b"chain"))
        ended = await self.command("leave", is_running=False)
        self.assertEqual((ended.status, ended.out), (0, "left the mesh home (mesh-abc)\n"))
        with NodeStore.peek(self.state, wall=clock) as store:
            self.assertIsNone(store.mesh)
        ended = await self.command("leave", is_running=False)
        self.assertEqual((ended.status, ended.err), (4, "atmosphere: this node is in no mesh\n"))

    async def test_no_node(self) -> None:
        """
        Where there is no node at all the remedy is C{init}.
        """
        empty = self.state.parent / "empty"
        ended = await self.command("--state", str(empty), "leave", is_running=False)
        self.assertEqual(ended.status, 3)
        self.assertIn("make one with `atmosphere --state", ended.err)
        self.assertFalse(Path(empty).exists())


class NetworkTests(CommandTestCase):
    """
    C{atmosphere network}.
    """

    async def test_running(self) -> None:
        """
        A running node reports; what was not measured says so.
        """
        ended = await self.command("network")
        self.assertEqual(ended.status, 0)
        for words in ("192.168.1.4:7777", "192.0.2.1:7777", "endpoint-independent", "not measured"):
            self.assertIn(words, ended.out)
        answer = json.loads((await self.command("network", "--json")).out)
        keys = "local public behind_nat reachable mapping filtering relays udp ipv6"
        self.assertEqual(set(answer), {"version", *keys.split()})


class SecrecyTests(CommandTestCase):
    """
    What must not be seen.
    """

    async def test_no_code_in_files(self) -> None:
        """
        Neither a join code nor a key is readable by others after the commands.
        """
        await self.command("invite")
        await self.command("join", "-", stdin="atm1-good")
        for folder, _, names in os.walk(self.state):
            for name in names:
                path = Path(folder) / name
                self.assertEqual(path.stat().st_mode & 0o077, 0, name)
                self.assertNotIn(b"atm1-", path.read_bytes(), name)
