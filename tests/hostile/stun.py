"""
What a STUN server sends for each kind of request: bytes for bytes.

Run from the root of a checkout: C{python -m tests.hostile.stun [--json]}. Nothing is
sent; the server's rules are asked.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from atmosphere.addresses import TransportAddress
from atmosphere.network.stun.attributes import (
    CHANGE_REQUEST,
    PADDING,
    RESPONSE_PORT,
    SOFTWARE,
    Attribute,
)
from atmosphere.network.stun.binding import PRIMARY, SECOND_PORT, BindingResponder, Corner
from atmosphere.network.stun.message import Class, Message, encode_message
from atmosphere.network.stun.values import MAGIC_COOKIE, ChangeRequest

from .live import show

__all__ = ["CORNERS", "SOURCES", "factor", "requests", "responder"]

TRANSACTION = bytes(range(12))

#: The sockets of a server that has all four.
CORNERS = {
    PRIMARY: TransportAddress("192.0.2.1", 3478),
    SECOND_PORT: TransportAddress("192.0.2.1", 3479),
    Corner(True, False): TransportAddress("192.0.2.2", 3478),
    Corner(True, True): TransportAddress("192.0.2.2", 3479),
}
CORNERS6 = {
    corner: TransportAddress(address.host.replace("192.0.2.", "2001:db8::"), address.port)
    for corner, address in CORNERS.items()
}

#: Who asks, and the bytes of the headers of IP and UDP.
SOURCES = {"IPv4": ("198.51.100.1", 28), "IPv6": ("2001:db8:1::1", 48)}


def unknown(count: int) -> bytes:
    """
    Write a request that demands attributes which nobody knows, one of them, or many.
    """
    body = b"".join((0x7F00 + number).to_bytes(2, "big") + bytes(2) for number in range(count))
    return b"\x00\x01" + len(body).to_bytes(2, "big") + MAGIC_COOKIE + TRANSACTION + body


def requests() -> Iterator[tuple[str, bytes]]:
    """
    Write one request of each kind.
    """

    def write(*attributes: tuple[Attribute[Any], Any]) -> bytes:
        return encode_message(Message(Class.REQUEST, TRANSACTION, attributes))

    plain = write()
    yield "plain", plain
    yield "without the cookie", plain[:4] + bytes(4) + plain[8:]
    yield "an indication", b"\x00\x11" + plain[2:]
    yield "a response", b"\x01\x01" + plain[2:]
    yield "malformed", plain[:3] + b"\x04" + plain[4:] + b"\x00\x06\x00\xff"
    yield (
        "with integrity and fingerprint",
        encode_message(Message(Class.REQUEST, TRANSACTION), key=b"key", fingerprint=True),
    )
    for count in (1, 2, 16, 64):
        yield f"demands {count} unknown attributes", unknown(count)
    changes = {
        "port": ChangeRequest(change_address=False, change_port=True),
        "address": ChangeRequest(change_address=True, change_port=False),
        "both": ChangeRequest(change_address=True, change_port=True),
    }
    for name, change in changes.items():
        for padding in (0, 8, 40, 400):
            padded = ((PADDING, bytes(padding)),) if padding else ()
            yield (
                f"other {name}, padding {padding}",
                write((CHANGE_REQUEST, change), *padded),
            )
    for software in (0, 16, 28, 400):
        more = ((SOFTWARE, "s" * software),) if software else ()
        yield f"to another port, software {software}", write((RESPONSE_PORT, 40_001), *more)
    yield (
        "to another port, padding 40",
        write((RESPONSE_PORT, 40_001), (PADDING, bytes(40))),
    )
    for padding in (4, 40, 400):
        yield f"padding {padding}", write((PADDING, bytes(padding)))


def responder(family: str, sockets: int) -> BindingResponder:
    """
    Make a server with so many sockets.
    """
    corners = CORNERS if family == "IPv4" else CORNERS6
    return BindingResponder(corners=dict(list(corners.items())[:sockets]))


def factor(request: bytes, answer: bytes | None, header: int) -> float:
    """
    Say how many bytes go over the line for each that came.
    """
    return 0.0 if answer is None else (len(answer) + header) / (len(request) + header)


def main() -> None:
    """
    Print a table.
    """
    rows, figures = [], {}
    for kind, request in requests():
        cells = []
        for family, (host, header) in SOURCES.items():
            for sockets in (1, 4):
                source = TransportAddress(host, 40_000)
                answer = responder(family, sockets).answer(request, source, 0.0)
                data = None if answer is None else answer.data
                shown = "-" if data is None else str(len(data))
                cells.append(f"{shown:>5} {factor(request, data, header):4.2f}")
                figures[f"{kind}, {family}, {sockets} sockets"] = factor(request, data, header)
        rows.append(f"{kind:32} {len(request):5} | {' | '.join(cells)}")
    heading = f"{'request':32} bytes |  IPv4, 1    | IPv4, 4    | IPv6, 1    | IPv6, 4"
    show(
        "STUN answers, bytes and share of the line",
        figures,
        f"at most {max(figures.values()):.2f}\n" + "\n".join([heading, *rows]),
    )


if __name__ == "__main__":
    main()
