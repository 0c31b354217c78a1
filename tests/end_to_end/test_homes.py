"""
Two homes, each behind a router of its own: the kernel's NAT, the real programs.
"""

from __future__ import annotations

from twisted.trial.unittest import SkipTest
from typing_extensions import override

from .harness import EndToEndTestCase, Machine
from .namespaces import INTERNET, can_translate, homes


class HomesTests(EndToEndTestCase):
    """
    Portland and Seattle join by a relay, and look for a path of their own.
    """

    @override
    def setUp(self) -> None:
        """
        See whether we may make networks.
        """
        super().setUp()
        if not can_translate():
            raise SkipTest("not root, or without iproute2 and nftables: no routers to be had")

    def joined(self, how: str = "") -> tuple[Machine, Machine]:
        """
        Start the relay and both nodes, and let seattle join.
        """
        relay, *places = homes(self, 2, how)
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
        self.assertTrue(network["behind_nat"])
        self.assertEqual(network["public"][0]["ip"], "45.77.1.2")

    def test_relayed(self) -> None:
        """
        Through routers that take another port for each peer the two stay on the
        relay, and that works.
        """
        _, seattle = self.joined("fully-random")
        answer = seattle.json("ping", "portland", "--until-direct", "--timeout", "6", status=1)
        self.assertEqual(answer["path"]["kind"], "relayed")
        self.assertIsNone(answer["direct_ms"])
        self.assertEqual(answer["sent"], answer["received"])
