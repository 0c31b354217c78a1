# -*- test-case-name: tests.network.path.test_hard_pair -*-
"""
Of which two NATs ports are guessed, and where: what two offers say of that.

C{docs/protocols/prediction.md} §1 is what it follows.
"""

from __future__ import annotations

from dataclasses import dataclass

from atmosphere.addresses import AddressKind, TransportAddress, address_kind
from atmosphere.network.nat.candidates import CandidateType

from .exchange import PathOffer
from .ways import DirectWay, Way

__all__ = ["Pair", "find_pair"]


@dataclass(frozen=True, slots=True)
class Pair:
    """
    The two sides, as their offers have them.

    @ivar is_hard: we are the side whose NAT takes another port for each destination.
    @ivar target: the easy side's address and port.
    @ivar host: the hard side's address.
    """

    is_hard: bool
    target: TransportAddress
    host: str

    def made(self, way: Way) -> bool:
        """
        Say whether a way is such as comes of guessing.
        """
        if not isinstance(way, DirectWay):
            return False
        return way.socket is not None if self.is_hard else way.address.host == self.host

    def is_hit(self, way: Way) -> bool:
        """
        Say whether a way leads to where a burst is sent.
        """
        if not isinstance(way, DirectWay):
            return False
        return way.address == self.target if self.is_hard else way.address.host == self.host


def _global(offer: PathOffer, kind: CandidateType) -> TransportAddress | None:
    """
    Find the first global IPv4 address of a kind in an offer.
    """
    for each in offer.candidates:
        address = each.address
        if each.type is kind and not address.is_ipv6:
            if address_kind(address.packed) is AddressKind.GLOBAL:
                return address
    return None


def find_pair(ours: PathOffer | None, theirs: PathOffer | None) -> Pair | None:
    """
    See who would be which side.

    @return: C{None} if there is nothing to guess.
    """
    if ours is None or theirs is None:
        return None
    is_hard = ours.has_stable_port is False
    if is_hard == (theirs.has_stable_port is False):
        return None
    hard, easy = (ours, theirs) if is_hard else (theirs, ours)
    target = _global(easy, CandidateType.SERVER_REFLEXIVE) or _global(easy, CandidateType.HOST)
    host = _global(hard, CandidateType.SERVER_REFLEXIVE)
    if target is None or host is None or target.host == host.host:
        return None
    return Pair(is_hard, target, host.host)
