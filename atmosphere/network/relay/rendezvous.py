# -*- test-case-name: tests.network.relay.test_rendezvous -*-
"""
Where two meet at a relay that know nothing but each other's transport address.

Each side computes the same session ID from its own address and the other's,
in whichever order. It is no secret: whoever knows both addresses can compute
it too. Then each says that it has come, so that the other knows of it.
"""

from __future__ import annotations

import hashlib
from base64 import urlsafe_b64encode
from collections.abc import Iterable

from atmosphere.addresses import AddressKind, TransportAddress, address_kind

__all__ = ["GREETING", "MAX_SESSIONS", "own_endpoints", "random_session", "session_of"]

#: What each side sends first.
GREETING = b"atmosphere.pair.1"

#: So many sessions are tried at once: with those of a peer behind the same
#: address they are as many as a relay lets one address wait for a partner in.
MAX_SESSIONS = 4

_DOMAIN = b"atmosphere session of two transport addresses 1\0"
_SESSION_BYTES = 16


def _text(raw: bytes) -> str:
    """
    Write bytes as they may stand in a session ID.
    """
    return urlsafe_b64encode(raw).rstrip(b"=").decode("ascii")


def random_session(raw: bytes) -> str:
    """
    Make a session ID that nobody can guess.

    @param raw: 16 random bytes.
    """
    return _text(raw)


def session_of(first: TransportAddress, second: TransportAddress) -> str:
    """
    Make the session ID of two transport addresses.

    @return: 22 characters; the same if the two change places.
    """
    joined = "\0".join(sorted((str(first), str(second)))).encode("ascii")
    return _text(hashlib.sha256(_DOMAIN + joined).digest()[:_SESSION_BYTES])


def own_endpoints(
    candidates: Iterable[TransportAddress], remote: TransportAddress
) -> list[TransportAddress]:
    """
    Choose as what the peer may know us.

    @param candidates: all that we have or are seen as, the likelier first.
    @param remote: as what we know the peer: whoever is known by a public
        address is likelier to know us by one, and so with private ones and loopback.
    @return: those of the peer's address family, at most L{MAX_SESSIONS}.
    """
    kind = address_kind(remote.packed)
    possible = [
        each
        for each in dict.fromkeys(candidates)
        if each.is_ipv6 == remote.is_ipv6
        and each != remote
        and address_kind(each.packed) is not AddressKind.NEVER
    ]
    possible.sort(key=lambda each: address_kind(each.packed) is not kind)
    return possible[:MAX_SESSIONS]
