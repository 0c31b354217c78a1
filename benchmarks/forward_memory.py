"""
How much memory a forwarded connection holds in each of the two nodes.

Run from the root of a checkout: C{python -m benchmarks.forward_memory [--json]}. A
program opens a thousand connections through a forward to a server behind the other
node, has 100 bytes echoed twice on each, and keeps them all open.
"""

from __future__ import annotations

from contextlib import ExitStack

from benchmarks.figures import show
from benchmarks.worker import Worker, joined_pair

WARM = 20
CONNECTIONS = 1_000


def main() -> None:
    """
    Open them, print the line.
    """
    with ExitStack() as stack:
        one, two, _ = stack.enter_context(joined_pair())
        client, server = Worker(), Worker()
        stack.callback(client.stop)
        stack.callback(server.stop)
        two.call("expose", port=server.call("listen", service="echo")["port"])
        port = one.call("forward")["port"]
        client.call("hold", count=WARM, port=port)
        before = one.resident(), two.resident()
        client.call("hold", count=CONNECTIONS, port=port)
        for each in (one, two):
            if (held := each.call("forwarded")["open"]) != WARM + CONNECTIONS:
                raise RuntimeError(f"{held} connections are open")
        near, far = (
            (each.resident() - early) / 1024 / CONNECTIONS
            for each, early in zip((one, two), before, strict=True)
        )
    show(
        f"{CONNECTIONS} forwarded connections",
        {"near_kib": round(near, 1), "far_kib": round(far, 1)},
        f"{near:.1f} KiB each in the node at the clients, {far:.1f} in the one at the server",
    )


if __name__ == "__main__":
    main()
