"""
A relay that lies, floods and breaks its protocol: one port for each manner.

Run as a program, C{python -m tests.hostile.bad_relay [SEED]}, it prints a line of JSON,
manner by port, and for each connection the manner's name. It ends with its standard input.
"""

from __future__ import annotations

import base64
import hashlib
import json
import random
import sys
from collections.abc import Callable, Iterator
from itertools import count, cycle, repeat
from typing import Any, cast

from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure
from typing_extensions import override

from atmosphere.addresses import TransportAddress
from atmosphere.identity import NodeKey
from atmosphere.network.relay import frames
from atmosphere.network.relay.batches import encode_batches
from atmosphere.network.relay.framing import message_header
from tests.fuzz import seeds
from tests.fuzz.property import mutations

__all__ = ["MANNERS", "BadRelay", "BadRelayFactory"]

GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
WELCOME = frames.Welcome(TransportAddress("127.0.0.1", 1), (), 1e9).encode()
CHALLENGE = frames.Challenge(bytes(32), 1e9).encode()

#: Bytes that wait to be written; a flood goes on when they have gone.
AT_ONCE = 256 * 1024

Bytes = Iterator[bytes]


def message(payload: bytes, opcode: int = 2) -> bytes:
    """
    Write a message of WebSocket.
    """
    return bytes((0x80 | opcode,)) + message_header(len(payload))[1:] + payload


def let_in(*payloads: bytes) -> Bytes:
    """
    Greet a client as a relay should, and say something more.
    """
    for payload in (CHALLENGE, WELCOME, *payloads):
        yield message(payload)


def after_welcome(source: random.Random, stream: Iterator[bytes]) -> Bytes:
    """
    Greet, then flood.
    """
    yield from let_in()
    yield from stream


def delivered(source: random.Random) -> Bytes:
    """
    Deliver changed datagrams of nodes that nobody knows.
    """
    good = [*seeds.initials(), *seeds.stun()]
    for number, data in enumerate(mutations(good, 1 << 30, str(source.random()))):
        node = NodeKey((number // 8).to_bytes(32, "big")).node_id
        for frame in encode_batches(frames.FrameType.DELIVER, node.raw, [data[:1500] or b"x"]):
            yield message(frame)


def huge_numbers() -> Bytes:
    """
    Welcome with the largest numbers there are, and go down in as many seconds.
    """
    yield message(CHALLENGE)
    ports = tuple(range(65_520, 65_536))
    welcome = frames.Welcome(TransportAddress("203.0.113.1", 65_535), ports, 9e12, 1 << 53, 1 << 53)
    yield message(welcome.encode())
    yield message(frames.Drain(86_400, ("wss://" + "x" * 200,) * 8).encode())
    yield message(frames.Notice(65_535, "\x1b[31m" * 80).encode())


def fragments(first: int) -> Bytes:
    """
    Begin a message that never ends, in pieces.
    """
    yield from let_in()
    yield bytes((first, 1)) + b"\x11"
    yield from repeat(b"\x00\x01x")


def changed_frames(source: random.Random) -> Bytes:
    """
    Greet, then say changed frames.
    """
    return (message(each[:65_000]) for each in mutations(seeds.relay(), 1 << 30, "frames"))


def _manners(source: random.Random) -> dict[str, Callable[[], Bytes]]:
    """
    Make the manners; those before C{let_in} answer the WebSocket handshake themselves.
    """
    relay = seeds.relay()
    absent = [frames.Absent(NodeKey(bytes([each]) * 32).node_id).encode() for each in range(1, 99)]
    return {
        "raw: garbage": lambda: iter([source.randbytes(5_000)]),
        "raw: endless head": lambda: iter(
            [b"HTTP/1.1 101 Switching Protocols\r\n", *repeat(b"X-Y: " + b"z" * 900 + b"\r\n", 999)]
        ),
        "raw: endless line": lambda: repeat(b"x" * 1_000),
        "raw: other protocol": lambda: iter([b"HTTP/1.1 101 OK\r\nUpgrade: websocket\r\n\r\n"]),
        "raw: redirect": lambda: iter(
            [b"HTTP/1.1 302 Found\r\nLocation: ws://127.0.0.1:1/\r\n\r\n"]
        ),
        "changed frames": lambda: after_welcome(source, changed_frames(source)),
        "frames out of order": lambda: (message(each) for each in source.sample(relay, len(relay))),
        "two welcomes": lambda: let_in(WELCOME),
        "unknown nodes": lambda: after_welcome(source, delivered(source)),
        "huge numbers": huge_numbers,
        "parks and unparks": lambda: after_welcome(
            source, cycle(message(frames.Notice(each, "x").encode()) for each in (2, 3))
        ),
        "drains": lambda: after_welcome(
            source, (message(frames.Drain(each % 86_400).encode()) for each in count())
        ),
        "absents": lambda: after_welcome(source, map(message, cycle(absent))),
        "fragments without end": lambda: fragments(0x02),
        "text without end": lambda: fragments(0x01),
        "empty fragments": lambda: after_welcome(
            source, iter([b"\x02\x00", *repeat(b"\x00\x00", 99_999)])
        ),
        "a length of 2^63": lambda: after_welcome(source, iter([b"\x82\x7f" + b"\x7f" * 8])),
        "masked": lambda: after_welcome(source, iter([b"\x82\x81abcdx"])),
        "compressed": lambda: after_welcome(source, iter([b"\xc2\x01x"])),
        "pings": lambda: after_welcome(source, repeat(b"\x89\x7d" + b"p" * 125)),
        "pings of its own": lambda: after_welcome(source, repeat(message(b"\x30" + b"12345678"))),
        "refusal": lambda: iter([message(frames.Refused(4, "\x1b]0;owned\x07" * 9).encode())]),
        "welcome and away": lambda: iter([*let_in(), b"\x88\x02\x03\xe8"]),
        "drips": lambda: (bytes((each,)) for each in b"".join(let_in(*relay))),
    }


MANNERS = tuple(_manners(random.Random(0)))


class BadRelay(Protocol):
    """
    One connection of a client.
    """

    transport: Any

    def __init__(self, factory: BadRelayFactory) -> None:
        self._factory = factory
        self._head: bytes | None = b""
        self._says: Bytes = iter(())

    @override
    def dataReceived(self, data: bytes) -> None:
        """
        Answer the handshake; what comes later is not read.
        """
        if self._head is None:
            return
        self._head += data
        if b"\r\n\r\n" not in self._head:
            return
        head, self._head = self._head, None
        if not self._factory.manner.startswith("raw"):
            [key] = [
                line.partition(b":")[2].strip()
                for line in head.split(b"\r\n")
                if line.lower().startswith(b"sec-websocket-key:")
            ]
            accept = base64.b64encode(hashlib.sha1(key + GUID).digest())
            self.transport.write(
                b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
                b"Connection: Upgrade\r\nSec-WebSocket-Protocol: atmosphere.relay.1\r\n"
                b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n"
            )
        self._says = self._factory.script()
        self.transport.registerProducer(self, False)

    def resumeProducing(self) -> None:
        """
        Say more.
        """
        parts, size = [], 0
        is_slow = self._factory.manner == "drips"
        for part in self._says:
            parts.append(part)
            size += len(part)
            if size >= (1 if is_slow else AT_ONCE):
                break
        if parts:
            self.transport.write(b"".join(parts))
        else:
            self.transport.unregisterProducer()

    def stopProducing(self) -> None:
        """
        Say nothing more.
        """
        self._says = iter(())

    @override
    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """
        Stop.
        """
        self._says = iter(())


class BadRelayFactory(Factory[BadRelay]):
    """
    Makes the connections of one port.

    @ivar manner: what they do.
    @ivar connections: how many there were.
    """

    noisy = False

    def __init__(self, manner: str, seed: str, told: Callable[[str], None]) -> None:
        self.manner = manner
        self.connections = 0
        self.script = _manners(random.Random(seed))[manner]
        self._told = told

    @override
    def buildProtocol(self, addr: object) -> BadRelay:
        """
        Take a connection.
        """
        self.connections += 1
        self._told(self.manner)
        return BadRelay(self)


def main() -> None:
    """
    Listen, until the standard input ends.
    """
    from twisted.internet import reactor  # noqa: TID251  # a program, not a library
    from twisted.internet.stdio import StandardIO

    def tell(line: str) -> None:
        sys.stdout.write(line + "\n")
        sys.stdout.flush()

    seed = sys.argv[1] if len(sys.argv) > 1 else "1"
    ports = {}
    for manner in MANNERS:
        factory = BadRelayFactory(manner, seed, tell)
        listening: Any = reactor.listenTCP(0, cast(Any, factory), interface="127.0.0.1")
        ports[manner] = listening.getHost().port
    tell(json.dumps(ports))

    class Ender(Protocol):
        @override
        def connectionLost(self, reason: Failure = connectionDone) -> None:
            reactor.stop()

    StandardIO(Ender())
    reactor.run()


if __name__ == "__main__":
    main()
