# -*- test-case-name: tests.network.relay.test_server -*-
"""
The WebSocket connections of a relay: of nodes, and of the legs of sessions.

Autobahn does the opening and closing handshakes and the pings; what a message
means is decided by the rules behind L{RelayServer<atmosphere.network.relay.server.RelayServer>}.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from autobahn.twisted.websocket import WebSocketServerProtocol
from autobahn.websocket.types import ConnectionDeny, ConnectionRequest
from twisted.internet.interfaces import IDelayedCall, IPushProducer
from twisted.internet.protocol import connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from typing_extensions import override
from zope.interface import implementer

from atmosphere.addresses import TransportAddress

from .frames import MAX_HELLO, MAX_MESSAGE, SUBPROTOCOL
from .framing import FrameCutter, message_header
from .gate import Pass
from .line import Line
from .session import Leg, Message, redacted
from .streams import MessageStream

if TYPE_CHECKING:
    from .server import RelayServer

__all__ = [
    "NodeConnection",
    "PairConnection",
    "RelayConnection",
]

_WRITE_SIZE = 64 * 1024


@implementer(IPushProducer)
class RelayConnection(MessageStream, WebSocketServerProtocol):  # type: ignore[misc]  # Autobahn types `peer` twice
    """
    What the connections of a relay have in common.

    @ivar place: what the connection counts as.
    """

    def __init__(self, server: RelayServer, place: Pass) -> None:
        super().__init__()
        self.server = server
        self.place = place
        self._holds: tuple[str, ...] = ()
        self._is_full = False
        self._linger: IDelayedCall | None = None
        self.cutter = FrameCutter(MAX_MESSAGE, is_masked=True)

    @property
    def is_established(self) -> bool:
        """
        Whether messages go to and fro.
        """
        return bool(self.state == self.STATE_OPEN)

    @override
    def onOpen(self) -> None:
        """
        Ask the transport to tell when it is full.
        """
        self.transport.registerProducer(self, True)

    @override
    def fail(self, code: int, reason: str) -> None:
        """
        End a connection that broke the protocol, and count it.
        """
        self.server.counters.protocol_errors += 1
        super().fail(code, reason)

    @override
    def did_receive(self) -> None:
        """
        Write what came for others.
        """
        self.server.pump()

    def hold(self, reason: str) -> None:
        """
        Read no further, until every reason is released.
        """
        if not self.is_established or reason in self._holds:
            return
        if not self._holds:
            self.transport.pauseProducing()
        self._holds += (reason,)

    def release(self, reason: str) -> None:
        """
        Take back one reason not to read.
        """
        if reason in self._holds:
            self._holds = tuple(each for each in self._holds if each != reason)
            if not self._holds and not getattr(self.transport, "disconnecting", False):
                self.transport.resumeProducing()

    def finish(self, code: int, reason: str, *, is_stuck: bool = False) -> None:
        """
        Close the connection.

        @param is_stuck: nothing can be written to it: do not wait.
        """
        if is_stuck:
            self.transport.abortConnection()
        elif self.is_established:
            if self._holds:
                self._holds = ()
                self.transport.resumeProducing()
            self.sendClose(code, reason[:100])

    @override
    def dropConnection(self, abort: bool = False) -> None:
        """
        Hang up, and do not wait for ever until the other side does.
        """
        super().dropConnection(abort)
        if not abort and self._linger is None:
            patience = self.server.config.limits.pair_close
            self._linger = self.server.call_later(patience, self.transport.abortConnection)

    @property
    def is_full(self) -> bool:
        """
        Whether nothing can be written at present.
        """
        return self._is_full

    def pauseProducing(self) -> None:
        """
        Note that the transport is full.
        """
        self._is_full = True

    def resumeProducing(self) -> None:
        """
        Note that the transport has room again.
        """
        self._is_full = False

    def stopProducing(self) -> None:
        """
        Note nothing: the transport tells of its end by C{connectionLost}.
        """

    @override
    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """
        Forget the timers.
        """
        super().connectionLost(reason)
        self.forget_timers()
        if self._linger is not None and self._linger.active():
            self._linger.cancel()


class NodeConnection(RelayConnection):
    """
    A node at the switchboard.

    @ivar observed: the node's address as we see it.
    @ivar line: its place at the switchboard, once the connection is open.
    """

    def __init__(self, server: RelayServer, observed: TransportAddress, place: Pass) -> None:
        super().__init__(server, place)
        self.observed = observed
        self.line: Line | None = None
        self.cutter.limit = MAX_HELLO

    @override
    def onConnect(self, request: ConnectionRequest) -> str:
        """
        Agree on the subprotocol.

        @raise ConnectionDeny: the client does not speak it.
        """
        if SUBPROTOCOL not in request.protocols:
            raise ConnectionDeny(400, f"the subprotocol here is {SUBPROTOCOL}")
        return SUBPROTOCOL

    @override
    def onOpen(self) -> None:
        """
        Begin with the challenge.
        """
        super().onOpen()
        self.line = self.server.node_opened(self)
        self.server.pump()

    @override
    def receive_message(self, payload: bytes | bytearray, is_binary: bool) -> None:
        """
        Hand a frame to the switchboard.
        """
        if self.line is None:
            return
        if is_binary:
            self.server.switchboard.receive_message(self.line, payload, self.server.clock.now())
        else:
            self.fail(1003, "frames are binary")

    def welcomed(self) -> None:
        """
        Take frames of full size from now on.
        """
        self.cutter.limit = MAX_MESSAGE

    def flush(self) -> None:
        """
        Write what waits, as long as the transport takes it.
        """
        line = self.line
        while line is not None and self.is_established and not self._is_full:
            messages = line.take(_WRITE_SIZE)
            if not messages:
                return
            pieces: list[bytes | bytearray] = []
            for message in messages:
                pieces.append(message_header(len(message)))
                pieces.append(message)
            self.transport.write(b"".join(pieces))

    @override
    def pauseProducing(self) -> None:
        """
        Let the switchboard keep what comes for this node.
        """
        super().pauseProducing()
        if self.line is not None:
            self.server.switchboard.pause(self.line, self.server.clock.now())

    @override
    def resumeProducing(self) -> None:
        """
        Take what the switchboard has kept.
        """
        super().resumeProducing()
        if self.line is not None:
            self.server.switchboard.resume(self.line)
            self.server.pump()

    @override
    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """
        Leave the switchboard.
        """
        super().connectionLost(reason)
        line, self.line = self.line, None
        if line is not None:
            self.server.node_left(line, self.place)
        else:
            self.server.gate.leave(self.place)


class PairConnection(RelayConnection):
    """
    A leg of a session.
    """

    _log = Logger()

    def __init__(self, server: RelayServer, session_id: str, place: Pass) -> None:
        super().__init__(server, place)
        self._session_id = session_id
        self._leg: Leg | None = None
        self._throttle: IDelayedCall | None = None

    @override
    def onConnect(self, request: ConnectionRequest) -> None:
        """
        Take a place in the session.

        @raise ConnectionDeny: there is none.
        """
        server, sessions = self.server, self.server.sessions
        if server.is_draining:
            raise ConnectionDeny(503, "the relay goes down")
        if not server.config.serves_anyone:
            raise ConnectionDeny(403, "this relay serves members only")
        if not sessions.has_first(self._session_id) and not sessions.has_pair(self._session_id):
            if not server.gate.wait_for_partner(self.place):
                raise ConnectionDeny(429, "too many sessions without a partner")
        self._leg = sessions.join(self._session_id, server.clock.now())
        if self._leg is None:
            raise ConnectionDeny(409, "the session has two clients already")

    @override
    def onOpen(self) -> None:
        """
        Write what the partner has sent before.
        """
        super().onOpen()
        self.server.gate.settle(self.place)
        if self._leg is not None:
            self._log.debug("a client of session {session}", session=redacted(self._session_id))
            self.server.leg_opened(self._leg, self)

    @override
    def receive_message(self, payload: bytes | bytearray, is_binary: bool) -> None:
        """
        Pass a message to the partner, or keep it.
        """
        leg = self._leg
        if leg is None:
            return
        sessions, now = self.server.sessions, self.server.clock.now()
        message = Message(payload, is_binary)
        target = sessions.receive(leg, message, now)
        wait = sessions.charge(leg, len(payload), now)
        if wait > 0:
            self._throttle_for(wait)
        if target is not None:
            partner = self.server.connection_of(target)
            if partner is not None:
                partner.write_message(message)
        elif sessions.is_full(leg):
            self.hold("kept")

    def _throttle_for(self, wait: float) -> None:
        """
        Read no further for some time.
        """
        self.hold("rate")
        if self._throttle is not None and self._throttle.active():
            self._throttle.reset(wait)
        else:
            self._throttle = self.server.call_later(wait, self.release, "rate")

    def write_message(self, message: Message) -> None:
        """
        Write a message of the partner.
        """
        if self.is_established:
            header = message_header(len(message.payload), is_binary=message.is_binary)
            self.transport.write(header + message.payload)

    def _partner(self) -> PairConnection | None:
        """
        Find the partner's connection, if it is there.
        """
        if self._leg is None or self._leg.partner is None:
            return None
        return self.server.connection_of(self._leg.partner)

    @override
    def pauseProducing(self) -> None:
        """
        Read no more from the partner.
        """
        super().pauseProducing()
        partner = self._partner()
        if self._leg is not None:
            self.server.sessions.block(self._leg, self.server.clock.now())
        if partner is not None:
            partner.hold("partner")
        self.server.pump()

    @override
    def resumeProducing(self) -> None:
        """
        Read from the partner again.
        """
        super().resumeProducing()
        partner = self._partner()
        if self._leg is not None:
            self.server.sessions.unblock(self._leg)
        if partner is not None:
            partner.release("partner")
        self.server.pump()

    @override
    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """
        Leave the session.
        """
        super().connectionLost(reason)
        if self._throttle is not None and self._throttle.active():
            self._throttle.cancel()
        leg, self._leg = self._leg, None
        if leg is not None:
            self.server.leg_left(leg, self.place)
        else:
            self.server.gate.leave(self.place)
