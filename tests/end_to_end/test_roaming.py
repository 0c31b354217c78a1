"""
A machine whose interfaces and addresses change while its node runs: the real program,
in network namespaces.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from statistics import median
from typing import Any

from typing_extensions import override

from atmosphere.cli.client import LocalClient
from atmosphere.lab.transfer import Transfer

from .harness import EndToEndTestCase, Machine, elapsed
from .namespaces import RELAY, isolate, skip_without

HERE, THERE = "10.78.0.1", "10.78.0.2"

#: Seconds within which what happened to an interface is known.
NOTICED = 1.0

#: Seconds for which nothing may come when a direct path is gone.
INTERRUPTED = 6.5

TOTAL, RATE = 6_000_000, 1_000_000.0


class RoamingTests(EndToEndTestCase):
    """
    Two machines that reach each other by a relay alone, and then get a cable.
    """

    @override
    def setUp(self) -> None:
        """
        Start a relay and both nodes, in one mesh.
        """
        skip_without()
        super().setUp()
        (relay, _), *places = isolate(self, 2)
        program = self.start("atmosphere", "relay", "--host", RELAY, "--open", prefix=relay)
        program.wait_for("--relay")
        self.portland, self.seattle = Machine(self, "portland"), Machine(self, "seattle")
        for machine, (prefix, _) in zip((self.portland, self.seattle), places, strict=True):
            machine.prefix = prefix
            machine.variables["ATMOSPHERE_INTERFACE"] = "0.0.0.0"
            machine.init("--relay", f"ws://{RELAY}:8080")
            machine.serve()
        self.seattle.run("join", "-", stdin=self.portland.run("invite").out)
        self.seattle.wait_until_connected("portland")

    def ip(self, machine: Machine, *arguments: str) -> None:
        """
        Change something on a machine.
        """
        command = (*machine.prefix, "ip", *arguments)
        subprocess.run(command, check=True, capture_output=True, timeout=20)

    def plug_in(self) -> None:
        """
        Lay a cable between the two, and leave it without addresses.
        """
        other = self.seattle.prefix[1].removeprefix("--net=")
        cable = ("type", "veth", "peer", "eth1", "netns", other)
        self.ip(self.portland, "link", "add", "eth1", *cable)
        for machine in (self.portland, self.seattle):
            self.ip(machine, "link", "set", "eth1", "up")

    def ask(self, machine: Machine, peer: Machine) -> dict[str, Any]:
        """
        Ask a node how it reaches the other.
        """
        return LocalClient(machine.state).post("/v1/why", {"peer": peer.name})

    def has(self, address: str) -> bool:
        """
        Say whether portland tells others of an address.
        """
        told = self.ask(self.portland, self.seattle)["here"]["addresses"]
        return any(each.startswith(f"{address}:") for each in told)

    def seconds_until(self, condition: Callable[[], bool], what: str) -> float:
        """
        Measure how long it takes until something holds.
        """
        begun = elapsed()
        self.wait_until(condition, what, 20)
        return elapsed() - begun

    def test_noticed(self) -> None:
        """
        An address that comes or goes, and an interface that goes down or up, is known
        within a second.
        """
        self.plug_in()
        changes = (
            (("address", "add", f"{HERE}/24", "dev", "eth1"), True),
            (("link", "set", "eth1", "down"), False),
            (("link", "set", "eth1", "up"), True),
            (("address", "delete", f"{HERE}/24", "dev", "eth1"), False),
            (("address", "add", f"{HERE}/24", "dev", "eth1"), True),
        )
        times = []
        for arguments, is_there in changes:
            self.ip(self.portland, *arguments)
            times.append(
                self.seconds_until(
                    lambda is_there=is_there: self.has(HERE) is is_there,  # type: ignore[misc]
                    " ".join(arguments),
                )
            )
        self.assertLess(median(times), NOTICED, times)
        self.assert_no_traceback()

    def test_falls_over(self) -> None:
        """
        The cable carries what the relay carried before as soon as it has addresses; when
        it is pulled the relay does again, and the transfer goes on.
        """
        clients = [LocalClient(each.state) for each in (self.portland, self.seattle)]
        sink, source = self.folder / "sink", self.folder / "source"
        transfer = Transfer(TOTAL, RATE, elapsed)
        transfer.listen(sink)
        exposed = {"service": "sink", "target": f"unix:{sink}", "to": ["seattle"], "keep": True}
        clients[0].post("/v1/services/expose", exposed)
        listen = {"listen": f"unix:{source}", "peer": "portland", "service": "sink", "keep": True}
        clients[1].post("/v1/services/forward", listen)
        transfer.send(source)
        self.addCleanup(transfer.stop)
        self.assertEqual(self.kind(), "relayed")
        begun = elapsed()
        self.plug_in()
        for machine, address in ((self.portland, HERE), (self.seattle, THERE)):
            self.ip(machine, "address", "add", f"{address}/24", "dev", "eth1")
        self.wait_until(lambda: self.kind() == "direct", "the cable is used", 5)
        self.ip(self.portland, "link", "set", "eth1", "down")
        self.wait_until(lambda: self.kind() == "relayed", "the relay is used again", INTERRUPTED)
        self.wait_until(transfer.is_over, "all has come")
        self.assertTrue(transfer.is_equal, transfer.error)
        self.assertLess(transfer.longest_gap(begun), INTERRUPTED)
        self.assert_no_traceback()

    def kind(self) -> str | None:
        """
        Say by which kind of path seattle sends to portland.
        """
        path = self.ask(self.seattle, self.portland)["path"]
        return None if path is None else str(path["kind"])
