# -*- test-case-name: tests.node.test_links -*-
"""
A node's links: which ways lead to a peer, who may come in, what peers are told.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IProtocol, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from atmosphere.addresses import TransportAddress
from atmosphere.engine_driver import EngineClock
from atmosphere.errors import ConfigurationError, DecodeError, NoPathError, StreamRefusedError
from atmosphere.identity import NodeID, NodeKey
from atmosphere.membership import Membership
from atmosphere.network.path.check_budget import CheckBudget
from atmosphere.network.path.decisions import DIALLED, Histories
from atmosphere.network.path.exchange import decode_offer, encode_offer
from atmosphere.network.path.paths import Paths
from atmosphere.network.path.reports import PathChanged, PathEvent, PathSilent
from atmosphere.network.path.selection import PathPolicy
from atmosphere.network.path.ways import DirectWay, Way, way_text
from atmosphere.network.quic.connection import Link
from atmosphere.network.quic.core import CloseCode
from atmosphere.network.quic.endpoint import LinkEndpoint
from atmosphere.network.relay.client import RelayClient

from .apart import ApartLinks
from .mesh import NodeMesh
from .predicting import PortGuesses
from .relays import RelaySet
from .surroundings import Surroundings
from .unnamed import Judge, UnnamedDials

__all__ = ["ABSENT", "NodeLinks", "ServiceFactory"]

MAX_DIRECT = 4
CHECKS_PER_SECOND = 100.0

#: Characters of a note: its reason may be a peer's words.
MAX_NOTE = 400

#: The note that a relay does not have a peer.
ABSENT = "the relay does not have it"

#: Streams of one of our own services on one link: each may make us hold what its reader leaves.
MAX_SAME_SERVICE = 16

#: Makes the protocol for a stream of a link, at once or later; L{StreamRefusedError} refuses.
ServiceFactory = Callable[[Link], "IProtocol | Deferred[IProtocol]"]


class NodeLinks:
    """
    What a node decides about its links.

    @ivar endpoint: the links themselves.
    @ivar services: what is served to members, by name.
    @ivar guest_services: what is served to those that want to join.
    @ivar on_connected: called with each link that is connected.
    @ivar on_closed: called with each link that is closed, and why.
    @ivar on_path: called when a link's paths changed.
    @ivar policy: which paths may be used.
    @ivar budget: how many checks may be sent, knocks among them.
    @ivar guesses: finds the ports of NATs that take another one for each peer.
    @ivar history: what came of dialling each peer, and how its links ended.
    """

    _log = Logger()

    def __init__(
        self,
        reactor: IReactorTime,
        key: NodeKey,
        instance: bytes,
        mesh: NodeMesh,
        surroundings: Surroundings,
        *,
        entropy: Callable[[int], bytes],
        policy: PathPolicy,
    ) -> None:
        self.services: dict[str, ServiceFactory] = {}
        self.guest_services: dict[str, ServiceFactory] = {}
        self.datagram_services: dict[str, Callable[[Link, bytes], None]] = {}
        self.on_connected: list[Callable[[Link], None]] = []
        self.on_closed: list[Callable[[Link, str], None]] = []
        self.on_path: list[Callable[[Link, PathEvent], None]] = []
        self.history = Histories()
        self._reactor = reactor
        self._clock = EngineClock(reactor)
        self._mesh = mesh
        self._surroundings = surroundings
        self._ports = surroundings.ports
        self._entropy = entropy
        self.policy = policy
        self.budget = CheckBudget(CHECKS_PER_SECOND, CHECKS_PER_SECOND)
        self._apart = ApartLinks(reactor, self._dial_apart)
        self._unnamed = UnnamedDials(self._dial_apart)
        self.endpoint = LinkEndpoint(reactor, key, instance, self, entropy=entropy)
        self.guesses = PortGuesses(
            reactor, self._ports, self.endpoint.datagrams_received, self._clock.now
        )

    @property
    def _relays(self) -> RelaySet:
        """
        The relays, once the node has them.
        """
        return self._surroundings.relays

    # Dialling.

    def relay_urls_of(self, peer: NodeID, extra: Iterable[str] = ()) -> list[str]:
        """
        List the relays by which a peer may be reached, its own first.
        """
        member = None if self._mesh.roster is None else self._mesh.roster.get(peer)
        named = () if member is None or member.record is None else member.record.relays
        known = self._surroundings.trusted_relays
        for url in named:
            self._relays.use_for_peer(url, [*known, *extra])
        return list(dict.fromkeys([*extra, *named, *known]))

    def ways_to(
        self,
        peer: NodeID,
        *,
        relays: Iterable[str] = (),
        endpoints: Iterable[TransportAddress] = (),
        policy: PathPolicy | None = None,
    ) -> list[Way]:
        """
        List the ways that may lead to a peer now.

        @param relays: URLs that a join code names.
        @param endpoints: addresses that a join code names.
        @param policy: which of them may be used; by default as configured.
        """
        ways: list[Way] = []
        policy = policy or self.policy
        if policy is not PathPolicy.DIRECT:
            for url in self.relay_urls_of(peer, relays):
                client = self._relays.clients.get(url)
                if client is not None and client.is_welcomed:
                    ways.append(self._relays.way(url, peer))
        member = None if self._mesh.roster is None else self._mesh.roster.get(peer)
        told = [] if member is None or member.record is None else list(member.record.endpoints)
        rules = self._surroundings.rules()
        direct = [
            DirectWay(address)
            for address in dict.fromkeys([*endpoints, *told])
            if rules.refusal(address, is_near=self._surroundings.is_near(address)) is None
        ]
        if policy is not PathPolicy.RELAYED:
            ways += direct[:MAX_DIRECT]
        return ways

    def link_to(self, peer: NodeID) -> Link | None:
        """
        Find the current link to a member; that of a guest, who may be about to
        become one, does not count.
        """
        link = self.endpoint.link_to(peer)
        is_good = link is not None and link.is_open and link.membership is not None
        return link if is_good else None

    def connect(
        self, peer: NodeID, ways: Sequence[Way] | None = None, *, is_early: bool = False
    ) -> Deferred[Link]:
        """
        Find the link to a member, or make it.

        @param ways: by which; by default all that are known.
        @param is_early: take one too that awaits its welcome, to open a stream at once.
        @return: fires with a link that is connected; fails with L{LinkError}.
            Cancelling it gives a dial up that nobody else waits for.
        """
        link = self.link_to(peer)
        if link is not None and not link.is_silent:
            found: Deferred[Link] = Deferred()
            found.callback(link)
            return found
        known = self.ways_to(peer) if ways is None else list(ways)
        if not known:
            text = "no way to it is known: no relay has let us in, and no address is told"
            self.note(peer, f"not dialled: {text}")
            nowhere: Deferred[Link] = Deferred()
            nowhere.errback(NoPathError(text))
            return nowhere
        return self._dial(peer, known, is_early)

    def note(self, peer: NodeID, text: str, way: Way | None = None) -> None:
        """
        Keep what happened to a member, for those who ask why it is as it is.
        """
        if self._mesh.has(peer):
            self.history.note(peer, self._clock.now(), text[:MAX_NOTE], way)

    def relay_has_not(self, url: str, peer: NodeID) -> None:
        """
        A relay says that it does not have a peer to which we sent.
        """
        self.note(peer, ABSENT, self._relays.way(url, peer))

    def _dial(self, peer: NodeID, ways: Sequence[Way], is_early: bool = False) -> Deferred[Link]:
        """
        Dial a peer, and keep what comes of it.
        """
        self.note(peer, f"{DIALLED}{', '.join(map(way_text, ways)) or 'no way'}")

        def begun(link: Link) -> Link:
            if not link.is_connected:
                link.when_closed().addCallback(ended, link)
            return link

        def ended(error: object, link: Link) -> None:
            if not link.is_connected:
                self.note(peer, f"not reached: {error}")

        def failed(failure: Failure) -> Failure:
            is_given_up = failure.check(CancelledError) is not None
            why = "nobody waits for it any more" if is_given_up else failure.getErrorMessage()
            self.note(peer, f"not reached: {why}")
            return failure

        return self.endpoint.dial(peer, ways, is_early=is_early).addCallbacks(begun, failed)

    def connect_apart(
        self, peer: NodeID, policy: PathPolicy, *, is_early: bool = False
    ) -> Deferred[Link]:
        """
        Find a link beside the current one that has a policy of its own, or make it.

        That of policy C{direct} may begin relayed: punching takes a relay.

        @param is_early: as for L{connect}.
        @return: as L{connect}.
        @raise ConfigurationError: the node may not use such paths.
        """
        if policy is self.policy:
            return self.connect(peer, is_early=is_early)
        if self.policy is not PathPolicy.AUTO:
            raise ConfigurationError(f"this node is set to {self.policy.value} paths only")
        allowed = PathPolicy.AUTO if policy is PathPolicy.DIRECT else policy
        known = self.ways_to(peer, policy=allowed)
        if not known:
            nowhere: Deferred[Link] = Deferred()
            nowhere.errback(NoPathError(f"no way to it is known that may be {policy.value}"))
            return nowhere
        return self._apart.connect(peer, policy, known, is_early=is_early)

    def dial_unnamed(self, address: TransportAddress, judge: Judge) -> Deferred[Link]:
        """
        Dial whoever listens at an address of our own network.

        @param judge: told the listener's node ID and chain; raises what it has against it.
        @return: as L{connect}.
        @raise NoPathError: the address is none that may be dialled so.
        """
        refusal = self._surroundings.rules().refusal(
            address, is_near=self._surroundings.is_near(address)
        )
        if refusal is None and not self._surroundings.is_local(address):
            refusal = "not on this network"
        if refusal is None and self.policy is PathPolicy.RELAYED:
            refusal = "this node is set to relayed paths only"
        if refusal is not None:
            raise NoPathError(f"{address} cannot be dialled: {refusal}")
        return self._unnamed.dial(DirectWay(address), judge)

    def _dial_apart(self, peer: NodeID | None, ways: Sequence[Way], policy: PathPolicy) -> Link:
        """
        Make the first flight of a link beside the current one.
        """
        return self.endpoint.dial_apart(peer, ways, policy)

    def set_policy(self, policy: PathPolicy) -> None:
        """
        Change which paths may be used, on the links that are there too.
        """
        self.policy = policy
        for link in self.endpoint.links:
            if not link.is_apart:
                link.call_core(link.core.paths.set_policy, policy, link.now())

    # What an endpoint asks: see L{LinkPolicy}.

    def check_membership(self, peer: NodeID, chain: bytes) -> Membership | None:
        """
        Say what a peer is in our mesh.
        """
        return self._mesh.check(peer, chain)

    def known_member(self, peer: NodeID) -> Membership | None:
        """
        Say what a peer is in our mesh by what we hold.
        """
        return self._mesh.known(peer)

    def own_chain(self) -> bytes:
        """
        Hand out our membership chain.
        """
        return self._mesh.chain

    def send(self, way: Way, datagrams: list[bytes]) -> None:
        """
        Send datagrams by a way.
        """
        if isinstance(way, DirectWay):
            self.guesses.send(way, datagrams)
        else:
            self._relays.send(way, datagrams)

    def make_paths(self, peer: NodeID | None, is_dialler: bool, now: float) -> Paths:
        """
        Make the path layer of a new link.
        """
        return Paths(
            is_dialler=is_dialler,
            entropy=self._entropy,
            now=now,
            budget=self.budget,
            rules=self._surroundings.rules(),
            policy=self.policy,
        )

    def offer(self, paths: Paths, peer: NodeID) -> bytes:
        """
        Say where we can be reached.
        """
        where = self._surroundings
        offer = paths.local_offer(where.candidates(), self._relays.welcomed, where.has_stable_port)
        return encode_offer(offer)

    def offer_received(self, link: Link, payload: bytes) -> None:
        """
        Take what a peer says of where it can be reached.
        """
        try:
            offer = decode_offer(payload)
        except DecodeError as error:
            link.close(str(error), CloseCode.VIOLATED)
            return
        paths = link.core.paths
        link.call_core(paths.set_remote_offer, offer, link.now())
        for url in offer.relays:
            client = self._relays.clients.get(url)
            if client is not None and client.is_welcomed:
                link.call_core(paths.way_back, self._relays.way(url, link.peer), link.now())

    def accept_stream(self, link: Link, service: str) -> IProtocol | Deferred[IProtocol]:
        """
        Serve a stream.
        """
        served = self.guest_services if link.membership is None else self.services
        make = served.get(service)
        if make is None:
            if link.membership is None:
                raise StreamRefusedError("only members are served")
            raise StreamRefusedError("there is no such service here")
        is_ours = service.startswith("atmosphere.")
        if is_ours and link.core.streams.count_served(service) >= MAX_SAME_SERVICE:
            raise StreamRefusedError("there are too many streams of that service already")
        return make(link)

    def datagram_received(self, link: Link, service: str, data: bytes) -> None:
        """
        Hand a datagram to its service; without one it is lost.
        """
        take = self.datagram_services.get(service)
        if take is not None and link.membership is not None:
            take(link, data)

    def link_pinned(self, link: Link) -> None:
        """
        Streams can be opened on a link apart.
        """
        self._apart.pinned(link)

    def link_connected(self, link: Link) -> None:
        """
        Note a link.
        """
        if link.membership is not None:
            kind = "linked with"
        else:
            kind = "asking to be let in by" if link.is_dialler else "a guest:"
        self._log.info("{kind} {peer}", kind=kind, peer=link.peer.short)
        if link.membership is not None:
            self.note(
                link.peer, "linked: we dialled" if link.is_dialler else "linked: it dialled us"
            )
        self.guesses.link_connected(link)
        self._tell_addresses(link)  # a dialler's offer left with its proof, and may be old by now
        if link.is_apart:
            self._apart.connected(link)
            self._unnamed.connected(link)
            return
        for listener in list(self.on_connected):
            listener(link)

    def link_closed(self, link: Link, reason: str) -> None:
        """
        Note the end of a link.
        """
        self._log.info("the link with {peer} ended: {reason}", peer=link.peer.short, reason=reason)
        self.guesses.link_closed(link, may_return=self._mesh.has(link.peer))
        if link.membership is not None and self._mesh.has(link.peer):
            self.history.keep(link.peer, link.core.paths.decisions)
            self.note(link.peer, f"a link ended: {reason}")
        if link.is_apart:
            return
        for listener in list(self.on_closed):
            listener(link, reason)

    def path_event(self, link: Link, event: PathEvent) -> None:
        """
        Note what became of a link's paths; dial anew when all are silent.
        """
        if isinstance(event, PathChanged):
            self._log.info(
                "{peer}: data goes by {way} now: {reason}",
                peer=link.peer.short,
                way=way_text(event.new),
                reason=event.reason,
            )
            if isinstance(event.old, DirectWay) and not isinstance(event.new, DirectWay):
                self._surroundings.doubt()
        if isinstance(event, PathSilent) and self.endpoint.link_to(link.peer) is link:
            self._dial(link.peer, self.ways_to(link.peer)).addErrback(
                lambda failure: self._log.debug(
                    "{peer} does not answer: {reason}",
                    peer=link.peer.short,
                    reason=failure.value,
                )
            )
        self.guesses.path_event(link, event)
        for listener in list(self.on_path):
            listener(link, event)

    # What changes around us.

    def relay_changed(self, client: RelayClient) -> None:
        """
        Tell each link that a relay came or went.
        """
        for link in self.endpoint.links:
            way = self._relays.way(client.url, link.peer)
            paths = link.core.paths
            if not client.is_welcomed:
                link.call_core(paths.way_lost, way, link.now(), "its relay is gone")
            elif self._is_offered(link, client.url):
                link.call_core(paths.way_back, way, link.now())
        self.addresses_changed()

    def _is_offered(self, link: Link, url: str) -> bool:
        """
        Say whether a peer listens at a relay.
        """
        offer = link.core.paths.remote_offer
        return offer is None or url in offer.relays

    def addresses_changed(self) -> None:
        """
        Tell each peer where we can be reached now.
        """
        for link in self.endpoint.links:
            self._tell_addresses(link)

    def _tell_addresses(self, link: Link) -> None:
        """
        Tell a peer where we can be reached now, if it was told something else.
        """
        offer = link.core.paths.new_local_candidates(
            self._surroundings.candidates(),
            self._relays.welcomed,
            link.now(),
            self._surroundings.rules(),
            self._surroundings.has_stable_port,
        )
        if offer is not None:
            link.call_core(link.core.send_offer, encode_offer(offer))

    def recheck(self) -> None:
        """
        Cut the links of those that are no members any more.
        """
        for link in [*self.endpoint.links, *self.endpoint.early_links]:
            if link.membership is not None and not self._mesh.has(link.peer):
                link.close("no member of this mesh any more", CloseCode.REFUSED)
