"""
The session that the manual begins with, on real processes: a relay, a node that
invites, a node that joins; and what is left of it when a process is killed.
"""

from __future__ import annotations

import signal
from typing import Any

from typing_extensions import override

from tests.end_to_end.certificates import make_certificates
from tests.end_to_end.harness import EndToEndTestCase, Machine, Relay

#: Until when a ping has to be answered again.
RECOVERY = 30.0


class SessionTestCase(EndToEndTestCase):
    """
    Two hosts and a relay between them.

    @ivar portland: the host that invites.
    @ivar seattle: the host that joins.
    """

    @override
    def setUp(self) -> None:
        super().setUp()
        self.portland = Machine(self, "portland")
        self.seattle = Machine(self, "seattle")

    def begin(
        self, *, paths: str = "auto", program: str = "atmosphere", tls: bool = False
    ) -> Relay:
        """
        Go through the session until both are members.

        @param paths: which paths both may use.
        @param program: C{atmosphere} or C{twistd}.
        @param tls: whether the relay speaks TLS, with a certificate that both trust.
        """
        relay = Relay(self, *(self.trusted() if tls else ()), program=program)
        for machine in (self.portland, self.seattle):
            machine.variables["ATMOSPHERE_PATHS"] = paths
        self.portland.init("--relay", relay.url)
        self.portland.serve(program=program)
        code = self.portland.run("invite").out
        self.seattle.init()
        self.seattle.serve(program=program)
        self.seattle.run("join", "-", stdin=code)
        return relay

    def trusted(self) -> tuple[str, ...]:
        """
        Make a relay's certificate, and have both hosts trust it.

        @return: what the relay needs to be started with.
        """
        files = make_certificates(self.folder)
        for machine in (self.portland, self.seattle):
            machine.variables["ATMOSPHERE_RELAY_CA"] = str(files.authority)
        return ("--cert", str(files.certificate), "--key", str(files.key))

    def assert_peer(self, machine: Machine, other: Machine) -> dict[str, Any]:
        """
        Check that a host sees the other one, and only that, and is connected with it.

        @return: the path to it.
        """
        (peer,) = machine.wait_until_connected(other.name)
        self.assertEqual(set(peer), {"node_id", "name", "state", "path"})
        self.assertEqual(peer["node_id"], other.json("status")["node_id"])
        self.assertEqual(set(peer["path"]), {"kind", "remote", "rtt_ms", "datagram_bytes"})
        path: dict[str, Any] = peer["path"]
        return path

    def wait_for_ping(self, machine: Machine, other: Machine) -> None:
        """
        Wait until a ping is answered, for a bounded time.
        """

        def look() -> bool:
            arguments = ("ping", "-c", "1", "--timeout", "5", other.name)
            return machine.run(*arguments, status=None).status == 0

        self.wait_until(look, f"{machine.name} reaches {other.name}", RECOVERY)


class WrittenSessionTests(SessionTestCase):
    """
    The session as it is written.
    """

    def test_session(self) -> None:
        """
        A relay, two nodes, an invitation: both are members, see each other, and a
        ping goes directly; JSON says so by the names that scripts rely on.
        """
        relay = Relay(self)
        first, *_ = relay.program.out.splitlines()
        for text in (f"TCP {relay.port}", f"UDP {relay.stun_port}", f"--relay {relay.url}"):
            self.assertIn(text, first)

        portland, seattle = self.portland, self.seattle
        portland.init("--relay", relay.url)
        portland.serve()
        invitation = portland.json("invite")
        self.assertLessEqual({"code", "expires_at"}, set(invitation))
        self.assertIs(type(invitation["expires_at"]), int)
        seattle.init()
        seattle.serve()
        joined = seattle.run("join", "-", stdin=f"{invitation['code']}\n")
        self.assertIn("joined the mesh home", joined.out)

        for machine, other in ((portland, seattle), (seattle, portland)):
            self.assert_peer(machine, other)
            text = machine.run("peers").out
            self.assertRegex(text, rf"{other.name} .*connected .* ms")

        ping = seattle.run("ping", "--until-direct", "--timeout", "20", "portland")
        self.assertRegex(ping.out, r"pong from portland direct 127\.0\.0\.1:\d+ in [\d.]+ ms")
        self.check_ping(seattle.json("ping", "-c", "3", "-i", "0.05", "portland"))
        self.check_status(portland.json("status"), relay.url)
        self.check_why(seattle, relay.url)
        report = seattle.json("network")
        self.assertLessEqual(
            {"local", "public", "behind_nat", "reachable", "mapping", "filtering", "relays"}
            | {"udp", "ipv6"},
            set(report),
        )
        self.assertEqual(set(report["local"]), {"ip", "port"})
        for each in report["public"]:
            self.assertEqual(set(each), {"ip", "port", "source"})
        (used,) = report["relays"]
        self.assertLessEqual({"url", "rtt_ms", "ok"}, set(used))
        self.assertEqual((used["url"], used["ok"]), (relay.url, True))

        self.assertIn("left the mesh home", seattle.run("leave").out)
        self.assertIsNone(seattle.json("status")["mesh_id"])
        for program in (seattle.node, portland.node, relay.program):
            assert program is not None
            self.assertEqual(program.stop(signal.SIGINT).status, 130)
        self.assert_no_traceback()

    def check_ping(self, answer: dict[str, Any]) -> None:
        """
        Check what a ping's answer consists of.
        """
        self.assertEqual((answer["sent"], answer["received"]), (3, 3))
        self.assertEqual(set(answer["rtt_ms"]), {"min", "median", "max"})
        self.assertEqual([each["seq"] for each in answer["replies"]], [0, 1, 2])
        for each in answer["replies"]:
            self.assertEqual(set(each), {"seq", "rtt_ms", "path"})
        self.assertEqual(answer["path"]["kind"], "direct")
        self.assertLessEqual(answer["first_reply_ms"], answer["direct_ms"])

    def check_why(self, machine: Machine, url: str) -> None:
        """
        Check that a machine can say why it reaches portland directly.
        """
        answer = machine.json("why", "portland")
        self.assertEqual(answer["path"]["kind"], "direct")
        verdicts = {each["way"]: each["verdict"] for each in answer["ways"]}
        self.assertEqual(verdicts[answer["path"]["remote"]], "in use")
        self.assertEqual(verdicts[url], "works, not in use")
        self.assertEqual(answer["help"], [])
        text = machine.run("why", "portland").out
        self.assertIn("data goes straight to portland", text)
        self.assertIn("Nothing needs help.", text)

    def check_status(self, answer: dict[str, Any], url: str) -> None:
        """
        Check what a status consists of.
        """
        self.assertEqual(len(answer["node_id"]), 52)
        self.assertEqual(answer["name"], "portland")
        self.assertRegex(answer["mesh_id"], "^mesh-[a-z2-7]{26}$")
        self.assertEqual((answer["relay"]["url"], answer["relay"]["ok"]), (url, True))
        self.assertEqual(answer["peers"], {"known": 1, "connected": 1})
        (listening,) = answer["listening"]
        self.assertRegex(listening, r"^127\.0\.0\.1:\d+$")

    def test_relayed(self) -> None:
        """
        Two nodes that may use relays only reach each other through theirs; a wait
        for a direct path says that there was none.
        """
        relay = self.begin(paths="relayed")
        path = self.assert_peer(self.seattle, self.portland)
        self.assertEqual((path["kind"], path["remote"]), ("relayed", relay.url))
        arguments = ("ping", "--until-direct", "--timeout", "1", "-i", "0.2", "portland")
        answer = self.seattle.json(*arguments, status=1)
        self.assertGreater(answer["received"], 0)
        self.assertIsNone(answer["direct_ms"])
        text = self.seattle.run("ping", "-c", "1", "portland").out
        self.assertRegex(text, rf"pong from portland via relay {relay.url} in [\d.]+ ms")
        self.assertIn("path policy says so", self.seattle.json("why", "portland")["help"][0])
        assert self.portland.node is not None
        self.portland.node.stop(signal.SIGINT)
        text = self.seattle.run("why", "portland", status=3).out
        for words in ("there is no link to portland", "the node stops", "What would help:"):
            self.assertIn(words, text)
        self.assert_no_traceback()

    def test_twistd(self) -> None:
        """
        The same with twistd in place of C{atmosphere relay} and C{atmosphere serve}.
        """
        relay = self.begin(program="twistd")
        self.assert_peer(self.portland, self.seattle)
        self.seattle.run("ping", "--until-direct", "--timeout", "20", "portland")
        for program in (self.seattle.node, self.portland.node, relay.program):
            assert program is not None
            ended = program.stop(signal.SIGTERM)
            self.assertIn("Server Shut Down", ended.out)
            self.assertEqual(ended.status, -signal.SIGTERM)  # twistd's own way to end
        self.assert_no_traceback()

    def test_both_roles(self) -> None:
        """
        One twistd process can be a relay and a node that uses it.
        """
        relay = Relay(self, program="twistd")
        relay.kill()
        self.portland.init()
        options = (f"--port={relay.port}", "--stun-port=0", f"--use-relay={relay.url}")
        self.portland.serve("--relay", *options, program="twistd")
        code = self.portland.run("invite").out
        self.seattle.variables["ATMOSPHERE_PATHS"] = "relayed"
        self.seattle.init()
        self.seattle.serve()
        self.seattle.run("join", "-", stdin=code)
        self.assertEqual(self.assert_peer(self.seattle, self.portland)["kind"], "relayed")
        self.assert_no_traceback()

    def test_wss(self) -> None:
        """
        The same through a relay that speaks TLS; who does not trust its certificate
        is told so, and does not use it.
        """
        files = make_certificates(self.folder)
        relay = Relay(self, "--cert", str(files.certificate), "--key", str(files.key))
        url = f"wss://localhost:{relay.port}"
        for machine in (self.portland, self.seattle):
            machine.variables["ATMOSPHERE_PATHS"] = "relayed"
        self.portland.init("--relay", url)
        node = self.portland.serve("--relay-ca", str(files.authority))
        code = self.portland.run("invite").out
        self.seattle.run(
            *("join", "-", "--name", "seattle", "--relay-ca", str(files.authority)), stdin=code
        )
        self.seattle.serve()
        path = self.assert_peer(self.seattle, self.portland)
        self.assertEqual((path["kind"], path["remote"]), ("relayed", url))
        self.wait_for_ping(self.seattle, self.portland)

        node.stop()
        self.portland.start_unwelcome()
        ended = self.portland.run("status", "--wait", "2", status=None)
        self.assert_one_line(ended, 3, url, "--relay-ca")
        self.assert_no_traceback()


class KilledTests(SessionTestCase):
    """
    Each process in turn is killed and started again.
    """

    def kill_each(self, relay: Relay, program: str = "atmosphere") -> None:
        """
        Kill each process, start it again, and see that both reach each other.

        @param program: C{atmosphere} or C{twistd}, as in L{begin}.
        """
        mesh_id = self.portland.json("status")["mesh_id"]
        relay.kill()
        relay.start()
        self.check(mesh_id)
        for machine in (self.portland, self.seattle):
            machine.kill()
            machine.serve(program=program)
            self.check(mesh_id)

    def check(self, mesh_id: str) -> None:
        """
        Check that both are members and reach each other.
        """
        for machine, other in ((self.portland, self.seattle), (self.seattle, self.portland)):
            machine.run("status", "--wait", "30")
            self.wait_for_ping(machine, other)
            status = machine.json("status")
            self.assertEqual((status["mesh_id"], status["peers"]["known"]), (mesh_id, 1))

    def test_relayed(self) -> None:
        """
        Nodes that have nothing but a relay reach each other again.
        """
        relay = self.begin(paths="relayed")
        self.wait_for_ping(self.seattle, self.portland)
        self.kill_each(relay)
        self.assert_no_traceback()

    def test_twistd(self) -> None:
        """
        So do those that twistd runs, as it does the relay.
        """
        relay = self.begin(paths="relayed", program="twistd")
        self.wait_for_ping(self.seattle, self.portland)
        self.kill_each(relay, "twistd")
        self.assert_no_traceback()

    def test_wss(self) -> None:
        """
        So do those whose relay speaks TLS.
        """
        relay = self.begin(paths="relayed", tls=True)
        self.assertTrue(relay.url.startswith("wss://"))
        self.wait_for_ping(self.seattle, self.portland)
        self.kill_each(relay)
        self.assert_no_traceback()

    def test_twistd_wss(self) -> None:
        """
        So do those that twistd runs and whose relay speaks TLS.
        """
        relay = self.begin(paths="relayed", program="twistd", tls=True)
        self.wait_for_ping(self.seattle, self.portland)
        self.kill_each(relay, "twistd")
        self.assert_no_traceback()

    def test_direct(self) -> None:
        """
        Nodes with a direct path reach each other again, and go on while the relay
        is dead.
        """
        relay = self.begin()
        self.seattle.run("ping", "--until-direct", "--timeout", "20", "portland")
        relay.kill()
        answer = self.seattle.json("ping", "-c", "2", "-i", "0.1", "portland")
        self.assertEqual(answer["received"], 2)
        relay.start()
        self.kill_each(relay)
        self.seattle.run("ping", "--until-direct", "--timeout", "20", "portland")
        self.assert_no_traceback()

    def test_issuer_stays_issuer(self) -> None:
        """
        A node that was killed right after it made a code still redeems it.
        """
        relay = Relay(self)
        self.portland.init("--relay", relay.url)
        self.portland.serve()
        code = self.portland.run("invite").out
        self.portland.kill()
        self.portland.serve()
        self.seattle.init()
        self.seattle.serve()
        self.seattle.run("join", "-", stdin=code)
        self.seattle.kill()
        self.seattle.serve()
        self.assert_peer(self.seattle, self.portland)
