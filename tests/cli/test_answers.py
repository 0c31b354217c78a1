"""
Tests for answers on the command line: what C{join} prints when no relay helps, and
C{join --answer}.
"""

from __future__ import annotations

import json

from tests.cli.running import CommandTestCase


class ShowTests(CommandTestCase):
    """
    C{atmosphere join} where no relay helps.
    """

    async def test_shown(self) -> None:
        """
        Answers go to standard output and stand alone on their lines; what to do with
        them, and what may be in the way, is said beside.
        """
        ended = await self.command("join", "-", "--timeout", "600", stdin="atm1-far")
        self.assertEqual(ended.status, 0, ended)
        self.assertEqual(
            ended.out.splitlines(),
            ["atma1-here", "atma1-there", "joined the mesh home (mesh-abc) as seattle"],
        )
        for words in (
            "\n    atmosphere join --answer -\n",
            "made the code (pppppppppp) is not reached",
            "take this answer instead of the last",
            "takes another port for each peer",
            "Ctrl-C gives up",
        ):
            self.assertIn(words, ended.err)
        self.assertEqual(self.node.calls, [("join", "atm1-far", 600.0)])

    async def test_json(self) -> None:
        """
        With C{--json} each answer is an object of its own, and the last object is the result.
        """
        ended = await self.command("join", "-", "--json", stdin="atm1-far")
        decoder, objects, text = json.JSONDecoder(), [], ended.out
        while text.strip():
            found, end = decoder.raw_decode(text.lstrip())
            objects.append(found)
            text = text.lstrip()[end:]
        self.assertEqual(
            [each.get("answer") for each in objects], ["atma1-here", "atma1-there", None]
        )
        self.assertEqual(objects[-1]["name"], "seattle")

    async def test_restarted(self) -> None:
        """
        A node that stops while the answer is carried is asked again when it is back, and
        the answer is not printed twice if it is still good.
        """
        ended = await self.command("join", "-", stdin="atm1-stops")
        self.assertEqual(ended.status, 0, ended)
        self.assertEqual(
            ended.out.splitlines(), ["atma1-here", "joined the mesh home (mesh-abc) as seattle"]
        )
        self.assertIn("the node has stopped: waiting until it runs again", ended.err)
        self.assertIn("the answer above is still good", ended.err)

    async def test_invitation(self) -> None:
        """
        Who makes a code without a relay is told of answers before there are any.
        """
        ended = await self.command("invite", "--hours", "2")
        self.assertEqual(ended.out, "atm1-secret\n")
        self.assertIn("run `atmosphere join --answer -` here", ended.err)
        self.assertNotIn("--answer", (await self.command("invite")).err)


class FollowTests(CommandTestCase):
    """
    C{atmosphere join --answer}.
    """

    async def test_sources(self) -> None:
        """
        The answer may come from standard input, a file, or the command line, with
        blanks and line ends that crept in; then it is said who has joined, and how.
        """
        file = self.state.parent / "answer.txt"
        file.write_text("atma1-\n  here\n")
        for argument, stdin in (("-", "atma1-here\n"), (str(file), ""), ("atma1-here", "")):
            ended = await self.command("join", "--answer", argument, stdin=stdin)
            self.assertEqual(ended.status, 0, ended)
            self.assertEqual(
                ended.out,
                "sea\\x1bttle has joined the mesh home: punched 192.0.2.1:7777, 23 ms\n",
            )
        for words in (
            "knocking for ssssssssss at 192.0.2.1:7777, for up to 60 s",
            "not at 10.0.0.1:7777: a private address",
            "warning: both NATs are \\x1bhard",
            "it was reached",
        ):
            self.assertIn(words, ended.err)
        self.assertEqual(self.node.calls, [("follow_answer", "atma1-here", 60.0)] * 3)

    async def test_json(self) -> None:
        """
        C{--json} says who has joined; C{--timeout} for how long it is waited for.
        """
        arguments = ("join", "--answer", "-", "--json", "--timeout", "5")
        answer = json.loads((await self.command(*arguments, stdin="atma1-here")).out)
        self.assertEqual(answer["path"]["kind"], "punched")
        self.assertEqual(self.node.calls, [("follow_answer", "atma1-here", 5.0)])

    async def test_refused(self) -> None:
        """
        A bad answer ends with 4 and one line, none at all with 2, and so does a code
        beside it.
        """
        ended = await self.command("join", "--answer", "-", stdin="atma1-other")
        self.assertEqual((ended.status, ended.out), (4, ""))
        self.assertEqual(ended.err, "atmosphere: the answer cannot be read\n")
        for arguments, words in (
            (("--answer", "-"), "no answer was given"),
            (("--answer", "answer.txt"), "there is no file answer.txt"),
            (("-", "--answer", "-"), "Only one of CODE and --answer"),
        ):
            ended = await self.command("join", *arguments)
            self.assertEqual((ended.status, ended.err.count("\n")), (2, 1), ended)
            self.assertIn(words, ended.err)

    async def test_stopped(self) -> None:
        """
        A node that stops while it knocks has let nobody in.
        """
        ended = await self.command("join", "--answer", "-", stdin="atma1-stops")
        self.assertEqual((ended.status, ended.out), (3, ""))
        self.assertIn("run this again", ended.err)

    async def test_not_running(self) -> None:
        """
        Only a node that runs can knock.
        """
        ended = await self.command("join", "--answer", "-", stdin="atma1-here", is_running=False)
        self.assertEqual((ended.status, ended.err.count("\n")), (3, 1))
        self.assertIn("serve", ended.err)
