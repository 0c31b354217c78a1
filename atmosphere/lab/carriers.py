# -*- test-case-name: tests.lab.test_kinds -*-
"""
The NAT of a carrier that several homes share, and the measurement that tells whether it
leads back in what one of them sends to the public address of another.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from typing_extensions import override

from atmosphere.addresses import TransportAddress
from atmosphere.errors import AtmosphereError
from atmosphere.network.stun.client import StunClient

from .places import STUN

__all__ = ["MAX_HOMES", "carrier_rules", "measure_hairpin"]

#: How many homes one carrier has ports for: each has a block of 16,384, and the lowest
#: block is nobody's.
MAX_HOMES = 3

_BLOCK = 0x4000

#: A carrier gives each home a block of ports: the lower bits of a port stay, the upper
#: ones say whose it is. So the mapping depends on nothing else, as it should, however many
#: homes use the same port inside. What is sent to the public address from inside is led to
#: the home whose port it is, from the sender's public address, if the carrier hairpins; if
#: not, it is dropped. Whom a home lets in is the matter of its own router.
_CARRIER = """
table ip carrier {{
  map mapped {{
    type inet_service : ipv4_addr . inet_service; flags dynamic,timeout; size 65535; timeout 120s;
  }}
  chain incoming {{
    type nat hook prerouting priority -100;
{incoming}
  }}
  chain outgoing {{
    type nat hook postrouting priority 100;
{blocks}
    oifname "outside" masquerade
  }}
  chain noting {{
    type filter hook postrouting priority 110;
    ip saddr {public} update @mapped {{ udp sport : ct original ip saddr . ct original proto-src }}
  }}
}}
table inet wall {{
  chain to_carrier {{
    type filter hook input priority 0;
    iifname "outside" ct state established,related accept
    iifname "outside" drop
    ip daddr {public} drop
  }}
  chain through {{
    type filter hook forward priority 0; policy drop;
    ct state established,related accept
    iifname "inside*" oifname "outside" accept
    ct status dnat accept
  }}
}}
"""


def carrier_rules(public: str, homes: Mapping[int, str], *, hairpins: bool) -> str:
    """
    Write the nftables rules of a carrier that several homes share.

    Its interfaces are C{outside} and, for each home, one that begins with C{inside}.

    @param public: its public address.
    @param homes: by a number from 1 the address of each home's router.
    """
    assert all(1 <= number <= MAX_HOMES for number in homes)
    blocks = [
        f"    ip saddr {address} meta l4proto udp"
        f" snat to {public}:udp sport & {_BLOCK - 1:#06x} | {number * _BLOCK:#06x}"
        for number, address in homes.items()
    ]
    leads_back = f'iifname "inside*" ip daddr {public} meta l4proto udp'
    incoming = f"    {leads_back} dnat to udp dport map @mapped" if hairpins else ""
    return _CARRIER.format(incoming=incoming, blocks="\n".join(blocks), public=public)


#: What a socket is sent by the other, in how many copies, and seconds between them.
_MARK = b"\xffhairpin"
_COPIES = 3
_PAUSE = 0.15


class _Ear(StunClient):
    """
    A socket that learns its public address, and notices what the other one sends it.

    @ivar has_heard: whether anything came.
    """

    def __init__(self, reactor: Any, entropy: Callable[[int], bytes]) -> None:
        super().__init__(reactor, entropy)
        self.has_heard = False

    @override
    def datagramReceived(self, datagram: bytes, addr: tuple[str, int]) -> None:
        """
        Take a datagram of either sort.
        """
        if datagram == _MARK:
            self.has_heard = True
        else:
            super().datagramReceived(datagram, addr)


async def measure_hairpin(reactor: Any, *, entropy: Callable[[int], bytes]) -> bool | None:
    """
    Say whether two sockets of this machine reach each other by their public addresses.

    @return: C{None} if no server says what those are.
    """
    ears = [_Ear(reactor, entropy) for _ in range(2)]
    ports = [reactor.listenUDP(0, each) for each in ears]
    try:
        asked: list[Deferred[Any]] = [each.request(STUN) for each in ears]
        mapped: list[TransportAddress] = []
        for each in asked:
            try:
                found = (await each).mapped
            except AtmosphereError:
                found = None
            if found is not None:
                mapped.append(found)
        if len(mapped) < len(ears):
            return None
        for _ in range(_COPIES):  # the first of each side may only open its own router
            for ear, other in zip(ears, reversed(mapped), strict=True):
                assert ear.transport is not None
                ear.transport.write(_MARK, (other.host, other.port))
            await deferLater(reactor, _PAUSE)
        return all(each.has_heard for each in ears)
    finally:
        for port in ports:
            await port.stopListening()
