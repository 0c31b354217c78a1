# -*- test-case-name: tests.classic.test_relay -*-
"""
How far relays are: the time until their health page comes.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from treq.client import HTTPClient
from twisted.internet.defer import (
    CancelledError,
    Deferred,
    FirstError,
    TimeoutError as TooLate,
    gatherResults,
)
from twisted.internet.protocol import Protocol, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.client import Agent
from typing_extensions import override

from atmosphere.errors import ConfigurationError, RelayError
from atmosphere.network.relay.endpoint import describe_failure, parse_relay_url
from atmosphere.network.relay.pair_client import is_cancellation
from atmosphere.network.relay.selection import RelayInfo

from .world import World

__all__ = ["measure"]

PATIENCE = 5.0

#: A page that is longer is no relay's.
LONGEST_PAGE = 4_096

#: The first try may have to look the name up.
TRIES = 2

_log = Logger()


class _Page(Protocol):
    """
    Reads a page, unless it is too long.
    """

    def __init__(self) -> None:
        self.done: Deferred[bytes] = Deferred(lambda _: self._hang_up())
        self._text = b""

    def _hang_up(self) -> None:
        """
        Read no more.
        """
        if self.transport is not None:
            self.transport.loseConnection()

    @override
    def dataReceived(self, data: bytes) -> None:
        self._text += data
        if len(self._text) > LONGEST_PAGE:
            self._text = b""
            self._hang_up()

    @override
    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if not self.done.called:
            self.done.callback(self._text)


async def _ask(world: World, relay: RelayInfo) -> float:
    """
    Ask a relay how it is.

    @return: how many milliseconds its answer took.
    @raise RelayError: it is not there, is no relay, or serves nobody now.
    @raise ConfigurationError: what should be its URL is none.
    """
    url = parse_relay_url(relay.url)
    scheme = "https" if url.is_secure else "http"
    prefix = url.resource.removesuffix("/relay")
    agent = Agent(world.reactor, connectTimeout=PATIENCE)
    client = HTTPClient(agent)
    begin = world.reactor.seconds()
    try:
        response = await client.get(
            f"{scheme}://{url.authority}{prefix}/health",
            unbuffered=True,
            allow_redirects=False,
            reactor=world.reactor,
        )
    except Exception as problem:
        if is_cancellation(problem):
            raise CancelledError() from problem
        raise RelayError(describe_failure(url, Failure(problem))) from problem
    elapsed = world.reactor.seconds() - begin
    page = _Page()
    response.deliverBody(page)
    try:
        facts = json.loads(await page.done)
    except ValueError:
        facts = None
    if not isinstance(facts, dict) or facts.get("status") != "ok":
        raise RelayError(f"{url.authority} is no relay, or goes down")
    return float(max(0.0, elapsed) * 1000)


async def _measure(world: World, relay: RelayInfo) -> None:
    """
    Measure one relay, and note the better of two tries.
    """
    relay.latency_ms = None
    try:
        for _ in range(TRIES):
            asking = Deferred.fromCoroutine(_ask(world, relay))
            found = await asking.addTimeout(PATIENCE, world.reactor)
            if relay.latency_ms is None or found < relay.latency_ms:
                relay.latency_ms = found
    except (RelayError, ConfigurationError, TooLate) as error:
        _log.info("relay {url}: {error}", url=relay.url, error=str(error) or "no answer in time")


async def measure(world: World, relays: Sequence[RelayInfo]) -> None:
    """
    Measure relays, all at once, and note the milliseconds in each.

    @param relays: their C{latency_ms} is set, to L{None} for those that do not answer.
    """
    measuring = [Deferred.fromCoroutine(_measure(world, each)) for each in relays]
    try:
        await gatherResults(measuring, consumeErrors=True)
    except FirstError as error:
        error.subFailure.raiseException()
