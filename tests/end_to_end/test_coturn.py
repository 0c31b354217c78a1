"""
Our STUN client asks coturn, and coturn's clients ask our STUN server.
"""

import random
import socket
from pathlib import Path
from shutil import which
from typing import cast

from twisted.internet import reactor as global_reactor  # noqa: TID251, real sockets and processes
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.error import ProcessExitedAlready
from twisted.internet.interfaces import (
    IProcessTransport,
    IReactorProcess,
    IReactorTime,
    IReactorUDP,
)
from twisted.internet.protocol import DatagramProtocol, ProcessProtocol
from twisted.internet.task import LoopingCall
from twisted.python.failure import Failure
from twisted.trial.unittest import SkipTest, TestCase
from typing_extensions import override

from atmosphere.addresses import TransportAddress
from atmosphere.network.stun.attributes import OTHER_ADDRESS, SOFTWARE, XOR_MAPPED_ADDRESS
from atmosphere.network.stun.behavior import Behavior, BindingLifetime, Dependence, DialBack
from atmosphere.network.stun.binding import Corner
from atmosphere.network.stun.client import Response, StunClient
from atmosphere.network.stun.lifetime_client import measure_lifetime
from atmosphere.network.stun.probe_client import measure_behavior
from atmosphere.network.stun.server import BindingServer, BindingSockets

clock = cast(IReactorTime, global_reactor)
udp = cast(IReactorUDP, global_reactor)


def program(name: str) -> str:
    """
    Find one of coturn's programs.

    @raise SkipTest: it is not there.
    """
    found = which(name)
    if found is None:
        raise SkipTest(f"{name} is missing; Debian has it in the package coturn")
    return found


class Running(ProcessProtocol):
    """
    A program that runs for the length of a test.

    @ivar output: all that it has printed.
    """

    def __init__(self) -> None:
        self.output = b""
        self.ended: Deferred[None] = Deferred()

    @override
    def outReceived(self, data: bytes) -> None:
        """
        Note what it prints.
        """
        self.output += data

    @override
    def errReceived(self, data: bytes) -> None:
        """
        Note what it complains of.
        """
        self.output += data

    @override
    def processEnded(self, reason: Failure) -> None:
        """
        Note its end.
        """
        self.ended.callback(None)

    def stop(self) -> Deferred[None]:
        """
        End it, if it has not ended.
        """
        try:
            cast(IProcessTransport, self.transport).signalProcess("KILL")
        except ProcessExitedAlready:
            return self.ended
        return self.ended


class CoturnTests(TestCase):
    """
    All on loopback.
    """

    timeout = 10

    def listen(self, protocol: DatagramProtocol) -> int:
        """
        Put a protocol on a free port for the length of the test.

        @return: the port.
        """
        port = udp.listenUDP(0, protocol, "127.0.0.1", 8192)
        self.addCleanup(maybeDeferred, port.stopListening)
        return cast(IPv4Address, port.getHost()).port

    def run_program(self, name: str, *arguments: str) -> Running:
        """
        Start one of coturn's programs for the length of the test.
        """
        path = program(name)
        running = Running()
        cast(IReactorProcess, global_reactor).spawnProcess(
            running, path, [name, *arguments], {"PATH": "/usr/bin:/bin"}, self.mktemp_folder()
        )
        self.addCleanup(running.stop)
        return running

    def mktemp_folder(self) -> str:
        """
        Make a folder for what a program leaves behind.
        """
        path: str = self.mktemp()
        Path(path).mkdir(parents=True)
        return path

    async def ask(self, client: StunClient, port: int) -> Response:
        """
        Ask a server that may still be starting.
        """
        server = TransportAddress("127.0.0.1", port)
        return await client.request(server, rto=0.1, attempts=7, patience=1)

    def run_server(self) -> int:
        """
        Start coturn as a STUN server with two addresses.

        @return: its first port.
        """
        program("turnserver")
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
            free.bind(("127.0.0.1", 0))
            port = int(free.getsockname()[1])
        self.run_program(
            "turnserver",
            "-n",
            "--stun-only",
            "--listening-ip=127.0.0.1",
            "--listening-ip=127.0.0.2",
            f"--listening-port={port}",
            "--no-tcp",
            "--no-tls",
            "--no-dtls",
            "--no-cli",
            "--log-file=stdout",
            "--pidfile=turnserver.pid",
            "--db=turndb",
        )
        return port

    async def test_our_measurement(self) -> None:
        """
        coturn answers from its other port and its other address, and that is understood.
        """
        port = self.run_server()
        waiting = StunClient(clock, random.Random(1).randbytes)
        self.listen(waiting)
        await self.ask(waiting, port)
        behavior: Behavior = await measure_behavior(
            global_reactor,
            [TransportAddress("127.0.0.1", port)],
            entropy=random.Random(2).randbytes,
        )
        (finding,) = behavior.dial_backs
        assert finding.other is not None
        self.assertEqual(finding.other.host, "127.0.0.2")
        self.assertEqual(finding.from_port, DialBack.ARRIVED)
        self.assertEqual(finding.from_address, DialBack.ARRIVED)
        self.assertTrue(behavior.reachable)
        self.assertIs(behavior.mapping, Dependence.ENDPOINT_INDEPENDENT)
        self.assertTrue(behavior.is_mapping_certain)

    async def test_our_lifetime(self) -> None:
        """
        coturn answers to another port than asks, which is what a lifetime is measured by.
        """
        port = self.run_server()
        waiting = StunClient(clock, random.Random(1).randbytes)
        self.listen(waiting)
        await self.ask(waiting, port)
        found: BindingLifetime = await measure_lifetime(
            global_reactor,
            TransportAddress("127.0.0.1", port),
            entropy=random.Random(2).randbytes,
            interface="127.0.0.1",
            waits=(0.2, 0.4),
        )
        self.assertEqual((found.at_least, found.less_than, found.error), (0.4, None, None))

    async def test_our_client(self) -> None:
        """
        coturn's answer is read with all that it carries, and tells us our own port.
        """
        port = self.run_server()
        client = StunClient(clock, random.Random(1).randbytes)
        ours = self.listen(client)
        response = await self.ask(client, port)
        self.assertEqual(response.mapped, TransportAddress("127.0.0.1", ours))
        self.assertTrue(response.message.has(XOR_MAPPED_ADDRESS))
        self.assertIn("Coturn", response.message.get(SOFTWARE) or "")
        other = response.message.get(OTHER_ADDRESS)
        assert other is not None
        self.assertEqual(other.host, "127.0.0.2")
        self.assertEqual(response.message.unknown_required, ())

    async def test_their_client(self) -> None:
        """
        coturn's client learns its own port from our server.
        """
        program("turnutils_stunclient")
        server = BindingServer(clock)
        port = self.listen(server)
        asking = self.run_program("turnutils_stunclient", "-p", str(port), "127.0.0.1")
        await asking.ended
        self.assertIn(b"UDP reflexive addr: 127.0.0.1:", asking.output)
        self.assertGreaterEqual(server.counters["answered"], 1)

    async def test_their_client_wants_more(self) -> None:
        """
        Asked for what it does not do, our server says so and goes on answering.
        """
        program("turnutils_stunclient")
        server = BindingServer(clock)
        port = self.listen(server)
        asking = self.run_program("turnutils_stunclient", "-f", "-p", str(port), "127.0.0.1")
        refused: Deferred[None] = Deferred()

        def look() -> None:
            if server.counters["refused"] and not refused.called:
                refused.callback(None)

        looking = LoopingCall(look)
        looking.clock = clock
        looking.start(0.02)
        self.addCleanup(looking.stop)
        await refused
        await asking.stop()
        client = StunClient(clock, random.Random(2).randbytes)
        ours = self.listen(client)
        response = await self.ask(client, port)
        self.assertEqual(response.mapped, TransportAddress("127.0.0.1", ours))

    async def test_their_discovery(self) -> None:
        """
        coturn's discovery of NAT behaviour, which pads its requests, finds out by our
        server that there is no NAT on loopback, and nothing filtered.
        """
        program("turnutils_natdiscovery")
        sockets = BindingSockets(clock)
        ports: dict[bool, int] = {False: 0, True: 0}
        for is_other_address, host in ((False, "127.0.0.1"), (True, "127.0.0.2")):
            for is_other_port in (False, True):
                protocol = sockets.protocol(Corner(is_other_address, is_other_port))
                port = udp.listenUDP(ports[is_other_port], protocol, host, 8192)
                self.addCleanup(maybeDeferred, port.stopListening)
                ports[is_other_port] = cast(IPv4Address, port.getHost()).port
        for what, words in (("-m", b"Mapping!"), ("-f", b"Filtering!")):
            asking = self.run_program(
                *("turnutils_natdiscovery", what, "-P", "-p", str(ports[False])),
                *("-L", "127.0.0.1", "127.0.0.1"),
            )
            await asking.ended
            self.assertIn(b"Endpoint Independent " + words, asking.output)
        self.assertEqual(sockets.responder.counters["dialled_back"], 4)
