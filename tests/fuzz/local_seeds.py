"""
Good inputs of programs on the machine, and of files: see L{tests.fuzz.seeds}.
"""

from __future__ import annotations

import json
from pathlib import Path

from atmosphere.node.config import NodeConfig, encode_config
from atmosphere.node.state_file import encode_state

from .seeds import ADDRESS, ADDRESS6, RELAY


def framed() -> list[bytes]:
    """
    Write the frames of a local stream.
    """
    small = b"\0\0\0\x05hello"
    return [small, small + bytes(4), small * 20, b"\x80\0\0\x04gone", b"\0\0\0\1x" * 500]


def http() -> list[bytes]:
    """
    Write requests to the local API.
    """
    bodies = {
        "invite": {"hours": 1.5, "uses": 2, "mesh_name": "home"},
        "join": {"code": "atm1-x"},
        "leave": {},
        "ping": {"peer": "seattle", "count": 3, "interval": 0.5, "until_direct": True},
        "services/expose": {"service": "ssh", "target": "22", "to": ["seattle"], "keep": True},
        "services/forward": {"listen": "2222", "peer": "portland", "service": "ssh"},
        "invitations/revoke": {"invite_id": "7f3a"},
    }
    written = []
    for path, body in bodies.items():
        text = json.dumps(body)
        head = f"POST /v1/{path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(text)}\r\n\r\n"
        written.append((head + text).encode())
    chunked = "POST /v1/leave HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
    return [
        *written,
        b"GET /v1/status HTTP/1.1\r\nHost: localhost\r\n\r\n",
        (chunked + "2\r\n{}\r\n0\r\n\r\n").encode(),
    ]


def states() -> list[bytes]:
    """
    Write state files.
    """
    payload = json.dumps({"chain": "AAAA", "mesh_name": "home", "relays": []}).encode()
    return [encode_state("membership", 1, payload), encode_state("node-key", 2, bytes(32))]


def configs() -> list[bytes]:
    """
    Write configurations.
    """
    full = NodeConfig("portland", relays=(RELAY,), udp_port=7777, advertise=(ADDRESS, ADDRESS6))
    shipped = Path(__file__).with_name("config.toml")
    found = [encode_config(NodeConfig("portland")), encode_config(full)]
    return [*(each.encode() for each in found), shipped.read_bytes()]


def json_texts() -> list[bytes]:
    """
    Write JSON, good and bad.
    """
    return [
        b'{"peer":"seattle","count":3,"x":[1,2.5,{"y":null}]}',
        b'{"a":1e999}',
        b'{"a":NaN,"a":1}',
        b"[" * 100,
        b'"\\ud800\\u0000"',
        b"-" + b"9" * 5000,
        b'{"a":' * 8 + b"1" + b"}" * 8,
    ]


def stream_requests() -> list[bytes]:
    """
    Write requests of programs for streams.
    """
    asked = [
        {"connect": "portland", "service": "chat", "timeout": 1.5, "framed": True},
        {"connect": "portland", "service": "chat", "path": "direct", "mesh": "home"},
        {"listen": "chat", "to": ["seattle"]},
        {"accept": "token"},
        {"refuse": "token", "reason": "no"},
    ]
    return [json.dumps(each).encode() + b"\nearly" for each in asked]
