#!/usr/bin/env python3
"""
The original program's network names, end to end, over loopback alone.

It runs under trial (C{python3 -m twisted.trial tests.test_internet_network}),
under pytest (C{pytest tests/test_internet_network.py}), and by itself
(C{python3 tests/test_internet_network.py}), which tells what it finds. Servers
are its own: nothing leaves this machine.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

if __package__ in (None, ""):  # as a program: find the packages beside this folder
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from twisted.internet.defer import (
    Deferred,
    DeferredList,
    DeferredQueue,
    gatherResults,
    maybeDeferred,
)
from twisted.internet.endpoints import HostnameEndpoint
from twisted.internet.protocol import DatagramProtocol, Factory, Protocol, connectionDone
from twisted.internet.task import react
from twisted.python.failure import Failure
from twisted.trial.unittest import TestCase
from typing_extensions import override

from atmosphere.addresses import TransportAddress
from atmosphere.network import (
    DEFAULT_RELAYS,
    STUN_SERVERS,
    ConnectionAttempt,
    ConnectionState,
    NATTraversal,
    NetworkInfo,
    PublicEndpoint,
    RelayClient,
    RelayInfo,
    RelayServer,
    RelaySession,
    discover_public_ip,
    establish_p2p_connection,
    find_best_relay,
    gather_network_info,
    get_local_ip,
    punch_hole,
    start_relay_server,
)
from atmosphere.network.nat import P2PResult, punched_connection
from atmosphere.network.stun.attributes import XOR_MAPPED_ADDRESS
from atmosphere.network.stun.message import Class, Message, encode_message
from atmosphere.network.stun.server import BindingServer

LOOPBACK = "127.0.0.1"

#: Addresses of servers; those that this system does not have are left out.
SERVERS = ("127.0.0.1", "127.0.0.2", "127.0.0.3")


def the_reactor() -> Any:
    """
    Give the reactor, which was installed by whoever runs this.
    """
    from twisted.internet import reactor  # noqa: TID251  # a program's business

    return reactor


class NatServer(DatagramProtocol):
    """
    A STUN server that sees everybody at a port where nobody is: as behind a
    NAT that lets nothing in.
    """

    noisy = False

    def __init__(self, host: str = LOOPBACK) -> None:
        self.host = host

    @override
    def datagramReceived(self, datagram: bytes, addr: tuple[str, int]) -> None:
        """
        Answer each request.
        """
        mapped = TransportAddress(self.host, (addr[1] + 30_000) % 60_000)
        answer = Message(Class.SUCCESS_RESPONSE, datagram[8:20], ((XOR_MAPPED_ADDRESS, mapped),))
        if self.transport is not None:
            self.transport.write(encode_message(answer), addr)


class Page(Protocol):
    """
    Reads what comes until the connection ends.
    """

    def __init__(self) -> None:
        self.text = b""
        self.done: Deferred[bytes] = Deferred()

    @override
    def dataReceived(self, data: bytes) -> None:
        self.text += data

    @override
    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.done.callback(self.text)


async def get(port: int, path: str) -> dict[str, Any]:
    """
    Get a page in JSON from this machine.
    """
    page = Page()
    endpoint = HostnameEndpoint(the_reactor(), LOOPBACK, port)
    await endpoint.connect(Factory.forProtocol(lambda: page))
    assert page.transport is not None
    page.transport.write(f"GET {path} HTTP/1.1\r\nHost: {LOOPBACK}\r\n\r\n".encode())
    facts: dict[str, Any] = json.loads((await page.done).partition(b"\r\n\r\n")[2])
    return facts


@asynccontextmanager
async def stun_servers(
    make: Callable[[], DatagramProtocol] | None = None,
) -> AsyncIterator[None]:
    """
    Run STUN servers on loopback in the place of the public ones.
    """
    reactor, ports, before = the_reactor(), [], list(STUN_SERVERS)
    for host in SERVERS:
        try:
            server = BindingServer(reactor) if make is None else make()
            ports.append(reactor.listenUDP(0, server, host))
        except OSError:
            continue
    STUN_SERVERS[:] = [(port.getHost().host, port.getHost().port) for port in ports]
    try:
        yield
    finally:
        STUN_SERVERS[:] = before
        for port in ports:
            await maybeDeferred(port.stopListening)


@asynccontextmanager
async def relay() -> AsyncIterator[tuple[RelayServer, str]]:
    """
    Run a relay on loopback; gives the server and its URL.
    """
    server = await start_relay_server(LOOPBACK, 0)
    try:
        yield server, f"ws://{LOOPBACK}:{server.port}"
    finally:
        await server.stop()


async def free_port() -> int:
    """
    Find a UDP port that nobody has.
    """
    port = the_reactor().listenUDP(0, DatagramProtocol(), LOOPBACK)
    number = int(port.getHost().port)
    await maybeDeferred(port.stopListening)
    return number


def check(condition: object, text: str) -> None:
    """
    Fail with a text if something is not so.
    """
    if not condition:
        raise AssertionError(text)


# -------------------------------------------------------------------- the checks


async def check_values() -> str:
    """
    The values: endpoints, relays, states, sessions; they travel as JSON.
    """
    endpoint = PublicEndpoint("203.0.113.7", 7777, "stun:stun.example:3478", "none")
    again = PublicEndpoint.from_dict(json.loads(json.dumps(endpoint.to_dict())))
    check(again == endpoint and str(again) == "203.0.113.7:7777", "endpoint")
    listed = RelayInfo("wss://relay.example", "eu", latency_ms=3.5, capacity=10)
    check(RelayInfo.from_dict(json.loads(json.dumps(listed.to_dict()))) == listed, "relay")
    check(DEFAULT_RELAYS == [], "no relay is used by default")
    check([each.value for each in ConnectionState][:2] == ["init", "punching"], "states")
    attempt = ConnectionAttempt(
        "peer", (LOOPBACK, 1), (LOOPBACK, 2), ConnectionState.ESTABLISHED, 10.0, 10.25
    )
    check(attempt.duration == 0.25 and attempt.is_direct, "attempt")
    session = RelaySession("tea-time")
    check([session.add_peer(each) for each in "abc"] == [True, True, False], "two places")
    check(session.get_other_peer("a") == "b" and session.is_complete, "other peer")
    return f"{endpoint}, {listed.url}"


async def check_discovery() -> str:
    """
    C{discover_public_ip}: several servers are asked, and the answer is kept.
    """
    async with stun_servers():
        port, begin = await free_port(), time.perf_counter()
        endpoint = await discover_public_ip(port)
        elapsed = time.perf_counter() - begin
        assert endpoint is not None
        check((endpoint.ip, endpoint.port) == (LOOPBACK, port), "as others see us")
        check(endpoint.source.startswith("stun:127.0.0."), "and who said so")
        check(await discover_public_ip(port) is endpoint, "kept for the session")
        check(not endpoint.is_public, "loopback is not public")
    return f"{endpoint} says {endpoint.source} after {elapsed * 1000:.1f} ms"


async def check_network_info() -> str:
    """
    C{gather_network_info} and C{get_local_ip}: what is known of this machine's network.
    """
    async with stun_servers():
        port = await free_port()
        info: NetworkInfo = await gather_network_info(port)
        check(info.local_ip == get_local_ip(), "local address")
        check(info.nat_type == "none" and not info.is_behind_nat, "no NAT on loopback")
        check(not info.is_publicly_reachable, "and nobody outside reaches it")
        check(info.best_endpoint == f"{LOOPBACK}:{port}", "best endpoint")
    async with stun_servers(lambda: NatServer("203.0.113.7")):
        behind = await gather_network_info(await free_port())
        check(behind.is_behind_nat and not behind.is_publicly_reachable, "behind a NAT")
        check("mapping" in (behind.nat_type or ""), "which has words")
    return f"local {info.local_ip}, NAT: {info.nat_type}; behind a NAT: {behind.nat_type}"


async def check_traversal() -> str:
    """
    C{NATTraversal}: two that punch towards each other are established, and talk.
    """
    came: DeferredQueue[tuple[str, bytes]] = DeferredQueue()
    first = NATTraversal(0)
    second = NATTraversal(0, on_message=lambda peer, data: came.put((peer, data)))
    try:
        check(await first.start() and await second.start(), "both start")
        attempts = await gatherResults(
            [
                first.punch_hole("second", LOOPBACK, second.local_port),
                second.punch_hole("first", LOOPBACK, first.local_port),
            ]
        )
        check(all(each.is_direct for each in attempts), "both are established")
        check(first.send_to_peer("second", b"hello"), "sent")
        check(await first.send_to_peer("second", b"") is True, "may be awaited too")
        got = [await came.get(), await came.get()]
        check(got == [("first", b"hello"), ("first", b"")], "and received")
        check(not first.send_to_peer("nobody", b"hello"), "nobody is not there")
    finally:
        await first.stop()
        await second.stop()
    return f"established after {(attempts[0].duration or 0) * 1000:.1f} ms"


async def check_punch_hole() -> str:
    """
    C{punch_hole}: the socket stays open, and is handed out.
    """
    one, two = await free_port(), await free_port()
    both = await gatherResults([punch_hole(one, LOOPBACK, two), punch_hole(two, LOOPBACK, one)])
    check(both == [True, True], "both sides say so")
    first, second = punched_connection(one, LOOPBACK, two), punched_connection(two, LOOPBACK, one)
    assert first is not None and second is not None
    try:
        await first.send(b"hello")
        check(await second.receive(timeout=5) == b"hello", "there")
        await second.send(b"and back")
        check(await first.receive(timeout=5) == b"and back", "and back")
    finally:
        await first.close()
        await second.close()
    nobody = await punch_hole(one, LOOPBACK, await free_port(), timeout=0.3)
    check(nobody is False, "nobody there")
    return f"{LOOPBACK}:{one} and {LOOPBACK}:{two} talk"


async def talk(first: P2PResult, second: P2PResult) -> None:
    """
    Send both ways, and close.
    """
    assert first.connection is not None and second.connection is not None
    try:
        for sender, receiver in ((first, second), (second, first)):
            assert sender.connection is not None and receiver.connection is not None
            check(await sender.connection.send(b"hello"), "sent")
            check(await receiver.connection.receive(timeout=5) == b"hello", "received")
    finally:
        await DeferredList([first.connection.close(), second.connection.close()])


async def check_establish_direct() -> str:
    """
    C{establish_p2p_connection}: direct where that can be had.
    """
    one, two = await free_port(), await free_port()
    first, second = await gatherResults(
        [
            establish_p2p_connection(one, f"{LOOPBACK}:{two}"),
            establish_p2p_connection(two, PublicEndpoint(LOOPBACK, one, "manual")),
        ]
    )
    ok, kind = first
    check(ok and kind == "direct" and second == (True, "direct"), "direct on both sides")
    await talk(first, second)
    return "direct, both ways"


async def check_establish_relay() -> str:
    """
    C{establish_p2p_connection}: by a relay where nothing else leads there.
    """
    one, two = await free_port(), await free_port()
    async with relay() as (server, url), stun_servers(NatServer):
        to_two, to_one = await discover_public_ip(two), await discover_public_ip(one)
        assert to_two is not None and to_one is not None
        begin = time.perf_counter()
        first, second = await gatherResults(
            [
                establish_p2p_connection(one, to_two, relay_url=url, timeout=1.0),
                establish_p2p_connection(two, to_one, relay_url=url, timeout=1.0),
            ]
        )
        elapsed = time.perf_counter() - begin
        check(first == (True, "relay") and second == (True, "relay"), "relayed on both sides")
        check(len([each for each in server.sessions.values() if each.is_complete]) == 1, "one")
        await talk(first, second)
    return f"relayed after {elapsed:.2f} s, of which 1 s was for a hole"


async def check_relay() -> str:
    """
    C{RelayServer} and C{RelayClient}: two talk, a third is refused, totals stay.
    """
    async with relay() as (server, url):
        first = RelayClient(url)
        check(await first.connect(), "the first comes in")
        await first.send(b"early")
        second = RelayClient(url, session_id=first.session_id)
        check(await second.connect(), "the second comes in")
        check(await second.receive(timeout=5) == b"early", "what was sent before it came")
        third = RelayClient(url, session_id=first.session_id)
        check(await third.connect() is False, "a third does not")
        await second.send(b"back")
        check(await first.receive(timeout=5) == b"back", "the two are undisturbed")
        check(await first.receive(timeout=0.05) is None, "nothing more")
        session = server.sessions[first.session_id]
        check(session.is_complete and session.bytes_relayed == 9, "the server shows the session")
        health = await get(server.port, "/health")
        check((health["status"], health["sessions"]) == ("ok", 1), "/health")
        now = time.time()  # noqa: TID251  # what the page is compared with
        check(abs(health["timestamp"] - now) < 60, "/health tells the time")
        await first.disconnect()
        check(await second.receive(timeout=5) is None, "the other one's session is over")
        stats = await get(server.port, "/stats")
        check(stats["total_sessions"] == 1 and stats["total_bytes_relayed"] == 9, "/stats")
        await second.disconnect()
    return f"{stats['total_bytes_relayed']} bytes relayed in {stats['total_sessions']} session"


async def check_best_relay() -> str:
    """
    C{find_best_relay}: measured, and what does not answer is not chosen.
    """
    check(await find_best_relay() is None, "none is shipped")
    async with relay() as (_, url), relay() as (other, gone):
        await other.stop()
        relays = [RelayInfo(gone, "gone", latency_ms=0.01), RelayInfo(url, "here")]
        best = await find_best_relay(relays)
        check(best is relays[1] and relays[0].latency_ms is None, "the one that answers")
        assert best is not None and best.latency_ms is not None
    return f"{best.url} answers within {best.latency_ms:.1f} ms"


Check = Callable[[], Coroutine[Deferred[Any], Any, str]]

CHECKS: tuple[Check, ...] = (
    check_values,
    check_discovery,
    check_network_info,
    check_traversal,
    check_punch_hole,
    check_establish_direct,
    check_establish_relay,
    check_relay,
    check_best_relay,
)


class InternetNetworkTests(TestCase):
    """
    The checks, as tests.
    """

    timeout = 30

    def run_check(self, each: Check) -> Awaitable[str]:
        """
        Run a check.
        """
        return Deferred.fromCoroutine(each())

    def test_values(self) -> Awaitable[str]:
        """
        Endpoints, relays, states and sessions are what they were.
        """
        return self.run_check(check_values)

    def test_discovery(self) -> Awaitable[str]:
        """
        C{discover_public_ip} asks several servers and keeps the answer.
        """
        return self.run_check(check_discovery)

    def test_network_info(self) -> Awaitable[str]:
        """
        C{gather_network_info} says what was measured.
        """
        return self.run_check(check_network_info)

    def test_traversal(self) -> Awaitable[str]:
        """
        C{NATTraversal} brings two together.
        """
        return self.run_check(check_traversal)

    def test_punch_hole(self) -> Awaitable[str]:
        """
        C{punch_hole} leaves an open socket.
        """
        return self.run_check(check_punch_hole)

    def test_establish_direct(self) -> Awaitable[str]:
        """
        C{establish_p2p_connection} connects directly.
        """
        return self.run_check(check_establish_direct)

    def test_establish_relay(self) -> Awaitable[str]:
        """
        C{establish_p2p_connection} connects by a relay.
        """
        return self.run_check(check_establish_relay)

    def test_relay(self) -> Awaitable[str]:
        """
        C{RelayServer} and C{RelayClient} carry messages.
        """
        return self.run_check(check_relay)

    def test_best_relay(self) -> Awaitable[str]:
        """
        C{find_best_relay} chooses by measurement.
        """
        return self.run_check(check_best_relay)


async def main() -> None:
    """
    Run all checks and tell what they find.

    @raise SystemExit: something is not so.
    """
    print("The network names, end to end, over loopback:\n")
    passed = 0
    for each in CHECKS:
        words = each.__name__.removeprefix("check_").replace("_", " ")
        begin = time.perf_counter()
        try:
            text = await each()
        except Exception as problem:
            print(f"FAILED  {words:18}  {type(problem).__name__}: {problem}", flush=True)
            Failure().printTraceback(file=sys.stderr)
        else:
            passed += 1
            print(f"ok      {words:18}  {text} ({time.perf_counter() - begin:.2f} s)", flush=True)
    print(f"\n{passed} of {len(CHECKS)} checks passed")
    if passed < len(CHECKS):
        raise SystemExit(1)


if __name__ == "__main__":
    react(lambda reactor: Deferred.fromCoroutine(main()))
