# -*- test-case-name: tests.testing.test_host -*-
# ruff: noqa: N802, N803 (the names are those of the resolver's interface)
"""
The names of a simulated network: a table in place of DNS.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from twisted.internet.abstract import isIPAddress, isIPv6Address
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.interfaces import (
    IAddress,
    IHostnameResolver,
    IHostResolution,
    IResolutionReceiver,
)
from zope.interface import implementer

__all__ = ["NameTable"]


@implementer(IHostResolution)
class _Resolution:
    """
    A lookup, which is over at once.
    """

    def __init__(self, name: str) -> None:
        self.name = name

    def cancel(self) -> None:
        """
        Do nothing: a lookup in a table takes no time.
        """


@implementer(IHostnameResolver)
class NameTable:
    """
    A resolver that knows the names it was told.

    @ivar is_failing: while it is set, no name is found.
    """

    def __init__(self) -> None:
        self._names: dict[str, list[str]] = {"localhost": ["127.0.0.1", "::1"]}
        self.is_failing = False

    def add(self, name: str, *addresses: str) -> None:
        """
        Let a name stand for addresses, in that order, instead of what it stood for.
        """
        self._names[name.lower()] = list(addresses)

    def remove(self, name: str) -> None:
        """
        Forget a name.
        """
        self._names.pop(name.lower(), None)

    def addresses(self, name: str) -> list[str]:
        """
        Look a name up; an address stands for itself.
        """
        if isIPAddress(name) or isIPv6Address(name):
            return [name]
        if self.is_failing:
            return []
        return self._names.get(name.lower().rstrip("."), [])

    def resolveHostName(
        self,
        resolutionReceiver: IResolutionReceiver,
        hostName: str,
        portNumber: int = 0,
        addressTypes: Sequence[type[IAddress]] | None = None,
        transportSemantics: str = "TCP",
    ) -> IHostResolution:
        """
        Look a name up, and report before returning.
        """
        resolution = _Resolution(hostName)
        resolutionReceiver.resolutionBegan(resolution)
        semantics: Literal["TCP", "UDP"] = "UDP" if transportSemantics == "UDP" else "TCP"
        for address in self.addresses(hostName):
            kind = IPv6Address if ":" in address else IPv4Address
            if addressTypes is None or kind in addressTypes:
                resolutionReceiver.addressResolved(kind(semantics, address, portNumber))
        resolutionReceiver.resolutionComplete()
        return resolution
