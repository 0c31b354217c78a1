"""
Tests for L{atmosphere.mesh.invitation}.
"""

from dataclasses import replace

from twisted.trial.unittest import SynchronousTestCase

from atmosphere.errors import JoinError
from atmosphere.identity import NodeID, Secret
from atmosphere.membership import issue_revocations
from atmosphere.mesh.invitation import (
    MAXIMUM_SOURCES,
    Invitation,
    Reason,
    Redeemed,
    Refused,
    TryLimits,
    invitation_key,
    invitation_of,
    redeem_proof,
    redeem_rule,
)
from atmosphere.mesh.join_code import JoinCode, issue_join_code
from tests.mesh_fixtures import ADMIN_CHAIN, ADMIN_KEY, ALICE, BOB, STRANGER, WALL, Counted

ISSUER = ADMIN_KEY.node_id
BINDING = b"b" * 32
CODE = issue_join_code(
    ADMIN_KEY,
    ADMIN_CHAIN,
    mesh_name="home",
    endpoint="192.0.2.1:7777",
    uses=2,
    wall=WALL,
    entropy=Counted(),
)
HELD = invitation_of(CODE)


def prove(
    joiner: NodeID = ALICE.node_id,
    *,
    key: Secret = HELD.key,
    invite_id: bytes = HELD.invite_id,
    issuer: NodeID = ISSUER,
    binding: bytes = BINDING,
) -> bytes:
    """
    Prove to know the code's secret.
    """
    return redeem_proof(key, invite_id, issuer=issuer, joiner=joiner, binding=binding)


class RedeemTests(SynchronousTestCase):
    """
    Each use of a code is given to one node, once.
    """

    def ask(
        self,
        invitation: Invitation | None,
        joiner: NodeID = ALICE.node_id,
        *,
        proof: bytes | None = None,
        wall: float = WALL,
    ) -> Redeemed | Refused:
        """
        Ask the rule on behalf of the issuer.
        """
        proof = prove(joiner) if proof is None else proof
        return redeem_rule(invitation, joiner, proof, BINDING, ISSUER, wall)

    def redeem(self, invitation: Invitation, joiner: NodeID) -> Invitation:
        """
        Redeem, and say what is kept then.
        """
        outcome = self.ask(invitation, joiner)
        assert isinstance(outcome, Redeemed)
        self.assertFalse(outcome.is_repeat)
        return outcome.invitation

    def test_each_joiner_counts_once(self) -> None:
        """
        Two nodes use up a code for two; a third is refused, the two may repeat.
        """
        first = self.redeem(HELD, ALICE.node_id)
        self.assertEqual(first.redeemed_by, (ALICE.node_id,))
        self.assertEqual(self.ask(first), Redeemed(first, is_repeat=True))
        second = self.redeem(first, BOB.node_id)
        self.assertEqual(self.ask(second, STRANGER.node_id), Refused(Reason.USED))
        for joiner in (ALICE.node_id, BOB.node_id):
            self.assertEqual(self.ask(second, joiner), Redeemed(second, is_repeat=True))

    def test_expiry(self) -> None:
        """
        After its end a code admits nobody; who lost the reply has ten minutes more.
        """
        end = CODE.expires_at
        used = self.redeem(HELD, ALICE.node_id)
        self.assertIsInstance(self.ask(HELD, wall=end - 1), Redeemed)
        self.assertEqual(self.ask(HELD, wall=end), Refused(Reason.EXPIRED))
        self.assertIsInstance(self.ask(used, wall=end + 599), Redeemed)
        self.assertEqual(self.ask(used, wall=end + 600), Refused(Reason.EXPIRED))

    def test_revoked(self) -> None:
        """
        A revoked invitation and a revoked node get nothing, repeated or not.
        """
        used = self.redeem(HELD, ALICE.node_id)
        for held in (HELD, used):
            self.assertEqual(self.ask(replace(held, revoked=True)), Refused(Reason.REVOKED))
        revocations = issue_revocations(
            ADMIN_KEY, ADMIN_CHAIN, wall=WALL, current=None, keys=[ALICE.node_id]
        )
        outcome = redeem_rule(
            used, ALICE.node_id, prove(), BINDING, ISSUER, WALL, revocations=revocations
        )
        self.assertEqual(outcome, Refused(Reason.NODE_REVOKED))

    def test_unknown(self) -> None:
        """
        Without an invitation no proof is right, not even one with an empty key.
        """
        empty = prove(key=Secret(bytes(32)), invite_id=bytes(16))
        for proof in (prove(), empty, b""):
            self.assertEqual(self.ask(None, proof=proof), Refused(Reason.UNKNOWN))

    def test_replayed_proofs(self) -> None:
        """
        A proof is good for one secret, invitation, issuer, joiner and link.
        """
        other = invitation_key(Secret(b"s" * 16), HELD.invite_id)
        for proof in (
            prove(BOB.node_id),
            prove(key=other),
            prove(invite_id=b"i" * 16),
            prove(issuer=STRANGER.node_id),
            prove(binding=b"c" * 32),
            prove()[:-1],
            b"",
        ):
            self.assertEqual(self.ask(HELD, proof=proof), Refused(Reason.WRONG_SECRET))

    def test_wrong_secret_learns_nothing(self) -> None:
        """
        Who does not know the secret is not told that the code is used or over.
        """
        for held in (replace(HELD, revoked=True), replace(HELD, expires_at=0.0)):
            self.assertEqual(self.ask(held, proof=b"x" * 32), Refused(Reason.WRONG_SECRET))

    def test_vector(self) -> None:
        """
        The derivation and the proof of version 1, to the byte.
        """
        self.assertEqual(
            HELD.key.reveal().hex(),
            "10e3907e00caf00fe35137e12890511509ad3854210ba3a73d45283d6e768776",
        )
        self.assertEqual(
            prove().hex(), "13623bcb0dcfbf382c850cd3aba89f16f425b18a10d8b2cd164920ceaa22ff32"
        )
        self.assertNotIn(HELD.key.reveal().hex(), repr(HELD))

    def test_binding_is_needed(self) -> None:
        """
        Without a binding there is no proof, so none that could be replayed.
        """
        for binding in (b"", b"b" * 15, b"b" * 65):
            self.assertRaises(ValueError, prove, binding=binding)

    def test_old_codes_make_no_invitation(self) -> None:
        """
        A code without a secret cannot be kept.
        """
        old = JoinCode("m", "m", "k", "192.0.2.1:7777", WALL, WALL + 1)
        self.assertRaises(JoinError, invitation_of, old)


class TryLimitTests(SynchronousTestCase):
    """
    Guessing is slow, and costs no memory.
    """

    def test_ten_a_minute(self) -> None:
        """
        Ten failures at once, then one each six seconds, for each source by itself.
        """
        limits = TryLimits()
        for _ in range(10):
            self.assertTrue(limits.may_try("192.0.2.1", 5.0))
            limits.failed("192.0.2.1", 5.0)
        self.assertFalse(limits.may_try("192.0.2.1", 5.0))
        self.assertTrue(limits.may_try("192.0.2.2", 5.0))
        self.assertFalse(limits.may_try("192.0.2.1", 10.0))
        self.assertTrue(limits.may_try("192.0.2.1", 11.1))

    def test_success_is_free(self) -> None:
        """
        Any number may join from one place, one after the other.
        """
        limits = TryLimits()
        self.assertTrue(all(limits.may_try("ws://relay", 5.0) for _ in range(1000)))

    def test_bounded(self) -> None:
        """
        Quiet sources are forgotten; under a flood the first ones are.
        """
        limits = TryLimits()
        for number in range(MAXIMUM_SOURCES + 10):
            limits.failed(number, 5.0)
        self.assertEqual(len(limits._sources), MAXIMUM_SOURCES)
        limits.failed("new", 100.0)
        self.assertEqual(len(limits._sources), 1)
