"""
Good inputs of every kind: what a search begins with, and what captures would show.
"""

from __future__ import annotations

import base64
import hashlib
import json
from functools import cache

from atmosphere import wire
from atmosphere.addresses import TransportAddress
from atmosphere.membership import issue_revocations
from atmosphere.mesh.answer import make_answer
from atmosphere.mesh.backup import MeshBackup, encode_backup
from atmosphere.mesh.code_text import encode_base64
from atmosphere.mesh.framing import encode_message
from atmosphere.mesh.gossip import Gossip, GossipExchange
from atmosphere.mesh.invitation import invitation_of
from atmosphere.mesh.join_code import DOMAIN, JoinCode, issue_join_code
from atmosphere.mesh.knock import KnockCredentials, encode_knock
from atmosphere.mesh.record import sign_record
from atmosphere.mesh.request import make_request
from atmosphere.mesh.roster import Roster
from atmosphere.network.nat.candidates import CandidateType, make_candidate
from atmosphere.network.path.exchange import PathOffer, encode_offer
from atmosphere.network.quic import handshake
from atmosphere.network.quic.acceptance import Acceptance
from atmosphere.network.quic.adapter import QUICConnection
from atmosphere.network.quic.credentials import make_credentials
from atmosphere.network.relay import frames
from atmosphere.network.relay.batches import encode_batches
from atmosphere.network.stun import attributes
from atmosphere.network.stun.message import (
    Class,
    Message,
    encode_check,
    encode_check_response,
    encode_message as encode_stun,
)
from atmosphere.network.stun.values import ErrorCode
from tests.mesh_fixtures import (
    ADMIN_CHAIN,
    ADMIN_KEY,
    ALICE,
    ALICE_CHAIN,
    BOB,
    GENESIS,
    MESH,
    OLD_CODE,
    ROOT,
    WALL,
    Counted,
    admit,
    parts,
)

ADDRESS = TransportAddress("192.0.2.1", 7777)
ADDRESS6 = TransportAddress("2001:db8::1", 7777)
TRANSACTION = bytes(range(12))
RELAY = "wss://relay.example.org:8443"


def stun() -> list[bytes]:
    """
    Write STUN messages.
    """
    attribute = attributes
    request = Message(Class.REQUEST, TRANSACTION)
    refusal = Message(
        Class.ERROR_RESPONSE,
        TRANSACTION,
        (
            (attribute.ERROR_CODE, ErrorCode(420, "no")),
            (attribute.UNKNOWN_ATTRIBUTES, (1, 2)),
        ),
    )
    answer = Message(
        Class.SUCCESS_RESPONSE,
        TRANSACTION,
        ((attribute.XOR_MAPPED_ADDRESS, ADDRESS), (attribute.MAPPED_ADDRESS, ADDRESS6)),
    )
    check = encode_check(
        TRANSACTION,
        username="abcd:efgh",
        key=b"k" * 22,
        priority=1,
        tie_breaker=2**63,
        is_controlling=True,
        use_candidate=True,
    )
    return [
        encode_stun(request),
        encode_stun(request, key=b"key", key_sha256=b"key", fingerprint=True),
        encode_stun(refusal),
        encode_stun(answer, key=b"key", fingerprint=True),
        check,
        encode_check_response(TRANSACTION, ADDRESS, b"k" * 22, 200),
    ]


def answers() -> list[bytes]:
    """
    Write answers to a code.
    """
    candidates = [
        make_candidate(CandidateType.SERVER_REFLEXIVE, ADDRESS),
        make_candidate(CandidateType.HOST, ADDRESS6),
    ]
    found = []
    for stable in (None, True, False):
        text, _ = make_answer(
            join_code(), ALICE.node_id, candidates, has_stable_port=stable, wall=WALL
        )
        found.append(text.encode("ascii"))
    return found


@cache
def knocks() -> list[bytes]:
    """
    Write a knock for the joiner of a code.
    """
    held = invitation_of(join_code())
    credentials = KnockCredentials.of(held.key, ADMIN_KEY.node_id, ALICE.node_id)
    return [encode_knock(credentials, TRANSACTION)]


@cache
def relay_hello() -> bytes:
    """
    Write a hello.
    """
    signed = frames.signed_bytes("relay:8080", bytes(32), ALICE.node_id, MESH)
    credentials = frames.HelloCredentials(MESH, ALICE_CHAIN, b"ticket")
    return frames.Hello(
        ALICE.node_id, "relay:8080", bytes(16), credentials, ALICE.sign(signed)
    ).encode()


def relay() -> list[bytes]:
    """
    Write one relay frame of each kind.
    """
    datagrams = [b"x" * 100, b"y" * 100, b"z"]
    return [
        frames.Challenge(bytes(32), WALL).encode(),
        relay_hello(),
        frames.Welcome(ADDRESS, (3478, 1), WALL, 5, 6, True, MESH).encode(),
        *encode_batches(frames.FrameType.SEND, BOB.node_id.raw, datagrams),
        *encode_batches(frames.FrameType.DELIVER, ALICE.node_id.raw, datagrams),
        frames.Absent(ALICE.node_id).encode(),
        frames.Drain(30, (RELAY,)).encode(),
        frames.Notice(2, "parked").encode(),
        frames.Notice(3, "no longer parked").encode(),
        frames.Refused(4, "replaced").encode(),
        frames.Ping(bytes(8)).encode(),
        frames.Pong(bytes(8)).encode(),
        b"\x7fnews",
    ]


def with_lengths(pieces: list[bytes]) -> list[bytes]:
    """
    Put messages behind each other, each with two bytes of length before it, and all at once.
    """
    one = [len(each).to_bytes(2, "big") + each for each in pieces]
    return [*one, b"".join(one)]


@cache
def join_code() -> JoinCode:
    """
    Issue a join code.
    """
    return issue_join_code(
        ADMIN_KEY,
        ADMIN_CHAIN,
        mesh_name="home",
        endpoint="192.168.178.20:7777",
        public_endpoint="203.0.113.250:17777",
        relay_urls=[RELAY],
        endpoints=["[2001:db8::1]:7777"],
        uses=3,
        wall=WALL,
        entropy=Counted(),
    )


@cache
def revocations() -> bytes:
    """
    Revoke somebody.
    """
    return issue_revocations(
        ADMIN_KEY, ADMIN_CHAIN, wall=WALL, current=None, keys=[BOB.node_id], serials=[bytes(16)]
    ).encoded


@cache
def record() -> bytes:
    """
    Sign a node record.
    """
    return sign_record(
        ALICE,
        MESH,
        7,
        wall=WALL,
        endpoints=[ADDRESS, ADDRESS6],
        relays=[RELAY],
        services=["ssh", "web"],
        version="1.0",
    ).encoded


def gossip_messages() -> list[bytes]:
    """
    Write one gossip message of each kind, as they stand on the stream.
    """
    roster = Roster(MESH)
    for chain in (ADMIN_CHAIN, ALICE_CHAIN, admit(BOB.node_id, "tacoma")):
        roster.merge_chain(chain, WALL)
    roster.merge_record(record(), WALL)
    gossip = Gossip(roster)
    return [
        GossipExchange(gossip).start(WALL),
        *gossip.index.digests(range(256), WALL, is_answer=False),
        *gossip.index.digests(range(256), WALL, is_answer=True),
        encode_message({"pull": [ALICE.node_id.raw, BOB.node_id.raw], "revocations": True}),
        encode_message({"push": [[ALICE_CHAIN, record()], [None, record()], [ALICE_CHAIN, None]]}),
        encode_message({"revocations": revocations()}),
    ]


def join_messages() -> list[bytes]:
    """
    Write what joiner, issuer and renewer say, as it stands on the stream.
    """
    said: list[dict[str, object]] = [
        {"redeem": bytes(16), "proof": bytes(32), "name": "seattle"},
        {"admitted": ALICE_CHAIN, "mesh": "home"},
        {"revocations": revocations()},
        {"members": [[ALICE_CHAIN, record()], [ADMIN_CHAIN, None]]},
        {"done": True},
        {"refused": "the code was not accepted"},
        {"waiting": 60, "mesh": "home"},
        {"later": "too many requests came from there"},
        make_request(
            ALICE,
            mesh_id=MESH,
            issuer=ADMIN_KEY.node_id,
            binding=bytes(32),
            wanted_name="seattle",
            capabilities=["relay"],
        ),
        {"renew": ALICE_CHAIN},
        {"renewed": ALICE_CHAIN},
    ]
    one = [encode_message(each) for each in said]
    return [*one, b"".join(one[1:5])]


@cache
def offer() -> bytes:
    """
    Write a path offer.
    """
    candidates = (
        make_candidate(CandidateType.HOST, ADDRESS),
        make_candidate(CandidateType.SERVER_REFLEXIVE, ADDRESS6),
    )
    return encode_offer(PathOffer("abcd", "p" * 22, candidates, (RELAY,), 3))


def control_messages() -> list[bytes]:
    """
    Write the messages of a link's control stream, without their lengths.
    """
    proof = handshake.make_proof(ALICE, BOB.node_id, bytes(16), ALICE_CHAIN, 1, bytes(32))
    said: list[handshake.Message] = [
        proof,
        handshake.Welcome(bytes(16), ALICE_CHAIN),
        handshake.Refused("no member"),
        handshake.Offer(offer()),
        handshake.Credit(4, 300_000),
    ]
    return [*(handshake.encode_message(each)[2:] for each in said), wire.encode([9, "news"])]


def heads() -> list[bytes]:
    """
    Write the heads of HTTP requests and responses, as a relay and its client read them.
    """
    upgrade = (
        "GET /relay/abc?x#y HTTP/1.1\r\nHost: relay:8080\r\nUpgrade: websocket\r\n"
        "Connection: Upgrade\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: atmosphere.relay.1\r\n"
        "X-Forwarded-For: 192.0.2.1, [2001:db8::1]\r\n\r\n"
    )
    return [
        upgrade.encode(),
        upgrade.replace("/relay/abc?x#y", "/relay").encode(),
        b"GET /health HTTP/1.0\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nX: y\r\n\r\n",
    ]


def websocket() -> list[bytes]:
    """
    Write WebSocket frames, masked and not, whole and in fragments.
    """
    return [
        b"\x82\x05hello",
        b"\x82\x85abcd\x09\x07\x0f\x08\x0e",
        b"\x02\x02he\x00\x02ll\x80\x01o",
        b"\x81\x02hi\x89\x01p\x8a\x00\x88\x02\x03\xe8",
        b"\x82\x7e\x00\x80" + bytes(128),
        b"\x82\x7f" + (65_536).to_bytes(8, "big") + bytes(10),
        b"\x00\x80abcd" * 100,
    ]


def backups() -> list[bytes]:
    """
    Back a mesh up, in clear.
    """
    backup = MeshBackup(ROOT, "home", ADMIN_CHAIN, revocations())
    return [encode_backup(backup, None, entropy=Counted())]


def unsealed_backup(content: bytes) -> bytes:
    """
    Put a header and a good checksum before what a backup might hold.
    """
    header = b"atmosphere-mesh\0\x01\x00"
    return header + hashlib.sha256(header + content).digest() + content


def addresses() -> list[bytes]:
    """
    Write addresses and URLs as people and peers do.
    """
    return [
        b"192.0.2.1:7777",
        b"[2001:db8::1]:7777",
        b"[::ffff:127.0.0.1]:80",
        b"stun.example.org:3478",
        RELAY.encode(),
        b"ws://127.0.0.1:8080/relay/",
    ]


def compact(data: bytes) -> str:
    """
    Write bytes as a join code is written.
    """
    return base64.urlsafe_b64encode(data[:1536]).decode("ascii")


def signed_code(body: bytes) -> bytes:
    """
    Put a secret and a good signature behind what should be a code's body.
    """
    signature = encode_base64(ADMIN_KEY.sign(DOMAIN + body))
    return body + f',"secret":"{encode_base64(bytes(16))}","signature":"{signature}"}}'.encode()


def code_texts() -> list[bytes]:
    """
    Write codes, old and new, as they are pasted and as they are inside.
    """
    code = join_code()
    return [
        code.code.encode(),
        code.signed_body(),
        code.ticket(),
        json.dumps(OLD_CODE).encode(),
        compact(json.dumps(OLD_CODE).encode()).encode(),
        b'{"mesh_id":"a","mesh_name":"\\ud800","created_at":1e999,"expires_at":-0.0}',
    ]


def chains() -> list[bytes]:
    """
    Write chains, certificates and their bodies.
    """
    return [
        ALICE_CHAIN,
        ADMIN_CHAIN,
        *(each for one in parts(ALICE_CHAIN) for each in (one, one[:-64])),
        GENESIS,
    ]


def all_cbor() -> list[bytes]:
    """
    Write messages of every protocol.
    """
    deep = b"\x81" * 7 + b"\x80"
    return [
        deep,
        ALICE_CHAIN,
        offer(),
        *control_messages(),
        *(each[1:] for each in relay() if each[0] in (2, 3, 0x20)),
        *(each[2:] for each in gossip_messages()),
        wire.encode([None, True, -1, 2**63, "ü", {1: "a", "b": b"c"}]),
    ]


def initials() -> list[bytes]:
    """
    Write the first flight of a dialler.
    """
    quic = QUICConnection(make_credentials(ALICE))
    quic.connect(0.0)
    [*flight] = quic.datagrams_to_send(0.0)
    token = Acceptance(lambda length: bytes(length)).tokens.make(b"way", bytes(8), bytes(8), 1.0)
    return [*flight, b"\xc0\x00\x00\x00\x01\x08" + bytes(8) + b"\x00" + bytes(1200), token]


def stream_scripts() -> list[bytes]:
    """
    Write what a peer does on the streams of a link, see L{tests.fuzz.conversations}.
    """
    ping = b"\x0eatmosphere.ping12345678"
    return with_lengths([b"\x00" + ping, b"\x10" + ping, b"\x20\x00", b"\x31", b"\x42"])
