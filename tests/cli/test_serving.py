"""
Tests for the commands that stay: C{serve} and C{relay}, as processes of their own.
"""

from __future__ import annotations

import io
import json
import signal
import socket
import subprocess
from pathlib import Path

from twisted.logger import LogLevel
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from typing_extensions import override

from atmosphere.cli.run import text_observer
from tests.cli.processes import ProcessCase, finish, read_object
from tests.service_manager import service_manager


class RelayTests(ProcessCase):
    """
    C{atmosphere relay}.
    """

    options = ("relay", "--host", "127.0.0.1", "--stun-port", "0")

    def test_first_line(self) -> None:
        """
        The first line names the port to open, and SIGTERM ends with 0.
        """
        process = self.start(*self.options, "--port", "0", "--open")
        assert process.stdout is not None
        self.assertRegex(process.stdout.readline(), r"^relay: open TCP \d+; .* ws://127.0.0.1:\d+$")
        process.send_signal(signal.SIGTERM)
        self.assertEqual(finish(process)[0], 0)

    def test_interrupted(self) -> None:
        """
        Ctrl-C stops cleanly and ends with 130.
        """
        process = self.start(*self.options, "--port", "0", "--open", "--json")
        self.assertEqual(read_object(process)["version"], 1)
        process.send_signal(signal.SIGINT)
        status, _, err = finish(process)
        self.assertEqual((status, err), (130, ""))

    def test_warning(self) -> None:
        """
        A relay that serves anyone without being told to warns, also in JSON logs.
        """
        process = self.start(*self.options, "--port", "0", "--log-format", "json", "--json")
        self.assertIn("--mesh", read_object(process)["warnings"][0])
        process.terminate()
        events = [json.loads(line) for line in finish(process)[2].splitlines()]
        self.assertIn("--mesh", events[0]["line"])

    def test_port_taken(self) -> None:
        """
        A port that is taken ends with 71 and one line that names the port.
        """
        with socket.create_server(("127.0.0.1", 0)) as other:
            port = other.getsockname()[1]
            status, out, err = finish(self.start(*self.options, "--port", str(port), "--open"))
        self.assertEqual((status, out, err.count("\n")), (71, "", 1))
        self.assertIn(str(port), err)

    def test_service_manager(self) -> None:
        """
        A service manager is told when the port is bound, and when the relay stops;
        the first line has been said by then.
        """
        with service_manager() as (manager, name):
            env = {"NOTIFY_SOCKET": name}
            process = self.start(*self.options, "--port", "0", "--open", env=env)
            self.assertEqual(manager.recv(100), b"READY=1\nMAINPID=%d" % process.pid)
            process.terminate()
            self.assertEqual(manager.recv(100), b"STOPPING=1")
            self.assertEqual(finish(process)[0], 0)

    def test_bad_certificate(self) -> None:
        """
        A certificate that cannot be read ends with 2 and one line.
        """
        status, _, err = finish(self.start(*self.options, "--cert", "/nonexistent", "--key", "/x"))
        self.assertEqual((status, err.count("\n")), (2, 1))


class LifetimeTests(ProcessCase):
    """
    C{atmosphere network --lifetime}.
    """

    def test_no_second_socket(self) -> None:
        """
        By a relay with one socket nothing can be measured, which is said at once; the
        report is there all the same, with and without a running node.
        """
        relay = ("relay", "--host", "127.0.0.1", "--port", "0", "--open")
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.bind(("127.0.0.1", 0))
            port = str(probe.getsockname()[1])
        state = str(Path(self.mktemp()).absolute())
        stun = ("--stun-port", port, "--second-stun-port", "0")
        with self.running(*relay, *stun) as facts:
            asking = ("network", "--lifetime", "--stun", f"127.0.0.1:{port}")
            status, out, err = finish(self.start("--state", state, *asking))
            self.assertEqual(status, 0, err)
            self.assertRegex(out, r"(?m)^lifetime    not measured: .*does not answer to another")
            self.assertEqual(out.count("local "), 1)
            finish(self.start("--state", state, "init", "--relay", facts["url"]))
            with self.running("--state", state, "serve", "--interface", "127.0.0.1"):
                status, out, err = finish(self.start("--state", state, *asking, "--json"))
            found = json.loads(out)["binding_lifetime"]
            self.assertEqual((status, found["at_least_s"], found["words"]), (0, None, None))
            self.assertIn("up to 5 minutes", err)


class InterfaceTests(ProcessCase):
    """
    C{atmosphere network --interface}.
    """

    def test_asks_from_there(self) -> None:
        """
        It is the address that the report is about, and servers see; one that this machine
        does not have is refused as C{serve} does.
        """
        relay = ("relay", "--host", "127.0.0.1", "--port", "0", "--open")
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.bind(("127.0.0.1", 0))
            stun = ("--stun-port", str(probe.getsockname()[1]), "--second-stun-port", "0")
        state = str(Path(self.mktemp()).absolute())
        with self.running(*relay, *stun) as facts:
            asking = ("--state", state, "network", "--json", "--relay", facts["url"])
            status, out, err = finish(self.start(*asking, "--interface", "127.0.0.2"))
            self.assertEqual(status, 0, err)
            report = json.loads(out)
            self.assertEqual(report["local"]["ip"], "127.0.0.2")
            self.assertEqual({each["ip"] for each in report["public"]}, {"127.0.0.2"})
            self.assertEqual(report["ipv6_because"], "only 127.0.0.2 is listened on")
            status, out, err = finish(self.start(*asking, "--interface", "192.0.2.99"))
            self.assertEqual((status, out, err.count("\n")), (71, "", 1))
            self.assertIn("192.0.2.99 is no address of this machine; --interface", err)


class InterruptedTests(ProcessCase):
    """
    Commands that are ended before their work is done.
    """

    def test_network(self) -> None:
        """
        Ctrl-C ends a report that waits for a relay, with 130 and without the report.
        """
        with socket.socket() as silent:
            silent.bind(("127.0.0.1", 0))
            silent.listen()
            url = f"ws://127.0.0.1:{silent.getsockname()[1]}"
            state = str(Path(self.mktemp()).absolute())
            process = self.start("--state", state, "network", "--no-public-stun", "--relay", url)
            silent.settimeout(20)
            connection, _ = silent.accept()
            with connection:
                process.send_signal(signal.SIGINT)
                self.assertEqual(finish(process), (130, "", ""))

    def test_nobody_reads(self) -> None:
        """
        A demo whose reader has gone stops without a word.
        """
        process = self.start("demo")
        assert process.stdout is not None and process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        self.assertEqual(process.stderr.read(), "")
        process.stderr.close()
        self.assertEqual(process.wait(20), 1)

    def test_demo(self) -> None:
        """
        A demo that was ended does not say that all was shown.
        """
        process = self.start("demo")
        assert process.stdout is not None
        self.assertIn("relay", process.stdout.readline())
        process.send_signal(signal.SIGTERM)
        status, out, _ = finish(process)
        self.assertEqual(status, 1)
        self.assertNotIn("done", out)


class LogTests(SynchronousTestCase):
    """
    How a log looks.
    """

    def test_one_line(self) -> None:
        """
        What a stranger chose neither breaks a line nor steers the terminal.
        """
        stream = io.StringIO()
        event = {"log_format": "it said {text}", "text": "a\nb\x1b[31m", "log_time": 0.0}
        text_observer(stream)({**event, "log_level": LogLevel.warn})
        self.assertEqual(stream.getvalue().count("\n"), 1)
        self.assertIn(r"warn  it said a\nb\x1b[31m", stream.getvalue())

    def test_failure(self) -> None:
        """
        The traceback of a failure stands below its line.
        """
        stream = io.StringIO()
        event = {"log_format": "it failed", "log_failure": Failure(ValueError("x"))}
        text_observer(stream)({**event, "log_time": 0.0, "log_level": LogLevel.critical})
        self.assertIn("it failed\n", stream.getvalue())
        self.assertIn("ValueError", stream.getvalue())


class ServeTests(ProcessCase):
    """
    C{atmosphere serve}, and C{join} without a running node.
    """

    @override
    def setUp(self) -> None:
        self.directory = Path(self.mktemp()).absolute()
        self.directory.mkdir()

    def state(self, name: str) -> tuple[str, str]:
        """
        Name the state directory of a node.
        """
        return "--state", str(self.directory / name)

    def ask(self, *arguments: str, stdin: str | None = None) -> tuple[int, str, str]:
        """
        Run a command to its end.
        """
        source = subprocess.DEVNULL if stdin is None else subprocess.PIPE
        return finish(self.start(*arguments, stdin=source), stdin)

    def test_not_made(self) -> None:
        """
        Without a node the remedy is named.
        """
        status, _, err = self.ask(*self.state("a"), "serve")
        self.assertEqual((status, err.count("\n")), (2, 1))
        self.assertRegex(err, "make one with `atmosphere .*init`")

    def test_service_manager(self) -> None:
        """
        A service manager is told when the node answers, and when it stops.
        """
        self.ask(*self.state("a"), "init")
        with service_manager() as (manager, name):
            env = {"NOTIFY_SOCKET": name}
            process = self.start(*self.state("a"), "serve", "-h", "127.0.0.1", env=env)
            self.assertEqual(manager.recv(100), b"READY=1\nMAINPID=%d" % process.pid)
            self.assertEqual(self.ask(*self.state("a"), "status")[0], 0)
            process.terminate()
            self.assertEqual(manager.recv(100), b"STOPPING=1")
            self.assertEqual(finish(process)[0], 0)

    def test_original_variables(self) -> None:
        """
        The original's variables alone make a node and start it, with the relay that
        they name, since nothing else names one; a relay takes its address from them.
        """
        silent = {"ATMOSPHERE_LOG_LEVEL": "ERROR", "ATMOSPHERE_HOST": "127.0.0.1"}
        relay = {**silent, "ATMOSPHERE_PORT": "0"}
        with self.running("relay", "--stun-port", "0", env=relay) as facts:
            self.assertEqual(facts["host"], "127.0.0.1")
            state = str(self.directory / "original")
            env = {**silent, "ATMOSPHERE_DATA_DIR": state, "ATMOSPHERE_NODE_NAME": "salem"}
            self.assertEqual(finish(self.start("init", env=env))[0], 0)
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
                probe.bind(("127.0.0.1", 0))
                port = str(probe.getsockname()[1])
            env |= {"ATMOSPHERE_PORT": port, "ATMOSPHERE_RELAY_URL": facts["url"]}
            with self.running("serve", env=env) as status:
                self.assertEqual(status["name"], "salem")
                self.assertEqual(status["listening"], [f"127.0.0.1:{port}"])
                self.assertEqual(status["relay"]["url"], facts["url"])
                ready = finish(self.start("status", "--wait", "10", env=env))
                self.assertEqual(ready[0], 0, ready)

    def test_wrong_options(self) -> None:
        """
        A file of certificates that is not there is refused even if no relay needs
        it yet; an address that is another machine's is called that.
        """
        self.ask(*self.state("a"), "init")
        status, out, err = self.ask(*self.state("a"), "serve", "--relay-ca", "/nonexistent")
        self.assertEqual((status, out, err.count("\n")), (2, "", 1))
        self.assertIn("/nonexistent cannot be read", err)
        status, out, err = self.ask(*self.state("a"), "serve", "--interface", "192.0.2.99")
        self.assertEqual((status, out, err.count("\n")), (71, "", 1))
        self.assertIn("192.0.2.99 is no address of this machine; --interface", err)

    def test_loose_mode(self) -> None:
        """
        A state directory that others can read is refused with the remedy.
        """
        self.ask(*self.state("a"), "init")
        (self.directory / "a").chmod(0o755)
        status, _, err = self.ask(*self.state("a"), "serve")
        self.assertEqual((status, err.count("\n")), (1, 1))
        self.assertIn(f"chmod 700 {self.directory / 'a'}", err)

    def test_port_taken(self) -> None:
        """
        A UDP port that was asked for and is taken ends with 71.
        """
        self.ask(*self.state("a"), "init")
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
            other.bind(("127.0.0.1", 0))
            port = str(other.getsockname()[1])
            options = ("--interface", "127.0.0.1", "--udp-port", port)
            status, out, err = self.ask(*self.state("a"), "serve", *options)
        self.assertEqual((status, out, err.count("\n")), (71, "", 1))
        self.assertIn(port, err)

    def test_one_at_a_time(self) -> None:
        """
        A second node on the same state is refused, the first is not disturbed.
        """
        self.ask(*self.state("a"), "init")
        with self.running(*self.state("a"), "serve", "--interface", "127.0.0.1"):
            status, _, err = self.ask(*self.state("a"), "serve", "--interface", "127.0.0.1")
            self.assertEqual((status, err.count("\n")), (1, 1))
            self.assertIn("in use by another process", err)
            self.assertEqual(self.ask(*self.state("a"), "status")[0], 0)
        self.assertEqual(self.ask(*self.state("a"), "status")[0], 3)

    def test_join_without_node(self) -> None:
        """
        On a machine with nothing prepared C{join} makes a node and redeems the
        code by itself; the same code is then good for nobody else, and to join
        another mesh one has to leave first.
        """
        local = ("serve", "--interface", "127.0.0.1", "--allow-loopback")
        with self.running(
            "relay", "--host", "127.0.0.1", "--port", "0", "--stun-port", "0"
        ) as relay:
            self.ask(*self.state("a"), "init", "-n", "portland", "--relay", relay["url"])
            with self.running(*self.state("a"), *local) as portland:
                self.assertEqual(portland["name"], "portland")
                self.assertEqual(self.ask(*self.state("a"), "status", "--wait", "10")[0], 0)
                _, code, err = self.ask(*self.state("a"), "invite")
                self.assertIn("founded the mesh home", err)
                joined = self.ask(*self.state("b"), "join", "-", "--name", "salem", stdin=code)
                self.assertEqual(joined[0], 0, joined)
                self.assertIn("as salem", joined[1])
                self.assertRegex(joined[2], r"atmosphere --state \S+ serve\n")
                used = self.ask(*self.state("c"), "join", "-", stdin=code)
                self.assertEqual(used[0], 4, used)
                _, out, _ = self.ask(*self.state("a"), "peers", "--json")
                self.assertEqual([each["name"] for each in json.loads(out)["peers"]], ["salem"])
                self.ask(*self.state("a"), "leave")
                _, code, _ = self.ask(*self.state("a"), "invite", "--mesh-name", "work")
                inside = self.ask(*self.state("b"), "join", "-", stdin=code)
                self.assertEqual((inside[0], inside[2].count("\n")), (4, 1), inside)
                self.assertIn("atmosphere leave", inside[2])
