"""
Routers that translate nothing.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.endpoints import HostnameEndpoint, TCP6ServerEndpoint
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from typing_extensions import override

from atmosphere.testing import FULL_CONE, Host, SimulatedNetwork, lets_no_udp_out, lets_tcp_443_out

from .test_nat import Inbox

SERVER = "2a10:88::1"
ALICE = "2a10:77:1::10"


class FirewallTests(SynchronousTestCase):
    """
    Alice behind a firewall, with an address of her own, and a server outside.
    """

    @override
    def setUp(self) -> None:
        """
        Make both, with a UDP port each.
        """
        self.network = SimulatedNetwork(Clock(), 1)
        self.server = self.network.host("server", SERVER, "45.77.0.1")
        self.firewall = self.network.firewall(
            "wall", "2a10:77::1", "2a10:77:1::/64", gateway="2a10:77:1::1"
        )
        self.alice = self.network.host("alice", ALICE, on=self.firewall.lan)
        self.inbox, self.asked = Inbox(), Inbox()
        self.port: Any = self.alice.listenUDP(5000, self.inbox, interface="::")
        self.server_port: Any = self.server.listenUDP(1, self.asked, interface="::")
        self.other_port: Any = self.server.listenUDP(2, Inbox(), interface="::")

    def ask(self) -> None:
        """
        Let Alice send a datagram to the server.
        """
        self.port.write(b"x", (SERVER, 1))
        self.network.advance(0.1)

    def answers(self, port: Any) -> int:
        """
        Let the server send something from a port, and count what has come of all.
        """
        port.write(b"y", (ALICE, 5000))
        self.network.advance(0.1)
        return len(self.inbox.received)

    def test_answers_alone(self) -> None:
        """
        Whom she asked may answer, from that very port, and sees her own address.
        """
        self.assertEqual(self.answers(self.server_port), 0)
        self.ask()
        self.assertEqual(self.asked.last[:2], (ALICE, 5000))
        self.assertEqual(self.answers(self.other_port), 0)
        self.assertEqual(self.answers(self.server_port), 1)

    def test_forgets(self) -> None:
        """
        After two minutes of silence, and after a reboot, nobody was asked.
        """
        self.ask()
        for _ in range(3):
            self.network.advance(110)
            self.answers(self.server_port)
        self.assertEqual(len(self.inbox.received), 3)
        self.network.advance(121)
        self.assertEqual(self.answers(self.server_port), 3)
        self.ask()
        self.firewall.reboot()
        self.assertEqual(self.answers(self.server_port), 3)

    def test_unplugged(self) -> None:
        """
        Without its cable it lets nothing through, and forgets nothing.
        """
        self.ask()
        self.firewall.is_unplugged = True
        self.ask()
        self.assertEqual((len(self.asked.received), self.answers(self.server_port)), (1, 0))
        self.firewall.is_unplugged = False
        self.assertEqual(self.answers(self.server_port), 1)

    def test_tcp(self) -> None:
        """
        She connects to others, and they do not to her.
        """
        TCP6ServerEndpoint(self.server, 80).listen(Factory.forProtocol(Protocol))
        TCP6ServerEndpoint(self.alice, 80).listen(Factory.forProtocol(Protocol))
        out = HostnameEndpoint(self.alice, SERVER, 80).connect(Factory.forProtocol(Protocol))
        into = HostnameEndpoint(self.server, ALICE, 80).connect(Factory.forProtocol(Protocol))
        self.network.advance(5)
        self.successResultOf(out)
        self.assertNoResult(into)

    def test_no_other_family(self) -> None:
        """
        It leads nowhere by IPv4, and its own addresses have no ports.
        """
        trace = self.network.record()
        port: Any = self.alice.listenUDP(0, Inbox(), interface="::")
        for address in ("2a10:77:1::1", "2a10:77::1", "2a10:99::1", "2a10:77:1::99"):
            port.write(b"x", (address, 1000))
        self.network.advance(1)
        ends = sorted(each.kind for each in trace if each.kind != "udp")
        self.assertEqual(ends, ["udp no port"] * 2 + ["udp no route"] * 2)

    def test_no_udp(self) -> None:
        """
        A network that blocks UDP lets TCP out; one for web pages alone only to port 443.
        """
        nat = self.network.nat("nat", "45.77.1.2", behaviour=FULL_CONE)
        bob = self.network.host("bob", "192.168.1.2", on=nat.lan)
        inbox = Inbox()
        self.server.listenUDP(443, inbox)
        for rule, ports in ((lets_no_udp_out, [443, 8080]), (lets_tcp_443_out, [443])):
            nat.lets_out = rule
            bobs: Any = bob.listenUDP(0, Inbox())
            bobs.write(b"x", ("45.77.0.1", 443))
            reached = [port for port in (443, 8080) if self.connects(bob, port)]
            self.assertEqual((reached, inbox.received), (ports, []))

    def connects(self, host: Host, port: int) -> bool:
        """
        Say whether a host can connect to a port of the server.
        """
        nobody: Any = Factory.forProtocol(Protocol)
        listening = self.server.listenTCP(port, nobody)
        asking = HostnameEndpoint(host, "45.77.0.1", port).connect(nobody)
        made: list[object] = []
        asking.addCallbacks(made.append, lambda failure: None)
        self.network.advance(40)
        listening.stopListening()
        return bool(made)
