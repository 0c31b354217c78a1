"""
A small mesh with fixed keys, for tests that need one.
"""

from atmosphere.identity import NodeID, NodeKey
from atmosphere.membership import ADMIN, MEMBER, found_mesh, issue_certificate

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
