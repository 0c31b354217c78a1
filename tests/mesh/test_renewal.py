"""
Tests for L{atmosphere.mesh.renewal}.
"""

from hypothesis import given, settings, strategies as st
from twisted.trial.unittest import SynchronousTestCase

from atmosphere.errors import MembershipError
from atmosphere.identity import NodeID
from atmosphere.membership import (
    RevocationList,
    decode_chain,
    issue_revocations,
    membership_of,
)
from atmosphere.mesh.framing import encode_message
from atmosphere.mesh.issuer import Broken
from atmosphere.mesh.joiner import Declined
from atmosphere.mesh.renewal import (
    RenewalAsked,
    RenewalIssuer,
    Renewed,
    Renewing,
    renewal_rule,
)
from tests.mesh_fixtures import (
    ADMIN_CHAIN,
    ADMIN_KEY,
    ALICE,
    ALICE_CHAIN,
    BOB,
    ROOT,
    WALL,
    Counted,
    admit,
)

DAY = 86400
DUE = WALL + 16 * DAY
HELD = membership_of(decode_chain(ALICE_CHAIN))


def decide(
    chain: bytes = ALICE_CHAIN,
    node: NodeID = ALICE.node_id,
    *,
    wall: float = DUE,
    revocations: RevocationList | None = None,
) -> bytes:
    """
    Ask the rule as the admin.
    """
    return renewal_rule(
        RenewalAsked(node, chain),
        ADMIN_KEY,
        ADMIN_CHAIN,
        wall=wall,
        entropy=Counted(),
        revocations=revocations,
    )


class RenewalTests(SynchronousTestCase):
    """
    A member stays one.
    """

    def test_renewed(self) -> None:
        """
        A member that is due gets thirty days more, under the name that it has.
        """
        member, admin = Renewing(HELD, ALICE_CHAIN), RenewalIssuer(ALICE.node_id)
        outcomes = [admin.receive(bytes([octet])) for octet in member.start()]
        self.assertEqual(outcomes.pop(), RenewalAsked(ALICE.node_id, ALICE_CHAIN))
        self.assertFalse(any(outcomes))
        data = admin.renew(decide())
        endings = [member.receive(bytes([octet]), DUE) for octet in data]
        found = endings.pop()
        assert isinstance(found, Renewed)
        self.assertFalse(any(endings))
        self.assertEqual(found.membership.name, "seattle")
        self.assertEqual(found.membership.not_after, DUE + 30 * DAY)
        self.assertIsNone(member.receive(data, DUE))

    def test_not_renewed(self) -> None:
        """
        Who is not due, has ended, was revoked, or shows the chain of another is refused.
        """
        revoked = issue_revocations(
            ADMIN_KEY, ADMIN_CHAIN, wall=WALL, current=None, keys=[ALICE.node_id]
        )
        for chain, node, wall, revocations in (
            (ALICE_CHAIN, ALICE.node_id, WALL + 14 * DAY, None),
            (ALICE_CHAIN, ALICE.node_id, WALL + 31 * DAY, None),
            (ALICE_CHAIN, ALICE.node_id, DUE, revoked),
            (ALICE_CHAIN, BOB.node_id, DUE, None),
            (b"", ALICE.node_id, DUE, None),
        ):
            self.assertRaises(
                MembershipError, decide, chain, node, wall=wall, revocations=revocations
            )
        asked = RenewalAsked(ALICE.node_id, ALICE_CHAIN)
        self.assertRaises(
            MembershipError,
            renewal_rule,
            asked,
            ADMIN_KEY,
            b"",
            wall=DUE,
            entropy=Counted(),
            revocations=None,
        )

    def test_admins_are_renewed_by_the_root(self) -> None:
        """
        An admin cannot renew itself; the root can.
        """
        asked = RenewalAsked(ADMIN_KEY.node_id, ADMIN_CHAIN)
        wall = WALL + 50 * DAY
        for key in (ADMIN_KEY, ROOT):
            try:
                chain = renewal_rule(
                    asked, key, ADMIN_CHAIN, wall=wall, entropy=Counted(), revocations=None
                )
            except MembershipError as error:
                self.assertIs(key, ADMIN_KEY)
                self.assertIn("only a root", str(error))
            else:
                self.assertIs(key, ROOT)
                found = membership_of(decode_chain(chain))
                self.assertTrue(found.is_admin)
                self.assertEqual(found.not_after, wall + 90 * DAY)

    def test_refused(self) -> None:
        """
        The member is told why, and its screen is safe.
        """
        found = Renewing(HELD, ALICE_CHAIN).receive(
            RenewalIssuer(ALICE.node_id).refuse("no\x1b[2J"), DUE
        )
        self.assertEqual(found, Declined("no\\x1b[2J", is_final=True))

    def test_admin_lies(self) -> None:
        """
        Another name, an earlier end, another node's chain or no chain is not taken.
        """
        for data in (
            encode_message({"renewed": admit(ALICE.node_id, "other", wall=DUE)}),
            encode_message({"renewed": ALICE_CHAIN}),
            encode_message({"renewed": admit(BOB.node_id, "seattle", wall=DUE)}),
            encode_message({"renewed": b""}),
            encode_message({"renewed": ALICE_CHAIN, "more": 1}),
            encode_message({"refused": "no", "more": 1}),
            encode_message({}),
            b"\xff\xff",
        ):
            found = Renewing(HELD, ALICE_CHAIN).receive(data, DUE)
            assert isinstance(found, Declined)
            self.assertFalse(found.is_final)

    def test_member_lies(self) -> None:
        """
        What is no request, or more than one, ends the conversation.
        """
        good = Renewing(HELD, ALICE_CHAIN).start()
        for data in (
            good + good,
            encode_message({"renew": b""}),
            encode_message({"x": 1}),
            b"\xff\xff",
        ):
            self.assertIsInstance(RenewalIssuer(ALICE.node_id).receive(data), Broken)

    @settings(derandomize=True, max_examples=200, deadline=None)
    @given(st.binary(max_size=100), st.booleans())
    def test_any_bytes(self, data: bytes, is_framed: bool) -> None:
        """
        Any bytes are refused, or wait for more.
        """
        if is_framed:
            data = len(data).to_bytes(2, "big") + data
        asked = RenewalIssuer(ALICE.node_id).receive(data)
        self.assertNotIsInstance(asked, RenewalAsked)
        self.assertNotIsInstance(Renewing(HELD, ALICE_CHAIN).receive(data, DUE), Renewed)
