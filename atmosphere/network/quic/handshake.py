# -*- test-case-name: tests.network.quic.test_handshake -*-
"""
The messages of a link's control stream, the dialler's proof, and datagrams.

The format is in C{docs/protocols/link.md}, sections 2, 3 and 6.
"""

from __future__ import annotations

from dataclasses import dataclass

from atmosphere import wire
from atmosphere.errors import DecodeError, IdentityError
from atmosphere.identity import NodeID, NodeKey
from atmosphere.network.path.prediction_message import MAX_PREDICTION_LENGTH

__all__ = [
    "Credit",
    "Message",
    "Offer",
    "Prediction",
    "Proof",
    "Refused",
    "Welcome",
    "decode_datagram",
    "decode_message",
    "encode_datagram",
    "encode_message",
    "make_proof",
    "proof_holds",
]

MAX_MESSAGE_LENGTH = 12_288
MAX_CHAIN_LENGTH = 4_096
MAX_OFFER_LENGTH = 4_096
INSTANCE_LENGTH = 16
MAX_DATAGRAM = 1_100
MAX_GENERATION = 2**32 - 1
#: The generation of a link that is never the current one.
APART = 0
_DOMAIN = b"atmosphere link proof v1\x00"


@dataclass(frozen=True, slots=True)
class Proof:
    """
    The dialler says who it is, and proves it.

    @ivar node: the dialler.
    @ivar instance: 16 bytes of its process.
    @ivar chain: its membership chain, or empty.
    @ivar generation: one more than that of the link to the listener that the
        dialler had when it dialled; 1 if it had none, 0 for a link apart.
    @ivar signature: 64 bytes, see L{make_proof}.
    """

    node: NodeID
    instance: bytes
    chain: bytes
    generation: int
    signature: bytes


@dataclass(frozen=True, slots=True)
class Welcome:
    """
    The listener takes the dialler in.
    """

    instance: bytes
    chain: bytes


@dataclass(frozen=True, slots=True)
class Refused:
    """
    The listener does not take the dialler in.
    """

    reason: str


@dataclass(frozen=True, slots=True)
class Offer:
    """
    What the path layer tells the peer's path layer.
    """

    payload: bytes


@dataclass(frozen=True, slots=True)
class Credit:
    """
    The receiver of a stream lets its sender send up to a total.
    """

    stream_id: int
    limit: int


@dataclass(frozen=True, slots=True)
class Prediction:
    """
    What the two path layers say to each other before they guess ports.
    """

    payload: bytes


Message = Proof | Welcome | Refused | Offer | Credit | Prediction


def _signed(
    listener: NodeID, dialler: NodeID, instance: bytes, generation: int, binding: bytes
) -> bytes:
    """
    Lay out the bytes that the proof signs.
    """
    count = generation.to_bytes(4, "big")
    return b"".join((_DOMAIN, listener.raw, dialler.raw, instance, count, binding))


def make_proof(
    key: NodeKey, listener: NodeID, instance: bytes, chain: bytes, generation: int, binding: bytes
) -> Proof:
    """
    Prove to a listener who we are.

    @param binding: the connection's channel binding, 32 bytes.
    """
    signature = key.sign(_signed(listener, key.node_id, instance, generation, binding))
    return Proof(key.node_id, instance, chain, generation, signature)


def proof_holds(proof: Proof, listener: NodeID, binding: bytes) -> bool:
    """
    Say whether a proof was made by its node, for this listener and connection.
    """
    if proof.node == listener:
        return False
    signed = _signed(listener, proof.node, proof.instance, proof.generation, binding)
    return proof.node.verifies(proof.signature, signed)


def encode_message(message: Message) -> bytes:
    """
    Write one message, its length first.

    @raise ValueError: longer than a message may be.
    """
    parts: list[wire.Value]
    match message:
        case Proof():
            parts = [
                1,
                message.node.raw,
                message.instance,
                message.chain,
                message.generation,
                message.signature,
            ]
        case Welcome():
            parts = [2, message.instance, message.chain]
        case Refused():
            parts = [3, message.reason]
        case Offer():
            parts = [4, message.payload]
        case Credit():
            parts = [5, message.stream_id, message.limit]
        case Prediction():
            parts = [6, message.payload]
    body = wire.encode(parts)
    if len(body) > MAX_MESSAGE_LENGTH:
        raise ValueError(f"a control message of {len(body)} bytes")
    return len(body).to_bytes(2, "big") + body


def _decode_proof(parts: list[wire.Value]) -> Proof:
    """
    Read the proof's five fields.
    """
    match parts:
        case [bytes(node), bytes(instance), bytes(chain), int(generation), bytes(signature)]:
            pass
        case _:
            raise DecodeError("malformed proof", section="link §3")
    if len(instance) != INSTANCE_LENGTH or len(signature) != 64 or len(chain) > MAX_CHAIN_LENGTH:
        raise DecodeError("a field of the proof has a wrong length", section="link §3")
    if type(generation) is not int or not 0 <= generation <= MAX_GENERATION:
        raise DecodeError("the proof's generation is out of range", section="link §3")
    try:
        return Proof(NodeID(node), instance, chain, generation, signature)
    except IdentityError as error:
        raise DecodeError(f"the proof's node: {error}", section="link §3") from error


def decode_message(body: bytes) -> Message | None:
    """
    Read one message without its length.

    @return: C{None} for a kind that is not known, which is to be ignored.
    @raise DecodeError: a known kind in a wrong form, or no message at all.
    """
    value = wire.decode(body, max_length=MAX_MESSAGE_LENGTH)
    if not isinstance(value, list) or not value or type(value[0]) is not int:
        raise DecodeError("not a control message", section="link §2")
    message = _decode_known(value)
    if message is None and 1 <= value[0] <= 6:
        raise DecodeError(f"malformed control message of kind {value[0]}", section="link §2")
    return message


def _decode_payload(kind: int, payload: bytes) -> Message | None:
    """
    Read what is for the path layer to read.

    @return: C{None} if it is too long.
    """
    if kind == 4:
        return Offer(payload) if len(payload) <= MAX_OFFER_LENGTH else None
    return Prediction(payload) if len(payload) <= MAX_PREDICTION_LENGTH else None


def _decode_known(value: list[wire.Value]) -> Message | None:
    """
    Read a message whose form is right.

    @return: C{None} for any other.
    @raise DecodeError: a proof that is out of form.
    """
    match value:
        case [1, *parts]:
            return _decode_proof(parts)
        case [2, bytes(instance), bytes(chain)]:
            if len(instance) == INSTANCE_LENGTH and len(chain) <= MAX_CHAIN_LENGTH:
                return Welcome(instance, chain)
        case [3, str(reason)]:
            return Refused(reason[:200])
        case [4 | 6 as kind, bytes(payload)]:
            return _decode_payload(kind, payload)
        case [5, int(stream_id), int(limit)]:
            if 0 <= stream_id < 1 << 62 and 0 <= limit < 1 << 62:
                return Credit(stream_id, limit)
        case _:
            pass
    return None


def encode_datagram(service: str, data: bytes) -> bytes | None:
    """
    Write a datagram.

    @return: C{None} if it would be too long, or its name is not one.
    """
    name = service.encode("utf-8")
    if not 1 <= len(name) <= 255 or 1 + len(name) + len(data) > MAX_DATAGRAM:
        return None
    return bytes((len(name),)) + name + data


def decode_datagram(datagram: bytes) -> tuple[str, bytes] | None:
    """
    Read a datagram.

    @return: its service and what it carries; C{None} if it is malformed, and thereby lost.
    """
    if not datagram or len(datagram) <= datagram[0]:
        return None
    end = 1 + datagram[0]
    try:
        service = datagram[1:end].decode("utf-8")
    except UnicodeDecodeError:
        return None
    return (service, datagram[end:]) if service else None
