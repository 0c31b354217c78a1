# -*- test-case-name: tests.network.relay.test_gate -*-
"""
Who may connect: connections counted by address and in all.
"""

from __future__ import annotations

import ipaddress
from collections import OrderedDict
from enum import Enum

from atmosphere.addresses import TransportAddress
from atmosphere.errors import DecodeError
from atmosphere.rate import TokenBucket

from .limits import RelayConfig, parse_networks

__all__ = ["Gate", "GateRefusal", "Pass"]

_KNOWN_ADDRESSES = 8_192


class GateRefusal(Enum):
    """
    Why a connection is not taken; the value is HTTP's status.
    """

    ADDRESS = 429
    FULL = 503


class Pass:
    """
    One connection's place within the limits, from L{Gate.enter} to L{Gate.leave}.

    @ivar address: whom it counts against: an IPv4 address, an IPv6 /64, or empty.
    """

    __slots__ = ("address", "is_inside", "is_proven", "is_settled", "is_unpaired")

    def __init__(self, address: str) -> None:
        self.address = address
        self.is_inside = True
        self.is_settled = False
        self.is_proven = False
        self.is_unpaired = False


class Gate:
    """
    Counts connections, and says which one is too many.

    @ivar total: connections that are open.
    @ivar unsettled: those among them that have not said who they are.
    """

    def __init__(self, config: RelayConfig) -> None:
        self._limits = config.limits
        self._counts_addresses = not config.is_loopback_only
        self._proxies = parse_networks(config.proxies)
        self._rate = TokenBucket(config.limits.accept_rate, config.limits.accept_burst)
        self._rates: OrderedDict[str, TokenBucket] = OrderedDict()
        self._unproven: dict[str, int] = {}
        self._unpaired: dict[str, int] = {}
        self.total = 0
        self.unsettled = 0
        self.unpaired = 0

    def is_proxy(self, host: str) -> bool:
        """
        Say whether an address is a configured proxy's.
        """
        if not self._proxies:
            return False
        address = ipaddress.ip_address(TransportAddress(host, 0).host)
        return any(address in network for network in self._proxies)

    def client_behind(self, host: str, forwarded_for: str) -> str | None:
        """
        Find whom a proxy speaks for.

        @param host: who is connected to us.
        @param forwarded_for: the C{X-Forwarded-For} that it sent.
        @return: the last address that is no proxy of ours; C{None} if there is none.
        """
        if not self.is_proxy(host):
            return None
        for entry in reversed(forwarded_for.split(",")[-16:]):
            text = entry.strip()
            if text.count(":") == 1:
                text = text.partition(":")[0]
            try:
                address = TransportAddress(text.strip("[]"), 0).host
            except DecodeError:
                return None
            if not self.is_proxy(address):
                return address
        return None

    def _key(self, host: str) -> str:
        """
        Find what an address counts as.
        """
        if not self._counts_addresses:
            return ""
        address = TransportAddress(host, 0)
        if not address.is_ipv6:
            return address.host
        return str(ipaddress.IPv6Network((address.packed[:8] + bytes(8), 64)))

    def enter(self, host: str, now: float) -> Pass | GateRefusal:
        """
        Take a new connection, if there is room.

        A proxy's connections count against nobody until L{rename} says whose they are.
        """
        limits = self._limits
        if self.total >= limits.connections or self.unsettled >= limits.unproven:
            return GateRefusal.FULL
        key = "" if self.is_proxy(host) else self._key(host)
        if key and not self._may_come(key, now):
            return GateRefusal.ADDRESS
        if not self._rate.take(1, now):
            return GateRefusal.FULL
        self.total += 1
        self.unsettled += 1
        if key:
            self._unproven[key] = self._unproven.get(key, 0) + 1
        return Pass(key)

    def rename(self, place: Pass, host: str, now: float) -> bool:
        """
        Count a connection against the client that its proxy speaks for.

        @return: whether that client may have one more.
        """
        key = self._key(host)
        if not key or place.address:
            return True
        if not self._may_come(key, now):
            return False
        place.address = key
        self._unproven[key] = self._unproven.get(key, 0) + 1
        return True

    def _may_come(self, key: str, now: float) -> bool:
        """
        Say whether an address may have one more connection now.
        """
        if self._unproven.get(key, 0) >= self._limits.connections_per_address:
            return False
        bucket = self._rates.get(key)
        if bucket is None:
            bucket = self._rates[key] = TokenBucket(
                self._limits.accept_rate_per_address, self._limits.accept_burst_per_address
            )
            if len(self._rates) > _KNOWN_ADDRESSES:
                self._rates.popitem(last=False)
        self._rates.move_to_end(key)
        return bucket.take(1, now)

    def settle(self, place: Pass) -> None:
        """
        Note that a connection has said what it is.
        """
        if place.is_inside and not place.is_settled:
            place.is_settled = True
            self.unsettled -= 1

    def prove(self, place: Pass) -> None:
        """
        Count a connection against its address no longer: a member's.
        """
        self.settle(place)
        if place.is_inside and not place.is_proven:
            place.is_proven = True
            _decrease(self._unproven, place.address)

    def wait_for_partner(self, place: Pass) -> bool:
        """
        Count the first leg of a pair.

        @return: whether there is room for one more.
        """
        limits = self._limits
        if self.unpaired >= limits.unpaired or (
            place.address and self._unpaired.get(place.address, 0) >= limits.unpaired_per_address
        ):
            return False
        place.is_unpaired = True
        self.unpaired += 1
        if place.address:
            self._unpaired[place.address] = self._unpaired.get(place.address, 0) + 1
        return True

    def found_partner(self, place: Pass) -> None:
        """
        Note that a first leg waits no more.
        """
        if place.is_unpaired:
            place.is_unpaired = False
            self.unpaired -= 1
            _decrease(self._unpaired, place.address)

    def leave(self, place: Pass) -> None:
        """
        Note that a connection has ended; doing it twice does no harm.
        """
        if not place.is_inside:
            return
        self.found_partner(place)
        self.prove(place)
        place.is_inside = False
        self.total -= 1


def _decrease(counts: dict[str, int], key: str) -> None:
    """
    Count one down, and forget what is at zero.
    """
    left = counts.get(key, 0) - 1
    if left > 0:
        counts[key] = left
    else:
        counts.pop(key, None)
