# -*- test-case-name: tests.network.stun.test_public_endpoint -*-
"""
Our address as others see it, and what follows from it, as plain values.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from typing_extensions import override

from atmosphere.addresses import AddressKind, TransportAddress, address_kind
from atmosphere.errors import DecodeError

__all__ = ["NetworkInfo", "PublicEndpoint"]

_LONGEST_TEXT = 512


@dataclass
class PublicEndpoint:
    """
    Where others reach us, or see us.

    C{str()} of it is C{IP:PORT}, or C{[IP]:PORT} for IPv6.

    @ivar ip: an IP address.
    @ivar port: 0 to 65535.
    @ivar source: how we know: C{stun:SERVER}, C{manual} or C{upnp}.
    @ivar nat_type: the NAT in between, in words; C{None} if it was not measured.
    """

    ip: str
    port: int
    source: str
    nat_type: str | None = None

    @override
    def __str__(self) -> str:
        return f"[{self.ip}]:{self.port}" if ":" in self.ip else f"{self.ip}:{self.port}"

    @property
    def is_public(self) -> bool:
        """
        Whether the address means the same in the whole Internet. It says
        nothing of NATs or firewalls before it.
        """
        try:
            address = self.address
        except DecodeError:
            return False
        return address_kind(address.packed) is AddressKind.GLOBAL

    @property
    def address(self) -> TransportAddress:
        """
        The same as a transport address.

        @raise DecodeError: C{ip} or C{port} are none.
        """
        return TransportAddress(self.ip, self.port)

    def to_dict(self) -> dict[str, Any]:
        """
        Give what JSON can carry.
        """
        return {
            "ip": self.ip,
            "port": self.port,
            "source": self.source,
            "nat_type": self.nat_type,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> PublicEndpoint:
        """
        Read what L{to_dict} gave, perhaps elsewhere; other keys are left alone.

        @raise DecodeError: no IP address and port, or something of the wrong type.
        """
        ip, port = data.get("ip"), data.get("port")
        source, nat_type = data.get("source", "manual"), data.get("nat_type")
        if not isinstance(ip, str) or isinstance(port, bool) or not isinstance(port, int):
            raise DecodeError("a public endpoint has an ip and a port")
        for text in (source, nat_type or ""):
            if not isinstance(text, str) or len(text) > _LONGEST_TEXT:
                raise DecodeError("a public endpoint's source and nat_type are short texts")
        address = TransportAddress(ip, port)
        return cls(address.host, address.port, source, nat_type)


@dataclass
class NetworkInfo:
    """
    What is known of the network that this machine is in.

    @ivar local_ip: the address that it sends from.
    @ivar local_port: the UDP port that was asked from.
    @ivar public_endpoint: how others see that port; C{None} if no server answered.
    @ivar is_behind_nat: whether that is another address than any of this
        machine's. If nobody answered, whether C{local_ip} is a private address.
    @ivar nat_type: in words how the NAT maps, C{"none"} without one; C{None}
        only if nothing was measured.
    """

    local_ip: str
    local_port: int
    public_endpoint: PublicEndpoint | None
    is_behind_nat: bool
    nat_type: str | None

    @property
    def best_endpoint(self) -> str:
        """
        What to tell others: the public endpoint, or without one the local
        one, as C{IP:PORT}.
        """
        if self.public_endpoint is not None:
            return str(self.public_endpoint)
        return str(PublicEndpoint(self.local_ip, self.local_port, "manual"))

    @property
    def is_publicly_reachable(self) -> bool:
        """
        Whether others can send first: we have a public address, and no NAT is
        before it. A firewall may still be; C{atmosphere network} asks a relay to try.
        """
        endpoint = self.public_endpoint
        return endpoint is not None and endpoint.is_public and not self.is_behind_nat
