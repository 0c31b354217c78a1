# -*- test-case-name: tests.network.quic.test_endpoint -*-
"""
All links of one node: dials, listens, and keeps one current link a peer.

Datagrams reach it from the UDP port and from relays alike, each with the way by
which it came. The rules are in C{docs/protocols/link.md}, sections 1 and 3.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from atmosphere.engine_driver import EngineClock
from atmosphere.errors import AtmosphereError, DecodeError, LinkError, MembershipError
from atmosphere.identity import NodeID, NodeKey
from atmosphere.network.path.checks import answer_recipient
from atmosphere.network.path.selection import PathPolicy
from atmosphere.network.path.ways import Way, way_text
from atmosphere.network.stun.attributes import USERNAME
from atmosphere.network.stun.message import Class, decode_message

from .acceptance import Acceptance, Initial, Verdict, connection_id_of
from .adapter import (
    CONNECTION_ID_LENGTH,
    MAX_DATAGRAM_SIZE,
    QUICConnection,
    encode_retry,
    encode_version_negotiation,
)
from .connection import Link
from .core import CloseCode, LinkCore
from .credentials import make_credentials
from .crowd import MAX_LINKS_OF_PEER, Guests, HalfOpen
from .dial import Dial
from .handshake import APART, MAX_GENERATION, Proof, Welcome
from .larger import Enlargements, size_asked_for
from .policy import LinkPolicy
from .refusals import EndpointCounters, Refusals
from .retirement import Retirement
from .rivals import newer_wins
from .warm_up import warm_up

__all__ = ["LinkEndpoint"]


class LinkEndpoint:
    """
    The links of one node.

    @ivar counters: what was dropped, and why.
    """

    _log = Logger()

    def __init__(
        self,
        reactor: IReactorTime,
        key: NodeKey,
        instance: bytes,
        policy: LinkPolicy[Link],
        *,
        entropy: Callable[[int], bytes],
    ) -> None:
        """
        @param instance: 16 random bytes of this process.
        """
        self.own_id = key.node_id
        self.counters = EndpointCounters()
        self._reactor = reactor
        self._key = key
        self._instance = instance
        self._policy = policy
        self._entropy = entropy
        self._clock = EngineClock(reactor)
        self._credentials = make_credentials(key)
        self._acceptance = Acceptance(entropy)
        self._routes: dict[bytes, Link] = {}
        self._by_ufrag: dict[str, Link] = {}
        self._links: dict[Link, set[bytes]] = {}
        self._current: dict[NodeID, Link] = {}
        self._dials: dict[NodeID, Dial] = {}
        self._enlargements = Enlargements()
        self._half_open: HalfOpen[Link] = HalfOpen()

        def later(seconds: float, call: Callable[[], None]) -> Callable[[], object]:
            """
            Call something later, unless it is undone.
            """
            return reactor.callLater(seconds, call).cancel

        self._retirement: Retirement[Link] = Retirement(later, self.link_to)
        self._guests: Guests[Link] = Guests(
            later,
            lambda link, reason: link.close(reason, CloseCode.REFUSED),
        )
        self._refusals = Refusals(self._log.info, self._log.debug)
        self._is_stopped = False

    # For the node.

    def warm_up(self) -> None:
        """
        Do one handshake in memory: a process's first costs twenty times more.
        """
        warm_up(self._credentials, self._clock.now())

    def link_to(self, peer: NodeID) -> Link | None:
        """
        Find the current link to a peer.
        """
        return self._current.get(peer)

    @property
    def links(self) -> list[Link]:
        """
        All links that are connected.
        """
        return [link for link in self._links if link.is_open]

    @property
    def early_links(self) -> list[Link]:
        """
        Those that await their welcome and may bear streams already.
        """
        return [link for link in self._links if link.is_early]

    def dial(self, peer: NodeID, ways: Sequence[Way], *, is_early: bool = False) -> Deferred[Link]:
        """
        Make a new link to a peer, whether or not there is one.

        @param ways: all that may lead there; the first flight takes them all.
        @param is_early: take one too that awaits its welcome, to open a stream at once.
        @return: fires with the connected link, whichever side dialled it; fails
            with L{LinkError}. Cancelling it gives the dial up when nobody else
            waits for it.
        """
        dial = self._dials.get(peer)
        if dial is None:
            dial = Dial(self._reactor, peer, ways, self._start_dial, self._dial_over)
            self._dials[peer] = dial
            dial.start()
        return dial.wait(is_early=is_early)

    def dial_apart(self, peer: NodeID | None, ways: Sequence[Way], policy: PathPolicy) -> Link:
        """
        Make the first flight of a link beside the current one, with a policy of its own.

        @param peer: C{None} takes whoever listens there; the link needs a C{judge} then.
        """
        link = self._start_dial(peer, ways, policy)
        link.is_apart = True
        return link

    def _start_dial(
        self,
        peer: NodeID | None,
        ways: Sequence[Way],
        policy: PathPolicy | None = None,
        datagram_size: int = MAX_DATAGRAM_SIZE,
    ) -> Link:
        """
        Make the first flight of one attempt.

        @param policy: of a link apart.
        """
        now = self._clock.now()
        paths = self._policy.make_paths(peer, True, now)
        if policy is not None:
            paths.set_policy(policy, now)
        for way in ways:
            paths.add_initial_way(way)
        core = LinkCore(
            QUICConnection(self._credentials, datagram_size=datagram_size),
            paths,
            self._key,
            self._instance,
            now=now,
            peer=peer,
            chain=self._policy.own_chain(),
            generation=APART if peer is None or policy else self._next_generation(peer),
            offer=b"" if peer is None else self._policy.offer(paths, peer),
        )
        return self._adopt(core)

    def _next_generation(self, peer: NodeID) -> int:
        """
        Say of which generation a new link to a peer is: later than the present one.
        """
        current = self._current.get(peer)
        return 1 if current is None else min(current.generation + 1, MAX_GENERATION)

    def _dial_over(self, dial: Dial) -> None:
        """
        A dial has succeeded or failed.
        """
        if self._dials.get(dial.peer) is dial:
            del self._dials[dial.peer]

    def _adopt(self, core: LinkCore) -> Link:
        """
        Give a new engine its shell and its routes.
        """
        link = Link(self._reactor, core, self, self._policy, self.own_id, self._clock)
        self._links[link] = set()
        self._by_ufrag[core.paths.local_ufrag] = link
        for connection_id in core.quic.connection_ids:
            self.route_changed(link, connection_id, True)
        link.pump()
        return link

    def stop(self, reason: str = "the node stops") -> None:
        """
        Close every link, tell each peer once, and let go of the clock.
        """
        self._is_stopped = True
        self._guests.stop()
        self._retirement.stop()
        for dial in list(self._dials.values()):
            dial.fail(LinkError(reason))
        for link in list(self._links):
            link.close(reason)
            link.pump()
            link.stop()
        self._links.clear()
        self._routes.clear()
        self._by_ufrag.clear()
        self._current.clear()

    # From the network.

    def datagrams_received(self, way: Way, datagrams: Sequence[bytes]) -> None:
        """
        Take datagrams that came by one way: QUIC packets and connectivity checks.
        """
        current: Link | None = None
        together: list[bytes] = []
        for data in datagrams:
            if not data or self._is_stopped:
                continue
            link = self._link_of(data)
            if link is None and data[0] & 0xC0 == 0xC0:
                self._initial_received(data, way)
            elif link is None:
                self.counters.dropped += 1
            elif link is current:
                together.append(data)
            else:
                if current is not None:
                    current.datagrams_received(together, way)
                current, together = link, [data]
        if current is not None:
            current.datagrams_received(together, way)

    def _link_of(self, data: bytes) -> Link | None:
        """
        Find the link that a datagram is for.
        """
        if data[0] & 0xC0 == 0x40:  # a short header, as nearly all have
            return self._routes.get(data[1 : 1 + CONNECTION_ID_LENGTH])
        if data[0] < 4:
            return self._link_of_check(data)
        connection_id = connection_id_of(data)
        return None if connection_id is None else self._routes.get(connection_id)

    def _link_of_check(self, data: bytes) -> Link | None:
        """
        Find the link that a connectivity check, or its response, is for.
        """
        try:
            message = decode_message(data)
        except DecodeError:
            return None
        if message.message_class is Class.REQUEST:
            username = message.get(USERNAME)
            return None if username is None else self._by_ufrag.get(username.partition(":")[0])
        return self._by_ufrag.get(answer_recipient(message.transaction_id))

    def _initial_received(self, data: bytes, way: Way) -> None:
        """
        Answer what may be the beginning of a link.
        """
        now = self._clock.now()
        text = way_text(way).encode("utf-8")
        initial, verdict = self._acceptance.judge(data, text, len(self._half_open), now)
        match verdict:
            case Verdict.ACCEPT if initial.retry_cid and not self._half_open.may_come(way):
                self.counters.half_open_refused += 1
            case Verdict.ACCEPT:
                self._accept(initial, data, way, now)
            case Verdict.RETRY:
                self.counters.retries_sent += 1
                retry_cid = self._entropy(8)
                token = self._acceptance.tokens.make(text, initial.destination_cid, retry_cid, now)
                packet = encode_retry(retry_cid, initial.source_cid, initial.destination_cid, token)
                self._policy.send(way, [packet])
            case Verdict.NEGOTIATE:
                foreign = f"it speaks version {int.from_bytes(data[1:5], 'big'):#x} of QUIC, not 1"
                self._refusals.refused(None, way, foreign, now)
                packet = encode_version_negotiation(initial.destination_cid, initial.source_cid)
                self._policy.send(way, [packet])
            case Verdict.TOO_MANY:
                self.counters.half_open_refused += 1
            case Verdict.DROP:
                self.counters.dropped += 1

    def _accept(self, initial: Initial, data: bytes, way: Way, now: float) -> None:
        """
        Begin a link that a peer dials.
        """
        quic = QUICConnection(
            self._credentials,
            original_cid=initial.original_cid,
            retry_cid=initial.retry_cid,
            datagram_size=size_asked_for(len(data)),
        )
        paths = self._policy.make_paths(None, False, now)
        link = self._adopt(LinkCore(quic, paths, self._key, self._instance, now=now))
        self._half_open.came(link, way if initial.retry_cid else None)
        link.datagrams_received((data,), way)
        link.pump()
        if link.core.paths.active is None:  # it is no Initial, or may not come by that way
            self.counters.dropped += 1
            self.link_ended(link)

    # From the links.

    def route_changed(self, link: Link, connection_id: bytes, is_added: bool) -> None:
        """
        Keep the table of connection IDs true.
        """
        own = self._links.get(link)
        if own is None:
            return
        if is_added:
            if connection_id not in self._routes:
                self._routes[connection_id] = link
                own.add(connection_id)
        elif connection_id in own:
            own.discard(connection_id)
            self._routes.pop(connection_id, None)

    def link_pinned(self, link: Link) -> None:
        """
        A listener has the key that we want: streams may go to it at once, if we know
        it to be a member, and are one.
        """
        is_named = link.judge is None and self._policy.own_chain()
        member = self._policy.known_member(link.peer) if is_named else None
        if member is None:
            return
        link.trust(member)
        if link.is_apart:
            self._policy.link_pinned(link)
        elif (dial := self._dials.get(link.peer)) is not None:
            dial.pinned(link)

    def link_proved(self, link: Link, proof: Proof) -> None:
        """
        A dialler's proof holds: let it in, or say why not.
        """
        try:
            link.membership = self._policy.check_membership(proof.node, proof.chain)
        except AtmosphereError as error:
            link.core.refuse(str(error))
            return
        link.instance = proof.instance
        link.generation = proof.generation
        link.is_apart = proof.generation == APART
        link.core.welcome(self._policy.own_chain())
        self._connected(link)

    def link_welcomed(self, link: Link, welcome: Welcome) -> None:
        """
        The listener let us in: see whether it is what we want.
        """
        try:
            if link.judge is not None:
                link.judge(link.peer, welcome.chain)
            elif self._policy.own_chain():
                if not welcome.chain:
                    raise MembershipError("the listener shows no certificate of our mesh")
                link.membership = self._policy.check_membership(link.peer, welcome.chain)
        except AtmosphereError as error:
            link.close(str(error), CloseCode.REFUSED)
            return
        link.instance = welcome.instance
        link.core.confirm()
        self._connected(link)

    def _connected(self, link: Link) -> None:
        """
        Note a link that is connected, and settle which one is current.
        """
        link.is_connected = True
        peer = link.peer
        for other in [each for each in self._links if each is not link and each.is_open]:
            if other.peer != peer:
                continue
            if other.instance != link.instance:
                other.close("the peer has started anew", CloseCode.REPLACED)
            elif other.membership is None and link.membership is not None:
                other.close("the guest is a member now", CloseCode.REPLACED)
        older = self._current.get(peer)
        self._enlargements.adopt(link, older, self._clock.now())
        if link.is_apart:
            retired: Link | None = link
        elif older is None or not older.is_open or newer_wins(older, link):
            self._current[peer] = link
            retired = older
        else:
            retired = link
        dial = self._dials.get(peer)
        if dial is not None and not link.is_apart:
            dial.succeed(link)
        if not link.is_dialler or link.judge is not None:
            link.core.send_offer(self._policy.offer(link.core.paths, peer))
        self._policy.link_connected(link)
        if retired is not None:
            self.link_idle(retired)
        self._make_room(link)

    def _make_room(self, link: Link) -> None:
        """
        Count a link that is connected now, and close what is too much by it.
        """
        self._half_open.went(link)
        if link.membership is None and not link.is_dialler:
            self._guests.came(link)
        same = [each for each in self._links if each.is_open and each.peer == link.peer]
        if len(same) > MAX_LINKS_OF_PEER:
            kept = (link, self._current.get(link.peer))
            oldest = next(each for each in same if each not in kept)
            oldest.close("there are too many links", CloseCode.REPLACED)

    def link_idle(self, link: Link) -> None:
        """
        Close a link that is no longer current when it has been of no use for a while.
        """
        if link.is_early and (dial := self._dials.get(link.peer)) is not None:
            dial.attempt_idle(link)
        self._retirement.consider(link)

    def stream_ended(self, link: Link) -> None:
        """
        Dial anew if the streams that follow are worth a link with larger datagrams.
        """
        is_current = link.is_open and self._current.get(link.peer) is link
        if self._is_stopped or not is_current or link.membership is None:
            return
        if link.peer in self._dials:
            return
        wanted = self._enlargements.wanted(link, self._links, self._clock.now())
        if wanted is not None:
            ways, size = wanted
            self._start_dial(link.peer, ways, datagram_size=size)

    def link_closed(self, link: Link, reason: str) -> None:
        """
        A link carries nothing any more.
        """
        self._guests.went(link)
        self._half_open.left(link)
        was_connected = link.is_connected
        peer = link.core.peer
        if link.core.has_failed:
            self.counters.failed_inside += 1
        if not was_connected:
            way, now = link.core.first_way, self._clock.now()
            self._refusals.refused(peer, way, reason, now, is_ours=link.is_dialler)
        elif link.core.has_failed:
            self._log.error("{link}: {reason}", link=link, reason=reason)
        if peer is not None and self._current.get(peer) is link:
            del self._current[peer]
            for other in self._links:
                if other.is_open and other.peer == peer and not other.is_apart:
                    self._current[peer] = other
        if peer is not None and (dial := self._dials.get(peer)) is not None:
            dial.attempt_failed(link, reason)
        if was_connected:
            self._policy.link_closed(link, reason)

    def link_ended(self, link: Link) -> None:
        """
        A link needs no datagrams any more: forget it.
        """
        link.stop()
        self._half_open.went(link)
        self._retirement.forget(link)
        for connection_id in self._links.pop(link, set()):
            self._routes.pop(connection_id, None)
        self._by_ufrag.pop(link.core.paths.local_ufrag, None)
