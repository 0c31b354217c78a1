"""
Tests of L{atmosphere.network.ice.connection}: two agents with sockets, on a simulated
network.
"""

from __future__ import annotations

from functools import partial

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from typing_extensions import override

from atmosphere.addresses import TransportAddress
from atmosphere.errors import NoPathError
from atmosphere.network.ice.candidates import IceCandidate
from atmosphere.network.ice.connection import IceConnection
from atmosphere.network.ice.description import (
    IceDescription,
    decode_description,
    encode_description,
)
from atmosphere.network.nat.candidates import AddressRules, Interface
from atmosphere.network.stun.server import BindingServer
from atmosphere.testing import PORT_RESTRICTED, SYMMETRIC, Link, SimulatedNetwork, seeded_entropy
from atmosphere.testing.host import Host
from atmosphere.testing.nat import NatBehaviour
from atmosphere.testing.subnet import Subnet

STUN = TransportAddress("45.0.0.9", 3478)


class ConnectionTests(SynchronousTestCase):
    """
    Two programs that have an agent each.
    """

    @override
    def setUp(self) -> None:
        """
        Make a network with a STUN server.
        """
        self.network = SimulatedNetwork(Clock(), seed=1, link=Link(latency=0.01))
        middle = self.network.host("stun", STUN.host)
        middle.listenUDP(STUN.port, BindingServer(middle))
        self.got: dict[str, list[bytes]] = {"a": [], "b": []}
        self.trickled: dict[str, list[IceCandidate | None]] = {"a": [], "b": []}
        self.lost: list[str] = []
        self.addresses: dict[str, tuple[str, ...]] = {}

    def home(self, name: str, number: int, behaviour: NatBehaviour = PORT_RESTRICTED) -> Host:
        """
        Make a host behind a NAT.
        """
        nat = self.network.nat(f"home-{name}", f"45.0.0.{number}", behaviour)
        return self.host(name, f"192.168.{number}.2", on=nat.lan)

    def host(self, name: str, *addresses: str, on: Subnet | None = None) -> Host:
        """
        Make a host, and remember its addresses.
        """
        self.addresses[name] = addresses
        return self.network.host(name, *addresses, on=on)

    def agent(
        self,
        name: str,
        host: Host,
        *addresses: str,
        is_controlling: bool = False,
        stun: bool = True,
    ) -> IceConnection:
        """
        Make an agent on a host.
        """
        found = addresses or self.addresses[host.name]
        return IceConnection(
            host,
            is_controlling=is_controlling,
            entropy=seeded_entropy(ord(name)),
            on_data=self.got[name].append,
            on_candidate=self.trickled[name].append,
            on_lost=self.lost.append,
            stun_servers=[STUN] if stun else [],
            interfaces=lambda: [Interface(f"eth{n}", each, 24) for n, each in enumerate(found)],
        )

    def meet(self, a: IceConnection, b: IceConnection) -> float:
        """
        Gather, tell both sides by text, and connect.

        @return: how long the checks took.
        """
        descriptions = []
        for ice in (a, b):
            gathering = ice.gather()
            self.network.run_until(gathering)
            descriptions.append(encode_description(self.successResultOf(gathering)))
        a.set_remote(decode_description(descriptions[1]))
        b.set_remote(decode_description(descriptions[0]))
        waiting = [a.connect(), b.connect()]
        seconds = sum(self.network.run_until(each, limit=5) for each in waiting)
        for each in waiting:
            self.successResultOf(each)
        return seconds

    def pair(self) -> tuple[IceConnection, IceConnection]:
        """
        Make agents behind two NATs that let in only answers.
        """
        return (
            self.agent("a", self.home("a", 1), is_controlling=True),
            self.agent("b", self.home("b", 2)),
        )

    def test_two_nats(self) -> None:
        """
        Through two NATs that let in only answers, in a few round trips; datagrams
        go both ways.
        """
        a, b = self.pair()
        self.assertFalse(a.send(b"\x80too early"))
        self.assertLessEqual(self.meet(a, b), 0.35)
        self.assertTrue(a.send(b"\x80one") and b.send(b"\x80two"))
        self.network.advance(1)
        self.assertEqual(self.got, {"a": [b"\x80two"], "b": [b"\x80one"]})
        self.assertIs(self.successResultOf(a.connect()), self.successResultOf(a.connect()))
        kinds = [each.kind for each in a.describe().candidates]
        self.assertEqual(kinds, ["host", "srflx"])
        self.assertIsNone(self.trickled["a"][-1])
        self.assertEqual(len(self.trickled["a"]), 3)

    def test_symmetric(self) -> None:
        """
        A NAT that takes another port for each destination, with a host without one:
        its address there is found by the check that comes from it.
        """
        a = self.agent("a", self.home("a", 1, SYMMETRIC), is_controlling=True)
        b = self.agent("b", self.host("b", "45.0.0.7"))
        self.meet(a, b)
        selected = self.successResultOf(b.connect())
        self.assertEqual(selected.remote.kind, "prflx")

    def test_closing(self) -> None:
        """
        Nothing is left of a closed agent, and who waits is told.
        """
        a, b = self.pair()
        self.meet(a, b)
        waiting = self.agent("a", self.host("c", "45.0.0.8"))
        never = waiting.connect()
        given_up = waiting.connect()
        given_up.cancel()
        self.failureResultOf(given_up)
        for ice in (a, b, waiting):
            self.network.run_until(ice.close())
            self.assertFalse(ice.send(b"\x80late"))
        for late in (never, waiting.connect()):
            self.failureResultOf(late, NoPathError)
        self.network.advance(100)
        for name in ("a", "b", "c"):
            self.assertEqual(self.network.hosts[name].getDelayedCalls(), [])

    def test_closed_while_gathering(self) -> None:
        """
        An agent that is closed while it asks servers ends in order.
        """
        a, _ = self.pair()
        gathering = a.gather()
        a.close()
        self.network.advance(20)
        self.successResultOf(gathering)
        self.assertEqual(len(self.trickled["a"]), 1)

    def test_silent_server(self) -> None:
        """
        A STUN server that does not answer costs a few seconds, and no more.
        """
        host = self.host("a", "45.0.0.7")
        self.network.cut(host, udp=True)
        a = self.agent("a", host, is_controlling=True)
        gathering = a.gather()
        self.assertLess(self.network.run_until(gathering, limit=10), 6)
        self.assertEqual(len(self.successResultOf(gathering).candidates), 1)

    def test_trickle(self) -> None:
        """
        Candidates may be handed over one by one, before all are known.
        """
        a, b = self.pair()
        for ice, other in ((a, b), (b, a)):
            other.set_remote(IceDescription(ice.describe().credentials))
        for ice, other in ((a, b), (b, a)):
            ice._on_candidate = partial(self._hand_over, other)
            ice.gather()
        waiting = [a.connect(), b.connect()]
        for each in waiting:
            self.network.run_until(each, limit=5)
            self.successResultOf(each)
        self.assertTrue(a.send(b"\x80one") and b.send(b"\x80two"))
        self.network.advance(1)
        self.assertEqual(self.got, {"a": [b"\x80two"], "b": [b"\x80one"]})

    def _hand_over(self, other: IceConnection, candidate: IceCandidate | None) -> None:
        """
        Tell the other side one more candidate.
        """
        other.add_remote(candidate)

    def test_lost_and_restarted(self) -> None:
        """
        When the peer is gone for 30 s the program is told; a restart finds it again.
        """
        a, b = self.pair()
        self.meet(a, b)
        self.network.cut(self.network.hosts["a"])
        self.network.advance(31)
        self.assertEqual(self.lost, ["the peer has not answered for 30 s"] * 2)
        self.assertFalse(a.send(b"\x80gone"))
        self.network.heal()
        offer = a.restart()
        self.assertTrue(b.set_remote(offer))
        self.assertFalse(a.set_remote(b.describe()))
        waiting = a.connect()
        self.network.run_until(waiting, limit=5)
        self.assertTrue(a.send(b"\x80back"))
        self.network.advance(1)
        self.assertEqual(self.got["b"], [b"\x80back"])

    def test_fails(self) -> None:
        """
        A peer that is not there fails after 40 s.
        """
        a, b = self.pair()
        gathering = b.gather()
        self.network.run_until(gathering)
        b.close()
        self.network.run_until(a.gather())
        a.set_remote(self.successResultOf(gathering))
        waiting = a.connect()
        seconds = self.network.run_until(waiting, limit=60)
        self.failureResultOf(waiting, NoPathError)
        self.assertTrue(39 < seconds < 42, seconds)
        self.failureResultOf(a.connect(), NoPathError)

    def test_program_fails(self) -> None:
        """
        A program that fails to take a datagram gets the next one all the same.
        """
        a, b = self.pair()
        self.meet(a, b)

        def take(data: bytes) -> None:
            self.got["b"].append(data)
            raise ValueError("no")

        b._on_data = take
        for data in (b"\x801", b"\x802"):
            a.send(data)
        self.network.advance(1)
        self.assertEqual(self.got["b"], [b"\x801", b"\x802"])
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 2)

    def test_addresses(self) -> None:
        """
        A socket is opened on each useful address, none on loopback, and an address
        that cannot be bound is left out.
        """
        host = self.host("a", "45.0.0.7", "2a10::7")
        a = self.agent("a", host, "45.0.0.7", "2a10::7", "127.0.0.1", "45.0.0.70", stun=False)
        self.network.run_until(a.gather())
        hosts = [each.host for each in a.describe().candidates]
        self.assertEqual(hosts, ["45.0.0.7", "2a10::7"])
        self.assertEqual(len({each.priority for each in a.describe().candidates}), 2)

    def test_loopback_by_rule(self) -> None:
        """
        Loopback is used where the rules say that both are on this machine.
        """
        host = self.host("a", "45.0.0.7")
        ice = IceConnection(
            host,
            is_controlling=True,
            entropy=seeded_entropy(1),
            on_data=print,
            interfaces=lambda: [Interface("lo", "127.0.0.1", 8)],
            rules=AddressRules(allow_loopback=True),
        )
        self.network.run_until(ice.gather())
        self.assertEqual([each.host for each in ice.describe().candidates], ["127.0.0.1"])
