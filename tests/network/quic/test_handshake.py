"""
Tests for L{atmosphere.network.quic.handshake}.
"""

from hypothesis import given, settings, strategies as st
from twisted.trial.unittest import SynchronousTestCase

from atmosphere import wire
from atmosphere.errors import DecodeError
from atmosphere.identity import NodeKey
from atmosphere.network.quic.handshake import (
    MAX_MESSAGE_LENGTH,
    Credit,
    Message,
    Offer,
    Proof,
    Refused,
    Welcome,
    decode_message,
    encode_message,
    make_proof,
    proof_holds,
)

DIALLER, LISTENER, OTHER = (NodeKey(bytes([n]) * 32) for n in (1, 2, 3))
BINDING = b"b" * 32
INSTANCE = b"i" * 16


def proof(generation: int = 0) -> Proof:
    """
    Make a proof that holds.
    """
    return make_proof(DIALLER, LISTENER.node_id, INSTANCE, b"chain", generation, BINDING)


MESSAGES: list[Message] = [
    proof(),
    proof(2**32 - 1),
    Welcome(INSTANCE, b""),
    Refused("no"),
    Offer(b"offer"),
    Credit(8, 2**40),
]


class MessageTests(SynchronousTestCase):
    """
    The control stream's messages read back, and nothing else is one.
    """

    def test_round_trip(self) -> None:
        """
        Every kind of message reads back, also byte by byte.
        """
        stream = b"".join(encode_message(message) for message in MESSAGES)
        for size in (1, 7, len(stream)):
            reader = wire.MessageCutter("control", MAX_MESSAGE_LENGTH)
            bodies = [
                body
                for start in range(0, len(stream), size)
                for body in reader.feed(stream[start : start + size])
            ]
            self.assertEqual([decode_message(body) for body in bodies], MESSAGES)

    @settings(derandomize=True, max_examples=200, deadline=None)
    @given(st.binary(max_size=100))
    def test_any_bytes(self, data: bytes) -> None:
        """
        Any bytes are a message, an unknown one, or a L{DecodeError}.
        """
        try:
            decode_message(data)
        except DecodeError as error:
            self.assertTrue(str(error))

    @settings(derandomize=True, max_examples=200, deadline=None)
    @given(
        st.lists(
            st.integers() | st.binary(max_size=20) | st.booleans() | st.text(max_size=5),
            max_size=6,
        ),
        st.integers(1, 6),
    )
    def test_any_fields(self, fields: list[wire.Value], kind: int) -> None:
        """
        A known kind with any fields is a message or a L{DecodeError}.
        """
        try:
            body = wire.encode([kind, *fields])
            message = decode_message(body)
        except DecodeError as error:
            self.assertTrue(str(error))
        else:
            self.assertIsNotNone(message)

    def test_unknown_kind(self) -> None:
        """
        A kind that a later version may have is ignored.
        """
        self.assertIsNone(decode_message(wire.encode([7, "what"])))
        self.assertIsNone(decode_message(wire.encode([0])))

    def test_lengths(self) -> None:
        """
        Fields of a wrong length, and messages that are too long, are refused.
        """
        good = wire.decode(encode_message(proof())[2:], max_length=MAX_MESSAGE_LENGTH)
        for position, value in ((1, b"short"), (2, b"short"), (3, b"c" * 4097), (5, b"short")):
            bad = list(good)
            bad[position] = value
            self.assertRaises(DecodeError, decode_message, wire.encode(bad))
        self.assertRaises(DecodeError, decode_message, wire.encode([2, b"short", b""]))
        self.assertRaises(DecodeError, decode_message, wire.encode([4, b"o" * 4097]))
        self.assertRaises(DecodeError, decode_message, wire.encode([5, -1, 0]))
        self.assertRaises(ValueError, encode_message, Offer(b"o" * 13_000))

    def test_small_order_node(self) -> None:
        """
        A proof whose node is no good key is refused before any signature is checked.
        """
        bad = list(wire.decode(encode_message(proof())[2:], max_length=MAX_MESSAGE_LENGTH))
        bad[1] = b"\x01" + bytes(31)
        self.assertRaises(DecodeError, decode_message, wire.encode(bad))


class ProofTests(SynchronousTestCase):
    """
    A proof holds for one listener, one connection, and as it was made.
    """

    def test_holds(self) -> None:
        """
        The listener it was made for accepts it.
        """
        self.assertTrue(proof_holds(proof(), LISTENER.node_id, BINDING))
        self.assertTrue(proof_holds(proof(7), LISTENER.node_id, BINDING))

    def test_does_not_hold(self) -> None:
        """
        Another listener, another connection, other words, or another signer: no.
        """
        good = proof()
        self.assertFalse(proof_holds(good, OTHER.node_id, BINDING))
        self.assertFalse(proof_holds(good, LISTENER.node_id, b"c" * 32))
        for bad in (
            Proof(OTHER.node_id, INSTANCE, b"chain", 0, good.signature),
            Proof(DIALLER.node_id, b"j" * 16, b"chain", 0, good.signature),
            Proof(DIALLER.node_id, INSTANCE, b"chain", 1, good.signature),
            Proof(DIALLER.node_id, INSTANCE, b"chain", 0, bytes(64)),
        ):
            self.assertFalse(proof_holds(bad, LISTENER.node_id, BINDING))

    def test_reflection(self) -> None:
        """
        A node's own proof, sent back to it, proves nothing.
        """
        own = make_proof(LISTENER, LISTENER.node_id, INSTANCE, b"", 0, BINDING)
        self.assertFalse(proof_holds(own, LISTENER.node_id, BINDING))
