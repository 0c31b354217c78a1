"""
What goes wrong for users: each ends with its own status and one line on
standard error that names the remedy, and nothing hangs.
"""

from __future__ import annotations

import os
import signal
import socket
import sys

from tests.end_to_end.harness import (
    Ended,
    EndToEndTestCase,
    Machine,
    Program,
    can_connect,
    elapsed,
    free_port,
)


class StateTests(EndToEndTestCase):
    """
    No node, no running node, and state directories that cannot be used.
    """

    def test_no_node(self) -> None:
        """
        Where no node was made, the remedy is C{init}; it is wrong usage to start one.
        """
        machine = Machine(self, "portland")
        init = f"`atmosphere --state {machine.state} init`"
        self.assert_one_line(machine.run("serve", status=None), 2, init)
        for command in ("status", "peers", "invite", "leave"):
            self.assert_one_line(machine.run(command, status=None), 3, init)
        self.assertFalse(machine.state.exists())
        ended = self.run_command(
            *("-n", "atmosphere", "--node"),
            program="twistd",
            environment=machine.environment,
            status=None,
        )
        self.assert_one_line(ended, 2, str(machine.state), init)

    def test_not_running(self) -> None:
        """
        Where no node runs, the remedy is C{serve}; so also after one was killed.
        """
        machine = Machine(self, "portland")
        machine.init()
        serve = f"`atmosphere --state {machine.state} serve`"
        for arguments in (("status",), ("peers",), ("invite",), ("ping", "seattle")):
            self.assert_one_line(machine.run(*arguments, status=None), 3, serve)
        machine.serve()
        machine.kill()
        self.assert_one_line(machine.run("peers", status=None), 3, serve)

    def test_wait(self) -> None:
        """
        A wait for a node that is not there ends in time.
        """
        machine = Machine(self, "portland")
        machine.init()
        begin = elapsed()
        ended = machine.run("status", "--wait", "1", status=None)
        self.assert_one_line(ended, 3, "serve")
        self.assertGreaterEqual(elapsed() - begin, 1)
        self.assertLess(elapsed() - begin, 10)

    def test_there_already(self) -> None:
        """
        A node is not made where there is one, and one that runs is not run twice.
        """
        machine = Machine(self, "portland")
        machine.init()
        self.assert_one_line(machine.run("init", status=None), 1, "atmosphere --state DIR init")
        machine.serve()
        self.assert_one_line(machine.run("serve", status=None), 1, "in use by another process")

    def test_loose_modes(self) -> None:
        """
        State that other users could read is refused, with the command that mends it.
        """
        machine = Machine(self, "portland")
        machine.init()
        key = machine.state / "node.key"
        for path, loose, strict in ((machine.state, 0o755, 0o700), (key, 0o640, 0o600)):
            path.chmod(loose)
            remedy = f"chmod {strict:o} {path}"
            self.assert_one_line(machine.run("serve", status=None), 1, remedy)
            self.assert_one_line(machine.run("network", status=None), 1, remedy)
            path.chmod(strict)
        machine.serve()

    def test_newer_format(self) -> None:
        """
        State that a newer version wrote is refused by name, and not touched.
        """
        machine = Machine(self, "portland")
        machine.init()
        for name in ("node.key", "node.key.previous"):
            path = machine.state / name
            path.write_bytes(path.read_bytes().replace(b"node-key 1\n", b"node-key 2\n", 1))
        before = {each: each.read_bytes() for each in machine.state.iterdir()}
        for arguments in (("serve",), ("leave",), ("init",)):
            ended = machine.run(*arguments, status=None)
            self.assertEqual((ended.status, ended.err.count("\n")), (1, 1), ended)
        self.assertIn(
            "node.key was written by a newer atmosphere", machine.run("leave", status=1).err
        )
        after = {each: each.read_bytes() for each in machine.state.iterdir()}
        self.assertEqual(after, before)

    def test_damaged_key(self) -> None:
        """
        A lost identity is never replaced by a new one behind the user's back.
        """
        machine = Machine(self, "portland")
        machine.init()
        for name in ("node.key", "node.key.previous"):
            (machine.state / name).write_bytes(b"\0" * 100)
        for _ in range(2):
            ended = machine.run("serve", status=None)
            self.assertEqual(ended.status, 1)
            self.assertIn("atmosphere init", ended.err)
            self.assertNotIn("Traceback", ended.err)
        self.assertEqual(machine.run("init", status=None).status, 1)


class PortTests(EndToEndTestCase):
    """
    Ports that are taken.
    """

    def test_udp(self) -> None:
        """
        A node whose port is taken ends with 71 and says how to take another.
        """
        machine = Machine(self, "portland")
        machine.init()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
            taken.bind(("127.0.0.1", 0))
            port = str(taken.getsockname()[1])
            ended = machine.run("serve", "--udp-port", port, status=None)
            self.assert_one_line(ended, 71, f"UDP port {port}", "--udp-port N")
            ended = self.run_command(
                *("-n", "atmosphere", "--node", "--udp-port", port),
                program="twistd",
                environment=machine.environment,
                status=71,
            )
            self.assertIn(f"UDP port {port}", ended.out)
            self.assertNotIn("Traceback", ended.out + ended.err)

    def test_kept(self) -> None:
        """
        The port that was taken first is kept: a node whose peers know it does not
        move silently.
        """
        machine = Machine(self, "portland")
        machine.run("init", "--name", "portland")
        machine.serve()
        (listening,) = machine.json("status")["listening"]
        machine.kill()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
            taken.bind(("127.0.0.1", int(listening.rpartition(":")[2])))
            self.assert_one_line(machine.run("serve", status=None), 71, "--udp-port N")

    def test_relay(self) -> None:
        """
        A relay whose port is taken ends with 71; one whose STUN port is taken warns
        and runs.
        """
        with (
            socket.socket(socket.AF_INET, socket.SOCK_STREAM) as tcp,
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp,
        ):
            tcp.bind(("127.0.0.1", 0))
            tcp.listen()
            udp.bind(("127.0.0.1", 0))
            port, stun_port = str(tcp.getsockname()[1]), str(udp.getsockname()[1])
            ended = self.run_command("relay", "--port", port, "--stun-port", "0", status=None)
            self.assert_one_line(ended, 71, f"TCP port {port}", "--port N")
            ended = self.run_command(
                *("-n", "atmosphere", "--relay", "--port", port, "--stun-port", "0"),
                program="twistd",
                status=71,
            )
            self.assertIn(f"TCP port {port}", ended.out)
            relay = self.start(
                "atmosphere", "relay", "--port", str(free_port()), "--stun-port", stun_port
            )
            relay.wait_for("the relay runs without STUN")
            self.assertEqual(relay.stop().status, 130)


class RelayTests(EndToEndTestCase):
    """
    Relays that are none, or not there: the node runs and tries on, and says why.
    """

    def refusal(self, url: str, *texts: str) -> Program:
        """
        Run a node with such a relay, and check what is said of it.

        @return: the node, running on.
        """
        machine = Machine(self, "portland")
        machine.init("--relay", url)
        node = machine.start_unwelcome()
        ended = machine.run("status", "--wait", "2", status=None)
        self.assert_one_line(ended, 3, url, *texts)
        self.assertFalse(machine.json("status")["relay"]["ok"])
        self.assertTrue(node.is_running())
        ended = node.stop()
        self.assertEqual(ended.status, 130)
        self.assertEqual(len(ended.err.splitlines()), 1, ended.err)  # said once, not at each try
        for text in texts:
            self.assertIn(text, ended.err)
        self.assert_no_traceback()
        return node

    def test_unreachable(self) -> None:
        """
        A relay that does not run is named, and whether it runs is asked.
        """
        self.refusal(f"ws://127.0.0.1:{free_port()}", "is the relay running there?")

    def test_not_a_relay(self) -> None:
        """
        Some web server is not taken for a relay.
        """

        port = free_port()
        server = Program(
            [sys.executable, "-m", "http.server", "--bind", "127.0.0.1", str(port)],
            os.environ,
            self.folder,
        )
        self.addCleanup(server.kill)
        self.wait_until(lambda: can_connect(port), "the server listens")
        self.refusal(f"ws://127.0.0.1:{port}", "is no relay")

    def test_no_tls(self) -> None:
        """
        A relay without TLS that is called with it: the scheme is named.
        """
        port = free_port()
        relay = self.start("atmosphere", "relay", "--port", str(port), "--stun-port", "0")
        relay.wait_for("nodes use it")
        self.refusal(f"wss://127.0.0.1:{port}", "does the URL begin with ws://")

    def test_unknown_name(self) -> None:
        """
        A name that cannot be resolved is told from a relay that does not answer.
        """
        self.refusal("ws://relay.invalid:8080", "relay.invalid", "is DNS working?")

    def test_impossible_name(self) -> None:
        """
        A name that cannot be one makes no traceback anywhere.
        """
        machine = Machine(self, "portland")
        url = f"ws://{'a' * 70}.invalid:8080"
        ended = machine.run("init", "--name", "portland", "--relay", url, status=None)
        if ended.status == 0:
            machine.start_unwelcome()
            machine.run("network", status=None)
            machine.run("invite", status=None)
        self.assert_no_traceback()

    def test_comes_late(self) -> None:
        """
        A node that was started before its relay is welcomed when that comes.
        """
        port = free_port()
        machine = Machine(self, "portland")
        machine.init("--relay", f"ws://127.0.0.1:{port}")
        node = machine.start_unwelcome()
        node.wait_for("is the relay running there?")
        self.start("atmosphere", "relay", "--port", str(port), "--stun-port", "0")
        machine.run("status", "--wait", "30")


class UsageTests(EndToEndTestCase):
    """
    Words that do not fit, and Ctrl-C.
    """

    def test_usage(self) -> None:
        """
        Wrong usage ends with 2 and names the help, or what to write instead.
        """
        for arguments, text in (
            (("invite", "--hours", "200"), "atmosphere invite --help"),
            (("nonsense",), "atmosphere --help"),
            (("init", "--name", "a b"), "not a name"),
            (("init", "--relay", "http://x"), "ws://"),
            (("init", "--udp-port", "70000"), "70000"),
            (("relay", "--cert", "missing.pem"), "--key"),
            (("relay", "--limit", "nonsense=1"), "connections"),
            (("join", "-"), "atmosphere invite"),
        ):
            self.assert_one_line(self.run_command(*arguments, status=None), 2, text)

    def test_relay_url(self) -> None:
        """
        C{twistd atmosphere --relay URL} says which option was meant.
        """
        for arguments in (("--node", "--relay", "ws://x:1"), ("--relay=ws://x:1",)):
            ended = self.run_command("-n", "atmosphere", *arguments, program="twistd", status=None)
            self.assertNotEqual(ended.status, 0)
            last = (ended.out + ended.err).splitlines()[-1]
            self.assertIn("--use-relay ws://x:1", last)
            self.assertNotIn("Traceback", ended.out + ended.err)

    def test_interrupted(self) -> None:
        """
        Ctrl-C ends whatever runs, with 130 and without noise; SIGTERM ends a service
        with 0.
        """
        machine = Machine(self, "portland")
        machine.init()
        for number, status in ((signal.SIGINT, 130), (signal.SIGTERM, 0)):
            self.assert_quiet(machine.serve().stop(number), status)
            relay = self.start(
                "atmosphere", "relay", "--open", "--port", str(free_port()), "--stun-port", "0"
            )
            relay.wait_for("nodes use it")
            self.assert_quiet(relay.stop(number), status)

    def assert_quiet(self, ended: Ended, status: int) -> None:
        """
        Check that something ended as asked, without a word of it.
        """
        self.assertEqual((ended.status, ended.err), (status, ""))
