"""
Tests for L{atmosphere.node.relaying}.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase
from typing_extensions import override

from atmosphere.errors import JoinError, MembershipError
from atmosphere.identity import NodeKey
from atmosphere.membership import found_mesh
from atmosphere.mesh.join_code import JoinCode, issue_join_code
from atmosphere.network.relay.frames import Hello, HelloCredentials
from atmosphere.network.relay.limits import RelayConfig
from atmosphere.node.relaying import relay_admission
from atmosphere.testing import seeded_entropy

ISSUER, JOINER, ROOT = (NodeKey(bytes([number]) * 32) for number in (1, 2, 3))


class RelayAdmissionTests(SynchronousTestCase):
    """
    A relay of one mesh lets in those who hold a join code of it.
    """

    @override
    def setUp(self) -> None:
        """
        Make a mesh, a code, and the relay's decision.
        """
        entropy = seeded_entropy(1)
        self.wall = 1_800_000_000.0
        chain = found_mesh(ROOT, ISSUER.node_id, "issuer", wall=self.wall, entropy=entropy)
        self.code = issue_join_code(
            ISSUER,
            chain,
            mesh_name="home",
            endpoint="192.0.2.1:7777",
            wall=self.wall,
            entropy=entropy,
        )
        self.admit = relay_admission(
            RelayConfig(meshes=(self.code.mesh_id,)), wall=lambda: self.wall
        )

    def hello(self, code: JoinCode, ticket: bytes) -> Hello:
        """
        Greet with a ticket.
        """
        shown = HelloCredentials(code.mesh_id, ticket=ticket)
        return Hello(JOINER.node_id, "relay:8080", bytes(16), shown, bytes(64))

    def test_ticket(self) -> None:
        """
        The ticket lets its holder reach the code's issuer, and nobody else.
        """
        admission = self.admit(self.hello(self.code, self.code.ticket()))
        self.assertEqual(admission.only_to, frozenset({ISSUER.node_id}))
        self.assertFalse(admission.is_proven)
        self.assertEqual(admission.expires, self.code.expires_at)

    def test_bad_tickets(self) -> None:
        """
        A damaged ticket, an expired one, or none, lets nobody in.
        """
        ticket = self.code.ticket()
        damaged = ticket[:-1] + bytes([ticket[-1] ^ 1])
        self.assertRaises(JoinError, self.admit, self.hello(self.code, damaged))
        self.assertRaises(MembershipError, self.admit, self.hello(self.code, b""))
        self.wall += 8 * 86400
        self.assertRaises(JoinError, self.admit, self.hello(self.code, ticket))
