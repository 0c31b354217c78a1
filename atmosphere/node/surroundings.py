# -*- test-case-name: tests.node.test_surroundings -*-
"""
Where a node is: its interfaces, its public addresses, its relays.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterable, Sequence
from typing import Any, assert_never

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from atmosphere.addresses import AddressKind, TransportAddress, address_kind
from atmosphere.errors import (
    DecodeError,
    LinkError,
    TransactionRefusedError,
    TransactionTimeoutError,
)
from atmosphere.network.nat.candidates import (
    AddressRules,
    Candidate,
    CandidateType,
    Interface,
    has_way_out,
    host_candidates,
    make_candidate,
    networks_of,
    prune,
)
from atmosphere.network.stun.discovery import Agreement, Discovery, Server, mapped_refusal
from atmosphere.network.stun.service import PublicAddressFinder, resolver

from .api import JSON
from .config import NodeConfig
from .interface_watch import InterfaceWatch, Watch
from .port_watch import takes_another_port
from .ports import NodePorts
from .relay_facts import relay_facts
from .relays import RelaySet
from .report import gather, stun_servers

__all__ = ["Surroundings"]

LOOK_EVERY = 10.0
#: Looks until our STUN servers are asked again: a minute if none has answered, else ten.
LOOKS_IF_UNKNOWN = 6
LOOKS_IF_KNOWN = 60
#: Seconds between two doubts about our public address.
DOUBT_EVERY = 5.0


class Surroundings:
    """
    Knows by which addresses the node can be reached, and says when that changes.

    @ivar ports: the UDP ports.
    @ivar relays: the relays.
    @ivar public: what STUN servers said last.
    """

    _log = Logger()

    def __init__(
        self,
        reactor: Any,
        config: NodeConfig,
        ports: NodePorts,
        *,
        list_interfaces: Callable[[], list[Interface]],
        changed: Callable[[], None],
        watch: Watch | None = None,
    ) -> None:
        """
        @param list_interfaces: see L{atmosphere.network.nat.interfaces}.
        @param changed: called when our addresses are others than before.
        @param watch: tells when the interfaces may have changed; without it, or where
            it cannot, they are looked at every ten seconds all the same.
        """
        self.ports = ports
        self.relays: RelaySet
        self.mesh_relays: Sequence[str] = ()
        self.public: Discovery | None = None
        self._reactor = reactor
        self._config = config
        self._list_interfaces = list_interfaces
        self._changed = changed
        self._interfaces: list[Interface] = []
        self._finder: PublicAddressFinder | None = None
        self._finding: Deferred[Discovery] | None = None
        self._had_stable_port: bool | None = None
        self._takes_another_port = False
        self._watching: Deferred[None] | None = None
        self._known: tuple[tuple[Candidate, ...], bool | None, dict[bool, str]] = ((), None, {})
        self._looks_left = LOOKS_IF_UNKNOWN
        self._must_ask_again = False
        self._doubted_at = float("-inf")
        self._loop = LoopingCall(self.look)
        self._loop.clock = reactor
        self._watch = InterfaceWatch(reactor, watch, self._told)

    # Life.

    def start(self) -> None:
        """
        Begin to look around, once the ports are open.
        """
        self._finder = PublicAddressFinder(
            self._reactor,
            resolver(self._reactor),
            ipv4=self.ports.stun.get(False),
            ipv6=self.ports.stun.get(True),
        )
        self._watch.start()
        self._loop.start(LOOK_EVERY, now=True)

    def stop(self) -> None:
        """
        Look around no more.
        """
        self._watch.stop()
        if self._loop.running:
            self._loop.stop()
        for each in (self._finding, self._watching):
            if each is not None:
                each.cancel()
        self._finding = self._watching = None

    def look(self) -> None:
        """
        See whether our interfaces have changed.
        """
        if not self._have_interfaces_changed():
            self._looks_left -= 1
            if self._looks_left <= 0:
                self.ask()
        self.review()

    def _told(self, is_rerouted: bool) -> None:
        """
        The system says that something has changed. A default route may have with the
        interfaces as they were: what we send then leaves by another of them.
        """
        if not self._have_interfaces_changed() and is_rerouted:
            self._hurry_relays()
            self.ask()
        self.review()

    def _have_interfaces_changed(self) -> bool:
        """
        Look at our interfaces; if they are others than before, ask how we are seen now.
        """
        interfaces = self._list_interfaces()
        if interfaces == self._interfaces:
            return False
        is_first = not self._interfaces
        self._interfaces = interfaces
        if not is_first:
            self._log.info("the network interfaces have changed")
            self.public = None
            self._takes_another_port = False
            self._hurry_relays()
        self.ask()
        return True

    def _hurry_relays(self) -> None:
        """
        See whether our relays still hear us where we are now.
        """
        addresses = frozenset(each.address for each in self._interfaces)
        self.relays.hurry(addresses or None)  # none are listed where the system cannot say

    def review(self) -> None:
        """
        Say so if our addresses are others than before.
        """
        known = self.candidates(), self.has_stable_port, self._barred_families()
        if known != self._known:
            self._known = known
            self._changed()

    @property
    def stun_servers(self) -> list[Server]:
        """
        The STUN servers that the user named, and those beside our relays; those beside
        relays that peers named only where there is no other: a member could
        name so many that it outvotes all others about where we are.
        """
        relays = self.relays
        found = [Server(each.host, each.port) for each in self._config.stun_servers]
        found += relays.stun_servers(self.trusted_relays)
        return list(dict.fromkeys(found)) or relays.stun_servers(relays.clients)

    def ask(self) -> None:
        """
        Ask our STUN servers for our public address, if there are any, whatever
        is known: the network may have changed, or a router its address.
        """
        self._looks_left = LOOKS_IF_UNKNOWN
        servers = self.stun_servers
        if self._finder is None or not servers or not self.ports.stun:
            return
        if self._finding is not None:
            self._must_ask_again = True
            return
        self._finder.forget()
        self._finding = self._finder.find(servers)
        self._finding.addBoth(self._asked)

    def doubt(self) -> None:
        """
        A path has died: our router may have another address.
        """
        now = self._reactor.seconds()
        if now - self._doubted_at >= DOUBT_EVERY:
            self._doubted_at = now
            self.ask()

    def _asked(self, result: Any) -> None:
        """
        Keep what the servers said; ask once more if much has happened meanwhile.
        """
        self._finding = None
        self._found(result)
        if isinstance(result, Discovery) and result.agreements:
            self._looks_left = LOOKS_IF_KNOWN
        if self._must_ask_again and self._loop.running:
            self._must_ask_again = False
            self.ask()

    def _found(self, result: Any) -> None:
        """
        Keep what the servers said.
        """
        if isinstance(result, Discovery):
            for liar in result.liars:
                self._log.warn("STUN server {server} disagrees with the others", server=str(liar))
            if result.agreements or self.public is None:
                self.public = result
            self.review()
            agreement = next(iter(result.agreements), None)
            if agreement is not None and agreement.has_stable_port is None:
                self._watch_port(agreement)

    def _watch_port(self, agreement: Agreement) -> None:
        """
        See whether our NAT takes another port for each destination: two datagrams
        from another port to a server that answered, which nothing waits for.
        """
        interface = self.ports.interface_of(is_ipv6=agreement.address.is_ipv6)
        if interface is None or agreement.asked is None or self._watching is not None:
            return

        def seen(takes_another_port: bool | None) -> None:
            if takes_another_port is not None:
                self._takes_another_port = takes_another_port
                self.review()

        def over(result: object) -> None:
            self._watching = None
            if isinstance(result, Failure):
                result.trap(CancelledError)

        watching = takes_another_port(
            self._reactor, agreement.asked, interface=interface, entropy=self.ports.entropy
        )
        self._watching = watching.addCallback(seen)
        self._watching.addBoth(over)

    async def learn_public_address(self, *, is_anew: bool = False) -> None:
        """
        See that our public address is known, if it can be: ask the public STUN
        servers when there are neither relays that serve us nor servers of our own,
        and it is allowed.

        @param is_anew: ask, whatever is known.
        """
        servers = self.stun_servers
        if not servers and not self.relays.welcomed:
            servers = stun_servers(self._config, (), may_ask_public=True)
        if self._finder is not None and servers and self.ports.stun:
            if is_anew:
                self._finder.forget()
            self._found(await self._finder.find(servers))

    async def keep_mappings(self) -> None:
        """
        Keep the mappings by which others see us: ask one of the servers that told
        them, in each family; should it see another now, learn it anew.
        """
        if self.public is None:
            await self.learn_public_address(is_anew=True)
            return
        for agreement in self.public.agreements:
            client = self.ports.stun.get(agreement.address.is_ipv6)
            if client is None or agreement.asked is None:
                continue
            try:
                response = await client.request(agreement.asked, attempts=3, patience=3)
            except (DecodeError, TransactionRefusedError, TransactionTimeoutError):
                continue
            mapped = response.mapped
            if mapped is None or mapped == agreement.address:
                continue
            if mapped_refusal(agreement.asked, mapped) is None:
                await self.learn_public_address(is_anew=True)

    async def report(self, named: Sequence[Server] = ()) -> JSON:
        """
        Report on the network, see L{atmosphere.node.report}.

        @param named: STUN servers to ask besides ours, for this report.
        @raise LinkError: the node does not run.
        """
        if self._finder is None:
            raise LinkError("the node does not run yet")
        return await gather(
            self._reactor,
            self._config,
            entropy=self.ports.entropy,
            port=self.ports.port_of(is_ipv6=False) or self.ports.port_of(is_ipv6=True),
            relays=[relay_facts(client) for client in self.relays.clients.values()],
            named=named,
            open_ports=self.ports.open_ports(),
        )

    # Facts.

    @property
    def trusted_relays(self) -> list[str]:
        """
        The relays that the user named, and those that came with the join code;
        without either, those that serve then.
        """
        return self._config.relays_beside(self.mesh_relays)

    @property
    def allows_loopback(self) -> bool:
        """
        Whether peers may be on this very machine.
        """
        return self._config.allow_loopback or self.relays.is_on_this_machine

    def candidates(self) -> tuple[Candidate, ...]:
        """
        List the addresses by which we can be reached, the best first.
        """
        found = list(
            host_candidates(
                self._bound_interfaces(),
                ipv4_port=self.ports.port_of(is_ipv6=False),
                ipv6_port=self.ports.port_of(is_ipv6=True),
                allow_loopback=self.allows_loopback,
            )
        )
        found += [make_candidate(CandidateType.ADVERTISED, each) for each in self._advertised()]
        if self.public is not None:
            found += [
                make_candidate(
                    CandidateType.SERVER_REFLEXIVE,
                    agreement.address,
                    server=str(agreement.servers[0]),
                )
                for agreement in self.public.agreements
            ]
        return prune(found)

    @property
    def has_stable_port(self) -> bool | None:
        """
        Say whether all others see us at one port, IPv4 first; without a NAT they do.

        @return: C{None} if we do not know; what we knew last while servers are asked anew.
        """
        if self.public is None:
            return self._had_stable_port
        agreement = next(iter(self.public.agreements), None)
        own = {each.address.partition("%")[0] for each in self._interfaces}
        if agreement is None:
            self._had_stable_port = None
        else:
            is_own = agreement.address.host in own
            self._had_stable_port = True if is_own else agreement.has_stable_port
            if self._had_stable_port is None and self._takes_another_port:
                self._had_stable_port = False
        return self._had_stable_port

    @property
    def is_udp_working(self) -> bool | None:
        """
        Say whether STUN servers answer; C{None} if none was asked. Their silence says
        nothing while no relay is heard by TCP either.
        """
        if self.public is None or not self.public.asked:
            return None
        if self.public.agreements:
            return True
        return False if self.relays.welcomed else None

    def _advertised(self) -> Iterable[TransportAddress]:
        """
        List the addresses that the user named, with our port where none was.
        """
        for each in self._config.advertise:
            port = each.port or self.ports.port_of(is_ipv6=each.is_ipv6)
            if port is not None:
                yield TransportAddress(each.host, port)

    def _bound_interfaces(self) -> Iterable[Interface]:
        """
        List the interfaces that our ports listen on.
        """
        bound = set(self._config.interfaces)
        for interface in self._interfaces:
            every = "::" if ":" in interface.address else "0.0.0.0"
            if every in bound or interface.address in bound:
                yield interface

    def rules(self) -> AddressRules:
        """
        Say which of a peer's addresses may be sent to.
        """
        own = set()
        for interface in self._interfaces:
            port = self.ports.port_of(is_ipv6=":" in interface.address)
            if port is not None:
                own.add(TransportAddress(interface.address.partition("%")[0], port))
        return AddressRules(
            own=frozenset(own),
            own_networks=networks_of(self._interfaces),
            allow_loopback=self.allows_loopback,
            barred=self._barred_families(),
        )

    def _barred_families(self) -> dict[bool, str]:
        """
        Say by which address families nothing can be sent, and why, by whether they are
        IPv6. While the system lists no interfaces, those that we have a port for are good.
        """
        found = {}
        for is_ipv6, name in ((False, "IPv4"), (True, "IPv6")):
            bound = self.ports.interface_of(is_ipv6=is_ipv6)
            is_listed = bool(self._interfaces) and bound in (None, "0.0.0.0", "::")
            if is_listed and not has_way_out(self._interfaces, is_ipv6=is_ipv6):
                found[is_ipv6] = f"no {name} here"
            elif bound is None:
                found[is_ipv6] = f"no {name} here: this node does not listen on it"
        return found

    def is_local(self, address: TransportAddress) -> bool:
        """
        Say whether an address belongs to the local network, or to this machine.
        """
        match address_kind(address.packed):
            case AddressKind.PRIVATE | AddressKind.LOOPBACK:
                return True
            case AddressKind.GLOBAL:
                return self.is_near(address)
            case AddressKind.LINK_LOCAL | AddressKind.NEVER:
                return False
            case never:
                assert_never(never)

    def is_near(self, address: TransportAddress) -> bool:
        """
        Say whether a private address may be on our side of a NAT.
        """
        packed = ipaddress.ip_address(address.host)
        return any(
            network.version == packed.version and packed in network
            for network in networks_of(self._interfaces)
        )
