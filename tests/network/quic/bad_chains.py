"""
Chains that make nobody a member, for the tests of both sides of a handshake.
"""

from __future__ import annotations

from abc import abstractmethod

from atmosphere.identity import NodeKey
from atmosphere.membership import decode_chain, encode_chain, found_mesh, issue_revocations

from .refused_case import (
    DAY,
    FOUNDER_CHAIN,
    MESH_ID,
    ROOT_KEY,
    STRANGER,
    WALL,
    RefusedCase,
    chain_for,
    entropy,
)

__all__ = ["BadChains"]


class BadChains(RefusedCase):
    """
    Who has proven its key still has to be a member, now and of our mesh.
    """

    @abstractmethod
    def shows(self, chain: bytes, why: str) -> None:
        """
        Have the stranger prove its key and show a chain, and check that it is refused.

        @param why: what is said of it.
        """

    def test_expired(self) -> None:
        """
        A membership that has ended is none.
        """
        self.shows(chain_for(STRANGER, wall=WALL - DAY / 2, lifetime=3600.0), "has expired")

    def test_not_yet_valid(self) -> None:
        """
        One that has yet to begin is none either.
        """
        self.shows(chain_for(STRANGER, wall=WALL + 3600.0), "is not valid yet")

    def test_revoked(self) -> None:
        """
        Who was revoked hears that it was, and gets nothing of ours, whoever has dialled.
        """
        self.node.revocations = issue_revocations(
            ROOT_KEY, FOUNDER_CHAIN, wall=WALL, current=None, keys=[self.stranger.key.node_id]
        )
        self.shows(chain_for(STRANGER), "was revoked")

    def test_other_mesh(self) -> None:
        """
        A member of another mesh is a stranger here.
        """
        root = NodeKey(bytes([77]) * 32)
        chain = found_mesh(
            root, self.stranger.key.node_id, "king", wall=WALL - DAY, entropy=entropy
        )
        self.assertNotEqual(decode_chain(chain).mesh_id, MESH_ID)
        self.shows(chain, "another mesh")

    def test_forged_certificate(self) -> None:
        """
        A certificate in which a bit was changed after it was signed is none.
        """
        whole = decode_chain(chain_for(STRANGER))
        forged = whole.leaf.encoded[:-1] + bytes([whole.leaf.encoded[-1] ^ 1])
        self.shows(encode_chain(whole.genesis.encoded, [forged]), "wrong signature")

    def test_chain_of_another_node(self) -> None:
        """
        A member's chain serves nobody who has not its key.
        """
        self.shows(chain_for(7), "the chain is about another node")
