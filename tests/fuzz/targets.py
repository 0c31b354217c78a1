"""
Everything that takes bytes from a stranger, by name; what needs a connection around
it is in L{tests.fuzz.conversations}.
"""

from __future__ import annotations

import json
from collections.abc import Callable

from atmosphere import wire
from atmosphere.addresses import TransportAddress, address_kind, candidate_refusal
from atmosphere.certificates import (
    CERTIFICATE_DOMAIN,
    decode_certificate,
    decode_chain,
    decode_revocations,
    encode_chain,
)
from atmosphere.errors import (
    ConfigurationError,
    DecodeError,
    JoinError,
    MembershipError,
    StateError,
)
from atmosphere.membership import verify_chain, verify_revocations
from atmosphere.mesh.answer import check_answer, read_answer
from atmosphere.mesh.backup import decode_backup
from atmosphere.mesh.code_text import encode_base64
from atmosphere.mesh.invitation import invitation_of
from atmosphere.mesh.join_code import DOMAIN, JoinCode, check_ticket
from atmosphere.mesh.knock import KnockCredentials, is_knock
from atmosphere.mesh.record import RECORD_DOMAIN, decode_record
from atmosphere.network.nat.credentials import Credentials
from atmosphere.network.path.checks import CheckConversation, check_recipient
from atmosphere.network.path.exchange import decode_offer, encode_offer
from atmosphere.network.path.ways import DirectWay
from atmosphere.network.quic import handshake
from atmosphere.network.quic.acceptance import Acceptance
from atmosphere.network.relay import frames, reader
from atmosphere.network.relay.batches import split_batch
from atmosphere.network.relay.framing import FrameCutter, Violation
from atmosphere.network.relay.request import check_response_head, decode_head, websocket_head
from atmosphere.network.stun.binding import BindingResponder
from atmosphere.network.stun.integrity import verify_fingerprint, verify_integrity
from atmosphere.network.stun.message import decode_message
from atmosphere.network.udp.demultiplex import classify
from atmosphere.node.config import decode_config, parse_address, parse_host_port, parse_relay_url
from atmosphere.node.state_file import decode_state, encode_state
from atmosphere.node.strict_json import decode_json
from atmosphere.testing.randomness import seeded_entropy
from tests.mesh_fixtures import ADMIN_CHAIN, ADMIN_KEY, ALICE, GENESIS, MESH, WALL, parts

from . import conversations, local_seeds, seeds
from .property import Target

__all__ = ["TARGETS"]


def stun(data: bytes) -> None:
    """
    Take a datagram as a node, a STUN server and a link take it.
    """
    classify(data)
    check_recipient(data)
    BindingResponder().respond(data, seeds.ADDRESS, 0.0)
    message = decode_message(data)
    verify_fingerprint(data)
    verify_integrity(data, b"key")
    link = CheckConversation(
        local=Credentials("abcd", "k" * 22), is_controlling=False, entropy=seeded_entropy(1)
    )
    way = DirectWay(seeds.ADDRESS)
    link.read_check(data, message)
    answer = link.answer_to(data, message, way)
    if answer is not None and len(answer) > len(data):
        raise AssertionError("an answer that is longer than its question")
    link.read_answer(data, message, way)


def relay_frames(data: bytes) -> None:
    """
    Take a frame as relays and clients do; what was understood can be said again.
    """
    frame = reader.decode(data)
    match frame:
        case frames.Send() | frames.Deliver():
            split_batch(frame.segment_size, frame.batch)
        case frames.Unknown():
            return
        case _:
            reader.decode(frame.encode())


def websocket(data: bytes) -> None:
    """
    Cut a stream into messages, as a relay and a client do, whole and in two parts.
    """
    for is_masked in (False, True):
        for at in (0, len(data) // 2):
            cutter = FrameCutter(65_600, is_masked=is_masked)
            items: list[tuple[int, bytes | bytearray]] = []
            try:
                cutter.cut(data[:at], items)
                cutter.cut(data[at:], items)
            except Violation:
                continue
            if sum(len(payload) for _, payload in items) > len(data):
                raise AssertionError("more came out than went in")


def join_code(data: bytes) -> None:
    """
    Read a pasted text as a code; and the input as what a hostile issuer signs.
    """
    tries: list[Callable[[], object]] = [
        lambda: JoinCode.from_compact(data.decode("latin-1")).check_at(WALL),
        lambda: JoinCode.from_compact(seeds.compact(data)),
        lambda: JoinCode.from_compact(seeds.compact(seeds.signed_code(data))).check_at(WALL),
        lambda: check_ticket(data, mesh_ids=None, wall=WALL),
        lambda: check_ticket(data + ADMIN_KEY.sign(DOMAIN + data), mesh_ids=[MESH], wall=WALL),
    ]
    for each in tries:
        try:
            each()
        except (DecodeError, JoinError):
            continue


def answer(data: bytes) -> None:
    """
    Read a pasted text as an answer; and the input as the bytes of one.
    """
    held = invitation_of(seeds.join_code())
    for text in (data.decode("latin-1"), encode_base64(data)):
        try:
            found = read_answer(text)
            for invitation in (held, None):
                check_answer(found, invitation, ADMIN_KEY.node_id, WALL)
        except (DecodeError, JoinError):
            continue


def knock(data: bytes) -> None:
    """
    Take a datagram as a joiner that waits for knocks takes it.
    """
    held = invitation_of(seeds.join_code())
    credentials = KnockCredentials.of(held.key, ADMIN_KEY.node_id, ALICE.node_id)
    if is_knock(data, credentials) and data not in seeds.knocks():
        raise AssertionError("a knock that nobody made")


def certificates(data: bytes) -> None:
    """
    Read certificates and chains; and the input as a body that a hostile admin signs.
    """
    signed = data + ADMIN_KEY.sign(CERTIFICATE_DOMAIN + data)
    tries: list[Callable[[], object]] = [
        lambda: decode_certificate(data),
        lambda: decode_certificate(signed),
        lambda: decode_chain(data),
        lambda: verify_chain(data, ALICE.node_id, mesh_id=MESH, wall=WALL, revocations=None),
        lambda: verify_chain(
            encode_chain(GENESIS, [*parts(ADMIN_CHAIN), signed]),
            ALICE.node_id,
            mesh_id=None,
            wall=WALL,
            revocations=None,
        ),
    ]
    for each in tries:
        try:
            each()
        except (DecodeError, MembershipError):
            continue


def revocations(data: bytes) -> None:
    """
    Read a revocation list, and judge it.
    """
    current = decode_revocations(seeds.revocations())
    for held in (None, current):
        try:
            verify_revocations(data, mesh_id=MESH, wall=WALL, current=held)
        except MembershipError:
            continue
    decode_revocations(data)


def records(data: bytes) -> None:
    """
    Read a node record, as it is and signed.
    """
    try:
        decode_record(data).is_signed()
    except DecodeError:
        decode_record(data + ALICE.sign(RECORD_DOMAIN + data)).is_signed()


def control_messages(data: bytes) -> None:
    """
    Read a message of a link's control stream; what was understood can be said again.
    """
    message = handshake.decode_message(data)
    if message is not None:
        handshake.encode_message(message)
    if isinstance(message, handshake.Proof):
        handshake.proof_holds(message, ALICE.node_id, bytes(32))


def offers(data: bytes) -> None:
    """
    Read a path offer and judge what it names.
    """
    offer = decode_offer(data)
    encode_offer(offer)
    for candidate in offer.candidates:
        candidate_refusal(candidate.address)


def initials(data: bytes) -> None:
    """
    Judge a datagram that may begin a link.
    """
    if data:
        acceptance = Acceptance(seeded_entropy(2))
        for half_open in (0, 100, 1000):
            acceptance.judge(data, b"way", half_open, 1.0)
        acceptance.tokens.check(data[:64], b"way", data[64:72], 1.0)


def http_heads(data: bytes) -> None:
    """
    Read the head of a request or of a response.
    """
    try:
        check_response_head(data)
    except DecodeError:
        head = decode_head(data)
        if head.wants_websocket and not head.has_body:
            websocket_head(head)


def local_json(data: bytes) -> None:
    """
    Read what a program asks of the node; it can be written again.
    """
    json.dumps(decode_json(data, maximum_length=65_536), allow_nan=False).encode("ascii")


def state_files(data: bytes) -> None:
    """
    Read a state file, as it is and with a checksum that fits.
    """
    tries = [data, encode_state("membership", 1, data)]
    for each in tries:
        try:
            decode_state(each, "membership", 1)
        except (DecodeError, StateError):
            continue


def config(data: bytes) -> None:
    """
    Read a configuration.
    """
    decode_config(data.decode("utf-8", "replace"))


def backup(data: bytes) -> None:
    """
    Read a mesh's backup, as it is and with a checksum that fits.
    """
    try:
        decode_backup(data, None)
    except (DecodeError, ConfigurationError):
        decode_backup(seeds.unsealed_backup(data), None)


def addresses(data: bytes) -> None:
    """
    Read an address or a URL, in text and packed.
    """
    text = data.decode("utf-8", "replace")
    tries: list[Callable[[str], object]] = [
        TransportAddress.from_text,
        parse_address,
        parse_host_port,
        parse_relay_url,
    ]
    for each in tries:
        try:
            each(text)
        except (DecodeError, ConfigurationError):
            continue
    if len(data) in (4, 16):
        address_kind(data)
    address = TransportAddress.from_bytes(data[:-2], int.from_bytes(data[-2:], "big"))
    candidate_refusal(address, allow_private=True)


def cbor(data: bytes) -> None:
    """
    Read a message of any protocol; what was understood is written as it was.
    """
    if wire.encode(wire.decode(data, max_length=65_536)) != data:
        raise AssertionError("a second encoding of one value")


#: All targets; the keys are what C{python -m tests.fuzz} is told.
TARGETS: dict[str, Target] = {
    "stun": Target(stun, seeds.stun, longest=8_192),
    "initials": Target(initials, seeds.initials, longest=8_192),
    "cbor": Target(cbor, seeds.all_cbor, is_dense=True),
    "relay-frames": Target(relay_frames, seeds.relay),
    "websocket": Target(websocket, seeds.websocket, is_many=True),
    "relay-client": Target(
        conversations.relay_client, lambda: seeds.with_lengths(seeds.relay()), is_many=True
    ),
    "relay": Target(conversations.relay, lambda: seeds.with_lengths(seeds.relay()), is_many=True),
    "relay-port": Target(conversations.relay_port, seeds.heads, is_many=True),
    "http-heads": Target(http_heads, seeds.heads, longest=8_192),
    "join-codes": Target(join_code, seeds.code_texts, longest=4_096),
    "answers": Target(answer, seeds.answers, longest=4_096),
    "knocks": Target(knock, seeds.knocks, longest=8_192),
    "certificates": Target(certificates, seeds.chains),
    "revocations": Target(revocations, lambda: [seeds.revocations()]),
    "records": Target(records, lambda: [seeds.record(), seeds.record()[:-64]]),
    "gossip": Target(conversations.gossip, seeds.gossip_messages, is_many=True),
    "join": Target(conversations.join, seeds.join_messages, is_many=True),
    "control-messages": Target(control_messages, seeds.control_messages),
    "offers": Target(offers, lambda: [seeds.offer()]),
    "link-streams": Target(conversations.link_streams, seeds.stream_scripts, is_many=True),
    "framed-streams": Target(conversations.framed, local_seeds.framed, is_many=True),
    "local-json": Target(local_json, local_seeds.json_texts, is_many=True),
    "local-api": Target(conversations.local_api, local_seeds.http, is_many=True),
    "local-streams": Target(conversations.local_streams, local_seeds.stream_requests),
    "state-files": Target(state_files, local_seeds.states),
    "config": Target(
        config, local_seeds.configs, (ConfigurationError,), is_many=True, longest=16_384
    ),
    "backups": Target(backup, seeds.backups, (DecodeError, ConfigurationError)),
    "addresses": Target(addresses, seeds.addresses, longest=4_096),
}
