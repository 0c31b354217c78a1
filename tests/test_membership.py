"""
Tests for L{atmosphere.membership}.
"""

from twisted.trial.unittest import SynchronousTestCase

from atmosphere.errors import MembershipError
from atmosphere.membership import (
    ADMIN,
    MEMBER,
    RELAY,
    decode_chain,
    encode_chain,
    found_mesh,
    issue_certificate,
    issue_revocations,
    membership_of,
    renew_certificate,
    verify_chain,
)
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
    make_admin,
    parts,
    sign,
)

DAY = 86400


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
