"""
A small mesh with fixed keys, for tests that need one.
"""

from twisted.trial.unittest import SynchronousTestCase

from atmosphere import wire
from atmosphere.certificates import CERTIFICATE_DOMAIN, decode_chain
from atmosphere.errors import MembershipError
from atmosphere.identity import NodeID, NodeKey
from atmosphere.membership import (
    ADMIN,
    MEMBER,
    RevocationList,
    found_mesh,
    issue_certificate,
    verify_chain,
)
from atmosphere.statements import sign_statement

WALL = 1_800_000_000.0

ROOT = NodeKey(b"\x01" * 32)
ADMIN_KEY = NodeKey(b"\x02" * 32)
ALICE = NodeKey(b"\x03" * 32)
BOB = NodeKey(b"\x04" * 32)
STRANGER = NodeKey(b"\x05" * 32)


class Counted:
    """
    Entropy for tests: each call gives other bytes, and every run the same.
    """

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, length: int) -> bytes:
        """
        Give that many bytes.
        """
        self.calls += 1
        return self.calls.to_bytes(length, "big")


ADMIN_CHAIN = found_mesh(ROOT, ADMIN_KEY.node_id, "portland", wall=WALL, entropy=Counted())


#: What the JSON of a code of the original program holds.
OLD_CODE: dict[str, object] = {
    "mesh_id": "home-mesh",
    "mesh_name": "Home",
    "mesh_public_key": "c2VjcmV0",
    "endpoint": "192.168.1.5:7777",
    "created_at": 1700000000.25,
    "expires_at": 1700086400.25,
    "code": "HOME-1234",
    "public_endpoint": None,
    "relay_urls": ["wss://relay.example.org"],
}


def admit(
    node: NodeID, name: str, *, wall: float = WALL, serial: int = 7, lifetime: float | None = None
) -> bytes:
    """
    Make a member, by the admin.
    """
    return issue_certificate(
        ADMIN_KEY,
        ADMIN_CHAIN,
        node,
        name,
        wall=wall,
        entropy=lambda length: serial.to_bytes(length, "big"),
        lifetime=lifetime,
    )


def make_admin(node: NodeID, name: str, *, wall: float = WALL, serial: int = 8) -> bytes:
    """
    Make a further admin, by the root.
    """
    return issue_certificate(
        ROOT,
        ADMIN_CHAIN,
        node,
        name,
        wall=wall,
        entropy=lambda length: serial.to_bytes(length, "big"),
        roles=frozenset({MEMBER, ADMIN}),
    )


FOUNDED = decode_chain(ADMIN_CHAIN)
MESH = FOUNDED.mesh_id
GENESIS = FOUNDED.genesis.encoded
ALICE_CHAIN = admit(ALICE.node_id, "seattle")


def parts(chain: bytes) -> list[bytes]:
    """
    Take the certificates out of a chain.
    """
    return [certificate.encoded for certificate in decode_chain(chain).certificates]


def sign(key: NodeKey, template: bytes, **changes: object) -> bytes:
    """
    Sign a certificate like another, with other entries, C{k3="x"} for entry 3.
    """
    body: dict[int, object] = dict(wire.decode(template[:-64], max_length=1024))
    body |= {int(entry[1:]): value for entry, value in changes.items()}
    return sign_statement(key, CERTIFICATE_DOMAIN, body)


class ChainCase(SynchronousTestCase):
    """
    What both kinds of tests need.
    """

    def assert_refused(
        self,
        reason: str,
        chain: bytes,
        node: NodeID = ALICE.node_id,
        *,
        mesh_id: str | None = MESH,
        wall: float = WALL,
        revocations: RevocationList | None = None,
    ) -> None:
        """
        Check that a chain makes no member, for a reason.
        """
        error = self.assertRaises(
            MembershipError,
            verify_chain,
            chain,
            node,
            mesh_id=mesh_id,
            wall=wall,
            revocations=revocations,
        )
        self.assertIn(reason, str(error))
