"""
What an idle node holds: resident memory, and processor time that it uses.

Run from the root of a checkout: C{python -m benchmarks.idle_node [--json]}. Two
nodes are served as a user would, one joins the other, and both idle on a relay
connection and one direct link.
"""

from __future__ import annotations

import time
from pathlib import Path

from benchmarks.command_line import Node, serving
from benchmarks.figures import TICK, resident_bytes, show
from benchmarks.relay.relay_process import start_relay

SETTLE_SECONDS = 8
IDLE_SECONDS = 20


def pid_of(node: Node) -> int:
    """
    Say which process a node is.
    """
    assert node.process is not None
    return node.process.pid


def cpu_seconds(pid: int) -> float:
    """
    Say how much processor time a process has used.
    """
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) * TICK


def main() -> None:
    """
    Join two nodes, let them idle, print the line.
    """
    relay = start_relay()
    try:
        with serving(f"ws://127.0.0.1:{relay.port}", "portland", "seattle") as nodes:
            admin, joiner = nodes
            joiner.run("join", "-", text=admin.run("invite")["code"])
            admin.wait_linked()
            time.sleep(SETTLE_SECONDS)
            before = [cpu_seconds(pid_of(node)) for node in nodes]
            time.sleep(IDLE_SECONDS)
            spent = [cpu_seconds(pid_of(node)) for node in nodes]
            held = [resident_bytes(pid_of(node)) / 2**20 for node in nodes]
    finally:
        relay.stop()
    idle = [(late - early) / IDLE_SECONDS for late, early in zip(spent, before, strict=True)]
    figures = {
        "resident_mib": round(max(held), 1),
        "joiner_resident_mib": round(held[1], 1),
        "cpu_percent": round(max(idle) * 100, 2),
    }
    show(
        "idle node",
        figures,
        "{resident_mib} MiB resident, {cpu_percent} % of a core".format(**figures),
    )


if __name__ == "__main__":
    main()
