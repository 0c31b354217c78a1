"""
Tests for L{atmosphere.network.quic.adapter}: the contract with the QUIC library.
"""

import hashlib
import os
import random

import qh3.quic.connection
import qh3.tls
from qh3._hazmat import Buffer
from qh3.quic import events
from qh3.quic.configuration import QuicConfiguration
from qh3.quic.packet import pull_quic_transport_parameters
from twisted.trial.unittest import SynchronousTestCase

from atmosphere.errors import IdentityError
from atmosphere.identity import NodeKey
from atmosphere.network.quic.acceptance import connection_id_of
from atmosphere.network.quic.adapter import QUICConnection, Terminated
from atmosphere.network.quic.credentials import make_credentials
from atmosphere.network.quic.library import _is_ours, ml_kem_key_is_sound

DIALLER, LISTENER = NodeKey(b"\x01" * 32), NodeKey(b"\x02" * 32)


class Pair:
    """
    Two connections back to back, on a clock of their own.
    """

    def __init__(self, datagram_size: int = 1200) -> None:
        self.now = 0.0
        self.dialler = QUICConnection(make_credentials(DIALLER), datagram_size=datagram_size)
        self.dialler.connect(self.now)
        self.flight = self.dialler.datagrams_to_send(self.now)
        self.listener = QUICConnection(
            make_credentials(LISTENER),
            original_cid=connection_id_of(self.flight[0]),
            datagram_size=datagram_size,
        )
        self.events: dict[QUICConnection, list[object]] = {self.dialler: [], self.listener: []}

    def collect(self) -> None:
        """
        Take the events of both.
        """
        for end, seen in self.events.items():
            while (event := end.next_event()) is not None:
                seen.append(event)

    def run(self, turns: int = 8) -> None:
        """
        Carry datagrams to and fro.
        """
        for _ in range(turns):
            self.now += 0.01
            self.listener.receive_datagrams(
                self.flight + self.dialler.datagrams_to_send(self.now), self.now
            )
            self.flight = []
            self.collect()
            self.dialler.receive_datagrams(self.listener.datagrams_to_send(self.now), self.now)
            self.collect()

    def seen(self, end: QUICConnection, kind: type) -> list[object]:
        """
        Find events of a kind.
        """
        return [event for event in self.events[end] if isinstance(event, kind)]


class ContractTests(SynchronousTestCase):
    """
    What we rely on in the library, public or not, is as it was.
    """

    def test_handshake(self) -> None:
        """
        Both ends complete, the key reads back, both have the same binding, and
        another connection has another.
        """
        pair, other = Pair(), Pair()
        pair.run()
        other.run()
        for end in (pair.dialler, pair.listener):
            self.assertEqual(len(pair.seen(end, events.HandshakeCompleted)), 1)
        self.assertEqual(pair.dialler.peer_node_id(), LISTENER.node_id)
        binding = pair.dialler.channel_binding()
        self.assertEqual(len(binding), 32)
        self.assertEqual(pair.listener.channel_binding(), binding)
        self.assertNotEqual(other.dialler.channel_binding(), binding)

    def test_no_binding_before_the_handshake(self) -> None:
        """
        Without a handshake there is neither binding nor key.
        """
        pair = Pair()
        self.assertRaises(IdentityError, pair.listener.channel_binding)
        self.assertRaises(IdentityError, pair.dialler.peer_node_id)

    def test_streams(self) -> None:
        """
        More streams than the library's hundred may be open at once.
        """
        pair = Pair()
        pair.run()
        for number in range(300):
            pair.dialler.send_stream(4 * number, b"x")
        pair.run(20)
        got = {event.stream_id for event in pair.seen(pair.listener, events.StreamDataReceived)}  # type: ignore[attr-defined]
        self.assertEqual(len(got), 300)
        self.assertFalse(pair.dialler.is_over)

    def test_what_was_accepted(self) -> None:
        """
        The library says whether datagrams were new and well encrypted, before the
        handshake is over and after.
        """
        pair = Pair()
        first = pair.flight[0]
        self.assertFalse(pair.listener.receive_datagrams([first[:60] + bytes(1140)], 0.0))
        self.assertTrue(pair.listener.receive_datagrams([first], 0.0))
        self.assertFalse(pair.listener.receive_datagrams([first], 0.0))
        pair.run()
        pair.dialler.send_stream(0, b"x")
        (data,) = pair.dialler.datagrams_to_send(pair.now)
        spoilt = data[:-1] + bytes([data[-1] ^ 1])
        self.assertFalse(pair.listener.receive_datagrams([spoilt, b"\x40" + bytes(40)], pair.now))
        self.assertTrue(pair.listener.receive_datagrams([spoilt, data], pair.now))
        self.assertFalse(pair.listener.receive_datagrams([data], pair.now))

    def test_no_compressed_certificates(self) -> None:
        """
        The library can unpack certificates, but neither offers to nor does here.
        """
        pair = Pair()
        context = pair.dialler._connection.tls
        assert context is not None
        self.assertIn("_compress_certificate_algorithms", vars(context))
        self.assertIsNone(vars(context)["_compress_certificate_algorithms"])
        unpack = context._client_handle_compressed_certificate
        self.assertRaises(qh3.tls.AlertBadCertificate, unpack, Buffer(data=b""))
        self.assertTrue(hasattr(qh3.tls.Context, "_client_handle_compressed_certificate"))

    def test_other_users_keep_their_limit(self) -> None:
        """
        Programs that use the library beside us are left alone.
        """
        plain = qh3.quic.connection.QuicConnection(
            configuration=QuicConfiguration(alpn_protocols=["h3"])
        )
        plain.connect(("192.0.2.1", 1), 0.0)
        assert plain._tls is not None
        parameters = pull_quic_transport_parameters(
            Buffer(data=plain._tls.serialize_transport_parameters())
        )
        self.assertEqual(parameters.initial_max_streams_bidi, 100)
        self.assertFalse(_is_ours.get())

    def test_close(self) -> None:
        """
        A close reaches the peer with its reason, and both ends are over.
        """
        pair = Pair()
        pair.run()
        pair.dialler.close(0, "good-bye")
        for _ in range(5):
            pair.run(1)
            pair.now += 1.0
            for end in (pair.dialler, pair.listener):
                end.handle_timer(pair.now)
        pair.collect()
        (ended,) = pair.seen(pair.listener, Terminated)
        self.assertEqual(ended, Terminated("good-bye", code=0))
        self.assertTrue(pair.listener.is_over)
        self.assertIsNone(pair.listener.get_timer())


class GuardTests(SynchronousTestCase):
    """
    Whatever bytes come, the process lives, and other connections too.
    """

    def test_mutations_of_the_first_flight(self) -> None:
        """
        Mutated Initials and garbage raise nothing.
        """
        chance = random.Random(7)
        for _ in range(100):
            pair = Pair()
            for at in range(len(pair.flight)):
                data = bytearray(pair.flight[at])
                for _ in range(chance.randint(1, 4)):
                    data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
                pair.flight[at] = bytes(data)
            pair.listener.receive_datagrams(pair.flight, 0.0)
            pair.listener.datagrams_to_send(0.0)
            pair.collect()

    def test_failure_ends_one_connection(self) -> None:
        """
        An exception inside the library is an event, and every later call a no-op.
        """
        pair = Pair()
        pair.run()
        pair.listener._guard(lambda: dict[str, int]()["missing"])
        self.assertTrue(pair.listener.is_over)
        self.assertEqual(pair.listener.datagrams_to_send(1.0), [])
        pair.listener.send_stream(0, b"x")
        event = pair.listener.next_event()
        assert isinstance(event, Terminated)
        self.assertTrue(event.is_ours)
        self.assertIn("KeyError", event.reason)

    def test_last_words(self) -> None:
        """
        What came before a peer's good-bye is not lost when we write in between.
        """
        pair = Pair()
        pair.run()
        pair.dialler.send_stream(0, b"last words", fin=True)
        flight = pair.dialler.datagrams_to_send(pair.now)
        pair.dialler.close(0, "good-bye")
        pair.listener.receive_datagrams(flight + pair.dialler.datagrams_to_send(pair.now), pair.now)
        pair.listener.send_stream(1, b"too late")
        pair.listener.send_stream(1, b"still too late")
        before = len(pair.events[pair.listener])
        pair.collect()
        came = pair.events[pair.listener][before:]
        (said,) = [each for each in came if isinstance(each, events.StreamDataReceived)]
        self.assertEqual((said.data, said.end_stream), (b"last words", True))
        self.assertEqual(came[-1], Terminated("good-bye", code=0))
        self.assertEqual([type(each) for each in came].count(Terminated), 1)

    def test_short_ways(self) -> None:
        """
        The library does with its native core what we do with it on shorter ways,
        and nothing else.
        """
        theirs = vars(qh3.quic.connection)["QuicConnection"]
        known = {
            "receive_many_datagrams": {
                *("_core", "_handshake_complete", "receive_datagram", "_normalize_address"),
                *("_log_datagram", "_call_core", "receive_many_datagrams", "_drain_core"),
            },
            "datagrams_to_send": {
                *("_core", "_call_core", "poll_transmit", "_log_datagram", "_log_packets"),
                "append",
            },
            "send_stream_data": {
                *("as_contiguous_buffer", "_record_local_stream", "_handshake_complete"),
                *("_pre_handshake_writes", "append", "bytes", "_core"),
                *("_transport_parameters_applied", "_remembered_transport_parameters"),
                *("_pre_handshake_state_replayed", "_replay_pre_handshake_state"),
                *("_require_core", "_call_core", "send_stream"),
                *("isinstance", "memoryview", "release"),
            },
            "_normalize_address": {"socket", "inet_pton", "AF_INET", "AF_INET6"},
            "next_event": {"_events", "popleft"},
        }
        for name, names in known.items():
            self.assertEqual(set(vars(theirs)[name].__code__.co_names), names, name)

    def test_probe(self) -> None:
        """
        The native core says what is under way and which timer is the next, by the names
        that a probe goes by; a probe sends at once, and never brings the end closer.
        """
        pair = Pair()
        pair.run()
        core, idle = (each._connection._core for each in (pair.dialler, pair.listener))
        assert core is not None
        assert idle is not None
        pair.dialler.send_stream(0, bytes(100_000))
        for _ in range(20):
            pair.now += 0.01
            pair.dialler.datagrams_to_send(pair.now)
        self.assertGreater(core.bytes_in_flight + 1200, core.congestion_window)
        self.assertEqual((core.get_timer() or ("",))[0], "loss_detection")
        self.assertEqual(pair.dialler.datagrams_to_send(pair.now), [])
        pair.dialler.send_ping(pair.now)
        self.assertGreater(len(pair.dialler.datagrams_to_send(pair.now)), 0)
        self.assertFalse(pair.dialler.is_over)
        self.assertEqual(idle.bytes_in_flight, 0)
        self.assertEqual((idle.get_timer() or ("",))[0], "idle")
        pair.listener.send_ping(pair.now)
        self.assertEqual(len(pair.listener.datagrams_to_send(pair.now)), 1)
        self.assertFalse(pair.listener.is_over)

    def test_lengths_of_handshakes(self) -> None:
        """
        The first datagrams of a connection tell whether it is large, and have no more than
        1,280 bytes.
        """
        for size, expected in ((1200, 1200), (1280, 1280), (1452, 1280), (1472, 1280)):
            pair = Pair(size)
            self.assertEqual([len(data) for data in pair.flight], [expected] * 2)
            pair.listener.receive_datagrams(pair.flight, 0.0)
            answer = pair.listener.datagrams_to_send(0.0)
            self.assertLessEqual(max(map(len, answer)), expected)

    def test_lower_datagram_size(self) -> None:
        """
        Datagrams become smaller while a stream is open, after more than the first windows
        was sent; what was too large and lost comes in smaller ones; nothing becomes larger.
        """
        pair = Pair(1472)
        pair.run()
        core = pair.dialler._connection._core
        assert core is not None
        limits, sent, hole = core.stream_limits, hashlib.sha256(), 20_000_000
        came, length, longest, is_lost = hashlib.sha256(), 0, 0, False
        for turn in range(110):
            if turn < 22 * 5 and turn % 5 == 0:
                block = random.Random(turn).randbytes(1_000_000)
                sent.update(block)
                pair.dialler.send_stream(0, block)
            for _ in range(3):
                pair.now += 0.01
                for end in (pair.dialler, pair.listener):
                    if (due := end.get_timer()) is not None and due <= pair.now:
                        end.handle_timer(pair.now)
                flight = pair.dialler.datagrams_to_send(pair.now)
                longest = max([longest, *map(len, flight)])
                kept = [data for data in flight if not is_lost or len(data) <= 1200]
                pair.listener.receive_datagrams(kept, pair.now)
                back = pair.listener.datagrams_to_send(pair.now)
                pair.dialler.receive_datagrams(back, pair.now)
                pair.collect()
            for event in pair.seen(pair.listener, events.StreamDataReceived):
                assert isinstance(event, events.StreamDataReceived)
                came.update(event.data)
                length += len(event.data)
            pair.events[pair.listener].clear()
            is_lost |= length >= hole
            if turn == 107:
                self.assertLess(length, 22_000_000)
                self.assertGreater(longest, 1400)
                self.assertGreater(pair.dialler.trouble, 0)
                self.assertGreater(pair.dialler.moved, hole)
                pair.dialler.lower_datagram_size(1200)
                pair.dialler.lower_datagram_size(1400)
                pair.dialler.send_ping(pair.now)
                longest = 0
        self.assertLessEqual(longest, 1200)
        self.assertEqual((length, came.digest()), (22_000_000, sent.digest()))
        self.assertEqual(core.active_path[5], 1200)
        self.assertEqual(core.stream_limits[0], limits[0])
        for number in range(1, 40):
            pair.dialler.send_stream(4 * number, b"x")
        pair.run()
        self.assertEqual(len(pair.seen(pair.listener, events.StreamDataReceived)), 39)
        pair.listener.close(0, "good-bye")
        pair.run(3)
        self.assertEqual(pair.events[pair.dialler][-1], Terminated("good-bye", code=0))

    def test_lower_before_the_handshake(self) -> None:
        """
        A connection without the peer's parameters is left as it is.
        """
        pair = Pair(1472)
        pair.dialler.lower_datagram_size(1200)
        self.assertEqual(pair.dialler.datagram_size, 1472)
        pair.run()
        for end in (pair.dialler, pair.listener):
            self.assertEqual(len(pair.seen(end, events.HandshakeCompleted)), 1)
        pair.dialler.lower_datagram_size(1200)
        self.assertEqual(pair.dialler.datagram_size, 1200)
        self.assertEqual((pair.dialler.trouble, pair.dialler.is_over), (0, False))

    def test_interrupts_pass(self) -> None:
        """
        Ctrl-C is no failure of a connection.
        """
        pair = Pair()

        def interrupt() -> None:
            """
            Do as Ctrl-C does.
            """
            raise KeyboardInterrupt

        self.assertRaises(KeyboardInterrupt, pair.listener._guard, interrupt)
        self.assertFalse(pair.listener.is_over)

    def test_ml_kem_keys_out_of_range(self) -> None:
        """
        A key with a coefficient of 3329 is refused before the native core sees
        it, and nothing is printed.
        """
        exchange_class = vars(qh3.tls)["X25519ML768KeyExchange"]
        sound = exchange_class().public_key()
        self.assertTrue(ml_kem_key_is_sound(sound))
        bad = b"\xff\xff\xff" + sound[3:]
        self.assertFalse(ml_kem_key_is_sound(bad))
        self.assertFalse(ml_kem_key_is_sound(sound[:-1]))
        read, write = os.pipe()
        saved = os.dup(2)
        os.dup2(write, 2)
        try:
            for key in (bad, b"", sound[:-1], bytes(1216)[:1000]):
                exchange = exchange_class()
                self.assertRaises(qh3.tls.AlertIllegalParameter, exchange.exchange, key)
        finally:
            os.dup2(saved, 2)
            os.close(saved)
            os.close(write)
        printed = os.read(read, 1000)
        os.close(read)
        self.assertEqual(printed, b"")
