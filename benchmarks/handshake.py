"""
What it costs to make a link: processor time of each side, and links per second.

Run from the root of a checkout: C{python -m benchmarks.handshake [--json]}. Two
nodes make a link, proof and membership included, and close it, again and again.
"""

from __future__ import annotations

from benchmarks.figures import median, show
from benchmarks.worker import joined_pair

ROUNDS = 5
LINKS = 60


def main() -> None:
    """
    Make links, print the line.
    """
    rate, dialler, listener = [], [], []
    with joined_pair() as (one, two, _):
        one.call("make_links", count=10)
        for _ in range(ROUNDS):
            before = one.cpu(), two.cpu()
            seconds = one.call("make_links", count=LINKS)["seconds"]
            after = one.cpu(), two.cpu()
            rate.append(LINKS / seconds)
            dialler.append((after[0] - before[0]) * 1e3 / LINKS)
            listener.append((after[1] - before[1]) * 1e3 / LINKS)
    figures = {
        "links_per_s": median(rate, 0),
        "dialler_ms": median(dialler, 2),
        "listener_ms": median(listener, 2),
    }
    show(
        "making a link",
        figures,
        "dialler {dialler_ms}, listener {listener_ms} ms CPU; {links_per_s:.0f} links/s".format(
            **figures
        ),
    )


if __name__ == "__main__":
    main()
