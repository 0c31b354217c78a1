"""
Tests for L{atmosphere.mesh.request}, and for both sides of a conversation about one.
"""

from __future__ import annotations

from hypothesis import given, settings, strategies as st
from twisted.trial.unittest import SynchronousTestCase

from atmosphere import wire
from atmosphere.errors import DecodeError
from atmosphere.mesh.framing import encode_message
from atmosphere.mesh.issuer import Broken, Issuer, RequestAsked
from atmosphere.mesh.joiner import Admitted, Declined, Requester, Waiting
from atmosphere.mesh.request import decode_request, make_request
from atmosphere.statements import Fields
from tests.mesh_fixtures import ADMIN_KEY, ALICE, ALICE_CHAIN, BOB, MESH, WALL

ISSUER = ADMIN_KEY.node_id
BINDING = b"b" * 32

words = st.text(st.characters(exclude_categories=["Cs", "C", "Z"]), min_size=1, max_size=32)


def make_requester(**changes: object) -> Requester:
    """
    Make Alice's side.
    """
    told: dict[str, object] = {
        "mesh_id": MESH,
        "issuer": ISSUER,
        "binding": BINDING,
        "wanted_name": "Seattle",
    }
    return Requester(ALICE, **{**told, **changes})  # type: ignore[arg-type]


def ask(requester: Requester, binding: bytes = BINDING) -> RequestAsked:
    """
    Carry the request over, byte by byte.
    """
    issuer = Issuer(ALICE.node_id, binding=binding)
    outcomes = [issuer.receive(bytes([octet])) for octet in requester.start()]
    asked = outcomes.pop()
    assert isinstance(asked, RequestAsked) and not any(outcomes)
    return asked


class RequestTests(SynchronousTestCase):
    """
    What a joiner without a secret sends.
    """

    def test_asked(self) -> None:
        """
        The issuer reads who asks, for which mesh, under which name, and that it is signed.
        """
        asked = ask(make_requester(capabilities=("gpu", "disk")))
        self.assertEqual((asked.joiner, asked.mesh_id), (ALICE.node_id, MESH))
        self.assertEqual((asked.wanted_name, asked.capabilities), ("Seattle", ("gpu", "disk")))
        self.assertTrue(asked.is_signed_for(ISSUER))

    def test_bound(self) -> None:
        """
        A request counts for one issuer, on one link, and from its joiner alone.
        """
        self.assertFalse(ask(make_requester()).is_signed_for(BOB.node_id))
        self.assertFalse(ask(make_requester(), b"c" * 32).is_signed_for(ISSUER))
        self.assertFalse(ask(make_requester(issuer=BOB.node_id)).is_signed_for(ISSUER))
        made = make_request(
            BOB, mesh_id=MESH, issuer=ISSUER, binding=BINDING, wanted_name="seattle"
        )
        asked = Issuer(ALICE.node_id, binding=BINDING).receive(encode_message(made))
        assert isinstance(asked, RequestAsked)
        self.assertFalse(asked.is_signed_for(ISSUER))
        self.assertRaises(ValueError, make_requester, binding=b"short")

    def test_every_word_is_signed(self) -> None:
        """
        Another name, mesh or word about itself makes it another request.
        """
        made = make_request(
            ALICE, mesh_id=MESH, issuer=ISSUER, binding=BINDING, wanted_name="seattle"
        )
        changes = {"name": "tacoma", "request": "mesh-" + "a" * 26, "capabilities": ["gpu"]}
        for key, value in changes.items():
            data = encode_message({**made, key: value})
            asked = Issuer(ALICE.node_id, binding=BINDING).receive(data)
            assert isinstance(asked, RequestAsked)
            self.assertFalse(asked.is_signed_for(ISSUER))

    def test_wrong_arguments(self) -> None:
        """
        Too many words about itself, or unprintable ones, are not sent; a long name is cut.
        """
        for capabilities in (("x",) * 17, ("x" * 33,), ("",), ("a\nb",)):
            self.assertRaises(DecodeError, make_requester, capabilities=capabilities)
        self.assertEqual(len(ask(make_requester(wanted_name="x" * 1000)).wanted_name), 63)
        self.assertEqual(ask(make_requester(wanted_name="")).wanted_name, "node")

    def test_malformed(self) -> None:
        """
        What is not quite a request ends the conversation.
        """
        good = make_request(
            ALICE, mesh_id=MESH, issuer=ISSUER, binding=BINDING, wanted_name="seattle"
        )
        for changes in (
            {"request": "home"},
            {"request": b"mesh"},
            {"name": ""},
            {"name": "x" * 64},
            {"capabilities": ["x"] * 17},
            {"capabilities": ["a\nb"]},
            {"capabilities": [1]},
            {"signature": b"x"},
            {"more": 1},
            {"redeem": bytes(16)},
        ):
            data = encode_message({**good, **changes})
            outcome = Issuer(ALICE.node_id, binding=BINDING).receive(data)
            self.assertIsInstance(outcome, Broken, changes)

    @settings(derandomize=True, max_examples=200, deadline=None)
    @given(
        st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=63),
        st.lists(words, max_size=16),
    )
    def test_round_trip(self, name: str, capabilities: list[str]) -> None:
        """
        Whatever was said arrives.
        """
        asked = ask(make_requester(wanted_name=name, capabilities=capabilities))
        self.assertEqual((asked.wanted_name, list(asked.capabilities)), (name, capabilities))
        self.assertTrue(asked.is_signed_for(ISSUER))

    @settings(derandomize=True, max_examples=200, deadline=None)
    @given(
        st.dictionaries(
            st.sampled_from(["request", "name", "capabilities", "signature", "x"]),
            st.none() | st.integers(0, 9) | st.text(max_size=9) | st.binary(max_size=70),
        )
    )
    def test_any_map(self, value: dict[str, object]) -> None:
        """
        Any map is a request or is refused.
        """
        fields = Fields.decode(wire.encode(value), limit=4096, what="join")
        try:
            decode_request(fields, ALICE.node_id, BINDING)
        except DecodeError:
            return
        self.fail("none of these is whole")


class AnswerTests(SynchronousTestCase):
    """
    What the joiner hears.
    """

    def test_waiting(self) -> None:
        """
        A joiner waits, is told so once, and is admitted on the same stream.
        """
        requester, issuer = make_requester(), Issuer(ALICE.node_id, binding=BINDING)
        found = requester.receive(issuer.wait("home", 86400.0), WALL)
        self.assertEqual(found, Waiting("home", 86400))
        found = requester.receive(issuer.admit(ALICE_CHAIN, "home"), WALL)
        assert isinstance(found, Admitted)
        self.assertEqual(found.chain, ALICE_CHAIN)

    def test_waiting_and_admitted(self) -> None:
        """
        Both may come at once.
        """
        issuer = Issuer(ALICE.node_id, binding=BINDING)
        data = issuer.wait("home", 1) + issuer.admit(ALICE_CHAIN, "home")
        self.assertIsInstance(make_requester().receive(data, WALL), Admitted)

    def test_refused(self) -> None:
        """
        A refusal is for good, a postponement is not, and neither can draw on the screen.
        """
        issuer = Issuer(ALICE.node_id, binding=BINDING)
        for data, is_final in ((issuer.refuse("n\x1bo"), True), (issuer.postpone("n\x1bo"), False)):
            found = make_requester().receive(data, WALL)
            self.assertEqual(found, Declined("n\\x1bo", is_final=is_final))

    def test_cut_off(self) -> None:
        """
        One whose stream ends while it waits may ask again.
        """
        requester = make_requester()
        requester.receive(Issuer(ALICE.node_id, binding=BINDING).wait("home", 1), WALL)
        ending = requester.end()
        assert isinstance(ending, Declined)
        self.assertFalse(ending.is_final)

    def test_lies(self) -> None:
        """
        An issuer that says what makes no sense is not believed.
        """
        messages: list[dict[str, object]] = [
            {"waiting": -1, "mesh": "home"},
            {"waiting": 2**40, "mesh": "home"},
            {"waiting": 1},
            {"waiting": 1, "mesh": ""},
            {"waiting": 1, "mesh": "home", "more": 1},
            {"later": ""},
        ]
        for message in messages:
            found = make_requester().receive(encode_message(message), WALL)
            assert isinstance(found, Declined), message
            self.assertFalse(found.is_final)
