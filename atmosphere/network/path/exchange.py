# -*- test-case-name: tests.network.path.test_exchange -*-
"""
The offer: what each side of a link tells the other so that both can check ways.

It travels on the link's encrypted control stream; C{docs/protocols/paths.md} §2
is its format.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from atmosphere import wire
from atmosphere.addresses import TransportAddress
from atmosphere.errors import DecodeError
from atmosphere.network.nat.candidates import MAX_CANDIDATES, Candidate, CandidateType, prune

__all__ = [
    "MAX_OFFER_LENGTH",
    "MAX_RELAYS",
    "PathOffer",
    "decode_offer",
    "encode_offer",
    "next_offer",
]

VERSION = 1

#: What the seventh element says of C{has_stable_port}.
_PORTS = {1: True, 2: False}

MAX_OFFER_LENGTH = 4096
MAX_RELAYS = 8
MAX_URL_LENGTH = 256
MAX_GENERATION = 2**32 - 1

_UFRAG = re.compile(r"[A-Za-z0-9+/]{4,32}")
_PWD = re.compile(r"[A-Za-z0-9+/]{22,64}")
_FOUNDATION = re.compile(r"[A-Za-z0-9+/]{1,32}")
_URL = re.compile(r"wss?://[!-~]+")


@dataclass(frozen=True, slots=True)
class PathOffer:
    """
    How a node can be reached, and how its checks are recognised.

    @ivar ufrag: 4 to 32 ICE characters that name the sender's end of the link.
    @ivar pwd: 22 to 64 ICE characters, the key of checks to the sender.
    @ivar candidates: at most 16.
    @ivar relays: at most 8 URLs of relays at which the sender listens.
    @ivar generation: an offer replaces those with a lower one.
    @ivar has_stable_port: whether all who were asked see the sender at one port; if
        not, its NAT's mapping is address-dependent. C{None} if it does not know.
    """

    ufrag: str
    pwd: str = field(repr=False)
    candidates: tuple[Candidate, ...] = ()
    relays: tuple[str, ...] = ()
    generation: int = 1
    has_stable_port: bool | None = None


def next_offer(
    before: PathOffer | None,
    ufrag: str,
    pwd: str,
    candidates: Iterable[Candidate],
    relays: Iterable[str],
    has_stable_port: bool | None = None,
) -> PathOffer:
    """
    Make the offer that follows another.

    @return: the same if nothing changed, else one of the next generation.
    """
    generation = 1 if before is None else before.generation
    told = (prune(candidates), tuple(dict.fromkeys(relays))[:MAX_RELAYS])
    made = PathOffer(ufrag, pwd, *told, generation, has_stable_port)
    if before is None or made == before:
        return made if before is None else before
    return replace(made, generation=generation + 1)


def encode_offer(offer: PathOffer) -> bytes:
    """
    Write an offer.

    @raise ValueError: it breaks a limit that the peer would insist on.
    """
    data = wire.encode(
        [
            VERSION,
            offer.generation,
            offer.ufrag,
            offer.pwd,
            [
                [
                    each.type.value,
                    each.address.packed,
                    each.address.port,
                    each.priority,
                    each.foundation,
                ]
                for each in offer.candidates
            ],
            list(offer.relays),
            *([] if offer.has_stable_port is None else [1 if offer.has_stable_port else 2]),
        ]
    )
    decode_offer(data)
    return data


def _text(value: wire.Value, pattern: re.Pattern[str], name: str) -> str:
    """
    Check a text against its pattern.
    """
    if not isinstance(value, str) or pattern.fullmatch(value) is None:
        raise DecodeError(f"an offer's {name} is out of form")
    return value


def _number(value: wire.Value, low: int, high: int, name: str) -> int:
    """
    Check a number against its range.
    """
    if type(value) is not int or not low <= value <= high:
        raise DecodeError(f"an offer's {name} is out of range")
    return value


def _decode_candidate(value: wire.Value) -> Candidate:
    """
    Read one candidate.
    """
    match value:
        case [kind, bytes() as packed, port, priority, foundation]:
            return Candidate(
                CandidateType(_number(kind, 0, len(CandidateType) - 1, "candidate type")),
                TransportAddress.from_bytes(packed, _number(port, 0, 65535, "port")),
                _number(priority, 1, 2**31 - 1, "priority"),
                _text(foundation, _FOUNDATION, "foundation"),
            )
        case _:
            raise DecodeError("an offer's candidate is out of form")


def decode_offer(data: bytes) -> PathOffer:
    """
    Read an offer. What it names has yet to pass the address rules.

    @raise DecodeError: it breaks its form or a limit.
    """
    match wire.decode(data, max_length=MAX_OFFER_LENGTH):
        case [1, generation, ufrag, pwd, list() as candidates, list() as relays, *rest]:
            pass
        case _:
            raise DecodeError("not an offer of version 1")
    if len(candidates) > MAX_CANDIDATES:
        raise DecodeError(f"{len(candidates)} candidates where {MAX_CANDIDATES} are the most")
    if len(relays) > MAX_RELAYS:
        raise DecodeError(f"{len(relays)} relays where {MAX_RELAYS} are the most")
    urls = tuple(_text(each, _URL, "relay") for each in relays)
    if any(len(url) > MAX_URL_LENGTH for url in urls):
        raise DecodeError("an offer's relay is too long")
    return PathOffer(
        _text(ufrag, _UFRAG, "ufrag"),
        _text(pwd, _PWD, "pwd"),
        tuple(_decode_candidate(each) for each in candidates),
        urls,
        _number(generation, 1, MAX_GENERATION, "generation"),
        _PORTS.get(rest[0]) if rest and type(rest[0]) is int else None,
    )
