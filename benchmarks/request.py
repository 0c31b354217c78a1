"""
How long a small request takes: 100 bytes there and back on a stream that stands.

Run from the root of a checkout: C{python -m benchmarks.request [--json]}. Plain
Twisted TCP between the same two processes is measured in turn with it.
"""

from __future__ import annotations

from benchmarks.figures import median, show
from benchmarks.worker import joined_pair

ROUNDS = 5
REQUESTS = 2_000
SIZE = 100


def measure(policy: str) -> tuple[list[float], list[float], list[float]]:
    """
    Ask by a stream and by TCP, in turn.

    @return: by a stream, the median and the 99th percentile of each round, and
        by TCP the median, in microseconds.
    """
    medians, tails, plain = [], [], []
    with joined_pair(policy) as (one, two, _):
        port = two.call("listen", service="echo")["port"]
        for _ in range(ROUNDS):
            times = sorted(one.call("ask", size=SIZE, rounds=REQUESTS)["seconds"])
            medians.append(times[REQUESTS // 2] * 1e6)
            tails.append(times[REQUESTS * 99 // 100] * 1e6)
            times = sorted(one.call("ask", size=SIZE, rounds=REQUESTS, port=port)["seconds"])
            plain.append(times[REQUESTS // 2] * 1e6)
    return medians, tails, plain


def main() -> None:
    """
    Measure directly and relayed, print the line.
    """
    direct, direct_tail, plain = measure("auto")
    relayed, relayed_tail, _ = measure("relayed")
    figures = {
        "tcp_p50_us": median(plain, 0),
        "direct_p50_us": median(direct, 0),
        "direct_p99_us": median(direct_tail, 0),
        "relayed_p50_us": median(relayed, 0),
        "relayed_p99_us": median(relayed_tail, 0),
    }
    show(
        f"request and answer of {SIZE} B",
        figures,
        "p50 tcp {tcp_p50_us:.0f}, direct {direct_p50_us:.0f}, relayed {relayed_p50_us:.0f} us; "
        "p99 direct {direct_p99_us:.0f}, relayed {relayed_p99_us:.0f} us".format(**figures),
    )


if __name__ == "__main__":
    main()
