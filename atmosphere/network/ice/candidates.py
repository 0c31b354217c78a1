# -*- test-case-name: tests.network.ice.test_candidates -*-
"""
Candidates as other ICE agents write them: lines of SDP (RFC 8839 §5.1).

Reading is strict: one space between fields, numbers in range, and nothing that the
grammar does not have. What is well-formed and of no use to us, such as TCP or a
name instead of an address, is read too, and says so.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from atmosphere.addresses import TransportAddress
from atmosphere.errors import DecodeError
from atmosphere.network.nat.candidates import (
    CandidateType,
    candidate_foundation,
    candidate_priority,
)

__all__ = [
    "MAX_LINE",
    "IceCandidate",
    "decode_candidate",
    "encode_candidate",
    "host_candidate",
    "reflexive_candidate",
]

SECTION = "RFC 8839 §5.1"

#: Longer lines are not read.
MAX_LINE = 1024
MAX_EXTENSIONS = 16

TYPE_WORDS = {
    CandidateType.HOST: "host",
    CandidateType.SERVER_REFLEXIVE: "srflx",
    CandidateType.PEER_REFLEXIVE: "prflx",
    CandidateType.RELAYED: "relay",
}
_TYPES = {word: each for each, word in TYPE_WORDS.items()}

_FOUNDATION = re.compile(r"[A-Za-z0-9+/]{1,32}")
_COMPONENT = re.compile(r"[0-9]{1,3}")
_PRIORITY = re.compile(r"[0-9]{1,10}")
_PORT = re.compile(r"[0-9]{1,5}")
#: token of RFC 8866 §9.
_TOKEN = re.compile(r"[!#$%&'*+\-.0-9A-Z^_`a-z{|}~]{1,64}")
#: An address, or a name that we do not look up.
_CONNECTION_ADDRESS = re.compile(r"[0-9A-Za-z.:\-]{1,255}")
_VALUE = re.compile(r"[!-~]{1,256}")


@dataclass(frozen=True, slots=True)
class IceCandidate:
    """
    One candidate of an ICE agent.

    @ivar foundation: equal for candidates that fail for the same reason.
    @ivar component: 1 to 256; ours has 1 alone.
    @ivar transport: C{udp}, or what it is instead, in small letters.
    @ivar priority: 1 to 2^31 - 1.
    @ivar host: an IP address in canonical text, or a name.
    @ivar port: 0 to 65535.
    @ivar kind: C{host}, C{srflx}, C{prflx}, C{relay}, or something newer.
    @ivar related: what a reflexive or relayed candidate is based on, as it was told;
        of no use but to people.
    @ivar extensions: names and values that follow.
    """

    foundation: str
    component: int
    transport: str
    priority: int
    host: str
    port: int
    kind: str
    related: tuple[str, int] | None = None
    extensions: tuple[tuple[str, str], ...] = field(default=())

    @property
    def type(self) -> CandidateType | None:
        """
        Its type; C{None} for one that we do not know.
        """
        return _TYPES.get(self.kind)

    @property
    def address(self) -> TransportAddress | None:
        """
        Where to send; C{None} where a name stands.
        """
        try:
            return TransportAddress(self.host, self.port)
        except DecodeError:
            return None

    @property
    def is_usable(self) -> bool:
        """
        Whether an agent for UDP and one component can use it.
        """
        is_ours = self.transport == "udp" and self.component == 1
        return is_ours and self.type is not None and self.address is not None


def host_candidate(address: TransportAddress, local_preference: int) -> IceCandidate:
    """
    Make the candidate of a socket of ours.

    @param local_preference: 0 to 65535, another for each socket.
    """
    return IceCandidate(
        candidate_foundation(CandidateType.HOST, address.host),
        1,
        "udp",
        candidate_priority(CandidateType.HOST, local_preference),
        address.host,
        address.port,
        "host",
    )


def reflexive_candidate(
    address: TransportAddress,
    base: IceCandidate,
    *,
    kind: CandidateType = CandidateType.SERVER_REFLEXIVE,
    server: str = "",
) -> IceCandidate:
    """
    Make the candidate of a socket as a server or the peer sees it.

    @param base: the candidate of the socket.
    @param server: the server that told it.
    """
    return IceCandidate(
        candidate_foundation(kind, base.host, server),
        1,
        "udp",
        candidate_priority(kind, base.priority >> 8 & 0xFFFF),
        address.host,
        address.port,
        TYPE_WORDS[kind],
        (base.host, base.port),
    )


def encode_candidate(candidate: IceCandidate) -> str:
    """
    Write a candidate as the value of an C{a=} line: C{candidate:…}.

    @raise ValueError: a value does not fit the grammar.
    """
    words = [
        f"candidate:{candidate.foundation}",
        str(candidate.component),
        candidate.transport,
        str(candidate.priority),
        candidate.host,
        str(candidate.port),
        "typ",
        candidate.kind,
    ]
    if candidate.related is not None:
        host, port = candidate.related
        words += ["raddr", host, "rport", str(port)]
    for name, value in candidate.extensions:
        words += [name, value]
    line = " ".join(words)
    if decode_candidate(line) != candidate:
        raise ValueError(f"a candidate out of form: {line!r}")
    return line


def _match(pattern: re.Pattern[str], text: str, name: str) -> str:
    """
    Check a field against its pattern.
    """
    if pattern.fullmatch(text) is None:
        raise DecodeError(f"a candidate's {name} is out of form", section=SECTION)
    return text


def _number(pattern: re.Pattern[str], text: str, low: int, high: int, name: str) -> int:
    """
    Read a number in its range.
    """
    number = int(_match(pattern, text, name))
    if not low <= number <= high:
        raise DecodeError(f"a candidate's {name} is out of range", section=SECTION)
    return number


def _host(text: str) -> str:
    """
    Read an address, or leave a name as it is.
    """
    _match(_CONNECTION_ADDRESS, text, "address")
    try:
        return TransportAddress(text, 0).host
    except DecodeError:
        if ":" in text or text.replace(".", "").isdigit():
            raise
        return text


def decode_candidate(line: str) -> IceCandidate:
    """
    Read C{candidate:…}, with C{a=} before it or without.

    @raise DecodeError: it breaks the grammar, or a range.
    """
    if len(line) > MAX_LINE:
        raise DecodeError("a candidate's line is too long", section=SECTION)
    start, colon, rest = line.removeprefix("a=").partition(":")
    words = rest.split(" ")
    if start != "candidate" or not colon or len(words) < 8 or words[6] != "typ":
        raise DecodeError("not a candidate's line", section=SECTION)
    foundation, component, transport, priority, host, port, _, kind, *more = words
    related = None
    if more[:1] == ["raddr"]:
        if len(more) < 4 or more[2] != "rport":
            raise DecodeError("a candidate's raddr without its rport", section=SECTION)
        related = _host(more[1]), _number(_PORT, more[3], 0, 65535, "related port")
        more = more[4:]
    if len(more) % 2 or len(more) > 2 * MAX_EXTENSIONS:
        raise DecodeError("a candidate's extensions are no pairs", section=SECTION)
    return IceCandidate(
        _match(_FOUNDATION, foundation, "foundation"),
        _number(_COMPONENT, component, 1, 256, "component"),
        _match(_TOKEN, transport, "transport").lower(),
        _number(_PRIORITY, priority, 1, 2**31 - 1, "priority"),
        _host(host),
        _number(_PORT, port, 0, 65535, "port"),
        _match(_TOKEN, kind, "type"),
        related,
        tuple(
            (_match(_TOKEN, name, "extension"), _match(_VALUE, value, "extension"))
            for name, value in zip(more[::2], more[1::2], strict=True)
        ),
    )
