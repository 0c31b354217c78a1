"""
Tests for L{atmosphere.node.joining} and L{atmosphere.node.inviting}: joining over a link.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from twisted.internet.protocol import Protocol
from typing_extensions import override

from atmosphere.errors import AtmosphereError, JoinError, NoPathError
from atmosphere.identity import Secret
from atmosphere.mesh.join_code import JoinCode
from atmosphere.node.joining import SERVICE

from .harness import SimulatedNode, WorldCase


class JoinTests(WorldCase):
    """
    An admin, and those that hold its codes.
    """

    @override
    def setUp(self) -> None:
        """
        Start the admin.
        """
        super().setUp()
        self.admin = self.world.node("portland", "198.51.100.1")
        self.world.network.advance(1)

    def invite(self, **settings: Any) -> str:
        """
        Make a code.
        """
        wanted = {"hours": 1.0, "uses": 1, "mesh_name": None}
        made = self.world.result(self.admin.service.invite(**{**wanted, **settings}))
        code: str = made["code"]
        return code

    def refused(self, node: SimulatedNode, code: str) -> str:
        """
        Check that a code is not accepted, and the node in no mesh.

        @return: why not.
        """
        error = self.assertRaises(AtmosphereError, self.join, node, code)
        self.assertIsInstance(error, JoinError)
        self.assertIsNone(node.service.status()["mesh_id"])
        return str(error)

    def join(self, node: SimulatedNode, code: str) -> dict[str, Any]:
        """
        Join by a code.
        """
        joined: dict[str, Any] = self.world.result(node.service.join(code))
        return joined

    def test_joined(self) -> None:
        """
        Who joins is told where it is, and by whom it was let in.
        """
        node = self.world.node("seattle", "198.51.100.2")
        joined = self.join(node, self.invite(mesh_name="office"))
        self.assertEqual((joined["mesh_name"], joined["name"]), ("office", "seattle"))
        self.assertEqual(joined["admitted_by"], str(self.admin.key.node_id))
        self.assertEqual(joined["mesh_id"], self.admin.service.status()["mesh_id"])
        self.assertEqual(joined["node_id"], str(node.key.node_id))

    def test_without_relay(self) -> None:
        """
        On one network no relay is needed.
        """
        self.world.relay_host.kill()
        self.world.network.advance(1)
        node = self.world.node("seattle", "198.51.100.2", relays=())
        self.join(node, self.invite())
        self.world.until(lambda: node.is_linked(self.admin), 10)

    def test_used(self) -> None:
        """
        A code for one lets one in, and no other, whatever it is called.
        """
        code = self.invite()
        first, second = (
            self.world.node(name, f"198.51.100.{n}") for n, name in ((2, "seattle"), (3, "tacoma"))
        )
        self.join(first, code)
        begun = self.world.clock.seconds()
        self.refused(second, code)
        self.assertGreater(self.world.clock.seconds() - begun, 1)
        self.assertEqual(set(self.admin.states()), {"seattle"})

    def test_two_uses_at_once(self) -> None:
        """
        Of five that come at once with a code for two, two are let in.
        """
        code = self.invite(uses=2)
        nodes = [self.world.node(f"node{n}", f"198.51.100.{n}") for n in range(2, 7)]
        outcomes: list[Any] = []
        for node in nodes:
            node.service.join(code).addBoth(outcomes.append)
        self.world.until(lambda: len(outcomes) == 5, 60)
        joined = [node for node in nodes if node.service.status()["mesh_id"] is not None]
        self.assertEqual((len(joined), len(self.admin.states())), (2, 2))

    def test_lost_answer(self) -> None:
        """
        One that was let in but did not hear of it may ask again.
        """
        node = self.world.node("seattle", "198.51.100.2")
        code = self.invite()
        joining = node.service.join(code)
        joining.addErrback(lambda failure: None)
        self.world.until(lambda: self.admin.states())
        node.kill(is_silent=True)
        self.world.network.advance(5)
        node.restart()
        self.assertIsNone(node.service.status()["mesh_id"])
        self.world.network.advance(1)
        self.assertEqual(self.join(node, code)["name"], "seattle")

    def test_left(self) -> None:
        """
        One that joined, was seen as a member and left needs another code.
        """
        node = self.world.node("seattle", "198.51.100.2")
        code = self.invite()
        self.join(node, code)
        self.world.until(lambda: self.admin.is_linked(node))
        self.world.result(node.service.leave())
        self.world.network.advance(1)
        self.assertIn("not accepted", self.refused(node, code))
        self.assertEqual(self.join(node, self.invite())["name"], "seattle")

    def test_revoked(self) -> None:
        """
        A code that was taken back lets nobody in.
        """
        code = self.invite()
        (held,) = self.admin.service.invitations()
        self.admin.service.revoke_invitation(held["invite_id"])
        self.refused(self.world.node("seattle", "198.51.100.2"), code)

    def test_refused_leaves_nothing(self) -> None:
        """
        A code that was refused leaves none of its relays in use.
        """
        code = self.invite()
        (held,) = self.admin.service.invitations()
        self.admin.service.revoke_invitation(held["invite_id"])
        node = self.world.node("seattle", "198.51.100.2", relays=())
        self.refused(node, code)
        self.assertEqual(node.service.status()["relays"], [])

    def test_linked_at_once(self) -> None:
        """
        When join is done, the peer that let us in is there already.
        """
        node = self.world.node("seattle", "198.51.100.2")
        self.join(node, self.invite())
        self.assertEqual(list(node.states().values()), ["connected"])

    def test_many_by_one_relay(self) -> None:
        """
        Those who join by one relay with good codes do not use up each other's tries.
        """
        code = self.invite(uses=14)
        for number in range(2, 16):
            node = self.world.node(f"node{number}", f"198.51.100.{number}", path_policy="relayed")
            self.join(node, code)
        self.assertEqual(len(self.admin.states()), 14)

    def test_expired(self) -> None:
        """
        A code that has expired says so at once.
        """
        code = self.invite(hours=1)
        self.world.network.advance(3600 + 700)
        node = self.world.node("seattle", "198.51.100.2")
        self.assertIn("expired", self.refused(node, code))

    def test_wrong_secret(self) -> None:
        """
        A code with another secret is refused like a used one: nothing is said of why.
        """
        good = JoinCode.from_compact(self.invite())
        used = self.invite()
        self.join(self.world.node("seattle", "198.51.100.2"), used)
        node = self.world.node("tacoma", "198.51.100.3")
        wrong = replace(good, secret=Secret(bytes(16)))
        self.assertEqual(self.refused(node, wrong.code), self.refused(node, used))

    def test_guessing(self) -> None:
        """
        Whoever tries too often is not even listened to for a while.
        """
        good = self.invite()
        code = JoinCode.from_compact(good)
        wrong = replace(code, secret=Secret(bytes(16))).code
        node = self.world.node("seattle", "198.51.100.2")
        for _ in range(15):
            self.refused(node, wrong)
        self.refused(node, good)
        self.world.network.advance(60)
        self.join(node, good)

    def test_no_code(self) -> None:
        """
        Text that is no code is none, whatever it is.
        """
        node = self.world.node("seattle", "198.51.100.2")
        for text in ("", "hello", "atm1-", "atm1-e30", self.invite()[:-9]):
            self.refused(node, text)

    def test_nobody_there(self) -> None:
        """
        An issuer that does not run is not waited for longer than half a minute.
        """
        code = self.invite()
        self.admin.kill(is_silent=True)
        node = self.world.node("seattle", "198.51.100.2")
        begun = self.world.clock.seconds()
        error = self.assertRaises(NoPathError, self.join, node, code)
        self.assertIn("is it running", str(error))
        self.assertLess(self.world.clock.seconds() - begun, 50)
        self.admin.restart()
        self.world.network.advance(1)
        self.join(node, code)

    def test_issuer_dies(self) -> None:
        """
        An issuer that dies in the middle is given up as soon as its silence is
        noticed, and asked again when it is back.
        """
        code = JoinCode.from_compact(self.invite())
        node = self.world.node("seattle", "198.51.100.2")
        wrong = replace(code, secret=Secret(bytes(16))).code
        joining = node.service.join(wrong)
        joining.addErrback(lambda failure: failure.trap(JoinError))
        self.world.until(lambda: node.service.links.endpoint.links)
        self.world.network.advance(0.3)
        self.admin.kill(is_silent=True)
        self.assertLess(self.world.until(lambda: not node.service.links.endpoint.links), 9)
        self.admin.restart()
        self.world.until(lambda: joining.called, 30)

    def test_in_a_mesh_already(self) -> None:
        """
        A member leaves before it joins another mesh, and needs not join its own.
        """
        node = self.world.node("seattle", "198.51.100.2")
        self.join(node, self.invite())
        self.assertIn("already", str(self.assertRaises(JoinError, self.join, node, self.invite())))
        self.failureResultOf(node.service.invite(hours=1, uses=1, mesh_name=None), JoinError)
        other = self.world.node("boston", "198.51.100.3")
        self.world.network.advance(1)
        made = self.world.result(other.service.invite(hours=1, uses=1, mesh_name="other"))
        error = self.assertRaises(JoinError, self.join, node, made["code"])
        self.assertIn("atmosphere leave", str(error))

    def test_junk(self) -> None:
        """
        One who says something else on that stream is cut off, and nobody else.
        """
        node = self.world.node("seattle", "198.51.100.2")
        self.invite()
        self.world.network.advance(1)
        links = node.service.links
        dialling = links.endpoint.dial(
            self.admin.key.node_id, links.ways_to(self.admin.key.node_id, endpoints=())
        )
        link = self.world.result(dialling)
        lost: list[object] = []

        class Rude(Protocol):
            """
            Says something else.
            """

            @override
            def connectionMade(self) -> None:
                """
                Say it.
                """
                assert self.transport is not None
                self.transport.write(b"GET / HTTP/1.1\r\n\r\n" * 100)

            @override
            def connectionLost(self, reason: object = None) -> None:
                """
                Note the end.
                """
                lost.append(reason)

        link.open_stream(SERVICE, Rude())
        self.world.until(lambda: lost, 10)
        self.join(node, self.invite())
