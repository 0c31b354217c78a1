"""
A relay in a simulated network, and clients of every kind.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from twisted.internet.endpoints import HostnameEndpoint
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from typing_extensions import override

from atmosphere.errors import MembershipError
from atmosphere.identity import NodeID, NodeKey
from atmosphere.network.relay.client import RelayClient
from atmosphere.network.relay.frames import Hello, HelloCredentials
from atmosphere.network.relay.framing import FrameCutter, Item, mask_in_place, message_header
from atmosphere.network.relay.limits import RelayConfig, RelayLimits
from atmosphere.network.relay.line import Admission
from atmosphere.network.relay.server import RelayServer
from atmosphere.network.relay.service import RelayService
from atmosphere.testing import Host, SimulatedNetwork, seeded_entropy, seeded_random, wall_clock

__all__ = ["Node", "RawClient", "RelayCase", "upgrade"]


def upgrade(path: str = "/relay", **headers: str) -> bytes:
    """
    Write a request for WebSocket; headers are added or, if empty, left out.
    """
    lines = {
        "Host": "relay:8080",
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Protocol": "atmosphere.relay.1",
        **{name.replace("_", "-"): value for name, value in headers.items()},
    }
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items() if value)
    return f"GET {path} HTTP/1.1\r\n{head}\r\n".encode("ascii")


class RawClient(Protocol):
    """
    Says exactly what a test wants, and understands WebSocket.

    @ivar head: the head of the response.
    @ivar items: the frames that came after it.
    @ivar rest: what came after the head of a response that is not WebSocket.
    """

    transport: Any

    def __init__(self) -> None:
        self.head = b""
        self.rest = b""
        self.items: list[Item] = []
        self.lost: Failure | None = None
        self.cutter = FrameCutter(1 << 24, is_masked=False)

    @override
    def dataReceived(self, data: bytes) -> None:
        """
        Keep what comes.
        """
        if b"\r\n\r\n" not in self.head:
            self.head += data
            head, end, data = self.head.partition(b"\r\n\r\n")
            if not end:
                return
            self.head = head + end
        if self.status == 101:
            self.cutter.cut(data, self.items)
        else:
            self.rest += data

    @property
    def status(self) -> int:
        """
        The response's status; 0 without one.
        """
        return int(self.head.split()[1]) if self.head else 0

    @property
    def messages(self) -> list[bytes]:
        """
        The messages that came.
        """
        return [bytes(payload) for opcode, payload in self.items if opcode < 8]

    @property
    def close_code(self) -> int | None:
        """
        WebSocket's close code, once it came.
        """
        for opcode, raw in self.items:
            if opcode == 8:
                return int.from_bytes(raw[2:4], "big")
        return None

    def write(self, data: bytes) -> None:
        """
        Send bytes as they are.
        """
        self.transport.write(data)

    def send(self, payload: bytes, *, is_binary: bool = True) -> None:
        """
        Send a message.
        """
        masked = bytearray(payload)
        mask_in_place(masked, b"abcd")
        header = message_header(len(payload), is_binary=is_binary, is_masked=True)
        self.write(header + b"abcd" + masked)

    @override
    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """
        Keep the end.
        """
        self.lost = reason


class Node:
    """
    A node with a relay client, that keeps what happens.
    """

    def __init__(self, host: Host, number: int, url: str, **options: Any) -> None:
        self.key = NodeKey(bytes([number]) * 32)
        self.received: list[tuple[NodeID, list[bytes]]] = []
        self.absent: list[NodeID] = []
        self.changes: list[tuple[bool, str | None]] = []
        self.client = RelayClient(
            host,
            url,
            self.key,
            entropy=seeded_entropy(f"node {number} {id(self)}"),
            wall=wall_clock(host),
            random=seeded_random(number),
            hello=options.pop("hello", HelloCredentials),
            on_datagrams=lambda client, node, datagrams: self.received.append((node, datagrams)),
            on_change=lambda client: self.changes.append((client.is_welcomed, client.error)),
            on_absent=lambda client, node: self.absent.append(node),
            **options,
        )

    @property
    def node_id(self) -> NodeID:
        """
        The node's name.
        """
        return self.key.node_id


class RelayCase(SynchronousTestCase):
    """
    A host C{relay}, and as many others as a test wants.

    @ivar network: the world.
    @ivar relay: the relay's host.
    """

    @override
    def setUp(self) -> None:
        """
        Make the world and the relay's host.
        """
        self.clock = Clock()
        self.network = SimulatedNetwork(self.clock, seed=1)
        self.relay = self.network.host("relay", "192.0.2.1")
        self.hosts: dict[str, Host] = {}
        self.services: list[Any] = []
        self.refused: set[NodeID] = set()

    def host(self, name: str) -> Host:
        """
        Find or make a client's host.
        """
        if name not in self.hosts:
            self.hosts[name] = self.network.host(name, f"198.51.100.{len(self.hosts) + 1}")
        return self.hosts[name]

    def serve(self, *, limits: RelayLimits | None = None, **config: Any) -> RelayServer:
        """
        Start the relay.
        """
        config.setdefault("is_open", True)
        whole = replace(RelayConfig(limits=limits or RelayLimits()), **config)
        self.service = RelayService(
            self.relay,
            whole,
            entropy=seeded_entropy("relay"),
            wall=wall_clock(self.clock),
            admit=self.admit,
        )
        self.service.privilegedStartService()
        self.service.startService()
        self.services.append(self.service)
        return self.service.server

    def admit(self, hello: Hello) -> Admission:
        """
        Let everyone in but those that a test refuses.
        """
        if hello.node in self.refused:
            raise MembershipError("no member")
        return Admission()

    def node(self, number: int, url: str = "ws://relay:8080", **options: Any) -> Node:
        """
        Start a node and its client.
        """
        node = Node(self.host(f"node{number}"), number, url, **options)
        node.client.startService()
        self.services.append(node.client)
        return node

    def welcomed(self, *nodes: Node) -> None:
        """
        Wait until these nodes are connected.
        """
        self.network.run_until(lambda: all(node.client.is_welcomed for node in nodes))

    def raw(self, request: bytes = b"", *, host: str = "stranger", port: int = 8080) -> RawClient:
        """
        Connect a client that says what a test wants, and let it say the first.
        """
        client = RawClient()
        endpoint = HostnameEndpoint(self.host(host), "192.0.2.1", port)
        done = endpoint.connect(Factory.forProtocol(lambda: client))
        self.network.run_until(done)
        self.successResultOf(done)
        client.write(request)
        self.network.advance(0.3)
        return client

    def get(self, path: str) -> RawClient:
        """
        Ask for a page.
        """
        return self.raw(f"GET {path} HTTP/1.1\r\nHost: relay\r\n\r\n".encode("ascii"))

    def stop(self) -> None:
        """
        Stop all that was started, and expect that nothing is left.
        """
        for service in reversed(self.services):
            if service.running:
                stopped = service.stopService()
                self.network.run_until(stopped)
                self.successResultOf(stopped)
        for host in self.hosts.values():
            host.kill()
        self.network.advance(1)
        self.assertEqual(self.relay.getDelayedCalls(), [])
