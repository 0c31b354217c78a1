# -*- test-case-name: tests.network.stun.test_service -*-
"""
The search for our public transport address: several STUN servers at once.

L{PublicAddressFinder} does it for a node and keeps the result for the session;
L{discover} is the search itself. Who is believed is decided in
L{atmosphere.network.stun.discovery}.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, TypeVar

from twisted.internet.defer import CancelledError, Deferred, maybeDeferred
from twisted.internet.error import DNSLookupError
from twisted.internet.interfaces import (
    IAddress,
    IDelayedCall,
    IHostResolution,
    IReactorPluggableNameResolver,
    IReactorTime,
    IResolutionReceiver,
)
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from atmosphere.addresses import TransportAddress
from atmosphere.errors import AtmosphereError, DecodeError

from .client import Response, StunClient
from .discovery import Agreement, Discovery, Observation, Server, agree, mapped_refusal

__all__ = ["PATIENCE", "PublicAddressFinder", "Resolve", "discover", "resolver"]

#: Finds the IP addresses of a host name; fails if there are none.
T = TypeVar("T")

Resolve = Callable[[str], Deferred[list[str]]]

#: Seconds after which a search ends whatever is missing.
PATIENCE = 3.0

#: Seconds for which the others are still heard once two agree: so that one
#: that says otherwise is named.
GRACE = 0.2

#: Sent at 0, 0.5 and 1.5 s: what would be sent later could not be answered in time.
ATTEMPTS = 3


@implementer(IResolutionReceiver)
class _Addresses:
    """
    Collects what a name resolver finds.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._found: list[str] = []
        self._resolution: IHostResolution | None = None
        self.deferred: Deferred[list[str]] = Deferred(self._cancel)

    def _cancel(self, _: Deferred[list[str]]) -> None:
        """
        Lose interest; not every resolver can be stopped.
        """
        if self._resolution is not None:
            try:
                self._resolution.cancel()
            except NotImplementedError:
                self._resolution = None

    def resolutionBegan(self, resolutionInProgress: IHostResolution) -> None:  # noqa: N802, N803  # Twisted's name
        """
        Remember what is going on.
        """
        self._resolution = resolutionInProgress

    def addressResolved(self, address: IAddress) -> None:  # noqa: N802  # Twisted's name
        """
        Take one address.
        """
        host = getattr(address, "host", None)
        if isinstance(host, str):
            self._found.append(host)

    def resolutionComplete(self) -> None:  # noqa: N802  # Twisted's name
        """
        Hand over what was found.
        """
        if self.deferred.called:
            return
        if self._found:
            self.deferred.callback(self._found)
        else:
            self.deferred.errback(DNSLookupError(f"no address for {self._name}"))


def resolver(reactor: IReactorPluggableNameResolver) -> Resolve:
    """
    Resolve host names by the reactor's own name resolver.

    @return: a function whose Deferred fails with C{DNSLookupError} for a name
        without addresses; cancelling it loses interest.
    """

    def resolve(name: str) -> Deferred[list[str]]:
        receiver = _Addresses(name)
        try:
            name.encode("idna")
        except UnicodeError:  # for which Twisted's resolver never answers
            receiver.resolutionComplete()
            return receiver.deferred
        reactor.nameResolver.resolveHostName(receiver, name)
        return receiver.deferred

    return resolve


class _Search:
    """
    One search: all servers, one or two address families.
    """

    _log = Logger()

    def __init__(
        self,
        reactor: IReactorTime,
        clients: dict[bool, StunClient],
        servers: tuple[Server, ...],
        resolve: Resolve,
        patience: float,
    ) -> None:
        self._reactor = reactor
        self._clients = clients
        self._servers = servers
        self._resolve = resolve
        self._patience = patience
        self._heard: dict[bool, list[Observation]] = {family: [] for family in clients}
        self._under_way: dict[Deferred[Any], tuple[Server, bool | None]] = {}
        self._failures: dict[Server, str] = {}
        self._grace: IDelayedCall | None = None
        self._deadline: IDelayedCall | None = None
        self._is_asking = True
        self._is_over = False
        self.deferred: Deferred[Discovery] = Deferred(lambda _: self._let_go())

    def begin(self) -> None:
        """
        Ask all servers.
        """
        self._deadline = self._reactor.callLater(self._patience, self._too_late)
        for server in self._servers:
            address = server.address()
            if address is not None:
                self._ask(server, [address])
                continue
            names = maybeDeferred(self._resolve, server.host)
            self._watch(names, server, None, partial(self._resolved, server))
        self._is_asking = False
        self._look()

    def _watch(
        self,
        deferred: Deferred[T],
        server: Server,
        family: bool | None,
        done: Callable[[T], None],
    ) -> None:
        """
        Remember something that is under way, until it has ended.

        @param family: C{None} while the server's name is being resolved.
        """
        self._under_way[deferred] = server, family
        deferred.addCallback(done)
        deferred.addErrback(partial(self._failed, server))

        def ended(_: object) -> None:
            self._under_way.pop(deferred, None)
            self._look()

        deferred.addCallback(ended)

    def _failed(self, server: Server, failure: Failure) -> None:
        """
        Note why a server is of no use; the others are still asked.
        """
        if failure.check(CancelledError):
            return
        if not failure.check(AtmosphereError, DNSLookupError, OSError):
            self._log.failure("asking STUN server {server}", failure, server=str(server))
        self._failures.setdefault(server, failure.getErrorMessage())

    def _resolved(self, server: Server, hosts: list[str]) -> None:
        """
        Ask a server whose addresses are known now.
        """
        addresses = []
        for host in hosts:
            try:
                addresses.append(TransportAddress(host, server.port))
            except DecodeError:
                continue
        self._ask(server, addresses)

    def _ask(self, server: Server, addresses: list[TransportAddress]) -> None:
        """
        Ask a server at its first address of each family.
        """
        is_asked = False
        for is_ipv6, client in self._clients.items():
            asked = next((each for each in addresses if each.is_ipv6 is is_ipv6), None)
            if asked is None:
                continue
            is_asked = True
            rto = self._patience / 6
            response = client.request(asked, rto=rto, attempts=ATTEMPTS, patience=3)
            self._watch(response, server, is_ipv6, partial(self._answered, server, asked))
        if not is_asked:
            self._failures.setdefault(server, "has no address that we can reach")

    def _answered(self, server: Server, asked: TransportAddress, response: Response) -> None:
        """
        Note what a server says.
        """
        mapped = response.mapped
        reason = "does not say" if mapped is None else mapped_refusal(asked, mapped)
        if mapped is None or reason is not None:
            self._failures.setdefault(server, reason or "")
        else:
            self._heard[asked.is_ipv6].append(Observation(server, asked, mapped))

    def _is_settled(self, is_ipv6: bool) -> bool:
        """
        Say whether waiting would change nothing for an address family.
        """
        agreement = agree(self._heard[is_ipv6])
        if agreement is not None and agreement.is_confirmed:
            return True
        return all(family is (not is_ipv6) for _, family in self._under_way.values())

    def _look(self) -> None:
        """
        End once all were heard, and soon once enough were.
        """
        if self._is_over or self._is_asking:
            return
        if not self._under_way:
            self._end()
        elif self._grace is None and all(self._is_settled(each) for each in self._clients):
            self._grace = self._reactor.callLater(GRACE, self._end)

    def _too_late(self) -> None:
        """
        End because patience has, and note who was waited for.
        """
        for server, _ in self._under_way.values():
            self._failures.setdefault(server, f"no response within {self._patience:g} s")
        self._end()

    def _end(self) -> None:
        """
        Report.
        """
        self._let_go()
        self.deferred.callback(self._result())

    def _let_go(self) -> None:
        """
        Stop all that is under way; what ends from here on is not heard.
        """
        self._is_over = True
        for call in (self._deadline, self._grace):
            if call is not None and call.active():
                call.cancel()
        for each in list(self._under_way):
            each.cancel()

    def _result(self) -> Discovery:
        """
        Put together what was found.
        """
        agreed: dict[bool, Agreement | None] = {
            family: agree(heard) for family, heard in self._heard.items()
        }
        heard = {each.server for family in self._heard.values() for each in family}
        return Discovery(
            agreed.get(False),
            agreed.get(True),
            tuple(
                (each, self._failures[each])
                for each in self._servers
                if each in self._failures and each not in heard
            ),
            frozenset(self._servers),
        )


def discover(
    reactor: IReactorTime,
    servers: Iterable[Server],
    resolve: Resolve,
    *,
    ipv4: StunClient | None = None,
    ipv6: StunClient | None = None,
    patience: float = PATIENCE,
) -> Deferred[Discovery]:
    """
    Ask all servers at once, in each address family for which there is a client.

    It ends when all have answered or failed, shortly after two agree in every
    family, and in any case when patience ends.

    @param resolve: finds the addresses of servers that are named.
    @param patience: seconds; the requests are spread over them.
    @return: fires with what was found, and never fails otherwise than by
        cancelling, which ends all requests.
    """
    clients = {False: ipv4, True: ipv6}
    search = _Search(
        reactor,
        {family: client for family, client in clients.items() if client is not None},
        tuple(dict.fromkeys(servers)),
        resolve,
        patience,
    )
    search.begin()
    return search.deferred


class PublicAddressFinder:
    """
    Knows our public transport addresses, and asks only when it does not.

    @ivar known: what is known for this session.
    """

    def __init__(
        self,
        reactor: IReactorTime,
        resolve: Resolve,
        *,
        ipv4: StunClient | None = None,
        ipv6: StunClient | None = None,
    ) -> None:
        self.known: Discovery | None = None
        self._reactor = reactor
        self._resolve = resolve
        self._ipv4 = ipv4
        self._ipv6 = ipv6
        self._searching: Deferred[Discovery] | None = None
        self._waiting: list[Deferred[Discovery]] = []

    def find(self, servers: Iterable[Server]) -> Deferred[Discovery]:
        """
        Give what is known; ask if nothing is, or if only one server was heard
        and there are others now.

        @return: fires with what was found, however little. Cancelling lets go
            of this call alone; the search ends when the last has let go.
        """
        wanted = tuple(dict.fromkeys(servers))
        deferred: Deferred[Discovery] = Deferred(self._cancelled)
        if self.known is not None and not self._is_worth_asking(self.known, wanted):
            deferred.callback(self.known)
            return deferred
        self._waiting.append(deferred)
        if self._searching is None:
            self._searching = search = discover(
                self._reactor, wanted, self._resolve, ipv4=self._ipv4, ipv6=self._ipv6
            )
            search.addCallbacks(partial(self._found, self._waiting), self._let_go)
        return deferred

    def _is_worth_asking(self, known: Discovery, wanted: tuple[Server, ...]) -> bool:
        """
        Say whether other servers could tell more than is known.
        """
        if any(each.is_confirmed for each in known.agreements):
            return False
        return not known.asked.issuperset(wanted)

    def _found(self, waiting: list[Deferred[Discovery]], discovery: Discovery) -> None:
        """
        Keep what was found, if it was anything, and tell all who wait.
        """
        if waiting is self._waiting:
            self.known = discovery if discovery.agreements else None
            self._searching = None
            self._waiting = []
        for each in waiting:
            if not each.called:
                each.callback(discovery)

    def _let_go(self, failure: Failure) -> None:
        """
        See a search off that nobody waits for.
        """
        failure.trap(CancelledError)

    def _cancelled(self, deferred: Deferred[Discovery]) -> None:
        """
        Forget one who waited; stop when nobody does.
        """
        if deferred in self._waiting:
            self._waiting.remove(deferred)
            if not self._waiting and self._searching is not None:
                search, self._searching = self._searching, None
                search.cancel()

    def forget(self) -> None:
        """
        Forget all: the network has changed. A search that is under way is still
        answered, but its result is not kept.
        """
        self.known = None
        self._searching = None
        self._waiting = []
