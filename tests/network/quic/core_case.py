"""
Two link engines back to back, and engines that face a peer without rules.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from qh3.quic import events as quic_events
from twisted.trial.unittest import SynchronousTestCase

from atmosphere.addresses import TransportAddress
from atmosphere.identity import NodeID, NodeKey
from atmosphere.network.nat.candidates import AddressRules
from atmosphere.network.path.check_budget import CheckBudget
from atmosphere.network.path.paths import Paths
from atmosphere.network.path.ways import DirectWay
from atmosphere.network.quic import core_events as events
from atmosphere.network.quic.acceptance import connection_id_of
from atmosphere.network.quic.adapter import QUICConnection
from atmosphere.network.quic.core import LinkCore
from atmosphere.network.quic.credentials import make_credentials
from atmosphere.network.quic.handshake import Message, encode_message, make_proof
from atmosphere.testing.randomness import seeded_entropy

DIALLER, LISTENER, OTHER = (NodeKey(bytes([number]) * 32) for number in (1, 2, 3))
TO_LISTENER = DirectWay(TransportAddress("198.51.100.2", 7777))
TO_DIALLER = DirectWay(TransportAddress("198.51.100.1", 7777))
LATENCY = 0.01

EventT = TypeVar("EventT")

__all__ = [
    "DIALLER",
    "LATENCY",
    "LISTENER",
    "OTHER",
    "TO_DIALLER",
    "TO_LISTENER",
    "Bare",
    "CoreCase",
]


def make_paths(is_dialler: bool, now: float) -> Paths:
    """
    Make a path layer that knows nothing.
    """
    return Paths(
        is_dialler=is_dialler,
        entropy=seeded_entropy(is_dialler),
        now=now,
        budget=CheckBudget(100, 100),
        rules=AddressRules(),
    )


def make_dialler(now: float, peer: NodeID = LISTENER.node_id, chain: bytes = b"") -> LinkCore:
    """
    Make the dialler's engine.
    """
    paths = make_paths(True, now)
    paths.add_initial_way(TO_LISTENER)
    quic = QUICConnection(make_credentials(DIALLER))
    return LinkCore(quic, paths, DIALLER, b"d" * 16, now=now, peer=peer, chain=chain)


def make_listener(now: float, initial: bytes, key: NodeKey = LISTENER) -> LinkCore:
    """
    Make the listener's engine for a dialler's first datagram.
    """
    quic = QUICConnection(make_credentials(key), original_cid=connection_id_of(initial))
    return LinkCore(quic, make_paths(False, now), key, b"l" * 16, now=now)


class Bare:
    """
    A peer that speaks QUIC and keeps no rule of ours.

    @ivar quic: its connection.
    @ivar seen: what QUIC reported.
    """

    def __init__(self, quic: QUICConnection) -> None:
        self.quic = quic
        self.seen: list[object] = []

    def receive_datagram(self, data: bytes, way: object, now: float) -> None:
        """
        Take a datagram, unless it is a connectivity check.
        """
        if data[0] >= 4:
            self.quic.receive_datagrams([data], now)

    def datagrams_to_send(self, now: float) -> list[tuple[bytes, object]]:
        """
        Hand out what is to be sent.
        """
        while (event := self.next_event()) is not None:
            self.seen.append(event)
        return [(data, None) for data in self.quic.datagrams_to_send(now)]

    def get_timer(self) -> float | None:
        """
        Say when the connection wants to be called.
        """
        return self.quic.get_timer()

    def handle_timer(self, now: float) -> None:
        """
        Call it.
        """
        self.quic.handle_timer(now)

    def next_event(self) -> object | None:
        """
        Hand out the oldest event.
        """
        return self.quic.next_event()

    def say(self, *messages: Message) -> None:
        """
        Put messages on the control stream.
        """
        for message in messages:
            self.quic.send_stream(0, encode_message(message))

    def prove(
        self,
        listener: NodeID = LISTENER.node_id,
        key: NodeKey = DIALLER,
        chain: bytes = b"",
        binding: bytes | None = None,
    ) -> None:
        """
        Send a proof, a good one unless told otherwise.
        """
        own = self.quic.channel_binding() if binding is None else binding
        self.say(make_proof(key, listener, b"b" * 16, chain, 0, own))

    @property
    def said(self) -> dict[int, bytes]:
        """
        What came on each stream.
        """
        found: dict[int, bytes] = {}
        for event in self.seen:
            if isinstance(event, quic_events.StreamDataReceived):
                found[event.stream_id] = found.get(event.stream_id, b"") + event.data
        return found


End = LinkCore | Bare


class CoreCase(SynchronousTestCase):
    """
    A test with a dialler, a listener and a line of 10 ms between them.

    @ivar now: the time of both.
    @ivar seen: what each end reported.
    @ivar lost: says of each datagram whether it is lost, by who sent it.
    """

    now = 100.0
    lost: Callable[[End, bytes], bool] = staticmethod(lambda sender, data: False)

    def connect(self, dialler: End, listener: Callable[[bytes], End]) -> tuple[End, End]:
        """
        Carry the first flight, which the listener's end is made for.
        """
        first = dialler.datagrams_to_send(self.now)
        other = listener(first[0][0])
        self.seen: dict[End, list[events.Event]] = {dialler: [], other: []}
        self._ends = (dialler, other)
        self._wire: list[tuple[float, End, bytes]] = []
        for data, _ in first:
            self._wire.append((self.now + LATENCY, other, data))
        return dialler, other

    def pair(self, key: NodeKey = LISTENER, chain: bytes = b"") -> tuple[LinkCore, LinkCore]:
        """
        Begin a link between two engines.
        """
        dialler = make_dialler(self.now, chain=chain)
        listener: LinkCore | None = None

        def make(initial: bytes) -> LinkCore:
            nonlocal listener
            listener = make_listener(self.now, initial, key)
            return listener

        self.connect(dialler, make)
        assert listener is not None
        return dialler, listener

    def bare_dialler(self) -> tuple[Bare, LinkCore]:
        """
        Begin a link that a peer without rules dials.
        """
        bare = Bare(QUICConnection(make_credentials(DIALLER)))
        bare.quic.connect(self.now)
        listener: LinkCore | None = None

        def make(initial: bytes) -> LinkCore:
            nonlocal listener
            listener = make_listener(self.now, initial)
            return listener

        self.connect(bare, make)
        assert listener is not None
        self.run_for(10 * LATENCY)
        return bare, listener

    def bare_listener(self) -> tuple[LinkCore, Bare]:
        """
        Begin a link to a peer without rules.
        """
        dialler = make_dialler(self.now)
        bare: Bare | None = None

        def make(initial: bytes) -> Bare:
            nonlocal bare
            bare = Bare(
                QUICConnection(make_credentials(LISTENER), original_cid=connection_id_of(initial))
            )
            return bare

        self.connect(dialler, make)
        assert bare is not None
        self.run_for(10 * LATENCY)
        return dialler, bare

    def turn(self, end: End) -> None:
        """
        Take the events of one end, and what it sends.
        """
        while isinstance(end, LinkCore) and (event := end.next_event()) is not None:
            self.seen[end].append(event)
        (other,) = (each for each in self._ends if each is not end)
        for data, _ in end.datagrams_to_send(self.now):
            if not self.lost(end, data):
                self._wire.append((self.now + LATENCY, other, data))
        while isinstance(end, LinkCore) and (event := end.next_event()) is not None:
            self.seen[end].append(event)

    def run_for(self, seconds: float) -> None:
        """
        Let time pass, from one datagram or timer to the next.
        """
        until = self.now + seconds
        while True:
            for end in self._ends:
                self.turn(end)
            times = [each.get_timer() for each in self._ends] + [due for due, _, _ in self._wire]
            due = min((each for each in times if each is not None), default=until)
            if due > until:
                self.now = until
                return
            if due >= until and not self._wire:
                self.now = until
            self.now = max(self.now, due)
            arrived = [each for each in self._wire if each[0] <= self.now]
            self._wire = [each for each in self._wire if each[0] > self.now]
            for _, end, data in arrived:
                way = TO_DIALLER if end is self._ends[1] else TO_LISTENER
                end.receive_datagram(data, way, self.now)
            for end in self._ends:
                timer = end.get_timer()
                if timer is not None and timer <= self.now:
                    end.handle_timer(self.now)
            if self.now >= until and not arrived:
                return

    def saw(self, end: End, kind: type[EventT]) -> list[EventT]:
        """
        Find the events of a kind that an end reported.
        """
        return [event for event in self.seen[end] if isinstance(event, kind)]

    def link_up(self) -> tuple[LinkCore, LinkCore]:
        """
        Make a link that both sides agree on.
        """
        dialler, listener = self.pair()
        self.run_for(10 * LATENCY)
        listener.welcome(b"")
        self.run_for(5 * LATENCY)
        dialler.confirm()
        self.run_for(5 * LATENCY)
        return dialler, listener

    def bare_link_up(self) -> tuple[Bare, LinkCore]:
        """
        Make a link that a peer without rules dialled, and was taken in.
        """
        bare, listener = self.bare_dialler()
        bare.prove()
        self.run_for(5 * LATENCY)
        listener.welcome(b"")
        self.run_for(5 * LATENCY)
        return bare, listener
