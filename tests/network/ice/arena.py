"""
Two ICE agents, NATs before them, and what carries their datagrams, on virtual time.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

from typing_extensions import override

from atmosphere.addresses import TransportAddress
from atmosphere.network.ice.agent import IceAgent
from atmosphere.network.ice.candidates import host_candidate, reflexive_candidate
from atmosphere.network.ice.description import IceDescription
from atmosphere.network.ice.events import Event, Received, Selected
from atmosphere.network.ice.pairs import IcePath
from atmosphere.network.nat.candidates import AddressRules
from atmosphere.network.stun.message import Class, decode_message
from atmosphere.network.udp.demultiplex import is_stun
from tests.network.virtual_time import VirtualTime

A = TransportAddress("10.0.1.2", 5000)
B = TransportAddress("10.0.2.2", 5000)
PUBLIC_A = TransportAddress("11.0.0.1", 6000)
PUBLIC_B = TransportAddress("11.0.0.2", 6000)


@dataclass
class Side:
    """
    An agent, and the NAT before it.

    @ivar agent: the agent.
    @ivar base: its socket.
    @ivar public: what its NAT makes of that; the same without a NAT.
    @ivar asked: whom it sent to, whose answers the NAT lets in.
    @ivar is_filtered: the NAT lets in nobody else.
    @ivar events: what it reported, and when.
    """

    agent: IceAgent
    base: TransportAddress
    public: TransportAddress
    is_filtered: bool
    asked: set[TransportAddress] = field(default_factory=set)
    events: list[tuple[float, Event]] = field(default_factory=list)

    @property
    def selected(self) -> Selected | None:
        """
        The pair that it selected last.
        """
        found = [event for _, event in self.events if isinstance(event, Selected)]
        return found[-1] if found else None

    @property
    def received(self) -> list[bytes]:
        """
        What the application got.
        """
        return [event.data for _, event in self.events if isinstance(event, Received)]


class Arena(VirtualTime):
    """
    Two sides, some time from each other.

    @ivar is_up: whether anything arrives.
    @ivar sent: all that left: when, by whom, what and where to.
    @ivar tamper: what becomes of a datagram on its way; C{None} loses it.
    """

    def __init__(
        self,
        *,
        seed: int = 1,
        delay: float = 0.02,
        roles: tuple[bool, bool] = (True, False),
        nats: tuple[bool, bool] = (False, False),
    ) -> None:
        super().__init__(100.0)
        self.delay = delay
        self.is_up = True
        self.sent: list[tuple[float, str, bytes, IcePath]] = []
        self.tamper: Callable[[str, bytes, IcePath], bytes | None] = lambda name, data, path: data
        addresses = ((A, PUBLIC_A), (B, PUBLIC_B))
        self.sides = {}
        for name, role, is_nat, (base, public) in zip("ab", roles, nats, addresses, strict=True):
            agent = IceAgent(
                is_controlling=role,
                entropy=Random(seed * 100 + ord(name)).randbytes,
                rules=AddressRules(allow_private=True),
            )
            self.sides[name] = Side(agent, base, public if is_nat else base, is_nat)
            local = host_candidate(base, 65535)
            agent.add_local_candidate(local, base)
            if is_nat:
                agent.add_local_candidate(reflexive_candidate(public, local, server="s"), base)
            agent.end_local_candidates()
        self.a, self.b = self.sides["a"], self.sides["b"]

    @override
    def engines(self) -> list[IceAgent]:
        """
        List both agents.
        """
        return [side.agent for side in self.sides.values()]

    def describe(self, name: str, description: IceDescription | None = None) -> None:
        """
        Tell a side what the other offers, or something else.
        """
        other = self.sides["b" if name == "a" else "a"].agent
        told = other.describe() if description is None else description
        agent = self.sides[name].agent
        agent.set_remote(told.credentials, self.now, is_lite=told.is_lite)
        for candidate in told.candidates:
            agent.add_remote_candidate(candidate)
        if told.is_complete:
            agent.end_remote_candidates()

    def meet(self, seconds: float = 2.0) -> None:
        """
        Tell both what the other offers, and wait.
        """
        self.describe("a")
        self.describe("b")
        self.run(seconds)

    def _carry(self, name: str, data: bytes, path: IcePath) -> None:
        """
        Bring a datagram to the other side, if the NATs let it through.
        """
        self.sent.append((self.now, name, data, path))
        side, other = self.sides[name], self.sides["b" if name == "a" else "a"]
        changed = self.tamper(name, data, path)
        if side.is_filtered:
            side.asked.add(path[1])
        if not self.is_up or changed is None or path[1] != other.public:
            return

        def arrive() -> None:
            """
            Pass the NAT of the receiver.
            """
            if not other.is_filtered or side.public in other.asked:
                other.agent.receive_datagram(changed, (other.base, side.public), self.now)

        self.at(self.now + self.delay, arrive)

    @override
    def pump(self) -> None:
        """
        Take what both have to send and to report.
        """
        for name, side in self.sides.items():
            while (event := side.agent.next_event()) is not None:
                side.events.append((self.now, event))
            for data, path in side.agent.datagrams_to_send(self.now):
                self._carry(name, data, path)

    def checks(self, name: str, since: float = 0.0) -> list[float]:
        """
        List when a side sent checks.
        """
        return [
            at
            for at, who, data, _ in self.sent
            if who == name
            and at >= since
            and is_stun(data)
            and decode_message(data).message_class is Class.REQUEST
        ]
