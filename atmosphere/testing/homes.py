# -*- test-case-name: tests.testing.test_homes -*-
"""
Homes: what stands between a machine and the Internet, by the names that people use.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import Enum
from itertools import count

from .firewall import lets_no_udp_out, lets_tcp_443_out
from .host import Host
from .link import Link
from .nat import (
    ADDRESS_RESTRICTED,
    CGNAT,
    FULL_CONE,
    PORT_RESTRICTED,
    SYMMETRIC,
    Nat,
)
from .network import SimulatedNetwork
from .router import Router

__all__ = ["Home", "HomeKind", "Homes"]


class HomeKind(Enum):
    """
    What a home is like; the names are those of C{atmosphere lab}.

    C{NONE} is a public address. C{CGNAT} is a port-restricted router behind the NAT
    of a carrier; all C{SAME_CGNAT} share one carrier, and all C{SAME_CGNAT_HAIRPIN}
    one that leads back what they send to its public address. C{UDP_BLOCKED} and
    C{TCP_443_ONLY} let only the rest out, or only that. All C{SAME_LAN} are one LAN
    behind a port-restricted router. C{IPV6} has a stateful firewall before its public
    IPv6 addresses, and a port-restricted NAT.
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


_NATS = {
    HomeKind.FULL_CONE: FULL_CONE,
    HomeKind.ADDRESS_RESTRICTED: ADDRESS_RESTRICTED,
    HomeKind.SYMMETRIC: SYMMETRIC,
}
_SHARED = (HomeKind.SAME_CGNAT, HomeKind.SAME_CGNAT_HAIRPIN)
_RULES = {HomeKind.UDP_BLOCKED: lets_no_udp_out, HomeKind.TCP_443_ONLY: lets_tcp_443_out}

#: Of each home's LAN, as in so many real ones.
_GATEWAY = "192.168.1.1"


@dataclass
class Home:
    """
    A home.

    @ivar kind: what it is like.
    @ivar routers: those between its hosts and the Internet, the next one first; none
        for a public address.
    """

    kind: HomeKind
    routers: tuple[Router, ...]
    _network: SimulatedNetwork
    _number: int
    _hosts: Iterator[int]
    _link: Link | None

    @property
    def nat(self) -> Nat | None:
        """
        The home's own router, as it translates IPv4.
        """
        return next((each for each in self.routers if isinstance(each, Nat)), None)

    def host(self, name: str) -> Host:
        """
        Put one more host there.
        """
        number = next(self._hosts)
        if self.nat is None:
            address = _public(self._number, number)
            return self._network.host(name, address, link=self._link)
        addresses = [f"192.168.1.{number}"]
        if self.kind is HomeKind.IPV6:
            addresses.append(f"{_prefix(self._number)}:{number}")
        return self._network.host(name, *addresses, on=self.nat.lan)

    def reboot(self, address: str | None = None) -> None:
        """
        Let all routers forget what they know, a carrier's too.

        @param address: the new address outside of the home's own router, if it changes.
        """
        for router in self.routers:
            if router is self.nat:
                self.nat.reboot(address)
            else:
                router.reboot()


def _public(number: int, host: int = 1) -> str:
    """
    Make a public address of a home: those for benchmarks, which nobody refuses (RFC 2544).
    """
    return f"198.{18 + number // 256 % 2}.{number % 256}.{host + number // 512}"


def _prefix(number: int) -> str:
    """
    Make the IPv6 prefix of a home, with one colon at its end.
    """
    return f"2a10:77:{number:x}:"


class Homes:
    """
    All homes of a network, each with addresses of its own.

    @ivar network: the network that they are made in.
    """

    def __init__(self, network: SimulatedNetwork) -> None:
        self.network = network
        self._numbers = count(1)
        self._lan: Home | None = None
        self._carriers: dict[HomeKind, Nat] = {}

    def next_address(self) -> str:
        """
        Give away a public address that no home has.
        """
        return _public(next(self._numbers))

    def make(self, kind: HomeKind | str, *, link: Link | None = None) -> Home:
        """
        Make a home without hosts; of those that say C{same-lan} there is one.

        @param kind: what it is like.
        @param link: its line to the Internet.
        @raise ValueError: there is no such kind.
        """
        kind = HomeKind(kind)
        if kind is HomeKind.SAME_LAN:
            if self._lan is None:
                self._lan = self._make(kind, None, link)
            return self._lan
        if kind is HomeKind.CGNAT:
            return self._make(kind, self._make_carrier(kind), link)
        if kind in _SHARED:
            if kind not in self._carriers:
                self._carriers[kind] = self._make_carrier(kind)
            return self._make(kind, self._carriers[kind], link)
        return self._make(kind, None, link)

    def _make_carrier(self, kind: HomeKind) -> Nat:
        """
        Make the NAT of a carrier, for homes of a kind.
        """
        number = next(self._numbers)
        behaviour = replace(CGNAT, is_hairpinning=kind is not HomeKind.SAME_CGNAT)
        return self.network.nat(
            f"carrier {number}",
            _public(number),
            behaviour,
            gateway="100.64.0.1",
            link=Link(latency=0.0),
        )

    def _make(self, kind: HomeKind, carrier: Nat | None, link: Link | None) -> Home:
        """
        Make a home, perhaps one behind a carrier.
        """
        number = next(self._numbers)
        if kind is HomeKind.NONE:
            return Home(kind, (), self.network, number, count(10), link)
        address = _public(number)
        if carrier is not None:
            address = f"100.64.{number // 256}.{number % 256 + 1}"
        nat = self.network.nat(
            f"home {number}",
            address,
            _NATS.get(kind, PORT_RESTRICTED),
            gateway=_GATEWAY,
            on=None if carrier is None else carrier.lan,
            link=link,
        )
        nat.lets_out = _RULES.get(kind, nat.lets_out)
        routers: list[Router] = [nat] if carrier is None else [nat, carrier]
        if kind is HomeKind.IPV6:
            firewall = self.network.firewall(
                f"firewall {number}",
                f"2a10:77::{number:x}",
                f"{_prefix(number)}:/64",
                gateway=f"{_prefix(number)}:1",
                lan=nat.lan,
                link=link,
            )
            routers.append(firewall)
        return Home(kind, tuple(routers), self.network, number, count(10), link)
