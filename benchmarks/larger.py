"""
What larger datagrams give: the same transfers in 1,200 and in 1,472 bytes.

Run from the root of a checkout: C{python -m benchmarks.larger [--seeds 5] [--json]}.
First processor time, direct, on loopback, sender and receiver in processes of their own: the
first link of two nodes has small datagrams, the one that is dialled when a large transfer is
over has larger ones, so each pair is measured with both. Then how long 4.5 MB take on a
simulated network, a round trip of 80 ms between two homes one of which loses 2 % of all
datagrams each way; those seconds are simulated.
"""

from __future__ import annotations

import argparse
import tempfile
import time

from benchmarks.figures import median, show
from benchmarks.worker import Worker, joined_pair
from tests.node.healing import Healing

ROUNDS = 5
TOTAL = 40_000_000
WARM_UP = 1_000_000

#: Seconds in which the direct path is measured, and another link dialled.
MEASURED = 2.0
DIALLED = 0.5

SMALL, LARGE = 1200, 1472
LOSS = 0.02
LOSSY_TOTAL = 4_500_000


def cost(sender: Worker, receiver: Worker) -> tuple[float, float]:
    """
    Send once.

    @return: processor time of both, in ms for each MB.
    """
    sender.call("send", total=WARM_UP)
    before = sender.cpu(), receiver.cpu()
    sender.call("send", total=TOTAL)
    after = sender.cpu(), receiver.cpu()
    sent, received = (
        (late - early) * 1e9 / TOTAL for early, late in zip(before, after, strict=True)
    )
    return sent, received


def processor_time() -> dict[int, list[tuple[float, float]]]:
    """
    Measure pairs of nodes with both sizes.

    @raise RuntimeError: the size is not what it should be.
    """
    results: dict[int, list[tuple[float, float]]] = {SMALL: [], LARGE: []}
    for _ in range(ROUNDS):
        with joined_pair() as (sender, receiver, _relay):
            for size in results:
                if sender.call("datagram_size")["size"] != size:
                    raise RuntimeError(f"the link has no datagrams of {size} bytes")
                results[size].append(cost(sender, receiver))
                time.sleep(MEASURED)  # real processes, in real time
                sender.call("send", total=1)
                time.sleep(DIALLED)
    return results


def lossy(seed: int) -> tuple[float, float]:
    """
    Send twice on a line that loses.

    @return: the seconds that it took in small datagrams, and in large ones.
    @raise RuntimeError: the sizes are not what they should be, or the data.
    """
    with tempfile.TemporaryDirectory() as folder:
        healing = Healing(f"{folder}/world", total=LOSSY_TOTAL, seed=seed, rate=None)
        try:
            assert healing.there.nat is not None
            healing.world.network.set_link(healing.there.nat, loss=LOSS)
            healing.world.advance(30)
            times = []
            for size in (SMALL, LARGE):
                link = healing.here.link_to(healing.there)
                if link is None or link.core.quic.datagram_size != size:
                    raise RuntimeError(f"seed {seed}: no datagrams of {size} bytes")
                healing.send(0.0)
                healing.finish(600)
                if not healing.is_whole:
                    raise RuntimeError(f"seed {seed}: what came is not what was sent")
                times.append(healing.clock.seconds() - healing.sent_at)
                healing.world.advance(20)
            return times[0], times[1]
        finally:
            healing.close()


def main() -> None:
    """
    Measure, print the line.
    """
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.larger",
        description="What larger datagrams give. With --json one JSON object.",
        allow_abbrev=False,
    )
    parser.add_argument("--seeds", type=int, default=5, help="runs on the line that loses")
    seeds, _ = parser.parse_known_args()
    figures: dict[str, float] = {}
    parts = []
    for size, costs in processor_time().items():
        send, receive = (median([each[side] for each in costs], 2) for side in (0, 1))
        figures |= {f"send_ms_per_mb_{size}": send, f"receive_ms_per_mb_{size}": receive}
        parts.append(f"{size} bytes: send {send} + receive {receive} ms CPU/MB")
    times = [lossy(seed) for seed in range(1, seeds.seeds + 1)]
    for size, of_size in zip((SMALL, LARGE), zip(*times, strict=True), strict=True):
        figures[f"lossy_s_{size}"] = median(list(of_size), 1)
        parts.append(f"4.5 MB at 2 % loss in {size}: {figures[f'lossy_s_{size}']} s")
    show("larger datagrams", figures, "; ".join(parts))


if __name__ == "__main__":
    main()
