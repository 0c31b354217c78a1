"""
Tests for L{atmosphere.network.relay.admission}: members, joiners, and everyone else.
"""

from twisted.trial.unittest import SynchronousTestCase
from typing_extensions import override

from atmosphere.errors import MembershipError
from atmosphere.identity import NodeKey
from atmosphere.membership import TOLERANCE, found_mesh, verify_chain
from atmosphere.network.relay.admission import Ticket, membership_admission
from atmosphere.network.relay.frames import Hello, HelloCredentials
from atmosphere.network.relay.limits import RelayConfig
from atmosphere.network.relay.line import Admission
from atmosphere.testing import seeded_entropy

WALL = 1_800_000_000.0
NODE = NodeKey(b"n" * 32).node_id
ISSUER = NodeKey(b"i" * 32).node_id


class AdmissionTests(SynchronousTestCase):
    """
    A relay decides by what a node shows.
    """

    @override
    def setUp(self) -> None:
        """
        Found a mesh of which the node is a member.
        """
        entropy = seeded_entropy("admission")
        self.chain = found_mesh(NodeKey(b"r" * 32), NODE, "anna", wall=WALL, entropy=entropy)
        self.member = verify_chain(self.chain, NODE, mesh_id=None, wall=WALL, revocations=None)
        self.mesh_id = self.member.mesh_id
        self.ticket = Ticket(self.mesh_id, frozenset({ISSUER}), WALL + 100)

    def admit(
        self, credentials: HelloCredentials, *, is_open: bool = False, wall: float = WALL
    ) -> Admission:
        """
        Ask a relay that serves the mesh.
        """
        config = RelayConfig(meshes=(self.mesh_id,), is_open=is_open)
        admit = membership_admission(
            config, wall=lambda: wall, check_ticket=lambda ticket: self.ticket
        )
        return admit(Hello(NODE, "relay:1", bytes(16), credentials, bytes(64)))

    def test_member(self) -> None:
        """
        A member is proven, until its certificate ends.
        """
        admission = self.admit(HelloCredentials(self.mesh_id, self.chain))
        self.assertEqual(
            admission, Admission(True, self.mesh_id, None, self.member.not_after + TOLERANCE)
        )

    def test_not_quite_a_member(self) -> None:
        """
        A chain that is broken, expired or another's is refused, on an open relay too.
        """
        for is_open in (False, True):
            for chain, wall in (
                (self.chain[:-1], WALL),
                (self.chain, self.member.not_after + TOLERANCE + 1),
            ):
                with self.assertRaises(MembershipError):
                    self.admit(HelloCredentials(self.mesh_id, chain), is_open=is_open, wall=wall)

    def test_stranger(self) -> None:
        """
        Who shows nothing is let in by an open relay only.
        """
        for credentials in (
            HelloCredentials(),
            HelloCredentials(self.mesh_id),
            HelloCredentials("mesh-other", self.chain),
        ):
            with self.assertRaises(MembershipError):
                self.admit(credentials)
            self.assertEqual(self.admit(credentials, is_open=True), Admission())

    def test_joiner(self) -> None:
        """
        A ticket opens the way to its issuers until it expires.
        """
        shown = HelloCredentials(self.mesh_id, b"", b"ticket")
        self.assertEqual(
            self.admit(shown),
            Admission(False, self.mesh_id, frozenset({ISSUER}), WALL + 100),
        )
        with self.assertRaises(MembershipError):
            self.admit(shown, wall=WALL + 100)
        self.ticket = Ticket("mesh-other", frozenset({ISSUER}), WALL + 100)
        with self.assertRaises(MembershipError):
            self.admit(shown)

    def test_without_a_check_of_tickets(self) -> None:
        """
        A relay that cannot check tickets takes none.
        """
        admit = membership_admission(RelayConfig(meshes=(self.mesh_id,)), wall=lambda: WALL)
        shown = HelloCredentials(self.mesh_id, b"", b"ticket")
        with self.assertRaises(MembershipError):
            admit(Hello(NODE, "relay:1", bytes(16), shown, bytes(64)))
