"""
Real programs under attack, and a dialler that is nothing but a socket and an engine.
"""

from __future__ import annotations

import argparse
import json
import os
import select
import socket
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from atmosphere.addresses import TransportAddress
from atmosphere.identity import NodeID, NodeKey
from atmosphere.network.nat.candidates import AddressRules
from atmosphere.network.path.check_budget import CheckBudget
from atmosphere.network.path.paths import Paths
from atmosphere.network.path.ways import DirectWay
from atmosphere.network.quic import core_events as events
from atmosphere.network.quic.adapter import QUICConnection
from atmosphere.network.quic.core import LinkCore
from atmosphere.network.quic.credentials import make_credentials
from atmosphere.testing.randomness import seeded_entropy
from tests.end_to_end.harness import EndToEndTestCase, Machine, Program, elapsed

__all__ = [
    "Dialler",
    "command_case",
    "cpu_seconds",
    "percentile",
    "resident",
    "show",
    "socket_drops",
    "victim_of",
    "wanted_seconds",
]

EventT = TypeVar("EventT", bound=events.Event)


class Dialler:
    """
    Dials a node as a guest: one UDP socket, one engine, no reactor.

    @ivar sent: all datagrams that it has sent, as they were.
    @ivar seen: what the engine reported.
    """

    def __init__(
        self, number: int, peer: NodeID, port: int, host: str = "127.0.0.1", seed: int = 1
    ) -> None:
        """
        @param number: whose key it has.
        @param port: the node's, on loopback.
        @param host: the address to dial from.
        """
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind((host, 0))
        self._socket.setblocking(False)
        self._way = DirectWay(TransportAddress("127.0.0.1", port))
        self.sent: list[bytes] = []
        self.seen: list[events.Event] = []
        now = elapsed()
        entropy = seeded_entropy(f"{seed} {number}")
        key = NodeKey(entropy(32))
        paths = Paths(
            is_dialler=True,
            entropy=entropy,
            now=now,
            budget=CheckBudget(100, 100),
            rules=AddressRules(allow_loopback=True),
        )
        paths.add_initial_way(self._way)
        quic = QUICConnection(make_credentials(key))
        self.core = LinkCore(quic, paths, key, entropy(16), now=now, peer=peer)

    def turn(self) -> None:
        """
        Take what has come, and send what is to be sent.
        """
        while True:
            try:
                data, source = self._socket.recvfrom(2048)
            except (BlockingIOError, ConnectionRefusedError):
                break
            way = DirectWay(TransportAddress(*source))
            self.core.receive_datagram(data, way, elapsed())
        due = self.core.get_timer()
        if due is not None and due <= elapsed():
            self.core.handle_timer(elapsed())
        while (event := self.core.next_event()) is not None:
            self.seen.append(event)
            if isinstance(event, events.Welcomed):
                self.core.confirm()
        for data, taken in self.core.datagrams_to_send(elapsed()):
            if taken == self._way:
                self.sent.append(data)
                self._socket.sendto(data, ("127.0.0.1", self._way.address.port))

    def run(self, seconds: float, until: Callable[[], object] = lambda: False) -> bool:
        """
        Go on for a while.

        @return: whether what was waited for has come.
        """
        end = elapsed() + seconds
        while not until():
            if elapsed() >= end:
                return False
            self.turn()
            due = self.core.get_timer()
            pause = end if due is None else min(due, end)
            select.select([self._socket], [], [], max(0.0, min(pause - elapsed(), 0.05)))
        return True

    def saw(self, kind: type[EventT]) -> list[EventT]:
        """
        Find the events of a kind.
        """
        return [event for event in self.seen if isinstance(event, kind)]

    def connect(self, patience: float = 10.0) -> float | None:
        """
        Make the link, as far as a guest can.

        @return: seconds until the node's welcome; C{None} if none came.
        """
        began = elapsed()
        if self.run(patience, lambda: self.saw(events.Welcomed) or self.saw(events.Closed)):
            return elapsed() - began if self.saw(events.Welcomed) else None
        return None

    def throw(self, datagrams: Sequence[bytes]) -> int:
        """
        Send datagrams that are not the engine's; what the system does not take is left out.

        @return: how many were sent.
        """
        count = 0
        for data in datagrams:
            try:
                self._socket.sendto(data, ("127.0.0.1", self._way.address.port))
                count += 1
            except (BlockingIOError, ConnectionRefusedError):
                continue
        return count

    def close(self) -> None:
        """
        Let go of the socket.
        """
        self._socket.close()


def victim_of(machine: Machine) -> tuple[NodeID, int, int]:
    """
    Say who a running node is: its ID, UDP port and process.
    """
    status = machine.json("status")
    [address] = [each for each in status["listening"] if each.startswith("127.")]
    assert isinstance(machine.node, Program)
    return NodeID.from_text(status["node_id"]), int(address.rpartition(":")[2]), machine.node.pid


def resident(pid: int) -> int:
    """
    Say how many bytes of memory a process holds.
    """
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def cpu_seconds(pid: int) -> float:
    """
    Say how much processor time a process has used.
    """
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def socket_drops(port: int) -> int:
    """
    Say how many datagrams the system has dropped before a UDP socket of IPv4.
    """
    for line in Path("/proc/net/udp").read_text().splitlines()[1:]:
        fields = line.split()
        if int(fields[1].rpartition(":")[2], 16) == port:
            return int(fields[-1])
    return 0


def percentile(values: Sequence[float], share: float) -> float:
    """
    Give the value below which that share of all are.
    """
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


@contextmanager
def command_case() -> Iterator[EndToEndTestCase]:
    """
    Have a test's folder and processes without a test.
    """
    case = EndToEndTestCase("setUp")
    case.setUp()
    try:
        yield case
    finally:
        for function, arguments, options in reversed(case._cleanups):
            function(*arguments, **options)


def show(name: str, figures: dict[str, float], line: str) -> None:
    """
    Print the figures: a line, or with C{--json} one object.
    """
    text = json.dumps({"attack": name, **figures}) if "--json" in sys.argv else f"{name}: {line}"
    print(text.format(**figures) if "--json" not in sys.argv else text)  # noqa: T201


def wanted_seconds(default: float) -> float:
    """
    Read from the command line for how long to attack; C{--json} is for L{show}.
    """
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=default)
    parser.add_argument("--json", action="store_true")
    seconds: float = parser.parse_args().seconds
    return seconds
