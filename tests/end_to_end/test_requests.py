"""
Real processes: a code without a secret, and an admin that decides.
"""

from __future__ import annotations

import signal
from typing import Any

from typing_extensions import override

from .harness import EndToEndTestCase, Machine, Program


class RequestTests(EndToEndTestCase):
    """
    Nodes on one machine, which stands for a local network.
    """

    @override
    def setUp(self) -> None:
        """
        Start the admin and make a code.
        """
        super().setUp()
        self.portland = self.machine("portland")
        self.portland.init()
        self.portland.start_unwelcome()
        made = self.portland.json("invite", "--approve")
        self.assertTrue(made["needs_approval"])
        self.code: str = made["code"]

    def machine(self, name: str) -> Machine:
        """
        Name one of the user's hosts.
        """
        found = Machine(self, name)
        found.variables["ATMOSPHERE_ALLOW_LOOPBACK"] = "1"
        return found

    def join(self, machine: Machine, *arguments: str) -> Program:
        """
        Begin to join, until the request waits.
        """
        joining = self.start(
            "atmosphere", "join", self.code, *arguments, environment=machine.environment
        )
        joining.wait_for("waiting until an admin of home approves")
        return joining

    def requests(self) -> list[dict[str, Any]]:
        """
        List the requests.
        """
        found: list[dict[str, Any]] = self.portland.json("requests")["requests"]
        return found

    def test_approved(self) -> None:
        """
        A machine joins without a running node, and one by its running node,
        each when the admin has approved.
        """
        seattle, tacoma = self.machine("seattle"), self.machine("tacoma")
        seattle.init()
        joining = self.join(seattle)
        (asked,) = self.requests()
        self.assertEqual((asked["name"], asked["state"]), ("seattle", "waiting"))
        self.assertIn(asked["node_id"], joining.err)
        self.assertIn("seattle", self.portland.run("requests").out)
        self.assertIn("is a member now", self.portland.run("approve", "seattle").out)
        ended = joining.wait()
        self.assertEqual(ended.status, 0, ended)
        self.assertIn("joined the mesh home", ended.out)
        seattle.start_unwelcome()
        tacoma.init()
        tacoma.start_unwelcome()
        joining = self.join(tacoma)
        self.portland.run("approve", self.requests()[-1]["node_id"][:12])
        self.assertEqual(joining.wait().status, 0)
        self.portland.wait_until_connected("seattle", "tacoma")
        self.assert_no_traceback()

    def test_denied(self) -> None:
        """
        A machine that was denied is told so in a line, and again if it comes back.
        """
        seattle = self.machine("seattle")
        seattle.init()
        joining = self.join(seattle)
        self.portland.run("deny", "seattle")
        ended = joining.wait()
        self.assertEqual(ended.status, 4, ended)
        self.assertIn("atmosphere: an admin of the mesh denied the request\n", ended.err)
        again = seattle.run("join", "-", stdin=self.code, status=None)
        self.assert_one_line(again, 4, "denied")
        self.assert_no_traceback()

    def test_comes_back(self) -> None:
        """
        Ctrl-C ends the waiting and leaves the request; joining again picks the
        certificate up that was given meanwhile.
        """
        seattle = self.machine("seattle")
        seattle.init()
        joining = self.join(seattle)
        ended = joining.stop(signal.SIGINT)
        self.assertEqual(ended.status, 130, ended)
        self.assertIn("run the same command again", ended.err)
        late = seattle.run("join", "-", "--timeout", "1", stdin=self.code, status=3)
        self.assertIn("no admin has decided yet", late.err)
        self.portland.run("approve", "seattle")
        answer = seattle.json("join", "-", stdin=self.code)
        self.assertEqual((answer["mesh_name"], answer["name"]), ("home", "seattle"))
        self.assert_no_traceback()
