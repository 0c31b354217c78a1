# -*- test-case-name: tests.lab.test_internet -*-
"""
An Internet on one machine: servers in the middle, and homes around it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

from .behavior import complaints
from .carriers import carrier_rules
from .kinds import Kind, router_rules
from .namespaces import LabError, Namespace
from .places import (
    CARRIER,
    HOST,
    HOST_IPV6,
    PREFIX_IPV6,
    PUBLIC,
    RELAY,
    ROUTER,
    SERVERS,
    SERVERS_IPV6,
)
from .programs import Programs, Running, Times
from .wire import Conditions

__all__ = ["RELAY", "Home", "Internet"]


@dataclass
class Home:
    """
    One home.

    @ivar kind: what it is like.
    @ivar number: from 1; with it go the public addresses, so that homes which share
        their uplink have the same.
    @ivar host: the machine in it.
    @ivar edge: what its uplink is plugged into: a router, or the machine itself.
    @ivar routers: its routers with the rules of each, the one next to the machine first.
    @ivar behavior: what was measured there, once it was.
    """

    kind: Kind
    number: int
    host: Namespace
    edge: Namespace
    routers: list[tuple[Namespace, str]] = field(default_factory=list)
    behavior: dict[str, Any] | None = None

    @property
    def public(self) -> str:
        """
        Where others see it by IPv4.
        """
        return PUBLIC.format(self.number)


class Internet:
    """
    Homes, cables and servers; a context manager, after which nothing is left.

    @ivar homes: one for each kind that was asked for.
    @ivar middle: the namespace in the middle, where a relay can run at L{RELAY}.
    @ivar programs: what runs in it.
    """

    def __init__(
        self,
        kinds: Sequence[Kind],
        folder: Path,
        times: Times,
        conditions: Conditions | None = None,
    ) -> None:
        """
        @param kinds: those that say C{same-lan} stand in one LAN.
        @param folder: where the files of programs go.
        """
        self.conditions = Conditions() if conditions is None else conditions
        self.programs = Programs(folder, times)
        self.homes: list[Home] = []
        self._namespaces: list[Namespace] = []
        self._wanted = list(kinds)

    def __enter__(self) -> Internet:
        """
        Build it.
        """
        self.build()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """
        Take it down.
        """
        self.close()

    def build(self) -> None:
        """
        Build it, or leave nothing.

        @raise LabError: something does not work on this machine.
        """
        try:
            self._build()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """
        End all programs, and with them the networks.
        """
        self.programs.stop()
        while self._namespaces:
            self._namespaces.pop().close()

    def _namespace(self, name: str, *, forwards: bool = False) -> Namespace:
        """
        Make a machine.

        @param forwards: whether it passes packets on.
        """
        try:
            made = Namespace(name)
        except OSError as error:
            raise LabError(f"{name}: {error}") from None
        self._namespaces.append(made)
        made.set("ipv6/conf/all/accept_dad", 0)
        made.set("ipv6/conf/default/accept_dad", 0)
        if forwards:
            made.set("ipv4/ip_forward", 1)
            made.set("ipv6/conf/all/forwarding", 1)
        return made

    def _build(self) -> None:
        """
        Make all machines, then lay the cables to the middle.
        """
        self.middle = self._namespace("internet", forwards=True)
        for address in (RELAY, *SERVERS):
            self.middle.ip("address", "add", f"{address}/32", "dev", "lo")
        for address in SERVERS_IPV6:
            self.middle.ip("address", "add", f"{address}/128", "dev", "lo")
        servers = self.programs.start(self.middle, "servers", "lab", "internal", "servers")
        first: dict[Kind, Home] = {}
        for number, kind in enumerate(self._wanted, 1):
            shared = first.get(kind) if kind.is_shared else None
            if shared is None:
                home = first[kind] = self._make_home(number, kind)
            elif kind is Kind.SAME_LAN:
                home = self._join_lan(shared)
            else:
                home = self._make_home(number, kind, shared)
            self.homes.append(home)
        self._lay_cables()
        for home in {home.number: home for home in self.homes}.values():
            self._plug_in(home)
        for home in self.homes:
            for router, rules in home.routers:
                router.load_rules(rules)
        servers.wait_for("ready")

    def _make_home(self, number: int, kind: Kind, shared: Home | None = None) -> Home:
        """
        Make a home without its uplink.

        @param shared: one that is behind the same carrier.
        """
        host = self._namespace(f"host {number}")
        if kind is Kind.NONE:
            return Home(kind, number, host, host)
        router = self._namespace(f"router {number}", forwards=True)
        router.ip("link", "add", "inside", "type", "bridge")
        router.ip("address", "add", f"{ROUTER}/24", "dev", "inside")
        router.ip("link", "set", "inside", "up")
        if Path("/proc/sys/net/bridge").is_dir():
            # Else what is bridged would pass the rules for what is routed.
            router.set("bridge/bridge-nf-call-iptables", 0)
        self._into_lan(router, host, 10)
        home = Home(kind, number, host, router)
        home.routers.append((router, router_rules(kind, HOST.format(10))))
        if kind is Kind.IPV6:
            prefix, own = PREFIX_IPV6.format(number), HOST_IPV6.format(number, 10)
            router.ip("address", "add", f"{prefix}:1/64", "dev", "inside", "nodad")
            host.ip("address", "add", f"{own}/64", "dev", "eth0", "nodad")
            host.ip("-6", "route", "add", "default", "via", f"{prefix}:1")
        if kind is Kind.CGNAT:
            self._add_carrier(home)
        elif kind.shares_carrier:
            self._share_carrier(home, shared)
        return home

    def _into_lan(self, router: Namespace, host: Namespace, number: int) -> None:
        """
        Lay a cable without delay from a machine to its router.
        """
        port = f"port{number}"
        cable = ("type", "veth", "peer", "eth0", "netns", host.path)
        router.ip("link", "add", port, *cable)
        router.ip("link", "set", port, "master", "inside", "up")
        host.ip("address", "add", f"{HOST.format(number)}/24", "dev", "eth0")
        host.ip("link", "set", "eth0", "up")
        host.ip("route", "add", "default", "via", ROUTER)

    def _join_lan(self, lan: Home) -> Home:
        """
        Put another machine into a LAN that is there.
        """
        host = self._namespace(f"second host {lan.number}")
        self._into_lan(lan.edge, host, 11)
        return Home(lan.kind, lan.number, host, lan.edge)

    def _add_carrier(self, home: Home) -> None:
        """
        Put a home's router behind the NAT of a carrier.
        """
        carrier = self._namespace(f"carrier {home.number}", forwards=True)
        own = self._lead_to_carrier(home, carrier, home.number, "inside")
        home.routers.append((carrier, router_rules(Kind.PORT_RESTRICTED, own)))
        home.edge = carrier

    def _share_carrier(self, home: Home, shared: Home | None) -> None:
        """
        Put a home's router behind the NAT of a carrier that has other homes too.

        @param shared: the first of them; C{None} if this is.
        """
        of_kind = [at for at, kind in enumerate(self._wanted, 1) if kind is home.kind]
        number = home.number
        if shared is None:
            carrier = self._namespace(f"carrier {number}", forwards=True)
        else:
            carrier, home.number = shared.edge, shared.number
        self._lead_to_carrier(home, carrier, number, f"inside{number}")
        subscribers = {each: f"{CARRIER.format(at)}.2" for each, at in enumerate(of_kind, 1)}
        hairpins = home.kind is Kind.SAME_CGNAT_HAIRPIN
        rules = carrier_rules(home.public, subscribers, hairpins=hairpins)
        home.routers.append((carrier, rules))
        home.edge = carrier

    def _lead_to_carrier(self, home: Home, carrier: Namespace, number: int, name: str) -> str:
        """
        Lay the cable from a home's router to its carrier.

        @param number: of the network between them.
        @param name: the carrier's end.
        @return: the address of the home's end.
        """
        network = CARRIER.format(number)
        cable = ("type", "veth", "peer", "outside", "netns", home.edge.path)
        carrier.ip("link", "add", name, *cable)
        for namespace, end, address in (
            (carrier, name, f"{network}.1/24"),
            (home.edge, "outside", f"{network}.2/24"),
        ):
            namespace.ip("address", "add", address, "dev", end)
            namespace.ip("link", "set", end, "up")
        home.edge.ip("route", "add", "default", "via", f"{network}.1")
        return f"{network}.2"

    def _lay_cables(self) -> None:
        """
        Lay the cables between homes and the middle.
        """
        edges = {home.number: home.edge for home in self.homes}
        self._carry(
            [
                ((edge.path, "outside"), (self.middle.path, f"home{number}"))
                for number, edge in edges.items()
            ]
        )

    def add_router(self, name: str) -> Namespace:
        """
        Make one more router, with nothing plugged in.
        """
        return self._namespace(name, forwards=True)

    def lay_cable(self, router: Namespace, near: str) -> None:
        """
        Lay one more cable to the middle, like that of a home.

        @param near: what its end in the middle is called; the other is C{outside}.
        """
        self._carry([((router.path, "outside"), (self.middle.path, near))])

    def _carry(self, cables: Sequence[tuple[tuple[str, str], tuple[str, str]]]) -> None:
        """
        Start a program that carries packets from end to end.
        """
        conditions = self.conditions
        plan = {
            "cables": cables,
            "conditions": [conditions.delay, conditions.jitter, conditions.loss],
        }
        wire = self.programs.start(None, "wire", "lab", "internal", "wire", json.dumps(plan))
        wire.wait_for("ready")

    def _plug_in(self, home: Home) -> None:
        """
        Give a home's uplink its addresses and routes.
        """
        near, far = f"home{home.number}", home.public
        self.middle.ip("link", "set", near, "up")
        self.middle.ip("route", "add", f"{far}/32", "dev", near)
        home.edge.ip("address", "add", f"{far}/32", "dev", "outside")
        home.edge.ip("link", "set", "outside", "up")
        home.edge.ip("route", "add", "default", "dev", "outside", "src", far)
        if home.kind is Kind.IPV6:
            prefix = PREFIX_IPV6.format(home.number)
            self.middle.ip("-6", "route", "add", f"{prefix}:/64", "dev", near)
            home.edge.ip("-6", "route", "add", "default", "dev", "outside")

    def start_measuring(self) -> list[tuple[Home, Running]]:
        """
        Have each home's machine measure what is before it.
        """
        return [
            (
                home,
                self.programs.start(
                    home.host,
                    f"probe-{home.kind.value}",
                    "lab",
                    "internal",
                    "probe",
                    home.kind.value,
                ),
            )
            for home in self.homes
        ]

    @staticmethod
    def judge(measuring: Sequence[tuple[Home, Running]]) -> None:
        """
        Compare what was measured with what the kinds promise.

        @raise LabError: a home is not what it should be.
        """
        for home, running in measuring:
            home.behavior = json.loads(running.finish())
            wrong = complaints(home.kind, home.behavior or {}, home.public)
            if wrong:
                raise LabError(
                    f"this kernel's {home.kind.value} home does not measure as one, so that"
                    f" nothing it shows could be trusted: {'; '.join(wrong)}"
                )

    def verify(self) -> None:
        """
        Measure all homes, and trust those alone that measure as they should.

        @raise LabError: one does not.
        """
        self.judge(self.start_measuring())

    def forget_connections(self) -> None:
        """
        Switch all routers off and on: no mapping and no permission is left.
        """
        for home in self.homes:
            for router, rules in home.routers:
                router.load_rules(rules)
                router.forget_connections()
