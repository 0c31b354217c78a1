"""
What forwarding costs, and the local API: bulk data between programs that are no
nodes themselves, compared with the bare link between the same two nodes.

Run from the root of a checkout: C{python -m benchmarks.forward_bulk [--json]}. Each
node, each program and the relay is a process of its own; all paths are direct.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack

from benchmarks.figures import median, show
from benchmarks.worker import Worker, joined_pair

ROUNDS = 5
TOTAL = 40_000_000


def measure(send: Callable[[int], object], processes: Sequence[Worker]) -> list[float]:
    """
    Send once.

    @param send: sends so many bytes.
    @return: processor time of each process, in milliseconds a MB.
    """
    before = [each.cpu() for each in processes]
    send(TOTAL)
    return [
        (each.cpu() - early) * 1e9 / TOTAL for each, early in zip(processes, before, strict=True)
    ]


def main() -> None:
    """
    Measure all in turn, print the line.
    """
    with ExitStack() as stack:
        one, two, _ = stack.enter_context(joined_pair(has_control=True))
        client, server = Worker(), Worker()
        stack.callback(client.stop)
        stack.callback(server.stop)
        two.call("expose", port=server.call("listen", service="sink")["port"])
        port = one.call("forward")["port"]
        kinds: dict[str, Callable[[int], object]] = {
            "link": lambda total: one.call("send", total=total),
            "forward": lambda total: client.call("send", total=total, port=port),
            "local": lambda total: client.call("send", total=total, state=one.state),
        }
        spent: dict[str, list[list[float]]] = {kind: [] for kind in kinds}
        for send in kinds.values():
            send(TOTAL // 8)
        for _round in range(ROUNDS):
            for kind, send in kinds.items():
                spent[kind].append(measure(send, (one, two, client, server)))
    link = [sum(each) for each in spent["link"]]
    nodes = [each[0] + each[1] for each in spent["forward"]]
    through = [sum(each) for each in spent["local"]]
    figures = {
        "link_ms_per_mb": median(link, 2),
        "forward_nodes_ms_per_mb": median(nodes, 2),
        "forward_all_ms_per_mb": median([sum(each) for each in spent["forward"]], 2),
        "local_ms_per_mb": median(through, 2),
        "forward_ratio": median([a / b for a, b in zip(nodes, link, strict=True)], 2),
        "local_ratio": median([a / b for a, b in zip(through, link, strict=True)], 2),
    }
    show(
        "forwarded bulk",
        figures,
        "bare link {link_ms_per_mb} ms CPU/MB in both nodes; forwarded {forward_nodes_ms_per_mb}"
        " ({forward_ratio} times), with the programs at its ends {forward_all_ms_per_mb};"
        " through the local API, the program included, {local_ms_per_mb}"
        " ({local_ratio} times)".format(**figures),
    )


if __name__ == "__main__":
    main()
