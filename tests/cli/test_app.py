"""
Tests for the program as a whole: help, options, errors, speed of imports.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase
from typing_extensions import override

from atmosphere import __version__
from atmosphere.cli.app import program
from atmosphere.node.store import NodeStore
from tests.cli.running import Ended, atmosphere

ROOT = Path(__file__).parents[2]

COMMANDS = (
    "init serve invite join leave peers ping status network relay mesh install uninstall demo"
).split()


def clock() -> float:
    """
    Say a time that never changes.
    """
    return 0.0


class HelpTests(SynchronousTestCase):
    """
    What the program says about itself.
    """

    def test_commands(self) -> None:
        """
        The help lists all commands, the exit codes, and three examples.
        """
        ended = atmosphere("--help")
        self.assertEqual(ended.status, 0)
        for name in COMMANDS:
            self.assertRegex(ended.out, rf"\n  {name} +\S")
        examples = ended.out.partition("Examples:\n")[2]
        self.assertEqual(sum(line.startswith("  atmosphere ") for line in examples.splitlines()), 3)
        self.assertIn("71", ended.out)

    def test_each_command(self) -> None:
        """
        The help of every command explains it and shows an example.
        """
        below = [["invite", "list"], ["invite", "revoke"], ["mesh", "backup"], ["mesh", "restore"]]
        for path in [[name] for name in COMMANDS] + below:
            for flag in ("--help", "-h"):
                ended = atmosphere(*path, flag)
                self.assertEqual((ended.status, ended.err), (0, ""), path)
                self.assertIn("Examples:\n  atmosphere", ended.out, path)

    def test_network_options(self) -> None:
        """
        The options of C{network} are those that mean something there.
        """
        text = atmosphere("network", "--help").out
        for name in ("--relay", "--stun", "--udp-port", "--interface", "--advertise", "--lifetime"):
            self.assertIn(f"{name} ", text)
        for name in ("--paths", "--allow-loopback"):
            self.assertNotIn(name, text)
            self.assertEqual(atmosphere("network", name).status, 2)
            self.assertIn(name, atmosphere("serve", "--help").out)

    def test_version(self) -> None:
        """
        C{--version} is one line.
        """
        self.assertEqual(atmosphere("--version").out, f"atmosphere {__version__}\n")

    def test_nothing(self) -> None:
        """
        Without a command the help is shown and the exit code is that of wrong usage.
        """
        ended = atmosphere()
        self.assertEqual(ended.status, 2)
        self.assertIn("Commands:", ended.out)

    def test_listed(self) -> None:
        """
        Every listed command exists under its own name.
        """
        import click

        context = click.Context(program)
        for name in program.list_commands(context):
            command = program.get_command(context, name)
            assert command is not None
            self.assertEqual(command.name, name)


class UsageTests(SynchronousTestCase):
    """
    Wrong usage.
    """

    def test_wrong(self) -> None:
        """
        Each mistake is one line that names where to read on, and exit code 2.
        """
        for arguments in (
            ["bogus"],
            ["--bogus"],
            ["ping"],
            ["ping", "--count", "x", "portland"],
            ["status", "--wait"],
            ["relay", "--port", "x"],
            ["--log-format", "xml", "status"],
            ["status", "--wiat", "3"],
        ):
            ended = atmosphere(*arguments)
            self.assertEqual((ended.status, ended.out), (2, ""), arguments)
            self.assertEqual(ended.err.count("\n"), 1, arguments)
            self.assertRegex(ended.err, r"^atmosphere: .*See: atmosphere.* --help\n$")
            self.assertNotIn("?.", ended.err)

    def test_whose_help(self) -> None:
        """
        An option without its value names the help of the command that it stands with.
        """
        for arguments in (["status", "--wait"], ["lab", "faults", "--fault"], ["serve", "--stun"]):
            ended = atmosphere(*arguments)
            command = " ".join(arguments[:-1])
            self.assertIn(f"See: atmosphere {command} --help\n", ended.err)

    def test_values(self) -> None:
        """
        A value that does not fit is refused before anything is done, and escaped.
        """
        for arguments, words in (
            (["relay", "--mesh", "home"], "not a mesh ID"),
            (["relay", "--limit", "x=1"], "connections"),
            (["relay", "--cert", "x"], "--key"),
            (["relay", "--stun-port", "9", "--second-stun-port", "9"], "is --stun-port too"),
            (["init", "--relay", "http://x"], "write ws://"),
            (["init", "\x1b[31m"], "is not a name"),
            (["init", "a", "--name", "b"], "two names"),
            (["init", "--stun", "x:y"], "HOST:PORT"),
            (["init", "--udp-port", "0"], "not a port"),
        ):
            ended = atmosphere("--state", "/nonexistent/x", *arguments)
            self.assertEqual((ended.status, ended.err.count("\n")), (2, 1), arguments)
            self.assertIn(words, ended.err)
            self.assertNotIn("\x1b", ended.err)


class InitTests(SynchronousTestCase):
    """
    C{atmosphere init}.
    """

    @override
    def setUp(self) -> None:
        self.state = Path(self.mktemp()).absolute()

    def init(self, *arguments: str, env: dict[str, str] | None = None) -> Ended:
        """
        Run the command.
        """
        return atmosphere("--state", str(self.state), "init", *arguments, env=env)

    def test_made(self) -> None:
        """
        The node has the name and settings that were given, and the next
        command is named.
        """
        ended = self.init(
            *("--name", "portland", "--relay", "ws://relay:8080", "--udp-port", "7000"),
            *("--public-ip", "192.0.2.1", "--advertise", "[2001:db8::1]:5", "--no-public-stun"),
        )
        self.assertEqual((ended.status, ended.err), (0, ""))
        self.assertIn(f"atmosphere --state {self.state} serve", ended.out)
        with NodeStore.peek(self.state, wall=clock) as store:
            settings = store.settings
        self.assertEqual((settings.name, settings.udp_port), ("portland", 7000))
        self.assertEqual(settings.relays, ("ws://relay:8080",))
        self.assertEqual(
            [str(each) for each in settings.advertise], ["192.0.2.1:0", "[2001:db8::1]:5"]
        )
        self.assertFalse(settings.public_stun)

    def test_json(self) -> None:
        """
        C{--json} says who the new node is.
        """
        answer = json.loads(self.init("portland", "--json").out)
        self.assertEqual((answer["version"], answer["name"]), (1, "portland"))
        self.assertEqual(len(answer["node_id"]), 52)

    def test_named_after_host(self) -> None:
        """
        Without a name the node is called like the host, with a variable like that.
        """
        self.assertEqual(self.init().status, 0)
        self.state = Path(self.mktemp()).absolute()
        env = {"ATMOSPHERE_NAME": "salem", "ATMOSPHERE_RELAY_URL": "ws://a ws://b"}
        self.assertIn("salem", self.init(env=env).out)
        with NodeStore.peek(self.state, wall=clock) as store:
            self.assertEqual(store.settings.relays, ("ws://a", "ws://b"))

    def test_certificates(self) -> None:
        """
        A file of certificates is kept by its whole name, since the node may start
        elsewhere; one that is not there is refused.
        """
        file = Path(self.mktemp())
        file.write_text("certificates")
        self.assertEqual(self.init("--relay-ca", str(file)).status, 0)
        with NodeStore.peek(self.state, wall=clock) as store:
            self.assertEqual(store.settings.relay_ca, str(file.absolute()))
        self.state = Path(self.mktemp()).absolute()
        ended = self.init("--relay-ca", f"{file}.no")
        self.assertEqual((ended.status, ended.err.count("\n")), (2, 1))
        self.assertIn("No such file", ended.err)

    def test_refused(self) -> None:
        """
        What could never work is refused before a node is made.
        """
        for arguments, words in {
            ("--advertise", "0.0.0.0:1"): "nobody can reach",
            ("--advertise", "192.0.2.1:0"): "nobody can reach",
            ("--stun", "::::"): "is not HOST:PORT",
            ("--relay", "ws://[:::]"): "write ws://HOST:PORT",
            ("--relay", "ws://relay:99999"): "write ws://HOST:PORT",
        }.items():
            ended = self.init(*arguments)
            self.assertEqual((ended.status, ended.err.count("\n")), (2, 1), arguments)
            self.assertIn(words, ended.err)
            self.assertFalse(self.state.exists())

    def test_no_directory(self) -> None:
        """
        An empty name is not taken for the current directory.
        """
        ended = atmosphere("--state", "", "init")
        self.assertEqual((ended.status, ended.err.count("\n")), (2, 1))
        self.assertIn("name a directory", ended.err)

    def test_twice(self) -> None:
        """
        A second node in the same directory is refused in one line.
        """
        self.init()
        ended = self.init()
        self.assertEqual((ended.status, ended.err.count("\n")), (1, 1))
        self.assertIn("--state DIR", ended.err)

    def test_state_by_variable(self) -> None:
        """
        C{ATMOSPHERE_HOME} names the directory; an option on either side of the
        command wins over it.
        """
        other = Path(self.mktemp()).absolute()
        self.assertEqual(atmosphere("init", env={"ATMOSPHERE_HOME": str(self.state)}).status, 0)
        env = {"ATMOSPHERE_HOME": str(self.state)}
        ended = atmosphere("init", "--state", str(other), env=env)
        self.assertEqual(ended.status, 0, ended)
        self.assertTrue(NodeStore.exists(self.state) and NodeStore.exists(other))


class ImportTests(SynchronousTestCase):
    """
    What makes commands fast.
    """

    def imported(self, *arguments: str) -> set[str]:
        """
        Run a command in a process of its own, and say what it has imported.
        """
        code = (
            "import sys; from atmosphere.cli.app import run; run(sys.argv[1:]);"
            "print(' '.join({name.split('.')[0] for name in sys.modules}), file=sys.stderr)"
        )
        env = {"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"}
        done = subprocess.run(
            [sys.executable, "-c", code, *arguments],
            capture_output=True,
            text=True,
            env=env,
            check=True,
            timeout=30,
        )
        return set(done.stderr.splitlines()[-1].split())

    def test_client_commands(self) -> None:
        """
        Help, and the commands that ask a running node, import neither Twisted
        nor anything else that takes long.
        """
        state = ("--state", "/nonexistent/state")
        for arguments in (
            ["--help"],
            [*state, "status"],
            [*state, "peers"],
            [*state, "ping", "x"],
            [*state, "invite"],
        ):
            slow = {"twisted", "autobahn", "qh3", "rich", "asyncio", "sqlite3", "cryptography"}
            self.assertEqual(self.imported(*arguments) & slow, set(), arguments)


class ModuleTests(SynchronousTestCase):
    """
    The package, run as a program.
    """

    def run_module(self, *arguments: str) -> Ended:
        """
        Run it in a process of its own.
        """
        done = subprocess.run(
            [sys.executable, "-m", "atmosphere", *arguments],
            capture_output=True,
            text=True,
            env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"},
            timeout=30,
        )
        return Ended(done.returncode, done.stdout, done.stderr)

    def test_same(self) -> None:
        """
        C{python -m atmosphere} is the program C{atmosphere}, and calls itself so in its
        help and in its complaints.
        """
        for arguments in (["--help"], ["why", "--help"], ["--version"], ["bogus"]):
            ended = self.run_module(*arguments)
            installed = atmosphere(*arguments)
            self.assertEqual(ended, installed, arguments)
            self.assertNotIn("__main__", ended.out + ended.err)
        self.assertIn("Usage: atmosphere ", self.run_module("--help").out)
