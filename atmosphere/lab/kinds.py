# -*- test-case-name: tests.lab.test_kinds -*-
"""
The kinds of homes: what stands between a machine and the Internet, the rules that
make the kernel's NAT such a router, and what has to be measured behind it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from enum import Enum
from itertools import combinations_with_replacement

from atmosphere.errors import ConfigurationError
from atmosphere.network.stun.behavior import Dependence

__all__ = ["Expected", "Kind", "Prospect", "all_pairs", "parse_pair", "prospect", "router_rules"]

_FREE = Dependence.ENDPOINT_INDEPENDENT
_BY_ADDRESS = Dependence.ADDRESS_DEPENDENT
_BY_PORT = Dependence.ADDRESS_AND_PORT_DEPENDENT


class Kind(Enum):
    """
    What a home is like.
    """

    NONE = "none"
    FULL_CONE = "full-cone"
    ADDRESS_RESTRICTED = "address-restricted"
    PORT_RESTRICTED = "port-restricted"
    SYMMETRIC = "symmetric"
    CGNAT = "cgnat"
    UDP_BLOCKED = "udp-blocked"
    TCP_443_ONLY = "tcp-443-only"
    SAME_LAN = "same-lan"
    IPV6 = "ipv6"
    SAME_CGNAT = "same-cgnat"
    SAME_CGNAT_HAIRPIN = "same-cgnat-hairpin"

    @property
    def words(self) -> str:
        """
        What stands there, for people.
        """
        return _WORDS[self]

    @property
    def is_shared(self) -> bool:
        """
        Whether two of these have something in common: a LAN, or the NAT of a carrier.
        """
        return self in (Kind.SAME_LAN, *_SHARED_CARRIERS)

    @property
    def shares_carrier(self) -> bool:
        """
        Whether two of these are behind one carrier.
        """
        return self in _SHARED_CARRIERS

    @property
    def expected(self) -> Expected:
        """
        What has to be measured from there by IPv4.
        """
        return _EXPECTED.get(self, Expected(mapping=_FREE, filtering=_BY_PORT))

    @property
    def expected_by_ipv6(self) -> Expected | None:
        """
        What has to be measured by IPv6; C{None} where there is none.
        """
        if self is Kind.IPV6:
            return Expected(is_behind_nat=False, mapping=_FREE, filtering=_BY_PORT)
        return None


@dataclass(frozen=True, slots=True)
class Expected:
    """
    What our own behaviour discovery has to find before a home is trusted.

    @ivar is_behind_nat: whether the servers see another address than the machine's own.
    @ivar mapping: on what mappings depend; C{None} if no UDP goes through.
    @ivar filtering: on what it depends who is let in; likewise.
    @ivar tcp: which of C{places.TCP_PORTS} can be reached.
    @ivar hairpin: whether what is sent to the public address comes back in; C{None} if
        that is not looked at.
    """

    is_behind_nat: bool = True
    mapping: Dependence | None = None
    filtering: Dependence | None = None
    tcp: tuple[int, ...] = (443, 8080)
    hairpin: bool | None = None

    @property
    def udp(self) -> bool:
        """
        Whether UDP goes through.
        """
        return self.mapping is not None


_WORDS = {
    Kind.NONE: "a public address, no router and no firewall",
    Kind.FULL_CONE: "a NAT that keeps one port per local port and lets everybody in",
    Kind.ADDRESS_RESTRICTED: "a NAT that lets in whoever has the address of somebody asked",
    Kind.PORT_RESTRICTED: "a NAT that lets in answers alone, as most home routers do",
    Kind.SYMMETRIC: "a NAT that takes another port for each destination",
    Kind.CGNAT: "a home router behind the NAT of a carrier, both port-restricted",
    Kind.UDP_BLOCKED: "a NAT that lets no UDP through",
    Kind.TCP_443_ONLY: "a firewall that lets nothing out but TCP to port 443",
    Kind.SAME_LAN: "a LAN behind a port-restricted NAT; two of these are one and the same LAN",
    Kind.IPV6: "IPv6 behind a stateful firewall, and IPv4 behind a port-restricted NAT",
    Kind.SAME_CGNAT: "cgnat; two of these share one carrier, whose NAT leads nothing back in",
    Kind.SAME_CGNAT_HAIRPIN: "cgnat; two of these share one carrier, that leads them to each other",
}

_SHARED_CARRIERS = (Kind.SAME_CGNAT, Kind.SAME_CGNAT_HAIRPIN)

_EXPECTED = {
    Kind.NONE: Expected(is_behind_nat=False, mapping=_FREE, filtering=_FREE),
    Kind.FULL_CONE: Expected(mapping=_FREE, filtering=_FREE),
    Kind.ADDRESS_RESTRICTED: Expected(mapping=_FREE, filtering=_BY_ADDRESS),
    Kind.SYMMETRIC: Expected(mapping=_BY_PORT, filtering=_BY_PORT),
    Kind.UDP_BLOCKED: Expected(),
    Kind.TCP_443_ONLY: Expected(tcp=(443,)),
    Kind.SAME_CGNAT: Expected(mapping=_FREE, filtering=_BY_PORT, hairpin=False),
    Kind.SAME_CGNAT_HAIRPIN: Expected(mapping=_FREE, filtering=_BY_PORT, hairpin=True),
}


class Prospect(Enum):
    """
    What the two NATs of a pair allow.

    C{HARD} is one that chooses a port for each destination before one that lets in
    answers alone: direct for who guesses ports, as nodes do.
    """

    DIRECT = "direct"
    HARD = "hard"
    RELAYED = "relayed"


def prospect(one: Kind, two: Kind) -> Prospect:
    """
    Say what can be hoped for between two homes.
    """
    if not (one.expected.udp and two.expected.udp):
        return Prospect.RELAYED
    if one is two is Kind.SAME_CGNAT:
        return Prospect.RELAYED
    mappings = {one.expected.mapping, two.expected.mapping}
    if mappings == {_FREE}:
        return Prospect.DIRECT
    if mappings == {_BY_PORT}:
        return Prospect.RELAYED
    easy = one if one.expected.mapping is _FREE else two
    return Prospect.HARD if easy.expected.filtering is _BY_PORT else Prospect.DIRECT


def parse_pair(text: str) -> tuple[Kind, Kind]:
    """
    Read a pair such as C{symmetric x cgnat}.

    @raise ConfigurationError: it is none.
    """
    names = [
        each.strip().lower() for each in re.split(r"\s+[xX]\s+|\s*\N{MULTIPLICATION SIGN}\s*", text)
    ]
    known = {kind.value: kind for kind in Kind}
    if len(names) != 2:
        raise ConfigurationError(
            f"{text!r} is no pair: write two kinds of homes and an x between them, such as"
            " 'symmetric x cgnat'; `atmosphere lab list` names them"
        )
    for name in names:
        if name not in known:
            near = get_close_matches(name, known, 1)
            meant = f": did you mean {near[0]}? The" if near else "; the"
            raise ConfigurationError(
                f"{name!r} is no kind of home{meant} kinds are {', '.join(known)}"
            )
    return known[names[0]], known[names[1]]


def all_pairs() -> Iterable[tuple[Kind, Kind]]:
    """
    List each pair of kinds once. Homes behind one carrier are listed with each other
    alone: to all others they are C{cgnat}.
    """
    for one, two in combinations_with_replacement(Kind, 2):
        if one is two or not (one.shares_carrier or two.shares_carrier):
            yield one, two


#: What every router does: what goes out is translated, and nothing comes in unasked.
#: Strangers' packets to the router itself are dropped rather than refused: an answer
#: would make the kernel own the connection, and translate our own next packet to
#: another port.
_ROUTER = """
table ip home {{
{contacted}
  chain incoming {{
    type nat hook prerouting priority -100;
{incoming}
  }}
  chain outgoing {{
    type nat hook postrouting priority 100;
    oifname "outside" masquerade {how}
  }}
  chain noting {{
    type filter hook forward priority -10;
{noting}
  }}
}}
table inet wall {{
  chain to_router {{
    type filter hook input priority 0;
    iifname "outside" ct state established,related accept
    iifname "outside" drop
  }}
  chain through {{
    type filter hook forward priority 0; policy drop;
{blocking}
    ct state established,related accept
    iifname "inside" accept
    ct status dnat accept
  }}
}}
"""

#: From which port inside whom was sent to. A chain for translation sees the first packet of a
#: connection alone, so that a filter has to keep them fresh.
_CONTACTED = """
  set contacted {
    type ipv4_addr . inet_service; flags dynamic,timeout; size 65535; timeout 120s;
  }
"""


def router_rules(kind: Kind, inside: str) -> str:
    """
    Write the nftables rules of a home's router.

    Its interfaces are C{inside} and C{outside}.

    @param inside: the IPv4 address of the one machine that a full cone leads to.
    """
    parts = dict.fromkeys(("contacted", "incoming", "how", "noting", "blocking"), "")
    match kind:
        case Kind.FULL_CONE:
            parts["incoming"] = f'    iifname "outside" dnat to {inside}'
        case Kind.ADDRESS_RESTRICTED:
            parts["contacted"] = _CONTACTED
            known = "ip saddr . udp dport @contacted"
            parts["incoming"] = f'    iifname "outside" {known} dnat to {inside}'
            parts["noting"] = '    oifname "outside" update @contacted { ip daddr . udp sport }'
        case Kind.SYMMETRIC:
            parts["how"] = "fully-random"
        case Kind.UDP_BLOCKED:
            parts["blocking"] = "    meta l4proto udp drop"
        case Kind.TCP_443_ONLY:
            parts["blocking"] = '    iifname "inside" tcp dport != 443 drop\n'
            parts["blocking"] += '    iifname "inside" meta l4proto != tcp drop'
        case _:  # answers alone are let in: what every router does
            parts["how"] = ""
    return _ROUTER.format(**parts)
