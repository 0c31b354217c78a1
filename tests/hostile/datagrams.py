"""
Mutated datagrams at a node that runs: captures of real ones, changed here and there.

Run from the root of a checkout: C{python -m tests.hostile.datagrams [--count 100000]
[--json]}. A relay and two nodes are started as a user would, and linked. A guest dials
one of them, and what it sends, from its first Initial to checks and data, is sent
again with changes: to connections that are there, and to none. Afterwards the node has
to answer its peer.
"""

from __future__ import annotations

import argparse
import random
import threading
from dataclasses import dataclass

from atmosphere.network.quic import core_events as events
from tests.end_to_end.harness import EndToEndTestCase, Machine, Relay, elapsed
from tests.fuzz import seeds
from tests.fuzz.property import mutations

from .live import Dialler, command_case, cpu_seconds, resident, show, socket_drops, victim_of

__all__ = ["Outcome", "capture", "changed", "flood"]

#: Datagrams that are thrown between two looks at the socket.
BATCH = 20

#: What one guest's capture is changed into, before another guest dials.
PER_GUEST = 2_000


@dataclass(frozen=True)
class Outcome:
    """
    What a node did with a flood.

    @ivar sent: datagrams that were sent.
    @ivar dropped: those that the system dropped before the node, its buffer being full.
    @ivar guests: links that were made and broken by it.
    @ivar cpu: seconds of the node's processor time.
    @ivar before: the node's memory before the flood, after the first tenth, and at last, bytes.
    @ivar ping: seconds until the peer had an answer.
    """

    sent: int
    dropped: int
    guests: int
    cpu: float
    before: int
    warm: int
    after: int
    ping: float


def capture(guest: Dialler) -> list[bytes]:
    """
    Make a link as a guest, with some data and checks on it.

    @return: all that the guest has sent.
    """
    guest.connect(3.0)
    if guest.saw(events.Welcomed):
        stream_id = guest.core.streams.open("atmosphere.join")
        guest.core.streams.write(stream_id, b"\x00\x10" + bytes(600))
        guest.core.send_datagram("atmosphere.join", bytes(300))
        guest.run(0.3)
    return guest.sent


def changed(captured: list[bytes], count: int, seed: str) -> list[bytes]:
    """
    Make datagrams out of captured ones: changed bytes, other lengths, two in one,
    and now and then one as it was.
    """
    source = random.Random(seed)
    good = [*captured, *seeds.stun()]
    found = []
    for data in mutations(good, count, seed):
        kept = bytearray(data[:1472])
        if kept and source.random() < 0.5:  # else most would not get past the first byte
            original = source.choice(good)
            kept = bytearray(original)
            for _ in range(source.randint(0, 3)):
                kept[source.randrange(min(len(kept), 1 << source.randint(3, 11)))] ^= 1 << (
                    source.randint(0, 7)
                )
        found.append(bytes(kept) or b"\x00")
    return found


def flood(case: EndToEndTestCase, count: int) -> Outcome:
    """
    Start nodes, flood one of them, and see how it is.
    """
    relay = Relay(case)
    portland, seattle = Machine(case, "portland"), Machine(case, "seattle")
    for machine in (portland, seattle):
        machine.variables["ATMOSPHERE_ALLOW_LOOPBACK"] = "1"
    portland.init("--relay", relay.url)
    portland.serve()
    seattle.init()
    seattle.serve()
    seattle.run("join", "-", stdin=portland.run("invite").out)
    portland.wait_until_connected("seattle")
    peer, port, pid = victim_of(portland)
    before, warm, spent, drops = resident(pid), 0, cpu_seconds(pid), socket_drops(port)
    sent, number, guests, pause = 0, 0, 0, threading.Event()
    while sent < count:
        guest = Dialler(number, peer, port)
        for start in range(0, PER_GUEST, BATCH):
            if start == 0:
                datagrams = changed(capture(guest), PER_GUEST, str(number))
            lost = socket_drops(port)
            sent += guest.throw(datagrams[start : start + BATCH])
            guest.turn()
            while socket_drops(port) > lost:  # the node is slower than we are
                lost = socket_drops(port)
                pause.wait(0.02)
            if sent >= count:
                break
            if not warm and sent >= count / 10:
                warm = resident(pid)
            pause.wait(0.001)
        guests += bool(guest.saw(events.Welcomed))
        guest.close()
        number += 1
    pause.wait(1.0)
    spent, after = cpu_seconds(pid) - spent, resident(pid)
    began = elapsed()
    seattle.run("ping", "-c", "1", "--timeout", "10", "portland")
    ping = elapsed() - began
    case.assert_no_traceback()
    assert portland.node is not None and portland.node.is_running()
    dropped = socket_drops(port) - drops
    return Outcome(sent, dropped, guests, spent, before, warm, after, ping)


def main() -> None:
    """
    Flood, print the line.
    """
    parser = argparse.ArgumentParser()
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--json", action="store_true")
    count = parser.parse_args().count
    with command_case() as case:
        found = flood(case, count)
    figures = {
        "sent": found.sent,
        "dropped_by_the_system": found.dropped,
        "guests": found.guests,
        "microseconds_each": round(found.cpu / found.sent * 1e6, 1),
        "resident_before_mib": round(found.before / 2**20, 1),
        "resident_after_a_tenth_mib": round(found.warm / 2**20, 1),
        "resident_after_mib": round(found.after / 2**20, 1),
        "ping_s": round(found.ping, 2),
    }
    show(
        "mutated datagrams",
        figures,
        "{sent} sent, {dropped_by_the_system} of them dropped before the node,"
        " {guests} guests among them;"
        " {microseconds_each} µs CPU each; {resident_before_mib} MiB resident before,"
        " {resident_after_a_tenth_mib} after a tenth, {resident_after_mib} afterwards;"
        " 0 tracebacks; the peer's ping was answered within {ping_s} s",
    )


if __name__ == "__main__":
    main()
