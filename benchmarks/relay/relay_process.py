"""
A relay in a process of its own, and what it costs: for the benchmarks beside this file.

Started as a program it serves on a free port of 127.0.0.1, prints the port, and
runs until it is ended. A relay on loopback has no limits per address and no
rate, so that no limit had to be raised but those named here.
"""

from __future__ import annotations

import os
import resource
import secrets
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

__all__ = ["RelayProcess", "start_relay"]


@dataclass
class RelayProcess:
    """
    A relay that runs.
    """

    process: subprocess.Popen[str]
    port: int

    def cpu_seconds(self) -> float:
        """
        Say how much processor time it has used.
        """
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def resident_bytes(self) -> int:
        """
        Say how much memory it holds.
        """
        pages = int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")

    def stop(self) -> None:
        """
        End it.
        """
        self.process.terminate()
        self.process.wait()


def start_relay() -> RelayProcess:
    """
    Start a relay, and wait until it listens.
    """
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.relay.relay_process"],
        cwd=Path(__file__).resolve().parents[2],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    return RelayProcess(process, int(process.stdout.readline()))


def main() -> None:
    """
    Be the relay.
    """
    from twisted.internet import reactor  # noqa: TID251  # a program, not a library

    from atmosphere.network.relay.limits import RelayConfig, RelayLimits
    from atmosphere.network.relay.service import RelayService

    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    limits = RelayLimits(accept_rate=10_000, accept_burst=10_000, unproven=10_000)
    config = RelayConfig(host="127.0.0.1", port=0, stun_port=0, is_open=True, limits=limits)
    service = RelayService(reactor, config, entropy=secrets.token_bytes, wall=time.time)  # noqa: TID251
    service.privilegedStartService()
    service.startService()
    sys.stdout.write(f"{service.port}\n")
    sys.stdout.flush()
    reactor.run()


if __name__ == "__main__":
    main()
