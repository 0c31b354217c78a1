"""
Tests for the command forms and variables of the original program, each used as
its documentation did.
"""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path

import click
from twisted.trial.unittest import SynchronousTestCase
from typing_extensions import override

from atmosphere.cli.app import program
from atmosphere.cli.options import Settings
from atmosphere.node.store import NodeStore
from tests.cli.processes import ProcessCase, finish
from tests.cli.running import CommandTestCase, Ended, atmosphere


def clock() -> float:
    """
    Say a time that never changes.
    """
    return 0.0


def parsed(*arguments: str, env: dict[str, str] | None = None) -> dict[str, object]:
    """
    Say what a command would be run with.
    """
    kept = {name: value for name, value in os.environ.items() if name.startswith("ATMOSPHERE_")}
    for name in kept:
        del os.environ[name]
    os.environ.update(env or {})
    try:
        context = program.make_context("atmosphere", list(arguments))
        with context:
            command = program.get_command(context, arguments[0])
            assert command is not None
            inner = command.make_context(arguments[0], list(arguments[1:]), parent=context)
            return {**inner.params, "verbosity": context.ensure_object(Settings).verbosity}
    finally:
        for name in env or {}:
            del os.environ[name]
        os.environ.update(kept)


class InitTests(SynchronousTestCase):
    """
    C{init} as the original had it.
    """

    @override
    def setUp(self) -> None:
        self.state = Path(self.mktemp()).absolute()

    def init(self, *arguments: str, env: dict[str, str] | None = None) -> NodeStore:
        """
        Make a node.
        """
        ended = atmosphere("init", *arguments, "--data-dir", str(self.state), env=env)
        self.assertEqual((ended.status, ended.err), (0, ""))
        return NodeStore.peek(self.state, wall=clock)

    def test_name(self) -> None:
        """
        C{init NAME} names the node.
        """
        with self.init("portland") as store:
            self.assertEqual(store.settings.name, "portland")

    def test_short_name(self) -> None:
        """
        C{init -n NAME} names the node.
        """
        with self.init("-n", "portland") as store:
            self.assertEqual(store.settings.name, "portland")

    def test_relay(self) -> None:
        """
        C{init --relay URL} keeps the relay.
        """
        with self.init("--relay", "ws://relay:8080") as store:
            self.assertEqual(store.settings.relays, ("ws://relay:8080",))

    def test_public_ip(self) -> None:
        """
        C{init --public-ip IP} keeps the address; its port is whatever the node's is.
        """
        with self.init("--public-ip", "203.0.113.9") as store:
            (address,) = store.settings.advertise
            self.assertEqual((address.host, address.port), ("203.0.113.9", 0))
        text = (self.state / "config.toml").read_text()
        self.assertIn('\nadvertise = ["203.0.113.9"]\n', text)

    def test_variables(self) -> None:
        """
        C{ATMOSPHERE_NODE_NAME}, C{_DATA_DIR} and C{_RELAY_URL} say the same as the options.
        """
        env = {
            "ATMOSPHERE_NODE_NAME": "portland",
            "ATMOSPHERE_DATA_DIR": str(self.state),
            "ATMOSPHERE_RELAY_URL": "ws://relay:8080",
        }
        self.assertEqual(atmosphere("init", env=env).status, 0)
        with NodeStore.peek(self.state, wall=clock) as store:
            self.assertEqual(store.settings.name, "portland")
            self.assertEqual(store.settings.relays, ("ws://relay:8080",))


class ServeTests(ProcessCase):
    """
    C{serve} and C{relay} as the original had them.
    """

    def test_host_and_port(self) -> None:
        """
        C{serve -h HOST -p PORT} says where the node listens, in UDP.
        """
        for arguments in (
            ("-h", "127.0.0.1", "-p", "7000"),
            ("--host", "127.0.0.1", "--port", "7000"),
        ):
            found = parsed("serve", *arguments)
            self.assertEqual((found["interfaces"], found["udp_port"]), (("127.0.0.1",), 7000))

    def test_help(self) -> None:
        """
        C{serve --help} still helps, and so does C{serve -h} with no host behind it.
        """
        for flag in ("--help", "-h"):
            ended = atmosphere("serve", flag)
            self.assertEqual(ended.status, 0, ended)
            self.assertIn("Usage: atmosphere serve", ended.out)

    def test_relay(self) -> None:
        """
        C{relay --host HOST --port PORT} says where the relay listens, in TCP.
        """
        found = parsed("relay", "--host", "127.0.0.1", "--port", "9000")
        self.assertEqual((found["host"], found["port"]), ("127.0.0.1", 9000))

    def test_variables(self) -> None:
        """
        C{ATMOSPHERE_HOST} and C{_PORT} are the relay's address for C{relay} and the
        node's for C{serve}; options, and the variables that are only the node's, win.
        """
        env = {"ATMOSPHERE_HOST": "127.0.0.1", "ATMOSPHERE_PORT": "9000"}
        found = parsed("relay", env=env)
        self.assertEqual((found["host"], found["port"]), ("127.0.0.1", 9000))
        found = parsed("serve", env=env)
        self.assertEqual((found["interfaces"], found["udp_port"]), (("127.0.0.1",), 9000))
        found = parsed("serve", "-h", "127.0.0.2", "-p", "1", env=env)
        self.assertEqual((found["interfaces"], found["udp_port"]), (("127.0.0.2",), 1))
        ours = {"ATMOSPHERE_INTERFACE": "127.0.0.3", "ATMOSPHERE_UDP_PORT": "2"}
        found = parsed("serve", env={**env, **ours})
        self.assertEqual((found["interfaces"], found["udp_port"]), (("127.0.0.3",), 2))

    def test_log_level(self) -> None:
        """
        C{ATMOSPHERE_LOG_LEVEL} says how much C{serve} and C{relay} log; C{-q} and
        C{-v} win, and what is no level is refused.
        """
        for level, verbosity in {"DEBUG": 1, "info": 0, "WARNING": -1, "error": -1}.items():
            for name in ("serve", "relay"):
                found = parsed(name, env={"ATMOSPHERE_LOG_LEVEL": level})
                self.assertEqual(found["verbosity"], verbosity, level)
        env = {"ATMOSPHERE_LOG_LEVEL": "error"}
        self.assertEqual(parsed("serve", "-v", env=env)["verbosity"], 1)
        ended = atmosphere("status", env={"ATMOSPHERE_LOG_LEVEL": "loud"})
        self.assertEqual((ended.status, ended.err.count("\n")), (2, 1))

    def test_network_relays(self) -> None:
        """
        Without a running node C{network} reports on the relay that serves when
        nothing else names one, and on a public address with the node's port.
        """
        state = Path(self.mktemp()).absolute()
        init = atmosphere("--state", str(state), "init", "--public-ip", "203.0.113.9")
        self.assertEqual(init.status, 0)
        with socket.socket() as closed:
            closed.bind(("127.0.0.1", 0))
            url = f"ws://127.0.0.1:{closed.getsockname()[1]}"
            env = {"ATMOSPHERE_RELAY_URL": url}
            asked = self.start("--state", str(state), "network", "--json", env=env)
            status, out, err = finish(asked)
        self.assertEqual(status, 0, err)
        answer = json.loads(out)
        self.assertEqual([each["url"] for each in answer["relays"]], [url])
        manual = {"ip": "203.0.113.9", "port": answer["local"]["port"], "source": "manual"}
        self.assertIn(manual, answer["public"])

    def test_network(self) -> None:
        """
        C{network --stun HOST:PORT --verbose} asks that server.
        """
        found = parsed("network", "--stun", "stun.example.org:3478", "--verbose")
        self.assertEqual((found["stun"], found["verbosity"]), (("stun.example.org:3478",), 1))


class HiddenTests(SynchronousTestCase):
    """
    What no help shows.
    """

    def test_hidden(self) -> None:
        """
        The original's names stand in no help page.
        """
        for command, words in {
            ("init",): ["--data-dir", "--public-ip"],
            ("serve",): ["--data-dir", "--host", "-h,", "--port", " -p"],
            ("mesh",): ["create", "join", "leave", "invite", "status"],
            (): ["--data-dir", "--log-level"],
        }.items():
            text = atmosphere(*command, "--help").out
            for word in words:
                self.assertNotIn(word, text.partition("Options:")[2].partition("Examples:")[0])

    def test_data_dir(self) -> None:
        """
        Every command that takes C{--state} takes C{--data-dir}, before and after its name.
        """
        context = click.Context(program)
        for name in program.list_commands(context):
            command = program.get_command(context, name)
            assert command is not None
            options = [each for each in command.params if "--state" in each.opts]
            self.assertEqual([each.aliases for each in options], [["--data-dir"]], name)  # type: ignore[attr-defined]
        state = Path(self.mktemp()).absolute()
        self.assertEqual(atmosphere("--data-dir", str(state), "init", "a").status, 0)
        ended = atmosphere("status", "--data-dir", str(state))
        self.assertEqual(ended.status, 3)
        self.assertIn(f"--state {state} serve", ended.err)


class RunningTests(CommandTestCase):
    """
    The forms that talk to a running node.
    """

    async def check(self, arguments: list[str], call: tuple[object, ...] | None) -> Ended:
        """
        Run a form; it ends well and asks the node what it should.
        """
        self.node.calls.clear()
        ended = await self.command(*arguments)
        self.assertEqual(ended.status, 0, ended)
        if call is not None:
            self.assertEqual(self.node.calls, [call])
        return ended

    async def test_plain(self) -> None:
        """
        C{status}, C{peers}, C{join}, C{join CODE} and C{leave}.
        """
        self.assertIn("portland", (await self.check(["status"], None)).out)
        await self.check(["peers"], None)
        await self.check(["join"], ("invite", 24.0, 1, None))
        await self.check(["join", "atm1-good"], ("join", "atm1-good"))
        await self.check(["leave"], ("leave",))

    async def test_mesh(self) -> None:
        """
        C{mesh create | join | leave | invite [--hours] | status} do the same.
        """
        ended = await self.check(["mesh", "create", "home"], ("found", "home"))
        self.assertIn("founded the mesh home (mesh-abc)", ended.out)
        await self.check(["mesh", "create"], ("found", None))
        await self.check(["mesh", "join", "atm1-good"], ("join", "atm1-good"))
        await self.check(["mesh", "leave"], ("leave",))
        await self.check(["mesh", "invite"], ("invite", 24.0, 1, None))
        await self.check(["mesh", "invite", "--hours", "2"], ("invite", 2.0, 1, None))
        status = await self.check(["mesh", "status", "--json"], None)
        self.assertEqual(json.loads(status.out)["mesh_name"], "home")

    async def test_create_alone(self) -> None:
        """
        Without a running node C{mesh create} founds by itself, once.
        """
        ended = await self.command("mesh", "create", "Work", is_running=False)
        self.assertEqual(ended.status, 0, ended)
        self.assertIn("founded the mesh work (mesh-", ended.out)
        with NodeStore.peek(self.state, wall=clock) as store:
            assert store.mesh is not None
            self.assertEqual(store.mesh.name, "work")
            self.assertIsNotNone(store.root_key())
        again = await self.command("mesh", "create", is_running=False)
        self.assertEqual((again.status, again.err.count("\n")), (4, 1))
        self.assertIn("atmosphere leave", again.err)
