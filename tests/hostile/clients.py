"""
A relay that runs, with clients that are hostile in every way we know.

Run from the root of a checkout: C{python -m tests.hostile.clients [--seconds 20]
[--json]}. Two hundred connections at a time flood heads, trickle them, break off, send
changed frames before and after a good login, send to nodes that are not there, and
never read. A node that uses the relay has to stay connected, and C{/health} to answer.
"""

from __future__ import annotations

import random
import socket
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain, count, repeat
from urllib.request import urlopen

from atmosphere.identity import NodeKey
from atmosphere.network.relay.batches import encode_batches
from atmosphere.network.relay.frames import Challenge, FrameType
from atmosphere.network.relay.framing import FrameCutter, Item, message_header
from atmosphere.network.relay.reader import decode
from tests.end_to_end.harness import EndToEndTestCase, Machine, Relay, elapsed
from tests.fuzz import seeds
from tests.fuzz.property import mutations
from tests.network.relay.relay_case import upgrade
from tests.network.relay.switchboard_case import make_hello

from .live import command_case, cpu_seconds, percentile, resident, show, wanted_seconds

__all__ = ["MANNERS", "attack"]

CLIENTS = 200

#: New connections a second. A relay takes 250 from all together; without the limit for
#: each address, which there is not on loopback, a flood would leave nothing to others.
PER_SECOND = 100

#: Bytes that one client sends before it gives up its connection.
MOST = 400_000

MANNERS = (
    "endless head",
    "trickled head",
    "garbage",
    "broken off",
    "changed frames before the login",
    "changed frames",
    "to nodes that are not there",
    "pings",
    "fragments without end",
    "a pair that never reads",
)


def masked(payload: bytes, first: int = 0x82) -> bytes:
    """
    Write a WebSocket frame with a mask of zeros.
    """
    header = message_header(len(payload), is_masked=True)
    return bytes((first,)) + header[1:] + bytes(4) + payload


class Client:
    """
    One connection after the other, all in one manner.

    @ivar connections: how many there were.
    """

    def __init__(self, number: int, port: int) -> None:
        self.manner = MANNERS[number % len(MANNERS)]
        self.connections = 0
        self._key = NodeKey(number.to_bytes(32, "big"))
        self._source = random.Random(number)
        self._port = port
        self._socket: socket.socket | None = None
        self._says: Iterator[bytes] = iter(())
        self._rest = b""
        self._left = 0

    def turn(self, may_connect: bool) -> None:
        """
        Send a little, or connect anew.
        """
        try:
            if self._socket is None:
                if not may_connect:
                    return
                self._begin()
            self._rest = self._rest or next(self._says)
            assert self._socket is not None
            sent = self._socket.send(self._rest)
            self._rest = self._rest[sent:]
            self._left -= sent
            if self._left < 0:
                self.close()
        except BlockingIOError:
            if self._source.random() < 0.02:
                self.close()
        except (OSError, StopIteration):
            self.close()

    def close(self) -> None:
        """
        Break off.
        """
        if self._socket is not None:
            self._socket.close()
        self._socket, self._rest = None, b""

    def _begin(self) -> None:
        """
        Connect.
        """
        self._socket = socket.create_connection(("127.0.0.1", self._port), 5)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        self.connections += 1
        self._left = MOST
        self._says = self._script()
        self._socket.setblocking(False)

    def _login(self) -> None:
        """
        Ask for WebSocket, and answer the challenge rightly.
        """
        assert self._socket is not None
        self._socket.sendall(upgrade())
        cutter, items, data = FrameCutter(65_600, is_masked=False), list[Item](), b""
        while not items:
            data += self._socket.recv(4_096)
            head, end, rest = data.partition(b"\r\n\r\n")
            if end:
                cutter.cut(rest, items)
                data = head + end
        challenge = decode(bytes(items[0][1]))
        assert isinstance(challenge, Challenge)
        self._socket.sendall(masked(make_hello(self._key, challenge.nonce).encode()))

    def _script(self) -> Iterator[bytes]:
        """
        Say what this manner says; what needs an answer is done before.
        """
        changed = mutations(seeds.relay(), 1 << 20, str(self._source.random()))
        frames = (masked(each[:60_000]) for each in changed)
        if self.manner in MANNERS[5:9]:
            self._login()
        head = (b"X-%d: %s\r\n" % (number, b"y" * 500) for number in count())
        others = (NodeKey(number.to_bytes(32, "big")).node_id.raw for number in range(999))
        pair = upgrade("/relay/abc", Sec_WebSocket_Protocol="")
        scripts: dict[str, Iterator[bytes]] = {
            "endless head": chain([b"GET /relay HTTP/1.1\r\n"], head),
            "trickled head": (bytes([each]) for each in upgrade() * 2),
            "garbage": iter([self._source.randbytes(5_000)]),
            "broken off": iter([upgrade()[: self._source.randint(1, 200)]]),
            "changed frames before the login": chain([upgrade()], frames),
            "changed frames": frames,
            "to nodes that are not there": (
                masked(frame)
                for other in others
                for frame in encode_batches(FrameType.SEND, other, [bytes(1_000)] * 8)
            ),
            "pings": repeat(masked(b"\x3012345678") * 100),
            "fragments without end": chain(
                [masked(b"\x10", 0x02)], repeat(masked(b"x", 0x00) * 100)
            ),
            "a pair that never reads": chain([pair], repeat(masked(bytes(9_999)))),
        }
        return scripts[self.manner]


@dataclass(frozen=True)
class Stood:
    """
    What the relay stood.

    @ivar answers: seconds that each look at C{/health} took.
    @ivar losses: times at which the node was not connected.
    """

    connections: int
    answers: list[float]
    losses: int
    seconds: float
    cpu: float
    before: int
    most: int
    after: int


def attack(case: EndToEndTestCase, clients: int, seconds: float) -> Stood:
    """
    Start a relay and a node, and attack the relay.
    """
    relay = Relay(case)
    machine = Machine(case, "portland")
    machine.init("--relay", relay.url)
    machine.serve()
    pid = relay.program.pid
    before, spent, began = resident(pid), cpu_seconds(pid), elapsed()
    hostile = [Client(number, relay.port) for number in range(clients)]
    enough = threading.Event()

    def run() -> None:
        made = 0
        while not enough.is_set():
            for each in hostile:
                before = each.connections
                with suppress(AssertionError):
                    each.turn(made < (elapsed() - began) * PER_SECOND)
                made += each.connections - before
            enough.wait(0.002)
        for each in hostile:
            each.close()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    answers, losses, most = [], 0, before
    while elapsed() - began < seconds:
        at = elapsed()
        with urlopen(f"http://127.0.0.1:{relay.port}/health", timeout=10) as page:
            page.read()
        answers.append(elapsed() - at)
        losses += not machine.json("status")["relay"]["ok"]
        most = max(most, resident(pid))
    took, spent = elapsed() - began, cpu_seconds(pid) - spent
    enough.set()
    thread.join()
    enough.wait(1.0)
    case.assert_no_traceback()
    connections = sum(each.connections for each in hostile)
    return Stood(connections, answers, losses, took, spent / took, before, most, resident(pid))


def main() -> None:
    """
    Attack, print the line.
    """
    seconds = wanted_seconds(20.0)
    with command_case() as case:
        found = attack(case, CLIENTS, seconds)
    figures = {
        "connections": found.connections,
        "seconds": round(found.seconds, 1),
        "looks": len(found.answers),
        "longest_look_ms": round(percentile(found.answers, 1.0) * 1e3),
        "losses": found.losses,
        "cpu_percent": round(found.cpu * 100),
        "resident_before_mib": round(found.before / 2**20, 1),
        "resident_most_mib": round(found.most / 2**20, 1),
        "resident_after_mib": round(found.after / 2**20, 1),
    }
    show(
        "hostile clients",
        figures,
        "{connections} connections in {seconds} s; /health answered {looks} times, within"
        " {longest_look_ms} ms; the node was without its relay {losses} times;"
        " {cpu_percent} % of a core, {resident_before_mib} MiB before, {resident_most_mib} at"
        " most, {resident_after_mib} afterwards; 0 tracebacks",
    )


if __name__ == "__main__":
    main()
