"""
Two path engines back to back: a network of several ways between them, with
delay, loss and size limits, on virtual time.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random

from typing_extensions import override

from atmosphere.addresses import TransportAddress
from atmosphere.identity import NodeKey
from atmosphere.network.nat.candidates import AddressRules, Candidate, CandidateType, make_candidate
from atmosphere.network.path.check_budget import CheckBudget
from atmosphere.network.path.paths import Paths
from atmosphere.network.path.reports import PathChanged, PathEvent
from atmosphere.network.path.selection import PathPolicy
from atmosphere.network.path.ways import DirectWay, RelayedWay, Way
from tests.network.virtual_time import VirtualTime

RELAY = "wss://relay.example"
A_ID = NodeKey(b"a" * 32).node_id
B_ID = NodeKey(b"b" * 32).node_id
A = TransportAddress("10.0.0.1", 7777)
B = TransportAddress("10.0.0.2", 7777)
TO_B, TO_A = DirectWay(B), DirectWay(A)
RELAY_TO_B, RELAY_TO_A = RelayedWay(RELAY, B_ID), RelayedWay(RELAY, A_ID)

DATA = b"\x40data"


def host(address: TransportAddress) -> Candidate:
    """
    Make a host candidate.
    """
    return make_candidate(CandidateType.HOST, address)


@dataclass
class Lane:
    """
    One direction of a way.

    @ivar arrives_as: what the receiver takes it for.
    @ivar delay: seconds.
    @ivar is_up: whether anything arrives.
    @ivar loss: 0 to 1.
    @ivar mtu: the longest datagram that arrives.
    @ivar gate: the receiver's NAT lets in only what answers this lane's
        datagrams (address and port-dependent filtering).
    @ivar sent: when what was sent into it.
    """

    arrives_as: Way
    delay: float
    is_up: bool = True
    loss: float = 0.0
    mtu: int = 65535
    gate: Lane | None = None
    sent: list[tuple[float, bytes]] = field(default_factory=list)


class Pair(VirtualTime):
    """
    A dialler C{a} and a listener C{b}, and the lanes between them.

    @ivar lanes: by side and the way that this side sends by; what goes
        elsewhere is lost and noted in C{strays}.
    @ivar events: what each side reported, with the time.
    @ivar data: when which data arrived at whom by which way.
    """

    def __init__(
        self,
        *,
        seed: int = 1,
        relay: float = 0.01,
        direct: float = 0.001,
        budget: CheckBudget | None = None,
        rules: AddressRules | None = None,
        policy: PathPolicy = PathPolicy.AUTO,
    ) -> None:
        super().__init__(1000.0)
        self.random = Random(seed)
        self.budget = CheckBudget(100, 100) if budget is None else budget
        self.lanes: dict[tuple[str, Way], Lane] = {
            ("a", RELAY_TO_B): Lane(RELAY_TO_A, relay),
            ("b", RELAY_TO_A): Lane(RELAY_TO_B, relay),
            ("a", TO_B): Lane(TO_A, direct),
            ("b", TO_A): Lane(TO_B, direct),
        }
        self.strays: list[tuple[float, str, bytes, Way]] = []
        self.events: dict[str, list[tuple[float, PathEvent]]] = {"a": [], "b": []}
        self.data: list[tuple[float, str, Way]] = []
        self.sides = {
            name: Paths(
                is_dialler=name == "a",
                entropy=Random(seed * 1000 + ord(name)).randbytes,
                now=self.now,
                budget=self.budget,
                rules=rules or AddressRules(allow_private=True),
                policy=policy,
            )
            for name in "ab"
        }
        self.a, self.b = self.sides["a"], self.sides["b"]

    # ------------------------------------------------------------ the network

    def _carry(self, name: str, data: bytes, way: Way) -> None:
        """
        Put a datagram into its lane.
        """
        lane = self.lanes.get((name, way))
        if lane is None:
            self.strays.append((self.now, name, data, way))
            return
        lane.sent.append((self.now, data))
        if not lane.is_up or len(data) > lane.mtu or self.random.random() < lane.loss:
            return
        to = "b" if name == "a" else "a"
        arrives_as, gate = lane.arrives_as, lane.gate

        def arrive() -> None:
            """
            Pass the receiver's NAT, if it lets us.
            """
            if gate is None or gate.sent:
                self._arrive(to, data, arrives_as)

        self.at(self.now + lane.delay, arrive)

    def _arrive(self, name: str, data: bytes, way: Way) -> None:
        """
        Hand a datagram to its receiver.
        """
        if data.startswith(DATA):
            self.data.append((self.now, name, way))
            self.sides[name].datagram_received(way, self.now)
        else:
            self.sides[name].receive_datagram(data, way, self.now)

    def send_data(self, name: str) -> None:
        """
        Send 1,200 bytes of data as QUIC would.
        """
        for way in self.sides[name].routes(self.now):
            self._carry(name, DATA.ljust(1200, b"."), way)

    def stream(self, name: str, interval: float, until: float) -> None:
        """
        Send data at a steady rate.
        """
        if self.now <= until:
            self.send_data(name)
            self.at(self.now + interval, lambda: self.stream(name, interval, until))

    # ---------------------------------------------------------------- running

    @override
    def pump(self) -> None:
        """
        Send what both sides have to send, and note their events.
        """
        for name, side in self.sides.items():
            while (event := side.next_event()) is not None:
                self.events[name].append((self.now, event))
            for data, way in side.datagrams_to_send(self.now):
                self._carry(name, data, way)

    @override
    def engines(self) -> list[Paths]:
        """
        List both.
        """
        return list(self.sides.values())

    # --------------------------------------------------------- common openings

    def connect(self, *, via: Way = RELAY_TO_B) -> None:
        """
        Dial by one way and welcome; no offers yet.
        """
        self.a.add_initial_way(via)
        self.send_data("a")
        self.run(0.1)
        self.send_data("b")
        self.run(0.1)
        for name, side in self.sides.items():
            side.welcomed(self.now)
            del name

    def exchange(self) -> None:
        """
        Tell both sides the other's offer.
        """
        offers = {
            "a": self.a.local_offer([host(A)], [RELAY]),
            "b": self.b.local_offer([host(B)], [RELAY]),
        }
        self.a.set_remote_offer(offers["b"], self.now)
        self.b.set_remote_offer(offers["a"], self.now)

    def open(self) -> None:
        """
        Connect over the relay, exchange offers, and settle.
        """
        self.connect()
        self.exchange()
        self.run(2.0)

    def cut(self, *ways: Way, is_up: bool = False) -> None:
        """
        Take lanes down (or up), both directions of the ways named.
        """
        for way in ways:
            for (_, sent_by), lane in self.lanes.items():
                if way in (sent_by, lane.arrives_as):
                    lane.is_up = is_up

    def changes(self, name: str, since: float = 0.0) -> list[tuple[float, Way]]:
        """
        List a side's path changes since a time.
        """
        return [
            (at, event.new)
            for at, event in self.events[name]
            if isinstance(event, PathChanged) and at >= since
        ]
