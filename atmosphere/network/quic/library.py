# -*- test-case-name: tests.network.quic.test_adapter -*-
"""
What we change in the QUIC library (qh3): its limit of streams, and the keys that it panics on.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

import qh3.quic.connection
import qh3.tls
from qh3._hazmat import Buffer
from qh3.quic.connection import QuicConnection
from qh3.quic.packet import (
    QuicErrorCode,
    pull_quic_transport_parameters,
    push_quic_transport_parameters,
)
from qh3.quic.tls_bridge import QuicTlsBridge, QuicTlsBridgeError
from typing_extensions import override

__all__ = ["VERSION", "LimitedConnection", "ml_kem_key_is_sound"]

VERSION = 1
MAX_STREAMS = 4096
#: Bytes of TLS that a peer may send in all: ours have 2 KiB.
MAX_HANDSHAKE = 8_192
_ML_KEM_768_KEY = 1184
_ML_KEM_Q = 3329
_STREAMS_ARGUMENT = 21
#: Where the native core's report counts the packets that it took: neither known nor unreadable.
_ACCEPTED = 2

#: Names of the native core's timers: of loss detection, and of what comes before it by little.
_LOSS_TIMER = "loss_detection"
_SOON = ("ack_application", "pacing")

_is_ours: ContextVar[bool] = ContextVar("is_ours", default=False)
_LibraryCore: Callable[..., Any] = vars(qh3.quic.connection)["QuicConnectionCore"]
_LibraryMLKEM: Callable[[], Any] = vars(qh3.tls)["X25519ML768KeyExchange"]


def _make_core(*args: Any) -> Any:
    """
    Make the library's native core, with our limit of streams if it is for us.

    The library has 100 written into its code; other users of it in this
    process keep that.
    """
    if _is_ours.get():
        args = (*args[:_STREAMS_ARGUMENT], MAX_STREAMS, *args[_STREAMS_ARGUMENT + 1 :])
    return _LibraryCore(*args)


def ml_kem_key_is_sound(key: bytes) -> bool:
    """
    Check the range of a dialler's ML-KEM-768 key, as FIPS 203 §7.2 demands.

    The native core panics, and prints, on a coefficient of 3329 or more.

    @param key: 1,184 bytes of ML-KEM followed by 32 of X25519.
    """
    if len(key) != _ML_KEM_768_KEY + 32:
        return False
    packed = key[: _ML_KEM_768_KEY - 32]
    for i in range(0, len(packed), 3):
        three = packed[i] | packed[i + 1] << 8 | packed[i + 2] << 16
        if three & 0xFFF >= _ML_KEM_Q or three >> 12 >= _ML_KEM_Q:
            return False
    return True


class _CheckedMLKEM:
    """
    The library's hybrid key exchange, but for keys that it would panic on.
    """

    def __init__(self) -> None:
        self._inner = _LibraryMLKEM()

    def public_key(self) -> bytes:
        """
        Our own key share, as the library makes it.
        """
        key: bytes = self._inner.public_key()
        return key

    def exchange(self, peer: bytes) -> bytes:
        """
        Agree on the secret.

        @raise AlertIllegalParameter: a key out of range (only a dialler's has
            that length; a listener's ciphertext has 1,120 bytes).
        """
        if len(peer) != 1120 and not ml_kem_key_is_sound(peer):
            raise qh3.tls.AlertIllegalParameter("ML-KEM key out of range")
        secret: bytes = self._inner.exchange(peer)
        return secret

    def shared_ciphertext(self) -> bytes:
        """
        The listener's answer, as the library makes it.
        """
        ciphertext: bytes = self._inner.shared_ciphertext()
        return ciphertext


vars(qh3.quic.connection)["QuicConnectionCore"] = _make_core
vars(qh3.tls)["X25519ML768KeyExchange"] = _CheckedMLKEM


def _refuse_compressed(_: Buffer) -> None:
    """
    Unpack no certificate: a kilobyte may unpack to a gigabyte (RFC 8879 §5).
    """
    raise qh3.tls.AlertBadCertificate("a compressed certificate is not unpacked")


class _Bridge(QuicTlsBridge):
    """
    The library's TLS, announcing our limit of streams; keeps no more of a
    handshake than ours ever have.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._length = 0
        # The library would offer to unpack, if it finds a library that can.
        vars(self.tls)["_compress_certificate_algorithms"] = None
        vars(self.tls)["_client_handle_compressed_certificate"] = _refuse_compressed

    @override
    def receive_crypto(
        self, epoch: Any, data: bytes, offset: int | None = None, *, version: int | None = None
    ) -> None:
        """
        Take bytes of the handshake, up to a limit.
        """
        self._length += len(data)
        if self._length > MAX_HANDSHAKE:
            raise QuicTlsBridgeError(
                QuicErrorCode.CRYPTO_BUFFER_EXCEEDED, "the handshake is too long"
            )
        try:
            super().receive_crypto(epoch, data, offset, version=version)
        except QuicTlsBridgeError:
            raise
        except Exception as error:
            # What the library fails to read is the peer's fault: it is told so.
            raise QuicTlsBridgeError(
                QuicErrorCode.CRYPTO_ERROR + qh3.tls.AlertDescription.decode_error,
                f"the handshake is malformed: {type(error).__name__}: {error!s:.80}",
            ) from error

    @override
    def serialize_transport_parameters(self) -> bytes:
        """
        Say how many streams the peer may open.
        """
        library = pull_quic_transport_parameters(
            Buffer(data=super().serialize_transport_parameters())
        )
        ours = dataclasses.replace(
            library, initial_max_streams_bidi=MAX_STREAMS, initial_max_streams_uni=0
        )
        buffer = Buffer(capacity=1024)
        push_quic_transport_parameters(buffer, ours)
        return bytes(buffer.data)


class LimitedConnection(QuicConnection):
    """
    The library's connection with our limit of streams.

    @ivar has_accepted: of the datagrams that it was given last, one was new and
        encrypted with this connection's keys.
    """

    has_accepted = False

    @override
    def _create_core(self, remote_addr: Any, initial_dcid: bytes, now: float) -> None:
        """
        Make the native core.
        """
        token = _is_ours.set(True)
        try:
            super()._create_core(remote_addr, initial_dcid, now)
        finally:
            _is_ours.reset(token)

    # Once a connection stands, these four take the short way to the native core. The
    # library walks over each datagram for a log that we do not have, reads the peer's
    # address anew each time, and puts every call into another that renames exceptions,
    # which the guard does not need: 5 µs of each datagram that comes and is answered.

    @override
    def _normalize_address(self, addr: tuple[str, int]) -> tuple[str, int]:
        """
        Take the address as it is: it is always the same.
        """
        return addr

    @override
    def receive_many_datagrams(
        self, datagrams: list[bytes], addr: tuple[str, int], now: float
    ) -> None:
        """
        Take datagrams, and note whether any was new and well encrypted.
        """
        if self._handshake_complete and self._core is not None:
            report = self._core.receive_many_datagrams(datagrams, addr, now)
            self.has_accepted = report[_ACCEPTED] > 0
            self._drain_core()
        else:
            self.has_accepted = False
            super().receive_many_datagrams(datagrams, addr, now)

    @override
    def _learn_remote_source_cid(self, data: bytes) -> None:
        """
        Note that a packet of the handshake was accepted: then this is called.
        """
        self.has_accepted = True
        super()._learn_remote_source_cid(data)

    def take_datagrams(self, now: float) -> list[bytes]:
        """
        Hand out what is to be sent now, as C{datagrams_to_send} does.
        """
        taken: list[bytes] = []
        if self._core is not None:
            poll_transmit = self._core.poll_transmit
            while (transmit := poll_transmit(now)) is not None:
                taken.append(transmit[0])
        return taken

    @override
    def send_stream_data(self, stream_id: int, data: Any, end_stream: bool = False) -> None:
        """
        Queue bytes on a stream.
        """
        if self._handshake_complete and self._core is not None:
            self._record_local_stream(stream_id)
            self._core.send_stream(stream_id, data, end_stream)
        else:
            super().send_stream_data(stream_id, data, end_stream)

    def probe(self, now: float) -> None:
        """
        Send a PING, and do not wait for it: while more is under way than the congestion
        window has room for, the native core sends nothing but the probes of its time-out
        (RFC 9002 §6.2.4), which has backed off. So that expires now.
        """
        self.send_ping(0)
        core = self._core
        if core is None or not self._handshake_complete:
            return
        if core.bytes_in_flight + self._configuration.max_datagram_size <= core.congestion_window:
            return
        kind = ""
        while kind != _LOSS_TIMER and (timer := core.get_timer()) is not None:
            before, (kind, due) = kind, timer
            if kind == before or kind not in (_LOSS_TIMER, *_SOON):
                return  # the idle time-out is not to come sooner
            self.handle_timer(max(now, due))

    def lower_datagram_size(self, size: int) -> bool:
        """
        Send no larger datagrams than this from now on: the native core hears the peer's
        transport parameters once more, as if they had said so. It takes the least of
        what it was told; what was lost is sent again in packets of the new size.

        @return: whether the handshake is complete, so that this can be done.
        """
        tls = self._tls
        if tls is None or tls.remote_transport_parameters is None or not self._handshake_complete:
            return False
        tls.remote_transport_parameters = dataclasses.replace(
            tls.remote_transport_parameters, max_udp_payload_size=size
        )
        self._configuration.max_datagram_size = size
        self._drain_tls()
        return True

    @override
    def _create_tls(self, remote_source_cid: bytes | None) -> QuicTlsBridge:
        """
        Make the TLS side.
        """
        self._tls = _Bridge(
            self._configuration,
            version=self._version or VERSION,
            local_initial_source_connection_id=self.host_cid,
            remote_initial_source_connection_id=remote_source_cid,
            original_destination_connection_id=self._original_destination_connection_id,
            retry_source_connection_id=self._retry_source_connection_id,
            session_ticket_fetcher=None,
            session_ticket_handler=None,
            quic_logger=None,
            version_change_handler=self._set_version,
        )
        return self._tls
