"""
A peer that keeps no rule, beside our own nodes: it dials our listener, or answers our dialler.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import qh3.tls
from qh3._hazmat import Buffer
from qh3.quic import events as quic_events
from qh3.quic.tls_bridge import QuicTlsBridge
from twisted.internet.interfaces import IDelayedCall
from typing_extensions import override

from atmosphere.addresses import TransportAddress
from atmosphere.identity import NodeKey
from atmosphere.network.path.ways import DirectWay, Way
from atmosphere.network.quic.acceptance import connection_id_of
from atmosphere.network.quic.adapter import QUICConnection, Terminated
from atmosphere.network.quic.credentials import Credentials, make_credentials
from atmosphere.network.quic.handshake import Message, encode_message
from atmosphere.network.quic.library import LimitedConnection
from atmosphere.network.quic.stream_state import header_bytes

from .harness import Node, World

__all__ = ["APPLICATION_BYTES", "HostileConnection", "Script", "Sign", "Stranger", "TLSAnswer"]

#: What neither side may see of the other; short enough to be held before a proof.
APPLICATION_BYTES = b"<application bytes>"

#: What a stranger does with each event of QUIC's.
Script = Callable[["Stranger", object], None]

Sign = Callable[[bytes], tuple[int, bytes]]


class TLSAnswer:
    """
    A listener's half of TLS, said as one likes: any bytes as certificates, any
    signature over the transcript, or none, and any ALPN.

    @ivar certificates: DER, or what is shown in its place; C{None} sends none.
    @ivar sign: makes the number of an algorithm and a signature of what TLS
        wants signed; C{None} sends no CertificateVerify.
    @ivar alpn: C{None} says none.
    @ivar compressed: what is sent as a compressed certificate (RFC 8879) instead.
    """

    def __init__(
        self,
        certificates: Sequence[bytes] | None,
        sign: Sign | None,
        alpn: str | None = "atmosphere/1",
        compressed: bytes | None = None,
    ) -> None:
        self.certificates = certificates
        self.sign = sign
        self.alpn = alpn
        self.compressed = compressed

    def install(self, bridge: QuicTlsBridge) -> None:
        """
        Have the library's TLS answer so.
        """
        context = bridge.tls
        vars(context)["_server_handle_hello"] = lambda hello, initial, handshake, _: self._answer(
            context, hello, initial, handshake
        )

    def _answer(self, context: Any, hello: Buffer, initial: Buffer, handshake: Buffer) -> None:
        """
        Do as the library's own does, but for what was asked for.

        @see: RFC 8446 §4
        """
        tls: Any = qh3.tls
        peer = tls.pull_client_hello(hello)
        context.client_random, context.server_random = peer.random, bytes(32)
        context.legacy_session_id = peer.legacy_session_id
        context.received_extensions = peer.other_extensions
        context.alpn_negotiated = self.alpn
        context.alpn_cb(self.alpn)
        schedule = tls.KeySchedule(tls.CipherSuite.AES_128_GCM_SHA256)
        schedule.extract(None)
        schedule.update_hash(hello.data)
        context.key_schedule = schedule
        share = next(key for group, key in peer.key_share if group == tls.Group.X25519)
        exchange = tls.X25519KeyExchange()
        with tls.push_message(schedule, initial):
            tls.push_server_hello(
                initial,
                tls.ServerHello(
                    random=context.server_random,
                    legacy_session_id=context.legacy_session_id,
                    cipher_suite=tls.CipherSuite.AES_128_GCM_SHA256,
                    compression_method=0,
                    key_share=(tls.Group.X25519, exchange.public_key()),
                    pre_shared_key=None,
                    supported_version=tls.TLS_VERSION_1_3,
                ),
            )
        schedule.extract(exchange.exchange(share))
        protect = context._setup_traffic_protection
        protect(tls.Direction.ENCRYPT, tls.Epoch.HANDSHAKE, b"s hs traffic")
        protect(tls.Direction.DECRYPT, tls.Epoch.HANDSHAKE, b"c hs traffic")
        self._certify(context, schedule, handshake)
        with tls.push_message(schedule, handshake):
            data = schedule.finished_verify_data(context._enc_key)
            tls.push_finished(handshake, tls.Finished(verify_data=data))
        schedule.extract(None)
        protect(tls.Direction.ENCRYPT, tls.Epoch.ONE_RTT, b"s ap traffic")
        context._next_dec_key = schedule.derive_secret(b"c ap traffic")
        context._expected_verify_data = schedule.finished_verify_data(context._dec_key)
        expected = Buffer(capacity=64)
        tls.push_finished(expected, tls.Finished(verify_data=context._expected_verify_data))
        schedule.update_hash(expected.data)
        context._set_state(tls.State.SERVER_EXPECT_FINISHED)

    def _certify(self, context: Any, schedule: Any, handshake: Buffer) -> None:
        """
        Say who we are.
        """
        tls: Any = qh3.tls
        with tls.push_message(schedule, handshake):
            extensions = tls.EncryptedExtensions(
                alpn_protocol=self.alpn,
                early_data=False,
                other_extensions=context.handshake_extensions,
            )
            tls.push_encrypted_extensions(handshake, extensions)
        if self.compressed is not None:
            with tls.push_message(schedule, handshake):
                handshake.push_uint8(tls.HandshakeType.COMPRESSED_CERTIFICATE)
                handshake.push_bytes((len(self.compressed) + 8).to_bytes(3, "big"))
                handshake.push_bytes(b"\x00\x02" + (1 << 23).to_bytes(3, "big"))
                handshake.push_bytes(len(self.compressed).to_bytes(3, "big") + self.compressed)
        if self.certificates is not None:
            with tls.push_message(schedule, handshake):
                shown = [(each, b"") for each in self.certificates]
                tls.push_certificate(
                    handshake, tls.Certificate(request_context=b"", certificates=shown)
                )
        if self.sign is not None:
            transcript = schedule.certificate_verify_data(b"TLS 1.3, server CertificateVerify")
            algorithm, signature = self.sign(transcript)
            with tls.push_message(schedule, handshake):
                verify = tls.CertificateVerify(algorithm=algorithm, signature=signature)
                tls.push_certificate_verify(handshake, verify)


class _LoudConnection(LimitedConnection):
    """
    The library's connection, with another half of TLS.
    """

    answer: TLSAnswer | None = None
    first_words: bytes | None = None

    @override
    def _create_tls(self, remote_source_cid: bytes | None) -> QuicTlsBridge:
        """
        Make the TLS side.
        """
        bridge = super()._create_tls(remote_source_cid)
        if self.answer is not None:
            self.answer.install(bridge)
        words = self.first_words
        if words is not None:
            vars(bridge.tls)["_client_send_hello"] = lambda buffer: buffer.push_bytes(words)
        return bridge


class HostileConnection(QUICConnection):
    """
    A QUIC connection whose TLS can be told what to say.

    @ivar configuration: the library's, to be changed before the first datagram.
    """

    def __init__(
        self,
        credentials: Credentials,
        *,
        original_cid: bytes | None = None,
        answer: TLSAnswer | None = None,
        first_words: bytes | None = None,
    ) -> None:
        """
        @param answer: what a listener says in TLS.
        @param first_words: what a dialler says in the place of a ClientHello.
        """
        super().__init__(credentials, original_cid=original_cid)
        self.configuration = self._connection.configuration
        self._connection = _LoudConnection(
            configuration=self.configuration,
            original_destination_connection_id=original_cid,
        )
        self._connection.answer = answer
        self._connection.first_words = first_words
        self.connection_ids = {self._connection.host_cid}


class Stranger:
    """
    A party in a L{World} that speaks QUIC and keeps no rule of ours.

    @ivar endpoint: where the world brings datagrams: here.
    @ivar quic: its one connection; C{None} until there is one.
    @ivar seen: what QUIC reported.
    @ivar make: makes its connection when a dialler comes, by the dialler's
        first connection ID.
    @ivar heard: the datagrams that came.
    @ivar welcomed: what it gave a welcome for.
    """

    def __init__(self, world: World, number: int, script: Script | None = None) -> None:
        self.world = world
        self.key = NodeKey(bytes([number]) * 32)
        self.address = TransportAddress(f"198.51.100.{number}", 7777)
        self.endpoint = self
        self.quic: QUICConnection | None = None
        self.script = script
        self.make: Callable[[bytes], QUICConnection] = lambda cid: HostileConnection(
            make_credentials(self.key), original_cid=cid
        )
        self.mangle: Callable[[bytes], bytes] = lambda data: data
        self.answers: Callable[[bytes], list[bytes]] | None = None
        self.seen: list[object] = []
        self.heard: list[bytes] = []
        self.welcomed: list[object] = []
        self._target: Way | None = None
        self._timer: IDelayedCall | None = None
        world.nodes[self.key.node_id] = self  # type: ignore[assignment]  # all that a world asks

    @property
    def speaking(self) -> QUICConnection:
        """
        The connection, once there is one.
        """
        assert self.quic is not None
        return self.quic

    def dial(self, node: Node, quic: QUICConnection | None = None) -> None:
        """
        Make the first flight to a node.
        """
        self.quic = quic or HostileConnection(make_credentials(self.key))
        self._target = DirectWay(node.address)
        self.quic.connect(self.world.clock.seconds())
        self.pump()

    def datagrams_received(self, way: Way, datagrams: Sequence[bytes]) -> None:
        """
        Take what the world brings.
        """
        now = self.world.clock.seconds()
        for data in datagrams:
            self.heard.append(data)
            if self.answers is not None:
                self.world.carry(self, way, self.answers(data))  # type: ignore[arg-type]
                continue
            if data[0] < 4:
                continue
            if self.quic is None:
                cid = connection_id_of(data)
                assert cid is not None
                self.quic, self._target = self.make(cid), way
            self.quic.receive_datagrams([data], now)
        self.pump()

    def pump(self) -> None:
        """
        Run the script over what happened, send, and wait.
        """
        if self.quic is None or self._target is None:
            return
        now = self.world.clock.seconds()
        while (event := self.quic.next_event()) is not None:
            self.seen.append(event)
            if self.script is not None:
                self.script(self, event)
        datagrams = [self.mangle(data) for data in self.quic.datagrams_to_send(now)]
        if datagrams:
            self.world.carry(self, self._target, datagrams)  # type: ignore[arg-type]
        self._wait(now)

    def _wait(self, now: float) -> None:
        """
        Be called when QUIC wants to.
        """
        self.stop()
        due = None if self.quic is None else self.quic.get_timer()
        if due is not None:
            self._timer = self.world.clock.callLater(max(0.0, due - now), self._time_came)

    def _time_came(self) -> None:
        """
        QUIC wanted to be called.
        """
        self._timer = None
        self.speaking.handle_timer(self.world.clock.seconds())
        self.pump()

    def stop(self) -> None:
        """
        Let go of the clock.
        """
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = None

    # What it says.

    def say(self, *messages: Message) -> None:
        """
        Put messages on the control stream.
        """
        for message in messages:
            self.speaking.send_stream(0, encode_message(message))

    def say_bytes(self, body: bytes, length: int | None = None) -> None:
        """
        Put any bytes on the control stream, with their length or another before them.
        """
        count = len(body) if length is None else length
        self.speaking.send_stream(0, count.to_bytes(2, "big") + body)

    def push(self) -> None:
        """
        Open a stream and send a datagram, with bytes that nobody may see.
        """
        first = 4 if self.speaking.is_dialler else 1
        self.speaking.send_stream(first, header_bytes("echo") + APPLICATION_BYTES)
        self.speaking.send_datagram(b"\x04echo" + APPLICATION_BYTES)

    # What came to it.

    def saw(self, kind: type) -> bool:
        """
        Say whether QUIC reported such a thing.
        """
        return any(isinstance(event, kind) for event in self.seen)

    @property
    def ending(self) -> str | None:
        """
        The reason with which its connection ended; C{None} if it has not.
        """
        return next((each.reason for each in self.seen if isinstance(each, Terminated)), None)

    @property
    def said(self) -> dict[int, bytes]:
        """
        What came to it on each stream.
        """
        found: dict[int, bytes] = {}
        for event in self.seen:
            if isinstance(event, quic_events.StreamDataReceived):
                found[event.stream_id] = found.get(event.stream_id, b"") + event.data
        return found
