"""
Programs that nobody here wrote, peer-to-peer by nothing but an endpoint string.
"""

from __future__ import annotations

import os
import signal
import sys
from unittest import skipIf

from typing_extensions import override

from tests.end_to_end.harness import Ended, EndToEndTestCase, Machine, Program, Relay, find_program

PROGRAMS = "tests.end_to_end.programs"


class EndpointTestCase(EndToEndTestCase):
    """
    Two hosts in one mesh; portland serves, seattle asks.
    """

    @override
    def setUp(self) -> None:
        super().setUp()
        self.relay = Relay(self)
        self.portland = Machine(self, "portland")
        self.seattle = Machine(self, "seattle")
        self.portland.init("--relay", self.relay.url)
        self.portland.serve()
        self.seattle.init()
        self.seattle.serve()
        self.seattle.run("join", "-", stdin=self.portland.run("invite").out)

    def begin(self, machine: Machine, *command: str) -> Program:
        """
        Start a program on a host.
        """
        place = self.folder / f"run-{len(self.programs)}"
        place.mkdir()
        environment = self._environment(machine.environment)
        path = find_program(command[0])
        program = Program([path, *command[1:]], environment, place)
        self.programs.append(program)
        return program

    def python(self, machine: Machine, module: str, *arguments: str) -> Program:
        """
        Start one of the small programs on a host.
        """
        name = os.path.basename(sys.executable)
        return self.begin(machine, name, "-m", f"{PROGRAMS}.{module}", *arguments)

    def ask(self, module: str, *arguments: str, status: int = 0) -> Ended:
        """
        Run one of the small programs on seattle to its end.
        """
        ended = self.python(self.seattle, module, *arguments).wait()
        self.assertEqual(ended.status, status, ended)
        return ended


class WebTests(EndpointTestCase):
    """
    C{twist web}, fetched by Twisted's Agent.
    """

    def serve(self) -> Program:
        """
        Serve a folder.
        """
        site = self.folder / "site"
        site.mkdir(exist_ok=True)
        (site / "index.html").write_text("from portland")
        (site / "large").write_bytes(b"z" * 3_000_000)
        program = self.begin(
            self.portland,
            *("twist", "--log-format", "text", "web", "--path", str(site)),
            *("--listen", "atmosphere:www"),
        )
        program.wait_for("Starting factory")
        return program

    def test_page(self) -> None:
        """
        A page is fetched by name; so is a large file, by a relayed path too.
        """
        self.serve()
        page = self.ask("fetch", "atmosphere:portland:www", "http://portland/index.html")
        self.assertEqual(page.out, "200 13\nfrom portland\n")
        for path in ("auto", "relayed"):
            large = self.ask(
                "fetch", f"atmosphere:portland:www:path={path}", "http://portland/large"
            )
            self.assertTrue(large.out.startswith("200 3000000\n"), large)
        self.assert_no_traceback()

    def test_errors(self) -> None:
        """
        Each error says what is wrong: the peer's name, the service, or that no node runs.
        """
        url = "http://portland/"
        unknown = self.ask("fetch", "atmosphere:tacoma:www", url, status=1)
        self.assertIn("no member is called tacoma", unknown.err)
        absent = self.ask("fetch", "atmosphere:portland:www", url, status=1)
        self.assertIn("portland refused www: there is no such service here", absent.err)
        self.portland.kill()
        away = self.ask("fetch", "atmosphere:portland:www:timeout=2", url, status=1)
        self.assertIn("LinkError: portland", away.err)
        self.seattle.kill()
        nobody = self.ask("fetch", "atmosphere:portland:www", url, status=1)
        self.assertIn("no running node: start one with `atmosphere", nobody.err)
        self.assertIn("serve`", nobody.err)

    def test_node_restarts(self) -> None:
        """
        When the node under a server is killed and comes back, the server is there again.
        """
        program = self.serve()
        url = "http://portland/index.html"
        self.ask("fetch", "atmosphere:portland:www", url)
        self.portland.kill()
        program.wait_for("the service www waits for it")
        self.portland.serve()
        program.wait_for("the service www is offered again")
        self.ask("fetch", "atmosphere:portland:www", url)
        self.assertTrue(program.is_running())
        self.assertEqual(program.stop(signal.SIGTERM).status, -signal.SIGTERM)


class ProgramTests(EndpointTestCase):
    """
    Other protocols.
    """

    def test_websocket(self) -> None:
        """
        Autobahn's WebSockets carry messages of up to a megabyte, and close cleanly.
        """
        self.python(self.portland, "websocket_echo", "atmosphere:echo").wait_for("listening")
        self.assertEqual(
            self.ask("websocket_talk", "atmosphere:portland:echo").out, "closed 1000\n"
        )
        self.assert_no_traceback()

    def test_perspective_broker(self) -> None:
        """
        Perspective Broker calls methods over a stream.
        """
        self.python(self.portland, "broker", "serve", "atmosphere:pb").wait_for("listening")
        self.assertEqual(self.ask("broker", "ask", "atmosphere:portland:pb").out, "42 500000\n")
        self.assert_no_traceback()

    @skipIf(os.geteuid() != 0, "twist conch logs in other users, which takes root")
    def test_conch(self) -> None:
        """
        C{twist conch} runs a command for a user who shows a password.
        """
        keys = self.folder / "keys"
        keys.mkdir()
        self.run_command(
            *("-t", "rsa", "-b", "2048", "-f", str(keys / "ssh_host_rsa_key"), "--no-passphrase"),
            *("-q",),
            program="ckeygen",
        )
        (self.folder / "passwords").write_text("root:kept-secret\n")
        server = self.begin(
            self.portland,
            *("twist", "--log-format", "text", "conch", "--data", str(keys)),
            *("--auth", f"file:{self.folder / 'passwords'}"),
            *("--port", "atmosphere:ssh"),
        )
        server.wait_for("Starting factory")
        ended = self.ask(
            "ssh_command", "atmosphere:portland:ssh", "root", "kept-secret", "echo $((6 * 7))"
        )
        self.assertEqual(ended.out.splitlines()[-2:], ["42", "status 0"])
        self.assert_no_traceback()
