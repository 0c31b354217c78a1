"""
What it costs to move bulk data over one stream, directly and through a relay.

Run from the root of a checkout: C{python -m benchmarks.bulk [--json]}. Sender,
receiver and relay are processes of their own; plain Twisted TCP between the
same two processes is measured in the same run, for the machine's sake.
"""

from __future__ import annotations

from benchmarks.figures import median, show
from benchmarks.relay.relay_process import RelayProcess
from benchmarks.worker import Worker, joined_pair

ROUNDS = 5
TOTAL = {"tcp": 100_000_000, "direct": 40_000_000, "relayed": 20_000_000}


def measure(
    kind: str, sender: Worker, receiver: Worker, relay: RelayProcess
) -> dict[str, list[float]]:
    """
    Send several times.

    @return: by figure, the results of all rounds.
    """
    port = receiver.call("listen", service="sink")["port"] if kind == "tcp" else None
    megabytes = TOTAL[kind] / 1e6
    sender.call("send", total=TOTAL[kind] // 8, port=port)
    results: dict[str, list[float]] = {"rate": [], "send": [], "receive": [], "relay": []}
    for _ in range(ROUNDS):
        before = sender.cpu(), receiver.cpu(), relay.cpu_seconds()
        seconds = sender.call("send", total=TOTAL[kind], port=port)["seconds"]
        after = sender.cpu(), receiver.cpu(), relay.cpu_seconds()
        spent = [
            (late - early) * 1e3 / megabytes for early, late in zip(before, after, strict=True)
        ]
        for name, value in zip(results, [megabytes / seconds, *spent], strict=True):
            results[name].append(value)
    return results


def main() -> None:
    """
    Measure all kinds, print the line.
    """
    figures: dict[str, float] = {}
    parts = []
    for kind, policy in (("tcp", "auto"), ("direct", "auto"), ("relayed", "relayed")):
        with joined_pair(policy) as (sender, receiver, relay):
            results = measure(kind, sender, receiver, relay)
        rate, send = median(results["rate"], 0), median(results["send"], 2)
        receive, relayed = median(results["receive"], 2), median(results["relay"], 2)
        figures |= {
            f"{kind}_mb_per_s": rate,
            f"{kind}_send_ms_per_mb": send,
            f"{kind}_receive_ms_per_mb": receive,
        }
        part = f"{kind} {rate:.0f} MB/s, send {send} + receive {receive}"
        if kind == "relayed":
            figures["relay_ms_per_mb"] = relayed
            part += f" + relay {relayed}"
        parts.append(f"{part} ms CPU/MB")
    show("bulk, one stream", figures, "; ".join(parts))


if __name__ == "__main__":
    main()
