"""
What the original program promised about joining, and did not keep: a class for
each row of that list, a test for each of its complaints.
"""

from __future__ import annotations

from dataclasses import replace

from twisted.internet.protocol import Factory, Protocol
from typing_extensions import override

from atmosphere.classic.join import JoinCode, MeshJoin, generate_join_code
from atmosphere.errors import DecodeError
from atmosphere.identity import Secret
from atmosphere.mesh.invitation import invitation_of
from atmosphere.mesh.join_code import issue_join_code

from .join_case import RELAY_URL, JoinCase

NOWHERE = "192.168.77.7:7777"


class PromiseCase(JoinCase):
    """
    Programs that join, or do not.
    """

    def code(
        self, endpoint: str, public_endpoint: str | None = None, relays: tuple[str, ...] = ()
    ) -> JoinCode:
        """
        Have the admin's node make a code with just these ways in it.
        """
        service = self.portland.running()
        stored = service.mesh.stored
        assert stored is not None
        made = issue_join_code(
            self.portland.identity.key,
            stored.chain,
            mesh_name=stored.name,
            endpoint=endpoint,
            wall=self.world.wall(),
            entropy=self.place.entropy,
            public_endpoint=public_endpoint,
            relay_urls=relays,
        )
        service.keep_invitation(invitation_of(made))
        return JoinCode.of(made)

    def path_of(self, join: MeshJoin) -> str:
        """
        Say by which way the admin reaches one that has joined.
        """
        (peer,) = [each for each in self.portland.peers() if each["name"] == join.identity.name]
        kind: str = peer["path"]["kind"]
        return kind

    def assert_joins(self, join: MeshJoin, code: JoinCode | str) -> None:
        """
        Check that a code lets a program in.
        """
        done, message, certificate = self.world.result(join.join_by_code(code))
        self.assertTrue(done, message)
        assert certificate is not None
        self.assertEqual(certificate.mesh, self.mesh)

    def assert_refused(self, join: MeshJoin, code: JoinCode | str, words: str) -> None:
        """
        Check that a code lets no program in.
        """
        done, message, certificate = self.world.result(join.join_by_code(code), 120)
        self.assertEqual((done, certificate), (False, None))
        self.assertIn(words, message)
        self.assertEqual(self.portland.peers(), [])


class JoinPromiseTests(PromiseCase):
    """
    "join": posted to a path that was not served; ignored public_endpoint and
    relay_urls; dialled a UDP-mapped port over TCP.
    """

    def test_join_is_served(self) -> None:
        """
        What a joiner sends is answered by the node that the code names.
        """
        join = self.mesh_join("seattle", "198.51.100.2")
        self.assert_joins(join, self.code(self.endpoint))
        self.assertEqual(self.portland.peers()[0]["name"], "seattle")

    def test_join_uses_public_endpoint(self) -> None:
        """
        A joiner that reaches nothing but the public endpoint joins by that.
        """
        join = self.mesh_join("seattle", "203.0.113.9")
        self.assert_refused(join, self.code(NOWHERE), "was not reached")
        self.assert_joins(join, self.code(NOWHERE, self.endpoint))
        self.assertEqual(self.path_of(join), "direct")

    def test_join_uses_relay_urls(self) -> None:
        """
        A joiner that reaches nothing but a relay joins by that.
        """
        join = self.mesh_join("seattle", "203.0.113.9", path_policy="relayed")
        self.assert_joins(join, self.code(NOWHERE, None, (RELAY_URL,)))
        self.assertEqual(self.path_of(join), "relayed")

    def test_join_goes_over_udp(self) -> None:
        """
        A port that a NAT maps for UDP is dialled over UDP, whatever is there for TCP.
        """
        connections: list[object] = []
        host, _, port = self.endpoint.rpartition(":")

        class Trap(Factory[Protocol]):
            """
            Listens on the same port of TCP.
            """

            @override
            def buildProtocol(self, addr: object) -> None:
                """
                Note who comes.
                """
                connections.append(addr)

        self.place.reactor.listenTCP(int(port), Trap())
        join = self.mesh_join("seattle", "203.0.113.9")
        self.assert_joins(join, self.code(NOWHERE, f"{host}:{port}"))
        self.assertEqual(connections, [])


class JoinCodesPromiseTests(PromiseCase):
    """
    "join codes": unsigned, without a secret, expiry checked by the joiner
    only; the short form could not be resolved.
    """

    def test_join_codes_are_signed(self) -> None:
        """
        A code in which anything was changed is none.
        """
        code = self.code(self.endpoint)
        for changed in (
            replace(code, endpoint=NOWHERE),
            replace(code, expires_at=code.expires_at + 3600),
            replace(code, mesh_name="other"),
            replace(code, uses=5),
        ):
            self.assertRaises(DecodeError, JoinCode.from_compact, changed.to_compact())
        join = self.mesh_join("seattle", "198.51.100.2")
        self.assert_refused(join, replace(code, uses=5), "signature")

    def test_join_codes_carry_a_secret(self) -> None:
        """
        Who knows all of a code but its secret is not let in, and the secret
        works once.
        """
        code = self.code(self.endpoint)
        thief = self.mesh_join("thief", "198.51.100.66")
        self.assert_refused(thief, replace(code, secret=Secret(bytes(16))), "not accepted")
        self.assert_joins(self.mesh_join("seattle", "198.51.100.2"), code)
        done, message, _ = self.world.result(thief.join_by_code(code))
        self.assertFalse(done)
        self.assertIn("not accepted", message)

    def test_join_codes_expire_at_the_issuer(self) -> None:
        """
        A joiner that takes an expired code for good, because of its clock, is refused.
        """
        code = self.code(self.endpoint)
        slow = self.mesh_join("seattle", "198.51.100.2")
        then = self.world.wall()
        slow._world.wall = lambda: then
        self.world.skip(25 * 3600)
        self.assert_refused(slow, code, "not accepted")

    def test_short_form_is_the_whole_code(self) -> None:
        """
        What a code calls itself is all that the other machine needs.
        """
        code = generate_join_code(self.portland, self.endpoint, world=self.place)
        self.assertEqual(JoinCode.from_compact(code.code), code)
        self.assert_joins(self.mesh_join("seattle", "198.51.100.2"), code.code)
        plain = generate_join_code(self.mesh, self.endpoint, world=self.place)
        self.assertEqual(JoinCode.from_compact(plain.code), plain)
