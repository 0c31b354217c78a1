# -*- test-case-name: tests.network.nat.test_hole_punch -*-
"""
A UDP socket that punches holes, and sends and receives through them.

L{HolePunch} is an ordinary C{DatagramProtocol} for C{reactor.listenUDP}. When
what is sent, and when a hole is there, is decided in
L{atmosphere.network.nat.punching}. A STUN client shares the socket, for what STUN
learns about a mapping is true only for the socket that asked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial

from twisted.internet.defer import Deferred, fail
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from typing_extensions import override

from atmosphere.addresses import AddressKind, TransportAddress, address_kind
from atmosphere.errors import NoPathError
from atmosphere.network.stun.client import StunClient
from atmosphere.network.udp.port import EngineProtocol

from .punching import Established, Event, Failed, Lost, Punching, PunchLimits, Received

__all__ = ["Deliver", "HolePunch"]

#: Takes the datagrams of a peer; C{None} when the hole is gone.
Deliver = Callable[[bytes | None], None]


class HolePunch(EngineProtocol[Event]):
    """
    Punches holes from one socket.

    @ivar stun: asks STUN servers from the same socket.
    """

    _log = Logger()

    def __init__(
        self,
        reactor: IReactorTime,
        entropy: Callable[[int], bytes],
        limits: PunchLimits | None = None,
    ) -> None:
        super().__init__(reactor)
        self.stun = StunClient(reactor, entropy)
        self._engine = Punching(entropy, limits)
        self._is_ipv6 = False
        self._waiting: dict[TransportAddress, list[Deferred[Established]]] = {}
        self._deliver: dict[TransportAddress, Deliver] = {}

    @property
    def dropped(self) -> int:
        """
        How many datagrams came from strangers, or beyond the limits.
        """
        return self._engine.dropped

    def punch(
        self, remote: TransportAddress, deliver: Deliver, timeout: float = 10.0
    ) -> Deferred[Established]:
        """
        Punch a hole to a peer, which does the same towards us.

        @param remote: where the peer is seen to send from.
        @param deliver: takes its datagrams from the moment on that the hole is
            there; replaces whoever took them before.
        @param timeout: seconds; a little longer if the peer's checks still come.
        @return: fires when a check of ours was answered, at once if the hole
            is there; fails with L{NoPathError}. Cancelling gives the hole up if
            nobody else waits for it.
        """
        driver = self._driver
        if driver is None:
            return fail(NoPathError("the socket is not open"))
        if remote.port == 0 or address_kind(remote.packed) is AddressKind.NEVER:
            return fail(NoPathError(f"{remote} is no address of a host"))
        if self._is_ipv6 is not remote.is_ipv6:
            return fail(NoPathError(f"the socket is of another address family than {remote}"))
        if not self._engine.punch(remote, driver.now(), timeout):
            return fail(NoPathError("too many holes from one socket"))
        self._deliver[remote] = deliver
        done: Deferred[Established] = Deferred(partial(self._cancelled, remote))
        if self._engine.is_established(remote):
            done.callback(Established(remote, None, None))
        else:
            self._waiting.setdefault(remote, []).append(done)
        driver.pump()
        return done

    def _cancelled(self, remote: TransportAddress, done: Deferred[Established]) -> None:
        """
        Note that somebody does not wait any more.
        """
        waiting = self._waiting.get(remote, [])
        if done in waiting:
            waiting.remove(done)
        if not waiting:
            self.forget(remote)

    def establish(self, remote: TransportAddress) -> None:
        """
        Believe the caller that a hole is there which is being punched.
        """
        if self._driver is not None:
            self._engine.establish(remote, self._driver.now())
            self._driver.pump()

    def is_established(self, remote: TransportAddress) -> bool:
        """
        Say whether there is a hole to a peer.
        """
        return self._driver is not None and self._engine.is_established(remote)

    def send(self, remote: TransportAddress, data: bytes) -> bool:
        """
        Send a datagram through a hole; like any, it may be lost.

        @return: whether there is a hole.
        @raise ValueError: too long for a datagram, or it looks like a check.
        """
        if self._driver is None or not self._engine.send(remote, data):
            return False
        self._driver.pump()
        return True

    def forget(self, remote: TransportAddress) -> None:
        """
        Give up the hole to a peer, or the try to make one.
        """
        self._engine.forget(remote)
        deliver = self._deliver.pop(remote, None)
        waiting = self._waiting.pop(remote, [])
        self._fail(waiting, NoPathError(f"the way to {remote} was given up"))
        self._hand_on(remote, deliver, None)
        if self._driver is not None:
            self._driver.pump()

    @override
    def startProtocol(self) -> None:
        """
        Begin: there is a socket.
        """
        self._drive(self._engine)
        if self.transport is not None:
            self.stun.makeConnection(self.transport)
            self._is_ipv6 = ":" in self.transport.getHost().host

    @override
    def stopProtocol(self) -> None:
        """
        End: the socket is gone, and so are all holes.
        """
        self._stop_driving()
        if self.stun.transport is not None:
            self.stun.doStop()
        waiting, self._waiting = self._waiting, {}
        deliver, self._deliver = self._deliver, {}
        for remote in deliver:
            self._engine.forget(remote)
        for each in waiting.values():
            self._fail(each, NoPathError("the socket was closed"))
        for remote, function in deliver.items():
            self._hand_on(remote, function, None)

    @override
    def datagramReceived(self, datagram: bytes, addr: tuple[str, int]) -> None:
        """
        Take what a STUN server or a peer sent; all else is dropped.
        """
        if self.stun.awaits(datagram):
            self.stun.datagramReceived(datagram, addr)
        else:
            super().datagramReceived(datagram, addr)

    @override
    def _event_reported(self, event: Event) -> None:
        """
        Tell whom it concerns.
        """
        remote = event.remote
        match event:
            case Established():
                for done in self._waiting.pop(remote, []):
                    done.callback(event)
            case Received(_, data):
                self._hand_on(remote, self._deliver.get(remote), data)
            case Failed(_, checks, was_heard):
                self._deliver.pop(remote, None)
                heard = "its checks came, but no answer" if was_heard else "nothing came from there"
                text = f"no hole to {remote}: {checks} checks were sent, {heard}"
                self._fail(self._waiting.pop(remote, []), NoPathError(text, pairs=1))
            case Lost():
                self._hand_on(remote, self._deliver.pop(remote, None), None)

    def _fail(self, waiting: Iterable[Deferred[Established]], error: NoPathError) -> None:
        """
        Tell those who wait that there will be nothing.
        """
        for done in waiting:
            if not done.called:
                done.errback(error)

    def _hand_on(
        self, remote: TransportAddress, function: Deliver | None, data: bytes | None
    ) -> None:
        """
        Hand a datagram to whoever takes those of a peer.
        """
        if function is None:
            return
        try:
            function(data)
        except Exception:
            self._log.failure("a datagram from {remote} could not be taken", remote=str(remote))
