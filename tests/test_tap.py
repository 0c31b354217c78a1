"""
Tests for L{atmosphere.tap}: the options of C{twistd atmosphere}.
"""

from __future__ import annotations

import contextlib
import io
import os
import socket
from pathlib import Path

from twisted.application.service import IService, MultiService
from twisted.internet import reactor  # noqa: TID251, real sockets are the point here
from twisted.internet.defer import Deferred
from twisted.logger import ILogObserver, LogEvent, formatEvent, globalLogPublisher
from twisted.python.usage import UsageError
from twisted.trial.unittest import SynchronousTestCase, TestCase
from typing_extensions import override
from zope.interface import implementer

from atmosphere import __version__
from atmosphere.node.config import HostPort, NodeConfig
from atmosphere.node.store import NodeStore
from atmosphere.tap import Options, makeService


class OptionsTests(SynchronousTestCase):
    """
    What a user may say, and what it means.
    """

    @override
    def setUp(self) -> None:
        self.state = str(Path(self.mktemp()).absolute())
        config = NodeConfig("portland", relays=("ws://relay:8080",))
        NodeStore.create(Path(self.state), config, wall=lambda: 0.0, entropy=os.urandom).close()

    def parse(self, *arguments: str, env: dict[str, str] | None = None) -> Options:
        """
        Parse a command line.
        """
        options = Options({} if env is None else env)
        options.parseOptions(list(arguments))
        return options

    def refusal(self, *arguments: str, env: dict[str, str] | None = None) -> str:
        """
        Parse a command line that is refused, and say why it is.
        """
        with self.assertRaises(UsageError) as caught:
            self.parse(*arguments, env=env)
        return str(caught.exception)

    def test_fallback(self) -> None:
        """
        C{ATMOSPHERE_RELAY_URL} serves when nothing else names a relay.
        """
        env = {"ATMOSPHERE_RELAY_URL": "ws://fallback:1"}
        options = self.parse("--node", "--state", self.state, env=env)
        config = options.node_config(NodeConfig("x"))
        self.assertEqual((config.relays, config.relays_beside()), ((), ["ws://fallback:1"]))

    def test_no_role(self) -> None:
        """
        A process without a role is refused; both roles together are allowed.
        """
        self.assertIn("--node, --relay, or both", self.refusal())
        options = self.parse("--node", "--relay", "--state", self.state)
        self.assertTrue(options["node"] and options["relay"])

    def test_relay_with_url(self) -> None:
        """
        C{--relay URL} is refused with a line that names the option that was meant.
        """
        for arguments in (
            ("--relay", "ws://x"),
            ("--relay=ws://x",),
            ("--node", "--relay", "ws://x"),
        ):
            self.assertIn("--use-relay ws://x", self.refusal(*arguments))
        self.assertIn("no option", self.refusal("--node", "rubbish"))

    def test_both_roles(self) -> None:
        """
        With both roles C{--host} and C{--port} are the relay's.
        """
        options = self.parse(
            *("--relay", "--node", "--state", self.state, "--host", "127.0.0.1", "--port", "8081"),
            *("--udp-port", "7778", "--use-relay", "ws://a", "--use-relay", "ws://b"),
        )
        relay, node = options["relay-config"], options.node_config(NodeConfig("x"))
        self.assertEqual((relay.host, relay.port), ("127.0.0.1", 8081))
        self.assertEqual((node.udp_port, node.relays), (7778, ("ws://a", "ws://b")))
        self.assertEqual(node.interfaces, NodeConfig("x").interfaces)

    def test_node_alone(self) -> None:
        """
        Without a relay C{--host} and C{--port} are the node's.
        """
        options = self.parse(
            "--node", "--state", self.state, "--host", "127.0.0.1", "--port", "7778"
        )
        node = options.node_config(NodeConfig("x"))
        self.assertEqual((node.udp_port, node.interfaces), (7778, ("127.0.0.1",)))

    def test_relay_options(self) -> None:
        """
        All of a relay's options reach its configuration.
        """
        mesh = "mesh-" + "a" * 26
        relay = self.parse(
            *("--relay", "--mesh", mesh, "--open", "--stun-port", "0", "--name", "relay.example"),
            *("--trusted-proxy", "10.0.0.0/8", "--rate", "1000", "--limit", "connections=7"),
        )["relay-config"]
        stun = ("--stun-address", "192.0.2.1", "--stun-address", "192.0.2.2")
        addresses = self.parse("--relay", *stun)["relay-config"].stun_addresses
        self.assertEqual(addresses, ("192.0.2.1", "192.0.2.2"))
        self.assertEqual((relay.meshes, relay.is_open, relay.stun_port), ((mesh,), True, 0))
        self.assertEqual((relay.names, relay.proxies), (("relay.example",), ("10.0.0.0/8",)))
        self.assertEqual((relay.rate, relay.limits.connections), (1000.0, 7))

    def test_environment(self) -> None:
        """
        Each option can be a variable; an option wins over its variable.
        """
        env = {
            "ATMOSPHERE_HOME": self.state,
            "ATMOSPHERE_RELAY": "ws://a ws://b",
            "ATMOSPHERE_STUN": "c:1",
            "ATMOSPHERE_UDP_PORT": "7778",
            "ATMOSPHERE_PORT": "8081",
            "ATMOSPHERE_OPEN": "1",
        }
        options = self.parse("--node", "--relay", "--port", "8082", env=env)
        node, relay = options.node_config(NodeConfig("x")), options["relay-config"]
        self.assertEqual(node.relays, ("ws://a", "ws://b"))
        self.assertEqual((node.stun_servers, node.udp_port), ((HostPort("c", 1),), 7778))
        self.assertEqual((relay.port, relay.is_open), (8082, True))
        self.assertIn("ATMOSPHERE_PORT", self.refusal("--relay", env={"ATMOSPHERE_PORT": "eighty"}))

    def test_bad_values(self) -> None:
        """
        A value that does not fit is refused while options are parsed, by name.
        """
        cases = {
            ("--relay", "--port", "x"): "port",
            ("--relay", "--port", "70000"): "70000 is not a port",
            ("--relay", "--mesh", "home"): "not a mesh ID",
            ("--relay", "--cert", "a.pem"): "--cert and --key go together",
            ("--relay", "--limit", "x=1"): "with one of the names",
            ("--relay", "--limit", "connections=many"): "a limit is a number",
            ("--relay", "--rate", "-1"): "--rate",
            ("--relay", "--second-stun-port", "3478"): "is --stun-port too",
            ("--node", "--use-relay", "http://x"): "write ws://",
            ("--node", "--stun", "a b"): "HOST:PORT",
            ("--node", "--paths", "best"): "auto, relayed, direct",
        }
        for arguments, words in cases.items():
            self.assertIn(words, self.refusal(*arguments, "--state", self.state), arguments)

    def test_no_state(self) -> None:
        """
        A node that was never made ends with 2 and a line that names C{atmosphere init}.
        """
        err = io.StringIO()
        with contextlib.redirect_stderr(err), self.assertRaises(SystemExit) as caught:
            self.parse("--node", "--state", "/nonexistent")
        self.assertEqual(caught.exception.code, 2)
        self.assertIn("`atmosphere --state /nonexistent init`", err.getvalue())

    def test_help(self) -> None:
        """
        The help lists every option and ends with three examples.
        """
        usage = Options({}).getUsage(100)
        self.assertEqual(usage.count("twistd -n atmosphere"), 3)
        for name in ("--use-relay=", "--limit=", "--trusted-proxy=", "--udp-port=", "--open"):
            self.assertIn(name, usage)

    def test_version(self) -> None:
        """
        C{--version} shows our version, not Twisted's.
        """
        out = io.StringIO()
        with contextlib.redirect_stdout(out), self.assertRaises(SystemExit) as caught:
            self.parse("--version")
        self.assertEqual(
            (caught.exception.code, out.getvalue()), (0, f"atmosphere {__version__}\n")
        )

    def test_services(self) -> None:
        """
        The service that is made has one part for each role, and nothing is
        bound or opened before it starts.
        """
        options = self.parse("--node", "--relay", "--state", self.state, "--port", "0")
        made = makeService(options)
        assert isinstance(made, MultiService)
        self.assertEqual(len(list(made)), 2)
        self.assertTrue(IService.providedBy(made))
        NodeStore.open(Path(self.state), wall=lambda: 0.0).close()

    def test_bad_certificate(self) -> None:
        """
        A certificate that cannot be read ends with 2 and one line.
        """
        options = self.parse("--relay", "--cert", "/nonexistent/c", "--key", "/nonexistent/k")
        err = io.StringIO()
        with contextlib.redirect_stderr(err), self.assertRaises(SystemExit) as caught:
            makeService(options)
        self.assertEqual((caught.exception.code, err.getvalue().count("\n")), (2, 1))


class RunningTests(TestCase):
    """
    Both roles at work.
    """

    async def test_told(self) -> None:
        """
        What a relay has bound, and where a node listens, is in the log; a service
        manager is told when both run and when they stop.
        """
        name = os.path.abspath(self.mktemp())
        manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.addCleanup(manager.close)
        manager.bind(os.path.relpath(name))
        manager.settimeout(10)
        os.environ["NOTIFY_SOCKET"] = name
        self.addCleanup(os.environ.pop, "NOTIFY_SOCKET")
        state = Path(self.mktemp()).absolute()
        config = NodeConfig("portland", interfaces=("127.0.0.1",))
        NodeStore.create(state, config, wall=lambda: 0.0, entropy=os.urandom).close()
        options = Options({})
        options.parseOptions(
            f"--node --relay --state {state} --host 127.0.0.1 --port 0 --stun-port 0 --open".split()
        )
        told: list[str] = []
        listening: Deferred[None] = Deferred()

        @implementer(ILogObserver)
        def observe(event: LogEvent) -> None:
            told.append(formatEvent(event))
            if "listens on UDP" in told[-1] and not listening.called:
                listening.callback(None)

        made = makeService(options)
        assert isinstance(made, MultiService)
        globalLogPublisher.addObserver(observe)
        try:
            made.privilegedStartService()
            made.startService()
            await listening.addTimeout(10, reactor)
            self.assertEqual(manager.recv(100), b"READY=1\nMAINPID=%d" % os.getpid())
        finally:
            globalLogPublisher.removeObserver(observe)
            await made.stopService()
        self.assertEqual(manager.recv(100), b"STOPPING=1")
        text = "\n".join(told)
        self.assertRegex(text, r"relay: open TCP \d+; nodes use it with --relay ws://127.0.0.1:")
        self.assertRegex(text, r"node portland \(\w{52}\) listens on UDP 127.0.0.1:\d+")
