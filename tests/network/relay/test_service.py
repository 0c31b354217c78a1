"""
Tests for L{atmosphere.network.relay.service}: a relay on real sockets of this machine.
"""

from __future__ import annotations

import random
import secrets
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.internet import reactor as installed, ssl  # noqa: TID251
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint, wrapClientTLS
from twisted.internet.protocol import Factory
from twisted.internet.task import deferLater
from twisted.trial.unittest import SynchronousTestCase, TestCase
from typing_extensions import override

from atmosphere.addresses import TransportAddress
from atmosphere.errors import ConfigurationError, ListenError
from atmosphere.identity import NodeID, NodeKey
from atmosphere.membership import found_mesh, verify_chain
from atmosphere.network.relay.client import RelayClient
from atmosphere.network.relay.frames import HelloCredentials
from atmosphere.network.relay.limits import RelayConfig
from atmosphere.network.relay.service import RelayService
from atmosphere.network.stun.behavior import DialBack
from atmosphere.network.stun.probe_client import measure_behavior

from .certificates import Authority
from .relay_case import RawClient, upgrade

REACTOR: Any = installed
BINDING = b"\x00\x01\x00\x00\x21\x12\xa4\x42" + b"transactions"


def make_service(**config: Any) -> RelayService:
    """
    Make a relay for this machine only, on free ports.
    """
    config = {"host": "127.0.0.1", "port": 0, "stun_port": None, "is_open": True, **config}
    return RelayService(
        REACTOR,
        RelayConfig(**config),
        entropy=secrets.token_bytes,
        wall=time.time,  # noqa: TID251
    )


class RealCase(TestCase):
    """
    Starts relays and clients on loopback, and stops them.
    """

    timeout = 10

    @override
    def setUp(self) -> None:
        """
        Begin with nothing.
        """
        self.received: list[tuple[NodeID, list[bytes]]] = []
        self.directory = Path(self.mktemp())
        self.directory.mkdir()

    def serve(self, **config: Any) -> RelayService:
        """
        Start a relay.
        """
        service = make_service(**config)
        service.privilegedStartService()
        service.startService()
        self.addCleanup(self.stop, service)
        return service

    def stop(self, service: RelayService | RelayClient) -> Any:
        """
        Stop a service that runs.
        """
        return service.stopService() if service.running else None

    def connect(self, url: str, key: NodeKey | None = None, **options: Any) -> RelayClient:
        """
        Start a client.
        """
        client = RelayClient(
            REACTOR,
            url,
            key or NodeKey(secrets.token_bytes(32)),
            entropy=secrets.token_bytes,
            wall=time.time,  # noqa: TID251
            random=random.random,
            hello=options.pop("hello", HelloCredentials),
            on_datagrams=lambda client, node, batch: self.received.append((node, batch)),
            on_change=lambda client: None,
            **options,
        )
        client.startService()
        self.addCleanup(self.stop, client)
        return client

    async def until(self, condition: Callable[[], object]) -> None:
        """
        Wait until something has happened.
        """
        while not condition():
            await deferLater(REACTOR, 0.01)


class PlainTests(RealCase):
    """
    A relay without TLS.
    """

    async def test_datagrams(self) -> None:
        """
        Datagrams go from node to node, and C{stopService} ends it all.
        """
        service = self.serve()
        key = NodeKey(secrets.token_bytes(32))
        receiver = self.connect(f"ws://127.0.0.1:{service.port}", key)
        sender = self.connect(f"ws://localhost:{service.port}")
        await receiver.when_welcomed()
        welcome = await sender.when_welcomed()
        self.assertEqual(welcome.stun_ports, (service.stun_port,))
        sender.send(key.node_id, [bytes(1200)] * 30 + [b"end"])
        await self.until(lambda: self.received)
        self.assertEqual(self.received[0][1], [bytes(1200)] * 30 + [b"end"])
        await service.stopService()
        await self.until(lambda: not sender.is_welcomed)
        self.assertEqual((service.port, service.stun_port), (0, 0))

    async def test_no_waiting(self) -> None:
        """
        Small frames go at once, from the relay and from the node.
        """
        service = self.serve()
        await self.connect(f"ws://127.0.0.1:{service.port}").when_welcomed()
        ends = [each for each in REACTOR.getReaders() if hasattr(each, "getTcpNoDelay")]
        self.assertEqual([each.getTcpNoDelay() for each in ends], [1, 1])

    async def test_stun(self) -> None:
        """
        STUN is answered beside the relay.
        """
        service = self.serve()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.setblocking(False)
            client.sendto(BINDING, ("127.0.0.1", service.stun_port))
            answer = b""
            while not answer:
                await deferLater(REACTOR, 0.01)
                try:
                    answer = client.recv(100)
                except BlockingIOError:
                    continue
        self.assertEqual((answer[:2], answer[8:20]), (b"\x01\x01", b"transactions"))

    async def test_members_only(self) -> None:
        """
        A relay that serves a mesh lets its members in, and tells others why not.
        """
        wall, key = time.time(), NodeKey(secrets.token_bytes(32))  # noqa: TID251
        root = NodeKey(secrets.token_bytes(32))
        chain = found_mesh(root, key.node_id, "anna", wall=wall, entropy=secrets.token_bytes)
        member = verify_chain(chain, key.node_id, mesh_id=None, wall=wall, revocations=None)
        service = self.serve(meshes=(member.mesh_id,), is_open=False)
        url = f"ws://127.0.0.1:{service.port}"
        client = self.connect(url, key, hello=lambda: HelloCredentials(member.mesh_id, chain))
        welcome = await client.when_welcomed()
        self.assertEqual((welcome.mesh_id, welcome.is_open), (member.mesh_id, False))
        stranger = self.connect(url)
        await self.until(lambda: stranger.error)
        self.assertIn("members of its own meshes only", stranger.error or "")

    async def test_tls_towards_a_plain_relay(self) -> None:
        """
        C{wss://} towards a relay without TLS says so.
        """
        service = self.serve()
        client = self.connect(f"wss://127.0.0.1:{service.port}")
        await self.until(lambda: client.error)
        self.assertIn("ws://", client.error or "")


class TLSTests(RealCase):
    """
    A relay with a certificate.
    """

    @override
    def setUp(self) -> None:
        """
        Make an authority.
        """
        super().setUp()
        self.authority = Authority(self.directory)

    def serve_tls(self, *hosts: str) -> RelayService:
        """
        Start a relay whose certificate has these names.
        """
        certificate, private_key = self.authority.issue(*hosts)
        return self.serve(certificate=certificate, private_key=private_key)

    async def test_datagrams(self) -> None:
        """
        Datagrams go through TLS, to an IP address as to a name.
        """
        service = self.serve_tls("localhost", "127.0.0.1")
        self.assertTrue(service.is_secure)
        self.assertEqual(service.config.names, ("localhost", "127.0.0.1"))
        key = NodeKey(secrets.token_bytes(32))
        file = self.authority.file
        receiver = self.connect(f"wss://127.0.0.1:{service.port}", key, ca_file=file)
        sender = self.connect(f"wss://localhost:{service.port}", ca_file=file)
        await receiver.when_welcomed()
        await sender.when_welcomed()
        for _ in range(20):
            sender.send(key.node_id, [bytes(1200)] * 50)
            await deferLater(REACTOR, 0.01)
        await self.until(lambda: len(self.received) == 20)
        await service.stopService()
        await self.until(lambda: not sender.is_welcomed)
        self.assertIn("the relay goes down", sender.error or "")

    async def test_unknown_authority(self) -> None:
        """
        A certificate that nobody trusted has signed is refused, with the remedy.
        """
        service = self.serve_tls("127.0.0.1")
        client = self.connect(f"wss://127.0.0.1:{service.port}")
        other = Authority(self.directory, "other").file
        second = self.connect(f"wss://127.0.0.1:{service.port}", ca_file=other)
        await self.until(lambda: client.error and second.error)
        for each in (client, second):
            self.assertIn("--relay-ca", each.error or "")

    async def test_another_name(self) -> None:
        """
        A certificate for another name is refused.
        """
        service = self.serve_tls("relay.example")
        client = self.connect(f"wss://127.0.0.1:{service.port}", ca_file=self.authority.file)
        await self.until(lambda: client.error)
        self.assertIn("another name", client.error or "")

    async def test_plain_towards_tls(self) -> None:
        """
        C{ws://} towards a relay with TLS fails, and says where.
        """
        service = self.serve_tls("127.0.0.1")
        client = self.connect(f"ws://127.0.0.1:{service.port}")
        await self.until(lambda: client.error)
        self.assertIn("wss://", client.error or "")

    async def raw(self, service: RelayService, request: bytes) -> RawClient:
        """
        Connect and say something, without checking the certificate.
        """
        client = RawClient()
        endpoint = wrapClientTLS(
            ssl.CertificateOptions(), HostnameEndpoint(REACTOR, "127.0.0.1", service.port)
        )
        await endpoint.connect(Factory.forProtocol(lambda: client))
        client.write(request)
        return client

    async def test_pages_and_violations(self) -> None:
        """
        Pages, refusals and WebSocket's own violations work through TLS as without.
        """
        service = self.serve_tls("127.0.0.1")
        host = f"127.0.0.1:{service.port}"
        for request, status in [
            (b"GET /health HTTP/1.1\r\n\r\n", 200),
            (b"GET /nothing HTTP/1.1\r\n\r\n", 404),
            (b"POST / HTTP/1.1\r\n\r\n", 405),
            (upgrade(Host="evil.example"), 421),
        ]:
            client = await self.raw(service, request)
            await self.until(lambda client=client: client.lost)  # type: ignore[misc]
            self.assertEqual(client.status, status)
        client = await self.raw(service, upgrade(Host=host) + b"\x81\x81\0\0\0\0x")
        await self.until(lambda: client.lost)
        self.assertEqual(client.close_code, 1003)
        await self.until(lambda: service.server.gate.total == 0)


class PortTests(RealCase):
    """
    Ports that are taken, and what a firewall must know.
    """

    async def test_port_taken(self) -> None:
        """
        A TCP port that is taken is named, with the option that helps.
        """
        service = self.serve()
        second = make_service(port=service.port)
        with self.assertRaises(ListenError) as caught:
            second.privilegedStartService()
        self.assertEqual(caught.exception.port, service.port)
        self.assertIn("--port", str(caught.exception))

    async def test_stun_port_taken(self) -> None:
        """
        If only STUN's port is taken, the relay runs without STUN.
        """
        first = self.serve()
        second = self.serve(stun_port=first.stun_port)
        self.assertEqual(second.stun_port, 0)
        client = self.connect(f"ws://127.0.0.1:{second.port}")
        self.assertEqual((await client.when_welcomed()).stun_ports, ())
        self.assertEqual(second.ports_to_open(), f"open TCP {second.port}")

    async def test_second_stun_port(self) -> None:
        """
        A relay runs without its second port for STUN if that is taken, or not wanted.
        """
        first = self.serve()
        second = self.serve(second_stun_port=first.stun_port)
        self.assertEqual((bool(second.stun_port), second.second_stun_port), (True, 0))
        third = self.serve(second_stun_port=0)
        self.assertEqual((bool(third.stun_port), third.second_stun_port), (True, 0))
        self.assertEqual(third.ports_to_open(), f"open TCP {third.port} and UDP {third.stun_port}")

    async def test_two_stun_addresses(self) -> None:
        """
        A relay with two addresses for STUN lets nodes find out all about their NATs.
        """
        service = self.serve(stun_addresses=("127.0.0.1", "127.0.0.2"))
        self.assertEqual(service.stun_addresses, ("127.0.0.1", "127.0.0.2"))
        udp = f"UDP {service.stun_port}, {service.second_stun_port} of 127.0.0.1 and 127.0.0.2"
        self.assertEqual(service.ports_to_open(), f"open TCP {service.port} and {udp}")
        for host in service.stun_addresses:
            behavior = await measure_behavior(
                REACTOR,
                [TransportAddress(host, service.stun_port)],
                entropy=secrets.token_bytes,
                interface="127.0.0.1",
            )
            (found,) = behavior.dial_backs
            self.assertIs(found.from_address, DialBack.ARRIVED)
            self.assertIs(found.from_port, DialBack.ARRIVED)
            self.assertTrue(behavior.is_mapping_certain)

    async def test_second_stun_address_taken(self) -> None:
        """
        Where the second address, or a port of it, cannot be had, the relay runs with
        one; its nodes are told nothing of the other.
        """
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
            taken.bind(("127.0.0.2", 0))
            port = taken.getsockname()[1]
            for host, second in (("192.0.2.99", None), ("127.0.0.2", port)):
                service = self.serve(stun_addresses=("127.0.0.1", host), second_stun_port=second)
                self.assertEqual(service.stun_addresses, ("127.0.0.1",))
                self.assertTrue(service.stun_port and service.second_stun_port)
                server = TransportAddress("127.0.0.1", service.stun_port)
                behavior = await measure_behavior(REACTOR, [server], entropy=secrets.token_bytes)
                (found,) = behavior.dial_backs
                self.assertIs(found.from_address, DialBack.NOT_OFFERED)
                self.assertIs(found.from_port, DialBack.ARRIVED)

    async def test_ports_to_open(self) -> None:
        """
        The ports that a firewall must let in are told.
        """
        service = self.serve()
        udp = f"UDP {service.stun_port}, {service.second_stun_port}"
        self.assertEqual(service.ports_to_open(), f"open TCP {service.port} and {udp}")
        self.assertEqual(make_service(port=8080).ports_to_open(), "open TCP 8080")

    async def test_stop_with_a_client_that_does_not_leave(self) -> None:
        """
        Stopping takes two seconds at most, whatever clients do.
        """
        service = self.serve()
        raw = RawClient()
        done: Deferred[Any] = HostnameEndpoint(REACTOR, "127.0.0.1", service.port).connect(
            Factory.forProtocol(lambda: raw)
        )
        await done
        raw.write(upgrade())
        await self.until(lambda: raw.messages)
        began = REACTOR.seconds()
        await service.stopService()
        self.assertLess(REACTOR.seconds() - began, 4)
        await self.until(lambda: raw.lost)


class ConfigurationTests(SynchronousTestCase):
    """
    What is wrong is said before anything listens.
    """

    def test_certificates(self) -> None:
        """
        Files that are missing, empty or do not fit together are named.
        """
        directory = Path(self.mktemp())
        directory.mkdir()
        authority = Authority(directory)
        certificate, private_key = authority.issue("a.example")
        _, other_key = authority.issue("b.example")
        empty = directory / "empty"
        empty.write_bytes(b"")
        for files, named in [
            (("/does/not/exist", private_key), "/does/not/exist"),
            ((certificate, "/does/not/exist"), "/does/not/exist"),
            ((str(empty), private_key), "empty"),
            ((certificate, str(empty)), "empty"),
            ((certificate, other_key), other_key),
        ]:
            with self.assertRaises(ConfigurationError) as caught:
                make_service(certificate=files[0], private_key=files[1])
            self.assertIn(named, str(caught.exception))

    def test_names_of_the_certificate(self) -> None:
        """
        The names in the certificate are the relay's, after those it was given.
        """
        directory = Path(self.mktemp())
        directory.mkdir()
        authority = Authority(directory)
        for hosts, expected in [
            (("*.example", "::1"), ("given", "*.example", "[::1]")),
            ((), ("given",)),
        ]:
            certificate, private_key = authority.issue(*hosts)
            service = make_service(
                certificate=certificate, private_key=private_key, names=("given",)
            )
            self.assertEqual(service.config.names, expected)

    def test_equal_stun_ports(self) -> None:
        """
        One number for both ports for STUN is refused, and the remedy named; two that the
        system chooses, or are off, are no such number.
        """
        with self.assertRaises(ConfigurationError) as caught:
            make_service(stun_port=3478, second_stun_port=3478)
        self.assertIn("--second-stun-port 3478 is --stun-port too", str(caught.exception))
        self.assertIn("leave it out", str(caught.exception))
        make_service(stun_port=0, second_stun_port=0)
        make_service(stun_port=None, second_stun_port=None)

    def test_stun_addresses(self) -> None:
        """
        Addresses for STUN that cannot be meant are refused by the option's name.
        """
        for addresses, more, words in [
            (("relay.example",), {}, "no IP address"),
            (("0.0.0.0",), {}, "one machine"),
            (("127.0.0.1", "127.0.0.1"), {}, "differ"),
            (("127.0.0.1", "127.0.0.2", "127.0.0.3"), {}, "two"),
            (("127.0.0.1", "::1"), {}, "IPv6"),
            (("127.0.0.1",), {"stun_port": 0}, "--stun-port 0 is off"),
            (("127.0.0.1", "127.0.0.2"), {"second_stun_port": 0}, "--second-stun-port"),
        ]:
            with self.assertRaises(ConfigurationError) as caught:
                make_service(stun_addresses=addresses, **more)
            self.assertIn("--stun-address", str(caught.exception))
            self.assertIn(words, str(caught.exception))

    def test_warnings(self) -> None:
        """
        A relay that anyone may use, or that does not know its name, says so.
        """
        cases: list[tuple[dict[str, Any], list[str]]] = [
            ({"host": "0.0.0.0", "is_open": False}, ["--mesh", "--name"]),
            ({"host": "0.0.0.0"}, ["--name"]),
            ({"host": "0.0.0.0", "names": ("relay",)}, []),
            ({"is_open": False}, ["--mesh"]),
            ({"meshes": ("mesh-a",), "is_open": False}, []),
            ({"host": "127.0.0.1", "stun_addresses": ("127.0.0.1", "127.0.0.2")}, []),
            ({"host": "127.0.0.1", "stun_addresses": ("127.0.0.2",)}, ["--stun-address"]),
        ]
        for config, words in cases:
            lines = make_service(**config).warnings()
            self.assertEqual(len(lines), len(words))
            for line, word in zip(lines, words, strict=True):
                self.assertIn(word, line)

    def test_limited_by_the_files_of_the_process(self) -> None:
        """
        There are never more connections than the process may open files for.
        """
        self.assertLessEqual(make_service().config.limits.connections, 16_000)
