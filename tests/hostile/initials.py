"""
Forged Initials: a thousand a second from many addresses, none of which answers, while
others dial in earnest.

Run from the root of a checkout: C{python -m tests.hostile.initials [--seconds 10]
[--rate 1000] [--json]}. The flood comes from 250 sockets at addresses of their own,
127.x.y.z; each Initial is a good one, as a dialler's library writes it. The diallers
are guests, one after the other, each with a key of its own, on the same machine.
"""

from __future__ import annotations

import argparse
import select
import socket
import statistics
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

from atmosphere.identity import NodeKey
from atmosphere.network.quic.adapter import QUICConnection
from atmosphere.network.quic.credentials import make_credentials
from tests.end_to_end.harness import ROOT, EndToEndTestCase, Machine, elapsed

from .live import (
    Dialler,
    command_case,
    cpu_seconds,
    percentile,
    resident,
    show,
    socket_drops,
    victim_of,
)

__all__ = ["Flooded", "attack", "forged_initials"]

SOCKETS = 250

#: A half-open link is given up after so many seconds without a proof, at most.
HALF_OPEN_FOR = 10.0

#: Bits of a long header's first byte that say of which type a packet is, and two types.
_TYPE, _INITIAL, _RETRY = 0x30, 0x00, 0x30


def forged_initials(count: int) -> list[bytes]:
    """
    Write the first datagrams of so many dialers, none of which will go on.
    """
    credentials = make_credentials(NodeKey(bytes(32)))
    found = []
    for _ in range(count):
        quic = QUICConnection(credentials)
        quic.connect(0.0)
        found.append(quic.datagrams_to_send(0.0)[0])
    return found


class Forger:
    """
    Sends Initials at a rate, and notes what comes back to addresses that did not ask.

    @ivar accepted: when a link was begun for one.
    """

    def __init__(self, port: int, rate: float) -> None:
        self._target = ("127.0.0.1", port)
        self._rate = rate
        self._sockets = []
        for number in range(SOCKETS):
            each = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            each.bind((f"127.{10 + number // 100}.{number % 100}.{1 + number % 200}", 0))
            each.setblocking(False)
            self._sockets.append(each)
        self._poll = select.poll()
        for each in self._sockets:
            self._poll.register(each, select.POLLIN)
        self._by_number = {each.fileno(): each for each in self._sockets}
        self.sent = self.bytes_sent = self.bytes_received = self.retries = 0
        self.accepted: dict[bytes, float] = {}

    def run(self, initials: list[bytes]) -> None:
        """
        Send them all.
        """
        began, turn = elapsed(), 0
        waiting = deque(initials)
        while waiting:
            due = int((elapsed() - began) * self._rate) - self.sent
            for _ in range(min(due, len(waiting))):
                data = waiting.popleft()
                self._sockets[turn % SOCKETS].sendto(data, self._target)
                self.bytes_sent += len(data)
                self.sent += 1
                turn += 1
            self.hear(2)

    def hear(self, milliseconds: int) -> None:
        """
        Note what has come back.
        """
        for number, _ in self._poll.poll(milliseconds):
            with_data = self._by_number[number]
            for data in self._all_of(with_data):
                self.bytes_received += len(data)
                if data[0] & 0x80 and data[0] & _TYPE == _RETRY:
                    self.retries += 1
                elif data[0] & 0x80 and data[0] & _TYPE == _INITIAL:
                    self.accepted.setdefault(data[6 : 6 + data[5]], elapsed())

    def _all_of(self, one: socket.socket) -> Iterator[bytes]:
        """
        Read all that waits at a socket.
        """
        while True:
            try:
                yield one.recv(2048)
            except (BlockingIOError, ConnectionRefusedError):
                return

    @property
    def most_half_open(self) -> int:
        """
        Say how many links were half open at a time, if each was kept as long as may be.
        """
        times = sorted(self.accepted.values())
        return max(
            (sum(1 for each in times if at <= each < at + HALF_OPEN_FOR) for at in times), default=0
        )


@dataclass(frozen=True)
class Flooded:
    """
    How a node fared.

    @ivar handshakes: seconds until each guest's welcome.
    @ivar failed: guests that had none.
    @ivar calm: the same before the flood.
    """

    handshakes: list[float]
    failed: int
    calm: list[float]
    sent: int
    dropped: int
    half_open: int
    retries: int
    amplification: float
    cpu: float
    seconds: float
    grown: int


def dial_in_turn(
    machine: Machine, first: int, enough: threading.Event, most: int
) -> tuple[list[float], int]:
    """
    Dial as guests, one after the other.
    """
    peer, port, _ = victim_of(machine)
    found: list[float] = []
    failed = 0
    for number in range(first, first + most):
        if enough.is_set():
            break
        guest = Dialler(number, peer, port)
        seconds = guest.connect()
        guest.core.close(0, "done")
        guest.turn()
        guest.close()
        if seconds is None:
            failed += 1
        else:
            found.append(seconds)
        enough.wait(0.1)
    return found, failed


def attack(case: EndToEndTestCase, rate: float, seconds: float) -> Flooded:
    """
    Start a node, and flood it while guests dial it. The flood is in a process of its own.
    """
    machine = Machine(case, "portland")
    machine.init()
    machine.start_unwelcome()
    machine.run("invite")  # a node without a mesh has no guests
    _, port, pid = victim_of(machine)
    enough = threading.Event()
    calm, _ = dial_in_turn(machine, 0, enough, 10)
    enough.wait(2.0)
    dropped, before = socket_drops(port), resident(pid)
    command = [sys.executable, "-m", "tests.hostile.initials", "--forge", str(port)]
    flooding = subprocess.Popen(
        [*command, "--rate", str(rate), "--seconds", str(seconds)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert flooding.stdout is not None
    flooding.stdout.readline()  # its Initials are written
    spent, began = cpu_seconds(pid), elapsed()

    def end() -> None:
        flooding.wait()
        enough.set()

    ender = threading.Thread(target=end)
    ender.start()
    handshakes, failed = dial_in_turn(machine, 100, enough, 10_000)
    ender.join()
    took, spent = elapsed() - began, cpu_seconds(pid) - spent
    words = flooding.stdout.read().split()
    sent, half_open, retries = (int(each) for each in words[:3])
    case.assert_no_traceback()
    return Flooded(
        handshakes,
        failed,
        calm,
        sent,
        socket_drops(port) - dropped,
        half_open,
        retries,
        float(words[3]),
        spent,
        took,
        resident(pid) - before,
    )


def forge(port: int, rate: float, seconds: float) -> None:
    """
    Be the flood.
    """
    forger = Forger(port, rate)
    initials = forged_initials(int(rate * seconds))
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    forger.run(initials)
    forger.hear(200)
    amplified = forger.bytes_received / max(1, forger.bytes_sent)
    words = (forger.sent, forger.most_half_open, forger.retries, amplified)
    sys.stdout.write(" ".join(map(str, words)) + "\n")


def main() -> None:
    """
    Attack, print the line.
    """
    parser = argparse.ArgumentParser()
    parser.add_argument("--rate", type=float, default=1_000.0)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--forge", type=int, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.forge:
        forge(chosen.forge, chosen.rate, chosen.seconds)
        return
    with command_case() as case:
        found = attack(case, chosen.rate, chosen.seconds)
    figures = {
        "sent": found.sent,
        "per_second": round(found.sent / found.seconds),
        "dropped_by_the_system": found.dropped,
        "handshakes": len(found.handshakes),
        "failed": found.failed,
        "calm_median_ms": round(statistics.median(found.calm) * 1e3, 1),
        "median_ms": round(statistics.median(found.handshakes) * 1e3, 1),
        "p99_ms": round(percentile(found.handshakes, 0.99) * 1e3, 1),
        "longest_ms": round(max(found.handshakes) * 1e3, 1),
        "half_open": found.half_open,
        "retries": found.retries,
        "amplification": round(found.amplification, 2),
        "cpu_percent": round(found.cpu / found.seconds * 100),
        "grown_mib": round(found.grown / 2**20, 1),
    }
    show(
        "forged Initials",
        figures,
        "{sent} at {per_second} a second, {dropped_by_the_system} dropped before the node;"
        " {handshakes} real handshakes, {failed} failed, median {median_ms} ms"
        " ({calm_median_ms} without the flood), p99 {p99_ms}, longest {longest_ms} ms;"
        " {half_open} links half open at a time, {retries} Retries;"
        " {amplification} bytes sent for each received; {cpu_percent} % of a core,"
        " memory +{grown_mib} MiB",
    )


if __name__ == "__main__":
    main()
