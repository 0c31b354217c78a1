# -*- test-case-name: tests.node.test_measuring -*-
"""
What STUN servers say about the network before us, in both address families.

L{measure} asks; L{Measurement} is what came of it, for reports and advice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from twisted.internet.defer import (
    CancelledError,
    Deferred,
    DeferredList,
    TimeoutError,
    maybeDeferred,
)
from twisted.internet.error import DNSLookupError

from atmosphere.addresses import TransportAddress
from atmosphere.errors import DecodeError
from atmosphere.network.stun.behavior import Behavior, Finding
from atmosphere.network.stun.discovery import (
    Agreement,
    Observation,
    Server,
    agree,
    mapped_refusal,
)
from atmosphere.network.stun.probe_client import OpenPort, measure_behavior
from atmosphere.network.stun.service import resolver

from .api import JSON

__all__ = ["Measurement", "Names", "measure", "resolve_servers"]

#: Seconds in which a server's name must have been resolved.
RESOLVE_PATIENCE = 2.0

#: By which names the servers at addresses were asked for.
Names = Mapping[TransportAddress, Server]


@dataclass(frozen=True, slots=True)
class Measurement:
    """
    What was measured.

    @ivar behaviors: by whether it is IPv6, each family in which somebody was asked.
    @ivar names: the servers that were asked.
    @ivar failures: servers that could not be asked, and why.
    """

    behaviors: Mapping[bool, Behavior] = field(default_factory=dict)
    names: Names = field(default_factory=dict)
    failures: tuple[tuple[Server, str], ...] = ()

    def believed(self, *, is_ipv6: bool) -> Behavior | None:
        """
        Give what was measured in a family, without servers that lie or say what cannot be.
        """
        behavior, agreement = self.behaviors.get(is_ipv6), self.agreement(is_ipv6=is_ipv6)
        if behavior is None:
            return None
        liars = () if agreement is None else agreement.liars
        honest = {
            each.asked for each in self.observations(is_ipv6=is_ipv6) if each.server not in liars
        }
        return replace(
            behavior,
            dial_backs=tuple(each for each in behavior.dial_backs if each.server in honest),
            mappings=tuple(each for each in behavior.mappings if each.server in honest),
        )

    @property
    def main(self) -> Behavior | None:
        """
        The family that a report is about: IPv4 if anybody answered there, or
        nobody in IPv6.
        """
        ipv4, ipv6 = self.believed(is_ipv6=False), self.believed(is_ipv6=True)
        return ipv6 if ipv6 is not None and not _answers(ipv4) and _answers(ipv6) else ipv4 or ipv6

    @property
    def is_udp_working(self) -> bool:
        """
        Whether anybody answered.
        """
        return any(map(_answers, self.behaviors.values()))

    def name(self, address: TransportAddress) -> Server:
        """
        Say by which name a server was asked for.
        """
        return self.names.get(address) or Server(address.host, address.port)

    @property
    def findings(self) -> tuple[Finding, ...]:
        """
        What each server said to the port that the report is about, IPv4 first.
        """
        families = sorted(self.behaviors)
        return tuple(each for family in families for each in self.behaviors[family].dial_backs)

    def observations(self, *, is_ipv6: bool) -> list[Observation]:
        """
        List what may be believed of a family.
        """
        behavior = self.behaviors.get(is_ipv6)
        return [
            Observation(self.name(each.server), each.server, each.mapped)
            for each in (() if behavior is None else behavior.dial_backs)
            if each.mapped is not None and mapped_refusal(each.server, each.mapped) is None
        ]

    def agreement(self, *, is_ipv6: bool) -> Agreement | None:
        """
        Say what most servers see.
        """
        return agree(self.observations(is_ipv6=is_ipv6))

    def public(self) -> list[JSON]:
        """
        List our public addresses, for each family and server that most agree with.
        """
        found: list[JSON] = []
        for is_ipv6 in (False, True):
            agreement = self.agreement(is_ipv6=is_ipv6)
            if agreement is None:
                continue
            host = agreement.address.host
            found += [
                {"ip": host, "port": each.mapped.port, "source": f"stun:{each.server}"}
                for each in self.observations(is_ipv6=is_ipv6)
                if each.mapped.host == host and each.server not in agreement.liars
            ]
        return found

    def servers(self) -> list[JSON]:
        """
        List what each server said.
        """
        return [
            {
                "server": str(self.name(each.server)),
                "address": str(each.server),
                "public": None if each.mapped is None else str(each.mapped),
                "rtt_ms": None if each.rtt is None else round(each.rtt * 1000, 3),
                "error": each.error,
                "second_socket": None if each.other is None else str(each.other),
                "dial_back": each.from_port.value,
                "dial_back_from_other_address": each.from_address.value,
            }
            for each in self.findings
        ] + [{"server": str(server), "error": reason} for server, reason in self.failures]

    def notes(self) -> list[str]:
        """
        Say what a person should know: servers that failed, or that lie.
        """
        notes = [f"STUN server {server}: {reason}" for server, reason in self.failures]
        for each in self.findings:
            reason = each.error
            if reason is None and each.mapped is not None:
                reason = mapped_refusal(each.server, each.mapped)
            if reason is not None:
                name = self.name(each.server)
                is_one = sum(other == name for other in self.names.values()) < 2
                family = "" if is_one else f" by {'IPv6' if each.server.is_ipv6 else 'IPv4'}"
                notes.append(f"STUN server {name}: {reason}{family}")
        for is_ipv6 in (False, True):
            agreement = self.agreement(is_ipv6=is_ipv6)
            if agreement is not None:
                liars = agreement.liars
                notes += [f"STUN server {server} says otherwise than most" for server in liars]
        return list(dict.fromkeys(notes))


def _answers(behavior: Behavior | None) -> bool:
    """
    Say whether anybody answered in a family.
    """
    return behavior is not None and behavior.is_udp_working


async def measure(
    reactor: Any,
    servers: Sequence[Server],
    *,
    entropy: Callable[[int], bytes],
    port: int = 0,
    interfaces: Iterable[str] = ("0.0.0.0", "::"),
    open_ports: Mapping[bool, OpenPort] | None = None,
) -> Measurement:
    """
    Ask STUN servers, in each address family that both they and we have.

    @param reactor: provides UDP, time and the resolution of names.
    @param port: the UDP port that the report is about, if it is free.
    @param interfaces: the addresses to listen on, one for each family.
    @param open_ports: gives that port, by whether it is IPv6, if it is open.
    """
    bound = {":" in each: each for each in interfaces}
    found, failures = await resolve_servers(reactor, servers)
    names = {address: name for address, name in found.items() if address.is_ipv6 in bound}
    for server in dict.fromkeys(found.values()):
        if server not in names.values():
            family = "IPv4" if False in bound else "IPv6"
            failures += ((server, f"it has no {family} address, and no other is used here"),)
    families = {is_ipv6: [each for each in names if each.is_ipv6 is is_ipv6] for is_ipv6 in bound}
    asking = {
        is_ipv6: measure_behavior(
            reactor,
            addresses,
            entropy=entropy,
            port=port,
            interface=bound[is_ipv6],
            open_port=None if open_ports is None else open_ports.get(is_ipv6),
        )
        for is_ipv6, addresses in families.items()
        if addresses
    }
    try:
        behaviors = {is_ipv6: await each for is_ipv6, each in asking.items()}
    finally:
        for each in asking.values():
            each.addErrback(lambda failure: failure.trap(CancelledError) and Behavior())
            each.cancel()
    return Measurement(behaviors, names, failures)


async def resolve_servers(
    reactor: Any, servers: Iterable[Server]
) -> tuple[dict[TransportAddress, Server], tuple[tuple[Server, str], ...]]:
    """
    Find the first address of each server in each family.
    """
    resolve = resolver(reactor)

    def ask(server: Server) -> Deferred[list[str]]:
        address = server.address()
        if address is not None:
            return maybeDeferred(lambda: [address.host])
        return maybeDeferred(resolve, server.host).addTimeout(RESOLVE_PATIENCE, reactor)

    wanted = list(dict.fromkeys(servers))
    results: list[tuple[bool, Any]] = await DeferredList(
        [ask(each) for each in wanted], consumeErrors=True
    )
    names: dict[TransportAddress, Server] = {}
    failures: list[tuple[Server, str]] = []
    for server, (is_good, result) in zip(wanted, results, strict=True):
        if not is_good:
            if result.check(CancelledError):
                raise CancelledError()
            if not result.check(DNSLookupError, TimeoutError, OSError):
                result.raiseException()
            failures.append((server, f"no address is known for {server.host}"))
            continue
        families: set[bool] = set()
        for host in result:
            try:
                address = TransportAddress(host, server.port)
            except DecodeError:
                continue
            if address.is_ipv6 not in families:
                families.add(address.is_ipv6)
                names.setdefault(address, server)
    return names, tuple(failures)
