"""
What a question to a STUN server costs: time on loopback, and bytes.

Run from the root of a checkout: C{python -m benchmarks.stun [--json]}. Our client
asks our server in another process, one question after the other; a plain UDP echo
between the same processes is measured in turn with it. On a real network the round
trip to the server is added, and little else.
"""

from __future__ import annotations

import secrets
import subprocess
import sys
import time
from typing import Any

from twisted.internet import task
from twisted.internet.defer import Deferred
from twisted.internet.protocol import DatagramProtocol
from typing_extensions import override

from atmosphere.addresses import TransportAddress
from atmosphere.network.stun.binding import BindingLimits
from atmosphere.network.stun.client import StunClient
from atmosphere.network.stun.server import BindingServer
from benchmarks.figures import ROOT, median, show

ROUNDS = 5
QUESTIONS = 500
UDP_HEADERS = 28

#: No limit: the benchmark asks as fast as it can, from one address.
LIMITS = BindingLimits(rate=1e9, burst=1e9, total=1e9)


class Echo(DatagramProtocol):
    """
    Sends back what comes.
    """

    @override
    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        """
        Send it back.
        """
        if self.transport is not None:
            self.transport.write(datagram, addr)


class Counted(StunClient):
    """
    A client that notes how long the datagrams are.
    """

    lengths: tuple[int, int] = (0, 0)

    @override
    def _send(self, datagrams: list[tuple[bytes, TransportAddress]]) -> None:
        """
        Note what is asked.
        """
        self.lengths = (len(datagrams[0][0]) if datagrams else self.lengths[0], self.lengths[1])
        super()._send(datagrams)

    @override
    def datagramReceived(self, datagram: bytes, addr: tuple[str, int]) -> None:
        """
        Note what is answered.
        """
        self.lengths = (self.lengths[0], len(datagram))
        super().datagramReceived(datagram, addr)


class Asker(DatagramProtocol):
    """
    Asks the echo.
    """

    def __init__(self) -> None:
        self.answered: Deferred[None] = Deferred()

    def ask(self, port: int) -> Deferred[None]:
        """
        Send as many bytes as a Binding request has, and wait for them.
        """
        self.answered = Deferred()
        assert self.transport is not None
        self.transport.write(bytes(20), ("127.0.0.1", port))
        return self.answered

    @override
    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        """
        They are back.
        """
        self.answered.callback(None)


async def ask(reactor: Any) -> None:
    """
    Measure, print the line.
    """
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.stun", "serve"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    stun_port, echo_port = map(int, process.stdout.readline().split())
    client, asker = Counted(reactor, secrets.token_bytes), Asker()
    reactor.listenUDP(0, client, interface="127.0.0.1")
    reactor.listenUDP(0, asker, interface="127.0.0.1")
    server = TransportAddress("127.0.0.1", stun_port)
    stun: list[float] = []
    plain: list[float] = []
    for _ in range(ROUNDS):
        for times, question in (
            (stun, lambda: client.request(server)),
            (plain, lambda: asker.ask(echo_port)),
        ):
            for _ in range(QUESTIONS):
                began = time.perf_counter()
                await question()
                times.append((time.perf_counter() - began) * 1e3)
    process.terminate()
    process.wait()
    asked, answered = client.lengths
    figures = {
        "stun_ms": median(stun, 3),
        "plain_udp_ms": median(plain, 3),
        "request_bytes": asked,
        "response_bytes": answered,
        "wire_bytes": asked + answered + 2 * UDP_HEADERS,
    }
    show(
        "a STUN question on loopback",
        figures,
        "median {stun_ms} ms, a plain UDP echo {plain_udp_ms} ms; {request_bytes} B asked,"
        " {response_bytes} B answered, {wire_bytes} B with IPv4 and UDP".format(**figures),
    )


def serve(reactor: Any) -> Deferred[None]:
    """
    Serve both until the process is ended.
    """
    protocols = BindingServer(reactor, LIMITS), Echo()
    ports = [reactor.listenUDP(0, each, interface="127.0.0.1") for each in protocols]
    print(*(port.getHost().port for port in ports), flush=True)  # noqa: T201
    return Deferred()


def main(reactor: Any) -> Deferred[None]:
    """
    Run under C{task.react}.
    """
    return serve(reactor) if "serve" in sys.argv[1:] else Deferred.fromCoroutine(ask(reactor))


if __name__ == "__main__":
    task.react(main)
