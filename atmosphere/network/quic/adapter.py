# -*- test-case-name: tests.network.quic.test_adapter -*-
"""
The one connection of the QUIC library (qh3, RFC 9000) that the others know.

It sets the sizes that we decided on, and stands guard: whatever a call into the
library raises, be it a panic of its native core, ends that one connection and
nothing else. The library takes its connection IDs and TLS randomness from the
operating system by itself.
"""

from __future__ import annotations

import dataclasses
import hashlib
import logging
from collections import deque
from collections.abc import Callable, Sequence
from typing import ParamSpec, TypeVar

from qh3.quic import events
from qh3.quic.configuration import QuicConfiguration
from qh3.quic.packet import encode_quic_retry, encode_quic_version_negotiation
from qh3.tls import (
    AlertDescription,
    CipherSuite,
    SignatureAlgorithm,
    load_pem_private_key,
    load_pem_x509_certificates,
)

from atmosphere.errors import DecodeError, IdentityError, LinkError
from atmosphere.identity import NodeID

from .credentials import MAX_CERTIFICATE_LENGTH, Credentials, node_id_of_public_key
from .library import VERSION, LimitedConnection

__all__ = [
    "ALPN",
    "CONNECTION_ID_LENGTH",
    "LARGEST_DATAGRAM_SIZE",
    "MAX_DATAGRAM_SIZE",
    "VERSION",
    "QUICConnection",
    "Terminated",
    "encode_retry",
    "encode_version_negotiation",
]

ALPN = "atmosphere/1"
CONNECTION_ID_LENGTH = 8
MAX_DATAGRAM_SIZE = 1200
#: Of a large link: Ethernet by IPv4.
LARGEST_DATAGRAM_SIZE = 1472
IDLE_TIMEOUT = 900.0

# QUIC sees one constant peer address; which way a datagram takes is decided below it.
_CONSTANT_ADDRESS = ("192.0.2.1", 4433)
# RFC 9000 §20.1: alerts of TLS are codes from 0x100 on.
_ALERTS = {0x100 + alert: alert.name.replace("_", " ") for alert in AlertDescription}
_NO_VERSION = "Could not find a common protocol version"
_BINDING_LABEL = b"atmosphere channel binding v1\x00"

# The library warns at every close by a peer, which is an everyday thing.
logging.getLogger("quic").setLevel(logging.CRITICAL)

P = ParamSpec("P")
T = TypeVar("T")


@dataclasses.dataclass(frozen=True, slots=True)
class Terminated:
    """
    The connection is over.

    @ivar reason: what was said, in a line.
    @ivar is_ours: whether the guard ended it, because the library failed.
    @ivar code: the peer's own code, if it closed the connection and not QUIC did.
    """

    reason: str
    is_ours: bool = False
    code: int | None = None


Event = events.QuicEvent | Terminated


def _ending(event: events.ConnectionTerminated) -> Terminated:
    """
    Put the library's word for the end of a connection into ours.
    """
    reason, code = event.reason_phrase, event.error_code
    alert = _ALERTS.get(code)
    if not reason and alert is not None:
        reason = f"TLS: {alert}"
    if reason == _NO_VERSION:  # the library's own finding, with a code that may be a peer's
        return Terminated("the listener speaks no version of QUIC that we do")
    own = code if event.frame_type is None else None
    return Terminated(reason or f"closed with code {code}", code=own)


def _translated(event: events.QuicEvent) -> Event:
    """
    Leave an event as it is, but for the connection's end.
    """
    return _ending(event) if isinstance(event, events.ConnectionTerminated) else event


def encode_retry(source_cid: bytes, peer_cid: bytes, original_cid: bytes, token: bytes) -> bytes:
    """
    Write a Retry packet.

    @see: RFC 9000 §17.2.5
    """
    return encode_quic_retry(VERSION, source_cid, peer_cid, original_cid, token)


def encode_version_negotiation(source_cid: bytes, peer_cid: bytes) -> bytes:
    """
    Write a Version Negotiation packet that offers what we speak.

    @see: RFC 9000 §17.2.1
    """
    return encode_quic_version_negotiation(source_cid, peer_cid, [VERSION])


class QUICConnection:
    """
    One QUIC connection, whatever the ways that its datagrams take.

    @ivar connection_ids: the IDs by which datagrams for us are known.
    @ivar has_news: L{next_event} may have something to hand out.
    @ivar is_over: nothing more will come out of it.
    @ivar is_pinned: the listener has the key that the dialler wants.
    @ivar datagram_size: the most bytes that a datagram has from now on.
    """

    def __init__(
        self,
        credentials: Credentials,
        *,
        original_cid: bytes | None = None,
        retry_cid: bytes | None = None,
        datagram_size: int = MAX_DATAGRAM_SIZE,
    ) -> None:
        """
        @param original_cid: for a listener, the destination connection ID of
            the dialler's first Initial; C{None} makes a dialler.
        @param retry_cid: for a listener that sent a Retry, the ID it chose.
        @param datagram_size: what the ways carry; it can only be lowered later. If it
            is more than 1,280, the handshake's datagrams have 1,280.
        """
        self.datagram_size = datagram_size
        self.is_dialler = original_cid is None
        self.is_pinned = False
        configuration = QuicConfiguration(
            alpn_protocols=[ALPN],
            connection_id_length=CONNECTION_ID_LENGTH,
            idle_timeout=IDLE_TIMEOUT,
            is_client=self.is_dialler,
            max_datagram_size=datagram_size,
            probe_datagram_size=False,
            max_datagram_frame_size=65536,
            server_name="atmosphere" if self.is_dialler else None,
            cipher_suites=[CipherSuite.AES_128_GCM_SHA256, CipherSuite.CHACHA20_POLY1305_SHA256],
            signature_algorithms=[SignatureAlgorithm.ED25519],
            verify_mode=0,
            verify_hostname=False,
        )
        if not self.is_dialler:
            configuration.certificate = load_pem_x509_certificates(credentials.certificate_pem)[0]
            configuration.private_key = load_pem_private_key(credentials.private_key_pem)
        self._connection = LimitedConnection(
            configuration=configuration,
            original_destination_connection_id=original_cid,
            retry_source_connection_id=retry_cid,
        )
        self.connection_ids = {self._connection.host_cid}
        if original_cid is not None:
            self.connection_ids.add(original_cid if retry_cid is None else retry_cid)
        self.is_over = False
        self._is_closing = False
        self.has_news = False
        self._last_events: deque[Event] = deque()
        self._flushed: list[bytes] = []

    def _guard(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T | None:
        """
        Call the library; if it fails in any way, this connection is over.

        @return: what the call returned; C{None} if it failed.
        """
        if self.is_over:
            return None
        try:
            return call(*args, **kwargs)
        except BaseException as error:
            self._failed(error)
            return None

    def _speak(self, call: Callable[P, object], *args: P.args, **kwargs: P.kwargs) -> None:
        """
        Queue something to be sent, unless we have closed: the library would
        fail then, and the peer would not be told of the end.
        """
        if not self._is_closing:
            self._guard(call, *args, **kwargs)

    def _peer_closed(self) -> Terminated | None:
        """
        Say whether the peer has closed, and why. The library would report that
        when it has drained, but answers to writes with an exception until then.

        @see: RFC 9000 §10.2.2: nothing is sent while draining
        """
        closed = self._connection._close_event  # noqa: SLF001  # there is no public name
        if closed is None:
            return None
        core = self._connection._core  # noqa: SLF001  # nor for this
        return _ending(closed) if core is not None and core.state == "draining" else None

    def _failed(self, error: BaseException) -> None:
        """
        End this connection, but keep what the library had still to report when it
        failed: the failure may be that the peer has closed, and what it said before
        counts. Ctrl-C and its like are no failure, and go on.
        """
        if isinstance(error, KeyboardInterrupt | SystemExit | GeneratorExit):
            raise error
        self.is_over = True
        self.has_news = True
        failure = f"QUIC failed: {type(error).__name__}: {error!s:.200}"
        try:
            while (event := self._connection.next_event()) is not None:
                self._last_events.append(_translated(event))
        except (KeyboardInterrupt, SystemExit, GeneratorExit):
            raise
        except BaseException as another:
            failure += f", and then {type(another).__name__}"
        if not any(isinstance(event, Terminated) for event in self._last_events):
            ending = self._peer_closed() or Terminated(failure, is_ours=True)
            self._last_events.append(ending)

    def connect(self, now: float) -> None:
        """
        Make the dialler's first flight.
        """
        self.has_news = True
        self._guard(self._connection.connect, _CONSTANT_ADDRESS, now)

    def receive_datagrams(self, datagrams: Sequence[bytes], now: float) -> bool:
        """
        Take datagrams that bear one of our connection IDs.

        @return: whether one of them was new, and from who holds this connection's keys.
        """
        self.has_news = True
        if self.is_over:
            return False
        try:  # as the guard does, which would cost each datagram 1 µs a call
            self._connection.receive_many_datagrams(list(datagrams), _CONSTANT_ADDRESS, now)
        except BaseException as error:
            self._failed(error)
            return False
        return self._connection.has_accepted

    def datagrams_to_send(self, now: float) -> list[bytes]:
        """
        Hand out what is to be sent now.
        """
        if self.is_over:
            return []
        try:  # as the guard does
            if self._flushed:
                flushed, self._flushed = self._flushed, []
                return flushed + self._connection.take_datagrams(now)
            return self._connection.take_datagrams(now)
        except BaseException as error:
            self._failed(error)
            return []

    def flush(self, now: float) -> None:
        """
        Have what waits sent before a L{close}, which drops it: a listener that
        lacks the end of the handshake cannot read why it was closed.
        """
        self._flushed = self.datagrams_to_send(now)

    def get_timer(self) -> float | None:
        """
        Say when L{handle_timer} is due.
        """
        if self.is_over:
            return None
        try:  # as the guard does
            return self._connection.get_timer()
        except BaseException as error:
            self._failed(error)
            return None

    def handle_timer(self, now: float) -> None:
        """
        Do what is due.
        """
        self.has_news = True
        self._guard(self._connection.handle_timer, now)

    def next_event(self) -> Event | None:
        """
        Hand out the oldest event; keeps L{connection_ids} true on the way.
        """
        if not self.has_news:
            return None
        event: Event | None = None
        if not self._last_events and not self.is_over:
            queue = self._connection._events  # noqa: SLF001  # its next_event does no more
            given = queue.popleft() if queue else None
            if isinstance(given, events.StreamDataReceived):
                return given  # as nearly all do
            event = None if given is None else _translated(given)
        if event is None and self._last_events:
            event = self._last_events.popleft()
        if event is None and not self.is_over:
            event = self._peer_closed()
        match event:
            case events.ConnectionIdIssued():
                self.connection_ids.add(event.connection_id)
            case events.ConnectionIdRetired():
                self.connection_ids.discard(event.connection_id)
            case Terminated():
                self.is_over = True
            case _:
                self.has_news = event is not None
        return event

    def open_stream(self) -> int:
        """
        Say which stream the next L{send_stream} with its number opens.
        """
        return self._guard(self._connection.get_next_available_stream_id) or 0

    @property
    def stream_limit(self) -> int:
        """
        Say how many streams the peer lets us open, all told; 0 if it has yet to
        say so. The library fails on one more.
        """
        return self._connection.max_concurrent_bidi_streams

    def send_stream(self, stream_id: int, data: bytes, fin: bool = False) -> None:
        """
        Queue bytes on a stream.
        """
        if self._is_closing or self.is_over:
            return
        try:  # as the guard does
            self._connection.send_stream_data(stream_id, data, fin)
        except BaseException as error:
            self._failed(error)

    def reset_stream(self, stream_id: int, code: int) -> None:
        """
        Give up sending on a stream.
        """
        self._speak(self._connection.reset_stream, stream_id, code)

    def stop_stream(self, stream_id: int, code: int) -> None:
        """
        Ask the peer to give up sending on a stream.
        """
        self._speak(self._connection.stop_stream, stream_id, code)

    def unsent(self, stream_id: int) -> int:
        """
        Say how many bytes of a stream were not sent for the first time yet.
        """
        return self._guard(self._connection.get_send_buffer_size, stream_id) or 0

    def send_datagram(self, data: bytes) -> None:
        """
        Queue a DATAGRAM frame (RFC 9221); the caller has checked its size.
        """
        self._speak(self._connection.send_datagram_frame, data)

    def send_ping(self, now: float) -> None:
        """
        Send a PING, so that a path that came back carries data at once.
        """
        self._speak(self._connection.probe, now)

    def close(self, code: int, reason: str) -> None:
        """
        Close; L{Terminated} follows when the peer has had time to hear of it.
        """
        self.has_news = True
        self._speak(self._connection.close, code, None, reason[:200])
        self._is_closing = True

    def lower_datagram_size(self, size: int) -> None:
        """
        Send no larger datagrams than this from now on, once the handshake is complete.
        """
        if size < self.datagram_size and not self._is_closing:
            if self._guard(self._connection.lower_datagram_size, size):
                self.datagram_size = size

    @property
    def trouble(self) -> int:
        """
        How many packets QUIC took for lost; that nothing was answered in time counts as 4.
        """
        core = self._connection._core  # noqa: SLF001  # there is no public name for it
        return 0 if core is None or self.is_over else core.loss_total + 4 * core.pto_total

    @property
    def moved(self) -> int:
        """
        How many bytes of datagrams were sent and received.
        """
        core = self._connection._core  # noqa: SLF001  # there is no public name for it
        if core is None or self.is_over:
            return 0
        _, _, _, sent, received, _ = core.active_path
        return sent + received

    @property
    def smoothed_rtt(self) -> float | None:
        """
        QUIC's own idea of the round trip, in seconds.
        """
        core = self._connection._core  # noqa: SLF001  # there is no public name for it
        return None if core is None or self.is_over else core.smoothed_rtt

    def peer_node_id(self) -> NodeID:
        """
        Read the listener's node ID from its certificate, at HandshakeCompleted.

        @raise IdentityError: more than one certificate, an oversized one, or
            a key that may not name a node.
        @raise DecodeError: a key of another algorithm.
        """
        certificate = self._guard(self._connection.get_peercert)
        if certificate is None:
            raise IdentityError("the listener showed no certificate")
        if self._guard(self._connection.get_issuercerts):
            raise IdentityError("the listener showed several certificates")
        if len(certificate.public_bytes()) > MAX_CERTIFICATE_LENGTH:
            raise IdentityError("the listener's certificate is too large")
        try:
            spki = certificate.public_key()
        except ValueError:
            raise DecodeError("the listener's certificate has no readable key") from None
        return node_id_of_public_key(bytes(spki))

    def pin(self, protocol: str | None, wanted: NodeID | None) -> NodeID:
        """
        Hold a listener to the key that we want, at HandshakeCompleted.

        @param protocol: that it chose (ALPN); the library takes any.
        @param wanted: whose key it is; C{None} takes any.
        @raise LinkError: it is another, or speaks another protocol.
        @raise IdentityError: as L{peer_node_id}, and so does C{DecodeError}.
        """
        if protocol != ALPN:
            raise LinkError("No common ALPN protocols")
        listener = self.peer_node_id()
        if wanted is not None and listener != wanted:
            raise LinkError("the listener is another node")
        self.is_pinned = True
        return listener

    def channel_binding(self) -> bytes:
        """
        Derive 32 bytes that both ends of this connection have, and no other.

        The library offers no exporter (RFC 8446 §7.5); its exporter master
        secret, over its own transcript, is hashed with a label of ours.

        @raise IdentityError: none is to be had; the link must be refused.
        """
        context = self._connection.tls
        schedule = None if context is None else context.key_schedule
        secret = self._guard(schedule.derive_secret, b"exp master") if schedule else None
        if not secret or len(secret) < 32:
            raise IdentityError("this connection has no channel binding")
        return hashlib.sha256(_BINDING_LABEL + secret).digest()
