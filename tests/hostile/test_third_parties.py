"""
Members and strangers who would have a node send to places that never asked: whole nodes
on a simulated network, and what arrives there counted.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable
from ipaddress import ip_address
from random import Random

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from typing_extensions import override

from atmosphere import wire
from atmosphere.addresses import TransportAddress
from atmosphere.network.nat.candidates import CandidateType, make_candidate
from atmosphere.network.path.exchange import PathOffer, encode_offer
from atmosphere.network.path.ways import DirectWay
from atmosphere.network.quic.connection import Link
from atmosphere.network.quic.handshake import Prediction
from atmosphere.testing import Host, Machine, MemoryMesh, TraceRecord
from atmosphere.testing.link import Kind, Packet

VICTIM = "11.2.3.4"
LEAST = 200
SEASON = 100 * 86400.0

#: Where nobody may be made to send: this machine, metadata services, groups, other services.
FORBIDDEN = (
    "127.0.0.1:7777",
    "127.9.9.9:2000",
    "[::1]:7777",
    "169.254.169.254:8080",
    "[fe80::1]:7777",
    "[fec0::1]:7777",
    "224.0.0.251:5353",
    "239.255.255.250:1900",
    "[ff02::fb]:5353",
    "255.255.255.255:7777",
    "192.168.1.255:7777",
    "240.0.0.1:7777",
    "0.0.0.0:7777",
    "[::]:7777",
    "10.1.2.3:7777",
    "[fd00::1]:7777",
    "[::ffff:127.0.0.1]:7777",
    "[64:ff9b::7f00:1]:7777",
    "[2002:7f00:1::]:7777",
    f"{VICTIM}:0",
    f"{VICTIM}:22",
    f"{VICTIM}:53",
    f"{VICTIM}:123",
    f"{VICTIM}:1023",
)


class ThirdPartyCase(SynchronousTestCase):
    """
    Portland at home, mallory linked with it as a member, and a victim.
    """

    home = "port-restricted"

    @override
    def setUp(self) -> None:
        """
        Make them.
        """
        self.mesh = MemoryMesh(Clock(), seed=1)
        self.addCleanup(self.mesh.stop)
        self.network = self.mesh.network
        self.mesh.node("portland", behind=self.home)
        self.mesh.node("mallory", behind="none")
        self.portland, self.mallory = (self.mesh.machines[name] for name in ("portland", "mallory"))
        self.mesh.advance(30)
        self.victim = self.network.host("victim", VICTIM)
        self.arrived = self.victim.watch()
        self.generations = itertools.count(1000)

    def link(self, machine: Machine, other: Machine) -> Link:
        """
        Find a link that is there.
        """
        link = machine.link_to(other)
        assert link is not None
        return link

    def offer(
        self,
        addresses: list[TransportAddress],
        *,
        is_restart: bool = False,
        has_stable_port: bool | None = None,
        kind: CandidateType = CandidateType.HOST,
    ) -> None:
        """
        Have mallory say that it is at some addresses.

        @param is_restart: with new credentials.
        """
        link = self.link(self.mallory, self.portland)
        own = link.core.paths.local_offer([], [])
        number = next(self.generations)
        payload = encode_offer(
            PathOffer(
                f"u{number:07d}" if is_restart else own.ufrag,
                own.pwd,
                tuple(make_candidate(kind, each) for each in addresses),
                (self.mesh.relay_url,),
                number,
                has_stable_port,
            )
        )
        link.call_core(link.core.send_offer, payload)

    def sent_to(self, trace: list[TraceRecord], host: str) -> list[TraceRecord]:
        """
        Find what went to an address.
        """
        return [each for each in trace if each.kind == "udp" and each.destination[0] == host]

    def assert_linked(self) -> None:
        """
        Portland still answers mallory, and so anybody.
        """
        ping = self.mallory.service.ping(
            "portland", count=1, interval=1, timeout=10, until_direct=False, emit=lambda reply: None
        )
        self.assertEqual(self.mesh.result(ping)["received"], 1)


class CandidateTests(ThirdPartyCase):
    """
    A member that names addresses which are not its own.
    """

    def test_forbidden(self) -> None:
        """
        To places that must not be reached nothing is sent, by whatever name.
        """
        trace = self.network.record()
        own = TransportAddress(self.portland.host.address, 7777)
        named = [own, *map(TransportAddress.from_text, FORBIDDEN)]
        for start in range(0, len(named), 12):
            self.offer(named[start : start + 12], is_restart=True)
            self.mesh.advance(40)
        for each in named:
            sent = [
                record
                for record in trace
                if record.kind.startswith("udp")
                and record.destination[1] == each.port
                and ip_address(record.destination[0]) == ip_address(each.host)
                and record.source[0] == own.host
            ]
            self.assertEqual(sent, [], each)
        self.assertEqual(self.arrived, [])
        self.assert_linked()

    def test_third_party(self) -> None:
        """
        Somebody who never answers gets seven checks at each port, of which four in all
        are longer than 200 bytes, and then one a minute; what mallory says again or says
        anew changes nothing.
        """
        places = [TransportAddress(VICTIM, 5000 + number) for number in range(16)]
        for turn in range(30):
            self.offer(places, is_restart=turn % 2 == 1)
            self.mesh.advance(1)
        ports = Counter(each.destination[1] for each in self.arrived)
        self.assertEqual(set(ports), {each.port for each in places})
        self.assertLessEqual(max(ports.values()), 8)
        self.assertLessEqual(sum(each.size >= LEAST for each in self.arrived), 8)
        self.assertLessEqual(sum(each.size for each in self.arrived), 16 * 7 * LEAST)
        before = len(self.arrived)
        self.mesh.advance(180)
        self.assertLessEqual(len(self.arrived) - before, 16 * 6)
        self.assert_linked()

    def test_ten_thousand(self) -> None:
        """
        Of ten thousand addresses one after the other few are tried, and few are kept.
        """
        trace = self.network.record()
        numbers = itertools.count()
        while (number := next(numbers)) < 10_000:
            rest = [number, *itertools.islice(numbers, 15)]
            self.offer([TransportAddress(f"11.{n >> 8}.{n & 255}.9", 5000) for n in rest])
            self.mesh.advance(0.1)
        strays = [each for each in trace if each.kind == "udp" and each.destination[1] == 5000]
        tried = {each.destination for each in strays}
        self.assertLessEqual(len(tried), 48 + 35)
        self.assertLessEqual(len(strays), 7 * len(tried))
        busiest = Counter(int(each.time) for each in strays).most_common(1)
        self.assertTrue(all(count <= 100 for _, count in busiest))
        paths = self.link(self.portland, self.mallory).core.paths
        self.assertLessEqual(len(paths.snapshot()), 48)
        self.assertLessEqual(len(paths.decisions), 64)
        self.assert_linked()

    def test_many_at_once(self) -> None:
        """
        An offer of more than may be, as long as a message can be, ends the link and no
        more: none of the addresses is tried, and a new link comes up.
        """
        trace = self.network.record()
        link = self.link(self.mallory, self.portland)
        closed = self.link(self.portland, self.mallory).when_closed()
        candidates: list[wire.Value] = [
            [0, bytes([11, number >> 8, number & 255, 9]), 5000, 1, "x"] for number in range(800)
        ]
        own = link.core.paths.local_offer([], [])
        payload = wire.encode([1, 1000, own.ufrag, own.pwd, candidates, []])
        self.assertGreater(len(payload), 4_096)
        link.call_core(link.core.send_offer, payload)
        self.mesh.until(lambda: closed.called, 60)
        self.mesh.advance(30)
        self.assertEqual([each for each in trace if each.destination[0].startswith("11.")], [])
        self.assert_linked()


class GuessingTests(ThirdPartyCase):
    """
    A member that says its NAT takes another port for each peer, and that it is elsewhere.
    """

    def test_burst(self) -> None:
        """
        Somebody who was named as its address gets one burst of 1,500 small datagrams at
        most, and no other for ten minutes, whatever is proposed.
        """
        self.network.cut(self.portland.host, self.mallory.host, tcp=False)
        place = [TransportAddress(VICTIM, 5000)]
        self.mesh.advance(10)
        for attempt in range(50):
            self.offer(place, has_stable_port=False, kind=CandidateType.SERVER_REFLEXIVE)
            link = self.link(self.mallory, self.portland)
            proposal = Prediction(wire.encode([1, 1, attempt, 0]))
            link.call_core(link.core._send, proposal)
            self.mesh.advance(10)
        self.assertGreater(len(self.arrived), 1_000)
        self.assertLessEqual(len(self.arrived), 1_500 + 50)
        self.assertLessEqual(sum(each.size >= LEAST for each in self.arrived), 4)


class ForgedSourceTests(ThirdPartyCase):
    """
    Somebody who sees the checks of both, and can send by anybody's name.
    """

    home = "full-cone"

    @override
    def setUp(self) -> None:
        """
        Listen for a while.
        """
        super().setUp()
        self.eve = self.network.host("eve", "11.9.9.9")
        self.heard = self.eve.watch()
        self.checks: dict[str, list[bytes]] = {"portland": [], "mallory": []}
        assert self.portland.nat is not None
        self.public = (self.portland.nat.address, 7777)
        self.network.taps.append(self.overhear)
        self.mesh.advance(60)
        self.network.taps.remove(self.overhear)
        for checks in self.checks.values():
            self.assertGreater(len(checks), 5)

    def overhear(self, packet: Packet) -> None:
        """
        Keep the checks among what is sent.
        """
        name = packet.origin.name if isinstance(packet.origin, Host) else ""
        data = packet.payload
        if name in self.checks and isinstance(data, bytes) and data[:2] == b"\0\1":
            self.checks[name].append(data)

    def throw(self, datagrams: Iterable[bytes], address: str) -> int:
        """
        Send datagrams to portland by somebody's name, and wait for what comes of it.

        @return: how many bytes they had.
        """
        count = 0
        for data in datagrams:
            packet = Packet(Kind.UDP, self.eve, (address, 5000), self.public, data, len(data))
            self.eve.kernel.attachments[0].send(packet)
            count += len(data)
            self.mesh.advance(0.05)
        self.mesh.advance(30)
        return count

    def test_replayed(self) -> None:
        """
        A check that was overheard is neither answered nor followed when it is sent again,
        by whatever name; the path stays.
        """
        before = self.portland.path_to(self.mallory)
        self.throw(self.checks["mallory"] * 10, "11.9.9.9")
        self.throw(self.checks["mallory"] * 10, VICTIM)
        self.assertEqual((self.heard, self.arrived), ([], []))
        self.assertEqual(self.portland.path_to(self.mallory), before)
        self.assert_linked()

    def test_held_up(self) -> None:
        """
        A check that was held up on its way, and is sent in full by a victim's name, brings
        that one no more than twice as much.
        """
        link = self.link(self.mallory, self.portland)
        conversation = link.core.paths._checker.conversation
        place = DirectWay(TransportAddress(*self.public))
        checks = [
            conversation.new_check(place, link.now(), is_full=number % 2 == 1, priority=1)
            for number in range(20)
        ]
        thrown = self.throw(checks, VICTIM)
        self.assertGreater(len(self.arrived), 0)
        self.assertLessEqual(sum(each.size for each in self.arrived), 2 * thrown)

    def test_reflected(self) -> None:
        """
        Portland's own checks are not answered.
        """
        self.throw(self.checks["portland"], "11.9.9.9")
        self.assertEqual(self.heard, [])

    def test_mutated(self) -> None:
        """
        Nor are checks with any one byte changed.
        """
        random = Random(1)
        check = self.checks["mallory"][0]
        changed = []
        for index in range(len(check)):
            data = bytearray(check)
            data[index] ^= random.randrange(1, 256)
            changed.append(bytes(data))
        self.throw(changed, "11.9.9.9")
        self.assertEqual(self.heard, [])
        self.assert_linked()


class ClockTests(ThirdPartyCase):
    """
    A clock that jumps.
    """

    def test_sleep(self) -> None:
        """
        After a hundred days of sleep, the calendar set back by a person, portland finds
        mallory again at once, and sends little until then.
        """
        hosts = [self.portland.host, self.mallory.host, self.mesh.relay_host]
        for host in hosts:
            host.sleep(is_offline=True)
        self.mesh.advance(SEASON)
        self.mesh.skip(-SEASON)
        self.assert_found(hosts)

    def test_calendar(self) -> None:
        """
        A calendar that is a year ahead for an hour, and then right again, leaves nothing
        behind but the links that it ended.
        """
        self.mesh.skip(365 * 86400.0)
        self.mesh.advance(3600)
        self.mesh.skip(-365 * 86400.0)
        self.mesh.advance(700)
        self.assert_found([])

    def assert_found(self, sleeping: list[Host]) -> None:
        """
        Wake who sleeps; within a minute all is as before.
        """
        trace = self.network.record()
        for host in sleeping:
            host.wake()
        self.mesh.advance(60)
        self.assert_linked()
        self.assertLess(sum(each.kind == "udp" for each in trace), 1_000)
        self.assertEqual(self.arrived, [])
