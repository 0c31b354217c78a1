"""
What a reader that never reads costs: 5 MB are pushed at it, on a new stream.

Run from the root of a checkout: C{python -m benchmarks.stalled_reader [--json]}.
It shows by how much the resident memory of each process grows, the first time
and over all streams, each of which stays open for a second.
"""

from __future__ import annotations

from benchmarks.figures import show
from benchmarks.worker import joined_pair

STREAMS = 5
TOTAL = 5_000_000


def main() -> None:
    """
    Push, print the line.
    """
    with joined_pair() as (one, two, _):
        one.call("ask", size=100, rounds=200)
        start = one.resident(), two.resident()
        grown = []
        for _ in range(STREAMS):
            written = one.call("push", total=TOTAL)["written"]
            grown.append(
                [w.resident() - before for w, before in zip((one, two), start, strict=True)]
            )
    sender, receiver = (round(each / 1024) for each in grown[0])
    last_sender, last_receiver = (round(each / 1024) for each in grown[-1])
    show(
        "stalled reader",
        {
            "sender_kib": sender,
            "receiver_kib": receiver,
            "sender_kib_after_all": last_sender,
            "receiver_kib_after_all": last_receiver,
            "taken_kib": round(written / 1024),
        },
        f"sender +{sender} KiB, reader +{receiver} KiB; after {STREAMS} such streams"
        f" +{last_sender} and +{last_receiver} KiB;"
        f" {written / 1024:.0f} KiB of 5 MB were taken from the sending protocol",
    )


if __name__ == "__main__":
    main()
