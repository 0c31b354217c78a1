"""
Two homes, each behind a router of its own: the kernel's NAT, the real programs.
"""

from __future__ import annotations

from atmosphere.lab import Kind

from .harness import EndToEndTestCase, Machine
from .namespaces import INTERNET, homes


class HomesTests(EndToEndTestCase):
    """
    Portland and Seattle join by a relay, and look for a path of their own.
    """

    def joined(self, kind: Kind = Kind.PORT_RESTRICTED) -> tuple[Machine, Machine]:
        """
        Start the relay and both nodes, and let seattle join.
        """
        relay, *places = homes(self, self.folder, kind, kind)
        program = self.start("atmosphere", "relay", "--host", INTERNET, prefix=relay)
        program.wait_for("--relay")
        portland, seattle = Machine(self, "portland"), Machine(self, "seattle")
        for machine, prefix in zip((portland, seattle), places, strict=True):
            machine.prefix = prefix
            machine.variables["ATMOSPHERE_INTERFACE"] = "0.0.0.0"
            machine.init("--relay", f"ws://{INTERNET}:8080")
            machine.serve()
        seattle.run("join", "-", stdin=portland.run("invite").out)
        return portland, seattle

    def test_punched(self) -> None:
        """
        Through routers that keep a port for each inside address the two are direct,
        by the address of the other one's router.
        """
        portland, seattle = self.joined()
        answer = seattle.json("ping", "portland", "--until-direct", "--timeout", "20")
        self.assertEqual(answer["path"]["kind"], "punched")
        self.assertTrue(answer["path"]["remote"].startswith("45.77.1.2:"), answer["path"])
        (peer,) = portland.json("peers")["peers"]
        self.assertEqual((peer["name"], peer["state"]), ("seattle", "connected"))
        network = portland.json("network")
        self.assertEqual((network["behind_nat"], network["reachable"]), (True, False))
        self.assertEqual(network["public"][0]["ip"], "45.77.1.2")

    def test_relayed(self) -> None:
        """
        Through routers that take another port for each peer the two stay on the
        relay, and that works; each knows that both routers are of that kind.
        """
        _, seattle = self.joined(Kind.SYMMETRIC)
        answer = seattle.json("ping", "portland", "--until-direct", "--timeout", "6", status=1)
        self.assertEqual(answer["path"]["kind"], "relayed")
        self.assertIsNone(answer["direct_ms"])
        self.assertEqual(answer["sent"], answer["received"])
        why = seattle.json("why", "portland")
        known = [why[side]["stable_port"] for side in ("here", "there")]
        self.assertEqual((why["path"]["kind"], known), ("relayed", [False, False]))

    def at_home(self, kind: Kind) -> Machine:
        """
        Start a relay, and make a home without a node.
        """
        relay, home = homes(self, self.folder, kind)
        program = self.start("atmosphere", "relay", "--host", INTERNET, prefix=relay)
        program.wait_for("--relay")
        machine = Machine(self, "salem")
        machine.prefix = home
        machine.variables["ATMOSPHERE_INTERFACE"] = "0.0.0.0"
        machine.variables["ATMOSPHERE_RELAY"] = f"ws://{INTERNET}:8080"
        return machine

    def test_report(self) -> None:
        """
        The relay's second socket shows that a router lets in only answers, each time;
        words say what its mapping means.
        """
        machine = self.at_home(Kind.PORT_RESTRICTED)
        report = machine.json("network")
        self.assertEqual((report["behind_nat"], report["reachable"]), (True, False))
        self.assertEqual(report["mapping"], "endpoint-independent")
        self.assertEqual(report["filtering"], "address- and port-dependent")
        self.assertEqual(report["public"][0]["ip"], "45.77.1.2")
        text = machine.run("network", "--verbose").out
        self.assertIn("keeps one public port per local port", text)
        self.assertIn("did not arrive", text)
        self.assertIn("forward UDP port 7777", text)

    def test_report_of_hard_router(self) -> None:
        """
        A router that takes another port for each connection is told apart.
        """
        report = self.at_home(Kind.SYMMETRIC).json("network")
        self.assertEqual((report["behind_nat"], report["reachable"]), (True, False))
        self.assertEqual(report["mapping"], "address- and port-dependent")
        self.assertIn("makes direct connections hard", report["advice"][0])
