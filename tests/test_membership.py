"""
Tests for L{atmosphere.membership}.
"""

from dataclasses import replace

from twisted.trial.unittest import SynchronousTestCase

from atmosphere import wire
from atmosphere.certificates import CERTIFICATE_DOMAIN, REVOCATIONS_DOMAIN, decode_certificate
from atmosphere.errors import MembershipError
from atmosphere.identity import NodeID, NodeKey
from atmosphere.membership import (
    ADMIN,
    MEMBER,
    RELAY,
    RevocationList,
    decode_chain,
    encode_chain,
    found_mesh,
    issue_certificate,
    issue_revocations,
    membership_of,
    renew_certificate,
    verify_chain,
    verify_revocations,
)
from atmosphere.statements import sign_statement
from tests.mesh_fixtures import (
    ADMIN_CHAIN,
    ADMIN_KEY,
    ALICE,
    BOB,
    ROOT,
    STRANGER,
    WALL,
    Counted,
    admit,
    make_admin,
)

DAY = 86400
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


class MemberTests(ChainCase):
    """
    A chain from the genesis down makes a member.
    """

    def test_founder(self) -> None:
        """
        Who founds a mesh is its first admin, for 90 days.
        """
        found = verify_chain(
            ADMIN_CHAIN, ADMIN_KEY.node_id, mesh_id=MESH, wall=WALL, revocations=None
        )
        self.assertEqual(found.name, "portland")
        self.assertEqual(found.roles, {MEMBER, ADMIN})
        self.assertTrue(found.is_admin)
        self.assertEqual(found.not_after, WALL + 90 * DAY)

    def test_member(self) -> None:
        """
        Whom an admin admits is a member, for 30 days.
        """
        found = verify_chain(ALICE_CHAIN, ALICE.node_id, mesh_id=None, wall=WALL, revocations=None)
        self.assertEqual(found.mesh_id, MESH)
        self.assertEqual(found.node, ALICE.node_id)
        self.assertEqual(found.name, "seattle")
        self.assertEqual(found.roles, {MEMBER})
        self.assertEqual(found.not_after, WALL + 30 * DAY)
        self.assertEqual(found.issuer, ADMIN_KEY.node_id)
        self.assertEqual(found, membership_of(decode_chain(ALICE_CHAIN)))

    def test_by_the_root(self) -> None:
        """
        A root may admit members itself.
        """
        chain = issue_certificate(
            ROOT,
            encode_chain(GENESIS, []),
            BOB.node_id,
            "tacoma",
            roles=frozenset({MEMBER, RELAY}),
            wall=WALL,
            entropy=Counted(),
        )
        found = verify_chain(chain, BOB.node_id, mesh_id=MESH, wall=WALL, revocations=None)
        self.assertEqual(found.roles, {MEMBER, RELAY})

    def test_ends_with_the_issuer(self) -> None:
        """
        Nobody's certificate outlasts its issuer's.
        """
        late = WALL + 80 * DAY
        chain = admit(ALICE.node_id, "seattle", wall=late)
        found = verify_chain(chain, ALICE.node_id, mesh_id=MESH, wall=late, revocations=None)
        self.assertEqual(found.not_after, WALL + 90 * DAY)

    def test_clocks_may_differ(self) -> None:
        """
        Ten minutes on either side are forgiven, not more.
        """
        end = WALL + 30 * DAY
        for wall in (WALL - 600, end + 600):
            verify_chain(ALICE_CHAIN, ALICE.node_id, mesh_id=MESH, wall=wall, revocations=None)
        self.assert_refused("not valid yet", ALICE_CHAIN, wall=WALL - 601)
        self.assert_refused("expired", ALICE_CHAIN, wall=end + 601)

    def test_renewal_is_due(self) -> None:
        """
        Due from half of the lifetime on, a warning in the last 7 days.
        """
        found = membership_of(decode_chain(ALICE_CHAIN))
        self.assertFalse(found.is_renewal_due(WALL + 15 * DAY - 1))
        self.assertTrue(found.is_renewal_due(WALL + 15 * DAY))
        self.assertFalse(found.is_ending(WALL + 23 * DAY - 1))
        self.assertTrue(found.is_ending(WALL + 23 * DAY))
        short = membership_of(decode_chain(admit(ALICE.node_id, "s", lifetime=DAY)))
        self.assertFalse(short.is_ending(WALL))
        self.assertTrue(short.is_ending(WALL + DAY / 2))


class ForgeryTests(ChainCase):
    """
    Nothing else makes a member.
    """

    def test_another_holder(self) -> None:
        """
        A chain is of no use to another node.
        """
        self.assert_refused("another node", ALICE_CHAIN, BOB.node_id)

    def test_another_mesh(self) -> None:
        """
        A mesh of one's own, or a certificate out of one, gives nothing here.
        """
        own = found_mesh(STRANGER, ALICE.node_id, "seattle", wall=WALL, entropy=Counted())
        self.assert_refused("another mesh", own)
        mixed = encode_chain(GENESIS, parts(own))
        self.assert_refused("another mesh", mixed)
        claimed = sign(STRANGER, parts(own)[0], k1=MESH)
        self.assert_refused("may not", encode_chain(GENESIS, [claimed]))

    def test_wrong_signatures(self) -> None:
        """
        Each signature of a chain is checked, and is good for one purpose only.
        """
        above, leaf = parts(ALICE_CHAIN)
        for first, second in (
            (above, leaf[:-1] + bytes([leaf[-1] ^ 1])),
            (above[:-1] + bytes([above[-1] ^ 1]), leaf),
            (above, sign(STRANGER, leaf)),
            (sign(STRANGER, above), leaf),
            (above, leaf[:-64] + ADMIN_KEY.sign(b"another domain\0" + leaf[:-64])),
            (above, leaf[:-64] + ADMIN_KEY.sign(leaf[:-64])),
        ):
            self.assert_refused("wrong signature", encode_chain(GENESIS, [first, second]))

    def test_member_as_admin(self) -> None:
        """
        A member cannot admit, and an admin cannot make admins.
        """
        leaf = parts(ALICE_CHAIN)[1]
        by_alice = sign(ALICE, leaf, k3=BOB.node_id.raw, k8=ALICE.node_id.raw)
        member = sign(ROOT, leaf, k8=ROOT.node_id.raw)
        chain = encode_chain(GENESIS, [member, by_alice])
        self.assert_refused("no admin", chain, BOB.node_id)
        above = parts(ADMIN_CHAIN)[0]
        promoted = sign(ADMIN_KEY, leaf, k5=3)
        self.assert_refused("only a root", encode_chain(GENESIS, [above, promoted]))
        for roles in (0, 4):
            bare = sign(ADMIN_KEY, leaf, k5=roles)
            self.assert_refused("member", encode_chain(GENESIS, [above, bare]))

    def test_wrong_issuer(self) -> None:
        """
        The issuer that a certificate names is the one above it.
        """
        above, leaf = parts(ALICE_CHAIN)
        other = parts(make_admin(BOB.node_id, "tacoma"))[0]
        self.assert_refused("may not", encode_chain(GENESIS, [other, leaf]))
        self.assert_refused("may not", encode_chain(GENESIS, [leaf]))
        self.assert_refused("may not", encode_chain(GENESIS, [leaf, above]), ADMIN_KEY.node_id)

    def test_longer_chains(self) -> None:
        """
        No third certificate, none at all, and no bytes that are no chain.
        """
        above, leaf = parts(ALICE_CHAIN)
        third = sign(ALICE, leaf, k3=BOB.node_id.raw, k8=ALICE.node_id.raw)
        self.assert_refused("at most 2", encode_chain(GENESIS, [above, leaf, third]), BOB.node_id)
        self.assert_refused("no certificate", encode_chain(GENESIS, []))
        self.assert_refused("cannot be read", b"")
        self.assert_refused("cannot be read", ALICE_CHAIN + b"\0")

    def test_expired_admin(self) -> None:
        """
        A chain ends when the first of its certificates does.
        """
        above, leaf = parts(ALICE_CHAIN)
        long = sign(ADMIN_KEY, leaf, k7=int(WALL + 200 * DAY))
        chain = encode_chain(GENESIS, [above, long])
        self.assertEqual(membership_of(decode_chain(chain)).not_after, WALL + 90 * DAY)
        self.assert_refused("portland has expired", chain, wall=WALL + 91 * DAY)


class IssueTests(SynchronousTestCase):
    """
    Who may issue, and to whom.
    """

    def test_members_cannot(self) -> None:
        """
        Neither a member, nor an admin whose time is over, nor somebody with the chain of another.
        """
        for issuer, authority, wall in (
            (ALICE, ALICE_CHAIN, WALL),
            (ADMIN_KEY, ADMIN_CHAIN, WALL + 91 * DAY),
            (STRANGER, ADMIN_CHAIN, WALL),
            (STRANGER, b"", WALL),
        ):
            self.assertRaises(
                MembershipError,
                issue_certificate,
                issuer,
                authority,
                BOB.node_id,
                "tacoma",
                wall=wall,
                entropy=Counted(),
            )

    def test_admins_come_from_the_root(self) -> None:
        """
        An admin is refused when it would make another.
        """
        arguments = {"wall": WALL, "entropy": Counted(), "roles": frozenset({MEMBER, ADMIN})}
        self.assertRaises(
            MembershipError,
            issue_certificate,
            ADMIN_KEY,
            ADMIN_CHAIN,
            BOB.node_id,
            "tacoma",
            **arguments,
        )

    def test_bad_arguments(self) -> None:
        """
        Names must be valid, and a member is a member.
        """
        for name, roles in (("Bad Name", frozenset({MEMBER})), ("fine", frozenset({RELAY}))):
            self.assertRaises(
                ValueError,
                issue_certificate,
                ADMIN_KEY,
                ADMIN_CHAIN,
                BOB.node_id,
                name,
                roles=roles,
                wall=WALL,
                entropy=Counted(),
            )

    def test_renewal(self) -> None:
        """
        A renewed member keeps name and roles, and has a new serial and end.
        """
        later = WALL + 20 * DAY
        chain = renew_certificate(
            ADMIN_KEY, ADMIN_CHAIN, ALICE_CHAIN, wall=later, entropy=Counted()
        )
        found = verify_chain(chain, ALICE.node_id, mesh_id=MESH, wall=later, revocations=None)
        self.assertEqual(found.name, "seattle")
        self.assertEqual(found.not_after, later + 30 * DAY)
        self.assertNotEqual(found.serial, decode_chain(ALICE_CHAIN).leaf.serial)

    def test_no_renewal(self) -> None:
        """
        Who has expired, was revoked or belongs elsewhere is not renewed.
        """
        revoked = issue_revocations(
            ADMIN_KEY, ADMIN_CHAIN, wall=WALL, current=None, keys=[ALICE.node_id]
        )
        own = found_mesh(STRANGER, ALICE.node_id, "seattle", wall=WALL, entropy=Counted())
        for chain, wall, revocations in (
            (ALICE_CHAIN, WALL + 31 * DAY, None),
            (ALICE_CHAIN, WALL, revoked),
            (own, WALL, None),
            (encode_chain(GENESIS, []), WALL, None),
            (b"", WALL, None),
        ):
            self.assertRaises(
                MembershipError,
                renew_certificate,
                ADMIN_KEY,
                ADMIN_CHAIN,
                chain,
                wall=wall,
                entropy=Counted(),
                revocations=revocations,
            )


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
