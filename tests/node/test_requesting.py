"""
Tests for L{atmosphere.node.requesting} and L{atmosphere.node.approving}: asking to be let in.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from typing_extensions import override

from atmosphere.errors import (
    AtmosphereError,
    ConfigurationError,
    JoinError,
    LinkError,
    NoPathError,
)
from atmosphere.identity import NodeKey
from atmosphere.membership import issue_revocations
from atmosphere.mesh.join_code import JoinCode
from atmosphere.node.approving import ASKS_PER_MINUTE
from atmosphere.node.requesting import Target, address_of
from atmosphere.node.requests import MAXIMUM_OF_SOURCE
from atmosphere.testing.nat import PORT_RESTRICTED

from .harness import SimulatedNode, WorldCase


class RequestTests(WorldCase):
    """
    An admin, and those that hold a code without a secret.
    """

    @override
    def setUp(self) -> None:
        """
        Start the admin, found its mesh and make such a code.
        """
        super().setUp()
        self.admin = self.world.node("portland", "198.51.100.1")
        self.world.network.advance(1)
        made = self.world.result(
            self.admin.service.invite(hours=1, uses=1, mesh_name="office", approve=True)
        )
        self.code: str = made["code"]
        self.lines: list[dict[str, Any]] = []

    def ask(self, node: SimulatedNode, code: str = "", **settings: Any) -> Deferred[Any]:
        """
        Begin to join, until the request waits.
        """
        before = len(self.lines)
        asking = node.service.join(code or self.code, emit=self.lines.append, **settings)
        self.addCleanup(self.stop_asking, asking)
        self.world.until(lambda: len(self.lines) > before or asking.called, 60)
        return asking

    def stop_asking(self, asking: Deferred[Any]) -> None:
        """
        End what still waits when the test is over.
        """
        asking.addErrback(lambda failure: failure.trap(CancelledError))
        asking.cancel()

    def refused(self, asking: Deferred[Any]) -> str:
        """
        Check that a request came to nothing for good.

        @return: why.
        """
        error = self.assertRaises(AtmosphereError, self.world.result, asking)
        self.assertIsInstance(error, JoinError)
        self.assertEqual(error.exit_code, 4)
        return str(error)

    def states(self) -> dict[str, str]:
        """
        Say how the requests stand, by name.
        """
        return {each["name"]: each["state"] for each in self.admin.service.requests()}

    def test_approved(self) -> None:
        """
        Who asks waits, is seen with its key, name and address, and is a member
        as soon as an admin approves.
        """
        node = self.world.node("seattle", "198.51.100.2")
        asking = self.ask(node)
        self.assertNoResult(asking)
        (line,) = self.lines
        self.assertEqual((line["waiting"], line["mesh_name"]), (True, "office"))
        self.assertEqual(line["asked"], str(self.admin.key.node_id))
        (found,) = self.admin.service.requests()
        self.assertEqual(found["node_id"], str(node.key.node_id))
        self.assertEqual((found["name"], found["state"]), ("seattle", "waiting"))
        self.assertTrue(found["address"].startswith("198.51.100.2:"))
        self.assertTrue(found["is_waiting"])
        self.assertEqual(self.admin.states(), {})
        answer = self.admin.service.approve("seattle")
        self.assertEqual((answer["name"], answer["admitted"]), ("seattle", True))
        joined = self.world.result(asking, 5)
        self.assertEqual((joined["mesh_name"], joined["name"]), ("office", "seattle"))
        self.assertEqual(joined["admitted_by"], str(self.admin.key.node_id))
        self.assertEqual(self.admin.states(), {"seattle": "connected"})

    def test_at_home(self) -> None:
        """
        Behind a NAT the code has the admin's address there, and works without any relay.
        """
        nat = self.world.network.nat("home", "198.51.100.9", PORT_RESTRICTED, gateway="192.168.1.1")
        admin = self.world.node("salem", "192.168.1.2", on=nat, relays=())
        node = self.world.node("eugene", "192.168.1.3", on=nat, relays=())
        self.world.network.advance(1)
        made = self.world.result(
            admin.service.invite(hours=1, uses=1, mesh_name=None, approve=True)
        )
        self.assertEqual(made["warnings"], [])
        code = JoinCode.from_compact(made["code"])
        self.assertTrue(code.endpoint.startswith("192.168.1.2:"))
        asking = self.ask(node, made["code"])
        (found,) = admin.service.requests()
        self.assertTrue(found["address"].startswith("192.168.1.3:"))
        admin.service.approve("eugene")
        self.assertEqual(self.world.result(asking)["name"], "eugene")

    def test_patience(self) -> None:
        """
        A decision may take long; the joiner asks again whenever its link has ended.
        """
        node = self.world.node("seattle", "198.51.100.2")
        asking = self.ask(node)
        self.world.network.advance(600)
        self.assertNoResult(asking)
        self.assertEqual(len(self.lines), 1)
        self.assertEqual(len(self.admin.service.requests()), 1)
        self.admin.service.approve("seattle")
        self.world.result(asking, 60)

    def test_denied(self) -> None:
        """
        Who was denied hears it at once, and again when it comes back.
        """
        node = self.world.node("seattle", "198.51.100.2")
        asking = self.ask(node)
        self.admin.service.deny("seattle")
        self.assertIn("denied", self.refused(asking))
        self.assertIn("denied", self.refused(self.ask(node)))
        self.assertEqual(self.states(), {"seattle": "denied"})
        self.assertIsNone(node.service.status()["mesh_id"])

    def test_comes_back(self) -> None:
        """
        Who does not wait finds its certificate when it asks again with the same key.
        """
        node = self.world.node("seattle", "198.51.100.2")
        asking = self.ask(node)
        asking.cancel()
        self.failureResultOf(asking, CancelledError)
        self.world.network.advance(1)
        answer = self.admin.service.approve(str(node.key.node_id)[:8])
        self.assertFalse(answer["admitted"])
        self.assertEqual(self.admin.states(), {})
        node.kill()
        node.restart()
        joined = self.world.result(self.ask(node), 10)
        self.assertEqual(joined["name"], "seattle")
        self.assertEqual(self.states(), {})

    def test_lost_answer(self) -> None:
        """
        One that was let in but did not hear of it may ask again; once it has
        arrived, and left, it needs another approval.
        """
        node = self.world.node("seattle", "198.51.100.2")
        asking = self.ask(node)
        asking.cancel()  # the admin hears of that too late
        self.failureResultOf(asking, CancelledError)
        self.assertTrue(self.admin.service.approve("seattle")["admitted"])
        self.assertEqual(self.states(), {"seattle": "admitted"})
        self.admin.kill()
        self.admin.restart()
        self.assertEqual(self.world.result(self.ask(node), 30)["name"], "seattle")
        self.world.result(node.service.leave())
        self.assertEqual(self.states(), {})
        self.ask(node)
        self.assertEqual(self.states(), {"seattle": "waiting"})

    def test_approved_after_restart(self) -> None:
        """
        Requests and decisions survive the death of the admin's node.
        """
        first, second = (
            self.world.node(name, f"198.51.100.{n}") for n, name in ((2, "seattle"), (3, "tacoma"))
        )
        waits, denied = self.ask(first), self.ask(second)
        self.admin.service.deny("tacoma")
        self.refused(denied)
        self.admin.kill()
        self.admin.restart()
        self.assertEqual(self.states(), {"seattle": "waiting", "tacoma": "denied"})
        self.admin.service.approve("seattle")
        self.world.result(waits, 120)
        self.refused(self.ask(second))

    def test_timeout(self) -> None:
        """
        One that waits no longer than so many seconds may come back later.
        """
        node = self.world.node("seattle", "198.51.100.2")
        asking = self.ask(node, timeout=100.0)
        error = self.assertRaises(JoinError, self.world.result, asking, 101)
        self.assertEqual(error.exit_code, 3)
        self.assertIn("run the same command again", str(error))
        self.assertEqual(self.states(), {"seattle": "waiting"})

    def test_nobody_there(self) -> None:
        """
        A node that is not there is not waited for longer than half a minute or so.
        """
        self.admin.kill(is_silent=True)
        node = self.world.node("seattle", "198.51.100.2")
        begun = self.world.clock.seconds()
        self.assertRaises(NoPathError, self.world.result, self.ask(node))
        self.assertLess(self.world.clock.seconds() - begun, 50)

    def test_other_mesh(self) -> None:
        """
        Nothing is asked of a node that cannot show to be an admin of the code's
        mesh, whatever listens at the code's address.
        """
        code = JoinCode.from_compact(self.code)
        other = self.world.node("boston", "198.51.100.3")
        self.world.network.advance(1)
        made = self.world.result(
            other.service.invite(hours=1, uses=1, mesh_name="other", approve=True)
        )
        theirs = JoinCode.from_compact(made["code"])
        node = self.world.node("seattle", "198.51.100.2")
        for wrong in (
            replace(code, endpoint=theirs.endpoint),
            replace(code, mesh_public_key=theirs.mesh_public_key),
            replace(theirs, endpoint=code.endpoint),
        ):
            self.assertIn("cannot let this one in", self.refused(self.ask(node, wrong.code)))
        self.assertEqual(self.admin.service.requests() + other.service.requests(), [])

    def test_cannot_admit(self) -> None:
        """
        A member that may not admit, and a node in no mesh, refuse with a reason.
        """
        code = JoinCode.from_compact(self.code)
        member = self.world.node("salem", "198.51.100.4")
        self.world.join(self.admin, member)
        alone = self.world.node("boston", "198.51.100.3")
        node = self.world.node("seattle", "198.51.100.2")
        for listener, words in ((member, "cannot admit"), (alone, "in no mesh")):
            port = listener.service.surroundings.ports.port_of(is_ipv6=False)
            wrong = replace(code, endpoint=f"{listener.host.kernel.addresses[0]}:{port}")
            reason = self.refused(self.ask(node, wrong.code))
            self.assertIn("refused", reason)
            self.assertIn(words, reason)

    def test_not_local(self) -> None:
        """
        Such codes lead nowhere but into the local network, and requests from
        elsewhere are refused.
        """
        code = JoinCode.from_compact(self.code)
        node = self.world.node("seattle", "203.0.113.9", relays=())
        self.assertRaises(NoPathError, self.world.result, self.ask(node))
        for endpoint in ("8.8.8.8:7777", "127.0.0.1:7777", "198.51.100.1:22", "0.0.0.0:7777"):
            wrong = replace(code, endpoint=endpoint)
            self.assertRaises(NoPathError, self.world.result, self.ask(node, wrong.code))
        node.service.surroundings.is_local = lambda address: True  # type: ignore[method-assign]
        self.assertIn("local network only", self.refused(self.ask(node)))
        self.assertEqual(self.admin.service.requests(), [])

    def test_bad_codes(self) -> None:
        """
        Expired codes, those of the original program's own meshes and those that
        name no address are refused before anything is sent.
        """
        code = JoinCode.from_compact(self.code)
        node = self.world.node("seattle", "198.51.100.2")
        for wrong, words in (
            (replace(code, expires_at=code.created_at), "expired"),
            (replace(code, created_at=code.created_at + 1e6, expires_at=9e9), "future"),
            (replace(code, mesh_id="b0a1"), "original program"),
            (replace(code, mesh_public_key="AAAA"), "original program"),
            (replace(code, endpoint="portland.local:7777"), "endpoint"),
        ):
            self.assertIn(words, self.refused(self.ask(node, wrong.code)))

    def test_crowd(self) -> None:
        """
        One address cannot take all the room: further requests from there are put
        off, and those from elsewhere are kept.
        """
        held = self.admin.service._approvals._requests
        node = self.world.node("seattle", "198.51.100.2")
        self.world.result(self.ask(node, timeout=1.0).addErrback(lambda failure: None))
        (kept,) = held.list()
        with self.admin.service._store.database.transaction() as rows:
            for number in range(MAXIMUM_OF_SOURCE):
                rows.execute(
                    "INSERT INTO requests SELECT ?, name, '', source, address, came, expires_at,"
                    " 'waiting' FROM requests WHERE node = ?",
                    (NodeKey(bytes([number]) * 32).node_id.raw, kept.node.raw),
                )
            rows.execute("DELETE FROM requests WHERE node = ?", (kept.node.raw,))
        error = self.assertRaises(NoPathError, self.world.result, self.ask(node))
        self.assertIn("too many requests", str(error))
        self.ask(self.world.node("tacoma", "198.51.100.3"))
        self.assertEqual(self.states()["tacoma"], "waiting")

    def test_hammering(self) -> None:
        """
        Who asks again and again is not even listened to for a while.
        """
        node = self.world.node("seattle", "198.51.100.2")
        approvals = self.admin.service._approvals
        for _ in range(ASKS_PER_MINUTE + 5):
            approvals._limits.failed("198.51.100.2", approvals._now())
        asking = node.service.join(self.code, emit=self.lines.append, timeout=1.5)
        self.addCleanup(self.stop_asking, asking)
        self.assertRaises(LinkError, self.world.result, asking)
        self.assertEqual((self.lines, self.states()), ([], {}))
        self.world.network.advance(60)
        self.ask(node)
        self.assertEqual(len(self.lines), 1)

    def test_revoked(self) -> None:
        """
        A node that was shut out is not let in again by this door.
        """
        node = self.world.node("seattle", "198.51.100.2")
        self.world.join(self.admin, node)
        mesh = self.admin.service.mesh
        listed = issue_revocations(
            self.admin.key,
            mesh.chain,
            wall=self.world.wall(),
            current=None,
            keys=[node.key.node_id],
        )
        self.world.result(node.service.leave())
        mesh.merge(lambda roster: roster.merge_revocations(listed.encoded, self.world.wall()))
        self.assertIn("revoked", self.refused(self.ask(node)))

    def test_once_at_a_time(self) -> None:
        """
        A node that waits does not join by another code meanwhile.
        """
        node = self.world.node("seattle", "198.51.100.2")
        asking = self.ask(node)
        made = self.world.result(self.admin.service.invite(hours=1, uses=1, mesh_name=None))
        self.assertIn("joining already", self.refused(node.service.join(made["code"])))
        asking.cancel()
        self.failureResultOf(asking, CancelledError)
        self.world.result(node.service.join(made["code"]))
        self.assertIn("already", self.refused(node.service.join(self.code)))

    def test_names(self) -> None:
        """
        A name that two ask for means neither; what means nobody is said so.
        """
        first, second = (
            self.world.node(name, f"198.51.100.{n}") for n, name in ((2, "seattle"), (3, "tacoma"))
        )
        second.service._config = replace(second.service._config, name="seattle")
        waits = [self.ask(first), self.ask(second)]
        error = self.assertRaises(ConfigurationError, self.admin.service.approve, "seattle")
        self.assertIn("more of its node ID", str(error))
        self.assertRaises(ConfigurationError, self.admin.service.deny, "boston")
        for node in (first, second):
            self.admin.service.approve(str(node.key.node_id))
        names = {self.world.result(each)["name"] for each in waits}
        self.assertEqual(names, {"seattle", "seattle-2"})

    def test_by_endpoint(self) -> None:
        """
        Who knows but an address asks whichever mesh is there.
        """
        node = self.world.node("seattle", "198.51.100.2")
        target = Target(address_of(JoinCode.from_compact(self.code).endpoint))
        asking = node.service.request_to_join(target, capabilities=("gpu",), emit=self.lines.append)
        self.addCleanup(self.stop_asking, asking)
        self.world.until(lambda: self.lines)
        (found,) = self.admin.service.requests()
        self.assertEqual(found["capabilities"], ["gpu"])
        self.admin.service.approve("seattle")
        self.assertEqual(self.world.result(asking)["mesh_name"], "office")
