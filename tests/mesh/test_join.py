"""
Tests for L{atmosphere.mesh.joiner} and L{atmosphere.mesh.issuer}.
"""

from dataclasses import replace

from hypothesis import given, settings, strategies as st
from twisted.trial.unittest import SynchronousTestCase

from atmosphere.errors import JoinError
from atmosphere.identity import Secret
from atmosphere.membership import found_mesh, issue_revocations
from atmosphere.mesh.framing import encode_message
from atmosphere.mesh.invitation import Reason, Redeemed, Refused, invitation_of, redeem_rule
from atmosphere.mesh.issuer import REFUSAL, Broken, Issuer, RedeemAsked
from atmosphere.mesh.join_code import JoinCode, issue_join_code
from atmosphere.mesh.joiner import MAXIMUM_TOTAL, Admitted, Declined, Joiner
from tests.mesh_fixtures import (
    ADMIN_CHAIN,
    ADMIN_KEY,
    ALICE,
    ALICE_CHAIN,
    BOB,
    MESH,
    STRANGER,
    WALL,
    Counted,
    admit,
)

ISSUER = ADMIN_KEY.node_id
BINDING = b"b" * 32
CODE = issue_join_code(
    ADMIN_KEY,
    ADMIN_CHAIN,
    mesh_name="home",
    endpoint="192.0.2.1:7777",
    wall=WALL,
    entropy=Counted(),
)
HELD = invitation_of(CODE)


def make_joiner(
    code: JoinCode = CODE, *, binding: bytes = BINDING, name: str = "Seattle"
) -> Joiner:
    """
    Make Alice's side.
    """
    return Joiner(code, ALICE.node_id, issuer=ISSUER, binding=binding, wanted_name=name)


def ask(joiner: Joiner, issuer: Issuer) -> RedeemAsked:
    """
    Carry the request over, byte by byte.
    """
    outcomes = [issuer.receive(bytes([octet])) for octet in joiner.start()]
    asked = outcomes.pop()
    assert isinstance(asked, RedeemAsked) and not any(outcomes)
    return asked


class ConversationTests(SynchronousTestCase):
    """
    A machine with a code becomes a member.
    """

    def test_admitted(self) -> None:
        """
        The joiner gets its chain, the list of the revoked and the members.
        """
        joiner, issuer = make_joiner(), Issuer(ALICE.node_id, binding=BINDING)
        asked = ask(joiner, issuer)
        self.assertEqual(asked.wanted_name, "Seattle")
        outcome = redeem_rule(HELD, asked.joiner, asked.proof, asked.binding, ISSUER, WALL)
        self.assertIsInstance(outcome, Redeemed)
        revocations = issue_revocations(
            ADMIN_KEY, ADMIN_CHAIN, wall=WALL, current=None, keys=[STRANGER.node_id]
        )
        members = [(ADMIN_CHAIN, None), (ALICE_CHAIN, b"record")]
        data = issuer.admit(ALICE_CHAIN, "home", revocations=revocations.encoded, members=members)
        outcomes = [joiner.receive(bytes([octet]), WALL) for octet in data]
        found = outcomes.pop()
        assert isinstance(found, Admitted)
        self.assertFalse(any(outcomes))
        self.assertEqual(found.membership.name, "seattle")
        self.assertEqual(found.membership.mesh_id, MESH)
        self.assertEqual(found.chain, ALICE_CHAIN)
        self.assertEqual(found.mesh_name, "home")
        self.assertEqual(found.revocations, revocations)
        self.assertEqual(found.members, tuple(members))
        self.assertIsNone(joiner.end())
        self.assertIsNone(joiner.receive(data, WALL))

    def test_refused(self) -> None:
        """
        All refusals are the same bytes; the joiner is told what to do.
        """
        answers = {Issuer(node, binding=BINDING).refuse() for node in (ALICE.node_id, BOB.node_id)}
        self.assertEqual(len(answers), 1)
        joiner = make_joiner()
        found = joiner.receive(answers.pop(), WALL)
        self.assertEqual(found, Declined(f"{REFUSAL}; ask for a new one", is_final=True))

    def test_wrong_secret(self) -> None:
        """
        A code with another secret, or another link, is not redeemed.
        """
        for joiner in (
            make_joiner(replace(CODE, secret=Secret(b"x" * 16))),
            make_joiner(binding=b"c" * 32),
        ):
            asked = ask(joiner, Issuer(ALICE.node_id, binding=BINDING))
            outcome = redeem_rule(HELD, asked.joiner, asked.proof, BINDING, ISSUER, WALL)
            self.assertEqual(outcome, Refused(Reason.WRONG_SECRET))

    def test_cut_off(self) -> None:
        """
        Cut off after its chain a joiner is a member; before that it is not, and may try again.
        """
        joiner = make_joiner()
        ending = joiner.end()
        assert isinstance(ending, Declined)
        self.assertFalse(ending.is_final)
        data = Issuer(ALICE.node_id, binding=BINDING).admit(ALICE_CHAIN, "home")
        joiner = make_joiner()
        self.assertIsNone(joiner.receive(data[:-5], WALL))
        ending = joiner.end()
        assert isinstance(ending, Admitted)
        self.assertEqual(ending.chain, ALICE_CHAIN)
        self.assertIsNone(joiner.end())

    def test_not_redeemable(self) -> None:
        """
        Old codes, tickets and codes of another issuer are not even tried.
        """
        old = JoinCode("m", "m", "k", "192.0.2.1:7777", WALL, WALL + 1)
        for code in (old, replace(CODE, secret=None), replace(CODE, issuers=(BOB.node_id,))):
            self.assertRaises(JoinError, make_joiner, code)

    def test_many_members(self) -> None:
        """
        Thousands of members are cut to what a joiner reads.
        """
        issuer = Issuer(ALICE.node_id, binding=BINDING)
        data = issuer.admit(ALICE_CHAIN, "home", members=[(ADMIN_CHAIN, bytes(2048))] * 1000)
        self.assertLessEqual(len(data), MAXIMUM_TOTAL)
        found = make_joiner().receive(data, WALL)
        assert isinstance(found, Admitted)
        self.assertGreater(len(found.members), 400)

    def test_empty_name(self) -> None:
        """
        Who has no wish is asked nothing, and long wishes are cut.
        """
        for name in ("", "x" * 1000):
            ask(make_joiner(name=name), Issuer(ALICE.node_id, binding=BINDING))


class HostileTests(SynchronousTestCase):
    """
    Neither side believes the other.
    """

    def test_issuer_lies(self) -> None:
        """
        A chain of another mesh or node, a forged list, or a message out of turn is no admission.
        """
        own = found_mesh(STRANGER, ALICE.node_id, "seattle", wall=WALL, entropy=Counted())
        admitted = encode_message({"admitted": ALICE_CHAIN, "mesh": "home"})
        bad_list = issue_revocations(STRANGER, own, wall=WALL, current=None).encoded
        for data in (
            encode_message({"admitted": own, "mesh": "home"}),
            encode_message({"admitted": admit(BOB.node_id, "b"), "mesh": "home"}),
            encode_message({"admitted": b"", "mesh": "home"}),
            encode_message({"admitted": ALICE_CHAIN, "mesh": "home", "more": 1}),
            encode_message({"admitted": ALICE_CHAIN}),
            encode_message({"done": True}),
            encode_message({}),
            b"\xff\xff",
            admitted + encode_message({"revocations": bad_list}),
            admitted + encode_message({"members": [[b"", None]]}),
            admitted + encode_message({"members": [[ADMIN_CHAIN, b"x" * 2049]]}),
            admitted + encode_message({"members": [[ADMIN_CHAIN]]}),
            admitted + encode_message({"members": [1]}),
            admitted + admitted,
        ):
            found = make_joiner().receive(data, WALL)
            assert isinstance(found, Declined), found
            self.assertFalse(found.is_final)

    def test_refusal_is_escaped(self) -> None:
        """
        What an issuer says cannot draw on the joiner's screen.
        """
        found = make_joiner().receive(encode_message({"refused": "\x1b[2J"}), WALL)
        assert isinstance(found, Declined)
        self.assertNotIn("\x1b", found.reason)

    def test_joiner_lies(self) -> None:
        """
        A request that is none, too long, or not the only one ends the conversation.
        """
        good = make_joiner().start()
        for data in (
            good + good,
            encode_message({"redeem": b"x"}),
            encode_message({"redeem": b"x" * 16, "proof": b"x" * 32, "name": "n", "more": 1}),
            encode_message({"redeem": b"x" * 16, "proof": b"x" * 32, "name": "n" * 256}),
            b"\x10\x01",
            bytes(5000),
        ):
            outcome = Issuer(ALICE.node_id, binding=BINDING).receive(data)
            self.assertIsInstance(outcome, Broken, data)
        issuer = Issuer(ALICE.node_id, binding=BINDING)
        issuer.receive(good)
        self.assertIsInstance(issuer.receive(good), Broken)

    @settings(derandomize=True, max_examples=200, deadline=None)
    @given(st.binary(max_size=100), st.booleans())
    def test_any_bytes(self, data: bytes, is_framed: bool) -> None:
        """
        Any bytes are refused, or wait for more.
        """
        if is_framed:
            data = len(data).to_bytes(2, "big") + data
        self.assertNotIsInstance(Issuer(ALICE.node_id, binding=BINDING).receive(data), RedeemAsked)
        self.assertNotIsInstance(make_joiner().receive(data, WALL), Admitted)
