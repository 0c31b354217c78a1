# -*- test-case-name: tests.network.relay.test_frames -*-
"""
Relay frames: what nodes and relays say to each other, byte by byte.

The layouts are those of C{docs/protocols/relay.md}, sections 2 to 6. A frame
is one binary WebSocket message; its first byte is its type.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from typing import TypeAlias

from atmosphere import wire
from atmosphere.addresses import TransportAddress
from atmosphere.identity import NodeID

__all__ = [
    "MAX_HELLO",
    "MAX_MESSAGE",
    "MAX_TEXT",
    "SUBPROTOCOL",
    "Absent",
    "Challenge",
    "Deliver",
    "Drain",
    "Frame",
    "FrameType",
    "Hello",
    "HelloCredentials",
    "Notice",
    "NoticeCode",
    "Ping",
    "Pong",
    "Refused",
    "RefusedCode",
    "Send",
    "Unknown",
    "Welcome",
    "signed_bytes",
]

SUBPROTOCOL = "atmosphere.relay.1"
MAX_MESSAGE = 65_600
MAX_HELLO = 8_192
MAX_TEXT = 512

_DOMAIN = b"atmosphere relay v1"


class FrameType(IntEnum):
    """
    The first byte of a frame.
    """

    CHALLENGE = 0x01
    HELLO = 0x02
    WELCOME = 0x03
    SEND = 0x10
    DELIVER = 0x11
    ABSENT = 0x12
    DRAIN = 0x20
    NOTICE = 0x21
    REFUSED = 0x22
    PING = 0x30
    PONG = 0x31


class RefusedCode(IntEnum):
    """
    Why a relay ends a connection; WebSocket's close code is 4000 more.
    """

    PROTOCOL = 1
    AUTHORITY = 2
    SIGNATURE = 3
    REPLACED = 4
    NOT_ADMITTED = 5
    TOO_LATE = 6
    FULL = 7


class NoticeCode(IntEnum):
    """
    What a relay lets a client know.
    """

    TEXT = 0
    RATE = 1
    PARKED = 2
    UNPARKED = 3


@dataclass(frozen=True, slots=True)
class Challenge:
    """
    The relay's first word.

    @ivar nonce: 32 bytes to sign.
    @ivar relay_time: POSIX seconds.
    """

    nonce: bytes
    relay_time: float

    def encode(self) -> bytes:
        """
        Write the frame.
        """
        milliseconds = round(self.relay_time * 1000)
        return b"\x01" + self.nonce + milliseconds.to_bytes(8, "big")


@dataclass(frozen=True, slots=True)
class HelloCredentials:
    """
    What a node shows to a relay to be let in; all may be empty.

    @ivar mesh_id: the mesh that it belongs to or wants to join.
    @ivar chain: its membership as a chain of statements.
    @ivar ticket: a joiner's ticket.
    """

    mesh_id: str = ""
    chain: bytes = field(default=b"", repr=False)
    ticket: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True)
class Hello:
    """
    Who a client is, and its proof.

    @ivar authority: C{host:port} as dialled.
    @ivar instance: 16 bytes, one choice per process.
    @ivar signature: the node's, over L{signed_bytes}.
    """

    node: NodeID
    authority: str
    instance: bytes
    credentials: HelloCredentials
    signature: bytes

    def encode(self) -> bytes:
        """
        Write the frame.
        """
        return b"\x02" + wire.encode(
            {
                "node": self.node.raw,
                "authority": self.authority,
                "instance": self.instance,
                "mesh": self.credentials.mesh_id,
                "chain": self.credentials.chain,
                "ticket": self.credentials.ticket,
                "signature": self.signature,
            }
        )


@dataclass(frozen=True, slots=True)
class Welcome:
    """
    What a relay says to a client that it let in.

    @ivar observed: the client's address as the relay sees it.
    @ivar stun_ports: UDP ports at the relay's host that answer STUN.
    @ivar relay_time: POSIX seconds.
    @ivar rate: bytes a second that the client may send; 0 for no limit.
    @ivar burst: bytes that it may send at once.
    @ivar mesh_id: the mesh that admission proved; empty for none.
    """

    observed: TransportAddress
    stun_ports: tuple[int, ...]
    relay_time: float
    rate: int = 0
    burst: int = 0
    is_open: bool = False
    mesh_id: str = ""

    def encode(self) -> bytes:
        """
        Write the frame.
        """
        return b"\x03" + wire.encode(
            {
                "observed": str(self.observed),
                "stun": list(self.stun_ports),
                "time": round(self.relay_time * 1000),
                "rate": self.rate,
                "burst": self.burst,
                "open": self.is_open,
                "mesh": self.mesh_id,
            }
        )


@dataclass(frozen=True, slots=True)
class Send:
    """
    Datagrams for another node.

    @ivar peer: the destination.
    @ivar batch: the datagrams as they stand in the frame.
    """

    peer: NodeID
    segment_size: int
    batch: bytes


@dataclass(frozen=True, slots=True)
class Deliver:
    """
    Datagrams from another node.

    @ivar peer: the source, as the relay says.
    @ivar batch: the datagrams as they stand in the frame.
    """

    peer: NodeID
    segment_size: int
    batch: bytes


@dataclass(frozen=True, slots=True)
class Absent:
    """
    A node that was sent to is not here.
    """

    peer: NodeID

    def encode(self) -> bytes:
        """
        Write the frame.
        """
        return b"\x12" + self.peer.raw


@dataclass(frozen=True, slots=True)
class Drain:
    """
    The relay goes down.

    @ivar seconds: how long it still serves.
    @ivar alternatives: URLs of relays that may serve instead.
    """

    seconds: int
    alternatives: tuple[str, ...] = ()

    def encode(self) -> bytes:
        """
        Write the frame.
        """
        return b"\x20" + wire.encode(
            {"seconds": self.seconds, "alternatives": list(self.alternatives)}
        )


@dataclass(frozen=True, slots=True)
class Notice:
    """
    A word from the relay; the connection goes on.
    """

    code: int
    text: str

    def encode(self) -> bytes:
        """
        Write the frame.
        """
        return b"\x21" + _encode_text(self.code, self.text)


@dataclass(frozen=True, slots=True)
class Refused:
    """
    The relay's last word.
    """

    code: int
    text: str

    def encode(self) -> bytes:
        """
        Write the frame.
        """
        return b"\x22" + _encode_text(self.code, self.text)


@dataclass(frozen=True, slots=True)
class Ping:
    """
    A question that its receiver answers with a L{Pong} of the same 8 bytes.
    """

    token: bytes

    def encode(self) -> bytes:
        """
        Write the frame.
        """
        return b"\x30" + self.token


@dataclass(frozen=True, slots=True)
class Pong:
    """
    The answer to a L{Ping}.
    """

    token: bytes

    def encode(self) -> bytes:
        """
        Write the frame.
        """
        return b"\x31" + self.token


@dataclass(frozen=True, slots=True)
class Unknown:
    """
    A frame of a type that this version does not know.
    """

    type: int


Frame: TypeAlias = (
    Challenge
    | Hello
    | Welcome
    | Send
    | Deliver
    | Absent
    | Drain
    | Notice
    | Refused
    | Ping
    | Pong
    | Unknown
)


def signed_bytes(authority: str, nonce: bytes, node: NodeID, mesh_id: str) -> bytes:
    """
    Put together what a hello's signature is over.

    @param authority: C{host:port}, up to 255 bytes.
    @raise ValueError: a part that is too long.
    """
    host, mesh = authority.encode("utf-8"), mesh_id.encode("utf-8")
    if len(host) > 255 or len(mesh) > 64:
        raise ValueError("the authority or the mesh ID is too long")
    return b"".join((_DOMAIN, bytes([len(host)]), host, nonce, node.raw, bytes([len(mesh)]), mesh))


def _encode_text(code: int, text: str) -> bytes:
    """
    Write a code and a text, cut to what fits.
    """
    raw = text.encode("utf-8", "replace")[:MAX_TEXT]
    return code.to_bytes(2, "big") + raw.decode("utf-8", "ignore").encode("utf-8")
