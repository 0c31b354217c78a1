"""
Homes in the kernel's own NATs that join without any relay: STUN servers are in the middle,
and no relay process is anywhere. They take half a minute, and so stand apart from the other
tests::

    sudo python -m twisted.trial tests.lab.unrelayed
"""

from __future__ import annotations

from pathlib import Path

from atmosphere.cli.client import LocalClient
from atmosphere.errors import NotRunningError
from atmosphere.lab import Internet, Kind
from atmosphere.lab.places import SERVERS, STUN
from atmosphere.lab.programs import Running

from .lab_case import LabTestCase

SERVERS_OPTIONS = [word for host in SERVERS for word in ("--stun", f"{host}:{STUN.port}")]


class UnrelayedTests(LabTestCase):
    """
    Portland invites, seattle joins, and an answer is carried back.
    """

    def state(self, internet: Internet, name: str) -> Path:
        """
        Say where a node's state is.
        """
        return internet.programs.folder / name

    def run_one(self, internet: Internet, place: int, name: str, *arguments: str) -> Running:
        """
        Start the program in a home.
        """
        state = str(self.state(internet, name))
        return internet.programs.start(
            internet.homes[place].host, name, "--state", state, *arguments
        )

    def serve(self, internet: Internet, place: int, name: str) -> LocalClient:
        """
        Make a node, and run it until it says how it fares.

        @return: what asks it.
        """
        self.run_one(internet, place, name, "init", "--name", name, *SERVERS_OPTIONS).finish()
        running = self.run_one(internet, place, name, "serve")
        client = LocalClient(self.state(internet, name))

        def is_ready() -> bool:
            try:
                return bool(client.get("/v1/status")["listening"])
            except NotRunningError:
                return False

        running.wait_until(is_ready, "its node runs")
        return client

    def join(self, one: Kind, two: Kind) -> dict[str, object]:
        """
        Join by the commands that a user types.

        @return: what C{peers} says at seattle of portland.
        """
        internet = self.internet(one, two, delay=0.02)
        self.serve(internet, 0, "portland")
        seattle = self.serve(internet, 1, "seattle")
        folder = internet.programs.folder
        code = self.run_one(internet, 0, "portland", "invite").finish()
        (folder / "code.txt").write_text(code)
        joining = self.run_one(internet, 1, "seattle", "join", "code.txt")
        joining.wait_for("atma1-")
        joining.wait_for("\n")
        (folder / "answer.txt").write_text(joining.text())
        followed = self.run_one(internet, 0, "portland", "join", "--answer", "answer.txt").finish()
        self.assertIn("seattle has joined the mesh home", followed)
        self.assertNotIn("relay", followed)
        self.assertIn("joined the mesh home", joining.finish())
        (peer,) = seattle.get("/v1/peers")["peers"]
        self.assertEqual(seattle.get("/v1/status")["relays"], [])
        self.assertEqual((peer["name"], peer["state"]), ("portland", "connected"))
        path: dict[str, object] = peer["path"]
        self.assertIn(path["kind"], ("direct", "punched"))
        return path

    def test_port_restricted_port_restricted(self) -> None:
        """
        Two homes whose NATs let only answers in are linked straight through them.
        """
        path = self.join(Kind.PORT_RESTRICTED, Kind.PORT_RESTRICTED)
        self.assertEqual(path["remote"], "45.77.1.2:7777")

    def test_symmetric_address_restricted(self) -> None:
        """
        The port that no code could name is learnt from the knock that comes from it.
        """
        path = self.join(Kind.SYMMETRIC, Kind.ADDRESS_RESTRICTED)
        self.assertNotEqual(path["remote"], "45.77.1.2:7777")

    def test_cgnat_port_restricted(self) -> None:
        """
        Two NATs before the one that invites are no more than one.
        """
        self.join(Kind.CGNAT, Kind.PORT_RESTRICTED)
