# -*- test-case-name: tests.network.ice.test_description -*-
"""
What one ICE agent tells the other, as lines of SDP (RFC 8839 §5): credentials,
candidates, and whether there are more to come.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from atmosphere.errors import DecodeError
from atmosphere.network.nat.credentials import Credentials

from .candidates import IceCandidate, decode_candidate, encode_candidate

__all__ = ["MAX_CANDIDATES", "IceDescription", "decode_description", "encode_description"]

SECTION = "RFC 8839 §5"

#: The most that is read.
MAX_LENGTH = 65_536
MAX_CANDIDATES = 64

_UFRAG = re.compile(r"[A-Za-z0-9+/]{4,256}")
_PWD = re.compile(r"[A-Za-z0-9+/]{22,256}")


@dataclass(frozen=True, slots=True)
class IceDescription:
    """
    How an agent is reached.

    @ivar credentials: its user name fragment and password.
    @ivar candidates: at most 64.
    @ivar is_complete: no more candidates follow (C{end-of-candidates}).
    @ivar is_lite: it answers checks and sends none (RFC 8445 §2.5).
    """

    credentials: Credentials
    candidates: tuple[IceCandidate, ...] = ()
    is_complete: bool = False
    is_lite: bool = field(default=False)


def encode_description(description: IceDescription) -> str:
    """
    Write a description, as lines that may go into SDP as they are.

    @raise ValueError: something does not fit the grammar.
    """
    lines = ["ice-lite"] if description.is_lite else []
    credentials = description.credentials
    lines += [f"ice-ufrag:{credentials.ufrag}", f"ice-pwd:{credentials.pwd}", "ice-options:trickle"]
    lines += [encode_candidate(each) for each in description.candidates]
    if description.is_complete:
        lines.append("end-of-candidates")
    text = "".join(f"a={line}\r\n" for line in lines)
    if decode_description(text) != description:
        raise ValueError("a description out of form")
    return text


def decode_description(text: str) -> IceDescription:
    """
    Read the lines about ICE out of SDP with one media stream; all others are passed over.

    @raise DecodeError: a line about ICE breaks its grammar, stands there twice, or
        the credentials are not there.
    """
    if len(text) > MAX_LENGTH:
        raise DecodeError("the description is too long", section=SECTION)
    single: dict[str, str] = {}
    candidates: list[IceCandidate] = []
    for line in text.split("\n"):
        line = line.removesuffix("\r")
        if not line.startswith("a="):
            continue
        name, _, value = line[2:].partition(":")
        if name == "candidate":
            if len(candidates) == MAX_CANDIDATES:
                raise DecodeError(f"more than {MAX_CANDIDATES} candidates", section=SECTION)
            candidates.append(decode_candidate(line))
        elif name in ("ice-ufrag", "ice-pwd", "ice-lite", "end-of-candidates"):
            if name in single:
                raise DecodeError(f"{name} is there twice", section=SECTION)
            single[name] = value
    for name, pattern in (("ice-ufrag", _UFRAG), ("ice-pwd", _PWD)):
        if name not in single or pattern.fullmatch(single[name]) is None:
            raise DecodeError(f"{name} is missing or out of form", section=SECTION)
    return IceDescription(
        Credentials(single["ice-ufrag"], single["ice-pwd"]),
        tuple(candidates),
        "end-of-candidates" in single,
        "ice-lite" in single,
    )
