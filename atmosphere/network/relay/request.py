# -*- test-case-name: tests.network.relay.test_request -*-
"""
The head of an HTTP request (RFC 9112), read strictly and once.

What routes a request and what authorises it are the same parsed values; what
is ambiguous is refused, not repaired.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from atmosphere.errors import DecodeError

__all__ = [
    "RequestHead",
    "check_response_head",
    "decode_head",
    "plain_response",
    "websocket_head",
]

_TOKEN = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,64}")
_TARGET = re.compile(rb"/[\x21-\x7e]*")
_VALUE = re.compile(rb"[\t\x20-\x7e\x80-\xff]*")
_STATUS = re.compile(rb"HTTP/1\.[01] [1-5][0-9][0-9](?: [\t\x20-\x7e]*)?")
_END = b"\r\n\r\n"
_MAX_HEADERS = 100
_SINGLE = frozenset({"host", "content-length", "origin", "upgrade", "transfer-encoding"})

_REASONS = {
    400: "Bad Request",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    408: "Request Timeout",
    413: "Content Too Large",
    421: "Misdirected Request",
    426: "Upgrade Required",
    429: "Too Many Requests",
    431: "Request Header Fields Too Large",
    503: "Service Unavailable",
}


@dataclass(frozen=True, slots=True)
class RequestHead:
    """
    A request line and its headers.

    @ivar path: the target without its query, as it stands.
    @ivar headers: values by name in lower case; repeated ones are joined by commas.
    """

    method: str
    path: str
    headers: dict[str, str]

    @property
    def has_body(self) -> bool:
        """
        Whether more than the head belongs to the request.
        """
        return "transfer-encoding" in self.headers or self.headers.get(
            "content-length", "0"
        ).strip() not in ("0", "")

    @property
    def wants_websocket(self) -> bool:
        """
        Whether the client asks for the WebSocket protocol.
        """
        upgrades = self.headers.get("upgrade", "").lower().split(",")
        return "websocket" in [each.strip() for each in upgrades]


def decode_head(data: bytes) -> RequestHead:
    """
    Read a head.

    @param data: up to and including the empty line.
    @raise DecodeError: not HTTP/1, or something that two readers could read differently.
    """
    if not data.endswith(_END):
        raise DecodeError("the head does not end with an empty line", section="RFC 9112 §2.1")
    lines = data[:-4].split(b"\r\n")
    parts = lines[0].split(b" ")
    if len(parts) != 3 or parts[2] not in (b"HTTP/1.1", b"HTTP/1.0"):
        raise DecodeError("not a request line", section="RFC 9112 §3")
    method, target, _ = parts
    if not _TOKEN.fullmatch(method) or not _TARGET.fullmatch(target):
        raise DecodeError("not a method and a path", section="RFC 9112 §3")
    if len(lines) > 1 + _MAX_HEADERS:
        raise DecodeError(f"more than {_MAX_HEADERS} headers")
    headers: dict[str, str] = {}
    for line in lines[1:]:
        raw_name, colon, raw_value = line.partition(b":")
        if not colon or not _TOKEN.fullmatch(raw_name) or not _VALUE.fullmatch(raw_value):
            raise DecodeError("not a header", section="RFC 9112 §5")
        name, value = raw_name.decode("ascii").lower(), raw_value.decode("latin-1").strip()
        if name in headers:
            if name in _SINGLE:
                raise DecodeError(f"{name} twice", section="RFC 9112 §3.2")
            value = f"{headers[name]}, {value}"
        headers[name] = value
    path = target.decode("ascii").partition("?")[0].partition("#")[0]
    return RequestHead(method.decode("ascii"), path, headers)


_FOR_WEBSOCKET = ("host", "sec-websocket-key", "sec-websocket-version", "sec-websocket-protocol")


def websocket_head(request: RequestHead) -> bytes:
    """
    Write the head of an opening handshake anew, with nothing in it but what one needs.

    @param request: which asks for WebSocket.
    @see: RFC 6455 §4.1
    """
    lines = [f"GET {request.path} HTTP/1.1", "Upgrade: websocket"]
    lines += [
        f"{name}: {request.headers[name]}" for name in _FOR_WEBSOCKET if name in request.headers
    ]
    if "connection" in request.headers:
        lines.append(f"Connection: {request.headers['connection']}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


def check_response_head(data: bytes) -> None:
    """
    See that the head of a response is one that any reader reads alike.

    @param data: up to and including the empty line.
    @raise DecodeError: not HTTP/1.
    """
    lines = data[:-4].split(b"\r\n")
    if not data.endswith(_END) or not _STATUS.fullmatch(lines[0]) or not data.isascii():
        raise DecodeError("not a status line", section="RFC 9112 §4")
    for line in lines[1:]:
        name, colon, value = line.partition(b":")
        if not colon or not _TOKEN.fullmatch(name) or not _VALUE.fullmatch(value):
            raise DecodeError("not a header", section="RFC 9112 §5")


def plain_response(status: int) -> bytes:
    """
    Write a whole response that says nothing but its status.
    """
    reason = _REASONS[status]
    body = f"{reason.lower()}\n"
    return (
        f"HTTP/1.1 {status} {reason}\r\nContent-Type: text/plain\r\n"
        f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n{body}"
    ).encode("ascii")
