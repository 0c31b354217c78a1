"""
Tests for the revocation lists of L{atmosphere.membership}.
"""

from dataclasses import replace

from atmosphere.certificates import REVOCATIONS_DOMAIN, decode_certificate
from atmosphere.errors import MembershipError
from atmosphere.identity import NodeID, NodeKey
from atmosphere.membership import (
    RevocationList,
    decode_chain,
    encode_chain,
    issue_certificate,
    issue_revocations,
    verify_chain,
    verify_revocations,
)
from atmosphere.statements import sign_statement
from tests.mesh_fixtures import (
    ADMIN_CHAIN,
    ADMIN_KEY,
    ALICE,
    ALICE_CHAIN,
    BOB,
    GENESIS,
    MESH,
    ROOT,
    STRANGER,
    WALL,
    ChainCase,
    Counted,
    admit,
    parts,
    sign,
)

DAY = 86400


class RevocationTests(ChainCase):
    """
    What was revoked stays out.
    """

    def revoke(
        self,
        *keys: NodeID,
        serials: tuple[bytes, ...] = (),
        current: RevocationList | None = None,
        wall: float = WALL,
    ) -> RevocationList:
        """
        Revoke as the admin.
        """
        return issue_revocations(
            ADMIN_KEY, ADMIN_CHAIN, wall=wall, current=current, keys=keys, serials=serials
        )

    def test_by_key(self) -> None:
        """
        A revoked node is out with every certificate, and gets no other.
        """
        revoked = self.revoke(ALICE.node_id)
        self.assert_refused("revoked", ALICE_CHAIN, revocations=revoked)
        again = admit(ALICE.node_id, "other", serial=99)
        self.assert_refused("revoked", again, revocations=revoked)
        self.assertRaises(
            MembershipError,
            issue_certificate,
            ADMIN_KEY,
            ADMIN_CHAIN,
            ALICE.node_id,
            "seattle",
            wall=WALL,
            entropy=Counted(),
            revocations=revoked,
        )

    def test_by_serial(self) -> None:
        """
        A revoked certificate is out, another of the same node is not.
        """
        serial = decode_chain(ALICE_CHAIN).leaf.serial
        revoked = self.revoke(serials=(serial,))
        self.assert_refused("revoked", ALICE_CHAIN, revocations=revoked)
        again = admit(ALICE.node_id, "seattle", serial=99)
        verify_chain(again, ALICE.node_id, mesh_id=MESH, wall=WALL, revocations=revoked)

    def test_admin(self) -> None:
        """
        With a revoked admin go those that it admitted.
        """
        revoked = issue_revocations(
            ROOT, ADMIN_CHAIN, wall=WALL, current=None, keys=[ADMIN_KEY.node_id]
        )
        self.assert_refused("revoked", ALICE_CHAIN, revocations=revoked)
        self.assertRaises(MembershipError, self.revoke, BOB.node_id, current=revoked)

    def test_lists_grow(self) -> None:
        """
        The next list holds what the one before held, and has the next epoch.
        """
        first = self.revoke(ALICE.node_id)
        second = self.revoke(BOB.node_id, current=first)
        self.assertEqual(second.epoch, 2)
        self.assertEqual(second.keys, {ALICE.node_id, BOB.node_id})
        for current in (None, first, second):
            found = verify_revocations(second.encoded, mesh_id=MESH, wall=WALL, current=current)
            self.assertEqual(found, second)
        error = self.assertRaises(
            MembershipError,
            verify_revocations,
            first.encoded,
            mesh_id=MESH,
            wall=WALL,
            current=second,
        )
        self.assertIn("older", str(error))

    def test_same_epoch(self) -> None:
        """
        Of two lists with the same epoch all nodes keep the same one.
        """
        lists = [self.revoke(node) for node in (ALICE.node_id, BOB.node_id)]
        kept = []
        for order in (lists, lists[::-1]):
            current: RevocationList | None = None
            for one in order:
                try:
                    current = verify_revocations(
                        one.encoded, mesh_id=MESH, wall=WALL, current=current
                    )
                except MembershipError:
                    continue
            kept.append(current)
        self.assertEqual(kept[0], kept[1])

    def test_signer_may_have_ended(self) -> None:
        """
        A list outlives the certificate of its signer.
        """
        revoked = self.revoke(ALICE.node_id, wall=WALL + 80 * DAY)
        found = verify_revocations(
            revoked.encoded, mesh_id=MESH, wall=WALL + 200 * DAY, current=None
        )
        self.assertEqual(found, revoked)

    def test_forged(self) -> None:
        """
        Only a root or an admin signs, for its own mesh, at a time that has come.
        """
        body = {0: 1, 1: MESH, 2: 1, 3: int(WALL), 4: [], 5: [], 6: ALICE.node_id.raw}
        above, leaf = parts(ALICE_CHAIN)

        def encode(key: NodeKey, between: list[bytes], **changes: object) -> bytes:
            values = body | {6: key.node_id.raw}
            values |= {int(entry[1:]): value for entry, value in changes.items()}
            return encode_chain(
                GENESIS, [*between, sign_statement(key, REVOCATIONS_DOMAIN, values)]
            )

        good = encode(ADMIN_KEY, [above])
        verify_revocations(good, mesh_id=MESH, wall=WALL, current=None)
        by_root = sign(ROOT, leaf, k8=ROOT.node_id.raw)
        for bad in (
            b"",
            good[:-1] + bytes([good[-1] ^ 1]),
            encode(STRANGER, []),
            encode(ALICE, [by_root]),
            encode(ALICE, [above]),
            encode(ADMIN_KEY, []),
            encode(STRANGER, [above], k6=ADMIN_KEY.node_id.raw),
            encode(ADMIN_KEY, [above], k3=int(WALL + 601)),
            encode(ADMIN_KEY, [above], k2=2**32 + 1),
            encode(ADMIN_KEY, [sign(STRANGER, above)]),
        ):
            self.assertRaises(
                MembershipError, verify_revocations, bad, mesh_id=MESH, wall=WALL, current=None
            )
        self.assertRaises(
            MembershipError,
            verify_revocations,
            good,
            mesh_id="mesh-" + "a" * 26,
            wall=WALL,
            current=None,
        )
        self.assertRaises(
            MembershipError,
            issue_revocations,
            ALICE,
            ALICE_CHAIN,
            wall=WALL,
            current=None,
        )

    def test_another_meshs_list(self) -> None:
        """
        A list says nothing about another mesh.
        """
        revoked = replace(self.revoke(ALICE.node_id), mesh_id="mesh-" + "a" * 26)
        verify_chain(ALICE_CHAIN, ALICE.node_id, mesh_id=MESH, wall=WALL, revocations=revoked)

    def test_too_many(self) -> None:
        """
        A list has an end; so many would not fit any more.
        """
        serials = tuple(number.to_bytes(16, "big") for number in range(513))
        self.assertRaises(MembershipError, self.revoke, serials=serials)
        full = self.revoke(serials=serials[:512])
        self.assertLess(len(full.encoded), 16384)
        self.assertEqual(decode_certificate(parts(ALICE_CHAIN)[1]).name, "seattle")
