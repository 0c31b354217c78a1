# -*- test-case-name: tests.network.ice.test_connection -*-
"""
An ICE agent with sockets: for Twisted programs that talk to other ICE agents::

    ice = IceConnection(reactor, is_controlling=True, entropy=os.urandom, on_data=print)
    description = await ice.gather()
    send_to_peer(encode_description(description))
    ice.set_remote(decode_description(what_the_peer_sent))
    await ice.connect()
    ice.send(b"hello")

How the two descriptions reach the other side is the program's affair, and what is
sent is neither encrypted nor protected: ICE finds the way, and no more.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

from twisted.internet.defer import Deferred, DeferredList, fail, maybeDeferred, succeed
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort
from twisted.internet.protocol import DatagramProtocol
from twisted.logger import Logger
from twisted.python.failure import Failure
from typing_extensions import override

from atmosphere.addresses import TransportAddress
from atmosphere.engine_driver import EngineDriver
from atmosphere.errors import AtmosphereError, DecodeError, NoPathError
from atmosphere.network.nat.candidates import AddressRules, Interface, interface_refusal
from atmosphere.network.nat.interfaces import list_interfaces
from atmosphere.network.stun.client import Response, StunClient

from .agent import IceAgent
from .candidates import IceCandidate, host_candidate, reflexive_candidate
from .description import IceDescription
from .events import ConsentLost, Event, Failed, Received, Selected
from .pairs import IcePath

__all__ = ["IceConnection", "IcePort"]

#: Sockets of one agent.
MAX_SOCKETS = 16

#: How a STUN server is asked: at 0, 0.5, 1.5 and 3.5 s, for 4.5 s.
STUN_ATTEMPTS = 4
STUN_PATIENCE = 2.0


class IcePort(DatagramProtocol):
    """
    One socket of an agent. STUN servers are asked by it too, for what they say is
    true for this socket alone.

    @ivar base: where it is bound.
    @ivar stun: asks STUN servers.
    """

    noisy = False

    def __init__(
        self,
        stun: StunClient,
        received: Callable[[bytes, IcePath], None],
    ) -> None:
        """
        @param received: takes what no STUN server sent, and its path.
        """
        self.stun = stun
        self.base: TransportAddress | None = None
        self._received = received

    @override
    def startProtocol(self) -> None:
        """
        Begin: there is a socket.
        """
        assert self.transport is not None
        bound = self.transport.getHost()
        self.base = TransportAddress.from_socket((bound.host, bound.port))
        self.stun.makeConnection(self.transport)

    @override
    def stopProtocol(self) -> None:
        """
        End: the socket is gone.
        """
        if self.stun.transport is not None:
            self.stun.doStop()

    @override
    def datagramReceived(self, datagram: bytes, addr: tuple[str, int]) -> None:
        """
        Take what a STUN server or the peer sent.
        """
        try:
            source = TransportAddress.from_socket(addr)
        except DecodeError:
            return
        if self.stun.awaits(datagram):
            self.stun.datagramReceived(datagram, addr)
        elif self.base is not None:
            self._received(datagram, (self.base, source))


class IceConnection:
    """
    One end of a stream of datagrams to another ICE agent.

    @ivar agent: decides.
    @ivar unsent: how many datagrams the system would not send.
    """

    _log = Logger()

    def __init__(
        self,
        reactor: Any,
        *,
        is_controlling: bool,
        entropy: Callable[[int], bytes],
        on_data: Callable[[bytes], object],
        on_candidate: Callable[[IceCandidate | None], object] = lambda candidate: None,
        on_lost: Callable[[str], object] = lambda reason: None,
        stun_servers: Sequence[TransportAddress] = (),
        interfaces: Callable[[], Iterable[Interface]] = list_interfaces,
        rules: AddressRules | None = None,
    ) -> None:
        """
        @param reactor: has C{IReactorUDP} and C{IReactorTime}.
        @param is_controlling: by custom, whether we made the first offer.
        @param entropy: so many random bytes.
        @param on_data: takes the peer's datagrams.
        @param on_candidate: told of each of our candidates as it is found, and of
            their end by C{None}: for peers that take them one by one (trickle).
        @param on_lost: told why when the peer is gone after it was there.
        @param stun_servers: asked how others see us.
        @param interfaces: lists the addresses of this machine.
        @param rules: which addresses are tried, of the peer's and of ours.
        """
        self.unsent = 0
        self.agent = IceAgent(is_controlling=is_controlling, entropy=entropy, rules=rules)
        self._allow_loopback = rules is not None and rules.allow_loopback
        self._reactor = reactor
        self._entropy = entropy
        self._on_data = on_data
        self._on_candidate = on_candidate
        self._on_lost = on_lost
        self._servers = tuple(stun_servers)
        self._interfaces = interfaces
        self._ports: dict[TransportAddress, tuple[IcePort, IListeningPort]] = {}
        self._waiting: list[Deferred[Selected]] = []
        self._selected: Selected | None = None
        self._is_closed = False
        self._driver: EngineDriver[IcePath, Event] = EngineDriver(
            reactor, self.agent, self._send, self._deliver
        )

    # --------------------------------------------------------------- gathering

    def gather(self) -> Deferred[IceDescription]:
        """
        Open a socket on each useful address of ours, and ask the STUN servers by each.

        @return: fires with all that the peer is to be told. It need not be waited
            for: L{describe} says what is known so far.
        """
        asked: list[Deferred[None]] = []
        for number, interface in enumerate(self._useful()):
            port = self._open(interface.address)
            if port is None or port.base is None:
                continue
            candidate = host_candidate(port.base, 65535 - number)
            self._add(candidate, port.base)
            for server in self._servers:
                if server.is_ipv6 == port.base.is_ipv6:
                    asked.append(self._ask(port, candidate, server))
        return DeferredList(asked).addCallback(lambda _: self._gathered())

    def _useful(self) -> list[Interface]:
        """
        List the addresses that sockets are opened on.
        """
        found = [
            each
            for each in self._interfaces()
            if interface_refusal(each, allow_loopback=self._allow_loopback) is None
        ]
        return found[:MAX_SOCKETS]

    def _open(self, host: str) -> IcePort | None:
        """
        Open a socket.

        @return: C{None} if the system does not let us.
        """
        protocol = IcePort(StunClient(self._reactor, self._entropy), self._driver.receive_datagram)
        try:
            port = self._reactor.listenUDP(0, protocol, interface=host)
        except CannotListenError as error:
            self._log.debug("no socket at {host}: {error}", host=host, error=error)
            return None
        assert protocol.base is not None
        self._ports[protocol.base] = protocol, port
        return protocol

    def _ask(
        self, port: IcePort, candidate: IceCandidate, server: TransportAddress
    ) -> Deferred[None]:
        """
        Ask a STUN server how it sees a socket.
        """

        def told(response: Response) -> None:
            if response.mapped is not None and port.base is not None:
                seen = reflexive_candidate(response.mapped, candidate, server=str(server))
                self._add(seen, port.base)

        def silent(failure: Failure) -> None:
            failure.trap(AtmosphereError)

        asking = port.stun.request(server, attempts=STUN_ATTEMPTS, patience=STUN_PATIENCE)
        return asking.addCallback(told).addErrback(silent)

    def _add(self, candidate: IceCandidate, base: TransportAddress) -> None:
        """
        Take a candidate of ours.
        """
        if not self._is_closed and self.agent.add_local_candidate(candidate, base):
            self._on_candidate(candidate)
            self._driver.pump_soon()

    def _gathered(self) -> IceDescription:
        """
        All candidates of ours are there.
        """
        if not self._is_closed:
            self.agent.end_local_candidates()
            self._on_candidate(None)
        return self.describe()

    def describe(self) -> IceDescription:
        """
        Say what the peer is to be told, as far as it is known.
        """
        return self.agent.describe()

    # --------------------------------------------------------------- the peer

    def set_remote(self, description: IceDescription) -> bool:
        """
        Take what the peer tells of itself. Credentials that differ from those before
        are an ICE restart.

        @return: whether ours are new by it, so that L{describe} is to be told anew.
        """
        is_changed = self.agent.set_remote(
            description.credentials, self._driver.now(), is_lite=description.is_lite
        )
        for candidate in description.candidates:
            self.agent.add_remote_candidate(candidate)
        if description.is_complete:
            self.agent.end_remote_candidates()
        self._driver.pump_soon()
        return is_changed

    def add_remote(self, candidate: IceCandidate | None) -> str | None:
        """
        Take one more candidate of the peer's.

        @param candidate: C{None} says that there are no more.
        @return: why it is not tried; C{None} if it is.
        """
        if candidate is None:
            self.agent.end_remote_candidates()
            refusal = None
        else:
            refusal = self.agent.add_remote_candidate(candidate)
        self._driver.pump_soon()
        return refusal

    def connect(self) -> Deferred[Selected]:
        """
        Wait until a pair is selected.

        @return: fires with it, at once if there is one; fails with L{NoPathError}.
            Cancelling it leaves the agent as it is.
        """
        if self._selected is not None:
            return succeed(self._selected)
        if self._is_closed or self.agent.has_failed:
            return fail(NoPathError("the agent is closed, or has failed"))
        waiting: Deferred[Selected] = Deferred(self._forget)
        self._waiting.append(waiting)
        return waiting

    def _forget(self, waiting: Deferred[Selected]) -> None:
        """
        Note that somebody does not wait any more.
        """
        self._waiting.remove(waiting)

    def restart(self) -> IceDescription:
        """
        Begin anew, with other credentials, while data goes on as it did.

        @return: what the peer is to be told.
        """
        self.agent.restart(self._driver.now())
        self._selected = None
        self._driver.pump_soon()
        return self.describe()

    def send(self, data: bytes) -> bool:
        """
        Send a datagram; like any, it may be lost.

        @return: whether there is a way for it.
        @raise ValueError: it looks like STUN.
        """
        if self._is_closed:
            return False
        is_sent = self.agent.send(data)
        self._driver.pump_soon()
        return is_sent

    def close(self) -> Deferred[None]:
        """
        Close all sockets.

        @return: fires when they are closed.
        """
        self._is_closed = True
        self._driver.stop()
        ports, self._ports = self._ports, {}
        self._end(NoPathError("the agent was closed"))
        closing = [maybeDeferred(port.stopListening) for _, port in ports.values()]
        return DeferredList(closing).addCallback(lambda _: None)

    # ----------------------------------------------------------------- insides

    def _send(self, datagrams: list[tuple[bytes, IcePath]]) -> None:
        """
        Write datagrams; what the system does not take is lost.
        """
        for data, (base, remote) in datagrams:
            found = self._ports.get(base)
            if found is None or found[0].transport is None:
                continue
            try:
                found[0].transport.write(data, (remote.host, remote.port))
            except OSError:
                self.unsent += 1

    def _deliver(self, event: Event) -> None:
        """
        Act on what the engine reports.
        """
        match event:
            case Received(data):
                self._call(partial(self._on_data, data))
            case Selected():
                self._selected = event
                waiting, self._waiting = self._waiting, []
                for each in waiting:
                    each.callback(event)
            case Failed(reason):
                self._end(NoPathError(reason, pairs=len(self.agent.remote_candidates)))
            case ConsentLost():
                self._selected = None
                self._call(partial(self._on_lost, "the peer has not answered for 30 s"))
            case _:  # a role is the two agents' own affair
                pass

    def _call(self, call: Callable[[], object]) -> None:
        """
        Call the program; that it fails is no reason to lose the connection.
        """
        try:
            call()
        except Exception:
            self._log.failure("what an ICE connection reports could not be taken")

    def _end(self, error: NoPathError) -> None:
        """
        Tell those who wait that there will be nothing.
        """
        waiting, self._waiting = self._waiting, []
        for each in waiting:
            each.errback(error)
