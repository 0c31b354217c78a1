"""
Every program in C{docs/examples} does what it says, as a process of its own.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
from pathlib import Path
from urllib.request import urlopen

from typing_extensions import override

from tests.end_to_end.harness import ROOT, Ended, EndToEndTestCase, Machine, Relay, free_port

EXAMPLES = ROOT / "docs" / "examples"

PYTHON = Path(sys.executable).name


class ExampleTestCase(EndToEndTestCase):
    """
    A relay, and machines whose nodes never leave loopback.

    @ivar host: the machine that the example runs on.
    """

    @override
    def setUp(self) -> None:
        super().setUp()
        self.relay = Relay(self)
        self.host = self.make_machine("vancouver")

    def make_machine(self, name: str) -> Machine:
        """
        Make a machine with a node, in no mesh.
        """
        machine = Machine(self, name)
        machine.init("--relay", self.relay.url)
        path = machine.state / "config.toml"
        text = path.read_text()
        default, loopback = '# interfaces = ["0.0.0.0", "::"]', 'interfaces = ["127.0.0.1"]'
        self.assertIn(default, text)
        path.write_text(text.replace(default, loopback))
        return machine

    def twistd(self, example: str, **variables: str) -> None:
        """
        Start an example on L{host}, and wait until its node answers.
        """
        self.host.node = self.start(
            "twistd",
            *("-n", "-y", str(EXAMPLES / example)),
            environment={**self.host.environment, **variables},
        )
        self.host.run("status", "--wait", "30")

    def make_member(self, name: str) -> Machine:
        """
        Make a machine whose node is in the mesh of the one on L{host}, and does
        not run.
        """
        machine = self.make_machine(name)
        node = machine.serve()
        machine.run("join", "-", stdin=self.host.run("invite").out)
        self.assertIn(node.stop().status, (0, 130))
        return machine

    def python(self, example: str, *arguments: str) -> list[str]:
        """
        Write the command for an example that Python runs.
        """
        return [str(EXAMPLES / example), *arguments]

    def ask(self, machine: Machine, peer: str, service: str, line: str) -> Ended:
        """
        Run C{ask.py} to its end.
        """
        arguments = self.python("ask.py", str(machine.state), peer, service, line)
        return self.run_command(*arguments, program=PYTHON, status=None)

    def assert_asked(self, ended: Ended, status: int, text: str) -> None:
        """
        Check how asking ended, and what it printed.
        """
        self.assertEqual(ended.status, status, ended)
        self.assertIn(text, ended.err if status else ended.out)


class ProgramTests(ExampleTestCase):
    """
    The examples that run until they are stopped, and the one that asks them.
    """

    def test_echo(self) -> None:
        """
        C{echo.tac} answers members, and C{ask.py} tells apart what can go wrong.
        """
        self.twistd("echo.tac")
        seattle = self.make_member("seattle")
        self.assert_asked(self.ask(seattle, "vancouver", "echo", "good morning"), 0, "good morning")
        self.assert_asked(self.ask(seattle, "nobody", "echo", "hello"), 2, "nobody")
        self.assert_asked(self.ask(seattle, "vancouver", "nothing", "hello"), 4, "nothing")
        self.assert_no_traceback()

    def test_guest_list(self) -> None:
        """
        C{guest_list.tac} serves portland, which ends with 0, and refuses seattle,
        which is told why and ends with 4.
        """
        self.twistd("guest_list.tac")
        portland, seattle = self.make_member("portland"), self.make_member("seattle")
        self.assert_asked(self.ask(portland, "vancouver", "party", "cheers"), 0, "cheers")
        refused = self.ask(seattle, "vancouver", "party", "cheers")
        self.assert_asked(refused, 4, "seattle is not on the guest list")
        self.assertEqual(refused.out, "")
        self.assert_no_traceback()

    def test_web(self) -> None:
        """
        C{web.tac} shows the same page on TCP and to members, and who has come.
        """
        port = free_port()
        self.twistd("web.tac", LISTEN=f"tcp:{port}:interface=127.0.0.1")
        seattle = self.make_member("seattle")
        answered = self.ask(seattle, "vancouver", "www", "GET / HTTP/1.0\r\n\r")
        self.assert_asked(answered, 0, "200 OK")
        with urlopen(f"http://127.0.0.1:{port}/", timeout=10) as answer:
            page = json.load(answer)
        self.assertEqual(page["node"]["name"], "vancouver")
        self.assertEqual([peer["name"] for peer in page["peers"]], ["seattle"])
        self.assertTrue([each for each in page["events"] if each.startswith("PeerCame")])
        self.assert_no_traceback()

    def test_asyncio(self) -> None:
        """
        C{asyncio_gateway.py} asks the mesh for what comes by TCP, and ends at Ctrl-C.
        """
        self.twistd("echo.tac")
        seattle = self.make_member("seattle")
        port = free_port()
        arguments = [str(seattle.state), str(port), "vancouver", "echo"]
        gateway = self.start(PYTHON, *self.python("asyncio_gateway.py", *arguments))
        gateway.wait_for("asking vancouver")
        with socket.create_connection(("127.0.0.1", port), 30) as connection:
            for line in (b"one\n", b"two\n"):
                connection.sendall(line)
                self.assertEqual(connection.recv(100), line)
        gateway.stop()
        self.assertEqual(gateway.err, "")
        self.assert_no_traceback()

    def test_plain(self) -> None:
        """
        C{plain.py} reaches a member by an endpoint string alone, through the node
        of its machine.
        """
        self.twistd("echo.tac")
        seattle = self.make_member("seattle")
        seattle.serve()
        ended = self.run_command(
            *self.python("plain.py", "atmosphere:vancouver:echo", "good evening"),
            program=PYTHON,
            environment=seattle.environment,
        )
        self.assertEqual(ended.out, "good evening\n")
        self.assert_no_traceback()

    def test_application(self) -> None:
        """
        C{test_greeter.py} and C{test_upload.py} pass.
        """
        for name, count in (("test_greeter.py", 2), ("test_upload.py", 5)):
            ended = self.run_command(*("-m", "twisted.trial", *self.python(name)), program=PYTHON)
            self.assertIn(f"PASSED (successes={count})", ended.out)


class DaemonTests(ExampleTestCase):
    """
    C{twistd} in the background.
    """

    def test_echo(self) -> None:
        """
        A node that was made before C{twistd} forked keeps its mesh and members,
        whoever reads beside it.
        """
        pid_file, log = self.folder / "pid", self.folder / "log"
        options = ["--pidfile", str(pid_file), "--logfile", str(log)]
        for run in range(2):
            self.run_command(
                *(*options, "-y", str(EXAMPLES / "echo.tac")),
                program="twistd",
                environment=self.host.environment,
            )
            pid = int(pid_file.read_text())
            try:
                self.host.run("status", "--wait", "30")
                if run == 0:
                    seattle = self.make_member("seattle")
                self.assert_asked(self.ask(seattle, "vancouver", "echo", "again"), 0, "again")
                self.assertEqual(len(self.host.json("peers")["peers"]), 1)
            finally:
                os.kill(pid, signal.SIGTERM)
                self.wait_until(lambda: not pid_file.exists(), "the daemon ends")
        self.assertNotIn("Traceback", log.read_text())
