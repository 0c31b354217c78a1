"""
Two path engines, one behind a NAT that takes another port for each destination, the other
behind one that lets in answers alone, on virtual time.
"""

from __future__ import annotations

from functools import partial
from itertools import count
from typing import Any

from typing_extensions import override

from atmosphere.addresses import TransportAddress
from atmosphere.network.nat.candidates import Candidate, CandidateType, make_candidate
from atmosphere.network.nat.port_prediction import PredictionBudget
from atmosphere.network.path.exchange import PathOffer
from atmosphere.network.path.paths import Paths
from atmosphere.network.path.prediction import Prediction
from atmosphere.network.path.prediction_message import PredictionMessage, decode_prediction
from atmosphere.network.path.reports import PredictionSaid, SocketsKept, SocketsWanted
from atmosphere.network.path.ways import DirectWay, Way

from .lane import A_ID, B_ID, RELAY, Pair

HARD_HOST = "45.77.1.2"
EASY = TransportAddress("45.77.2.2", 7777)
DELAY = 0.04


def seen(address: TransportAddress) -> Candidate:
    """
    Make a candidate that a STUN server told.
    """
    return make_candidate(CandidateType.SERVER_REFLEXIVE, address)


class HardPair(Pair):
    """
    As L{Pair}, with no lanes but the relay's: direct ways lead through two NATs.

    @ivar hard: the side whose NAT is the hard one.
    @ivar sockets: those that it has open.
    @ivar most_sockets: how many were open at once.
    @ivar refuses_sockets: the system gives so many sockets, and no more.
    @ivar is_filtering: whether the easy side's NAT lets in answers alone.
    @ivar is_deaf: what goes to the hard side's NAT is lost there, or comes from it.
    @ivar probes: when which datagram was sent where directly, by side.
    @ivar budgets: of each side.
    @ivar stable: what each side says of its port.
    @ivar said: what the two said to each other.
    """

    def __init__(self, hard: str = "a", **settings: Any) -> None:
        super().__init__(relay=2 * DELAY, **settings)
        self.hard = hard
        self.easy = "b" if hard == "a" else "a"
        self.sockets: set[int] = set()
        self.most_sockets = 0
        self.refuses_sockets: int | None = None
        self.is_filtering = True
        self.is_deaf = False
        self.loss = 0.0
        self.probes: dict[str, list[tuple[float, DirectWay, bytes]]] = {"a": [], "b": []}
        self.budgets = {"a": PredictionBudget(), "b": PredictionBudget()}
        self.stable: dict[str, bool | None] = {self.hard: False, self.easy: True}
        self.said: list[tuple[float, str, Any]] = []
        self._sockets = count(40_000)
        self._mapped: dict[tuple[int | None, TransportAddress], int] = {}
        self._inside: dict[int, tuple[int | None, TransportAddress]] = {}
        self._contacted: set[TransportAddress] = set()

    def prediction(self, name: str) -> Prediction:
        """
        Find a side's.
        """
        found = self.sides[name].prediction
        assert found is not None
        return found

    @override
    def _carry(self, name: str, data: bytes, way: Way) -> None:
        """
        Lead direct ways through the NATs.
        """
        if not isinstance(way, DirectWay):
            super()._carry(name, data, way)
            return
        self.probes[name].append((self.now, way, data))
        if self.random.random() < self.loss:
            return
        if name == self.hard:
            self._out(data, way)
        elif way.address.host == HARD_HOST:
            self._contacted.add(way.address)
            self.at(self.now + DELAY, lambda: self._in(data, way.address.port))

    def _out(self, data: bytes, way: DirectWay) -> None:
        """
        Go out through the hard NAT, and in through the easy one.
        """
        if way.socket is not None and way.socket not in self.sockets:
            return
        key = (way.socket, way.address)
        port = self._mapped.get(key)
        if port is None:
            port = self._mapped[key] = self.random.randrange(1024, 65536)
            self._inside[port] = key
        source = TransportAddress(HARD_HOST, port)
        if way.address != EASY or self.is_deaf:
            return

        def arrive() -> None:
            if not self.is_filtering or source in self._contacted:
                self._arrive(self.easy, data, DirectWay(source))

        self.at(self.now + DELAY, arrive)

    def _in(self, data: bytes, port: int) -> None:
        """
        Go in through the hard NAT.
        """
        socket, expected = self._inside.get(port, (0, None))
        if expected == EASY and (socket is None or socket in self.sockets) and not self.is_deaf:
            self._arrive(self.hard, data, DirectWay(EASY, socket))

    @override
    def pump(self) -> None:
        """
        As before; what concerns guessing is done, as a node would.
        """
        for name, side in self.sides.items():
            while (event := side.next_event()) is not None:
                self._act(name, event)
            for data, way in side.datagrams_to_send(self.now):
                self._carry(name, data, way)

    def _act(self, name: str, event: Any) -> None:
        """
        Do what a side wants.
        """
        prediction = self.sides[name].prediction
        match event:
            case PredictionSaid():
                message = decode_prediction(event.payload)
                assert message is not None
                self.said.append((self.now, name, message))
                heard = partial(self._heard, self.sides["b" if name == "a" else "a"], message)
                self.at(self.now + 2 * DELAY, heard)
            case SocketsWanted():
                assert prediction is not None
                room = event.count
                if self.refuses_sockets is not None:
                    room = min(room, self.refuses_sockets - len(self.sockets))
                opened = [next(self._sockets) for _ in range(room)]
                self.sockets.update(opened)
                self.most_sockets = max(self.most_sockets, len(self.sockets))
                error = None if room == event.count else "no more descriptors"
                prediction.sockets_opened(opened, self.now, error)
            case SocketsKept():
                self.sockets &= event.ports
            case _:
                self.events[name].append((self.now, event))

    def _heard(self, side: Paths, message: PredictionMessage) -> None:
        """
        Hand a message to its receiver, if it knows such.
        """
        if side.prediction is not None:
            side.prediction.heard(message, self.now)

    def told(self, name: str) -> PathOffer:
        """
        Make a side's offer, and let it know that it may be another one.
        """
        side, stable = self.sides[name], self.stable[name]
        address = TransportAddress(HARD_HOST, 50_000) if name == self.hard else EASY
        changed = side.new_local_candidates([seen(address)], [RELAY], self.now, None, stable)
        return changed or side.local_offer([seen(address)], [RELAY], stable)

    def begin(self, *sides: str) -> None:
        """
        Connect by the relay, let both guess (or those named), and exchange offers.
        """
        self.connect()
        for name in sides or ("a", "b"):
            peer = B_ID if name == "a" else A_ID
            self.sides[name].may_predict(peer, self.budgets[name], self.now)
        self.tell()

    def tell(self) -> None:
        """
        Exchange offers.
        """
        offers = {name: self.told(name) for name in "ab"}
        self.a.set_remote_offer(offers["b"], self.now)
        self.b.set_remote_offer(offers["a"], self.now)

    def is_direct(self) -> bool:
        """
        Say whether data leaves directly on both sides.
        """
        return all(isinstance(side.active, DirectWay) for side in self.sides.values())

    def until_direct(self, limit: float = 5.0) -> float | None:
        """
        Let time pass until both sides are direct.

        @return: how long it took.
        """
        began = self.now
        while not self.is_direct():
            if self.now - began >= limit:
                return None
            self.run(0.01)
        return self.now - began

    def notes(self, name: str) -> list[str]:
        """
        List what a side decided about guessing.
        """
        found = (each.text for each in self.sides[name].decisions)
        return [text.removeprefix("guessing ports: ") for text in found if "guessing" in text]
