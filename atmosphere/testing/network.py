# -*- test-case-name: tests.testing.test_network -*-
"""
A network of simulated hosts, on one clock, from one seed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from random import Random
from typing import Any, Literal

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from .agenda import Agenda
from .firewall import Firewall
from .host import Host
from .link import Kind, Link, Packet, TraceRecord
from .nat import Nat, NatBehaviour
from .resolver import NameTable
from .router import Router
from .subnet import Attachment, Subnet

__all__ = ["SimulatedNetwork"]

#: The line of each host on a LAN.
LAN_LINK = Link(latency=0.0005)


class SimulatedNetwork:
    """
    Hosts that are Twisted reactors, and what lies between them.

    Everything happens on the clock: advance it by L{advance} or L{run_until},
    which go from event to event, or by its own C{advance}.

    The same program with the same seed sees the same times, sizes and events.

    @ivar clock: the clock of all hosts.
    @ivar internet: the network that all hosts hang on unless told otherwise.
    @ivar names: what the hosts' resolvers know; each host's name is in it.
    @ivar hosts: all hosts, by name.
    @ivar taps: called with each packet that a host sends, as it leaves the host.
    """

    def __init__(self, clock: Clock, seed: int, link: Link | None = None) -> None:
        """
        @param link: the line of every host that is not given its own.
        """
        self.clock = clock
        self.seed = seed
        self.agenda = Agenda(clock)
        self.names = NameTable()
        self.hosts: dict[str, Host] = {}
        self.taps: list[Callable[[Packet], None]] = []
        self._link = link if link is not None else Link()
        self._trace: list[TraceRecord] | None = None
        self._cuts: dict[tuple[object, object], frozenset[Kind]] = {}
        self.internet = self.subnet("internet")

    # -------------------------------------------------------------------- building

    def subnet(self, name: str, link: Link | None = None) -> Subnet:
        """
        Make a network apart, such as a LAN.

        @param link: the line of those that hang on it and are not given their own.
        """
        return Subnet(name, self.agenda, self.seed, self.note, link or self._link)

    def host(
        self, name: str, *addresses: str, on: Subnet | None = None, link: Link | None = None
    ) -> Host:
        """
        Make a host.

        @param name: its name, by which the others can look it up.
        @param addresses: its addresses, IPv4 or IPv6.
        @param on: the network that it hangs on.
        @param link: its line to that network.
        @raise ValueError: the name or an address is taken, or there is no address.
        """
        if name in self.hosts or not addresses:
            raise ValueError(f"{name}: a host needs a name of its own and an address")
        host = Host(name, self.agenda, Random(f"{self.seed} {name}"), self.names, self)
        self.move(host, *addresses, on=on, link=link)
        self.hosts[name] = host
        return host

    def nat(
        self,
        name: str,
        address: str,
        behaviour: NatBehaviour,
        *,
        gateway: str = "192.168.1.1",
        on: Subnet | None = None,
        link: Link | None = None,
    ) -> Nat:
        """
        Make a router that translates addresses; hang hosts on its C{lan}.

        @param address: its address outside.
        @param behaviour: how it maps and filters.
        @param gateway: its address inside.
        @param on: the network outside: the internet, or another router's LAN.
        @param link: its line to that network.
        """
        lan = self.subnet(name, link=LAN_LINK)
        nat = Nat(name, self.agenda, Random(f"{self.seed} {name}"), behaviour, self.note)
        nat.inside = lan.attach(nat, gateway, Link(latency=0.0))
        lan.add_route("0.0.0.0/0", nat.inside)
        subnet = on if on is not None else self.internet
        nat.outside = subnet.attach(nat, address, link if link is not None else self._link)
        return nat

    def firewall(
        self,
        name: str,
        address: str,
        prefix: str,
        *,
        gateway: str,
        lan: Subnet | None = None,
        on: Subnet | None = None,
        link: Link | None = None,
    ) -> Firewall:
        """
        Make a router that translates nothing and lets in answers alone; hang hosts
        with public addresses on its C{lan}.

        @param address: its address outside.
        @param prefix: the addresses of the network inside, such as C{2a10:1::/64}.
        @param gateway: its address inside.
        @param lan: the network inside, if there is one already.
        @param on: the network outside.
        @param link: its line to that network.
        """
        inside = lan if lan is not None else self.subnet(name, link=LAN_LINK)
        outside = on if on is not None else self.internet
        firewall = Firewall(name, self.agenda, self.note)
        firewall.inside = inside.attach(firewall, gateway, Link(latency=0.0))
        firewall.outside = outside.attach(
            firewall, address, link if link is not None else self._link
        )
        inside.add_route("::/0" if ":" in prefix else "0.0.0.0/0", firewall.inside)
        outside.add_route(prefix, firewall.outside)
        return firewall

    def move(
        self, host: Host, *addresses: str, on: Subnet | None = None, link: Link | None = None
    ) -> None:
        """
        Give a host other addresses, on the same network or another.

        What it sends from a port that was bound to no address goes on from the
        new ones; its TCP connections are stuck.
        """
        subnet = on if on is not None else self.internet
        for old in host.kernel.attachments:
            old.subnet.detach(old)
        host.kernel.readdress(
            [subnet.attach(host, address, link or subnet.link) for address in addresses]
        )
        self.names.add(host.name, *addresses)

    def plug(
        self, host: Host, address: str, *, on: Subnet | None = None, link: Link | None = None
    ) -> None:
        """
        Give a host one more address, on any network: another interface.
        """
        subnet = on if on is not None else self.internet
        added = subnet.attach(host, address, link or subnet.link)
        host.kernel.readdress([*host.kernel.attachments, added])
        self.names.add(host.name, *host.kernel.addresses)

    def unplug(self, host: Host, address: str) -> None:
        """
        Take one of its addresses from a host, as when an interface goes down; what
        is bound to it is stuck.

        @raise ValueError: the host has no such address.
        """
        gone = [each for each in host.kernel.attachments if each.address == address]
        if not gone:
            raise ValueError(f"{host.name} has no address {address}")
        for each in gone:
            each.subnet.detach(each)
        host.kernel.readdress([each for each in host.kernel.attachments if each not in gone])
        self.names.add(host.name, *host.kernel.addresses)

    def set_link(
        self,
        first: Host | Router,
        second: Host | Router | None = None,
        *,
        only: Literal["out", "in"] | None = None,
        **properties: Any,
    ) -> None:
        """
        Change the line of a host or a router, or put one between two of them.

        @param first: of a router, its line to the network outside is meant.
        @param second: with it, the line is one more between these two, who
            hang on the same network; properties that are not named are those of
            a perfect line.
        @param only: one direction, as C{first} sees it.
        @param properties: fields of L{Link}; those of a single line that are
            not named stay as they are.
        """
        if second is not None:
            link = replace(Link(latency=0.0, mtu=65535), **properties)
            for one in _attachments(first):
                for other in _attachments(second):
                    if one.subnet is other.subnet:
                        if only != "in":
                            one.subnet.set_pair(one, other, link)
                        if only != "out":
                            one.subnet.set_pair(other, one, link)
            return
        for attachment in _attachments(first):
            if only != "in":
                attachment.link = replace(attachment.link, **properties)
            if only != "out":
                attachment.incoming = replace(attachment.incoming, **properties)
            attachment.subnet.changed([attachment.address])

    # ---------------------------------------------------------------------- cutting

    def cut(
        self,
        first: Host,
        second: Host | None = None,
        *,
        udp: bool = True,
        tcp: bool = True,
        is_one_way: bool = False,
    ) -> None:
        """
        Let nothing through between two hosts, or between one and all others.

        What is on its way is lost as well. NATs between the two make no
        difference.

        @param second: C{None} for all others.
        @param udp: whether UDP is cut.
        @param tcp: whether TCP is cut.
        @param is_one_way: only from C{first} to C{second}.
        """
        kinds = {Kind.UDP, Kind.UNREACHABLE} if udp else set()
        kinds |= {Kind.TCP} if tcp else set()
        self._cuts[first, second] = frozenset(kinds) | self._cuts.get((first, second), frozenset())
        if not is_one_way:
            back = (second, first)
            self._cuts[back] = frozenset(kinds) | self._cuts.get(back, frozenset())

    def heal(self, first: Host | None = None, second: Host | None = None) -> None:
        """
        Undo L{cut}.

        @param first: C{None} undoes all cuts.
        @param second: C{None} undoes what C{first} was cut off from all others.
        """
        if first is None:
            self._cuts.clear()
        else:
            self._cuts.pop((first, second), None)
            self._cuts.pop((second, first), None)

    def is_cut(self, packet: Packet, target: Host) -> bool:
        """
        Say whether a packet must not reach a host.
        """
        cuts = self._cuts
        if not cuts:
            return False
        origin, kind = packet.origin, packet.kind
        return origin is not target and (
            kind in cuts.get((origin, target), ())
            or kind in cuts.get((origin, None), ())
            or kind in cuts.get((None, target), ())
        )

    # --------------------------------------------------------------------- watching

    def record(self) -> list[TraceRecord]:
        """
        Record from now on what happens to packets.

        @return: the list that grows; two runs may be compared by theirs.
        """
        self._trace = []
        return self._trace

    def note(self, what: str, packet: Packet) -> None:
        """
        Record what happened to a packet.

        @param what: empty when it was sent, else how it ended.
        """
        if not what:
            for tap in self.taps:
                tap(packet)
        if self._trace is not None:
            kind = f"{packet.kind.value} {what}" if what else packet.kind.value
            self._trace.append(
                TraceRecord(
                    self.clock.rightNow, kind, packet.source, packet.destination, packet.size
                )
            )

    # -------------------------------------------------------------------- advancing

    def _step(self, until: float) -> bool:
        """
        Go to the next event, but not beyond a time.

        @return: whether there was one.
        """
        calls = self.clock.getDelayedCalls()
        due = min((call.getTime() for call in calls), default=None)
        if due is None or due > until:
            return False
        self.clock.rightNow = max(self.clock.rightNow, due)
        self.clock.advance(0)
        return True

    def advance(self, seconds: float) -> None:
        """
        Let time pass, event by event.
        """
        until = self.clock.rightNow + seconds
        while self._step(until):
            continue
        self.clock.rightNow = until

    def run_until(
        self, condition: Callable[[], object] | Deferred[Any], limit: float = 60.0
    ) -> float:
        """
        Let time pass until something has happened.

        @param condition: a function that says so, or a Deferred that has a
            result then; a failure is left in it.
        @param limit: seconds after which to give up.
        @return: how many seconds it took.
        @raise TimeoutError: it did not happen.
        """
        start = self.clock.rightNow
        has_happened: Callable[[], object]
        if isinstance(condition, Deferred):
            has_happened = partial(_has_result, condition)
        else:
            has_happened = condition
        while not has_happened():
            if not self._step(start + limit):
                self.clock.rightNow = start + limit
                if has_happened():
                    break
                raise TimeoutError(f"nothing of the kind within {limit} simulated seconds")
        return self.clock.rightNow - start


def _has_result(deferred: Deferred[Any]) -> bool:
    """
    Say whether a Deferred has a result and does not wait for another's.
    """
    return bool(deferred.called and not deferred.paused)


def _attachments(node: Host | Router) -> list[Attachment]:
    """
    List how a node hangs on the networks that hosts know it by.
    """
    return node.kernel.attachments if isinstance(node, Host) else [node.outside]
