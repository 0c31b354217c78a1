# -*- test-case-name: tests.network.quic.test_core -*-
"""
A link as an engine: QUIC, proof, streams with credit, and the ways beneath.

The protocol is in C{docs/protocols/link.md}. The engine takes datagrams with
the way by which they came, and hands out datagrams with the way that they are
to take; QUIC never learns of ways.
"""

from __future__ import annotations

from collections import deque
from itertools import repeat

from qh3.quic import events as quic_events

from atmosphere import wire
from atmosphere.errors import AtmosphereError, DecodeError
from atmosphere.identity import NodeID, NodeKey
from atmosphere.network.path.paths import Paths
from atmosphere.network.path.reports import PredictionHeard, PredictionSaid
from atmosphere.network.path.ways import Way
from atmosphere.text import escape_peer_text

from . import core_events as events
from .adapter import QUICConnection, Terminated
from .core_events import CloseCode, Phase
from .handshake import (
    MAX_MESSAGE_LENGTH,
    Credit,
    Message,
    Offer,
    Prediction,
    Proof,
    Refused,
    Welcome,
    decode_datagram,
    decode_message,
    encode_datagram,
    encode_message,
    make_proof,
    proof_holds,
)
from .limits import HANDSHAKE_TIMEOUT, PROOF_TIMEOUT, ControlBudget, HeldEvents, overdue_text
from .link_size import LinkSize
from .stream_table import StreamTable

__all__ = ["CloseCode", "LinkCore", "Phase"]

CONTROL_STREAM = 0
MAX_PENDING = 16_384
MAX_UNREAD = 16_777_216
_UNPROVEN = (Phase.HANDSHAKE, Phase.PROOF_AWAITED)


class LinkCore:
    """
    One end of one link.

    @ivar peer: who the other end is: wanted, or proven.
    @ivar paths: what is known of each way to the peer.
    @ivar first_way: by which the first datagram came, whoever sent it.
    @ivar streams: the streams and their credit.
    @ivar has_failed: the QUIC library failed, and the link with it.
    @ivar refusal: why the listener does not want us, if it has said so.
    """

    def __init__(
        self,
        quic: QUICConnection,
        paths: Paths,
        key: NodeKey,
        instance: bytes,
        *,
        now: float,
        peer: NodeID | None = None,
        chain: bytes = b"",
        generation: int = 0,
        offer: bytes = b"",
    ) -> None:
        """
        @param peer: for a dialler, the node ID that the listener must have; with
            C{None} it may have any, and is judged by the chain in its welcome.
        @param chain: for a dialler, the membership chain that it shows.
        @param offer: for a dialler, what its path layer tells the listener's;
            it goes with the proof, so that both sides can check at once.
        """
        self.quic = quic
        self.paths = paths
        self.peer = peer
        self.generation = generation
        self.phase = Phase.HANDSHAKE
        self._key = key
        self._instance = instance
        self._chain = chain
        self._offer = offer
        self._deadline: float | None = now + HANDSHAKE_TIMEOUT
        self._events: deque[events.Event] = deque()
        self._reader = wire.MessageCutter("control", MAX_MESSAGE_LENGTH)
        self._pending: list[bytes] = []
        self._held = HeldEvents(is_dialler=quic.is_dialler)
        self._control = ControlBudget()
        self.first_way: Way | None = None
        self._heard_by: Way | None = None
        self._nudges: Way | None = None
        self.refusal: str | None = None
        self.has_failed = self._has_ended = False
        self._now = now
        self._size = LinkSize(quic, paths)
        self.streams = StreamTable(quic, self._events, self._grant, self._control.earn)
        if quic.is_dialler:
            quic.connect(now)

    # The five verbs.

    def receive_datagram(self, data: bytes, way: Way, now: float) -> None:
        """
        Take a datagram that came by a way: a connectivity check, or QUIC's.
        """
        self._now = now
        if data[0] < 4:
            self.paths.receive_datagram(data, way, now)
            return
        if self.phase is Phase.HANDSHAKE:
            if self.first_way is None and self.paths.allows(way):
                self.first_way = way
            if way != self.first_way and not self.quic.is_dialler:
                return
        if way is not self._heard_by:
            self._take_pending()
            self._heard_by = way
        # Applications that do not read hold QUIC up, in the end, by loss: each
        # stream has its credit, but there may be thousands of them.
        if len(self._pending) < MAX_PENDING and self.streams.unread < MAX_UNREAD:
            self._pending.append(data)

    def datagrams_to_send(self, now: float) -> list[tuple[bytes, Way]]:
        """
        Hand out QUIC's datagrams, each once for every way it is to take, and
        the path layer's.
        """
        self._now = now
        if self._pending or self.quic.has_news:
            self._absorb()
        self.streams.flush()
        if self._size.is_large and self.phase is Phase.CONNECTED:
            self._size.fit(now)
        out: list[tuple[bytes, Way]] = []
        datagrams = self.quic.datagrams_to_send(now)
        while datagrams:
            for way in self.paths.routes(now):
                out += zip(datagrams, repeat(way))
            datagrams = self.quic.datagrams_to_send(now) if self.streams.flush() else []
        if self.phase is not Phase.CLOSED:
            out += self.paths.datagrams_to_send(now)
        return out

    def get_timer(self) -> float | None:
        """
        Say when L{handle_timer} is due.
        """
        if self._has_ended:
            return None
        due = self.quic.get_timer()
        of_paths = None if self.phase is Phase.CLOSED else self.paths.get_timer()
        for other in (self._deadline, of_paths):
            if other is not None and (due is None or other < due):
                due = other
        return due

    def handle_timer(self, now: float) -> None:
        """
        Do what is due.
        """
        self._now = now
        quic_due = self.quic.get_timer()
        if quic_due is not None and quic_due <= now:
            self.quic.handle_timer(now)
        if self.phase is not Phase.CLOSED:
            self.paths.handle_timer(now)
        if self._deadline is not None and now >= self._deadline:
            self._deadline = None
            if self.phase is Phase.CLOSED:
                self._end()
            else:
                self.close(CloseCode.REFUSED, overdue_text(self.phase))

    def next_event(self) -> events.Event | None:
        """
        Hand out the oldest event.
        """
        if not self._events:
            if self._pending or self.quic.has_news:
                self._absorb()
            if self.paths.events:
                self._collect()
        return self._events.popleft() if self._events else None

    # What the Twisted side asks for.

    def welcome(self, chain: bytes) -> None:
        """
        Take the dialler in, as a listener, after L{events.Proved}.
        """
        if self.phase is Phase.PROVED:
            self._send(Welcome(self._instance, chain))
            self._connected()

    def confirm(self) -> None:
        """
        Agree with the listener's welcome, as a dialler, after L{events.Welcomed}.
        """
        if self.phase is Phase.PROVED:
            self._connected()

    def refuse(self, reason: str) -> None:
        """
        Turn the dialler away, as a listener, with a reason that it may read.
        """
        if self.phase is Phase.PROVED:
            self._send(Refused(reason[:200]))
            self.close(CloseCode.REFUSED, reason)

    def send_offer(self, payload: bytes) -> None:
        """
        Tell the peer's path layer something.
        """
        if self.phase is Phase.CONNECTED:
            self._send(Offer(payload))

    def send_datagram(self, service: str, data: bytes) -> bool:
        """
        Send a datagram that may be lost.

        @return: whether it was sent: connected, and not too long.
        """
        datagram = encode_datagram(service, data)
        if self.phase is not Phase.CONNECTED or datagram is None:
            return False
        self.quic.send_datagram(datagram)
        return True

    def nudge(self) -> None:
        """
        Have QUIC find out at once what was lost: the way was changed, or came back.

        Its own timers have backed off meanwhile. What it sends now makes the
        peer acknowledge; but the peer may still answer by the old way, so we
        ask once more when we first hear it by the new one.
        """
        self.quic.send_ping(self._now)
        self._nudges = self.paths.active

    def close(self, code: int, reason: str) -> None:
        """
        Close the link. L{events.Closed} comes at once, L{events.Ended} when
        the peer has had time to hear of it.
        """
        if self.phase is Phase.CLOSED:
            return
        self.quic.close(code, reason)
        self._close(reason)
        # QUIC drains for three probe time-outs; a link that never had a round
        # trip would take a second and a half over it.
        self._deadline = self._now + 3.0

    # What happens inside.

    def _close(self, reason: str) -> None:
        """
        Report the end of the link, once.
        """
        if self.phase is not Phase.CLOSED:
            self.phase = Phase.CLOSED
            self._held.take()
            self._events.append(events.Closed(reason))

    def _end(self) -> None:
        """
        Report that nothing more will come, once.
        """
        if not self._has_ended:
            self._has_ended = True
            self._deadline = None
            self._events.append(events.Ended())

    def _connected(self) -> None:
        """
        Open the streams that were held back.
        """
        self.phase = Phase.CONNECTED
        self._deadline = None
        self.streams.end_early()
        self.paths.welcomed(self._now)
        for event in self._held.take():
            self._act_on(event)
        self.streams.report_all()

    def _send(self, message: Message) -> None:
        """
        Put a message on the control stream.
        """
        self.quic.send_stream(CONTROL_STREAM, encode_message(message))

    def _grant(self, stream_id: int, limit: int) -> None:
        """
        Let the peer send more on a stream.
        """
        self._send(Credit(stream_id, limit))

    def _absorb(self) -> None:
        """
        Give QUIC the datagrams that came since the last time, all at once.
        """
        if self._pending:
            self._take_pending()
        while (event := self.quic.next_event()) is not None:
            self._act_on(event)
        self.streams.report_all()

    def _take_pending(self) -> None:
        """
        Give QUIC what came by one way; if any of it was the peer's, so is the way.
        """
        pending, self._pending, way = self._pending, [], self._heard_by
        if way is None or not pending or not self.quic.receive_datagrams(pending, self._now):
            return
        self.paths.datagram_received(way, self._now)
        if self.phase in _UNPROVEN and self._held.is_too_much(pending):
            self.close(CloseCode.VIOLATED, "too much was sent before the proof (link §3)")
        if self._nudges is not None and way == self._nudges:
            self._nudges = None
            self.quic.send_ping(self._now)

    def _collect(self) -> None:
        """
        Report what the path layer has to say.
        """
        while (event := self.paths.next_event()) is not None:
            if self.phase is Phase.CONNECTED and isinstance(event, PredictionSaid):
                self._send(Prediction(event.payload))
            elif self.phase is Phase.CONNECTED:
                self._events.append(events.PathReported(event))

    def _act_on(self, event: quic_events.QuicEvent | Terminated) -> None:
        """
        Act on one event of QUIC's; close the link if the peer broke the protocol.
        """
        try:
            if isinstance(event, quic_events.StreamDataReceived) and event.stream_id:
                self._stream_event(event)  # as nearly all are
            else:
                self._handle(event)
        except DecodeError as error:
            self.close(CloseCode.VIOLATED, str(error))

    def _handle(self, event: quic_events.QuicEvent | Terminated) -> None:
        """
        Act on one event of QUIC's.

        @raise DecodeError: the peer broke the protocol.
        """
        match event:
            case Terminated():
                self.has_failed = event.is_ours
                reason = escape_peer_text(event.reason, 160)
                if event.code == CloseCode.REFUSED and self.phase is not Phase.CONNECTED:
                    self.refusal, reason = reason, f"it refused: {reason}"
                self._close(reason)
                self._end()
            case quic_events.HandshakeCompleted():
                self._handshake_completed(event.alpn_protocol)
            case quic_events.StreamDataReceived():
                self._control_received(event.data, event.end_stream)
            case (
                quic_events.StreamReset(stream_id=0) | quic_events.StopSendingReceived(stream_id=0)
            ):
                raise DecodeError("the control stream was given up", section="link §2")
            case quic_events.StreamReset() | quic_events.StopSendingReceived():
                self._stream_event(event)
            case quic_events.ConnectionIdIssued():
                self._events.append(events.RouteChanged(event.connection_id, True))
            case quic_events.ConnectionIdRetired():
                self._events.append(events.RouteChanged(event.connection_id, False))
            case quic_events.DatagramFrameReceived():
                self._datagram_received(event.data)
            case _:  # what is acknowledged or negotiated is nothing to us
                pass

    def _stream_event(
        self,
        event: quic_events.StreamDataReceived
        | quic_events.StreamReset
        | quic_events.StopSendingReceived,
    ) -> None:
        """
        Act on what came on a stream, or keep it until the link is connected.

        @raise DecodeError: the peer broke the protocol.
        """
        if self.phase is Phase.CONNECTED:
            self.streams.handle(event)
        elif self.phase is not Phase.CLOSED:
            self._held.add(event)

    def _handshake_completed(self, protocol: str | None) -> None:
        """
        TLS is done: pin the listener, prove the dialler.

        @param protocol: that the listener chose (ALPN); the library takes any.
        """
        if not self.quic.is_dialler:
            self.phase = Phase.PROOF_AWAITED
            self._deadline = self._now + PROOF_TIMEOUT
            return
        try:
            self.peer = self.quic.pin(protocol, self.peer)
            binding = self.quic.channel_binding()
        except AtmosphereError as error:
            self.quic.flush(self._now)
            self.close(CloseCode.REFUSED, str(error))
            return
        self.phase = Phase.WELCOME_AWAITED
        self._deadline = self._now + HANDSHAKE_TIMEOUT
        proof = make_proof(
            self._key, self.peer, self._instance, self._chain, self.generation, binding
        )
        self._send(proof)
        if self._offer:
            self._send(Offer(self._offer))
        self._events.append(events.Pinned())

    def _control_received(self, data: bytes, is_end: bool) -> None:
        """
        Read the control stream.

        @raise DecodeError: a broken message, or the stream's end.
        """
        if self.phase is Phase.CLOSED:
            return
        for body in self._reader.feed(data):
            self._control.spend(self._now)
            message = decode_message(body)
            if message is not None:
                self._control_message(message)
        if is_end:
            raise DecodeError("the control stream ended", section="link §2")

    def _control_message(self, message: Message) -> None:
        """
        Act on one message of the control stream.

        @raise DecodeError: a message that has no place here and now.
        """
        match message, self.phase:
            case Proof(), Phase.PROOF_AWAITED:
                self._proof_received(message)
            case Welcome(), Phase.WELCOME_AWAITED:
                self.phase = Phase.PROVED
                self._events.append(events.Welcomed(message))
            case Refused(), Phase.WELCOME_AWAITED:
                self.refusal = escape_peer_text(message.reason, 160)
                self.close(CloseCode.REFUSED, f"it refused: {self.refusal}")
            case Offer(), Phase.CONNECTED | Phase.PROVED:
                self._events.append(events.OfferReceived(message.payload))
            case Prediction(), Phase.CONNECTED | Phase.PROVED:
                self._events.append(events.PathReported(PredictionHeard(message.payload)))
            case Credit(), Phase.CONNECTED | Phase.PROVED:
                self.streams.credit(message.stream_id, message.limit)
            case _, Phase.CLOSED:
                return
            case _:
                raise DecodeError(
                    f"{type(message).__name__.lower()}: it has no place here", section="link §2"
                )

    def _proof_received(self, proof: Proof) -> None:
        """
        Check the dialler's proof; what it may do is for others to say.
        """
        try:
            binding = self.quic.channel_binding()
        except AtmosphereError as error:
            self.close(CloseCode.REFUSED, str(error))
            return
        if not proof_holds(proof, self._key.node_id, binding):
            self.close(CloseCode.REFUSED, "the proof does not hold")
            return
        self.peer = proof.node
        self.phase = Phase.PROVED
        self._events.append(events.Proved(proof))

    def _datagram_received(self, data: bytes) -> None:
        """
        Hand on a datagram; a malformed one, or one that came too early, is lost.
        """
        found = decode_datagram(data) if self.phase is Phase.CONNECTED else None
        if found is not None:
            self._events.append(events.DatagramReceived(*found))
