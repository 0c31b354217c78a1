"""
C{atmosphere network}, the real program: without a node, with one, before and behind a
firewall of the kernel's.
"""

from __future__ import annotations

import subprocess
from typing import Any

from .harness import EndToEndTestCase, Machine, Relay, free_port
from .namespaces import RELAY, isolate, skip_without

KEYS = {
    *("version", "local", "public", "behind_nat", "reachable", "reachable_because"),
    *("mapping", "mapping_is_certain", "filtering", "relays", "udp", "ipv6", "ipv6_because"),
    *("clock_offset_s", "families", "servers", "notes", "advice"),
}

#: Lets in only answers.
_WALL = """
table inet wall {
  chain input {
    type filter hook input priority 0; policy drop;
    iifname "lo" accept
    ct state established,related accept
  }
}
"""


class NetworkTests(EndToEndTestCase):
    """
    What the report says.
    """

    def test_loopback(self) -> None:
        """
        By a relay on this machine all is measured that can be, and nothing claimed of
        the world; nothing is left on disk.
        """
        relay = Relay(self)
        machine = Machine(self, "salem")
        options = ("network", "--relay", relay.url)
        report = machine.json(*options)
        self.assertEqual(set(report), KEYS)
        self.assertEqual((report["behind_nat"], report["reachable"]), (None, None))
        self.assertIs(report["udp"], True)
        (used,) = report["relays"]
        self.assertEqual((used["url"], used["ok"]), (relay.url, True))
        self.assertGreater(used["rtt_ms"], 0)
        self.assertLess(abs(report["clock_offset_s"]), 1)
        (server,) = report["servers"]
        self.assertEqual(server["second_socket"], f"127.0.0.1:{relay.stun_port + 1}")
        self.assertEqual(server["dial_back"], "arrived")
        text = machine.run(*options).out
        self.assertIn(f"relay       {relay.url}  ", text)
        self.assertIn("reachable   unknown: the server is on this machine", text)
        self.assertNotIn("dials back", text)
        self.assertIn("dials back from 127.0.0.1:", machine.run(*options, "--verbose").out)
        self.assertFalse(machine.state.exists())

    def test_advice(self) -> None:
        """
        What is missing is named, with its remedy.
        """
        machine = Machine(self, "salem")
        alone = machine.run("network", "--no-public-stun").out
        self.assertIn("advice      no relay: `--relay ws://HOST:8080`", alone)
        self.assertIn("--stun HOST:PORT", alone)
        fallback = f"ws://127.0.0.1:{free_port()}"
        machine.variables["ATMOSPHERE_RELAY_URL"] = fallback
        (used,) = machine.json("network")["relays"]
        self.assertEqual((used["url"], used["ok"]), (fallback, False))
        del machine.variables["ATMOSPHERE_RELAY_URL"]
        gone = machine.json("network", "--relay", f"ws://127.0.0.1:{free_port()}")
        self.assertIn("refuses connections", gone["advice"][0])
        self.assertIsNone(gone["udp"])
        silent = machine.json("network", "--stun", f"127.0.0.1:{free_port()}")
        self.assertIs(silent["udp"], False)
        self.assertIn("no response", silent["notes"][0])

    def test_running(self) -> None:
        """
        A running node reports of its own port, asks a server that is named for once,
        and goes on as before.
        """
        relay, other = Relay(self), Relay(self)
        machine = Machine(self, "salem")
        machine.init("--relay", relay.url)
        machine.serve()
        port = int(machine.json("status")["listening"][0].rpartition(":")[2])
        stun = f"127.0.0.1:{other.stun_port}"
        report = machine.json("network", "--stun", stun)
        self.assertEqual(report["local"]["port"], port)
        self.assertEqual({each["dial_back"] for each in report["servers"]}, {"arrived"})
        self.assertEqual(machine.json("status")["relay"]["ok"], True)
        bad = machine.run("network", "--stun", "a b", status=2)
        self.assertIn("HOST:PORT", bad.err)
        code = machine.run("invite").out
        seattle = Machine(self, "seattle")
        seattle.init()
        program = seattle.serve()
        seattle.run("join", "-", stdin=code)
        program.stop()
        (used,) = seattle.json("network")["relays"]
        self.assertEqual((used["url"], used["ok"]), (relay.url, True))

    def report(self, wall: str = "") -> dict[str, Any]:
        """
        Look from a machine with an address of its own.

        @param wall: its firewall.
        """
        skip_without("nft")
        (relay, _), (prefix, _) = isolate(self, 1)
        self.start("atmosphere", "relay", "--host", RELAY, prefix=relay).wait_for("--relay")
        machine = Machine(self, "salem")
        machine.prefix = prefix
        machine.variables["ATMOSPHERE_INTERFACE"] = "0.0.0.0"
        nft = (*prefix, "nft", "-f", "-")
        subprocess.run(nft, input=wall.encode(), check=True, capture_output=True, timeout=20)
        return machine.json("network", "--relay", f"ws://{RELAY}:8080")

    def test_no_firewall(self) -> None:
        """
        Without a NAT and without a firewall a machine is reachable.
        """
        report = self.report()
        self.assertEqual((report["behind_nat"], report["reachable"]), (False, True))
        self.assertEqual(report["filtering"], "endpoint-independent")
        self.assertEqual(report["advice"], [])

    def test_firewall(self) -> None:
        """
        Behind a firewall it is not, though nothing is translated.
        """
        report = self.report(_WALL)
        self.assertEqual((report["behind_nat"], report["reachable"]), (False, False))
        self.assertEqual(report["filtering"], "address- and port-dependent")
        self.assertIn("open UDP port 7777", report["advice"][0])
