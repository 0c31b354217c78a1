"""
A switchboard and nodes that speak its frames, without a connection in between.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from twisted.trial.unittest import SynchronousTestCase

from atmosphere.addresses import TransportAddress
from atmosphere.errors import MembershipError
from atmosphere.identity import NodeKey
from atmosphere.network.relay.batches import encode_batches
from atmosphere.network.relay.frames import (
    Challenge,
    Frame,
    FrameType,
    Hello,
    HelloCredentials,
    Welcome,
    signed_bytes,
)
from atmosphere.network.relay.limits import Counters, RelayConfig
from atmosphere.network.relay.line import Admission, Closed, Line
from atmosphere.network.relay.reader import decode
from atmosphere.network.relay.switchboard import Event, Switchboard

__all__ = ["SwitchboardCase", "make_hello", "make_key"]

WALL = 1_800_000_000.0
ADDRESS = TransportAddress("192.0.2.1", 7777)


def make_key(number: int) -> NodeKey:
    """
    Make a node's key.
    """
    return NodeKey(bytes([number]) * 32)


def make_hello(
    key: NodeKey,
    nonce: bytes,
    *,
    authority: str = "relay:8080",
    instance: bytes = bytes(16),
    credentials: HelloCredentials | None = None,
) -> Hello:
    """
    Sign a hello.
    """
    shown = credentials or HelloCredentials()
    signed = signed_bytes(authority, nonce, key.node_id, shown.mesh_id)
    return Hello(key.node_id, authority, instance, shown, key.sign(signed))


class SwitchboardCase(SynchronousTestCase):
    """
    Sets a switchboard up; each test gives its own configuration to L{start}.

    @ivar now: engine time.
    @ivar admissions: what each mesh ID is admitted with; others are refused
        unless they name no mesh.
    """

    def start(self, **config: object) -> None:
        """
        Make the switchboard.
        """
        self.now = 100.0
        self.admissions: dict[str, Admission] = {"": Admission()}
        self.counters = Counters()
        self.events: list[Event] = []
        self.made = 0
        self.switchboard = Switchboard(
            replace(RelayConfig(), **config),  # type: ignore[arg-type]
            entropy=self.entropy,
            wall=lambda: WALL + self.now,
            admit=self.admit,
            counters=self.counters,
            stun_ports=lambda: (3478,),
        )

    def entropy(self, length: int) -> bytes:
        """
        Give bytes that differ from call to call.
        """
        self.made += 1
        return self.made.to_bytes(length, "big")

    def admit(self, hello: Hello) -> Admission:
        """
        Decide by the mesh that a node names.
        """
        try:
            return self.admissions[hello.credentials.mesh_id]
        except KeyError:
            raise MembershipError("no member") from None

    def frames(self, line: Line) -> list[Frame]:
        """
        Read all that waits for a line.
        """
        return [decode(bytes(message)) for message in line.take(1 << 30)]

    def run_events(self) -> list[Event]:
        """
        Collect what the shell would have to do.
        """
        found = []
        while (event := self.switchboard.next_event()) is not None:
            found.append(event)
        self.events += found
        return found

    def challenge(self) -> tuple[Line, bytes]:
        """
        Connect, and read the challenge.
        """
        line = self.switchboard.connect(ADDRESS, self.now)
        [challenge] = self.frames(line)
        assert isinstance(challenge, Challenge)
        return line, challenge.nonce

    def login(
        self, key: NodeKey, *, instance: bytes = bytes(16), mesh_id: str = ""
    ) -> tuple[Line, list[Frame]]:
        """
        Connect and log in.

        @return: the line, and what came after the welcome.
        """
        line, nonce = self.challenge()
        hello = make_hello(key, nonce, instance=instance, credentials=HelloCredentials(mesh_id))
        self.receive(line, hello.encode())
        first, *rest = self.frames(line)
        assert isinstance(first, Welcome), first
        return line, rest

    def receive(self, line: Line, message: bytes | bytearray) -> None:
        """
        Let the switchboard take a message.
        """
        self.switchboard.receive_message(line, message, self.now)

    def send(self, line: Line, key: NodeKey, datagrams: Sequence[bytes]) -> None:
        """
        Send datagrams to a node.
        """
        for frame in encode_batches(FrameType.SEND, key.node_id.raw, datagrams):
            self.receive(line, frame)

    def wait(self, seconds: float) -> None:
        """
        Let time pass, with a call at each deadline.
        """
        end = self.now + seconds
        while True:
            due = self.switchboard.get_timer()
            if due is None or due > end:
                break
            self.now = max(self.now, due)
            self.switchboard.handle_timer(self.now)
        self.now = end

    def codes(self) -> dict[Line, int]:
        """
        Collect who was closed with which code.
        """
        self.run_events()
        return {each.line: each.code for each in self.events if isinstance(each, Closed)}
