# -*- test-case-name: tests.network.relay.test_server -*-
"""
The relay's WebSocket server: the shell around the switchboard and the sessions.

L{RelayServer} is told by its connections what came in, asks the rules what to
do about it, and does it. It owns the one timer.
"""

from __future__ import annotations

import socket
from collections.abc import Callable

from autobahn.twisted.websocket import WebSocketServerFactory
from twisted.internet.interfaces import IDelayedCall, IReactorTime, ITransport
from twisted.logger import Logger

from atmosphere.addresses import TransportAddress
from atmosphere.engine_driver import EngineClock
from atmosphere.identity import NodeID
from atmosphere.rate import TokenBucket

from .connection import NodeConnection, PairConnection, RelayConnection
from .frames import MAX_MESSAGE, SUBPROTOCOL, Hello
from .gate import Gate, Pass
from .limits import Counters, RelayConfig
from .line import Admission, Closed, Line, Resumed, Throttled, Welcomed
from .session import Ended, Leg, Sessions
from .streams import BatchedTimer, send_at_once
from .switchboard import Switchboard

__all__ = ["RelayServer"]

_NOT_SENT_LOW_WATER = 64 * 1024


class RelayServer:
    """
    A relay without its port: makes the protocols of its connections.

    @ivar clock: engine time.
    @ivar gate: who is connected.
    """

    log = Logger()

    def __init__(
        self,
        reactor: IReactorTime,
        config: RelayConfig,
        *,
        entropy: Callable[[int], bytes],
        wall: Callable[[], float],
        admit: Callable[[Hello], Admission],
        stun_ports: Callable[[], tuple[int, ...]] = lambda: (),
    ) -> None:
        self.config = config
        self.counters = Counters()
        self.gate = Gate(config)
        self.clock = EngineClock(reactor)
        self.switchboard = Switchboard(
            config,
            entropy=entropy,
            wall=wall,
            admit=admit,
            counters=self.counters,
            stun_ports=stun_ports,
        )
        self.sessions = Sessions(config.limits, self.counters, self._leg_bucket)
        self.is_draining = False
        self._reactor = reactor
        self._wall = wall
        self._nodes: dict[Line, NodeConnection] = {}
        self._legs: dict[Leg, PairConnection] = {}
        self._timer: IDelayedCall | None = None
        self._due: float | None = None
        self._is_pumping = False
        self._node_factory = self._make_factory(protocols=[SUBPROTOCOL], ping_interval=0)
        self._pair_factory = self._make_factory(
            protocols=[], ping_interval=config.limits.ping_interval
        )

    def _make_factory(
        self, *, protocols: list[str], ping_interval: float
    ) -> WebSocketServerFactory:
        """
        Set Autobahn up: sizes, time-outs, and our clock.
        """
        limits = self.config.limits
        factory = WebSocketServerFactory(reactor=self._reactor, protocols=protocols, server="")
        factory._batched_timer = BatchedTimer(self._reactor)  # noqa: SLF001  # else the global reactor
        factory.setProtocolOptions(
            versions=[13],
            webStatus=False,
            maxFramePayloadSize=MAX_MESSAGE,
            maxMessagePayloadSize=MAX_MESSAGE,
            openHandshakeTimeout=limits.hello_timeout,
            closeHandshakeTimeout=limits.pair_close,
            autoPingInterval=ping_interval,
            autoPingTimeout=limits.silence - limits.ping_interval if ping_interval else 0,
            serveFlashSocketPolicy=False,
        )
        return factory

    def _leg_bucket(self) -> TokenBucket | None:
        """
        Make the measure of how fast an anonymous client may send.
        """
        config, limits = self.config, self.config.limits
        if config.rate:
            return TokenBucket(config.rate, 2 * config.rate)
        if config.is_loopback_only or not limits.rate:
            return None
        return TokenBucket(limits.rate, limits.burst)

    def build_protocol(
        self, session_id: str | None, observed: TransportAddress, place: Pass
    ) -> RelayConnection:
        """
        Make the protocol of a connection that asked for WebSocket.

        @param session_id: the session to join; C{None} for the switchboard.
        @param observed: who it is, as far as we see.
        @param place: what it counts as.
        """
        connection: RelayConnection
        if session_id is None:
            connection = NodeConnection(self, observed, place)
            connection.factory = self._node_factory
        else:
            connection = PairConnection(self, session_id, place)
            connection.factory = self._pair_factory
        return connection

    def tune(self, transport: ITransport) -> None:
        """
        Keep the kernel from being a queue of megabytes, and from waiting.
        """
        send_at_once(transport)
        handle = getattr(transport, "socket", None)
        option = getattr(socket, "TCP_NOTSENT_LOWAT", None)
        if handle is not None and option is not None:
            handle.setsockopt(socket.IPPROTO_TCP, option, _NOT_SENT_LOW_WATER)

    def call_later(
        self, delay: float, function: Callable[..., object], *args: object
    ) -> IDelayedCall:
        """
        Call a function later, on the relay's clock.
        """
        return self._reactor.callLater(delay, function, *args)

    def node_opened(self, connection: NodeConnection) -> Line:
        """
        Challenge a node that has just connected.
        """
        line = self.switchboard.connect(connection.observed, self.clock.now())
        self._nodes[line] = connection
        return line

    def node_left(self, line: Line, place: Pass) -> None:
        """
        Note that a node's connection has ended.
        """
        self._nodes.pop(line, None)
        self.switchboard.disconnect(line, self.clock.now())
        self.gate.leave(place)
        self.pump()

    def leg_opened(self, leg: Leg, connection: PairConnection) -> None:
        """
        Note that a client of a session can be written to.
        """
        self._legs[leg] = connection
        for message in self.sessions.open(leg):
            connection.write_message(message)
        if leg.partner is not None:
            self.gate.found_partner(connection.place)
            partner = self._legs.get(leg.partner)
            if partner is not None:
                self.gate.found_partner(partner.place)
                partner.release("kept")
        self.pump()

    def leg_left(self, leg: Leg, place: Pass) -> None:
        """
        Note that a client of a session has gone: its partner is closed.
        """
        self._legs.pop(leg, None)
        partner = self.sessions.leave(leg)
        if partner is not None and partner in self._legs:
            self._legs[partner].finish(1000, "the other one has left")
        self.gate.leave(place)
        self.pump()

    def connection_of(self, leg: Leg) -> PairConnection | None:
        """
        Find a leg's connection.
        """
        return self._legs.get(leg)

    def pump(self) -> None:
        """
        Do what the rules ask for, write what waits, and set the timer.
        """
        if self._is_pumping:
            return
        self._is_pumping = True
        try:
            switchboard = self.switchboard
            while True:
                event = switchboard.next_event()
                if event is not None:
                    self._do(event)
                    continue
                ready = switchboard.ready_lines()
                if not ready:
                    break
                for line in ready:
                    connection = self._nodes.get(line)
                    if connection is not None:
                        connection.flush()
        finally:
            self._is_pumping = False
        self._rearm()

    def _do(self, event: Welcomed | Throttled | Resumed | Closed) -> None:
        """
        Do one thing that the switchboard asks for.
        """
        connection = self._nodes.get(event.line)
        if connection is None:
            return
        match event:
            case Welcomed(line):
                connection.welcomed()
                if line.admission.is_proven:
                    self.gate.prove(connection.place)
                else:
                    self.gate.settle(connection.place)
            case Throttled():
                connection.hold("rate")
            case Resumed():
                connection.release("rate")
            case Closed(_, code, reason):
                is_stuck = connection.is_full
                connection.flush()
                connection.finish(code, reason, is_stuck=is_stuck)

    def _rearm(self) -> None:
        """
        Set the one timer to the earliest deadline.
        """
        times = (self.switchboard.get_timer(), self.sessions.get_timer())
        due = min((time for time in times if time is not None), default=None)
        if due == self._due:
            return
        self._due = due
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if due is not None:
            delay = max(0.0, due - self.clock.now())
            self._timer = self._reactor.callLater(delay, self._timer_fired)

    def _timer_fired(self) -> None:
        """
        Tell the rules that a deadline came.
        """
        self._timer = self._due = None
        now = self.clock.now()
        self.switchboard.handle_timer(now)
        self._end(self.sessions.handle_timer(now))
        self.pump()

    def _end(self, ended: list[Ended]) -> None:
        """
        Close legs of sessions.
        """
        for each in ended:
            connection = self._legs.get(each.leg)
            if connection is not None:
                connection.finish(each.code, each.reason, is_stuck=connection.is_full)

    def expel(self, node: NodeID, reason: str) -> None:
        """
        End the connections of a node that may be here no longer, such as a revoked member.

        @param reason: one line, which the node is told.
        """
        self.switchboard.expel(node, reason, self.clock.now())
        self.pump()

    def drain(self, seconds: int, alternatives: tuple[str, ...] = ()) -> None:
        """
        Tell the nodes that the relay goes down, and take nobody any more.
        """
        self.is_draining = True
        self.switchboard.drain(seconds, alternatives)
        self.pump()

    def shut_down(self) -> None:
        """
        Close every connection.
        """
        self.is_draining = True
        self.switchboard.shut_down(self.clock.now())
        self._end(self.sessions.end_all())
        self.pump()

    @property
    def active(self) -> int:
        """
        How many nodes and sessions are served at present.
        """
        return self.switchboard.welcomed + self.sessions.active

    def health(self) -> dict[str, object]:
        """
        Say how the relay is, as C{/health} shows it.
        """
        status = "draining" if self.is_draining else "ok"
        return {"status": status, "sessions": self.active, "timestamp": self._wall()}

    def statistics(self) -> dict[str, object]:
        """
        Say what the relay has done, as C{/stats} shows it: no IDs, no addresses.
        """
        counters = self.counters
        return {
            "total_sessions": counters.sessions + counters.welcomed,
            "active_sessions": self.active,
            "total_bytes_relayed": counters.session_bytes_relayed + counters.node_bytes_relayed,
            "nodes": self.switchboard.welcomed,
            "pairs": self.sessions.active,
            "connections": self.gate.total,
            **counters.as_dict(),
        }
